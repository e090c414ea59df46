#!/usr/bin/env bash
# scripts/package.sh FOLDER: builds for /usr in FOLDER, with debugging symbols, and makes the Debian
# packages there.
set -eu
build=$1
here=$(cd "$(dirname "$0")/.." && pwd)
cmake -S "$here" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr \
    -DFERRY_TESTS=OFF -DFERRY_EXAMPLES=OFF
cmake --build "$build" --parallel "${JOBS:-2}"
rm -f "$build"/*.deb "$build"/*.ddeb
(cd "$build" && cpack)
