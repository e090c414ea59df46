#!/usr/bin/env bash
# scripts/package.sh FOLDER [OUT]: builds for /usr in FOLDER, with debugging symbols, and makes the
# Debian packages in OUT, or there.
set -eu
build=$1
out=${2:-$build}
mkdir -p "$build" "$out"
build=$(cd "$build" && pwd)
out=$(cd "$out" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
cmake -S "$here" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr \
    -DFERRY_TESTS=OFF -DFERRY_EXAMPLES=OFF
cmake --build "$build" --parallel "${JOBS:-2}"
rm -f "$build"/*.deb "$build"/*.ddeb "$out"/*.deb "$out"/*.ddeb
(cd "$build" && cpack)
if [ "$out" != "$build" ]; then
    mv "$build"/*.deb "$build"/*.ddeb "$out"
    ls "$out"/*.deb
fi
