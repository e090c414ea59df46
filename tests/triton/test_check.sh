#!/usr/bin/env bash
# test_check.sh CC TRITON_FOLDER: the comparison of our declarations with Triton's headers passes
# where they agree, and fails where a function, an enum value or a major version differs. Prints a
# line per check, and cmocka's closing lines.
set -u
cc=$1 triton=$2
here=$(dirname "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0

# compiles NAME yes|no: with the headers as they are now.
compiles() {
    answer=no
    # As the build does: with the types that these headers declare.
    if cmake -DTRITON_INCLUDE_DIR="$dir/include" -DREAL_TYPES="$dir/real_types.inc" \
        -P "$triton/real_types.cmake" >"$dir/out" 2>&1 &&
        "$cc" -std=gnu11 -Wall -Wextra -Werror -I "$dir" -I "$dir/include" -I "$triton/../include" \
            -c "$triton/check.c" -o "$dir/check.o" >"$dir/out" 2>&1; then answer=yes; fi
    if [ "$answer" = "$2" ]; then
        echo "[       OK ] $1"
        passed=$((passed + 1))
    else
        echo "[  FAILED  ] $1: compiles: $answer"
        sed 's/^/    /' "$dir/out"
        failed=$((failed + 1))
    fi
}

# plant NAME FILE SED_EXPRESSION [yes]: one difference, in fresh headers.
plant() {
    python3 "$here/make_headers.py" "$triton/../include/ferry/triton_api" "$dir/include" || exit 1
    cp "$dir/include/triton/core/$2" "$dir/before"
    sed -i.bak "$3" "$dir/include/triton/core/$2"
    if cmp -s "$dir/before" "$dir/include/triton/core/$2"; then
        echo "[  FAILED  ] $1: nothing was planted"
        failed=$((failed + 1))
    fi
    compiles "$1" "${4-no}"
}

echo "[==========] Running the comparison"
python3 "$here/make_headers.py" "$triton/../include/ferry/triton_api" "$dir/include" || exit 1
compiles "headers that agree" yes
plant "a parameter of another type" tritonserver.h \
    's/\(TRITONBACKEND_RequestRelease(.*\)uint32_t release_flags/\1uint64_t release_flags/'
plant "another return type" tritonserver.h \
    's/^void TRITONSERVER_ErrorDelete/int TRITONSERVER_ErrorDelete/'
plant "a function that is gone" tritonserver.h 's/TRITONSERVER_ServerStop/TRITONSERVER_ServerHalt/'
plant "an optional function of another type" tritonserver.h \
    's/\(TRITONSERVER_MetricSet(.*\)double value/\1float value/'
plant "an optional function that is gone" tritonserver.h \
    's/^.*TRITONSERVER_ServerOptionsSetEnablePeerAccess.*$//' yes
plant "another enum value" tritonserver.h \
    's/TRITONSERVER_MEMORY_GPU = 2/TRITONSERVER_MEMORY_GPU = 3/'
# As TRITONBACKEND 1.15 did: not C++ alone, if its types are declared before.
plant "a type of a later version" tritonbackend.h \
    '$a struct TRITONBACKEND_Later;\nTRITONSERVER_Error *TRITONBACKEND_LaterNew(TRITONBACKEND_Later **out);' yes
plant "another major version" tritonbackend.h 's/MAJOR 1/MAJOR 2/'

echo "[==========] $((passed + failed)) test(s) run."
echo "[  PASSED  ] $passed test(s)."
[ "$failed" = 0 ] || echo "[  FAILED  ] $failed test(s)."
[ "$failed" = 0 ]
