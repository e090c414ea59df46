#!/usr/bin/env bash
# make bench: measures DEVICE, or the best device, and keeps what came of it in docs/benchmarks/, in
# a folder of the device's name: the machine and the date, the targets and the table as text and as
# JSON (each a run of its own), the JSON's rows as CSV, plots where gnuplot is, and an index page.
# SECONDS_EACH: of each run.
set -eu
cd "$(dirname "$0")/.."
ferry=build/release/cli/ferry
all=${OUT:-docs/benchmarks}

bench() {
    "$ferry" bench ${DEVICE:+--device "$DEVICE"} ${SECONDS_EACH:+--seconds "$SECONDS_EACH"} "$@"
}

machine() {
    date -u '+date: %Y-%m-%d %H:%M UTC'
    echo "command: $("$ferry" --version)"
    git log -1 --format='commit: %h' 2>/dev/null || true
    sed -n '1{s/^device: /device: /p;}' "$1"
    echo "system: $(uname -srm)"
    sed -n 's/^PRETTY_NAME="\(.*\)"/distribution: \1/p' /etc/os-release 2>/dev/null || true
    sed -n 's/^model name[[:space:]]*: /processor: /p' /proc/cpuinfo 2>/dev/null | sort | uniq -c |
        sed 's/^ *\([0-9]*\) processor: /processors: \1 x /'
    sysctl -n machdep.cpu.brand_string 2>/dev/null || true
    sed -n 's/^MemTotal: */memory: /p' /proc/meminfo 2>/dev/null || true
    dpkg-query -W -f 'package: ${Package} ${Version}\n' mesa-vulkan-drivers libplacebo-dev \
        pocl-opencl-icd libc6 gcc 2>/dev/null || true
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null |
        sed 's/^/gpu: /' || true
    echo "load before: $load"
}

load=$(uptime | sed 's/.*average[s]*: //')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bench --quick >"$work/targets.txt"
bench --quick --json >"$work/targets.json"
bench >"$work/table.txt"
bench --json >"$work/table.json"
bench --blocks --json >"$work/blocks.json"
machine "$work/targets.txt" >"$work/machine.txt"

# "vulkan:0 (llvmpipe (LLVM ..." is vulkan-llvmpipe.
name=$(sed -n '1s/^device: \([^: ]*\)[^ ]* (\([^,()]*[^,() ]\).*/\1 \2/p' "$work/targets.txt" |
    tr 'A-Z' 'a-z' | tr -cs 'a-z0-9\n' '-')
out=$all/$name
# The wire, between two processes of this machine: from host memory to host memory.
case $name in host-*) python3 bench/wire.py "$ferry" >"$work/wire.txt" || rm -f "$work/wire.txt" ;; esac
mkdir -p "$out"
cp "$work"/* "$out"
{
    echo "# Measured on $(sed -n '1s/^device: //p' "$out/targets.txt")"
    echo
    echo "What the words mean: [benchmarks](../../benchmarks.md). [The targets](targets.txt) ([JSON](targets.json)), [the table](table.txt) ([JSON](table.json), [CSV](table.csv)), [scattered blocks](blocks.csv) ([JSON](blocks.json))."
    echo
    echo '```'
    cat "$out/machine.txt"
    echo '```'
    echo
    if command -v python3 >/dev/null; then
        python3 bench/plot.py "$out"
    else
        echo "no plots and no CSV: python3 is not installed"
    fi
    echo
    echo '```'
    cat "$out/targets.txt"
    echo '```'
} >"$out/README.md"
cat "$out/targets.txt"
