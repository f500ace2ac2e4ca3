#!/usr/bin/env bats
# The command line, as scripts use it.

load cluster.bash

setup_file() {
  cluster_start 3
  cluster_share
}

teardown_file() { cluster_end; }

setup() {
  LOCAL="$BATS_TEST_TMPDIR"
  cluster_shared
}

@test "every command has --help with an example" {
  local command commands=()
  for command in $(commands_of); do
    if [ "$command" = members ]; then
      mapfile -t -O "${#commands[@]}" commands < <(commands_of members | sed 's/^/members /')
    fi
    commands+=("$command")
  done
  [ "${#commands[@]}" -ge 22 ]
  for command in "${commands[@]}"; do
    # The name of a command below another one is a word of its own.
    # shellcheck disable=SC2086
    run mootfs $command --help
    [ "$status" -eq 0 ]
    [[ "$output" == *"Example:"*"mootfs $command"* ]]
  done
}

# commands_of [COMMAND]: all that stand in its help.
commands_of() {
  mootfs "$@" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ && $1 != "help" { print $1 }'
}

@test "status: a table, and JSON with all nodes" {
  wait_for "a leader" names_leader "$MOOTFS"
  [ "$(mootfs status --json | node -p 'JSON.parse(require("fs").readFileSync(0)).nodes.length')" = 3 ]
}

# By its exit code and in words; not in the middle of an election.
names_leader() {
  run "$1" status
  [ "$status" -eq 0 ] && [[ "$output" == *"leader n"* ]]
}

@test "status without a cluster: exit code 3" {
  run mootfs status --nodes 127.0.0.1:1 --timeout-ms 500
  [ "$status" -eq 3 ]
}

@test "put, cat, append, ls, stat, rm without a mount" {
  head -c 3000000 /dev/urandom >"$LOCAL/file"
  mootfs put "$LOCAL/file" /stored
  mootfs cat /stored | cmp - "$LOCAL/file"
  echo tail | mootfs append - /stored
  [ "$(mootfs cat /stored | tail -c 5)" = tail ]
  mootfs ls -l / | grep -q 3000005
  [ "$(mootfs stat --json /stored | node -p 'JSON.parse(require("fs").readFileSync(0)).size')" = 3000005 ]
  echo from stdin | mootfs put - /other
  [ "$(mootfs cat /other)" = "from stdin" ]
  mootfs rm /stored /other
  run mootfs cat /stored
  [ "$status" -eq 1 ]
  [[ "$output" == *"/stored"* ]]
}

@test "names of any bytes stay apart, and are printed so that they can be told apart" {
  local odd=$'/odd/\xff' other=$'/odd/\xfe' cut=$'/odd/caf\xc3' replacement=$'/odd/caf\xef\xbf\xbd'
  local file=$LOCAL/$'local\xff'
  echo odd >"$file"
  need_mounts
  mkdir -p "$ROOT/mnt/names"
  mootfs mount --daemon "$ROOT/mnt/names" 3>&-
  mkdir "$ROOT/mnt/names/odd"
  ln -s $'\xfd\n' "$ROOT/mnt/names/odd/link"
  mootfs umount "$ROOT/mnt/names"
  mootfs put "$file" "$odd"
  echo other | mootfs put - "$other"
  echo more | mootfs append - "$other"
  echo replacement | mootfs put - "$replacement"
  [ "$(mootfs cat "$odd" "$other")" = $'odd\nother\nmore' ]
  run mootfs rm "$cut"
  [ "$status" -eq 1 ]
  [[ "$output" == *'/odd/caf\xc3: no such file'* ]]
  echo cut | mootfs put - "$cut"
  [ "$(mootfs cat "$replacement" "$cut")" = $'replacement\ncut' ]
  printf 'red' | mootfs put - $'/odd/\e[31m'
  [ "$(mootfs ls /odd)" = $'\\x1b[31m\ncaf\\xc3\ncaf\xef\xbf\xbd\nlink\n\\xfe\n\\xff' ]
  mootfs ls -l /odd | grep -qF 'link -> \xfd\x0a'
  mootfs stat /odd/link | grep -qF '\xfd\x0a'
  [ "$(mootfs ls --json /odd | node -p 'JSON.parse(require("fs").readFileSync(0)).map((e) => [e.nameBytes, e.targetBytes])')" = \
    "[
  [ undefined, undefined ],
  [ '636166c3', undefined ],
  [ undefined, undefined ],
  [ undefined, 'fd0a' ],
  [ 'fe', undefined ],
  [ 'ff', undefined ]
]" ]
  mootfs stat "$odd" --json | grep -q '"size": 4'
  mootfs rm "$odd" "$cut"
  [ "$(mootfs cat "$other" "$replacement")" = $'other\nmore\nreplacement' ]
  mootfs rm -r /odd
}

@test "errors go to standard error, and nothing to standard output" {
  [ -z "$(mootfs cat /nowhere 2>/dev/null || true)" ]
  run mootfs ls /nowhere
  [ "$status" -eq 1 ]
  run mootfs frobnicate
  [ "$status" -eq 2 ]
  run mootfs status --nodes nonsense
  [ "$status" -eq 2 ]
  [[ "$output" == *"has no port; write it like 127.0.0.1:7101"* ]]
}

@test "a reader that has seen enough ends the command quietly" {
  head -c 3000000 /dev/zero | mootfs put - /zeros
  [ "$(mootfs cat /zeros 2>&1 | head -c 5 | od -An -tx1 | tr -d ' \n')" = 0000000000 ]
  mootfs cat /zeros 2>"$LOCAL/errors" | head -c 1 >/dev/null
  [ ! -s "$LOCAL/errors" ]
  mootfs rm /zeros
}

@test "put gives up at a signal, leaves nothing, and ends by it" {
  local signal pid
  mkfifo "$LOCAL/silent"
  exec {SILENT}<>"$LOCAL/silent"
  for signal in INT TERM HUP; do
    "$MOOTFS" put - /interrupted <"$LOCAL/silent" 2>"$LOCAL/put.log" 3>&- {SILENT}>&- &
    pid=$!
    wait_for "its temporary file" temporaries
    kill "-$signal" "$pid"
    wait_for "the end of put" process_gone "$pid"
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq $((128 + $(kill -l "$signal"))) ]
    grep -q '/interrupted: interrupted' "$LOCAL/put.log"
    run ! temporaries
    run ! mootfs stat /interrupted
  done
  exec {SILENT}>&-
  mkfifo "$LOCAL/nobody-writes"
  run timeout 60 "$MOOTFS" put "$LOCAL/nobody-writes" /interrupted
  [ "$status" -eq 2 ]
  [[ "$output" == *"is not a regular file"* ]]
}

temporaries() { mootfs ls / | grep -q '^\.mootfs-put-'; }

@test "snapshot now, on all nodes and on one" {
  wait_for "all nodes" snapshots_of 3
  [ "$status" -eq 0 ]
  wait_for "one node" snapshots_of 1 --node "127.0.0.1:${PORTS[1]}"
  [[ "$output" == "n2: snapshot at index "* ]]
  run mootfs snapshot --node 127.0.0.1:1
  [ "$status" -eq 2 ]
}

# snapshots_of COUNT ARGUMENTS...: so many nodes have taken one. A node that stands still is not waited for.
snapshots_of() {
  local count=$1
  shift
  run mootfs snapshot "$@"
  [ "$(grep -c '^n[123]: snapshot at index' <<<"$output")" = "$count" ]
}

@test "snapshot of those that are there, and who is not" {
  local absent
  absent="127.0.0.1:$(free_ports 1)"
  wait_for "those that are there" snapshots_of 3 --nodes "$absent,$NODES"
  [ "$status" -eq 3 ]
  grep "^mootfs snapshot: $absent: " <<<"$output"
}

@test "a second process on one data directory is refused with a sentence" {
  run timeout 60 "$MOOTFS" node --id n1 --data "$ROOT/n1" --listen 127.0.0.1:$((PORTS[0] + 1)) --peers "$PEERS"
  [ "$status" -eq 4 ]
  [[ "$output" == *"$ROOT/n1"*"in use"* ]]
}

@test "a taken port, another cluster's name, a foreign directory: one sentence each" {
  run timeout 60 "$MOOTFS" node --id n1 --data "$LOCAL/new" --peers "$PEERS"
  [ "$status" -eq 5 ]
  [[ "$output" == *"${PORTS[0]}"*"taken"* ]]
  run mootfs check "$LOCAL/new"
  [[ "$output" == *"is sound"* ]]
  # Nobody has heard of this one.
  run timeout 60 "$MOOTFS" node --id x --data "$LOCAL/x" --listen "127.0.0.1:${PORTS[0]}" \
    --peers "x=127.0.0.1:${PORTS[0]}" --control "127.0.0.1:${PORTS[1]}"
  [ "$status" -eq 5 ]
  run mootfs ls / --cluster other
  [ "$status" -ne 0 ]
  [[ "$output" == *"cluster"* ]]
  mkdir "$LOCAL/foreign"
  echo x >"$LOCAL/foreign/file"
  run timeout 60 "$MOOTFS" node --id n1 --data "$LOCAL/foreign" --peers "$PEERS"
  [ "$status" -eq 4 ]
  [[ "$output" == *"$LOCAL/foreign"* ]]
}

@test "settings from a file and from the environment; nonsense is named" {
  echo '{"id":"n1","frob":1}' >"$LOCAL/config.json"
  run mootfs node --config "$LOCAL/config.json"
  [ "$status" -eq 2 ]
  [[ "$output" == *"frob"* ]]
  run env MOOTFS_ID=n1 "$MOOTFS" node --data "$LOCAL/d"
  [ "$status" -eq 2 ]
  [[ "$output" == *"--peers is missing"* ]]
  run mootfs node --id n9 --data "$LOCAL/d" --peers "$PEERS"
  [ "$status" -eq 2 ]
  [[ "$output" == *"does not name this node"* ]]
}

@test "an empty directory name is refused, and an empty variable is none" {
  local command
  for command in "node --id n9 --data D --listen 127.0.0.1:1 --mount" "node --id n9 --data" \
    "mount --daemon" "up --data" "up --mounts" "play --data" umount check recover; do
    # Several words.
    # shellcheck disable=SC2086
    run timeout 60 "$MOOTFS" $command ""
    [ "$status" -eq 2 ]
    [[ "$output" == *"name of the directory is empty"* ]]
  done
  echo '{ "mount": "" }' >"$LOCAL/config.json"
  run mootfs node --config "$LOCAL/config.json" --id n9 --data "$LOCAL/d" --peers "$PEERS"
  [ "$status" -eq 2 ]
  [[ "$output" == *"mount: The name of the directory is empty"* ]]
  # Whatever is wrong here is not the mount.
  run env MOOTFS_MOUNT= MOOTFS_DATA= MOOTFS_ALLOW_FAULTS= MOOTFS_LEASE_MS= "$MOOTFS" node --id n9
  [ "$status" -eq 2 ]
  [[ "$output" == *"--data is missing"* ]]
}

@test "an address that leads nowhere is not told to others" {
  run mootfs node --id n9 --data "$LOCAL/d" --peers n9=0.0.0.0:1
  [ "$status" -eq 2 ]
  [[ "$output" == *"nobody else reaches '0.0.0.0:1'"* ]]
  run mootfs node --id n9 --data "$LOCAL/d" --listen '[::]:1' --join "$NODES"
  [ "$status" -eq 2 ]
  [[ "$output" == *"add --address"* ]]
  run mootfs node --id n9 --data "$LOCAL/d" --listen 0.0.0.0:1 --address 0.0.0.0:1 --join "$NODES"
  [ "$status" -eq 2 ]
  run mootfs members add n9=0.0.0.0:1
  [ "$status" -eq 2 ]
}

@test "what cannot be done for one file is said, and the others are done" {
  echo one | mootfs put - /one
  echo two | mootfs put - /two
  run mootfs cat /one /missing /two
  [ "$status" -eq 1 ]
  [[ "$output" == *"one"*"no such file"*"two"* ]]
  run mootfs rm /one /missing /two
  [ "$status" -eq 1 ]
  run mootfs cat /two
  [ "$status" -eq 1 ]
}

@test "nodes of another cluster are refused at once, with the reason" {
  run timeout 60 "$MOOTFS" members list --cluster other
  [ "$status" -eq 3 ]
  [[ "$output" == *"cluster 'other' on one side, 'mootfs' on the other"* ]]
  run timeout 60 "$MOOTFS" transfer --cluster other
  [ "$status" -eq 1 ]
  [[ "$output" == *"cluster 'other' on one side"* ]]
  run timeout 60 "$MOOTFS" node --id n9 --data "$LOCAL/d" --listen "127.0.0.1:$(free_ports 1)" \
    --join "$NODES" --cluster other
  [ "$status" -eq 1 ]
  [[ "$output" == *"cluster 'other' on one side"* ]]
  need_mounts
  mkdir -p "$ROOT/mnt/other"
  run timeout 60 "$MOOTFS" mount --cluster other "$ROOT/mnt/other"
  [ "$status" -eq 1 ]
  [[ "$output" == *"cluster 'other' on one side"* ]]
}

@test "an empty node does not take a member's seat; one that waits to join stops when it is asked to" {
  local port
  port=$(free_ports 1)
  run timeout 60 "$MOOTFS" node --id n1 --data "$LOCAL/copied" --listen "127.0.0.1:$port" --join "$NODES"
  [ "$status" -eq 1 ]
  [[ "$output" == *"'n1' is a member at 127.0.0.1:${PORTS[0]}"* ]]
  "$MOOTFS" node --id n9 --data "$LOCAL/waits" --listen "127.0.0.1:$port" --join 127.0.0.1:1 \
    >"$LOCAL/waits.log" 2>&1 3>&- &
  local pid=$!
  wait_for "why it does not join" grep -q "cannot join yet" "$LOCAL/waits.log"
  kill -TERM "$pid"
  wait_for "its end" process_gone "$pid"
}

@test "mount --daemon returns when mounted; umount ends it" {
  need_mounts
  need curl
  # Below $ROOT: whatever stays mounted there is unmounted in the end.
  local at="$ROOT/mnt/daemon"
  mkdir -p "$at"
  local metrics
  metrics="127.0.0.1:$(free_ports 1)"
  mootfs mount --daemon --metrics "$metrics" "$at" 3>&-
  echo x >"$at/by-daemon"
  curl -sf "http://$metrics/metrics" | grep -q '^mootfs_fuse_request_duration_seconds_count{operation="WRITE"} [1-9]'
  curl -sf "http://$metrics/metrics" | grep -q '^mootfs_fuse_queries_total{type="kept"} [0-9]'
  [ "$(curl -sf "http://$metrics/healthz")" = ok ]
  [ "$(mootfs cat /by-daemon)" = x ]
  (cd "$at" && exec sleep 60 3>&-) &
  local user=$!
  wait_for "who uses it" eval '[ "$(readlink "/proc/$user/cwd")" = "$at" ]'
  run mootfs umount "$at"
  [ "$status" -eq 1 ]
  [[ "$output" == *"--lazy"* ]]
  kill "$user"
  wait_for "the end of who used it" process_gone "$user"
  wait_for "the directory to be free" mootfs umount "$at"
  run ! grep -q " $at fuse" /proc/self/mounts
  run mootfs umount "$at"
  [ "$status" -eq 2 ]
  echo '{ "daemon": true }' >"$LOCAL/daemon.json"
  timeout 60 "$MOOTFS" mount --config "$LOCAL/daemon.json" "$at" 3>&-
  [ "$(cat "$at/by-daemon")" = x ]
  mootfs umount "$at"
  run mootfs mount "$LOCAL/missing"
  [ "$status" -eq 5 ]
  [[ "$output" == *"$LOCAL/missing"* ]]
}

@test "mount --daemon keeps nobody waiting who reads what it says" {
  need_mounts
  local at="$BATS_TEST_TMPDIR/at"
  mkdir "$at"
  # Captured: `run` reads until nobody has the other end.
  run timeout 60 "$MOOTFS" mount --daemon "$at" 3>&-
  [ "$status" -eq 0 ]
  [ -z "$output" ]
  mootfs umount "$at"
  run timeout 60 "$MOOTFS" mount --daemon --deadline 1 "$at" --cluster other 3>&-
  [ "$status" -ne 0 ]
  [[ "$output" == *"cluster"* ]]
}

@test "a node goes on when nobody takes its messages" {
  local data="$BATS_TEST_TMPDIR/alone" port
  port=$(free_ports 1)
  setsid "$MOOTFS" node --id n1 --data "$data" --listen "127.0.0.1:$port" --control off --stop-with-stdin \
    >/dev/full 2>&1 3>&- <"$ROOT/alive" {ALIVE}>&- &
  echo $! >"$ROOT/pids/n9"
  wait_for "a leader" eval "MOOTFS_NODES=127.0.0.1:$port has_leader"
  [ "$(stat -c %a "$data")" = 700 ]
}

@test "mount --daemon that is interrupted mounts nothing" {
  local at="$ROOT/mnt/interrupted" signal starter server
  need_mounts
  mkdir -p "$at"
  for signal in INT HUP KILL; do
    for _ in 1 2 3 4 5; do
      rm -f "$LOCAL/$signal.log"
      # Nobody is there: it looks for a second before it mounts.
      "$MOOTFS" mount --daemon --nodes 127.0.0.1:1 --log "$LOCAL/$signal.log" "$at" 2>/dev/null 3>&- &
      starter=$!
      wait_for "its server" server_started
      kill "-$signal" "$starter" || true
      status=0
      wait "$starter" || status=$?
      # A signal that comes later interrupts nothing: once more.
      [ "$status" -eq 0 ] || grep -q '^mounted' "$LOCAL/$signal.log" 2>/dev/null || break
      wait_for "the directory to be free" eval 'mootfs umount "$at" || ! grep -q " $at fuse" /proc/self/mounts'
    done
    [ "$status" -eq $((128 + $(kill -l "$signal"))) ]
    [ "$signal" = KILL ] || process_gone "$server"
    wait_for "the end of its server" process_gone "$server"
    [ ! -s "$LOCAL/$signal.log" ]
    run ! grep -q " $at fuse" /proc/self/mounts
  done
}

server_started() { server=$(pgrep -P "$starter" -f -- --serve) || process_gone "$starter"; }

@test "a mount that nobody answers ends when it is told to, however long programs wait there" {
  local at="$ROOT/mnt/lonely" server
  need_mounts
  mkdir -p "$at"
  "$MOOTFS" mount --nodes 127.0.0.1:1 --deadline hard "$at" >"$LOCAL/lonely" 3>&- &
  server=$!
  wait_for "the mount" grep -q '^mounted ' "$LOCAL/lonely"
  kill -TERM "$server"
  wait_for "its end" process_gone "$server"
  run ! grep -q " $at fuse" /proc/self/mounts
}

@test "frames that nobody sends: the leader works on, and its memory does not grow" {
  local thrower target k before after
  target=$(leader)
  before=$(resident_kib "n$target")
  mkfifo "$LOCAL/until"
  node "$PROJECT/dist/test/support/throw-bad-frames.js" mootfs "n$target" "127.0.0.1:${PORTS[target - 1]}" \
    <"$LOCAL/until" >"$LOCAL/thrown" 3>&- &
  thrower=$!
  exec {UNTIL}>"$LOCAL/until"
  for ((k = 0; k == 0 || $(wc -l <"$LOCAL/thrown") < 3; k++)); do
    echo "$k" | mootfs put - /thrown-at
    [ "$(mootfs cat /thrown-at)" = "$k" ]
  done
  exec {UNTIL}>&-
  wait "$thrower"
  after=$(resident_kib "n$target")
  echo "$before KiB before, $after KiB after, $(tail -n 1 "$LOCAL/thrown") connections"
  # As much as three rounds bring it.
  [ "$((after - before))" -lt 102400 ]
  mootfs rm /thrown-at
}

resident_kib() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$(pid_of "$1")/status"; }

@test "what mounts without root needs no library of the machine that it comes to" {
  echo 'int main(void) { return 0; }' | cc -static -x c -o "$LOCAL/static" - 2>/dev/null || skip "no static C library"
  local packed="$PROJECT/dist/src/mount/fuse-kernel/mount-as-user"
  run readelf --program-headers "$packed"
  [ "$status" -eq 0 ]
  [[ "$output" != *INTERP* ]]
  cc -O2 -o "$LOCAL/mount-as-user" "$packed.c"
}

@test "npm install -g from the packed tarball" {
  (cd "$PROJECT" && npm pack --silent --ignore-scripts --pack-destination "$LOCAL" >/dev/null)
  npm install --silent --no-audit --no-fund --global --prefix "$LOCAL/prefix" "$LOCAL"/mootfs-*.tgz
  run "$LOCAL/prefix/bin/mootfs" --version
  [ "$status" -eq 0 ]
  [ "$output" = "$(node -p "require('$PROJECT/package.json').version")" ]
  wait_for "a leader" names_leader "$LOCAL/prefix/bin/mootfs"
}
