#!/usr/bin/env bash
# test_man.sh SOURCE FERRY: the man pages are well formed, and tell of every option of the command
# and of every public function. Prints cmocka's closing lines, which scripts/test_summary.awk counts.
set -u
source=$1 ferry=$2
# shellcheck source=tests/checks.sh
. "$(dirname "$0")/../checks.sh"

well_formed() {
    groff -mandoc -ww -z "$1" >"$dir/words" 2>&1 || return 1
    cat "$dir/words"
    [ ! -s "$dir/words" ] && [ "$(groff -mandoc -Tutf8 "$1" | wc -l)" -gt 50 ]
}

options() {
    lost=0
    commands=$("$ferry" --help | sed -n 's/^  ferry \([a-z]*\) .*/\1/p' | sort -u)
    [ -n "$commands" ] || return 1
    for command in $commands; do
        grep -q "^\.Cm $command\$" "$source/man/ferry.1" || { echo "no $command"; lost=1; }
        for option in $("$ferry" "$command" --help | sed -n 's/^  --\([a-z-]*\).*/\1/p'); do
            grep -q "^\.It Fl -$option\b" "$source/man/ferry.1" && continue
            echo "no --$option of $command"
            lost=1
        done
    done
    [ "$lost" = 0 ]
}

# Exactly the functions of the headers that the page names, each once or more.
functions() {
    grep -ohE '\bferry_[a-z_]+\(' "$source/include/ferry/ferry.h" "$source/include/ferry/model.h" \
        "$source/include/ferry/dlpack.h" | tr -d '(' | sort -u >"$dir/mentioned"
    sed -n 's/^\.Fn \(ferry_[a-z_]*\).*/\1/p' "$source/man/ferry.3" | sort -u >"$dir/told"
    [ -s "$dir/told" ] && diff "$dir/mentioned" "$dir/told"
}

echo "[==========] Running the man pages' tests"
check "ferry.1 is well formed" well_formed "$source/man/ferry.1"
check "ferry.3 is well formed" well_formed "$source/man/ferry.3"
check "ferry-environment.7 is well formed" well_formed "$source/man/ferry-environment.7"
check "ferry.1 tells of every command and option" options
check "ferry.3 tells of every function" functions
summary
