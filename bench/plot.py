#!/usr/bin/env python3
"""plot.py DIR: from DIR/table.json (ferry bench --json) makes DIR/table.csv, the same rows, and, by
gnuplot, a plot for each operation: bandwidth against size, as DIR/NAME.svg and DIR/NAME.png. From
DIR/blocks.json (ferry bench --blocks --json), where there is one, DIR/blocks.csv and a map: what each
field reaches, and how many times as fast that is as the fastest beside it."""
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


MAPS = [("upload", "page-locked", "Up, page-locked"), ("upload", "pageable", "Up, pageable"),
        ("download", "page-locked", "Down, page-locked"),
        ("download", "pageable", "Down, pageable"), ("copy", "device", "Within the arena")]


def fields(rows, operation, memory):
    """By block and count: Ferry's rate, and how many times that of the fastest beside it it is."""
    found = {}
    for row in rows:
        if (row["operation"], row["memory"]) == (operation, memory) and "ns" in row and not row["both"]:
            found.setdefault((row["block"], row["count"]), {})[row["contestant"]] = row["gb_s"]
    return {field: (rates["ferry"], rates["ferry"] / max(others) if others else 0)
            for field, rates in found.items() if "ferry" in rates
            for others in [[rate for name, rate in rates.items()
                           if not name.startswith("ferry")]]}


def short(count, units):
    for unit in units:
        if count < 1000:
            return f"{count}{unit}"
        count = count // 1024 if units[0] == " B" else count // 1000
    return str(count)


def draw_map(rows, subtitle, path):
    """False: there is nothing to draw."""
    maps = [(title, fields(rows, operation, memory)) for operation, memory, title in MAPS]
    maps = [(title, found) for title, found in maps if found]
    if not maps:
        return False
    blocks = sorted({block for _, found in maps for block, _ in found})
    counts = sorted({count for _, found in maps for _, count in found})
    most = max(rate for _, found in maps for rate, _ in found.values())
    lines = ["set palette defined (0 '#f7fbff', 0.4 '#9ecae1', 0.7 '#4292c6', 1 '#08519c')",
             f"set cbrange [0:{most:g}]", "unset colorbox", "unset key", "set tics scale 0",
             "set border lc rgb '#606060'", "set ylabel 'blocks'"]
    ticks = [", ".join(f"'{short(value, units)}' {i}" for i, value in enumerate(values))
             for values, units in ((blocks, [" B", " KiB", " MiB"]), (counts, ["", "k", "M"]))]
    lines += [f"set xtics ({ticks[0]})", f"set ytics ({ticks[1]})",
              f"set xrange [-0.5:{len(blocks) - 0.5}]", f"set yrange [-0.5:{len(counts) - 0.5}]"]
    for i, (_, found) in enumerate(maps):
        lines += [f"$m{i} << END"]
        for (block, count), (rate, times) in sorted(found.items()):
            text = f"{rate:.1f}" + (f"\\n{times:.1f}x" if times else "")
            lines += [f"{blocks.index(block)} {counts.index(count)} {rate:g} \"{text}\" "
                      f"{0xffffff if rate > 0.6 * most else 0x202020}"]
        lines += ["END"]
    font = "font 'DejaVu Sans,11'"
    for terminal, ending in ((f"svg size 1000,{300 * ((len(maps) + 1) // 2)} {font} "
                              "background rgb 'white'", "svg"),
                             (f"pngcairo size 1500,{450 * ((len(maps) + 1) // 2)} "
                              f"{font.replace('11', '15')}", "png")):
        lines += [f"set terminal {terminal} enhanced", f"set output '{path}.{ending}'",
                  f"set multiplot layout {(len(maps) + 1) // 2},2 title \"{{/*1.2 Scattered blocks: GB/s, "
                  f"and times the fastest beside}}\\n{subtitle}\""]
        for i, (title, _) in enumerate(maps):
            lines += [f"set title '{title}'",
                      f"plot $m{i} using 1:2:(0.49):(0.49):3 with boxxyerror fs solid 1 noborder "
                      f"lc palette, $m{i} using 1:2:4:5 with labels tc rgb variable"]
        lines += ["unset multiplot", "unset output"]
    subprocess.run(["gnuplot"], input="\n".join(lines), text=True, check=True)
    return True


def write_csv(rows, path):
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "why"))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def load(directory, name):
    path = os.path.join(directory, name)
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def main():
    directory = sys.argv[1]
    table, blocks = load(directory, "table.json"), load(directory, "blocks.json")
    rows = table["rows"] if table else []
    if table:
        write_csv(rows, os.path.join(directory, "table.csv"))
    if blocks:
        write_csv(blocks["blocks"], os.path.join(directory, "blocks.csv"))
    if shutil.which("gnuplot") is None:
        print("no plots: gnuplot is not installed")
        return
    described = "".join(" " if c in "_^@&~{}\"'\\`" else c
                        for c in (table or blocks)["device"]["description"])
    for operation in TITLES:
        if plot(rows, operation, described, os.path.join(directory, operation)):
            print(f"![{TITLES[operation]}: bandwidth against size]({operation}.svg)")
    if blocks and draw_map(blocks["blocks"], described, os.path.join(directory, "blocks")):
        print("![Scattered blocks: what each size and number of them reaches](blocks.svg)")


main()
