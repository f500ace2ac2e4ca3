#!/usr/bin/env bats
# Too much: the quota, and disks that are nearly full.

load cluster.bash

setup() {
  LOCAL="$BATS_TEST_TMPDIR"
  need_mounts
}

teardown() { small_disk_end; }

@test "a quota of bytes and inodes" {
  cluster_start 3
  mount_start 1
  A="$ROOT/mnt/1"
  mootfs quota --bytes 2M --inodes 5 | grep -q '^bytes  *0  *2097152$'
  [ "$(df --output=size,used -B1 "$A" | tail -n 1 | tr -s ' ' | sed 's/^ //')" = "2097152 0" ]
  head -c 1000000 /dev/urandom >"$A/one"
  run dd if=/dev/urandom of="$A/two" bs=100k count=20 conv=fsync
  [ "$status" -ne 0 ]
  [[ "$output" == *"Disk quota exceeded"* ]]
  # What was there is as it was, and may change; what is removed makes room.
  [ "$(stat -c %s "$A/one")" = 1000000 ]
  dd if=/dev/zero of="$A/one" bs=100k count=5 conv=notrunc,fsync
  rm "$A/two"
  # When every mount has said that nobody has it open.
  wait_for "room" bytes_are 1000000
  head -c 900000 /dev/urandom >"$A/two"
  [ "$(df --output=used -B4096 "$A" | tail -n 1)" -eq $(((1900000 + 4095) / 4096)) ]
  mkdir "$A/d"
  mknod "$A/p" p
  run mkdir "$A/e"
  [ "$status" -ne 0 ]
  [[ "$output" == *"Disk quota exceeded"* ]]
  [ "$(mootfs quota --json)" = '{"bytes":{"used":1900000,"max":2097152},"inodes":{"used":5,"max":5}}' ]
  run mootfs quota --bytes 1.5
  [ "$status" = 2 ]
  mootfs quota --bytes none --inodes none
  head -c 3000000 /dev/urandom >"$A/d/three"
  # What df, du and the quota count is the same: bytes that are stored, not holes, and no second name's.
  ln "$A/one" "$A/d/link"
  ln -s one "$A/soft"
  truncate -s 1G "$A/sparse"
  printf x | dd of="$A/sparse" bs=1 seek=655360000 conv=notrunc status=none
  local bytes inodes
  [[ "$(mootfs quota --json)" =~ ^\{\"bytes\":\{\"used\":([0-9]+),.*\"inodes\":\{\"used\":([0-9]+), ]]
  bytes=${BASH_REMATCH[1]} inodes=${BASH_REMATCH[2]}
  # A hole ends where a stored piece of 32 KiB begins.
  [ "$bytes" = 4900001 ]
  # The root, d, p, soft, and four with bytes.
  [ "$inodes" = 8 ]
  [ "$(find "$A" -printf '%i\n' | sort -u | wc -l)" = "$inodes" ]
  [ "$(df --output=used -B4096 "$A" | tail -n 1)" -eq $(((bytes + 4095) / 4096)) ]
  [ "$(df -iP "$A" | awk 'END { print $3 }')" = "$inodes" ]
  # Each of the four ends within a block of its own.
  local du
  du=$(du -s -B1 "$A" | cut -f 1)
  ((du >= bytes && du < bytes + 4 * 512))
  [ "$(du -s --apparent-size -B1 "$A/sparse" | cut -f 1)" -eq 1073741824 ]
  mootfs quota --inodes 100 | grep -q '^inodes  *8  *100$'
  [ "$(df -iP "$A" | awk 'END { print $2, $3, $4, $5 }')" = "100 8 92 8%" ]
  wait_for "equal trees on all nodes" nodes_agree
}

bytes_are() { mootfs quota --json | grep -q "^{\"bytes\":{\"used\":$1,"; }

# small_disk_start: the disk of n2 is nearly full, and the leader knows how much there is.
small_disk_start() {
  mkdir "$LOCAL/disk"
  mount -t tmpfs -o size=200m tmpfs "$LOCAL/disk" || skip "tmpfs cannot be mounted"
  cluster_new 3
  ln -s "$LOCAL/disk" "$ROOT/n2"
  for i in 1 2 3; do node_start "$i"; done
  wait_for "a leader" all_have_said_who_leads
  mount_start 1
  A="$ROOT/mnt/1"
  head -c 2000000 /dev/urandom >"$A/before"
  # 10 MiB are kept, and 8 are left to be written. What others take within a moment the leader hears of
  # later: that it knows shows when there is nothing.
  leave_free 18 filler
  leave_free 9 last
  wait_for "the leader to know" no_room
  rm "$LOCAL/disk/last"
  wait_for "room" mkdir "$A/room"
}

small_disk_end() {
  cluster_end
  umount "$LOCAL/disk" 2>/dev/null || true
  rm -rf "$LOCAL/disk"
}

@test "a node's disk is nearly full: no room, in time, and removing goes on" {
  local begun
  for _ in 1 2 3; do
    small_disk_start
    # However much is written, nobody's disk is filled.
    begun=$SECONDS
    run dd if=/dev/urandom of="$A/big" bs=1M count=100 conv=fsync
    # For a node that stands still the leader waits two seconds; then it asks for room there no longer.
    [ "$status" -eq 0 ] && ((SECONDS - begun >= 2)) || break
    small_disk_end
  done
  [ "$status" -ne 0 ]
  [[ "$output" == *"No space left on device"* ]]
  # Others fill it further: into what is kept.
  leave_free 5 more
  wait_for "no room" no_room
  wait_for "df to say so" nothing_free
  rm "$A/before" "$A/big"
  mootfs status --json >/dev/null
  for i in 1 2 3; do kill -0 "$(pid_of "n$i")"; done
  rm "$LOCAL/disk/filler" "$LOCAL/disk/more"
  wait_for "room again" sh -c 'echo x >"$1/after"' - "$A"
  wait_for "equal trees on all nodes" nodes_agree
}

# A file that leaves so many MiB on the small disk.
leave_free() {
  fallocate -l $(($(df --output=avail -B1 "$LOCAL/disk" | tail -n 1) - ($1 << 20))) "$LOCAL/disk/$2"
}

nothing_free() { [ "$(df --output=avail "$A" | tail -n 1 | tr -d ' ')" = 0 ]; }

no_room() { ! mkdir "$A/no-room-$RANDOM" 2>/dev/null; }
