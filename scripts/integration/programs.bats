#!/usr/bin/env bats
# Ordinary programs on one mount, compared from another.

load cluster.bash

setup_file() {
  need_mounts
  cluster_start 3
  mounts_start 1 2
  export ROOT COUNT NODES PEERS
}

teardown() { screen_end; }

teardown_file() { cluster_end; }

setup() {
  A="$ROOT/mnt/1/$BATS_TEST_NUMBER"
  B="$ROOT/mnt/2/$BATS_TEST_NUMBER"
  LOCAL="$BATS_TEST_TMPDIR"
  mkdir "$A"
}

@test "echo, append, cat, ls" {
  echo one >"$A/file"
  echo two >>"$A/file"
  [ "$(cat "$B/file")" = "$(printf 'one\ntwo')" ]
  [ "$(ls "$B")" = file ]
  ls -la "$B" | grep -q ' file$'
}

@test "cp -a keeps everything" {
  make_tree "$LOCAL/tree" 60
  ln -s package1/lib/file1.js "$LOCAL/tree/link"
  chmod 640 "$LOCAL/tree/package1/lib/file1.js"
  touch -d '2001-02-03 04:05:06.789012345' "$LOCAL/tree/package1/lib/file1.js"
  cp -a "$LOCAL/tree" "$A/tree"
  diff -r "$LOCAL/tree" "$B/tree"
  [ "$(tree_hash "$LOCAL/tree")" = "$(tree_hash "$B/tree")" ]
  [ "$(stat -c '%a %y' "$B/tree/package1/lib/file1.js")" = "$(stat -c '%a %y' "$LOCAL/tree/package1/lib/file1.js")" ]
}

@test "mv, mkdir -p, rmdir, rm -rf" {
  mkdir -p "$A/a/b/c/d"
  echo x >"$A/a/b/c/d/file"
  mv "$A/a/b" "$A/moved"
  [ "$(cat "$B/moved/c/d/file")" = x ]
  [ ! -e "$B/a/b" ]
  rmdir "$A/a"
  run rmdir "$A/moved"
  [ "$status" -ne 0 ]
  rm -rf "$A/moved"
  [ -z "$(ls -A "$B")" ]
}

@test "hard links and symbolic links" {
  echo x >"$A/file"
  ln "$A/file" "$A/hard"
  ln -s file "$A/soft"
  ln -s /nowhere "$A/dangling"
  echo y >>"$A/hard"
  [ "$(cat "$B/soft")" = "$(printf 'x\ny')" ]
  [ "$(stat -c %h "$B/file")" = 2 ]
  [ "$(stat -c %i "$B/file")" = "$(stat -c %i "$B/hard")" ]
  [ "$(readlink "$B/dangling")" = /nowhere ]
  rm "$A/file"
  [ "$(stat -c %h "$B/hard")" = 1 ]
}

@test "chmod, chown, touch -d, truncate" {
  echo data >"$A/file"
  chmod 4751 "$A/file"
  [ "$(stat -c %a "$B/file")" = 4751 ]
  chown 1234:4321 "$A/file"
  [ "$(stat -c %u:%g "$B/file")" = 1234:4321 ]
  touch -d '1999-12-31 23:59:59.5 UTC' "$A/file"
  [ "$(stat -c %.Y "$B/file" | cut -c1-11)" = 946684799.5 ]
  truncate -s 1M "$A/file"
  [ "$(stat -c %s "$B/file")" = 1048576 ]
  truncate -s 2 "$A/file"
  [ "$(cat "$B/file")" = da ]
}

@test "find and grep -r" {
  make_tree "$A/tree" 100
  echo needle >"$A/tree/package7/lib/hay"
  [ "$(find "$B/tree" -type f | wc -l)" = 101 ]
  [ "$(grep -rl needle "$B/tree")" = "$B/tree/package7/lib/hay" ]
}

@test "tar c and tar x" {
  make_tree "$LOCAL/tree" 300
  tar cf "$LOCAL/tree.tar" -C "$LOCAL" tree
  tar xf "$LOCAL/tree.tar" -C "$A"
  diff -r "$LOCAL/tree" "$B/tree"
  [ "$(tar cf - -C "$B" tree | tar tf - | wc -l)" = "$(tar tf "$LOCAL/tree.tar" | wc -l)" ]
}

@test "rsync -a, and nothing to do the second time" {
  need rsync
  make_tree "$LOCAL/tree" 100
  rsync -a "$LOCAL/tree/" "$A/tree/"
  diff -r "$LOCAL/tree" "$B/tree"
  [ -z "$(rsync -ai "$LOCAL/tree/" "$B/tree/")" ]
  rm -r "$LOCAL/tree/package3"
  rsync -a --delete "$LOCAL/tree/" "$A/tree/"
  diff -r "$LOCAL/tree" "$B/tree"
}

@test "git: init, commit, clone, gc, fsck" {
  need git
  export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.com
  export GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.com
  make_tree "$LOCAL/repo" 120
  git -C "$LOCAL/repo" init -q -b main
  git -C "$LOCAL/repo" add .
  git -C "$LOCAL/repo" commit -qm one
  git clone -q "$LOCAL/repo" "$A/clone"
  echo change >>"$A/clone/package1/lib/file1.js"
  git -C "$A/clone" commit -qam two
  git -C "$A/clone" gc -q
  git -C "$A/clone" fsck --strict
  git -c safe.directory='*' -C "$B/clone" fsck --strict
  [ -z "$(git -c safe.directory='*' -C "$B/clone" status --porcelain)" ]
  [ "$(git -c safe.directory='*' -C "$B/clone" rev-parse HEAD)" = "$(git -C "$A/clone" rev-parse HEAD)" ]
}

@test "sqlite3 with its default journal" {
  need sqlite3
  sqlite3 "$A/db" 'create table t(a integer primary key, b text)'
  for i in 1 2 3 4 5 6 7 8 9 10; do sqlite3 "$A/db" "insert into t(b) values('row $i')"; done
  [ "$(sqlite3 "$B/db" 'select count(*) from t')" = 10 ]
  sqlite3 "$B/db" "delete from t where a > 5; vacuum"
  [ "$(sqlite3 "$A/db" 'pragma integrity_check; select count(*) from t')" = "$(printf 'ok\n5')" ]
}

@test "sqlite3 in WAL mode, by several processes at once" {
  need sqlite3
  local i pids=()
  [ "$(sqlite3 "$A/db" 'pragma journal_mode = wal; create table t(a integer primary key, b text)')" = wal ]
  # A reader that stays: it sees what was there when it began. Without it whoever ends last removes the log.
  mkfifo "$LOCAL/asked"
  sqlite3 "$A/db" <"$LOCAL/asked" >"$LOCAL/said" 3>&- &
  local reader=$!
  exec 5>"$LOCAL/asked"
  echo 'begin; select count(*) from t;' >&5
  wait_for "a reader" test -s "$LOCAL/said"
  for i in 1 2 3; do
    for _ in $(seq 20); do echo "insert into t(b) values('from $i');"; done |
      sqlite3 -cmd '.timeout 60000' "$A/db" 3>&- 5>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i"; done
  [ -s "$A/db-wal" ]
  echo 'select count(*) from t; commit; select count(*), count(distinct b) from t;' >&5
  exec 5>&-
  wait "$reader"
  [ "$(cat "$LOCAL/said")" = "$(printf '0\n0\n60|3')" ]
  [ ! -e "$B/db-wal" ]
  for i in "$A" "$B"; do
    [ "$(sqlite3 "$i/db" 'pragma integrity_check; select count(*) from t')" = "$(printf 'ok\n60')" ]
  done
}

@test "an editor's save by rename" {
  echo old >"$A/file"
  exec 5<"$A/file"
  echo new >"$A/.file.swp"
  mv "$A/file" "$A/file~"
  mv "$A/.file.swp" "$A/file"
  rm "$A/file~"
  [ "$(cat <&5)" = old ]
  exec 5<&-
  [ "$(cat "$B/file")" = new ]
}

@test "vim saves" {
  need vim
  echo old >"$A/file"
  [ "$(cat "$B/file")" = old ]
  vim -u NONE -es -c 's/old/from vim/' -c 'wq' "$A/file"
  [ "$(cat "$B/file")" = "from vim" ]
  [ "$(ls -A "$B")" = file ]
}

@test "nano in a terminal" {
  need tmux
  need nano
  echo old >"$A/file"
  screen_start "$LOCAL/tmux" "nano --ignorercfiles --backup '$A/file'"
  wait_for "the file" on_screen '^old'
  keys 'new and '
  wait_for "what was typed" on_screen '^new and old'
  keys C-o
  wait_for "the name" on_screen 'File Name to Write'
  keys Enter
  wait_for "that it is written" on_screen 'Wrote 1 line'
  [ "$(cat "$B/file")" = "new and old" ]
  keys C-x
  wait_for "the end" screen_gone
  [ "$(ls "$B")" = "$(printf 'file\nfile~')" ]
  [ "$(cat "$B/file~")" = old ]
}

@test "make -j2 of a program of several files" {
  need make
  need cc
  local i
  mkdir "$A/src"
  for i in 1 2 3 4 5 6; do
    printf '#include "part.h"\nint part%s(void) { return FACTOR * %s; }\n' "$i" "$i" >"$A/src/part$i.c"
    printf 'int part%s(void);\n' "$i" >>"$A/src/part.h"
  done
  echo '#define FACTOR 1' >>"$A/src/part.h"
  cat >"$A/src/main.c" <<'C'
#include <stdio.h>
#include "part.h"
int main(void) { printf("%d\n", part1() + part2() + part3() + part4() + part5() + part6()); return 0; }
C
  cat >"$A/src/Makefile" <<'MAKE'
objects = $(patsubst %.c,%.o,$(wildcard *.c))
program: $(objects) ; $(CC) -o $@ $^
$(objects): part.h
MAKE
  in_src() { (cd "$A/src" && "$@"); }
  in_src make -j2 3>&- >"$LOCAL/said" 2>&1
  [ "$(in_src ./program)" = 21 ]
  [ "$("$B/src/program")" = 21 ]
  in_src make -q
  # By times alone it shows what is to be made anew.
  sed -i 's/FACTOR 1/FACTOR 2/' "$A/src/part.h"
  in_src make -j2 3>&- >>"$LOCAL/said" 2>&1
  [ "$("$B/src/program")" = 42 ]
  in_src make -q
  cat "$LOCAL/said"
  run ! grep -i -e skew -e warning "$LOCAL/said"
}

# rich_tree DIR: files with hard links, symbolic links, ACLs, extended attributes, and a default ACL.
rich_tree() {
  need setfacl
  need setfattr
  mkdir -p "$1/d/e"
  echo one >"$1/one"
  ln "$1/one" "$1/d/also-one"
  ln "$1/one" "$1/d/e/one-more"
  echo two >"$1/d/two"
  ln -s ../one "$1/d/soft"
  setfacl -m u:1234:rw,g:4321:r,m::rw "$1/one"
  setfacl -d -m u:1234:rwx,o::- "$1/d/e"
  # Made under it.
  echo three >"$1/d/e/three"
  chown 1234:4321 "$1/d/two"
  chmod 2751 "$1/d"
  setfattr -n user.colour -v blue "$1/one" 2>/dev/null || skip "$1 takes no extended attributes"
  setfattr -n user.empty "$1/d/two"
  setfattr -n user.bytes -v 0x00ff0a00 "$1/d"
  # All in the past: rsync takes times of one second for equal.
  find "$1" -depth -exec touch -h -d '2001-02-03 04:05:06.789' {} +
}

# rich_tree_text DIR: all that is to be kept of it, the bytes and which names are of one file, too.
rich_tree_text() {
  (
    cd "$1"
    find . ! -type d -printf '%P %y %m %U:%G %s %n %T@ %l\n' | sort
    find . -type d -printf '%P %y %m %U:%G %T@\n' | sort
    find . -samefile one | sort
    find . ! -type l | sort | xargs getfacl -n
    find . ! -type l | sort | xargs getfattr -d -e hex
    find . -type f | sort | xargs sha256sum
  )
}

@test "rsync -aHAX there and back: hard links, ACLs, extended attributes" {
  need rsync
  rich_tree "$LOCAL/tree"
  rsync -aHAX "$LOCAL/tree/" "$A/tree/"
  rich_tree_text "$LOCAL/tree" >"$LOCAL/before"
  diff "$LOCAL/before" <(rich_tree_text "$B/tree")
  [ -z "$(rsync -aHAXi "$LOCAL/tree/" "$B/tree/")" ]
  rsync -aHAX "$B/tree/" "$LOCAL/back/"
  diff "$LOCAL/before" <(rich_tree_text "$LOCAL/back")
}

@test "tar --xattrs --acls there and back" {
  rich_tree "$LOCAL/tree"
  rich_tree_text "$LOCAL/tree" >"$LOCAL/before"
  tar -c --xattrs --acls --format=posix -C "$LOCAL" tree | tar -x -p --xattrs --acls -C "$A"
  diff "$LOCAL/before" <(rich_tree_text "$B/tree")
  mkdir "$LOCAL/back"
  tar -c --xattrs --acls --format=posix -C "$B" tree | tar -x -p --xattrs --acls -C "$LOCAL/back"
  diff "$LOCAL/before" <(rich_tree_text "$LOCAL/back/tree")
}

@test "mkdir as a lock between mounts" {
  local where pids=()
  mkdir "$A/held"
  echo 0 >"$A/count"
  for where in "$A" "$B"; do
    node -e '
      const fs = require("fs");
      const [dir] = process.argv.slice(1);
      const end = Date.now() + 100_000;
      const wins = (path) => {
        if (Date.now() > end) throw new Error("never free");
        try { fs.mkdirSync(path); return true; }
        catch (error) { if (error.code === "EEXIST") return false; throw error; }
      };
      for (let i = 0; i < 100; i++) if (wins(`${dir}/held/${i}`)) console.log(i);
      // And what it is for: who has it alone counts on, in a file.
      for (let i = 0; i < 10; i++) {
        while (!wins(`${dir}/lock`));
        fs.writeFileSync(`${dir}/count`, `${Number(fs.readFileSync(`${dir}/count`, "utf8")) + 1}\n`);
        fs.rmdirSync(`${dir}/lock`);
      }' "$where" >>"$LOCAL/winners" 3>&- &
    pids+=($!)
  done
  for where in "${pids[@]}"; do wait "$where"; done
  [ "$(sort -n "$LOCAL/winners")" = "$(seq 0 99)" ]
  [ "$(cat "$A/count")" = 20 ]
  [ "$(cat "$B/count")" = 20 ]
}

@test "inotify tells what programs on the same mount do" {
  need inotifywait
  mkdir "$A/d"
  inotifywait -m -e create,modify,close_write,move,attrib,delete --format '%e %f' "$A/d" \
    >"$LOCAL/said" 2>"$LOCAL/begun" 3>&- &
  echo $! >"$ROOT/pids/watcher"
  wait_for "the watch" grep -q established "$LOCAL/begun"
  echo text >"$A/d/one"
  mkdir "$A/d/two"
  mv "$A/d/one" "$A/d/three"
  chmod 600 "$A/d/three"
  rm "$A/d/three"
  wait_for "the last of it" grep -q 'DELETE three' "$LOCAL/said"
  process_kill watcher TERM
  diff - "$LOCAL/said" <<'SAID'
CREATE one
MODIFY one
CLOSE_WRITE,CLOSE one
CREATE,ISDIR two
MOVED_FROM one
MOVED_TO three
ATTRIB three
DELETE three
SAID
}

# Not among the packages for tests; where it is there, it is a demanding program.
@test "PostgreSQL: initdb, pgbench, and the same data after it has ended without goodbye" {
  local data="$A/data" programs
  # Debian has them beside the PATH, in a directory for each version.
  for programs in /usr/lib/postgresql/*/bin "$(dirname "$(command -v initdb)")"; do
    [ ! -x "$programs/pgbench" ] || break
  done
  [ -x "$programs/pgbench" ] || skip "PostgreSQL is not installed"
  # It refuses to run as root.
  chmod 755 "$ROOT"
  install -d -o nobody "$data" "$ROOT/socket"
  cd "$ROOT/socket"
  export PGHOST="$ROOT/socket" PGDATABASE=postgres
  as_nobody() { setpriv --reuid nobody --regid nogroup --clear-groups "$programs/$1" "${@:2}"; }
  postgres_start() {
    setpriv --reuid nobody --regid nogroup --clear-groups "$programs/postgres" \
      -D "$data" -c listen_addresses= -k "$PGHOST" >>"$ROOT/logs/postgres.log" 2>&1 3>&- &
    echo $! >"$ROOT/pids/postgres"
    wait_for "the server" as_nobody pg_isready -q
  }
  # All that makes it smaller: the files of three databases remain, a thousand.
  as_nobody initdb -A trust -U nobody --no-sync --no-locale -E UTF8 --wal-segsize=1 -k -D "$data" >"$LOCAL/initdb" 3>&-
  postgres_start
  as_nobody psql -q -c 'create table account (id int primary key, balance int); create table history (delta int);
    insert into account select i, 0 from generate_series(1, 100) i'
  cat >script <<'SQL'
\set id random(1, 100)
\set delta random(-5000, 5000)
begin;
update account set balance = balance + :delta where id = :id;
insert into history values (:delta);
commit;
SQL
  as_nobody pgbench -n -c 2 -t 25 -f script
  process_kill postgres QUIT
  postgres_start
  grep -q 'automatic recovery in progress' "$ROOT/logs/postgres.log"
  [ "$(as_nobody psql -Atc 'select count(*), sum(delta) = (select sum(balance) from account) from history')" = '50|t' ]
  process_kill postgres INT
}

@test "npm install of a small package" {
  mkdir "$LOCAL/package" "$A/app"
  echo '{"name":"small","version":"1.0.0"}' >"$LOCAL/package/package.json"
  make_tree "$LOCAL/package/lib" 100
  tar czf "$LOCAL/small.tgz" -C "$LOCAL" package
  echo '{"name":"app","version":"1.0.0"}' >"$A/app/package.json"
  (cd "$A/app" && npm install --offline --no-audit --no-fund --cache "$LOCAL/cache" "$LOCAL/small.tgz")
  diff -r "$LOCAL/package/lib" "$B/app/node_modules/small/lib"
}

@test "an unlinked file lives while it is open, also when another mount removed it" {
  echo still >"$A/file"
  exec 5<>"$A/file"
  rm "$B/file"
  [ ! -e "$A/file" ]
  sleep 3
  [ "$(cat <&5)" = still ]
  exec 5>&-
}

@test "mknod: a pipe that works, a socket, device numbers" {
  mkfifo "$A/pipe"
  (echo through >"$A/pipe") &
  [ "$(timeout 20 cat "$A/pipe")" = through ]
  [ "$(stat -c %F "$B/pipe")" = fifo ]
  mknod "$A/null" c 1 3
  [ "$(stat -c '%F %t:%T' "$B/null")" = "character special file 1:3" ]
}

@test "extended attributes" {
  need perl
  echo x >"$A/file"
  perl -e '
    my ($a, $b) = @ARGV;
    my ($name, $value) = ("user.colour", "blue");
    syscall(188, $a, $name, $value, length $value, 0) == 0 or die "setxattr: $!";
    my $got = "\0" x 16;
    my $n = syscall(191, $b, $name, $got, 16);
    substr($got, 0, $n) eq $value or die "getxattr: $n $!";' "$A/file" "$B/file"
}

@test "names: 255 bytes, 256 bytes, not UTF-8" {
  local name
  name=$(printf 'x%.0s' $(seq 255))
  echo x >"$A/$name"
  [ "$(ls "$B")" = "$name" ]
  run sh -c "echo x >'$A/y$name'"
  [ "$status" -ne 0 ]
  [[ "$output" == *"File name too long"* ]]
  rm "$A/$name"
  touch "$A/$(printf 'caf\351')"
  [ "$(ls "$B" | od -An -tx1 | tr -d ' \n')" = 636166e90a ]
}

@test "paths: 500 directories deep, 4,095 bytes and not one more, also of a symbolic link" {
  need perl
  perl -e '
    my ($a, $b) = @ARGV;
    sub try { my ($what, $done) = @_; die "$what: $!\n" unless $done }
    # As deep as no path names it: step by step. Another mount goes the same way down.
    my $name = "a directory of a tree";
    try("chdir", chdir $a);
    for (1 .. 500) { try("mkdir $_", mkdir $name); try("chdir $_", chdir $name) }
    try("open", open my $file, ">", "bottom");
    print $file "found\n"; try("close", close $file);
    try("chdir", chdir $b);
    for (1 .. 500) { try("chdir $_ elsewhere", chdir $name) }
    try("open elsewhere", open $file, "<", "bottom");
    die "not what was written" unless <$file> eq "found\n";
    close $file;
    for (1 .. 500) { try("chdir ..", chdir "..") }
    die "not back" unless -d $name && !-e "bottom";
    chdir "/";
    # PATH_MAX counts the zero byte, too.
    my ($here, $there) = ($a, $b);
    while (4095 - length $here > 255) {
      $_ .= "/" . "n" x 200 for $here, $there;
      try("mkdir", mkdir $here);
    }
    my $rest = "/" . "f" x (4094 - length $here);
    try("open of 4,095 bytes", open $file, ">", $here . $rest);
    close $file;
    try("stat of 4,095 bytes elsewhere", -f $there . $rest);
    for my $path ($here, $there) {
      die "4,096 bytes were taken" if open $file, "<", "$path${rest}f";
      die "4,096 bytes: $!" unless $!{ENAMETOOLONG};
    }
    my $target = "t" x 4095;
    try("symlink", symlink $target, "$a/link");
    die "readlink: $!" unless readlink "$b/link" eq $target;
    die "symlink of 4,096 bytes" if symlink "${target}t", "$a/longer";
    die "symlink of 4,096 bytes: $!" unless $!{ENAMETOOLONG};' "$A" "$B"
}

@test "an extended attribute of 64 KiB" {
  need setfattr
  local value
  value=$(head -c 49152 /dev/urandom | base64 -w 0)
  [ "${#value}" = 65536 ]
  echo x >"$A/file"
  setfattr -n user.large -v "$value" "$A/file"
  [ "$(getfattr --only-values -n user.large "$B/file")" = "$value" ]
  run setfattr -n user.larger -v "x$value" "$A/file"
  [ "$status" -ne 0 ]
  [ "$(getfattr "$B/file" | grep -c user)" = 1 ]
}

@test "100 processes with 100 open files each: all can be read, also when they have no name any more" {
  need perl
  local i before
  before=$(inodes_used)
  for i in $(seq 100); do echo "text $i" >"$A/$i"; done
  perl -e '
    my ($a, $b) = @ARGV;
    pipe(my $opened, my $open) && pipe(my $go, my $goes) or die;
    for (1 .. 100) {
      next if fork;
      close $goes;
      my @files;
      for my $i (1 .. 100) {
        open $files[$i], "+<", ($i % 2 ? $a : $b) . "/$i" or die "open $i: $!";
      }
      syswrite $open, "x";
      close $open;
      # Until the first one has removed all.
      sysread $go, my $nothing, 1;
      for my $i (1 .. 100) { readline($files[$i]) eq "text $i\n" or die "read $i: $!" }
      exit;
    }
    close $open;
    my $count = 0;
    $count++ while sysread $opened, my $one, 1;
    die "$count have opened all" unless $count == 100;
    unlink(map "$a/$_", 1 .. 100) == 100 or die "unlink: $!";
    close $goes;
    my $failed = 0;
    while (wait != -1) { $failed++ if $? }
    exit($failed > 0);' "$A" "$B" 3>&-
  # All are closed: nobody keeps what has no name.
  wait_for "the inodes to go" eval '[ "$(inodes_used)" = "$before" ]'
}

inodes_used() { df -iP "$A" | awk 'END { print $3 }'; }

@test "a file larger than the limit is EFBIG, and a sparse one below it costs nothing" {
  run truncate -s 17592186044417 "$A/file"
  [ "$status" -ne 0 ]
  [[ "$output" == *"File too large"* ]]
  truncate -s 1T "$A/file"
  [ "$(stat -c '%s %b' "$B/file")" = "1099511627776 0" ]
  printf end | dd of="$A/file" bs=1 seek=1099511627773 conv=notrunc status=none
  [ "$(tail -c 3 "$B/file")" = end ]
}

@test "df shows true figures" {
  [ "$(df --output=size -B1 "$A" | tail -1)" -gt 0 ]
  local free disk
  free=$(df --output=avail -BM "$A" | tail -1 | tr -d ' M')
  disk=$(df --output=avail -BM "$ROOT" | tail -1 | tr -d ' M')
  [ "$free" -gt 0 ]
  # The data lies on that disk; others use it too.
  [ "$free" -le $((disk + 2048)) ]
}
