#!/usr/bin/env bash
# test_package.sh SOURCE BUILD CC CXX: makes the Debian packages in BUILD, unpacks them, and builds
# programs against what came out. Prints cmocka's closing lines, which scripts/test_summary.awk counts.
set -u
source=$1 build=$2 cc=$3 cxx=$4
# shellcheck source=tests/checks.sh
. "$(dirname "$0")/../checks.sh"

unpack() {
    CC=$cc CXX=$cxx "$source/scripts/package.sh" "$build" || return 1
    for package in libferry1 libferry-dev ferry-tools; do
        dpkg-deb -x "$build/${package}"_*.deb "$dir/root" || return 1
        dpkg-deb -e "$build/${package}"_*.deb "$dir/$package" || return 1
        [ -s "$dir/root/usr/share/doc/$package/copyright" ] || return 1
        [ -s "$dir/root/usr/share/doc/$package/changelog.gz" ] || return 1
    done
    for package in libferry1 ferry-tools; do
        dpkg-deb -x "$build/$package-dbgsym"_*.ddeb "$dir/debug" || return 1
    done
}

no_file_is_in_two() {
    for package in "$build"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar t | grep -v '/$'
    done | sort >"$dir/files"
    uniq -d "$dir/files"
    [ -s "$dir/files" ] && [ -z "$(uniq -d "$dir/files")" ]
}

depends() {
    cat "$dir"/*/control
    version=$(sed -n 's/^Version: //p' "$dir/libferry1/control")
    grep -q '^Depends: .*libc6 (>= ' "$dir/libferry1/control" &&
        grep -qx 'Recommends: libvulkan1\(, libucx0, libssl3\)\?' "$dir/libferry1/control" &&
        grep -qF "Depends: libferry1 (= $version)" "$dir/libferry-dev/control" &&
        grep -qF "libferry1 (= $version)" "$dir/ferry-tools/control"
}

# What the package says that its libraries export is what they export.
symbols() {
    sed -n 's/^ \([^@ ]*\)@.*/\1/p' "$dir/libferry1/symbols" | sort >"$dir/told"
    nm -D --defined-only "$libraries"/lib*.so.1 | awk 'NF == 3 {sub(/@.*/, "", $3); print $3}' |
        sort >"$dir/exported"
    [ -s "$dir/told" ] && diff "$dir/exported" "$dir/told" &&
        grep -qx 'libferry 1 libferry1 (>= .*)' "$dir/libferry1/shlibs" &&
        grep -qx 'activate-noawait ldconfig' "$dir/libferry1/triggers"
}

# Each program and library has its debugging symbols, by its build id.
debugging_symbols() {
    for file in "$dir/root/usr/bin/ferry" "$libraries"/lib*.so.1 \
        "$libraries/ferry/backends/ferry/libtriton_ferry.so"; do
        id=$(readelf -n "$file" | sed -n 's/.*Build ID: //p')
        echo "$file $id"
        [ -s "$dir/debug/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug" ] || return 1
    done
}

command() {
    "$dir/root/usr/bin/ferry" transfer --device host "$source/README.md" | tee "$dir/told"
    grep -q "every byte came back as it went" "$dir/told"
}

# with_pkg_config COMPILER FILE ARGUMENT...
with_pkg_config() {
    compiler=$1 file=$2
    shift 2
    # shellcheck disable=SC2046
    "$compiler" "$@" "$file" -o "$dir/program" $(pkg-config --cflags --libs ferry) && "$dir/program"
}

with_cmake() {
    cmake -S "$source/tests/install/find_package" -B "$dir/cmake" -DCMAKE_C_COMPILER="$cc" \
        -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$dir/root/usr" &&
        cmake --build "$dir/cmake" --parallel 2 && ctest --test-dir "$dir/cmake" --output-on-failure --no-tests=error
}

echo "[==========] Running the packages' tests"
check "made and unpacked" unpack
libraries=$(dirname "$(find "$dir/root" -name libferry.so.1)")
export LD_LIBRARY_PATH=$libraries PKG_CONFIG_PATH=$libraries/pkgconfig
check "no file is in two packages" no_file_is_in_two
check "what they depend on" depends
check "the symbols that the library exports" symbols
check "debugging symbols" debugging_symbols
check "the command" command
check "C, with pkg-config" with_pkg_config "$cc" "$source/tests/install/program.c"
check "C++, with pkg-config" with_pkg_config "$cxx" "$source/tests/install/program.cpp" -std=c++17
check "C and C++, with find_package" with_cmake
summary
