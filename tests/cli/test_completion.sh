#!/usr/bin/env bash
# test_completion.sh SOURCE FERRY: what bash and zsh offer for the command. zsh is tried where it is.
# Prints cmocka's closing lines, which scripts/test_summary.awk counts.
set -u
source=$1 ferry=$2
# shellcheck source=tests/checks.sh
. "$(dirname "$0")/../checks.sh"
unset FERRY_DEVICE FERRY_PATH
mkdir "$dir/bin"
ln -s "$ferry" "$dir/bin/ferry"
export PATH="$dir/bin:$PATH" LC_ALL=C

# offers WORD...: what bash offers for the last word.
offers() {
    bash -c '. "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _ferry; printf "%s\n" "${COMPREPLY[@]}"' \
        bash "$source/cli/completion/ferry.bash" "$@"
}

echo "[==========] Running the completion's tests"
run "commands" 0 offers ferry ""
for word in transfer load devices explain verify bench metrics triton help --version; do says out "^$word\$"; done
run "the beginning of a command" 0 offers ferry tr
says out '^transfer$'
says out '^triton$'
lacks out '^load$'
run "help" 0 offers ferry help e
says out '^environment$'
for command in transfer load devices explain verify bench metrics send receive triton; do
    run "options of $command" 0 offers ferry "$command" --
    "$ferry" "$command" --help | sed -n 's/^  \(--[a-z-]*\).*/\1/p' >"$dir/options"
    sort "$dir/out" | grep -v '^--help$' >"$dir/offered"
    if [ -s "$dir/options" ] && sort "$dir/options" | diff - "$dir/offered" >>"$dir/err"; then
        good "options of $command: those there are"
    else
        bad "options of $command"
    fi
done
run "devices" 0 offers ferry transfer --device h
says out '^host:0$'
run "after a colon" 0 offers ferry transfer --device host : 1
says out '^1$'
run "paths" 0 offers ferry transfer --path st
says out '^staged$'
run "a value that nobody knows" 0 offers ferry transfer --repeat ""
lacks out .

if command -v zsh >/dev/null; then
    # A shell in a terminal of its own, which zsh's module gives.
    cat >"$dir/zsh" <<'ZSH'
zmodload zsh/zpty || exit 77
source=$1
zpty shell zsh -f
# Only what is printed after the mark is looked at.
zpty -w shell "PS1=; fpath=($source/cli/completion \$fpath); autoload -U compinit; compinit -u -D; zstyle ':completion:*' list-prompt; setopt no_beep; bindkey '^I' list-choices; print -r READY"
while zpty -r shell line; do [[ $line == READY* ]] && break; done
zpty -w -n shell "$2"$'\t'
all=
for word in "${@[3,-1]}"; do # until each is there, in any order; the caller ends what waits for ever
    [[ $all == *$word* ]] || zpty -r shell line "*$word*" && all+=$line
done
print -r -- $all
ZSH
    name="zsh, commands"
    if timeout 600 zsh "$dir/zsh" "$source" "ferry " "prove every byte*verify" >"$dir/out" 2>"$dir/err"; then
        for word in transfer load devices explain verify bench metrics triton; do says out "$word"; done
        run "zsh, options" 0 timeout 600 zsh "$dir/zsh" "$source" "ferry load --" \
            --device --path --bench --json --quiet --separate --verify
        for word in device path bench json quiet separate verify; do says out "--$word"; done
        # Its help names another option.
        run "zsh, one option" 0 timeout 600 zsh "$dir/zsh" "$source" "ferry bench --c" --compare --csv
        says out "--compare"
    else
        if [ $? = 77 ] || [ ! -e /dev/ptmx ]; then skip "zsh has no terminal here"; else bad "$name"; fi
    fi
else
    skip "there is no zsh"
fi
summary
