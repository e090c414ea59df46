#!/usr/bin/env bash
# Installs what Ferry needs to be built, run and tested: the one place that lists it. Says nothing
# and touches nothing when nothing is missing. Asks no questions, but for sudo's at a terminal.
set -eu

# CONTRIBUTING.md says what each is for, and why this one; test_docs holds the two together.
debian="gcc g++ libc6-dev make cmake pkg-config libcmocka-dev python3 tesseract-ocr-eng
    libvulkan-dev mesa-vulkan-drivers vulkan-validationlayers glslang-tools libobjc4
    libblocksruntime-dev clang lld valgrind libjansson-dev liburing-dev libdlpack-dev
    dpkg-dev file python3-numpy python3-pytest groff-base doxygen"
# setup.sh bench: also what the benchmark draws with, and measures Ferry beside.
debian_bench="gnuplot-nox libplacebo-dev ocl-icd-opencl-dev pocl-opencl-icd"
homebrew="cmake pkg-config cmocka tesseract jansson groff doxygen numpy"

[ "${1-}" != bench ] || debian="$debian $debian_bench"

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

setup_debian() {
    missing=""
    for package in $debian; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
        [ "$status" = "install ok installed" ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "setup: installing$missing"
    # shellcheck disable=SC2086
    if ! as_root apt-get update -qq ||
        ! as_root apt-get install -y -qq --no-install-recommends $missing; then
        echo "setup: could not. Have root run this, then try again:" >&2
        echo "    apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
}

setup_homebrew() {
    missing=""
    for formula in $homebrew; do
        brew list --versions "$formula" >/dev/null 2>&1 || missing="$missing $formula"
    done
    [ -n "$missing" ] || return 0
    echo "setup: installing$missing"
    # shellcheck disable=SC2086
    HOMEBREW_NO_AUTO_UPDATE=1 NONINTERACTIVE=1 brew install $missing
}

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    setup_debian
elif command -v brew >/dev/null; then
    setup_homebrew
else
    for tool in cc c++ make cmake pkg-config python3; do
        command -v "$tool" >/dev/null || missing="${missing-} $tool"
    done
    pkg-config --exists cmocka 2>/dev/null || missing="${missing-} cmocka"
    if [ -n "${missing-}" ]; then
        echo "setup: neither apt-get nor brew is here; please install:$missing" >&2
        exit 1
    fi
fi
