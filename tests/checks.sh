# shellcheck shell=bash
# For tests that are scripts: checks, each of which prints a line. summary prints cmocka's closing
# lines, which scripts/test_summary.awk counts, and is the last command. $dir is an empty folder.
#
# On Linux the system's tools are as strict as a Mac's: tests/mac/strict.sh.
if [ "$(uname)" != Darwin ]; then
    PATH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/mac/tools:$PATH
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0
skipped=0

# run NAME EXIT COMMAND...: its output goes to $dir/out and $dir/err.
run() {
    name=$1 expected=$2
    shift 2
    "$@" >"$dir/out" 2>"$dir/err"
    code=$?
    if [ "$code" = "$expected" ]; then good "$name"; else bad "$name: exit $code, not $expected"; fi
}

good() {
    echo "[       OK ] $1"
    passed=$((passed + 1))
}

bad() {
    echo "[  FAILED  ] $1"
    sed 's/^/    /' "$dir/out" "$dir/err"
    failed=$((failed + 1))
}

# skip WHY: a check that cannot be made here; it counts as skipped, not as passed.
skip() {
    echo "[  SKIPPED ] $1"
    skipped=$((skipped + 1))
}

# check NAME COMMAND...: the command succeeds.
check() {
    name=$1
    shift
    if "$@" >"$dir/out" 2>"$dir/err"; then good "$name"; else bad "$name"; fi
}

# says STREAM PATTERN: what the last command printed there.
says() {
    if grep -qE -- "$2" "$dir/$1"; then good "$name says: $2"; else bad "$name: $1 lacks: $2"; fi
}

lacks() {
    if grep -qE -- "$2" "$dir/$1"; then bad "$name: $1 has: $2"; else good "$name: no $2"; fi
}

silent() {
    if [ ! -s "$dir/$1" ]; then good "$name: nothing on $1"; else bad "$name: words on $1"; fi
}

# json EXPRESSION: of the last output, parsed, in Python; j is the value.
json() {
    if python3 -c "import json, sys; j = json.load(open(sys.argv[1])); sys.exit(not ($1))" \
        "$dir/out" 2>>"$dir/err"; then good "$name: $1"; else bad "$name: not so: $1"; fi
}

summary() {
    echo "[==========] $((passed + failed)) test(s) run."
    echo "[  PASSED  ] $passed test(s)."
    [ "$skipped" = 0 ] || echo "[  SKIPPED ] $skipped test(s), listed above."
    [ "$failed" = 0 ] || echo "[  FAILED  ] $failed test(s)."
    [ "$failed" = 0 ]
}
