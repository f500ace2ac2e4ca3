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
ldconfig -p 2>/dev/null | grep -q 'libfuse\.so\.2' || missing="$missing libfuse2"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing for the tests:$missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  if (apt-get update && apt-get install -y --no-install-recommends $missing) >/dev/null 2>&1; then exit 0; fi
fi
echo "missing, so the tests that need them are skipped:$missing"
