# The table of docs/metrics.md, from include/ferry/stats.inc: names as the Prometheus text has them.
BEGIN {
    print "| field | Prometheus name | kind | meaning |"
    print "|---|---|---|---|"
}
/^FERRY_STAT(_HISTOGRAM)?\(/ {
    line = substr($0, index($0, "(") + 1)
    split(line, part, /, */)
    help = line
    sub(/^[^"]*"/, "", help)
    sub(/"\)$/, "", help)
    name = part[1]
    if (part[3] == "SECONDS") sub(/_ns$/, "_seconds", name)
    if ($0 ~ /^FERRY_STAT_HISTOGRAM/) part[2] = "HISTOGRAM"
    if (part[2] == "COUNTER") name = name "_total"
    printf "| `%s` | `ferry_%s` | %s | %s |\n", part[1], name, tolower(part[2]), help
}
