# What Doxygen reads of a header: comments before declarations and after members become its own kind.
# The headers themselves keep to plain C comments. Lines stay where they are.

# The value between the quotes that a line ends with.
function quoted(line) {
    sub(/^[^"]*"/, "", line)
    sub(/"[^"]*$/, "", line)
    return line
}

# Lists that are included: what their macros make of them, on one line.
/#include <ferry\/(status|stats|thresholds)\.inc>/ {
    list = FILENAME
    name = $0
    sub(/.*ferry\//, "", name)
    sub(/>.*/, "", name)
    sub(/[^\/]*$/, name, list)
    out = ""
    while ((getline line < list) > 0) {
        if (line !~ /^FERRY_(STAT|STATUS|STAT_HISTOGRAM|THRESHOLD)\(/) continue
        help = quoted(line)
        array = line ~ /^FERRY_STAT_HISTOGRAM/ ? "[FERRY_COUNT_BUCKETS]" : ""
        sub(/^[A-Z_]*\(/, "", line)
        split(line, part, /, */)
        out = out (/status/ ? "FERRY_" part[2] " = " part[1] "," : "uint64_t " part[1] array ";")
        out = out " /**< " help ". */ "
    }
    close(list)
    print out
    next
}

# The head of the file is about the file.
FNR == 1 && /^\/\*/ { sub(/^\/\*/, "/** @file"); print; next }

# A banner between sections is nobody's.
/^[ ]*\/\* -----/ { print; next }

# A comment on a line of its own.
/^[ ]*\/\*/ { sub(/\/\*/, "/**"); print; next }

# A comment after code.
/[;,{)] +\/\* / { sub(/\/\* /, "/**< "); print; next }

{ print }
