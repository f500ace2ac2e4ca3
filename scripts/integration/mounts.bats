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

@test "what is missing is said in one line, with exit code 5" {
  command -v setpriv >/dev/null || skip "no setpriv (package util-linux)"
  [ -d "$PROJECT/node_modules/fuse-native" ] || skip "fuse-native is not installed"
  # Nobody is there: each looks for a second, and then what is missing shows all the same. All at once.
  local mounting=(mount "$ROOT/mnt/1" --nodes 127.0.0.1:1) native=(--adapter fuse-native) attempts=()
  local starting=(up --data "$ROOT/data" --mounts "$ROOT/mnt" --port "$(free_ports_in_a_row 3)")
  attempt no-fuse without_fuse "${mounting[@]}"
  attempt no-fuse-native without_fuse "${mounting[@]}" "${native[@]}"
  attempt no-fuse-up without_fuse "${starting[@]}"
  attempt no-right without_right "${mounting[@]}"
  attempt no-right-native without_right "${mounting[@]}" "${native[@]}"
  attempt no-libfuse without_libfuse "${mounting[@]}" "${native[@]}"
  # What nobody could stop is not begun.
  attempt hard timeout 60 "$MOOTFS" "${mounting[@]}" "${native[@]}" --deadline hard
  attempt hard-up timeout 60 "$MOOTFS" "${starting[@]}" "${native[@]}" --deadline hard
  wait "${attempts[@]}"
  said no-fuse 5 "there is no /dev/fuse: load the fuse module"
  said no-fuse-native 5 "there is no /dev/fuse: load the fuse module"
  said no-fuse-up 5 "mount n[123]: there is no /dev/fuse: load the fuse module"
  said no-right 5 "permission denied. (in a container, mounting needs --cap-add SYS_ADMIN)"
  said no-right-native 5 "in a container, mounting needs --cap-add SYS_ADMIN"
  said no-libfuse 5 "install libfuse2 (Debian: apt-get install libfuse2 fuse) or use the default adapter"
  said hard 2 "--deadline hard cannot be had with --adapter fuse-native"
  said hard-up 2 "--deadline hard cannot be had with --adapter fuse-native"
  run ! grep " $ROOT/" /proc/self/mounts
}

# attempt NAME COMMAND...: in the background; `said` looks at how it ended.
attempt() {
  local name=$1
  shift
  {
    local code=0
    "$@" 2>"$ROOT/logs/$name" || code=$?
    echo "$code" >"$ROOT/$name.code"
  } >/dev/null 3>&- &
  attempts+=($!)
}

# said NAME CODE PATTERN: that was its exit code, and one line that matches all that it said.
said() {
  echo "$1: exit code $(cat "$ROOT/$1.code")"
  cat "$ROOT/logs/$1"
  [ "$(cat "$ROOT/$1.code")" = "$2" ]
  [ "$(wc -l <"$ROOT/logs/$1")" = 1 ]
  grep -q "^mootfs [a-z]*: .*$3" "$ROOT/logs/$1"
}

# Each runs the command as on a machine that lacks something. A mount namespace goes with its last process.
without_fuse() {
  timeout 120 unshare --mount sh -euc \
    'mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; exec "$@"' sh "$MOOTFS" "$@"
}

without_right() { timeout 60 setpriv --bounding-set -sys_admin "$MOOTFS" "$@"; }

without_libfuse() {
  : >"$ROOT/empty"
  timeout 60 unshare --mount sh -euc '
    empty=$1
    shift
    for library in $(ldconfig -p | sed -n "s/.*libfuse\.so\.2 .*=> //p"); do mount --bind "$empty" "$library"; done
    exec "$@"' sh "$ROOT/empty" "$MOOTFS" "$@"
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
  exec 8>>"$ROOT/mnt/1/file"
  run mootfs "$NODES" "$ROOT/mnt/1" -o remount,ro
  exec 8>&-
  [ "$status" -eq 1 ]
  [[ "$output" == *"a program writes there"* ]]
  wait_for "the file to be closed" mootfs "$NODES" "$ROOT/mnt/1" -o remount,ro
  run ! touch "$ROOT/mnt/1/file"
  # Somebody else's, as by a slip of the finger.
  mount -t tmpfs none "$ROOT/mnt/3"
  run mootfs "$NODES" "$ROOT/mnt/3" -o remount,ro
  [ "$status" -eq 2 ]
  [[ "$output" == *"is not a mounted mootfs directory"* ]]
  touch "$ROOT/mnt/3/file"
  umount "$ROOT/mnt/3"
  umount "$ROOT/mnt/1"
}

# In a mount namespace of its own, where /sbin has one program more: what docs/mounting.md lets people install.
mount_as_everybody() {
  set -eu
  # What goes wrong leaves nothing: who serves a mount lives in this namespace as long as it is mounted.
  trap 'umount -l "$ROOT/mnt/1" "$ROOT/mnt/2" 2>/dev/null || true' EXIT
  mkdir "$ROOT/sbin-was" "$ROOT/sbin"
  mount --bind /sbin/ "$ROOT/sbin-was"
  ln -s "$ROOT"/sbin-was/* "$ROOT/sbin"
  ln -s "$MOOTFS" "$ROOT/sbin/mount.mootfs"
  # mount(8) forgets the PATH that it is given.
  ln -s "$MOOTFS" "$ROOT/sbin/mootfs"
  ln -sf "$(command -v node)" "$ROOT/sbin/node"
  mount --bind "$ROOT/sbin" /sbin/
  mount -t mootfs -o "nodev,noexec,log=$ROOT/logs/mount8.log" "$NODES" "$ROOT/mnt/1"
  grep " $ROOT/mnt/1 fuse.mootfs rw,nosuid,nodev,noexec," /proc/self/mounts
  echo one >"$ROOT/mnt/1/file"
  # A line of fstab, by the directory alone, as at boot.
  echo "$NODES $ROOT/mnt/2 mootfs _netdev,nofail,ro,consistency=session 0 0" >"$ROOT/fstab"
  mount -T "$ROOT/fstab" "$ROOT/mnt/2"
  grep " $ROOT/mnt/2 fuse.mootfs ro,nosuid,nodev," /proc/self/mounts
  wait_for "the file" grep -q one "$ROOT/mnt/2/file"
  mount -o remount,rw "$ROOT/mnt/2"
  echo two >"$ROOT/mnt/2/file"
  umount "$ROOT/mnt/1" "$ROOT/mnt/2"
  # mount(8) says what the helper said.
  ! mount -t mootfs -o nonsense "$NODES" "$ROOT/mnt/1" || return 1
  if [ -x /sbin/mount.fuse ]; then
    mount -t fuse.mootfs -o nodev,nosuid "$NODES" "$ROOT/mnt/1"
    grep " $ROOT/mnt/1 fuse.mootfs rw,nosuid,nodev," /proc/self/mounts
    [ "$(cat "$ROOT/mnt/1/file")" = two ]
    umount "$ROOT/mnt/1"
  fi
  echo done
}

@test "mount(8) by type, by a line of fstab, and by mount.fuse(8)" {
  for i in 1 2 3; do node_start "$i"; done
  wait_for "a leader" all_have_said_who_leads
  export -f mount_as_everybody wait_for
  export ROOT MOOTFS NODES WAIT_SECONDS
  run unshare --mount bash -c 'mount_as_everybody 2>&1'
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *"'nonsense' is not an option of mounting"*"done" ]]
}

@test "over what is mounted already nothing is mounted" {
  node_start 1
  mount -t tmpfs none "$ROOT/mnt/1"
  run timeout 60 "$MOOTFS" mount "$ROOT/mnt/1" --nodes "$NODES"
  umount "$ROOT/mnt/1"
  [ "$status" -eq 5 ]
  [[ "$output" == *"$ROOT/mnt/1 is a mounted tmpfs already: unmount it first"* ]]
}

@test "fusermount3 -u; umount -l while a file is open, which goes on to be written" {
  for i in 1 2 3; do node_start "$i"; done
  mounts_start 1 2
  if command -v fusermount3 >/dev/null; then
    fusermount3 -u "$ROOT/mnt/1"
    wait_for "the end of its process" process_gone "$(pid_of mount1)"
    run ! grep " $ROOT/mnt/1 fuse" /proc/self/mounts
    mount_start 1
  fi
  exec 5>"$ROOT/mnt/1/file"
  echo before >&5
  umount -l "$ROOT/mnt/1"
  run ! grep " $ROOT/mnt/1 fuse" /proc/self/mounts
  head -c 3000000 /dev/urandom | tee "$ROOT/random" >&5
  run ! process_gone "$(pid_of mount1)"
  exec 5>&-
  # The last one to close it ends the mount.
  wait_for "the end of its process" process_gone "$(pid_of mount1)"
  rm "$ROOT/pids/mount1"
  cmp <(echo before; cat "$ROOT/random") "$ROOT/mnt/2/file"
}

@test "devices and set-user-ID programs have power where dev and suid say so, and only there" {
  for i in 1 2 3; do node_start "$i"; done
  mount_start 1
  chmod 755 "$ROOT"
  mknod -m 666 "$ROOT/mnt/1/zero" c 1 5
  cp "$(command -v id)" "$ROOT/mnt/1/id"
  chmod 4755 "$ROOT/mnt/1/id"
  run head -c 1 "$ROOT/mnt/1/zero"
  [[ "$output" == *"Permission denied"* ]]
  [ "$(setpriv --reuid nobody --clear-groups "$ROOT/mnt/1/id" -un)" = nobody ]
  mount_start 2 -o dev,suid
  [ "$(head -c 3 "$ROOT/mnt/2/zero" | od -An -tx1)" = " 00 00 00" ]
  [ "$(setpriv --reuid nobody --clear-groups "$ROOT/mnt/2/id" -un)" = root ]
}

# In a mount namespace of its own: /dev/fuse as most machines have it, open to all, and nobody else's.
AS_NOBODY="setpriv --reuid nobody --regid nogroup --clear-groups env HOME=/tmp"

mount_as_nobody() {
  mknod -m 666 "$ROOT/fuse" c 10 229
  mount --bind "$ROOT/fuse" /dev/fuse
  chmod 755 "$ROOT"
  chown nobody "$ROOT/mnt/1" "$ROOT/mnt/2"
  $AS_NOBODY "$MOOTFS" mount "$ROOT/mnt/1" --nodes "$NODES" >"$ROOT/logs/u.log" 2>&1 3>&- &
  local first=$!
  wait_for "the mount of nobody" grep -q mounted "$ROOT/logs/u.log"
  $AS_NOBODY sh -c "echo mine >$ROOT/mnt/1/home/file && cat $ROOT/mnt/1/home/file && stat -c %U $ROOT/mnt/1/home/file"
  # The command's own process is asked to end, and its server unmounts.
  kill "$first"
  wait "$first"
  ! grep " $ROOT/mnt/1 fuse" /proc/self/mounts || return 1
  # In the background, unmounted from elsewhere.
  $AS_NOBODY "$MOOTFS" mount --daemon "$ROOT/mnt/1" --nodes "$NODES"
  $AS_NOBODY cat "$ROOT/mnt/1/home/file"
  $AS_NOBODY "$MOOTFS" umount "$ROOT/mnt/1"
  $AS_NOBODY "$MOOTFS" mount --daemon "$ROOT/mnt/1" --nodes "$NODES"
  $AS_NOBODY fusermount3 -u "$ROOT/mnt/1"
  ! grep " $ROOT/mnt/1 fuse" /proc/self/mounts || return 1
  # Killed without a word: the server hears of it.
  $AS_NOBODY "$MOOTFS" mount "$ROOT/mnt/2" --nodes "$NODES" >"$ROOT/logs/u2.log" 2>&1 3>&- &
  first=$!
  wait_for "the second mount" grep -q mounted "$ROOT/logs/u2.log"
  kill -9 "$first"
  wait_for "the end of the mount" eval "! grep -q ' $ROOT/mnt/2 fuse' /proc/self/mounts"
  # What is refused, in words.
  $AS_NOBODY "$MOOTFS" mount --nodes "$NODES" "$ROOT/logs" && return 1
  chmod 600 "$ROOT/fuse"
  $AS_NOBODY "$MOOTFS" mount --nodes "$NODES" "$ROOT/mnt/1" && return 1
  echo done
}

@test "umount goes through symbolic links as mount does, also of a mount that is dead or does not answer" {
  for i in 1 2 3; do node_start "$i"; done
  wait_for "a leader" has_leader
  ln -s "$ROOT/mnt" "$ROOT/link"
  ln -s "$ROOT/mnt/2" "$ROOT/2"
  mootfs mount --daemon "$ROOT/link/1" 3>&-
  mootfs mount --daemon "$ROOT/2" 3>&-
  mootfs umount "$ROOT/link/1"
  mootfs umount "$ROOT/2"
  run ! grep " $ROOT/mnt/[12] fuse" /proc/self/mounts
  mount_start 1
  process_kill mount1 KILL
  mootfs umount "$ROOT/link/1"
  mount_start 1
  process_kill mount1 STOP
  timeout 30 "$MOOTFS" umount "$ROOT/link/1"
  run ! grep " $ROOT/mnt/1 fuse" /proc/self/mounts
  process_kill mount1 CONT
  mount --bind "$ROOT" "$ROOT/mnt/3"
  run mootfs umount "$ROOT/mnt/3"
  umount "$ROOT/mnt/3"
  [ "$status" -eq 2 ]
}

# Prints what somebody says to the service manager.
NOTIFIED='
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
print(s.recv(4096).decode())'

@test "systemd hears that it is mounted when it is; the units are sound" {
  command -v systemd-analyze >/dev/null || skip "no systemd-analyze (package systemd)"
  command -v python3 >/dev/null || skip "no python3"
  run systemd-analyze verify "$PROJECT/docs/systemd/mootfs@.service" "$PROJECT/docs/systemd/mootfs-mount@.service"
  echo "$output"
  run ! grep '/mootfs' <<<"$output"
  for i in 1 2 3; do node_start "$i"; done
  python3 -c "$NOTIFIED" "$ROOT/notify" >"$ROOT/logs/notified" 3>&- &
  wait_for "the service manager" test -e "$ROOT/notify"
  NOTIFY_SOCKET="$ROOT/notify" background mount1 mount "$ROOT/mnt/1" --nodes "$NODES"
  wait_for "what it is told" grep -q '^READY=1' "$ROOT/logs/notified"
  grep " $ROOT/mnt/1 fuse" /proc/self/mounts
}

@test "mount without root, by fusermount3" {
  command -v fusermount3 >/dev/null || skip "no fusermount3 (package fuse3)"
  for i in 1 2 3; do node_start "$i"; done
  wait_for "a leader" has_leader
  mount_start 3
  mkdir -m 777 "$ROOT/mnt/3/home"
  export -f mount_as_nobody wait_for
  export AS_NOBODY ROOT MOOTFS NODES WAIT_SECONDS
  run unshare --mount bash -c 'mount_as_nobody 2>&1'
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "$output" == *$'mine\nnobody'*$'\nmine'*"no write access to mountpoint"*"/dev/fuse may be opened by root only"*"done" ]]
}

@test "whoever begins a cluster without being root may write into it" {
  local port
  port=$(free_ports_in_a_row 3)
  chmod 755 "$ROOT"
  install -d -o nobody "$ROOT/of-nobody"
  cd "$ROOT/of-nobody"
  printf '#!/bin/sh\nexec %s %s "$@"\n' "$AS_NOBODY" "$MOOTFS" >"$ROOT/as-nobody"
  chmod 755 "$ROOT/as-nobody"
  MOOTFS="$ROOT/as-nobody" background up up --no-mount --port "$port"
  wait_for "ready" grep -q '^ready' "$ROOT/logs/up.log"
  run "$MOOTFS" stat / --nodes "127.0.0.1:$port" --json
  echo "$output"
  [[ "$output" == *'"uid": 65534,'*'"gid": 65534,'* ]]
  process_kill up INT
}
