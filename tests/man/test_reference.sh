#!/usr/bin/env bash
# test_reference.sh SOURCE BUILD CMAKE: Doxygen reads the headers without a warning, each public function
# has a manual page, and the site has no dead link. Prints cmocka's closing lines, which
# scripts/test_summary.awk counts.
set -u
source=$1 build=$2 cmake=$3
# shellcheck source=tests/checks.sh
. "$(dirname "$0")/../checks.sh"

made() { rm -f "$build/reference/made" && "$cmake" --build "$build" --target ferry_reference; }

# Exactly the functions that the headers declare.
pages() {
    (cd "$source/include/ferry" && cat ferry.h model.h dlpack.h metal.h stream.h triton.h vulkan.h wire.h \
        "$(ls cuda.h 2>/dev/null || echo ferry.h)") | tr '\n' ' ' |
        grep -oE 'FERRY_(API|CHECK) [^(;]*\(' | grep -oE 'ferry_[a-z0-9_]+\($' | tr -d '(' |
        sort -u >"$dir/declared"
    (cd "$build/generated/man3" && ls | sed 's/\.3\(\.gz\)*$//') | sort -u >"$dir/there"
    [ "$(wc -l <"$dir/declared")" -gt 50 ] && diff "$dir/declared" "$dir/there"
}

well_formed() {
    for page in "$build"/generated/man3/*.3; do
        groff -man -ww -z "$page" || echo "$page"
    done >"$dir/words" 2>&1
    cat "$dir/words"
    [ ! -s "$dir/words" ] && grep -q 'THEN the host memory' "$build/generated/man3/ferry_copy_to_host.3"
}

site() { "$source/scripts/site.sh" "$dir/site" "$build/reference/html"; }

# The check of the site sees what is wrong: a dead link, a dead anchor, pictures that are
# none, or broken off.
planted() {
    page=$dir/site/index.html
    for fault in '<a href="nowhere.html">x</a>' '<a href="#nowhere">x</a>' '<img src="index.html.png">' \
        '<script src="https://example.org/x.js"></script>'; do
        cp "$page" "$dir/kept"
        echo "$fault" >>"$page"
        ! python3 "$source/scripts/check_site.py" "$dir/site" >>"$dir/told" || return 1
        cp "$dir/kept" "$page"
    done
    # Pictures that a browser would show in part, or not at all.
    for picture in fill.svg fill.png; do
        file=$dir/site/docs/benchmarks/host-host-memory/$picture
        cp "$file" "$dir/kept"
        head -c 2000 "$dir/kept" >"$file"
        echo "<img src=\"docs/benchmarks/host-host-memory/$picture\">" >>"$page"
        ! python3 "$source/scripts/check_site.py" "$dir/site" >>"$dir/told" || return 1
        cp "$dir/kept" "$file"
    done
    echo "no picture" >"$dir/site/docs/benchmarks/host-host-memory/fill.svg.png"
    python3 "$source/scripts/check_site.py" "$dir/site"
}

echo "[==========] Running the reference's tests"
check "Doxygen reads the headers" made
check "a page for each function" pages
if command -v groff >/dev/null; then check "they are well formed" well_formed; else skip "no groff"; fi
if command -v mkdocs >/dev/null; then
    check "the site has no dead link" site
    check "faults are seen" planted
else
    skip "the site: no mkdocs"
fi
summary
