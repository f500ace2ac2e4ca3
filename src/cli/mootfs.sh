#!/bin/sh
# The command `mootfs`. glibc reads these once, when a process starts. RocksDB and Node allocate and
# free megabytes from many threads; with glibc's own choice (an arena per thread, freed memory kept)
# a node under load takes about twice the memory.
: "${MALLOC_ARENA_MAX:=1}" "${MALLOC_MMAP_THRESHOLD_:=131072}" "${MALLOC_TRIM_THRESHOLD_:=131072}"
export MALLOC_ARENA_MAX MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_
bin="$(dirname "$(readlink -f "$0")")/bin.cjs"
# mount(8) calls its helper of this type by this name.
[ "${0##*/}" != mount.mootfs ] || set -- mount-helper "$@"
exec node "$bin" "$@"
