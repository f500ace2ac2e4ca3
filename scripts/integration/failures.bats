#!/usr/bin/env bats
# Processes die; what was promised stays true.

load cluster.bash

setup() {
  LOCAL="$BATS_TEST_TMPDIR"
}

teardown() { cluster_end; }

cluster_with_mounts() {
  local i
  cluster_start 3 "$@"
  for i in 1 2 3; do mount_start "$i"; done
}

@test "kill -9 of the leader during cp of 200 MB: no error, identical bytes everywhere" {
  cluster_with_mounts
  head -c 200M /dev/urandom >"$LOCAL/big"
  local dead
  dead=$(leader)
  cp "$LOCAL/big" "$ROOT/mnt/1/big" 3>&- &
  local copy=$!
  wait_for "some bytes" has_bytes "$ROOT/mnt/1/big"
  process_kill "n$dead"
  still_runs "$copy"
  wait "$copy"
  for i in 1 2 3; do cmp "$LOCAL/big" "$ROOT/mnt/$i/big"; done
  node_start "$dead"
  wait_for "equal trees on all nodes" nodes_agree
}

has_bytes() { [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -gt 0 ]; }

# The fault came while the program was at work, and not behind it.
still_runs() {
  if process_gone "$1"; then
    echo "the program had ended before the fault" >&2
    return 1
  fi
}

@test "kill -9 of the leader during tar x of 3,000 files: no error, identical trees everywhere" {
  cluster_with_mounts
  make_tree "$LOCAL/tree" 3000
  tar cf "$LOCAL/tree.tar" -C "$LOCAL" tree
  local dead
  dead=$(leader)
  tar xf "$LOCAL/tree.tar" -C "$ROOT/mnt/2" 3>&- 2>"$LOCAL/errors" &
  local tar=$!
  wait_for "the first files" test -e "$ROOT/mnt/2/tree/package1"
  process_kill "n$dead"
  still_runs "$tar"
  wait "$tar"
  [ ! -s "$LOCAL/errors" ]
  for i in 1 2 3; do diff -r "$LOCAL/tree" "$ROOT/mnt/$i/tree"; done
  node_start "$dead"
  wait_for "equal trees on all nodes" nodes_agree
}

@test "kill -9 of all nodes at once: everything fsynced is there" {
  cluster_with_mounts
  mkdir "$ROOT/mnt/1/d"
  node -e '
    const fs = require("fs");
    const dir = process.argv[1];
    for (let i = 0; ; i++) {
      const fd = fs.openSync(dir + "/f" + i, "w");
      fs.writeSync(fd, "content of " + i);
      fs.fsyncSync(fd);
      fs.closeSync(fd);
      console.log(i);
    }' "$ROOT/mnt/1/d" >"$LOCAL/done" 2>/dev/null 3>&- &
  local writer=$!
  wait_for "200 files" enough_lines "$LOCAL/done" 200
  kill -KILL "$(pid_of n1)" "$(pid_of n2)" "$(pid_of n3)"
  for i in 1 2 3; do process_kill "n$i"; done
  kill -KILL "$writer"
  for i in 1 2 3; do node_start "$i"; done
  wait_for "a leader" has_leader
  wait "$writer" || true
  while read -r n; do
    [ "$(cat "$ROOT/mnt/3/d/f$n")" = "content of $n" ]
  done <"$LOCAL/done"
  wait_for "equal trees on all nodes" nodes_agree
}

@test "a mount that is stopped without a majority says which file is lost, and fails" {
  cluster_start 3
  mount_start 1 --deadline 5
  node -e '
    const fs = require("fs");
    const fd = fs.openSync(process.argv[1], "w");
    console.log("open");
    fs.readSync(0, Buffer.alloc(1));
    fs.writeSync(fd, "lost");
    console.log("written");
    fs.closeSync(fd);' "$ROOT/mnt/1/f" >"$LOCAL/said" 3>&- < <(until [ -e "$LOCAL/go" ]; do sleep 0.1; done; echo) &
  local writer=$!
  wait_for "the open file" grep -q open "$LOCAL/said"
  for i in 1 2; do process_kill "n$i"; done
  touch "$LOCAL/go"
  wait_for "the write" grep -q written "$LOCAL/said"
  # In close(2), which waits: nobody will hear how it ends.
  sleep 0.5
  kill -KILL "$writer"
  local pid code=0
  pid=$(pid_of mount1)
  kill -TERM "$pid"
  wait "$pid" || code=$?
  [ "$code" -eq 3 ]
  rm "$ROOT/pids/mount1"
  grep "mootfs mount: bytes were written that are not committed: inode" "$ROOT/logs/mount1.log"
}

enough_lines() { [ "$(wc -l <"$1")" -ge "$2" ]; }

@test "a node that lost its data starts empty and is caught up by a snapshot" {
  cluster_with_mounts --snapshot-log-entries 200
  make_tree "$LOCAL/tree" 150
  cp -a "$LOCAL/tree" "$ROOT/mnt/1/"
  local lost=$(($(leader) % 3 + 1))
  process_kill "n$lost"
  rm -rf "$ROOT/n$lost"
  mootfs snapshot >/dev/null || true
  echo more >"$ROOT/mnt/1/more"
  node_start "$lost" --snapshot-log-entries 200
  wait_for "equal trees on all nodes" nodes_agree
  [ "$(snapshot_index "n$lost")" -gt 0 ]
  diff -r "$LOCAL/tree" "$ROOT/mnt/$lost/tree"
}

snapshot_index() {
  mootfs status --json | node -e '
    const { nodes } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    console.log(nodes.find((n) => n.status?.id === process.argv[1]).status.snapshotIndex);' "$1"
}

@test "two of three nodes lost: writes end with ETIMEDOUT, local reads work, all goes on when one returns" {
  cluster_start 3
  mount_start 1 --deadline 3
  mount_start 2 --deadline 3 --level local
  # A local mount is served by the node it prefers: that one stays.
  echo before >"$ROOT/mnt/1/file"
  wait_for "the file at node 2" grep -q before "$ROOT/mnt/2/file"
  process_kill n1
  process_kill n3
  run timeout 60 sh -c "echo after >'$ROOT/mnt/1/new'"
  [ "$status" -ne 0 ]
  [ "$status" -ne 124 ]
  [[ "$output" == *"timed out"* ]]
  run timeout 60 cat "$ROOT/mnt/1/file"
  [ "$status" -eq 1 ]
  [ "$(timeout 60 cat "$ROOT/mnt/2/file")" = before ]
  run mootfs cat --level local --nodes "127.0.0.1:${PORTS[1]}" /file
  [ "$output" = before ]
  node_start 1
  wait_for "a leader" has_leader
  wait_for "writes again" sh -c "echo after >'$ROOT/mnt/1/new'"
  [ "$(cat "$ROOT/mnt/1/new")" = after ]
}

@test "without a leader SIGKILL ends a waiting program at once, and so does SIGINT" {
  cluster_start 3
  mount_start 1 --deadline hard
  process_kill n1
  process_kill n2
  for signal in KILL INT; do
    node -e 'require("fs").writeFileSync(process.argv[1], "x")' "$ROOT/mnt/1/file-$signal" 3>&- 2>/dev/null &
    local program=$!
    sleep 1
    kill -0 "$program"
    kill "-$signal" "$program"
    wait_for "the end of the program" process_gone "$program"
  done
  node_start 1
  wait_for "a leader" has_leader
  echo y >"$ROOT/mnt/1/later"
}

@test "the mount process dies by kill -9: nobody hangs, and the next mount at that place works" {
  cluster_start 3
  mount_start 1
  echo kept >"$ROOT/mnt/1/file"
  exec 5<"$ROOT/mnt/1/file"
  process_kill mount1
  run timeout 20 cat "$ROOT/mnt/1/file"
  [ "$status" -ne 0 ]
  [ "$status" -ne 124 ]
  exec 5<&-
  mount_start 1
  [ "$(cat "$ROOT/mnt/1/file")" = kept ]
}

@test "Ctrl-C of the mount process: what was written is there, nothing stays mounted" {
  cluster_start 3
  mount_start 1
  mount_start 2
  exec 5>"$ROOT/mnt/1/open"
  echo "not closed yet" >&5
  process_kill mount1 INT
  exec 5>&- || true
  run ! grep -q " $ROOT/mnt/1 fuse" /proc/self/mounts
  [ "$(cat "$ROOT/mnt/2/open")" = "not closed yet" ]
  mount_start 1
  [ "$(cat "$ROOT/mnt/1/open")" = "not closed yet" ]
}

@test "a stopped leader (SIGSTOP) is replaced, and follows when it goes on" {
  cluster_start 3
  mount_start 1
  local old
  old=$(leader)
  process_kill "n$old" STOP
  echo during >"$ROOT/mnt/1/file"
  process_kill "n$old" CONT
  wait_for "equal trees on all nodes" nodes_agree
  [ "$(leader)" != "$old" ]
  [ "$(cat "$ROOT/mnt/1/file")" = during ]
}
