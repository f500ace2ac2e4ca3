#!/usr/bin/env bats
# Programs that work at random and hold every byte against a model: that they find what is wrong, and
# that on two mounts, also while leaders die, nothing is. `make integrity` does more of it.

load cluster.bash

setup() {
  command -v cc >/dev/null || skip "needs a C compiler (cc)"
  root_new
}

teardown() { cluster_end; }

build() { cc -O1 -Wall -Werror -o "$ROOT/integrity" "$BATS_TEST_DIRNAME/../integrity/integrity.c"; }

@test "on a local directory the model is right, and a changed byte is found" {
  build
  mkdir "$ROOT/good" "$ROOT/bad"
  timeout 100 "$ROOT/integrity" 1 3 60 9000 "$ROOT/good" "$ROOT/good"
  timeout 100 "$ROOT/integrity" 2 3 60 0 "$ROOT/bad" "$ROOT/bad" >"$ROOT/out" 2>&1 3>&- &
  local pid=$!
  wait_for "files" eval 'ls "$ROOT"/bad/p0/f* >/dev/null 2>&1'
  # Nobody but the programs may write there.
  wait_for "that it is found" eval \
    'for f in "$ROOT"/bad/p0/f*; do printf "not its own" >>"$f"; done; ! kill -0 '"$pid"' 2>/dev/null'
  run wait "$pid"
  cat "$ROOT/out"
  [ "$status" -eq 1 ]
  grep -q '^DIFFERENCE in process 0' "$ROOT/out"
}

@test "on two mounts of three nodes, in peace and while leaders are killed" {
  need_mounts
  run env MOOTFS_INTEGRITY_SECONDS=30 timeout -k 5 280 node "$BATS_TEST_DIRNAME/../../dist/scripts/integrity/main.js"
  echo "$output"
  [ "$status" -eq 0 ]
  [ "$(grep -c 'no difference' <<<"$output")" -eq 2 ]
}

@test "what one mount has changed the other sees at once, also while nodes are stopped, cut off or killed" {
  need_mounts
  local probes="$BATS_TEST_DIRNAME/../../dist/scripts/probes"
  run env PROBES=1000 timeout -k 5 280 node "$probes/main.js"
  echo "$output"
  [ "$status" -eq 0 ]
  [ "$(grep -c ' 0 stale' <<<"$output")" -eq 4 ]
  # And it would find what is not seen.
  mkdir "$ROOT/one" "$ROOT/two"
  run timeout 20 node "$probes/worker.js" 1 10 "$ROOT/one" "$ROOT/two"
  [ "$status" -ne 0 ]
  grep -q '^stale stat after create' <<<"$output"
}
