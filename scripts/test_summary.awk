# Reads the log of a verbose ctest; prints how many tests ran for each CTest test, skipped ones
# apart, and fails if one ran none, or none ran at all. cmocka's closing lines are the counts: tests
# that print none of them (scripts) count as one each.
#
#      Start  3: suite.host
#   3: [  PASSED  ] 20 test(s).
#   3: [  SKIPPED ] 1 test(s), listed below:
#   3/9 Test  #3: suite.host ....   Passed    0.12 sec

function number(text) {
    sub(/^[^0-9]*/, "", text)
    return text + 0
}

/^ *Start +[0-9]+: / {
    line = $0
    sub(/^ *Start +/, "", line)
    id = line + 0
    sub(/^[0-9]+: /, "", line)
    if (!(id in name)) order[++count] = id
    name[id] = line
}

/^[0-9]+: \[==========\].*Running/ { cmocka[$0 + 0] = 1 }
/^[0-9]+: \[ +PASSED +\] [0-9]+ test/ { split($0, part, "]"); ran[$0 + 0] += number(part[2]) }
/^[0-9]+: \[ +FAILED +\] [0-9]+ test/ { split($0, part, "]"); ran[$0 + 0] += number(part[2]) }
/^[0-9]+: \[ +SKIPPED +\] [0-9]+ test/ { split($0, part, "]"); skipped[$0 + 0] += number(part[2]) }

END {
    printf "\n%-8s  %-40s %6s %8s\n", "build", "configuration", "tests", "skipped"
    for (i = 1; i <= count; i++) {
        id = order[i]
        if (!(id in cmocka)) ran[id] = 1
        printf "%-8s  %-40s %6d %8d\n", preset, name[id], ran[id], skipped[id]
        total += ran[id]
        if (ran[id] == 0) {
            printf "%s: %s ran no test\n", preset, name[id]
            bad = 1
        }
    }
    printf "%-8s  %-40s %6d\n", preset, "together", total
    exit bad || total == 0
}
