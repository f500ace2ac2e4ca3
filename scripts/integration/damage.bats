#!/usr/bin/env bats
# Stored data is damaged: the node says so and serves nothing of it, the others go on, and it is
# rebuilt from them.

load cluster.bash

# One cluster for all tests, in which n1 is down, and its data as it was then for each.
setup_file() {
  cluster_start 3
  head -c 300000 /dev/urandom >"$BATS_FILE_TMPDIR/file"
  for i in 1 2 3 4 5; do mootfs put "$BATS_FILE_TMPDIR/file" "/f$i"; done
  wait_for "equal trees on all nodes" nodes_agree
  # Not killed: its tree follows the log, and is to be there to its end.
  process_kill n1 TERM
  mv "$ROOT/n1" "$ROOT/sound"
  cluster_share
}

teardown_file() { cluster_end; }

setup() {
  cluster_shared
  cp -a "$ROOT/sound" "$ROOT/n1"
}

# A test that starts n1 ends when all nodes agree: then nobody misses what n1 forgets here.
teardown() {
  [ ! -e "$ROOT/pids/n1" ] || process_kill n1
  rm -rf "$ROOT/n1"
}

# start_refused: node 1 ends with exit code 4 and one sentence that matches.
start_refused() {
  run timeout 60 "$MOOTFS" node --id n1 --data "$ROOT/n1" --peers "$PEERS" </dev/null
  [ "$status" -eq 4 ]
  [[ "$output" == *"$1"* ]]
}

rebuilt() {
  mootfs cat /f3 | cmp - "$BATS_FILE_TMPDIR/file"
  rm -rf "$ROOT/n1"
  node_start 1
  wait_for "equal trees on all nodes" nodes_agree
}

# The largest file of that kind: with data in it.
largest() { find "$1" -name "*.$2" -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2; }

flip() {
  local size
  ls -l "$1"
  size=$(stat -c %s "$1")
  printf '\xff' | dd of="$1" bs=1 seek=$((size / 2)) conv=notrunc status=none
  printf '\x55' | dd of="$1" bs=1 seek=$((size / 2 + 1)) conv=notrunc status=none
}

@test "check: a stopped node's data is sound; a running one's is refused" {
  run mootfs check "$ROOT/n1"
  [ "$status" -eq 0 ]
  [[ "$output" == *"$ROOT/n1 is sound"* ]]
  [ "$(mootfs check --json "$ROOT/n1" | node -p 'JSON.parse(require("fs").readFileSync(0)).tree.bytes')" = 1500000 ]
  run mootfs check "$ROOT/n2"
  [ "$status" -eq 4 ]
  [[ "$output" == *"in use by process $(pid_of n2)"* ]]
  run mootfs check "$ROOT"
  [ "$status" -eq 4 ]
  [[ "$output" == *"no data directory"* ]]
}

@test "the log's tail was cut off: nothing acknowledged is missed, whatever the node says" {
  local file
  file=$(largest "$ROOT/n1/log" log)
  truncate -s -20000 "$file"
  run timeout 20 "$MOOTFS" node --id n1 --data "$ROOT/n1" --peers "$PEERS" </dev/null
  # It runs, and was ended by `timeout`, or it says what is wrong.
  if [ "$status" -ne 124 ]; then
    [ "$status" -eq 4 ]
    [[ "$output" == *"$ROOT/n1"* || "$output" == *log* ]]
    rm -rf "$ROOT/n1"
  fi
  node_start 1
  wait_for "equal trees on all nodes" nodes_agree
  mootfs cat --nodes "127.0.0.1:${PORTS[0]}" --level local /f5 | cmp - "$BATS_FILE_TMPDIR/file"
}

# check_finds TEXT: the damage is named, before any node is started.
check_finds() {
  run mootfs check "$ROOT/n1"
  echo "$output"
  [ "$status" -eq 4 ]
  [[ "$output" == *"$1"* ]]
}

@test "a flipped byte in the log" {
  flip "$(largest "$ROOT/n1/log" log)"
  check_finds "log: $ROOT/n1/log"
  start_refused "$ROOT/n1/log"
  rebuilt
}

@test "a flipped byte in a data file of the log" {
  flip "$(largest "$ROOT/n1/log" data)"
  start_refused "log entry"
  rebuilt
}

@test "a flipped byte in the tree" {
  flip "$(largest "$ROOT/n1/tree" log)"
  check_finds "tree: $ROOT/n1/tree"
  start_refused "$ROOT/n1/tree"
  rebuilt
}

@test "the log is gone" {
  rm -rf "$ROOT/n1/log"
  start_refused "$ROOT/n1/log is missing"
  rebuilt
}

@test "a file of the database is gone" {
  rm "$ROOT"/n1/tree/*/CURRENT 2>/dev/null || rm "$ROOT"/n1/tree/CURRENT
  start_refused "$ROOT/n1/tree"
  rebuilt
}

@test "a newer format and unreadable settings are refused" {
  sed -i 's/"format": 3/"format": 4/' "$ROOT/n1/mootfs.json"
  start_refused "newer"
  echo '{' >"$ROOT/n1/mootfs.json"
  start_refused "$ROOT/n1/mootfs.json"
}
