#!/usr/bin/env bash
# valgrind.sh PROGRAM [ARGUMENT...]: runs a test under valgrind on simulated Metal. Any error, and any
# byte that is definitely lost, fails it. The tests valgrind.* run the quick programs so; the long
# ones are run by hand: scripts/valgrind.sh build/release/tests/suite/suite metal-apple
# (where test_fork fails: its child ends without freeing what its parent holds).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
export FERRY_METAL_LIBRARIES=${FERRY_METAL_LIBRARIES:-$root/build/release/tests/metalsim/libmetalsim.so}
exec valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
    --errors-for-leak-kinds=definite --suppressions="$root/tests/metalsim/valgrind.supp" "$@"
