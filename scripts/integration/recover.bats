#!/usr/bin/env bats
# A majority is lost for ever: one surviving data directory becomes a cluster of one node.

load cluster.bash

setup() {
  cluster_start 3
  head -c 300000 /dev/urandom >"$BATS_TEST_TMPDIR/file"
  mootfs put "$BATS_TEST_TMPDIR/file" /kept
  wait_for "equal trees on all nodes" nodes_agree
  process_kill n2
  process_kill n3
  rm -rf "$ROOT/n2" "$ROOT/n3"
}

teardown() { cluster_end; }

@test "recover: says what may be lost, changes nothing before that is accepted, and then goes on" {
  run mootfs recover "$ROOT/n1"
  [ "$status" -eq 4 ]
  [[ "$output" == *"in use"* ]]
  process_kill n1
  run mootfs recover "$ROOT/n1"
  [ "$status" -eq 1 ]
  [[ "$output" == *"NOTHING HAS BEEN CHANGED"*"n2, n3"*"LOST"*"--accept-loss"* ]]
  # The command that it tells can be copied.
  ln -s n1 "$ROOT/n 1"
  run mootfs recover "$ROOT/n 1" --accept-loss --new-cluster after
  [ "$status" -eq 0 ]
  [[ "$output" == *" --data '$ROOT/n 1' "* ]]
  [[ "$output" == *"n1 is now a cluster of one"*"n2, n3"*" --cluster after"* ]]
  mootfs check "$ROOT/n1"
  export MOOTFS_NODES="127.0.0.1:${PORTS[0]}" MOOTFS_CLUSTER=after
  PEERS="n1=$MOOTFS_NODES"
  node_start 1
  wait_for "a leader" has_leader
  mootfs cat /kept | cmp - "$BATS_TEST_TMPDIR/file"
  mootfs put "$BATS_TEST_TMPDIR/file" /new
  process_kill n1
  node_start 1
  wait_for "a leader" has_leader
  mootfs cat /new | cmp - "$BATS_TEST_TMPDIR/file"
}

@test "recover: a damaged directory is refused" {
  process_kill n1
  rm "$ROOT"/n1/tree/*/CURRENT
  run mootfs recover "$ROOT/n1" --accept-loss
  [ "$status" -eq 4 ]
  [[ "$output" == *"damaged"*"CURRENT"* ]]
}
