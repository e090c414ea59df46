#!/usr/bin/env bash
# test_clang.sh SOURCE FOLDER CLANG: what a Mac's compiler would say. Builds what is installed, and the
# tests that it runs, with ALL=1 all C and C++, with a newer Clang, warnings as errors, against a cmocka
# without what is deprecated; then runs the driver for Metal on the simulator with each call through a
# pointer checked for its type.
set -u
source=$1 folder=$2 clang=$3
. "$source/tests/checks.sh"

echo "[==========] Running the tests of a newer Clang"
flags="-fsanitize=undefined -fno-sanitize-recover=all -isystem $source/tests/clang/include"
run "configure" 0 cmake -S "$source" -B "$folder" -DFERRY_TESTS=ON -DFERRY_WERROR=ON -DFERRY_SANITIZE= \
    -DFERRY_ALTERED=OFF \
    -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O0 -DCMAKE_CXX_FLAGS_DEBUG=-O0 \
    -DCMAKE_C_COMPILER="$clang" -DCMAKE_CXX_COMPILER="${clang/clang-/clang++-}" \
    -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags"
tests="driver faults interop machine managed rules"
targets=$(printf 'test_metal_%s ' $tests)
targets="ferry ferry_command ferry_wire ferry_triton triton_ferry metalsim suite $targets"
[ "${ALL:-0}" = 0 ] || targets=all
# shellcheck disable=SC2086 # words
run "build" 0 cmake --build "$folder" --parallel "${JOBS:-2}" --target $targets

# A test that takes what is deprecated is refused: the stand-in is the one that is found.
echo '#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
void f(void) { assert_in_range(1, 0, 2); }' >"$dir/deprecated.c"
run "deprecated" 1 "$clang" -fsyntax-only -isystem "$source/tests/clang/include" "$dir/deprecated.c"
says err "poisoned"

# And a call through a pointer of another type ends the program.
echo 'static int f(char *p) { return p != 0; }
int main(void) { return ((int (*)(long *))(void (*)(void))f)(0); }' >"$dir/call.c"
run "compile a wrong call" 0 "$clang" -fsanitize=undefined -fno-sanitize-recover=all \
    -o "$dir/call" "$dir/call.c"
run "wrong call" 1 "$dir/call"
says err "incorrect function type"

export FERRY_METAL_LIBRARIES=$folder/tests/metalsim/libmetalsim.so
for test in $tests; do
    run "metal $test" 0 "$folder/tests/metalsim/test_metal_$test"
done
METALSIM=apple,devices=2 run "suite" 0 "$folder/tests/suite/suite" metal-apple
summary
