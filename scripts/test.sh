#!/usr/bin/env bash
# make test: every test, optimised, then under the address and undefined behaviour sanitizers, then
# those with threads under the thread sanitizer; last, the cross-build for macOS. PRESETS, JOBS
# and ALL may be given. Ends with how many tests ran on each configuration, and fails if one ran none.
set -eu -o pipefail
cd "$(dirname "$0")/.."
[ "$(uname)" = Darwin ] && cross="" || cross=macos
presets=${PRESETS:-release asan tsan $cross}
jobs=${JOBS:-2}
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT

finish() {
    cat "$summary"
    exit "$1"
}

# Of what the cross-build needs, setup.sh installs all but npm.
cross_build() {
    code=0
    JOBS=$jobs scripts/macos_cross.sh || code=$?
    case $code in
    0) printf '\n%-8s  built for arm64 and x86_64, and checked; not run\n' macos >>"$summary" ;;
    77) printf '\n%-8s  NOT BUILT: the lines above say what is missing\n' macos >>"$summary" ;;
    *) finish 1 ;;
    esac
}

# Half as many again at once as there are processors: many wait for a device that is slow on purpose.
#
# What is the same in every build, or counts the allocator's bytes, runs optimised only. What has one
# thread, calls Ferry where a fault is handled, or measures its own memory is not run under the thread
# sanitizer; nor are failures in turn, but for copies between peers, where one was a race. Many
# configurations are another one but for a detail, and a sanitizer takes two to four times as long.
# Unless ALL=1 is given, those that differ in threads, queues or order run under the thread sanitizer,
# the host's paths, alignments and memory under the address sanitizer, and the rest optimised; the
# suite's rarer configurations and a newer Clang are left out, each schedule has one seed, and of the
# allocations each seventh fails. With ALL=1 each build runs them all.
same="install|package|docs|man|reference|op_memory|stack_use|model_wire|mac_tools|setup|rooms|shaders|ptx|peer_ptx"
same="$same|metal_language|template_page|triton_check|shown_names"
one="json|interval|plan|spans|order|order_bitmaps|tree|arena|abi|pace|window"
skip_release='^$'
skip_asan="^test_($same)$"
skip_tsan="^test_($same|$one|command|bench|load|python.*|failed_meanwhile|metal_loading)$|^fuzz_"
skip_tsan="$skip_tsan|schedule.inject|joins.inject|cuda.inject|metal.inject|amd.inject|inject.fail|inject.lose"
if [ "${ALL:-0}" = 0 ]; then
    threads="^suite\.(host-(disorder|events)|cuda-late|metal-apple-queued)$"
    host="^suite\.(path-|no-import|tiny-|host-(nofill|nomap|noncoherent|metal))"
    gpu="^suite\.(vulkan-(staged|imported|validated|discrete-late|and-host|two-devices)"
    gpu="$gpu|cuda-(staged|imported|kernel|no-batch|two-queues|and-host)|metal-apple-(no-kernels|queues))$"
    rare="^suite\.(vulkan-(direct|pipelined|noncoherent|bar|integrated|discrete$|one-queue)|cuda-(pipelined|no-jit|no-peers|12"
    rare="$rare|one-queue|tiny)|metal-(apple-mapped|amd-queues|intel|paravirtual)|host-(metal-late|noncoherent-align)|tiny-budget-align)"
    skip_release="$threads|$host|$rare|^test_clang$"
    skip_asan="$skip_asan|$rare|^suite\.host-(disorder|events)|^suite\.(vulkan|cuda)-|^suite\.metal-(apple-|amd)"
    skip_asan="$skip_asan|^promises\.vulkan|^test_vulkan_driver\.vulkan-|^test_python\.vulkan"
    skip_asan="$skip_asan|^test_(bench|command|strictvk)$|\.staged$"
    skip_asan="$skip_asan|^schedule\..*-threads|^schedule\.threads-|^schedule_joins\.threads"
    skip_asan="$skip_asan|^schedule\.backlog$|^schedule\.backlog-[^f]"
    skip_tsan="$skip_tsan|$rare|$host|$gpu|^suite\.vulkan-kernel$|^suite\.cuda$|^suite\.metal-a(pple|md)$"
    skip_tsan="$skip_tsan|^schedule\.backlog-(tiny|failing|align4|arena)$|^test_(cuda_failures|strictvk)$|\.staged$"
    skip_tsan="$skip_tsan|^test_vulkan_driver\.vulkan-|^promises\.(path-|no-import|tiny-|host-non|vulkan)|^schedule\.backlog-arena"
fi

for preset in $presets; do
    if [ "$preset" = macos ]; then
        cross_build
        continue
    fi
    [ "${ALL:-0}" != 0 ] && seeds=3 || seeds=1
    cmake --preset "$preset" -DFERRY_WERROR=ON -DFERRY_TESTS=ON -DFERRY_TEST_SEEDS=$seeds
    cmake --build --preset "$preset" --parallel "$jobs"
    # The sources by themselves, where they are a checkout: once, in a configured build.
    if [ "$preset" = release ] && git rev-parse --git-dir >/dev/null 2>&1; then
        JOBS=$jobs scripts/check.sh || finish 1
    fi
    # CTest knows no more than nine pairs of parentheses, so it is given the names.
    skip=skip_$preset
    names=$(ctest --preset "$preset" -N | sed -n 's/^ *Test *#[0-9]*: //p' |
        grep -E "${!skip:-^$}" | paste -s -d '|' -) || true
    log=build/$preset/test.log
    code=0
    ctest --preset "$preset" --parallel $((jobs * 3 / 2)) --exclude-regex "^($names)$" 2>&1 | tee "$log" || code=1
    ! grep -F "Error in compile." "$log" || code=1
    awk -v preset="$preset" -f scripts/test_summary.awk "$log" >>"$summary" || code=1
    [ "$code" = 0 ] || finish 1
done
finish 0
