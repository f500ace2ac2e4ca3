#!/usr/bin/env bats
# Ordinary programs on one mount, compared from another.

load cluster.bash

setup_file() {
  need_mounts
  cluster_start 3
  mounts_start 1 2
  export ROOT COUNT NODES PEERS
}

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
