#!/usr/bin/env bats
# The console through pipes and through a terminal, and the scenes.

load cluster.bash

setup() {
  root_new
  cd "$ROOT" || return 1
}

teardown() {
  cd / || return 1
  screen_end
  cluster_end
}

@test "all scenes go as told" {
  # Where nobody can press Enter there are no pauses.
  run timeout -k 5 280 "$MOOTFS" play all --no-mount --pace 0 --stretch 4 --pause </dev/null
  echo "$output" | tail -n 5
  [ "$status" -eq 0 ]
  [[ "$output" == *'scenes went as told'* ]]
}

@test "every command through a pipe; what the console loaded lies in the mount" {
  # What a terminal would obey is shown, and not sent.
  local odd=$'notes\e[1m.txt'
  echo 'one line' >"$odd"
  cat >lesson.moot <<'SCRIPT'
# A script: comments and empty lines are allowed.

expect leader
wait 100ms
append last from the script
SCRIPT
  cat >more.moot <<SCRIPT
start 3
status
watch on
log n1 5
load $odd
submit lesson.moot
show last
list
submit check.moot
speed n1 250ms
speed n1 fast
isolate n2
expect n2 candidate
heal
wait leader
cut n1 n3
partition n1 | n2,n3
heal
expect leader
elect n2
transfer n1
expect n1 leader
transfer n2
expect n2 leader
crash n3
expect n3 down
recover n3
expect n3 up
wait leader
expect equal
play replication
delete last
list
help
help crash
history
stop
quit
SCRIPT
  # The mounts are looked at from a process of its own, while the console waits.
  echo 'wait 3s' >check.moot
  "$MOOTFS" repl --mounts mnt --stretch 2 <more.moot >out.txt 2>err.txt 3>&- &
  echo $! >"$ROOT/pids/repl"
  wait_for "the file in a mount" eval 'cat "$ROOT"/mnt/n3/console/* 2>/dev/null | grep -q "from the script"'
  touch mnt/n1/console/$'odd\e[1m\xff'
  wait "$(pid_of repl)"
  status=$?
  rm "$ROOT/pids/repl"
  cat err.txt out.txt
  [ "$status" -eq 0 ]
  [ ! -s err.txt ]
  grep -Eq '^[0-9a-f-]{36}  /console/[0-9a-f-]{36}  9 bytes' out.txt
  grep -q 'one line' out.txt
  grep -q 'notes\\x1b\[1m\.txt$' out.txt
  grep -Eq '^odd\\x1b\[1m\\xff  .* 0  ' out.txt
  # But for what was typed.
  run ! grep -q $'\e' <(grep -v "^load " out.txt)
  grep -Eq 'n[123] leads in term|knows that entr' out.txt
  grep -q '^n1 leads$' out.txt
  grep -q '^n2 leads$' out.txt
  grep -q 'n3 is dead' out.txt
  grep -Eq 'n3 is back: term [1-9][0-9]*, commit [1-9]' out.txt
  grep -q 'example: crash n2' out.txt
  grep -q '✓ all tables are equal' out.txt
  run ! grep -q " $ROOT/" /proc/self/mounts
}

@test "a console that is asked to end leaves neither processes nor files" {
  mkdir tmp
  mkfifo lines
  TMPDIR="$ROOT/tmp" "$MOOTFS" repl --no-mount --stretch 2 <lines >out.txt 2>&1 3>&- &
  echo $! >"$ROOT/pids/repl"
  exec 7>lines
  echo 'start 3' >&7
  wait_for "the cluster" grep -q 'the page' out.txt
  [ -n "$(ls tmp)" ]
  echo 'wait 60s' >&7
  local pid
  pid=$(pid_of repl)
  process_kill repl TERM
  exec 7>&-
  [ -z "$(ls tmp)" ]
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq 143 ]
  # While it starts the cluster, too.
  TMPDIR="$ROOT/tmp" "$MOOTFS" repl --no-mount --stretch 2 <lines >out.txt 2>&1 3>&- &
  echo $! >"$ROOT/pids/repl"
  exec 7>lines
  echo 'start 3' >&7
  wait_for "the nodes' data" eval '[ -n "$(ls tmp)" ]'
  process_kill repl TERM
  exec 7>&-
  [ -z "$(ls tmp)" ]
  # When nobody reads on, whatever is still to come.
  { TMPDIR="$ROOT/tmp" "$MOOTFS" repl --no-mount --stretch 2 <lines 2>err.txt; echo $? >code; } | head -n 1 >out.txt 3>&- &
  exec 7<>lines
  echo 'start 1' >&7
  wait_for "its end" eval 'echo status >&7; [ -s code ]'
  exec 7>&-
  grep -q NODE out.txt
  [ "$(cat code)" -eq 0 ]
  [ ! -s err.txt ]
  [ -z "$(ls tmp)" ]
}

@test "bad input is named, and changes nothing" {
  truncate -s 70M big
  printf 'crash n1\nload last\nexpect leader n9\nstatus\n' >bad.moot
  run timeout -k 5 120 "$MOOTFS" repl --no-mount --stretch 2 <<'SCRIPT'
status
start 12
start 3
statsu
crash n9
speed n1 warp
crash
recover n1 n2
isolate
elect
transfer
transfer n9
cut n1
log
partition n1,n1 | n2
cut n1 n1
load missing.txt
load big
load .
show nothing
append last
delete
play no-such-scene
expect sunshine
log n1 many
submit missing.moot
submit bad.moot
expect n1 down
stop
SCRIPT
  echo "$output"
  [ "$status" -eq 1 ]
  for said in "usage: crash NODE" "usage: recover NODE" "usage: isolate NODE" "usage: elect NODE" \
    "usage: transfer NODE" "usage: cut NODE NODE" "usage: log NODE" "there is no cluster yet" "'12' is not a number of nodes" "did you mean 'status'?" \
    "there is no node n9; there are: n1, n2, n3" "usage: speed NODE" "a node is in one part only" \
    "cannot be cut from itself" "missing.txt cannot be read" "at most 67108864: use 'mootfs put'" \
    ". is not a regular file" "no file has the id nothing" "usage: append ID" "id is missing" \
    "there is no scene 'no-such-scene'" "'sunshine' is none of" "'count' must be a number" \
    "missing.moot cannot be read" "bad.moot, line 2: last cannot be read"; do
    [[ "$output" == *"$said"* ]] || { echo "not said: $said"; false; }
  done
}

@test "join a running cluster; a node that does not allow faults refuses them" {
  need curl
  read -r PORT CONTROL < <(free_ports 2)
  background n1 node --id n1 --data "$ROOT/n1" --listen "127.0.0.1:$PORT" --control "127.0.0.1:$CONTROL"
  wait_for "the node" eval 'curl -sf "http://127.0.0.1:$CONTROL/readyz"'
  run timeout -k 5 60 "$MOOTFS" repl --cluster "127.0.0.1:$CONTROL" <<'SCRIPT'
status
crash n1
speed n1 slow
elect n1
recover n1
stop
expect n1 leader
SCRIPT
  echo "$output"
  [ "$status" -eq 1 ]
  [ "$(grep -c 'was not started with --allow-faults' <<<"$output")" -eq 3 ]
  [[ "$output" == *"nobody here has started node n1"* ]]
  [[ "$output" == *"only joined the cluster"* ]]
  # What cannot be started leaves nothing behind, and the console goes on: there, a port is taken.
  mkdir tmp
  run env TMPDIR="$ROOT/tmp" timeout -k 5 60 "$MOOTFS" repl --no-mount --port $((PORT - 999)) <<<$'start 1\nhelp quit'
  [ "$status" -eq 1 ]
  [[ "$output" == *"port $PORT on 127.0.0.1 is taken"*"example: quit"* ]]
  [ -z "$(ls tmp)" ]
  run timeout -k 5 60 "$MOOTFS" repl --no-mount --data "$ROOT/pids/n1/data" <<<$'start 1\nhelp quit'
  [ "$status" -eq 1 ]
  [[ "$output" == *"ENOTDIR: not a directory"*"example: quit"* ]]
  run timeout -k 5 60 "$MOOTFS" repl --cluster 127.0.0.1:1 </dev/null
  [ "$status" -eq 3 ]
  [[ "$output" == *"no control server answers at 127.0.0.1:1"* ]]
}

@test "a terminal: completion, history, and watching" {
  need tmux
  mkdir tmp
  # Ctrl-C ends whatever runs, and drops what was typed ahead.
  screen_start "$ROOT/tmux" "$MOOTFS repl; echo \$? >code"
  wait_for "a prompt" on_screen 'moot>'
  keys 'wait 60s' Enter 'submit missing.moot' Enter
  wait_for "the lines" on_screen 'missing'
  keys C-c
  wait_for "the end of the console" test -s code
  [ "$(cat code)" -eq 130 ]
  wait_for "the end of the terminal" screen_gone
  screen_start "$ROOT/tmux" "echo \$\$ >pid; TMPDIR=$ROOT/tmp exec $MOOTFS repl --no-mount --stretch 2 2>err.txt"
  wait_for "a prompt" on_screen 'moot>'
  keys 'star'
  wait_for "the letters" on_screen 'moot> star'
  keys Tab
  wait_for "the completed command" on_screen 'moot> start'
  keys '3' Enter
  wait_for "the cluster" on_screen 'the page: http'
  keys 'cra'
  wait_for "the letters" on_screen 'moot> cra'
  keys Tab
  wait_for "the completed command" on_screen 'moot> crash'
  # What comes in one piece readline takes for pasted text: of two Tabs it would insert one. So each
  # round begins with a line of its own.
  line_is() { [ "$(screen | grep . | tail -n 1)" = "moot> $1" ]; }
  nodes_shown() {
    keys C-u 'crash n'
    wait_for "the letters" line_is 'crash n'
    keys Tab
    sleep 0.2
    keys Tab
    sleep 0.2
    on_screen 'n1 *n2 *n3'
  }
  wait_for "the nodes" nodes_shown
  keys C-u 'watch on' Enter
  wait_for "watching" on_screen 'watching is on'
  echo hello >notes.txt
  keys 'load notes.txt' Enter
  wait_for "a commit, told without asking" on_screen 'n[123] knows that entr.* committed'
  keys 'crash n1' Enter
  wait_for "a crash" on_screen 'n1 is dead'
  keys 'recover n1' Enter
  wait_for "the node again" on_screen 'n1 is back'
  keys Up Up
  wait_for "the command before" on_screen 'moot> crash n1$'
  keys C-u 'history' Enter
  wait_for "history" on_screen '^recover n1$'
  # The terminal is closed.
  [ -n "$(ls tmp)" ]
  screen_end
  wait_for "the end" process_gone "$(cat pid)"
  cat err.txt
  [ ! -s err.txt ]
  [ -z "$(ls tmp)" ]
}
