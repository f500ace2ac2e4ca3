#!/usr/bin/env bats
# Locks of the whole cluster, while mounts and nodes die under those who hold them or wait for them.

load cluster.bash

setup() {
  LOCAL="$BATS_TEST_TMPDIR"
  need_mounts
  command -v flock >/dev/null || skip "flock is not installed"
}

teardown() { cluster_end; }

# cluster_with_mounts [NODE FLAGS...]: two mounts, and a file.
cluster_with_mounts() {
  cluster_start 3 "$@"
  mounts_start 1 2
  A="$ROOT/mnt/1" B="$ROOT/mnt/2"
  echo first >"$A/f"
}

# hold NAME FILE THEN: a program that locks FILE, says so, and does THEN with descriptor 9 when it may.
hold() {
  bash -c 'exec 9<>"$1" && flock 9 && touch "$2/$3-holds" || exit 1
    until [ -e "$2/$3-goes-on" ]; do sleep 0.1; [ -d "$2" ] || exit 1; done
    eval "$4"' - "$2" "$LOCAL" "$1" "$3" >"$LOCAL/$1-said" 2>&1 3>&- &
  HOLDER=$!
  wait_for "$1 to hold the lock" test -e "$LOCAL/$1-holds"
}

@test "a lock on one mount keeps the other's programs out" {
  cluster_with_mounts
  hold first "$A/f" 'true'
  run flock -n "$B/f" true
  [ "$status" = 1 ]
  run flock -w 0.3 "$B/f" true
  [ "$status" = 1 ]
  touch "$LOCAL/first-goes-on"
  flock -w 30 "$B/f" true
  wait "$HOLDER"
}

# One wait for both: it is as long as a session, and that is long enough for a busy machine.
@test "a mount is killed, another stopped for longer than its session: locks are free then, late writes do not count" {
  cluster_with_mounts --session-timeout-ms 20000
  mount_start 3
  C="$ROOT/mnt/3"
  echo first >"$A/g"
  hold killed "$C/g" 'true'
  hold first "$A/f" 'echo late >&9; echo "write: $?"; exec 9>&-; echo anew >>"$1" && echo "opened anew: $?"'
  process_kill mount3
  process_kill mount1 STOP
  for file in f g; do
    run flock -w 0.3 "$B/$file" true
    [ "$status" = 1 ]
  done
  for file in f g; do
    flock -w 120 "$B/$file" sh -c 'echo second >"$1"' - "$B/$file"
  done
  [ "$(cat "$B/g")" = second ]
  process_kill mount1 CONT
  touch "$LOCAL/first-goes-on" "$LOCAL/killed-goes-on"
  wait "$HOLDER"
  cat "$LOCAL/first-said"
  grep -q 'write: 1' "$LOCAL/first-said"
  grep -q 'Input/output error' "$LOCAL/first-said"
  grep -q 'opened anew: 0' "$LOCAL/first-said"
  [ "$(cat "$B/f")" = "$(printf 'second\nanew')" ]
  flock -w 30 "$A/f" true
}

@test "leaders are killed while programs hold locks and wait for them" {
  cluster_with_mounts
  hold first "$A/f" 'true'
  flock -w 120 "$B/f" touch "$LOCAL/got-it" 3>&- &
  local waiting=$! old
  for _ in 1 2; do
    old=$(leader)
    process_kill "n$old"
    wait_for "a leader" has_leader
    run flock -n "$B/f" true
    [ "$status" = 1 ]
    node_start "$old"
    wait_for "the node to be back" nodes_agree
  done
  [ ! -e "$LOCAL/got-it" ]
  touch "$LOCAL/first-goes-on"
  wait "$waiting"
  [ -e "$LOCAL/got-it" ]
}

@test "sqlite3 on two mounts at once" {
  command -v sqlite3 >/dev/null || skip "sqlite3 is not installed"
  cluster_with_mounts
  sqlite3 "$A/db" 'CREATE TABLE t (i INTEGER, who TEXT)'
  insert() {
    for i in $(seq 15); do
      sqlite3 -cmd '.timeout 60000' "$1/db" "INSERT INTO t VALUES ($i, '$1')" || return 1
    done
  }
  insert "$A" 3>&- &
  local one=$!
  insert "$B"
  wait "$one"
  [ "$(sqlite3 "$A/db" 'SELECT count(*), count(DISTINCT who) FROM t')" = "30|2" ]
  [ "$(sqlite3 "$B/db" 'PRAGMA integrity_check')" = ok ]
}
