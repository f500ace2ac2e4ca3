#!/bin/sh
# The program that mounts without root. Linked statically where there is a static C library (Debian: libc6-dev
# has it), so that the one in a packed tarball needs no library of the machine that it comes to. The source
# goes along for machines of another type.
set -eu
cd "$(dirname "$0")/.."
source=src/mount/fuse-kernel/mount-as-user.c
to=dist/src/mount/fuse-kernel
static=
if echo 'int main(void) { return 0; }' | cc -static -x c -o "$to/mount-as-user" - 2>/dev/null; then
  static=-static
fi
# Empty where there is none.
# shellcheck disable=SC2086
cc -O2 -Wall -Wextra -s $static -o "$to/mount-as-user" "$source"
install -m 644 "$source" "$to/"
