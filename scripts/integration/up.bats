#!/usr/bin/env bats
# `mootfs up`: the first thing that a user does.

load cluster.bash

setup() {
  need_mounts
  root_new
  PORT=$(free_ports_in_a_row 3)
  export MOOTFS_NODES="127.0.0.1:$PORT,127.0.0.1:$((PORT + 1)),127.0.0.1:$((PORT + 2))"
}

teardown() {
  screen_end
  cluster_end
}

up_start() {
  : >"$ROOT/logs/up.log"
  background up up --data "$ROOT/data" --mounts "$ROOT/mnt" --port "$PORT" "$@"
  wait_for "ready" grep -q '^ready' "$ROOT/logs/up.log"
}

@test "three nodes and three mounts; Ctrl-C ends all; run again it goes on with the same data" {
  up_start
  echo hello >"$ROOT/mnt/n1/file"
  [ "$(cat "$ROOT/mnt/n2/file")" = hello ]
  [ "$(cat "$ROOT/mnt/n3/file")" = hello ]
  process_kill up INT
  run ! grep -q " $ROOT/" /proc/self/mounts
  run mootfs status --timeout-ms 500
  [ "$status" -eq 3 ]
  up_start
  [ "$(cat "$ROOT/mnt/n3/file")" = hello ]
  process_kill up INT
  run timeout 60 "$MOOTFS" up --data "$ROOT/data" --mounts "$ROOT/mnt" --port "$PORT" --nodes 5
  [ "$status" -eq 2 ]
  [[ "$output" == *"was made for 3 nodes"*"not for 5 nodes"* ]]
  # What a node cannot use is as if up could not.
  echo '{' >"$ROOT/data/n2/mootfs.json"
  run timeout 120 "$MOOTFS" up --data "$ROOT/data" --mounts "$ROOT/mnt" --port "$PORT"
  [ "$status" -eq 4 ]
  [[ "$output" == "mootfs up: n2: "*"$ROOT/data/n2/mootfs.json"* ]]
  [ "${#lines[@]}" -eq 1 ]
  run ! grep -q " $ROOT/" /proc/self/mounts
}

@test "mounts lock as up is told, and settings of its environment are not the nodes' own" {
  MOOTFS_LISTEN="127.0.0.1:$PORT" MOOTFS_LOCKS=mount up_start
  touch "$ROOT/mnt/n1/file"
  flock "$ROOT/mnt/n1/file" flock --nonblock "$ROOT/mnt/n2/file" true
  run ! flock "$ROOT/mnt/n1/file" flock --nonblock "$ROOT/mnt/n1/file" true
}

@test "what could not begin for a taken port begins at another one" {
  # The connection stays until its standard input ends.
  node -e 'require("net").createServer().listen(+process.argv[1], "127.0.0.1"); process.stdin.on("end", () => process.exit()).resume()' \
    $((PORT + 1)) <"$ROOT/alive" 3>&- &
  local taker=$!
  wait_for "the taken port" in_use $((PORT + 1))
  run timeout 60 "$MOOTFS" up --data "$ROOT/data" --mounts "$ROOT/mnt" --port "$PORT"
  [ "$status" -eq 5 ]
  kill "$taker"
  PORT=$(free_ports_in_a_row 3)
  up_start
}

in_use() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

@test "a killed node is started again, and its killed mount too" {
  up_start
  echo before >"$ROOT/mnt/n1/file"
  pkill_child 'node --id n1'
  echo after >"$ROOT/mnt/n2/file"
  wait_for "all three nodes again" nodes_agree
  pkill_child 'mount .*/n1 '
  wait_for "the mount again" grep -q after "$ROOT/mnt/n1/file"
}

# Kills the one child of our own `up` whose command line matches.
pkill_child() { pkill -KILL -P "$(pid_of up)" -f "$1"; }

@test "up killed by kill -9: its nodes and mounts end by themselves" {
  up_start
  process_kill up KILL
  wait_for "no mounts" no_mounts
  wait_for "no nodes" no_answer
}

@test "in a terminal: who leads, terms, indexes and mounts on the screen; Ctrl-C ends all" {
  need tmux
  screen_start "$ROOT/tmux" "'$MOOTFS' up --data '$ROOT/data' --mounts '$ROOT/mnt' --port $PORT --control off"
  tmux -S "$TMUX_SOCKET" list-panes -F '#{pane_pid}' >"$ROOT/pids/up"
  wait_for "the screen" screen_is_whole
  local i processes
  for i in 1 2 3; do is_mounted "n$i"; done
  processes=$(sed -nE 's/^(mount )?n[123] +([0-9]+)  up .*/\2/p' <<<"$SCREEN")
  [ "$(wc -w <<<"$processes")" = 6 ]
  keys C-c
  wait_for "the end" screen_gone
  rm "$ROOT/pids/up"
  no_mounts
  for i in $processes; do process_gone "$i"; done
}

# One leads, all are in its term and have committed and applied the same, and all six processes are up.
screen_is_whole() {
  SCREEN=$(screen)
  awk '
    $1 == "NODE" { for (i = 1; i <= NF; i++) column[$i] = i }
    $1 ~ /^n[123]$/ && $2 ~ /:/ {
      nodes++
      leaders += $column["ROLE"] == "leader"
      different += !seen[$column["TERM"] " " $column["COMMIT"] " " $column["APPLIED"]]++
      numbers += $column["TERM"] > 0 && $column["COMMIT"] > 0 && $column["APPLIED"] > 0
    }
    /^leader n[123];/ { named = 1 }
    /^(mount )?n[123] +[0-9]+ +up / { up++ }
    /Ctrl-C unmounts and stops/ { told = 1 }
    END { exit !(nodes == 3 && leaders == 1 && different == 1 && numbers == 3 && named && up == 6 && told) }' <<<"$SCREEN"
}

no_mounts() { ! grep -q " $ROOT/" /proc/self/mounts; }
no_answer() { ! mootfs status --json --timeout-ms 300 2>/dev/null | grep -q '"role"'; }
