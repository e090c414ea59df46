#!/usr/bin/env bash
# Makes drivers/cuda/kernel.inc, the PTX of kernel.cu, so that building Ferry needs nothing of CUDA.
# --check: says whether it is what kernel.cu makes, and, where there is a ptxas, whether that
# assembles it for the oldest and the newest machine that it knows. Another version of clang may
# write other PTX for the same kernel: then only the compiling and the source's sum are checked.
set -euo pipefail
cd "$(dirname "$0")/../drivers/cuda"

compiler=$(command -v clang || command -v clang-16 || command -v clang-14 || true)
if [ -z "$compiler" ]; then
    echo "ptx: no clang: run scripts/setup.sh" >&2
    exit 1
fi
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# The PTX of CUDA 11.0 for the oldest machine of CUDA 12: every driver from 12.0 on compiles it.
"$compiler" -x cuda --cuda-device-only --cuda-gpu-arch=sm_52 -nocudainc -nocudalib \
    -Wno-unknown-cuda-version -Xclang -target-feature -Xclang +ptx70 -O2 -S \
    -o "$made/kernel.ptx" kernel.cu
version=$("$compiler" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
sum=$(cat kernel.cu kernel.h | cksum)
{
    echo "/* kernel.cu and kernel.h (cksum $sum) by clang $version: scripts/ptx.sh makes this. */"
    sed -e '/^[[:space:]]*\/\//d' -e '/^$/d' -e 's/\t/ /g' -e 's/["\\]/\\&/g' \
        -e 's/.*/"&\\n"/' "$made/kernel.ptx"
} >"$made/kernel.inc"

assemble() {
    local ptxas machines=""
    ptxas=$(command -v ptxas || ls /usr/local/cuda/bin/ptxas 2>/dev/null || true)
    if [ -z "$ptxas" ]; then
        echo "ptx: no ptxas: kernel.inc was not assembled"
        return 0
    fi
    sed -n -e 's/^"\(.*\)\\n"$/\1/p' kernel.inc | sed -e 's/\\\(["\\]\)/\1/g' >"$made/kept.ptx"
    # Its help names machines, some of which it no longer knows.
    for machine in $("$ptxas" --help | grep -o "sm_[0-9][0-9]*" | sort -u -t_ -k2n); do
        printf '.version 7.0\n.target sm_52\n.address_size 64\n' >"$made/empty.ptx"
        "$ptxas" -arch "$machine" -o /dev/null "$made/empty.ptx" 2>/dev/null || continue
        machines="$machines $machine"
    done
    for machine in $(printf '%s\n' $machines | sed -n '1p;$p'); do
        "$ptxas" -arch "$machine" -o /dev/null "$made/kept.ptx" || return 1
        echo "ptx: assembled for $machine"
    done
}

if [ "${1-}" != --check ]; then
    cp "$made/kernel.inc" kernel.inc
    exit 0
fi
assemble
cmp -s "$made/kernel.inc" kernel.inc && exit 0
if ! grep -qF "(cksum $sum)" kernel.inc; then
    echo "ptx: kernel.cu has changed since kernel.inc was made: run scripts/ptx.sh" >&2
    exit 1
fi
if grep -qF "clang $version:" kernel.inc; then
    echo "ptx: kernel.inc is not what kernel.cu makes: run scripts/ptx.sh" >&2
    exit 1
fi
echo "ptx: kernel.inc is of another clang than $version: its text was not compared"
