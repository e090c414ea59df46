#!/usr/bin/env bash
# make test: every test, optimised, then under address+undefined, then under thread sanitizer.
# PRESETS and JOBS may be given. Ends with how many tests ran on each configuration.
set -eu -o pipefail
cd "$(dirname "$0")/.."
presets=${PRESETS:-release asan tsan}
jobs=${JOBS:-2}

for preset in $presets; do
    cmake --preset "$preset" -DFERRY_WERROR=ON -DFERRY_TESTS=ON
    cmake --build --preset "$preset" --parallel "$jobs"
    ctest --preset "$preset" --parallel "$jobs" 2>&1 | tee "build/$preset/test.log"
done
for preset in $presets; do
    awk -v preset="$preset" -f scripts/test_summary.awk "build/$preset/test.log"
done
