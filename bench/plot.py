#!/usr/bin/env python3
"""plot.py DIR: from DIR/table.json (ferry bench --json) makes DIR/table.csv, the same rows, and, by
gnuplot, a plot for each operation: bandwidth against size, as DIR/NAME.svg and DIR/NAME.png."""
import csv
import json
import os
import shutil
import subprocess
import sys

# A series (contestant, path, memory), its name, colour, line width and dash. In the order of the
# legend: the limits, Ferry, others.
STYLES = [
    (("memcpy", "", "pageable"), "memcpy, one thread", "#000000", 2, 2),
    (("memcpy by two", "", "pageable"), "memcpy, two threads", "#7f7f7f", 2, 2),
    (("ferry", "auto", "pageable"), "Ferry", "#d62728", 3, 1),
    (("ferry", "auto", "registered"), "Ferry, registered memory", "#ff7f0e", 2, 1),
    (("ferry", "staged", "pageable"), "Ferry, staged", "#e377c2", 1.5, 1),
    (("ferry", "pipelined", "pageable"), "Ferry, pipelined", "#9467bd", 1.5, 1),
    (("ferry", "imported", "pageable"), "Ferry, imported", "#8c564b", 1.5, 1),
    (("libplacebo", "", "pageable"), "libplacebo", "#1f77b4", 2, 1),
    (("libplacebo staged", "", "pageable"), "libplacebo, staged", "#17becf", 2, 1),
    (("opencl", "", "pageable"), "OpenCL", "#2ca02c", 2, 1),
    (("cuda", "", "pageable"), "CUDA", "#006400", 2, 1),
    (("cuda", "", "allocated"), "CUDA, page-locked memory", "#bcbd22", 2, 1),
    (("seed", "", "pageable"), "everything made anew", "#c7a76c", 2, 1),
]
TITLES = {"upload": "Host memory to device", "download": "Device to host memory",
          "copy": "Buffer to buffer", "fill": "Fill"}


def series(rows, operation):
    """The points of each series; of what was measured in several groups, the first."""
    points = {}
    for row in rows:
        if row["operation"] != operation or row["mode"] != "waiting" or row["n"] != 1:
            continue
        if row["odd"] or "ns" not in row:
            continue
        key = (row["contestant"], row["path"], row["memory"])
        points.setdefault(key, {}).setdefault(row["size"], row["gb_s"])
    return points


def plot(rows, operation, subtitle, path):
    """False: there is nothing to draw."""
    points = series(rows, operation)
    drawn = [style for style in STYLES if style[0] in points]
    if not drawn:
        return False
    lines = ["set logscale x 2", "set logscale y 10", "set grid xtics ytics lt 1 lc rgb '#d8d8d8' lw 1",
             "set format y '%g'", "set border 3 lc rgb '#606060'", "set tics nomirror",
             "set key outside right top Left reverse samplen 2 spacing 1.25",
             f"set title \"{{/*1.25 {TITLES[operation]}}}\\n{subtitle}\"",
             "set xlabel 'bytes moved by one operation, waiting for each'",
             "set ylabel 'bandwidth, GB/s (10^9 bytes a second)'",
             "set xtics ('256 B' 256, '4 KiB' 4096, '64 KiB' 65536, '1 MiB' 1048576, "
             "'16 MiB' 16777216, '256 MiB' 268435456)", "set xrange [180:380e6]"]
    for style in drawn:
        lines += [f"$s{STYLES.index(style)} << END",
                  *(f"{x} {y}" for x, y in sorted(points[style[0]].items())), "END"]
    curves = ", ".join(
        f"$s{STYLES.index(style)} with linespoints lc rgb '{style[2]}' lw {style[3]} dt {style[4]} "
        f"pt 7 ps 0.45 title '{style[1]}'" for style in drawn)
    font = "font 'DejaVu Sans,12'"
    for terminal, ending in ((f"svg size 1000,560 {font} background rgb 'white'", "svg"),
                             (f"pngcairo size 1500,840 {font.replace('12', '15')}", "png")):
        lines += [f"set terminal {terminal} enhanced", f"set output '{path}.{ending}'",
                  f"plot {curves}", "unset output"]
    subprocess.run(["gnuplot"], input="\n".join(lines), text=True, check=True)
    return True


def write_csv(rows, path):
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "why"))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main():
    directory = sys.argv[1]
    with open(os.path.join(directory, "table.json")) as file:
        table = json.load(file)
    write_csv(table["rows"], os.path.join(directory, "table.csv"))
    if shutil.which("gnuplot") is None:
        print("no plots: gnuplot is not installed")
        return
    described = "".join(" " if c in "_^@&~{}\"'\\`" else c for c in table["device"]["description"])
    for operation in TITLES:
        if plot(table["rows"], operation, described, os.path.join(directory, operation)):
            print(f"![{TITLES[operation]}: bandwidth against size]({operation}.svg)")


main()
