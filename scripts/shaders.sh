#!/usr/bin/env bash
# Makes drivers/vulkan/kernel.inc, the SPIR-V of kernel.comp, so that building Ferry needs no shader
# compiler. --check: says whether it is what kernel.comp makes. Another version of the compiler may
# write other words for the same shader: then only the compiling and the source's sum are checked.
set -euo pipefail
cd "$(dirname "$0")/../drivers/vulkan"

if ! compiler=$(command -v glslangValidator); then
    echo "shaders: no glslangValidator: run scripts/setup.sh" >&2
    exit 1
fi
made=$(mktemp)
trap 'rm -f "$made" "$made.words"' EXIT

"$compiler" --quiet --target-env vulkan1.2 -g0 -x -o "$made.words" kernel.comp
version=$(sed -n 's/^[[:space:]]*\/\/ //p' "$made.words")
sum=$(cksum <kernel.comp)
{
    echo "/* kernel.comp (cksum $sum) by glslang $version: scripts/shaders.sh makes this. */"
    sed -n 's/^[[:space:]]*0x/    0x/p' "$made.words"
} >"$made"

if [ "${1-}" != --check ]; then
    cp "$made" kernel.inc
    exit 0
fi
cmp -s "$made" kernel.inc && exit 0
if ! grep -qF "(cksum $sum)" kernel.inc; then
    echo "shaders: kernel.comp has changed since kernel.inc was made: run scripts/shaders.sh" >&2
    exit 1
fi
if grep -qF "glslang $version:" kernel.inc; then
    echo "shaders: kernel.inc is not what kernel.comp makes: run scripts/shaders.sh" >&2
    exit 1
fi
echo "shaders: kernel.inc is of another glslang than $version: its words were not compared"
