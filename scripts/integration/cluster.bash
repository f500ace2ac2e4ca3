# Starts, breaks and ends real clusters for the integration tests. Everything lives below $ROOT,
# a directory of its own; only processes started here are ever signalled, by pid.

bats_require_minimum_version 1.5.0 # run !

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
MOOTFS="$PROJECT/dist/src/cli/mootfs"
# Generous: the machine may be slow; nothing waits longer than it must.
WAIT_SECONDS=60

# Tests that look at the control port give one; by default it is a port that somebody else may have.
export MOOTFS_CONTROL=off

mootfs() { "$MOOTFS" "$@"; }

# root_new: an empty directory of its own, and what ends all that is started in it.
root_new() {
  ROOT=$(mktemp -d "${TMPDIR:-/tmp}/mootfs-test.XXXXXX")
  mkdir "$ROOT/pids" "$ROOT/logs" "$ROOT/mnt"
  mkfifo "$ROOT/alive"
  exec {ALIVE}<>"$ROOT/alive"
}

# background NAME ARGUMENTS...: mootfs in the background; its pid is kept. Whatever ends this shell
# ends it, too, by the end of its standard input, and a mount then unmounts: what kills the shell's
# whole process group does not reach it.
background() {
  local name=$1
  shift
  setsid "$MOOTFS" "$@" --stop-with-stdin \
    >>"$ROOT/logs/$name.log" 2>&1 3>&- <"$ROOT/alive" {ALIVE}>&- &
  echo $! >"$ROOT/pids/$name"
}

# cluster_new NODES: a directory, free ports, and the member list; starts nothing.
cluster_new() {
  root_new
  COUNT=$1
  read -r -a PORTS < <(free_ports "$COUNT")
  PEERS="" NODES=""
  local i
  for ((i = 1; i <= COUNT; i++)); do
    PEERS+="${PEERS:+,}n$i=127.0.0.1:${PORTS[i - 1]}"
    NODES+="${NODES:+,}127.0.0.1:${PORTS[i - 1]}"
    mkdir -p "$ROOT/mnt/$i"
  done
  export MOOTFS_NODES="$NODES"
}

# Ports that were free a moment ago, found by binding them all at once.
free_ports() {
  node -e '
    const net = require("net");
    Promise.all(Array.from({ length: Number(process.argv[1]) }, () => new Promise((done) => {
      const server = net.createServer().listen(0, "127.0.0.1", () => done(server));
    }))).then((servers) => {
      console.log(servers.map((s) => s.address().port).join(" "));
      for (const s of servers) s.close();
    });' "$1"
}

# The first of so many ports in a row that were free a moment ago.
free_ports_in_a_row() {
  node -e '
    const net = require("net");
    const listen = (port) => new Promise((done) => {
      const s = net.createServer().on("error", () => done(null)).listen(port, "127.0.0.1", () => done(s));
    });
    (async () => {
      for (;;) {
        const servers = [await listen(0)];
        const port = servers[0].address().port;
        for (let i = 1; i < Number(process.argv[1]); i++) servers.push(await listen(port + i));
        for (const server of servers) server?.close();
        if (servers.every(Boolean)) return console.log(port);
      }
    })();' "$1"
}

# node_start I [FLAGS...]: node I in the background; its pid is kept.
node_start() {
  local i=$1
  shift
  background "n$i" node --id "n$i" --data "$ROOT/n$i" --peers "$PEERS" "$@"
}

# mount_start I [FLAGS...]: mounts $ROOT/mnt/I through node I first; returns when it is mounted.
mount_start() {
  local i=$1 nodes
  shift
  need_mounts
  nodes="127.0.0.1:${PORTS[(i - 1) % COUNT]},$NODES"
  background "mount$i" mount "$ROOT/mnt/$i" --nodes "$nodes" "$@"
  wait_for "mount $i" is_mounted "$i"
}

# Listed, not stat'ed: of a mount whose process died the kernel may know the attributes for a moment.
# Looked for in the table afterwards: between the end of a dead mount and the next one the bare
# directory can be listed, too.
is_mounted() { timeout 10 ls "$ROOT/mnt/$1" >/dev/null 2>&1 && grep -q " $ROOT/mnt/$1 fuse" /proc/self/mounts; }

# cluster_start NODES [NODE FLAGS...]: nodes up, a leader elected.
cluster_start() {
  local count=$1 i
  shift
  cluster_new "$count"
  for ((i = 1; i <= count; i++)); do node_start "$i" "$@"; done
  wait_for "a leader" has_leader
}

has_leader() { mootfs status >/dev/null 2>&1; }

# leader: the number of the node that leads (1, 2, …).
leader() {
  mootfs status --json 2>/dev/null | node -e '
    const { nodes } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const leaders = nodes.map((n) => n.status).filter((s) => s && s.role === "leader");
    leaders.sort((a, b) => b.term - a.term);
    console.log(leaders[0].id.slice(1));'
}

# The same tree everywhere: all nodes answer and have applied the same index with the same state hash.
nodes_agree() {
  mootfs status --json 2>/dev/null | node -e '
    const { nodes } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const seen = new Set(nodes.map((n) => n.status ? n.status.appliedIndex + " " + n.status.stateHash : "none"));
    process.exit(seen.size === 1 && !seen.has("none") ? 0 : 1);'
}

pid_of() { cat "$ROOT/pids/$1"; }

# process_kill NAME [SIGNAL]: signals n1, mount2, … and, unless it is only stopped, waits for its end.
process_kill() {
  local pid signal=${2:-KILL}
  pid=$(pid_of "$1")
  kill "-$signal" "$pid" 2>/dev/null || true
  case $signal in STOP | CONT) return ;; esac
  wait_for "the end of $1" process_gone "$pid"
  rm -f "$ROOT/pids/$1"
}

# What cannot be tested here is skipped, and says why.
need_mounts() { [ "$(id -u)" = 0 ] && [ -e /dev/fuse ] || skip "mounting needs root and /dev/fuse"; }

# Gone, or a zombie whose parent has not looked yet.
process_gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# wait_for WHAT COMMAND...: until COMMAND succeeds, with a generous deadline.
wait_for() {
  local what=$1 end=$((SECONDS + WAIT_SECONDS))
  shift
  until "$@"; do
    if ((SECONDS > end)); then
      echo "waited $WAIT_SECONDS s in vain for $what" >&2
      tail -n 5 "$ROOT"/logs/* >&2
      return 1
    fi
    sleep 0.1
  done
}

# cluster_end: unmounts, ends every process that was started here, removes every file.
cluster_end() {
  [ -n "${ROOT:-}" ] || return 0
  local file pid
  for file in "$ROOT"/pids/mount*; do
    [ -e "$file" ] && kill -TERM "$(cat "$file")" 2>/dev/null
  done
  for file in "$ROOT"/pids/*; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill -CONT "$pid" 2>/dev/null
    kill -TERM "$pid" 2>/dev/null
    for _ in $(seq 100); do process_gone "$pid" && break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null
  done
  grep -o " $ROOT/[^ ]*" /proc/self/mounts | while read -r file; do umount -l "$file"; done
  [ -z "${ALIVE:-}" ] || exec {ALIVE}>&-
  rm -rf "$ROOT"
  ROOT=
}

# make_tree DIR FILES: a package-like tree, the same bytes for the same arguments.
make_tree() {
  node -e '
    const fs = require("fs"), path = require("path");
    const [root, count] = [process.argv[1], Number(process.argv[2])];
    let state = 12345;
    const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 32;
    for (let i = 0; i < count; i++) {
      const dir = path.join(root, "package" + (i % 60), i % 3 ? "lib" : "lib/deep/er");
      fs.mkdirSync(dir, { recursive: true });
      const size = Math.floor(next() ** 4 * 60000);
      const block = Buffer.from(Array.from({ length: 256 }, () => Math.floor(next() * 256)));
      fs.writeFileSync(path.join(dir, "file" + i + ".js"), Buffer.alloc(size, block));
    }' "$1" "$2"
}

# tree_hash DIR: one hash over names, types, modes, link targets and contents.
tree_hash() {
  (cd "$1" && find . -printf '%P %y %m %s %l\n' | grep -v ' d ' | sort && find . -type f -print0 | sort -z | xargs -0 -r sha256sum) | sha256sum
}
