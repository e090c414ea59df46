# docs/environment.md's table, or with -v man=1 the list of ferry-environment(7), from
# include/ferry/environment.inc.
function trim(text) {
    gsub(/^ +| +$/, "", text)
    return text
}

# `code` in a page is bold in a manual.
function for_man(text) {
    while (match(text, /`[^`]*`/))
        text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" \
            substr(text, RSTART + RLENGTH)
    gsub(/-/, "\\-", text)
    return text
}

BEGIN {
    if (!man) {
        print "| variable | value | read by | what it does |"
        print "|---|---|---|---|"
    }
}

/^FERRY_VARIABLE\(/ {
    count = split($0, part, /"/)
    name = part[2]; reader = part[4]; form = part[6]; words = part[8]; help = part[10]
    if (man) {
        print ".It Ev " name
        if (words != "") {
            gsub(/ /, " , ", words)
            print "One of"
            listed = split(words, word, / , /)
            for (i = 1; i <= listed; i++)
                print ".Cm " word[i] (i < listed - 1 ? " ," : "") (i == listed - 1 ? "\nor" : "") \
                    (i == listed ? " ." : "")
        }
        print for_man(help)
        print "Read by the " reader "."
    } else {
        gsub(/ /, "`, `", words)
        printf "| `%s` | %s | %s | %s |\n", name, words == "" ? "*" form "*" : "`" words "`", \
            reader, help
    }
}
