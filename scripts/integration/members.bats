#!/usr/bin/env bats
# Nodes come and go while a program writes.

load cluster.bash

setup() {
  LOCAL="$BATS_TEST_TMPDIR"
}

teardown() { cluster_end; }

address() { echo "127.0.0.1:${PORTS[$1 - 1]}"; }

# join_start I: a node with an empty directory that knows n1 only.
join_start() {
  background "n$1" node --id "n$1" --data "$ROOT/n$1" --join "$(address "${2:-1}")" \
    --listen "0.0.0.0:${PORTS[$1 - 1]}" --address "$(address "$1")"
}

# voters_are 'n1 n2': by the newest log.
voters_are() {
  [ "$(mootfs members list --json 2>/dev/null | node -e '
    const { voters, outgoing, learners } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const change = outgoing.length + learners.length > 0 ? " changing" : "";
    console.log(voters.map((v) => v.id).sort().join(" ") + change);')" = "$1" ]
}

# writer_start: numbered lines into a file on mount 1, each on its own, until $LOCAL/enough is there.
writer_start() {
  node -e '
    const fs = require("fs");
    const [file, enough, report] = process.argv.slice(1);
    let longest = 0;
    let count = 0;
    while (!fs.existsSync(enough)) {
      const before = performance.now();
      fs.appendFileSync(file, `${++count}\n`);
      longest = Math.max(longest, performance.now() - before);
    }
    fs.writeFileSync(report, `${count} ${Math.round(longest)}\n`);' \
    "$ROOT/mnt/1/lines" "$LOCAL/enough" "$LOCAL/report" 3>&- 2>"$LOCAL/errors" &
  WRITER=$!
}

# writer_end: every line that was written is there once, in order.
writer_end() {
  touch "$LOCAL/enough"
  wait "$WRITER" || { cat "$LOCAL/errors" >&2; return 1; }
  [ ! -s "$LOCAL/errors" ]
  local count longest
  read -r count longest <"$LOCAL/report"
  echo "# $count lines, the longest wait $longest ms" >&3
  seq "$count" | cmp - "$ROOT/mnt/1/lines"
}

@test "from one node to three, to five, and back to three without the first, under load" {
  cluster_new 5
  PEERS="n1=$(address 1)" node_start 1
  export MOOTFS_NODES="$(address 1)"
  wait_for "a leader" has_leader
  NODES="$MOOTFS_NODES" mount_start 1
  writer_start
  for i in 2 3; do join_start "$i"; done
  wait_for "three voters" voters_are "n1 n2 n3"
  for i in 4 5; do join_start "$i"; done
  wait_for "five voters" voters_are "n1 n2 n3 n4 n5"
  export MOOTFS_NODES="$NODES"
  mootfs members remove n1
  mootfs members remove n4
  wait_for "three voters" voters_are "n2 n3 n5"
  wait_for "the end of n1" process_gone "$(pid_of n1)"
  wait_for "the end of n4" process_gone "$(pid_of n4)"
  grep -q "'n1' was removed from the cluster" "$ROOT/logs/n1.log"
  writer_end
  MOOTFS_NODES="$(address 2),$(address 3),$(address 5)" wait_for "equal trees" nodes_agree
}

@test "a removed node says so and stops, and its id is not taken again" {
  cluster_start 3
  local other
  other=$(($(leader) % 3 + 1))
  process_kill "n$other"
  mootfs members remove "n$other"
  run mootfs members add "n$other=$(address "$other")"
  [ "$status" -eq 1 ]
  [[ "$output" == *"no id is used twice"* ]]
  run timeout 60 "$MOOTFS" node --id "n$other" --data "$ROOT/n$other" --peers "$PEERS"
  [ "$status" -eq 4 ]
  [[ "$output" == *"was removed from the cluster"* ]]
  rm -rf "$ROOT/n$other"
  run timeout 60 "$MOOTFS" node --id "n$other" --data "$ROOT/n$other" --listen "$(address "$other")" --join "$NODES"
  [ "$status" -ne 0 ]
  [[ "$output" == *"was removed from"* ]]
}

@test "leadership goes where it is asked to; a rolling restart of all nodes loses nothing" {
  cluster_start 3
  mount_start 1
  local next i
  next=$(($(leader) % 3 + 1))
  # Somebody else may be elected between the two looks.
  wait_for "n$next to lead" leads_when_asked "$next"
  writer_start
  wait_for "some lines" test -s "$ROOT/mnt/1/lines"
  for i in 1 2 3; do
    process_kill "n$i" TERM
    node_start "$i"
    wait_for "all nodes agree on being there" all_follow
  done
  writer_end
  wait_for "equal trees" nodes_agree
}

@test "a learner stays one, and a node takes another one's place, also when they join afterwards" {
  cluster_new 5
  for i in 1 2 3; do PEERS="n1=$(address 1),n2=$(address 2),n3=$(address 3)" node_start "$i"; done
  export MOOTFS_NODES="$(address 1),$(address 2),$(address 3)"
  wait_for "a leader" has_leader
  mootfs members add "n4=$(address 4)" --learner
  join_start 4
  wait_for "n4 to have joined" grep -q "n4 is a member" "$ROOT/logs/n4.log"
  mootfs members add "n5=$(address 5)" --replace n3
  join_start 5
  wait_for "n5 in the place of n3" replaced
  run mootfs members add "n5=$(address 5)" --replace n2
  [ "$status" -eq 1 ]
  [[ "$output" == *"n5' was a voter already"*"members remove n2"* ]]
  wait_for "n4 to be promoted" mootfs members promote n4
  wait_for "four voters" voters_are "n1 n2 n4 n5"
}

replaced() {
  [ "$(mootfs members list --json 2>/dev/null | node -e '
    const { voters, outgoing, learners } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    console.log([...voters, ...outgoing].map((v) => v.id).sort() + "+" + learners.map((l) => l.id));')" = "n1,n2,n5+n4" ]
}

leads_when_asked() { [ "$(mootfs transfer "n$1")" = "n$1 leads" ] && [ "$(leader)" -eq "$1" ]; }

# Every node answers, and follows a leader or leads.
all_follow() {
  mootfs status --json 2>/dev/null | node -e '
    const { nodes } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    process.exit(nodes.every(({ status }) => status?.leader && !status.recovering) ? 0 : 1);'
}

@test "members: wrong words are refused with a reason" {
  cluster_start 1
  local wrong
  for wrong in "n2" "n2=nowhere" "n2=127.0.0.1:7,n3=127.0.0.1:8" "n2=127.0.0.1:7 --replace a/b"; do
    # shellcheck disable=SC2086
    run mootfs members add $wrong
    [ "$status" -eq 2 ]
    [[ "$output" == "error:"* ]]
  done
  run mootfs members remove n7
  [ "$status" -eq 1 ]
  [[ "$output" == *"there is no member 'n7'"* ]]
  run mootfs members remove n1
  [ "$status" -eq 1 ]
  [[ "$output" == *"the last voter cannot be removed"* ]]
  run mootfs transfer n1
  [ "$status" -eq 0 ]
  run mootfs transfer
  [ "$status" -eq 1 ]
  run mootfs members --help
  [[ "$output" == *"Example"* ]]
  run "$MOOTFS" node --id n9 --data "$ROOT/n9" --listen 127.0.0.1:1 --join "$NODES" --peers "$PEERS"
  [ "$status" -eq 2 ]
}
