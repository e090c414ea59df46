#!/usr/bin/env bash
# Makes drivers/vulkan/kernel.inc and blocks.inc, the SPIR-V of kernel.comp and blocks.comp, so that
# building Ferry needs no shader compiler. --check: says whether they are what the sources make.
# Another version of the compiler may write other words for the same shader: then only the compiling
# and the source's sum are checked.
set -euo pipefail
cd "$(dirname "$0")/../drivers/vulkan"

if ! compiler=$(command -v glslangValidator); then
    echo "shaders: no glslangValidator: run scripts/setup.sh" >&2
    exit 1
fi
made=$(mktemp)
trap 'rm -f "$made" "$made.words"' EXIT

# Makes one of them, or checks it.
shader() {
    local name=$1 version sum
    "$compiler" --quiet --target-env vulkan1.2 -g0 -x -o "$made.words" "$name.comp"
    version=$(sed -n 's/^[[:space:]]*\/\/ //p' "$made.words")
    sum=$(cksum <"$name.comp")
    {
        echo "/* $name.comp (cksum $sum) by glslang $version: scripts/shaders.sh makes this. */"
        sed -n 's/^[[:space:]]*0x/    0x/p' "$made.words"
    } >"$made"
    if [ "$check" != --check ]; then
        cp "$made" "$name.inc"
        return 0
    fi
    if cmp -s "$made" "$name.inc"; then
        return 0
    fi
    if ! grep -qF "(cksum $sum)" "$name.inc"; then
        echo "shaders: $name.comp has changed since $name.inc was made: run scripts/shaders.sh" >&2
        return 1
    fi
    if grep -qF "glslang $version:" "$name.inc"; then
        echo "shaders: $name.inc is not what $name.comp makes: run scripts/shaders.sh" >&2
        return 1
    fi
    echo "shaders: $name.inc is of another glslang than $version: its words were not compared"
}

check=${1-}
shader kernel
shader blocks
