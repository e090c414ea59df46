#!/usr/bin/env bash
# test_docs.sh SOURCE: what stands twice says the same twice, and links lead somewhere. Prints
# cmocka's closing lines, which scripts/test_summary.awk counts.
set -u
cd "$1" || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0

# check NAME COMMAND...
check() {
    name=$1
    shift
    if "$@" >"$dir/out" 2>&1; then
        echo "[       OK ] $name"
        passed=$((passed + 1))
    else
        echo "[  FAILED  ] $name"
        sed 's/^/    /' "$dir/out"
        failed=$((failed + 1))
    fi
}

metrics() {
    awk -f scripts/metrics_table.awk include/ferry/stats.inc >"$dir/generated"
    sed -n '/<!-- begin -->/,/<!-- end -->/p' docs/metrics.md | grep '^|' >"$dir/written"
    [ -s "$dir/generated" ] && diff "$dir/generated" "$dir/written"
}

example() {
    sed -n '/^```c$/,/^```$/p' README.md | sed '1d;$d' >"$dir/written"
    sed 1d examples/readme.c >"$dir/compiled"
    [ -s "$dir/written" ] && diff "$dir/compiled" "$dir/written"
}

# Every link of a page to a file: the file is there.
links() {
    found=0
    lost=0
    for page in *.md docs/*.md; do
        for link in $(grep -oE '\]\([^)]+\)' "$page" | sed 's/^](//; s/)$//; s/#.*//' |
            grep -v '^https\{0,1\}:'); do
            found=$((found + 1))
            [ -e "$(dirname "$page")/$link" ] && continue
            echo "$page: $link is not there"
            lost=$((lost + 1))
        done
    done
    [ "$found" -gt 0 ] && [ "$lost" = 0 ]
}

# Every ferry_ name that a page gives is a function, a metric or a target that exists. A name that
# ends in _ stands for several.
names() {
    lost=0
    awk -f scripts/metrics_table.awk include/ferry/stats.inc >"$dir/metrics"
    for word in $(grep -ohE '`ferry_[a-z0-9_]+' ./*.md docs/*.md | tr -d '`' | sort -u); do
        case $word in *_) end= ;; *) end='\b' ;; esac
        grep -rqE "\\b$word$end" include src drivers cmake triton CMakeLists.txt "$dir/metrics" && continue
        echo "there is no $word"
        lost=$((lost + 1))
    done
    [ "$lost" = 0 ]
}

echo "[==========] Running the documents' tests"
check "metrics.md lists the metrics" metrics
check "README's example is the one that is compiled" example
check "links" links
check "names that pages give" names
echo "[==========] $((passed + failed)) test(s) run."
echo "[  PASSED  ] $passed test(s)."
[ "$failed" = 0 ] || echo "[  FAILED  ] $failed test(s)."
[ "$failed" = 0 ]
