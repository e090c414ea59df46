#!/usr/bin/env bash
# make bench: measures DEVICE, or the best device, and keeps what came of it in docs/benchmarks/:
# the machine and the date, the targets and the table as text and as JSON (each a run of its own),
# and, where gnuplot and python3 are, a plot of bandwidth against size. SECONDS_EACH: of each run.
set -eu
cd "$(dirname "$0")/.."
ferry=build/release/cli/ferry
out=${OUT:-docs/benchmarks}
mkdir -p "$out"

bench() {
    "$ferry" bench ${DEVICE:+--device "$DEVICE"} ${SECONDS_EACH:+--seconds "$SECONDS_EACH"} "$@"
}

machine() {
    date -u '+date: %Y-%m-%d %H:%M UTC'
    "$ferry" --version
    git log -1 --format='commit: %h' 2>/dev/null || true
    uname -srm
    sed -n 's/^model name[[:space:]]*: /processor: /p' /proc/cpuinfo 2>/dev/null | sort | uniq -c
    sysctl -n machdep.cpu.brand_string 2>/dev/null || true
    sed -n 's/^MemTotal: */memory: /p' /proc/meminfo 2>/dev/null || true
    echo "load before: $(uptime | sed 's/.*average[s]*: //')"
}

# Uploads by each path: "size GB/s" in a file of the contestant's name.
series() {
    python3 - "$1" "$2" <<'END'
import json, sys
series = {}
for row in json.load(open(sys.argv[1]))["rows"]:
    if row["operation"] == "upload" and row["mode"] == "waiting" and not row["odd"] and "ns" in row:
        name = (row["contestant"] + " " + row["path"]).strip()
        series.setdefault(name, []).append((row["size"], row["gb_s"]))
for name, points in series.items():
    with open(f"{sys.argv[2]}/{name}", "w") as file:
        file.writelines(f"{size} {rate}\n" for size, rate in points)
END
}

plot() {
    {
        echo "set terminal svg size 900,600 background rgb 'white'; set output '$2'"
        echo "set logscale xy 2; set format y '%g'; set key left top; set grid"
        echo "set xlabel 'bytes'; set ylabel 'GB/s'; set title 'uploads, waiting'"
        printf 'plot '
        for file in "$1"/*; do
            printf "'%s' with linespoints title '%s', " "$file" "$(basename "$file")"
        done
        echo
    } | sed 's/, $//' | gnuplot
}

machine >"$out/machine.txt"
bench --quick >"$out/targets.txt"
bench --quick --json >"$out/targets.json"
bench >"$out/table.txt"
bench --json >"$out/table.json"
if command -v gnuplot >/dev/null && command -v python3 >/dev/null; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    series "$out/table.json" "$dir"
    plot "$dir" "$out/upload.svg"
fi
cat "$out/targets.txt"
