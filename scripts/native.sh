#!/bin/sh
# The prebuilt binary of rocksdb aborts on Node 22 and later (native-notes/rocksdb.md): there it is
# built from the sources in its package, once.
set -eu
cd "$(dirname "$0")/.."
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 22 ] || exit 0
ls node_modules/rocksdb/build/Release/*.node >/dev/null 2>&1 && exit 0
echo "building rocksdb for Node $(node --version); this takes some minutes, once"
npm_config_build_from_source=true npm rebuild --loglevel=error rocksdb
