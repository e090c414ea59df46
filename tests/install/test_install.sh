#!/usr/bin/env bash
# test_install.sh SOURCE BUILD CMAKE CC CXX: installs into a temporary prefix, moves it, and builds a
# program there in each of the ways there are. Prints cmocka's closing lines, which
# scripts/test_summary.awk counts.
set -u
source=$1 build=$2 cmake=$3 cc=$4 cxx=$5
here=$source/tests/install
# shellcheck source=tests/checks.sh
. "$(dirname "$0")/../checks.sh"

# A prefix that was moved after the installation must work: nothing in it may know its place.
install_and_move() {
    "$cmake" --install "$build" --prefix "$dir/first" && mv "$dir/first" "$dir/prefix"
}

# with_pkg_config COMPILER FILE
with_pkg_config() {
    # shellcheck disable=SC2046
    "$1" "$2" -o "$dir/shared" $(pkg-config --cflags --libs ferry) \
        "-Wl,-rpath,$(pkg-config --variable=libdir ferry)" && "$dir/shared"
}

# with_pkg_config_static COMPILER FILE
with_pkg_config_static() {
    # shellcheck disable=SC2046
    "$1" "$2" -o "$dir/static" $(pkg-config --cflags ferry) \
        "$(pkg-config --variable=libdir ferry)/libferry.a" \
        $(pkg-config --static --libs-only-other ferry) $(pkg-config --static --libs-only-l ferry |
            sed 's/-lferry//') && "$dir/static"
}

# with_cmake FOLDER ARGUMENT...
with_cmake() {
    folder=$1
    shift
    "$cmake" -S "$here/$folder" -B "$dir/$folder" -DCMAKE_C_COMPILER="$cc" \
        -DCMAKE_CXX_COMPILER="$cxx" "$@" &&
        "$cmake" --build "$dir/$folder" --parallel 2 &&
        ctest --test-dir "$dir/$folder" --output-on-failure --no-tests=error
}

# What the shared library shows is what the public headers declare.
exports() {
    library=$(ls "$dir"/prefix/lib*/libferry.*[0-9].dylib "$dir"/prefix/lib*/libferry.so \
        "$dir"/prefix/lib*/*/libferry.so 2>/dev/null | head -n 1)
    case $library in
    *.dylib) nm -gU "$library" | awk '{print substr($NF, 2)}' ;;
    *) nm -D --defined-only "$library" | awk '{sub(/@.*/, "", $NF); print $NF}' ;;
    esac | grep -v '^FERRY_' | sort >"$dir/shown"
    (cd "$dir/prefix/include/ferry" && cat ferry.h model.h dlpack.h) | tr '\n' ' ' |
        grep -oE 'FERRY_(API|CHECK) [^(;]*\(' | grep -oE 'ferry_[a-z0-9_]+\($' | tr -d '(' |
        sort >"$dir/declared"
    [ -s "$dir/declared" ] && comm -23 "$dir/declared" "$dir/shown" >"$dir/lacking" &&
        grep -vE '^ferry_[a-z]' "$dir/shown" >"$dir/foreign"
    sed 's/^/not exported: /' "$dir/lacking"
    sed 's/^/exported, and not public: /' "$dir/foreign"
    [ -s "$dir/shown" ] && [ -s "$dir/declared" ] && [ ! -s "$dir/lacking" ] && [ ! -s "$dir/foreign" ]
}

# What was installed goes again, with the folders that were Ferry's.
uninstall() {
    DESTDIR="$dir/stage" "$cmake" --install "$build" --prefix /usr/local >/dev/null &&
        [ -n "$(find "$dir/stage" -name ferry.h)" ] &&
        DESTDIR="$dir/stage" BUILD="$build" "$source/scripts/install.sh" --undo || return 1
    find "$dir/stage" -type f -o -type l -o -name '*erry*'
    [ -z "$(find "$dir/stage" -type f -o -type l -o -name '*erry*')" ]
}

echo "[==========] Running the installation's tests"
check "install" install_and_move
pc=$(find "$dir/prefix" -name ferry.pc)
export PKG_CONFIG_PATH=${pc%/*}
check "the installed command" "$dir/prefix/bin/ferry" --version
for language in c cpp; do
    compiler=$cc
    [ $language = c ] || compiler=$cxx
    check "$language: pkg-config" with_pkg_config "$compiler" "$here/program.$language"
    check "$language: pkg-config, static" with_pkg_config_static "$compiler" "$here/program.$language"
done
for example in "$source"/examples/*.c; do
    # Vulkan; a CUDA device; an argument; a server
    case $example in
    *external_work.c | *cuda_external.c | *load_model.c | *triton_backend.c) continue ;;
    esac
    check "$(basename "$example"): pkg-config" with_pkg_config "$cc" "$example"
done
check "find_package" with_cmake find_package -DCMAKE_PREFIX_PATH="$dir/prefix"
check "add_subdirectory" with_cmake subdirectory -DFERRY_SOURCE="$source"
check "exports" exports
check "uninstall" uninstall

summary
