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

# cluster_share: in setup_file, for the file's tests, each of which calls cluster_shared in its setup.
cluster_share() {
  PORT_LIST="${PORTS[*]}"
  export ROOT COUNT PEERS NODES PORT_LIST
}

cluster_shared() {
  read -r -a PORTS <<<"$PORT_LIST"
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

# Ports that were free a moment ago, held all at once, below those that the kernel gives to outgoing
# connections: of a node that is down nobody takes the port by chance. Tests that run side by side have ports of
# their own.
free_ports() {
  node -e '
    const net = require("net");
    const [count, from, span] = process.argv.slice(1).map(Number);
    const listen = (port) => new Promise((done) => {
      const s = net.createServer().on("error", () => done(null)).listen(port, "127.0.0.1", () => done(s));
    });
    (async () => {
      const servers = [];
      while (servers.length < count) {
        const server = await listen(from + Math.floor(Math.random() * span));
        if (server !== null) servers.push(server);
      }
      console.log(servers.map((s) => s.address().port).join(" "));
      for (const s of servers) s.close();
    })();' "$1" "${MOOTFS_TEST_PORTS_FROM:-10000}" "${MOOTFS_TEST_PORTS:-20000}"
}

# The first of so many ports in a row, of the same kind.
free_ports_in_a_row() {
  node -e '
    const net = require("net");
    const [count, from, span] = process.argv.slice(1).map(Number);
    const listen = (port) => new Promise((done) => {
      const s = net.createServer().on("error", () => done(null)).listen(port, "127.0.0.1", () => done(s));
    });
    (async () => {
      for (;;) {
        const port = from + Math.floor(Math.random() * span);
        const servers = await Promise.all(Array.from({ length: count }, (_, i) => listen(port + i)));
        for (const server of servers) server?.close();
        if (servers.every(Boolean)) return console.log(port);
      }
    })();' "$1" "${MOOTFS_TEST_PORTS_FROM:-10000}" "${MOOTFS_TEST_PORTS:-20000}"
}

# node_start I [FLAGS...]: node I in the background; its pid is kept.
node_start() {
  local i=$1
  shift
  background "n$i" node --id "n$i" --data "$ROOT/n$i" --peers "$PEERS" "$@"
}

# mount_start I [FLAGS...]: mounts $ROOT/mnt/I through node I first; returns when it is mounted.
mount_start() {
  mount_begin "$@"
  wait_for "mount $1" is_mounted "$1"
}

mount_begin() {
  local i=$1 nodes
  shift
  need_mounts
  nodes="127.0.0.1:${PORTS[(i - 1) % COUNT]},$NODES"
  background "mount$i" mount "$ROOT/mnt/$i" --nodes "$nodes" "$@"
}

# mounts_start I...: several at once.
mounts_start() {
  local i
  for i in "$@"; do mount_begin "$i"; done
  for i in "$@"; do wait_for "mount $i" is_mounted "$i"; done
}

# Listed, not stat'ed: of a mount whose process died the kernel may know the attributes for a moment.
# Looked for in the table afterwards: between the end of a dead mount and the next one the bare
# directory can be listed, too.
is_mounted() { timeout 10 ls "$ROOT/mnt/$1" >/dev/null 2>&1 && grep -q " $ROOT/mnt/$1 fuse" /proc/self/mounts; }

# cluster_start NODES [NODE FLAGS...]: nodes up, a leader elected that all follow.
cluster_start() {
  local count=$1 i
  shift
  cluster_new "$count"
  for ((i = 1; i <= count; i++)); do node_start "$i" "$@"; done
  wait_for "a leader" all_have_said_who_leads
}

# By the logs of new nodes: `mootfs status` would take the time that they need to start.
all_have_said_who_leads() {
  local i
  for ((i = 1; i <= COUNT; i++)); do
    grep -Eq " info n$i (leads|follows n[0-9]+) in term " "$ROOT/logs/n$i.log" || return 1
  done
}

has_leader() { mootfs status >/dev/null 2>&1; }

# leader: the number of the node that leads (1, 2, …), as soon as a majority says so.
leader() {
  local term id
  read -r term id < <(office) || return 1
  echo "$id"
}

# office: the term and the number of the node that leads. One look may fall into an election, or find
# nodes that stand still.
office() { wait_for "somebody to say who leads" office_now; }

office_now() {
  local table
  table=$(mootfs status 2>/dev/null) || return 1
  awk '$3 == "leader" && $4 > term { term = $4; id = substr($1, 2) } END { print term, id }' <<<"$table"
}

# The same tree everywhere: all nodes answer and have applied the same index with the same state hash.
# A node that does not answer has no name in the table.
nodes_agree() {
  mootfs status 2>/dev/null | awk '
    NR > 1 && $1 == "?" { silent = 1 }
    NR > 1 && $1 != "?" && $2 ~ /:[0-9]+$/ { different += !seen[$6 " " $9]++ }
    END { exit silent || different != 1 }'
}

# own_tree I COMMAND...: COMMAND with a directory behind it in which node I's own tree is mounted, while all
# other nodes stand still. Digests say what was applied, and a mount at level strong shows the leader's
# tree; this is what the node itself reads from its disk.
own_tree() {
  local i=$1 other
  shift
  need_mounts
  mkdir -p "$ROOT/mnt/own$i"
  background "own$i" mount "$ROOT/mnt/own$i" --nodes "127.0.0.1:${PORTS[i - 1]}" --level local
  wait_for "node $i's own tree" is_mounted "own$i"
  # A mount learns of other nodes, and would ask them, too, if its own one were slow.
  for ((other = 1; other <= COUNT; other++)); do [ "$other" = "$i" ] || process_kill "n$other" STOP; done
  "$@" "$ROOT/mnt/own$i"
  for ((other = 1; other <= COUNT; other++)); do [ "$other" = "$i" ] || process_kill "n$other" CONT; done
  process_kill "own$i" TERM
}

# own_trees COMMAND...: the same for each node.
own_trees() {
  local node
  for ((node = 1; node <= COUNT; node++)); do own_tree "$node" "$@"; done
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

need() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

# Gone, or a zombie whose parent has not looked yet.
process_gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# wait_for WHAT COMMAND...: until COMMAND succeeds, with a generous deadline.
wait_for() {
  local what=$1 end=$((SECONDS + WAIT_SECONDS)) begun
  shift
  while true; do
    # It has had the time if it was looked at behind the end: this shell may stand still, too.
    begun=$SECONDS
    ! "$@" || return 0
    if ((begun > end)); then
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
  local file
  for file in "$ROOT"/pids/*; do [ ! -e "$file" ] || kill -CONT "$(cat "$file")" 2>/dev/null || true; done
  # Mounts, and what has mounts and nodes of its own, while there are nodes to answer them.
  end_processes TERM "$ROOT"/pids/[!n]*
  # Nobody needs what a node would still put in order.
  end_processes KILL "$ROOT"/pids/n*
  grep -o " $ROOT/[^ ]*" /proc/self/mounts | while read -r file; do umount -l "$file"; done
  [ -z "${ALIVE:-}" ] || exec {ALIVE}>&-
  rm -rf "$ROOT"
  ROOT=
}

# end_processes SIGNAL FILE...: those whose pids are in the files are gone afterwards.
end_processes() {
  local signal=$1 file pids=() pid
  shift
  for file in "$@"; do [ ! -e "$file" ] || pids+=("$(cat "$file")"); done
  for pid in "${pids[@]}"; do kill "-$signal" "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do
    for _ in $(seq 200); do process_gone "$pid" && break; sleep 0.05; done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

# screen_start SOCKET COMMAND: in a terminal, which screen_end ends in any case.
screen_start() {
  TMUX_SOCKET=$1
  tmux -S "$TMUX_SOCKET" new-session -d -x 250 -y 50 "$2"
}

screen() { tmux -S "$TMUX_SOCKET" capture-pane -p; }
on_screen() { screen | grep -q -- "$1"; }
keys() { tmux -S "$TMUX_SOCKET" send-keys "$@"; }
screen_gone() { ! tmux -S "$TMUX_SOCKET" has-session 2>/dev/null; }
screen_end() { [ -z "${TMUX_SOCKET:-}" ] || tmux -S "$TMUX_SOCKET" kill-server 2>/dev/null || true; }

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
