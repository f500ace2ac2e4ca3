#!/usr/bin/env bats
# Processes die; what was promised stays true.

load cluster.bash

setup() {
  LOCAL="$BATS_TEST_TMPDIR"
}

teardown() { cluster_end; }

cluster_with_mounts() {
  cluster_start 3 "$@"
  mounts_start 1 2 3
}

# kill_leader_during BEGUN UNDO COMMAND...: kills the leader when the command runs and BEGUN is true. The
# command succeeds. Where it had ended before the fault, which proves nothing, UNDO and once more.
kill_leader_during() {
  local begun=$1 undo=$2 program
  shift 2
  for _ in 1 2 3 4 5; do
    DEAD=$(leader)
    "$@" 3>&- &
    program=$!
    wait_for "the program to be at work" eval "$begun"
    process_kill "n$DEAD"
    if ! process_gone "$program" && has_led; then
      wait "$program"
      return
    fi
    wait "$program"
    node_start "$DEAD"
    eval "$undo"
  done
  echo "the program always had ended before the fault" >&2
  return 1
}

# Between the question and the fault another one may have been elected.
has_led() { grep -E "info n$DEAD .* in term [0-9]+$" "$ROOT/logs/n$DEAD.log" | tail -n 1 | grep -q " leads in term "; }

@test "kill -9 of the leader during cp of 200 MB: no error, identical bytes everywhere" {
  cluster_with_mounts
  head -c 200M /dev/urandom >"$LOCAL/big"
  kill_leader_during 'has_bytes "$ROOT/mnt/1/big"' 'rm "$ROOT/mnt/1/big"' cp "$LOCAL/big" "$ROOT/mnt/1/big"
  for i in 1 2; do cmp "$LOCAL/big" "$ROOT/mnt/$i/big"; done
  node_start "$DEAD"
  wait_for "equal trees on all nodes" nodes_agree
  own_trees same_file
}

same_file() { cmp "$LOCAL/big" "$1/big"; }

has_bytes() { [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -gt 0 ]; }

@test "kill -9 of the leader during tar x of 3,000 files: no error, identical trees everywhere" {
  cluster_with_mounts
  make_tree "$LOCAL/tree" 3000
  tar cf "$LOCAL/tree.tar" -C "$LOCAL" tree
  unpack() { tar xf "$LOCAL/tree.tar" -C "$ROOT/mnt/2" 2>>"$LOCAL/errors"; }
  kill_leader_during 'test -e "$ROOT/mnt/2/tree/package1"' 'rm -r "$ROOT/mnt/2/tree"' unpack
  [ ! -s "$LOCAL/errors" ]
  diff -r "$LOCAL/tree" "$ROOT/mnt/1/tree"
  node_start "$DEAD"
  wait_for "equal trees on all nodes" nodes_agree
  own_trees same_tree
}

same_tree() { diff -r "$LOCAL/tree" "$1/tree"; }

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
  # Longer than anything here stands still; the mount's end takes as long.
  mount_start 1 --deadline 15
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
  wait_for "snapshots of those that are there" two_snapshots
  echo more >"$ROOT/mnt/1/more"
  # It may have taken one in before.
  : >"$ROOT/logs/n$lost.log"
  node_start "$lost" --snapshot-log-entries 200
  wait_for "equal trees on all nodes" nodes_agree
  grep -q "took in a snapshot from" "$ROOT/logs/n$lost.log"
  own_tree "$lost" same_tree
}

two_snapshots() { [ "$(mootfs snapshot 2>/dev/null | grep -c 'snapshot at index')" = 2 ]; }

@test "two of three nodes lost: writes end with ETIMEDOUT, local reads work, all goes on when one returns" {
  cluster_start 3
  # So short a deadline may be over at any time: what is to succeed is tried again.
  mount_start 1 --deadline 3
  mount_start 2 --deadline 3 --level local
  # A local mount is served by the node it prefers: that one stays.
  wait_for "the first write" sh -c "echo before >'$ROOT/mnt/1/file'"
  wait_for "the file at node 2" grep -q before "$ROOT/mnt/2/file"
  # Meanwhile, with files that were open before.
  node -e '
    const fs = require("fs");
    const [directory, go] = process.argv.slice(1);
    const open = (name) => {
      for (;;) try { return fs.openSync(directory + name, "w"); } catch {}
    };
    const files = [open("/synced"), open("/closed")];
    const say = (what, act) => {
      try { act(); console.log(what, "done"); } catch ({ code }) { console.log(what, code); }
    };
    console.log("open");
    const timer = setInterval(() => {
      if (!fs.existsSync(go)) return;
      clearInterval(timer);
      for (const file of files) fs.writeSync(file, "lost");
      say("fsync", () => fs.fsyncSync(files[0]));
      say("close", () => fs.closeSync(files[1]));
    }, 10);' "$ROOT/mnt/1" "$LOCAL/go" >"$LOCAL/said" 3>&- &
  local program=$!
  wait_for "the open files" grep -q open "$LOCAL/said"
  process_kill n1
  process_kill n3
  touch "$LOCAL/go"
  run timeout 60 sh -c "echo after >'$ROOT/mnt/1/new'"
  [ "$status" -ne 0 ]
  [ "$status" -ne 124 ]
  [[ "$output" == *"timed out"* ]]
  run timeout 60 cat "$ROOT/mnt/1/file"
  [ "$status" -eq 1 ]
  [[ "$output" == *"timed out"* ]]
  wait_for "the end of fsync and close" process_gone "$program"
  [ "$(cat "$LOCAL/said")" = $'open\nfsync ETIMEDOUT\nclose ETIMEDOUT' ]
  wait_for "a local read" reads "$ROOT/mnt/2/file" before
  run mootfs cat --level local --nodes "127.0.0.1:${PORTS[1]}" /file
  [ "$output" = before ]
  node_start 1
  wait_for "a leader" has_leader
  wait_for "writes again" sh -c "echo after >'$ROOT/mnt/1/new'"
  wait_for "a read" reads "$ROOT/mnt/1/new" after
}

reads() { [ "$(timeout 60 cat "$1")" = "$2" ]; }

@test "without a leader SIGKILL ends a waiting program at once, and so does SIGINT" {
  cluster_start 3
  mount_start 1 --deadline hard
  process_kill n1
  process_kill n2
  for signal in KILL INT; do
    # The shell starts it with SIGINT ignored: it must have come to where node listens again.
    node -e '
      const [begun, file] = process.argv.slice(1);
      require("fs").writeFileSync(begun, "");
      require("fs").writeFileSync(file, "x");' "$LOCAL/begun-$signal" "$ROOT/mnt/1/file-$signal" 3>&- 2>/dev/null &
    local program=$!
    wait_for "the program" test -e "$LOCAL/begun-$signal"
    sleep 0.5
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
  # It would never end by itself.
  cp /dev/zero "$ROOT/mnt/1/endless" 2>"$LOCAL/errors" 3>&- &
  local program=$!
  wait_for "cp to be at work" has_bytes "$ROOT/mnt/1/endless"
  process_kill mount1
  wait_for "the end of cp" process_gone "$program"
  run ! wait "$program"
  grep -q "endless" "$LOCAL/errors"
  run timeout 20 cat "$ROOT/mnt/1/file"
  [ "$status" -ne 0 ]
  [ "$status" -ne 124 ]
  exec 5<&-
  mount_start 1
  [ "$(cat "$ROOT/mnt/1/file")" = kept ]
  rm "$ROOT/mnt/1/endless"
}

@test "Ctrl-C of the mount process: what was written is there, nothing stays mounted" {
  cluster_start 3
  mounts_start 1 2
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
  local term old later
  read -r term old < <(office)
  process_kill "n$old" STOP
  echo during >"$ROOT/mnt/1/file"
  process_kill "n$old" CONT
  wait_for "equal trees on all nodes" nodes_agree
  # When it goes on it may be elected again.
  read -r later _ < <(office)
  [ "$later" -gt "$term" ]
  [ "$(cat "$ROOT/mnt/1/file")" = during ]
}
