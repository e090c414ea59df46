#!/usr/bin/env bash
# make check: what a program can tell of the sources without running them, in under a minute: layout,
# the dialect of C (CONTRIBUTING.md), words, the rooms of src/, and a short list of clang-tidy's
# checks. Says all that is wrong. JOBS: how many clang-tidys at once.
set -eu -o pipefail
cd "$(dirname "$0")/.."
failed=0
shopt -s lastpipe # report tells this shell what it found, at the end of a pipe
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# report NAME: standard input has what is wrong, a line each; nothing: good.
report() {
    cat >"$work/wrong"
    if [ -s "$work/wrong" ]; then
        failed=1
        while read -r line; do echo "check: $1: $line"; done <"$work/wrong" >&2
    fi
}

# Only version 14 lays out as the tree is; CI has it in one job.
format() {
    if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
        scripts/format.sh --check 2>&1 | grep -E 'error:|warning:' || true
    else
        echo "check: not the layout: clang-format 14 is not here" >&2
    fi
}

# Comments and strings do not count.
code() {
    awk '{ gsub(/"([^"\\]|\\.)*"/, "\"\""); gsub(/\/\*.*\*\//, ""); gsub(/\/\/.*/, "") }
         /\/\*/ { inside = 1; sub(/\/\*.*/, "") }
         inside && /\*\// { inside = 0; sub(/.*\*\//, "") }
         !inside { print FILENAME ":" FNR ": " $0 }' "$@"
}

# A pointer is tested as it is, and so is a status; == and != make a value of one.
dialect() {
    git ls-files '*.c' '*.h' | grep -vE "$1" | while read -r file; do
        code "$file" | grep -E '(==|!=) (NULL|FERRY_OK)\>' | awk '
            !/(= |return |[(,] ?)[^&|?=(]*!= (NULL|FERRY_OK)(;|,|\)|\})/ ||
            /(if|while) \([^()]*!= (NULL|FERRY_OK)\)/' || true
    done
}

# Long comments (clang-format breaks no comment), tabs, what was left for later.
words() {
    git ls-files 'src/*.[ch]' 'drivers/*.[ch]' | xargs awk '
        length($0) > 100 && !/https?:/ { print FILENAME ":" FNR ": over 100 columns" }
        /\t/ { print FILENAME ":" FNR ": a tab" }
        /[ \t]$/ { print FILENAME ":" FNR ": a blank at the end" }'
    git grep -nwE 'TODO|FIXME|XXX|HACK' -- '*.c' '*.h' '*.py' '*.sh' '*.cmake' '*.md' ':!scripts/check.sh' || true
    sed 's/#.*//; /^ *$/d' scripts/words.txt | while read -r word instead; do
        { git grep -nwiE -- "$word" -- '*.c' '*.h' '*.hpp' '*.md' '*.py' ':!CHANGELOG.md' || true; } |
            cut -d: -f1,2 | while read -r place; do echo "$place: not $word: $instead"; done
    done
}

rooms() {
    if command -v python3 >/dev/null && [ -d tests/rooms ]; then
        python3 -B tests/rooms/test_rooms.py . | sed -n 's/^    //p' || true
    else
        echo "check: not the rooms: python3 is not here" >&2
    fi
}

# Of the configured build, whose compile_commands.json says how each file is compiled.
tidy() {
    build=build/release
    if ! command -v clang-tidy >/dev/null || [ ! -f $build/compile_commands.json ]; then
        echo "check: no clang-tidy, or $build is not configured: not looked at by it" >&2
        return 0
    fi
    git ls-files 'src/*.c' 'drivers/*.c' 'models/*.c' 'triton/*.c' 'wire/*.c' 'cli/*.c' | grep -v '_macos\.c$' |
        while read -r file; do
            ! grep -q "/$file\"" $build/compile_commands.json || echo "$file"
        done | xargs -P "${JOBS:-2}" -n 8 clang-tidy -p $build --quiet \
        --config-file=scripts/clang-tidy-check 2>/dev/null | grep -E ' (warning|error): ' || true
}

format | report layout
dialect '^(examples|tests)/' | report dialect
words | report words
rooms | report rooms
tidy | report clang-tidy
exit $failed
