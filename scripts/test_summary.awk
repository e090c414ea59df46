# Reads the log of a verbose ctest; prints how many tests ran for each CTest test, skipped ones
# apart, and fails if one ran none, or none ran at all. cmocka's closing lines are the counts: tests
# that print none of them (scripts) count as one each, or as skipped where CTest says so. Last comes
# what the tests that failed had printed: a log is long, and often only its end is kept.
#
#      Start  3: suite.host
#   3: [  PASSED  ] 20 test(s).
#   3: [  SKIPPED ] 1 test(s), listed below:
#   3/9 Test  #3: suite.host ....   Passed    0.12 sec

# The number that follows "[  WORD  ]" in the line; -1: it is not there. cmocka writes to two
# streams, so the words may follow others on their line.
function counted(word) {
    if (!match($0, "\\[ +" word " +\\] [0-9]+ test")) return -1
    text = substr($0, RSTART, RLENGTH)
    sub(/.*\] /, "", text)
    return text + 0
}

# What a test printed since its last "[ RUN ]": its last 40 lines.
function tell(id,   i) {
    for (i = lines[id] > 40 ? lines[id] - 40 : 0; i < lines[id]; i++) told[id] = told[id] line_of[id, i] "\n"
    lines[id] = 0
    line_of[id, 0] = ""
}

/^ *Start +[0-9]+: / {
    line = $0
    sub(/^ *Start +/, "", line)
    id = line + 0
    sub(/^[0-9]+: /, "", line)
    if (!(id in name)) order[++count] = id
    name[id] = line
}

/^[0-9]+: / {
    id = $0 + 0
    if (/\[ RUN +\] /) lines[id] = 0
    line_of[id, lines[id]++] = $0
    if (/\[  FAILED  \] [^0-9]/ && line_of[id, 0] ~ /\[ RUN +\] /) tell(id)
    if (/\[==========\].*Running/) cmocka[id] = 1
    if (counted("PASSED") > 0) ran[id] += counted("PASSED")
    if (counted("FAILED") > 0) ran[id] += counted("FAILED")
    if (counted("SKIPPED") > 0) skipped[id] += counted("SKIPPED")
}

# A script that skipped as a whole; what it printed says why.
/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: .*\*\*\*Skipped/ {
    line = $0
    sub(/^[^#]*#/, "", line)
    skipped[line + 0] = 1
    whole[line + 0] = 1
}

# One that failed; what passed may have printed failures that were expected.
/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: .*\*\*\*/ && !/\*\*\*Skipped/ {
    line = $0
    sub(/^[^#]*#/, "", line)
    if (!(line + 0 in told)) tell(line + 0)
    failed = failed told[line + 0] $0 "\n"
}

END {
    printf "\n%-8s  %-40s %6s %8s\n", "build", "configuration", "tests", "skipped"
    for (i = 1; i <= count; i++) {
        id = order[i]
        if (!(id in cmocka)) ran[id] = (id in whole) ? 0 : 1
        printf "%-8s  %-40s %6d %8d\n", preset, name[id], ran[id], skipped[id]
        total += ran[id]
        if (ran[id] == 0 && !(id in whole)) {
            printf "%s: %s ran no test\n", preset, name[id]
            bad = 1
        }
    }
    printf "%-8s  %-40s %6d\n", preset, "together", total
    if (failed != "") printf "\nWhat failed:\n%s", failed
    exit bad || total == 0
}
