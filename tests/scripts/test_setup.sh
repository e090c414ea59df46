#!/usr/bin/env bash
# test_setup.sh SOURCE: setup.sh, make and the installation's scripts, with programs in the place of
# apt-get, dpkg-query, sudo, id and cmake. Prints cmocka's closing lines, which
# scripts/test_summary.awk counts.
set -u
source=$1
# shellcheck source=tests/checks.sh
. "$(dirname "$0")/../checks.sh"

# fake NAME: a program that runs what stands on standard input.
fake() {
    { echo "#!/bin/bash"; cat; } >"$dir/bin/$1"
    chmod +x "$dir/bin/$1"
}

# world UID [apt-get's exit]: nothing is installed, and apt-get writes down what it is asked for.
world() {
    rm -rf "$dir/bin" "$dir/asked"
    mkdir "$dir/bin"
    : >"$dir/asked"
    for tool in bash env awk cat dirname printf sed grep make; do
        ln -s "$(command -v $tool)" "$dir/bin/$tool"
    done
    fake id <<<"echo $1"
    fake dpkg-query <<<'grep -qx "${@: -1}" "$(dirname "$0")/../installed" && echo -n "install ok installed"'
    fake apt-get <<<"echo \"\$@\" >>'$dir/asked'; exit ${2-0}"
    : >"$dir/installed"
}

setup() { env -i PATH="$dir/bin" "$source/scripts/setup.sh" "$@"; }

asked() {
    if grep -qE -- "$1" "$dir/asked"; then good "$name: asked for $1"; else bad "$name: not asked for $1"; fi
}

not_asked() {
    if grep -qE -- "$1" "$dir/asked"; then bad "$name: asked for $1"; else good "$name: no $1"; fi
}

echo "[==========] Running the scripts' tests"

world 0
run "root, to build" 0 setup build
asked '^update'
asked 'install .*gcc.* cmake'
for package in clang valgrind doxygen python3 mesa tesseract libcmocka; do not_asked "$package"; done
run "root, to run" 0 setup run
asked tesseract-ocr-eng
for package in clang valgrind doxygen python3 libcmocka; do not_asked "$package"; done
world 0
run "root, to test" 0 setup
for package in gcc libcmocka-dev valgrind doxygen python3-pytest; do asked " $package( |\$)"; done
run "an unknown purpose" 2 setup fly
says err 'unknown purpose "fly": build, run, test'

world 0
tr ' ' '\n' <<<"gcc libc6-dev make cmake pkg-config libvulkan-dev liburing-dev" \
    >"$dir/installed"
run "nothing is missing" 0 setup build
silent out
silent err
if [ ! -s "$dir/asked" ]; then good "nothing was asked for"; else bad "something was asked for"; fi

world 1000
run "no sudo, no compiler" 1 setup run
says err 'not root, and there is no sudo'
says err 'Ask an administrator to run:'
says err 'apt-get install --no-install-recommends .*gcc.*tesseract-ocr-eng'
for tool in cc cmake pkg-config; do fake $tool <<<"exit 0"; done
run "no sudo, the tools are here, to run" 0 setup run
says err 'going on without'
run "no sudo, the tools are here, to test" 1 setup test
says err 'libcmocka-dev'

world 1000
fake sudo <<<'[ "$1" = -n ] && exec "${@:2}"; exit 9'
run "sudo, and no terminal" 0 setup build
asked 'install .*gcc'

world 0 100
run "apt-get fails" 1 setup run
says err 'could not be installed'

# make: a file's name reaches the command as it was typed, and decides what is installed.
tree="$dir/tree"
mkdir -p "$tree/scripts" "$tree/build/release/cli"
cp "$source/Makefile" "$tree"
cp "$source/scripts/run.sh" "$source/scripts/install.sh" "$tree/scripts"
printf '#!/bin/bash\necho "setup for $*"\n' >"$tree/scripts/setup.sh"
printf '#!/bin/bash\nprintf "[%%s]" "$@"\necho\n' >"$tree/build/release/cli/ferry"
printf '#!/bin/bash\nexit 0\n' >"$dir/bin/cmake"
chmod +x "$tree/scripts/setup.sh" "$tree/build/release/cli/ferry" "$dir/bin/cmake"
make_in_tree() { PATH="$dir/bin:$PATH" make -s -C "$tree" "$@"; }
for file in "it's a.bin" 'two words' 'a "quoted" $5 $(HOME) `id`; exit 3' '#1' '-dash'; do
    run "make run FILE=$file" 0 make_in_tree run "FILE=$file"
    if grep -qxF "[transfer][--][$file]" "$dir/out"; then good "as typed"; else bad "not as typed"; fi
done
says out 'setup for build'
run "make run DEVICE" 0 make_in_tree run "DEVICE=host:1"
says out 'setup for run'
says out '\[transfer\]\[--device\]\[host:1\]'

# make uninstall: what the list names and no more.
prefix="$dir/prefix it's"
mkdir -p "$prefix/include/ferry/part" "$prefix/lib/cmake/Ferry" "$prefix/lib/cmake/Other" "$prefix/bin"
: >"$prefix/include/ferry/ferry.h"
: >"$prefix/include/ferry/part/list.inc"
: >"$prefix/lib/libferry.so.1"
: >"$prefix/lib/cmake/Ferry/a b.cmake"
: >"$prefix/lib/cmake/Other/keep"
: >"$prefix/bin/other"
printf '%s\n%s\n%s\n%s' "$prefix/include/ferry/ferry.h" "$prefix/include/ferry/part/list.inc" "$prefix/lib/libferry.so.1" \
    "$prefix/lib/cmake/Ferry/a b.cmake" >"$tree/build/release/install_manifest.txt"
fake ldconfig <<<"exit 0"
run "make uninstall" 0 make_in_tree uninstall "PREFIX=$prefix"
find "$prefix" -type f | sort >"$dir/out"
if [ "$(cat "$dir/out")" = "$prefix/bin/other
$prefix/lib/cmake/Other/keep" ]; then good "only our files are gone"; else bad "what is left"; fi
if [ ! -e "$prefix/include/ferry" ] && [ ! -e "$prefix/lib/cmake/Ferry" ]; then
    good "our folders are gone"
else
    bad "a folder of ours is left"
fi
run "make uninstall again" 2 make_in_tree uninstall
says err 'no record of an installation'
run "make install, nothing built" 2 make_in_tree install
says err 'run make first'
summary
