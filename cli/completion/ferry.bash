# Completion of the command ferry for bash. Commands and options are those that its help lists, so
# that this file knows none of them.
_ferry_words() {
    local cur=$1 prev=$2 command=$3
    case $prev in
    --device)
        ferry devices 2>/dev/null | sed -n 's/^\([a-z]*:[0-9]*\) .*/\1/p'
        return
        ;;
    --path)
        echo auto direct staged pipelined imported
        return
        ;;
    --*)
        # An option with a value: its help has the value's name in capitals.
        if ferry "$command" --help 2>/dev/null | grep -q -- "^  $prev [A-Z]"; then
            return
        fi
        ;;
    esac
    case $command,$cur in
    ,*) ferry --help | sed -n 's/^  ferry \([a-z]*\) .*/\1/p' && echo help --help --version ;;
    help,*) ferry --help | sed -n 's/^  ferry \([a-z]*\) .*/\1/p' && echo environment ;;
    *,-*) ferry "$command" --help 2>/dev/null | sed -n 's/^  \(-h, \)*\(--[a-z-]*\) .*/\2/p' ;;
    esac
}

_ferry() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=
    # A colon breaks words: "host:1" is three of them.
    if [ "$COMP_CWORD" -gt 2 ] && [ "$prev" = : ] && [ "${COMP_WORDS[COMP_CWORD - 3]}" = --device ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_ferry_words "" --device "" |
            sed -n "s/^${COMP_WORDS[COMP_CWORD - 2]}://p")" -- "$cur")
        return
    fi
    [ "$COMP_CWORD" -le 1 ] || command=${COMP_WORDS[1]}
    mapfile -t COMPREPLY < <(compgen -W "$(_ferry_words "$cur" "$prev" "$command")" -- "$cur")
}
complete -o default -F _ferry ferry
