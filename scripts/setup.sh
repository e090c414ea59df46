#!/usr/bin/env bash
# scripts/setup.sh [PURPOSE...]: installs what is missing for a purpose, and is the one place that
# lists it. Says nothing and touches nothing when nothing is missing. Asks no questions, except
# that sudo may ask for a password at a terminal.
#
#   build   the library and the command
#   run     build, and the model file that `make run` moves (not needed with FILE=)
#   test    build, and all that the tests need; also the default
#   bench   build, and what the benchmark draws with and measures Ferry beside
#   docs    build, and what makes the manual pages and the site
#   wheel   build, and what packs the Python module
set -eu

# CONTRIBUTING.md says what each is for, and why this one; test_docs holds the two together.
debian_build="gcc libc6-dev make cmake pkg-config libvulkan-dev liburing-dev"
debian_run="tesseract-ocr-eng"
debian_test="g++ libcmocka-dev python3 tesseract-ocr-eng mesa-vulkan-drivers
    vulkan-validationlayers glslang-tools libobjc4 libblocksruntime-dev clang clang-19 llvm
    libclang-rt-19-dev lld valgrind
    libdlpack-dev libucx0 libucx-dev libssl3 iproute2 spin dpkg-dev file python3-numpy python3-pytest
    python3-pip python3-setuptools python3-wheel python3-venv mypy groff-base doxygen zsh
    mkdocs clang-format clang-tidy"
debian_bench="python3 gnuplot-nox libplacebo-dev ocl-icd-opencl-dev pocl-opencl-icd libucx0 ucx-utils"
debian_docs="doxygen groff-base python3 mkdocs"
debian_wheel="binutils python3 python3-pip python3-setuptools python3-wheel"

homebrew_build="cmake pkgconf"
homebrew_run="tesseract"
homebrew_test="cmocka tesseract groff doxygen numpy pytest"
homebrew_bench="gnuplot"
homebrew_docs="doxygen groff"
homebrew_wheel="python-setuptools"

# Without these nothing can be built: where the rest cannot be installed, building goes on.
needed_tools="cc make cmake pkg-config"

list() { # list SYSTEM: what the purposes need there, each once
    for purpose in build $purposes; do
        name=$1_$purpose
        printf '%s\n' ${!name}
    done | awk '!seen[$0]++'
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    elif ! command -v sudo >/dev/null; then
        echo "setup: you are not root, and there is no sudo" >&2
        return 1
    elif [ -t 0 ]; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

# Fails, unless only to build and run was asked for and the tools for that are here: what is then
# missing is an option of the library, or the model file, and the build says which it leaves out.
could_not() {
    lacking=""
    for tool in $needed_tools; do
        command -v "$tool" >/dev/null || lacking="$lacking $tool"
    done
    case " $purposes " in
    *" test "* | *" bench "* | *" docs "* | *" wheel "*) ;;
    *)
        if [ -z "$lacking" ]; then
            echo "setup: going on without" >&2
            exit 0
        fi
        ;;
    esac
    exit 1
}

setup_debian() {
    missing=""
    for package in $(list debian); do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
        [ "$status" = "install ok installed" ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "setup: installing$missing"
    # shellcheck disable=SC2086
    if ! as_root apt-get update -qq ||
        ! as_root apt-get install -y -qq --no-install-recommends $missing; then
        echo "setup: these packages are missing and could not be installed. Ask an administrator to run:" >&2
        echo "    apt-get update && apt-get install --no-install-recommends$missing" >&2
        could_not
    fi
}

setup_homebrew() {
    missing=""
    for formula in $(list homebrew); do
        brew list --versions "$formula" >/dev/null 2>&1 || missing="$missing $formula"
    done
    [ -n "$missing" ] || return 0
    echo "setup: installing$missing"
    # shellcheck disable=SC2086
    HOMEBREW_NO_AUTO_UPDATE=1 NONINTERACTIVE=1 brew install $missing || could_not
}

# Neither apt-get nor brew: only the tools can be looked for.
setup_other() {
    tools=$needed_tools
    case " $purposes " in *" test "*) tools="$tools c++ python3" ;; esac
    missing=""
    for tool in $tools; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    case " $purposes " in
    *" test "*) pkg-config --exists cmocka 2>/dev/null || missing="$missing cmocka" ;;
    esac
    [ -n "$missing" ] || return 0
    echo "setup: neither apt-get nor brew is here; please install:$missing" >&2
    exit 1
}

purposes=${*:-test}
for purpose in $purposes; do
    case $purpose in
    build | run | test | bench | docs | wheel) ;;
    *)
        echo "setup: unknown purpose \"$purpose\": build, run, test, bench, docs or wheel" >&2
        exit 2
        ;;
    esac
done

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    setup_debian
elif command -v brew >/dev/null; then
    setup_homebrew
else
    setup_other
fi
