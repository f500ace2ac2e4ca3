#!/bin/sh
# Installs the Debian packages that only tests need, where this runs as root with apt; elsewhere
# names what is missing, and the tests that need it skip themselves visibly.
set -u
missing=""
need() {
  # need PROGRAM PACKAGE
  command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need sqlite3 sqlite3
need rsync rsync
need git git
need perl perl-base
need vim vim
need fusermount3 fuse3
need chromium chromium
need tmux tmux
need curl curl
need nano nano
need getfattr attr
need getfacl acl
need inotifywait inotify-tools
ldconfig -p 2>/dev/null | grep -q 'libfuse\.so\.2' || missing="$missing libfuse2"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing for the tests:$missing"
  export DEBIAN_FRONTEND=noninteractive
  install() { apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1; }
  if apt-get update >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    if install $missing; then exit 0; fi
    # One that is called otherwise here keeps apt from all of them.
    refused=""
    for package in $missing; do install "$package" || refused="$refused $package"; done
    missing=$refused
    [ -n "$missing" ] || exit 0
  fi
fi
echo "missing, so the tests that need them are skipped:$missing"
