#!/usr/bin/env bash
# The system's tools, as strict as a Mac's: what only GNU's know is refused. tests/mac/tools has a
# link to this file for each; tests/checks.sh puts that folder first in PATH, so every test that is
# a script runs with them. What it refuses is told, and ends with 64.
set -eu
tool=${0##*/}

refuse() {
    echo "$tool: a Mac's knows no $1" >&2
    exit 64
}

operands=0 after=""
for argument in "$@"; do
    case $tool$argument in
    sed-i | sed--*) refuse "$argument (-i.bak is known to both)" ;;
    date-d* | date--* | date*%N* | date-I*) refuse "$argument" ;;
    stat-c* | stat--*) refuse "$argument" ;;
    readlink-f* | readlink-e* | readlink-m* | readlink--*) refuse "$argument" ;;
    grep-P* | grep-*P) refuse "$argument" ;;
    head-n-* | head-c-* | head--* | tail--*) refuse "$argument" ;;
    find-printf | find-regextype) refuse "$argument" ;;
    xargs-d* | xargs--* | base64-w* | base64--wrap* | mktemp--* | sort-V* | sort--*) refuse "$argument" ;;
    esac
    case $tool$after$argument in
    head-n-* | head-c-*) refuse "$after $argument" ;;
    esac
    case $argument in
    - | [!-]*) operands=$((operands + 1)) ;;
    esac
    after=$argument
done
[ "$tool$operands" != paste0 ] || refuse "standard input without an operand: say -"
case $tool${1-} in
find | find-*) refuse "search without a path" ;;
esac

for folder in /usr/bin /bin /usr/local/bin /opt/homebrew/bin; do
    [ -x "$folder/$tool" ] || continue
    # A Mac's counts are padded: "[ $(wc -l <file) = 3 ]" without quotes, or not at all.
    [ "$tool" = wc ] || exec "$folder/$tool" "$@"
    counts=$("$folder/wc" "$@")
    printf '%s\n' "$counts" | /usr/bin/env sed 's/^/       /'
    exit 0
done
echo "$tool: not found" >&2
exit 127
