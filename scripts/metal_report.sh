#!/usr/bin/env bash
# metal_report.sh [BUILD]: answers the questions of docs/metal.md that only a Mac can, on one page,
# to send to us. BUILD is a folder that was built with the tests (build/release). Takes some minutes.
# What each command printed stays in BUILD/metal-report/. Fails if the driver is not usable, its
# kernels do not compile, a test of the suite fails, or Metal's objects miss an autorelease pool.
# FILTER: which tests of the suite (all); SECONDS_OF_VERIFY: 10; BENCH=0: no benchmark.
set -u
cd "$(dirname "$0")/.."
build=${1:-build/release}
ferry=$build/cli/ferry suite=$build/tests/suite/suite
[ -x "$ferry" ] && [ -x "$suite" ] || {
    echo "metal_report: $ferry or $suite is missing: make test" >&2
    exit 2
}
logs=$build/metal-report
rm -rf "$logs" && mkdir -p "$logs" || exit 2
worst=0
# The suite's configurations for Metal, here: a Mac's own, or the simulator's.
configured=metal
"$suite" 2>&1 | tr ' ' '\n' | grep -qx metal || configured=metal-apple

line() { printf '%-44s %s\n' "$1" "$2"; }

# ask QUESTION NAME COMMAND...: yes or no, by how the command ends; its output is kept.
ask() {
    question=$1 log=$logs/$2
    shift 2
    if "$@" >"$log" 2>&1; then line "$question" "yes"; else line "$question" "NO (see $log)" && worst=1; fi
}

# try QUESTION NAME COMMAND...: the same, where no is an answer like another.
try() {
    before=$worst
    ask "$@"
    worst=$before
}

# bodies FILTER VARIABLE=VALUE...: of the suite.
bodies() {
    filter=${1:-${FILTER-}}
    shift
    env "$@" "$suite" "$configured" ${filter:+"$filter"}
}

# quick LABEL VARIABLE=VALUE...: the short benchmark, its figures only.
quick() {
    label=$1
    shift
    echo
    echo "bench --quick, $label:"
    env "$@" "$ferry" bench --device metal --quick --seconds 0.1 2>&1 |
        grep -E '^(met|missed|-) |GB/s|us' | cut -c1-100
}

echo "Ferry on Metal: report of $(date -u '+%Y-%m-%d %H:%M') UTC"
line "Ferry" "$("$ferry" --version 2>/dev/null | head -1) $(git rev-parse --short HEAD 2>/dev/null)"
if command -v sw_vers >/dev/null; then
    line "macOS" "$(sw_vers -productVersion) ($(sw_vers -buildVersion))"
    line "Mac" "$(sysctl -n hw.model), $(sysctl -n machdep.cpu.brand_string), $(sysctl -n hw.memsize) bytes"
    line "translated by Rosetta" "$(sysctl -n sysctl.proc_translated 2>/dev/null || echo no)"
else
    line "system" "$(uname -sm): not a Mac, so this is the simulator"
fi

echo
ask "does a device open, are the encodings right" open env FERRY_LOG=info "$ferry" devices --verbose
sed -n 's/.*metal: class/class/p' "$logs/open" | sort -u
sed -n 's/.*\(metal: no imports here.*\)/\1/p; s/.*\(metal: no imports on.*\)/\1/p' "$logs/open" | sort -u
ask "does a little random work" work env FERRY_LOG=info "$ferry" verify --device metal --operations 100 --quiet
ask "do the kernels compile" kernels grep 'kernels compiled' "$logs/work"
sed -n 's/.*metal: \(kernels compiled.*\)/\1/p' "$logs/work" | head -1
ask "were imports tried" imports grep -qE 'imports right both ways|metal: no imports' "$logs/open"

echo
ask "does the suite pass" suite bodies ""
ask "with Metal's validation" validation bodies "" MTL_DEBUG_LAYER=1 MTL_DEBUG_LAYER_ERROR_MODE=assert
ask "with validation of the kernels" shaders bodies "" MTL_SHADER_VALIDATION=1
ask "does it run without missing pools (1)" pools_run bodies "" OBJC_DEBUG_MISSING_POOLS=YES
ask "does it run without missing pools (2)" pools scripts/missing_pools.sh "$logs/pools_run"
ask "three queues, in any order" queues env "$suite" "$configured-queues" ${FILTER:+"$FILTER"}
ask "is random work right" verify "$ferry" verify --device metal --seconds "${SECONDS_OF_VERIFY:-10}" --quiet
ask "are copies over 4 GiB right" large bodies 'test_one_*'
try "do read-only pages import" read_only bodies 'test_read_only*'
try "does every path work when it is forced" forced bodies test_forced_path FERRY_PATH=imported
try "without CoreGraphics" coregraphics env \
    FERRY_METAL_LIBRARIES=/usr/lib/libobjc.A.dylib:/System/Library/Frameworks/Metal.framework/Metal \
    "$ferry" verify --device metal --operations 10 --quiet
try "does it work as class discrete" discrete bodies test_info FERRY_METAL_CLASS=discrete

echo
FERRY_METAL_ENGINE=calibrate FERRY_LOG=info "$ferry" devices --verbose 2>&1 |
    sed -n 's/.*metal: copies of/blit or kernel: copies of/p' | sort -u
"$ferry" devices --verbose 2>/dev/null | grep -E 'from|max|measured' | head -12
if [ "${BENCH:-1}" = 1 ]; then
    quick "as it is"
    quick "without a residency set" FERRY_METAL_RESIDENCY=off
    quick "by blits" FERRY_METAL_ENGINE=blit
    quick "uploads imported" FERRY_PATH=imported
    quick "uploads staged" FERRY_PATH=pipelined
fi
exit $worst
