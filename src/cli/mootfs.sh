#!/bin/sh
# The command `mootfs`. glibc reads these once, when a process starts. RocksDB and Node allocate and
# free megabytes from many threads; with glibc's own choice (an arena per thread, freed memory kept)
# a node under load takes about twice the memory.
: "${MALLOC_ARENA_MAX:=1}" "${MALLOC_MMAP_THRESHOLD_:=131072}" "${MALLOC_TRIM_THRESHOLD_:=131072}"
export MALLOC_ARENA_MAX MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_
bin="$(dirname "$(readlink -f "$0")")/bin.cjs"
# mount(8) calls its helper of this type by this name.
[ "${0##*/}" != mount.mootfs ] || set -- mount-helper "$@"
# V8 counts what buffers hold into its heap, and would look for garbage in all of it each few
# megabytes that pass through; so not before there are 128 MiB (--initial-heap-size). And on a machine
# with much memory it would let the heap grow to four times what is in use, but to less than twice
# where the heap is limited (MemoryController::MaxGrowingFactor in V8's src/heap/memory-controller.cc).
# The commands that read a whole tree into memory take what they need.
case "${1-}" in
  check | recover) exec node "$bin" "$@" ;;
esac
exec node --initial-heap-size=128 --max-old-space-size=1024 "$bin" "$@"
