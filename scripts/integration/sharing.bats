#!/usr/bin/env bats
# What several mounts do to the same files and directories at once.

load cluster.bash

setup() {
  LOCAL="$BATS_TEST_TMPDIR"
  cluster_start 3
  mounts_start 1 2
  A="$ROOT/mnt/1" B="$ROOT/mnt/2"
}

teardown() { cluster_end; }

@test "an open file lives on: removed elsewhere, all nodes killed and started again" {
  echo before >"$A/f"
  # A process of its own: what is started from here on must not inherit the open file.
  node -e '
    const fs = require("fs");
    const [path, ready, go] = process.argv.slice(1);
    const fd = fs.openSync(path, "r+");
    fs.writeFileSync(ready, "");
    const timer = setInterval(() => {
      if (!fs.existsSync(go)) return;
      clearInterval(timer);
      const bytes = Buffer.alloc(100);
      const length = fs.readSync(fd, bytes, 0, 100, 0);
      fs.writeSync(fd, "after\n", length);
      const { nlink, size } = fs.fstatSync(fd);
      fs.closeSync(fd);
      console.log(bytes.toString("utf8", 0, length).trim(), nlink, size);
    }, 50);' "$A/f" "$LOCAL/ready" "$LOCAL/go" >"$LOCAL/said" 3>&- &
  local user=$!
  wait_for "the file to be open" test -e "$LOCAL/ready"
  rm "$B/f"
  [ ! -e "$A/f" ]
  for i in 1 2 3; do process_kill "n$i"; done
  for i in 1 2 3; do node_start "$i"; done
  wait_for "a leader" has_leader
  # The sessions outlive the nodes, and say again what they hold.
  sleep 2
  touch "$LOCAL/go"
  wait "$user"
  [ "$(cat "$LOCAL/said")" = "before 0 13" ]
  wait_for "the bytes to be given back" test_inodes 1
  wait_for "equal trees on all nodes" nodes_agree
}

# test_inodes N: how many inodes the cluster counts, the root among them.
test_inodes() {
  [ "$(mootfs status --json | node -e '
    const { nodes } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    console.log(Math.max(...nodes.map((n) => n.status ? n.status.inodes : 0)));')" = "$1" ]
}

@test "a directory removed while it is open, or somebody's current one, here or elsewhere" {
  mkdir "$A/d" "$A/e" "$A/g"
  node -e '
    const fs = require("fs"), { execFileSync } = require("child_process");
    const [a, b] = process.argv.slice(1);
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    // What may be said of what is gone.
    const code = (call, ...codes) => {
      try { call(); } catch (error) {
        const said = error.errno === -116 ? "ESTALE" : error.code;
        if (codes.includes(said)) return said;
        throw error;
      }
      return null;
    };
    const makesNothing = (...paths) => {
      for (const path of paths)
        if (code(() => fs.mkdirSync(path), "ENOENT", "ESTALE") === null) throw new Error("made " + path);
    };
    (async () => {
      const open = fs.opendirSync(a + "/d");
      process.chdir(a + "/e");
      execFileSync("rmdir", [b + "/d", a + "/e"]);
      await wait(3000);
      code(() => {
        const entry = open.readSync();
        if (entry !== null) throw new Error("it has " + entry.name);
      }, "ENOENT");
      // A mount keeps what it has itself removed for those who work in it.
      makesNothing("x", a + "/d/x");
      if (fs.statSync(".").nlink !== 0) throw new Error("still linked");
      // When another mount removes it, it is gone after a while, and not kept.
      process.chdir(a + "/g");
      execFileSync("rmdir", [b + "/g"], { cwd: "/" });
      const end = Date.now() + 60_000;
      makesNothing("x", "../g/x", a + "/g/x");
      while (code(() => fs.statSync("."), "ESTALE") === null) {
        if (Date.now() > end) throw new Error("still there");
        await wait(100);
      }
      makesNothing("x", a + "/g/x");
      if (code(() => fs.readdirSync("."), "ESTALE", "ENOENT") === null) throw new Error("it can be listed");
      process.chdir(a);
      fs.rmdirSync(fs.mkdtempSync("still-works"));
    })();' "$A" "$B"
  wait_for "only the root" test_inodes 1
}

@test "a mapping shows what another mount writes, and the other way round" {
  command -v cc >/dev/null || skip "needs a C compiler (cc)"
  cc -O1 -Wall -Werror -o "$LOCAL/mapping" "$BATS_TEST_DIRNAME/mapping.c"
  truncate -s 4096 "$A/f"
  printf 'first\n' | dd of="$A/f" conv=notrunc status=none
  local i
  for i in 1 2; do
    mkfifo "$LOCAL/asked$i"
    "$LOCAL/mapping" "$ROOT/mnt/$i/f" <"$LOCAL/asked$i" >"$LOCAL/said$i" 3>&- &
    echo $! >"$ROOT/pids/mapping$i"
  done
  exec 5>"$LOCAL/asked1" 6>"$LOCAL/asked2"
  for i in 5 6; do echo read >&$i; done
  wait_for "the mappings" eval 'grep -qx first "$LOCAL/said1" && grep -qx first "$LOCAL/said2"'
  # By write(2) and close(2), and once more when all have seen it.
  for text in second third; do
    printf '%s\n' "$text" | dd of="$B/f" conv=notrunc status=none
    for i in 1 2; do wait_for "mapping $i to have the $text" maps "$i" "$text"; done
  done
  # By the other mapping, from its msync(2) on; and a file that is opened then has it.
  printf 'write fourth\nsync\n' >&6
  wait_for "msync" grep -qx synced "$LOCAL/said2"
  [ "$(head -c 6 "$A/f")" = fourth ]
  wait_for "mapping 1 to have it" maps 1 fourth
  printf 'write the fifth\nsync\n' >&5
  wait_for "msync" grep -qx synced "$LOCAL/said1"
  [ "$(head -c 9 "$B/f")" = "the fifth" ]
  wait_for "mapping 2 to have it" maps 2 'the fifth'
  # They end with their input.
  exec 5>&- 6>&-
  for i in 1 2; do
    wait "$(pid_of "mapping$i")"
    rm "$ROOT/pids/mapping$i"
  done
}

# maps I TEXT: what mapping I shows; what it is asked it answers at once, or the next time.
maps() {
  echo read >&$((4 + $1))
  [ "$(tail -n 1 "$LOCAL/said$1")" = "$2" ]
}

@test "directories renamed into each other on two mounts never make a cycle" {
  mkdir "$A/p" "$A/q"
  mkdir "$A/p/x" "$A/q/y"
  local script='
    const fs = require("fs");
    const dir = process.argv[1];
    const paths = ["p", "q", "p/x", "q/y", "p/q", "q/p", "p/x/q", "q/y/p", "x", "y"];
    const counts = {};
    for (let i = 0; i < 400; i++) {
      const pick = () => dir + "/" + paths[Math.floor(Math.random() * paths.length)];
      try { fs.renameSync(pick(), pick()); counts.done = (counts.done ?? 0) + 1; }
      catch (error) {
        const code = error.errno === -116 ? "ESTALE" : error.code;
        if (!["EINVAL", "ENOENT", "ENOTEMPTY", "EBUSY", "ELOOP", "ESTALE"].includes(code)) throw error;
        counts[code] = (counts[code] ?? 0) + 1;
      }
    }
    console.log(JSON.stringify(counts));
    // The kernel walks a path twice: who is overtaken both times hears it. That must be rare, also where a
    // process stands still between the walks.
    if (counts.ESTALE > 20) process.exit(1);'
  node -e "$script" "$A" 3>&- &
  local one=$!
  node -e "$script" "$B" 3>&- &
  local two=$!
  wait $one
  wait $two
  # A directory that had lost its way to the root would be counted and not found.
  wait_for "all directories to be found" same_directories
  wait_for "equal trees on all nodes" nodes_agree
}

same_directories() {
  local found
  found=$(find "$A" -type d | wc -l)
  [ "$found" = "$(find "$B" -type d | wc -l)" ] && test_inodes "$found"
}

@test "a name that a mount has made by rename is gone there when another mount moves it on" {
  mkdir "$A/d"
  node -e '
    const fs = require("fs");
    const [a, b] = process.argv.slice(1);
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    (async () => {
      for (let i = 0; i < 6; i++) {
        // By then the other mount keeps nothing of this directory.
        await wait(1_500);
        fs.writeFileSync(`${a}/first${i}`, "");
        fs.renameSync(`${a}/first${i}`, `${a}/then${i}`);
        fs.renameSync(`${b}/then${i}`, `${b}/last${i}`);
        if (fs.existsSync(`${a}/then${i}`)) throw new Error(`then${i} is still there`);
        if (!fs.existsSync(`${a}/last${i}`)) throw new Error(`last${i} is not there yet`);
      }
    })();' "$A/d" "$B/d"
}

@test "a program keeps its working directory that it has just made or renamed, at each level" {
  local i=3 level directory
  for level in strong session local; do
    mkdir -p "$ROOT/mnt/$i"
    mount_start "$i" --level "$level"
    directory="$ROOT/mnt/$i/by-$level"
    node -e '
      const fs = require("fs");
      const [directory] = process.argv.slice(1);
      const wait = () => new Promise((done) => setTimeout(done, 300));
      (async () => {
        fs.mkdirSync(directory);
        process.chdir(directory);
        await wait();
        if (process.cwd() !== directory) throw new Error(process.cwd());
        fs.renameSync(directory, `${directory}-now`);
        await wait();
        process.chdir(".");
        if (process.cwd() !== `${directory}-now`) throw new Error(process.cwd());
      })();' "$directory"
    i=$((i + 1))
  done
}

@test "hard links are counted right whoever makes and removes them" {
  echo x >"$A/f"
  local i pids=()
  for i in 1 2 3 4; do
    node -e '
      const fs = require("fs");
      const [dir, own] = process.argv.slice(1);
      for (let i = 0; i < 150; i++) {
        const name = dir + "/l" + Math.floor(Math.random() * 12);
        try { Math.random() < 0.6 ? fs.linkSync(dir + "/f", name) : fs.unlinkSync(name); }
        catch (error) { if (!["EEXIST", "ENOENT"].includes(error.code)) throw error; }
      }' "$ROOT/mnt/$((1 + i % 2))" "$i" 3>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i"; done
  local links
  links=$(find "$A" -type f | wc -l)
  for i in 1 2; do [ "$(stat -c %h "$ROOT/mnt/$i/f")" = "$links" ]; done
  find "$B" -type f -delete
  wait_for "only the root" test_inodes 1
}

@test "appends of two mounts are all there, none torn" {
  appends_of_two_mounts 1 2
}

# Each request of the kernel is a command of its own then: what it divides is torn for certain.
@test "... nor when each write is committed at once, by files that are opened anew" {
  mkdir "$ROOT/mnt/4"
  mount_start 3 --write-through
  mount_start 4 --write-through
  appends_of_two_mounts 3 4
  appends_to_files_opened_anew a
  # Opened to read, too; Linux before 6.6 cannot map what goes past its pages.
  if printf '6.6\n%s\n' "$(uname -r)" | sort -CV; then appends_to_files_opened_anew a+; fi
}

# On mounts 3 and 4, opened with this flag of fs.open.
appends_to_files_opened_anew() {
  local i pids=() file="anew-$1"
  for i in 1 2; do
    node -e '
      const fs = require("fs");
      const [path, own, flag] = process.argv.slice(1);
      for (let i = 0; i < 150; i++) fs.appendFileSync(path, own.repeat(997) + "\n", { flag });' \
      "$ROOT/mnt/$((2 + i))/$file" "$i" "$1" 3>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i"; done
  [ "$(sort "$ROOT/mnt/3/$file" | uniq -c | awk '{ print $1, length($2) }' | sort -u)" = "150 997" ]
}

# appends_of_two_mounts MOUNT MOUNT
appends_of_two_mounts() {
  local i pids=() mounts=("$@")
  for i in 1 2 3 4; do
    node -e '
      const fs = require("fs");
      const [path, own] = process.argv.slice(1);
      const fd = fs.openSync(path, "a");
      for (let i = 0; i < 200; i++) {
        fs.writeSync(fd, own.repeat(97) + "\n");
        if (i % 10 === 0) fs.fsyncSync(fd);
      }
      fs.closeSync(fd);' "$ROOT/mnt/${mounts[i % 2]}/log" "$i" 3>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i"; done
  for i in "${mounts[@]}"; do
    [ "$(sort "$ROOT/mnt/$i/log" | uniq -c | awk '{ print $1, length($2) }' | sort -u)" = "200 97" ]
    [ "$(wc -l <"$ROOT/mnt/$i/log")" = 800 ]
  done
}
