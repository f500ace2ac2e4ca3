#!/usr/bin/env bats
# The ways to mount from the command line: by the node itself, by a process of its own, by each adapter.

load cluster.bash

setup() {
  need_mounts
  cluster_new 3
}

teardown() { cluster_end; }

use() { # DIRECTORY: what every mount can do
  echo one >"$1/file"
  echo two >>"$1/file"
  [ "$(cat "$1/file")" = "$(printf 'one\ntwo')" ]
  mkdir "$1/directory"
  mv "$1/file" "$1/directory/moved"
  [ "$(ls "$1/directory")" = moved ]
  head -c 3000000 /dev/urandom >"$ROOT/random"
  cp "$ROOT/random" "$1/directory/random"
  cmp "$ROOT/random" "$1/directory/random"
}

@test "node --mount: the node's own process serves the directory, and unmounts it when it stops" {
  node_start 1
  node_start 2
  node_start 3 --mount "$ROOT/mnt/3"
  wait_for "the mount of n3" is_mounted 3
  use "$ROOT/mnt/3"
  mount_start 1
  cmp "$ROOT/random" "$ROOT/mnt/1/directory/random"
  process_kill n3 TERM
  run ! grep " $ROOT/mnt/3 fuse" /proc/self/mounts
  rm -r "$ROOT/mnt/1/directory"
}

@test "mount --adapter fuse-native: the same directory" {
  node -e 'require("fuse-native")' 2>/dev/null || skip "fuse-native does not load (libfuse2)"
  for i in 1 2 3; do node_start "$i"; done
  mount_start 1 --adapter fuse-native
  use "$ROOT/mnt/1"
  mount_start 2
  cmp "$ROOT/random" "$ROOT/mnt/2/directory/random"
  process_kill mount1 TERM
  run ! grep " $ROOT/mnt/1 fuse" /proc/self/mounts
}

# As mount(8) calls it: returns when it is mounted, and the mount lives on.
helper() {
  ln -sf "$MOOTFS" "$ROOT/mount.mootfs"
  "$ROOT/mount.mootfs" "$NODES" "$ROOT/mnt/1" "$@"
}

@test "mount.mootfs: options as in fstab" {
  for i in 1 2 3; do node_start "$i"; done
  wait_for "a leader" has_leader
  run helper -o ro,nonsense
  [ "$status" -eq 2 ]
  [[ "$output" == *"'nonsense' is not an option of mounting"* ]]
  helper -f -o ro
  run ! grep " $ROOT/mnt/1 fuse" /proc/self/mounts
  helper -o "ro,noexec,consistency=session,timeout=10,_netdev,log=$ROOT/logs/helper.log"
  grep " $ROOT/mnt/1 fuse.mootfs ro,nosuid,nodev,noexec," /proc/self/mounts
  run touch "$ROOT/mnt/1/file"
  [[ "$output" == *"Read-only file system"* ]]
  mount_start 2
  echo text >"$ROOT/mnt/2/file"
  wait_for "the file on the other mount" grep -q text "$ROOT/mnt/1/file"
  run helper
  [ "$status" -eq 5 ]
  [[ "$output" == *"mounted"* ]]
  umount "$ROOT/mnt/1"
  # mount.fuse(8) has its own way.
  mootfs "$NODES" "$ROOT/mnt/1" -o rw,dev
  echo more >>"$ROOT/mnt/1/file"
  [ "$(cat "$ROOT/mnt/2/file")" = "$(printf 'text\nmore')" ]
  mootfs "$NODES" "$ROOT/mnt/1" -o remount,ro
  run ! touch "$ROOT/mnt/1/file"
  umount "$ROOT/mnt/1"
}
