#!/bin/sh
# Everything that can fail: formatter and linter, types, unit and simulation tests, real processes
# and mounts. The last line counts what really ran.
set -u
cd "$(dirname "$0")/.." || exit 1
export TAP_REPORTER=tap
out=$(mktemp -d "${TMPDIR:-/tmp}/mootfs-results.XXXXXX")
trap 'rm -rf "$out"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
failures=0
started=$(date +%s)

sh scripts/test-packages.sh

so_far() { echo "== after $(($(date +%s) - started)) s: $1"; }
step() {
  name=$1
  shift
  so_far "$name"
  if "$@"; then checks_passed=$((checks_passed + 1)); else failures=$((failures + 1)); echo "FAILED: $name"; fi
}
checks_passed=0

step "format and lint" npx biome check --error-on-warnings .
step "build" npm run --silent build

so_far "unit tests"
# The first run would otherwise still load the TypeScript plugin that package.json switches off.
npx tap build >/dev/null 2>&1
npx tap 'dist/test/**/*.test.js' >"$out/tap.txt" 2>&1 || true
grep -E '^not ok|^# |^ok .* # SKIP' "$out/tap.txt" || true
echo "the longest:"
sed -n 's/^ok [0-9]* - \(.*\) # time=\([0-9]*\).*/\2 ms \1/p' "$out/tap.txt" | sort -rn | head -n 15
totals=$(grep -E '^# \{ total: ' "$out/tap.txt" | tail -n 1)
number() { echo "$totals" | sed -n "s/.*$1: \([0-9]*\).*/\1/p"; }
passed=$(number pass)
failed=$(number fail)
skipped=$(number skip)
if [ -z "$passed" ] || { [ "${failed:-0}" != 0 ]; }; then
  cat "$out/tap.txt"
  [ -n "$passed" ] || failures=$((failures + 1))
fi

so_far "integration tests"
touch "$out/all-bats.txt"
{ node dist/scripts/integration/run.js "$out/all-bats.txt" || echo "FAILED: integration tests"; } | tee "$out/bats.txt"
failures=$((failures + $(grep -c '^FAILED: ' "$out/bats.txt")))
torture_skipped=0
if [ "$(id -u)" = 0 ] && [ -e /dev/fuse ]; then
  step "torture" env MOOTFS_TORTURE_SECONDS=120 node dist/scripts/torture/main.js
else
  echo "skipped: torture (it mounts: needs root and /dev/fuse)"
  torture_skipped=1
fi

# Seeds that nobody has seen: each commit has its own, so that whoever looks at a commit again sees the
# same worlds. A thousand within six minutes where two cores are quiet; on a slow machine it says how many
# there were, so that all is over within half an hour; never less than a minute of them. `make
# simulate` lives as many as one likes.
left=$((started + 29 * 60 - $(date +%s)))
[ "$left" -lt 355 ] || left=355
[ "$left" -gt 60 ] || left=60
commit=$(git rev-parse HEAD 2>/dev/null | cut -c 1-7)
step "simulated worlds" node dist/test/sim/main.js --seeds 1000 --seconds "$left" ${commit:+--from $((0x$commit))}

count() { grep -c "$1" "$out/all-bats.txt"; }
bats_failed=$(count '^not ok ')
bats_skipped=$(grep '^ok ' "$out/all-bats.txt" | grep -c ' # skip')
bats_passed=$(($(count '^ok ') - bats_skipped))

total_passed=$((checks_passed + ${passed:-0} + bats_passed))
total_failed=$((failures + ${failed:-0} + bats_failed))
total_skipped=$((${skipped:-0} + bats_skipped + torture_skipped))
if [ "$total_skipped" -gt 0 ]; then
  echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
else
  echo "$total_passed passed, $total_failed failed"
fi
[ "$total_failed" -eq 0 ]
