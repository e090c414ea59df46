#!/usr/bin/env bash
# make test: every test, optimised, then under the address and undefined behaviour sanitizers, then
# under the thread sanitizer. PRESETS and JOBS may be given. Ends with how many tests ran on each
# configuration, and fails if one ran none.
set -eu -o pipefail
cd "$(dirname "$0")/.."
presets=${PRESETS:-release asan tsan}
jobs=${JOBS:-2}
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT

finish() {
    cat "$summary"
    exit "$1"
}

for preset in $presets; do
    cmake --preset "$preset" -DFERRY_WERROR=ON -DFERRY_TESTS=ON
    cmake --build --preset "$preset" --parallel "$jobs"
    log=build/$preset/test.log
    code=0
    ctest --preset "$preset" --parallel "$jobs" 2>&1 | tee "$log" || code=1
    awk -v preset="$preset" -f scripts/test_summary.awk "$log" >>"$summary" || code=1
    [ "$code" = 0 ] || finish 1
done
finish 0
