# A manual page for each function, of what Doxygen makes of the headers: awk -v out=DIR -f this
# HEADER.3... writes DIR/FUNCTION.3. -v date=YYYY-MM-DD.

function finish() {
    if (file == "") return
    if (brief == "") brief = "see the comments around it in the header"
    print ".TH " toupper(name) " 3 \"" date "\" \"Ferry\" \"Library Functions Manual\"" >file
    print ".SH NAME" >file
    print name " \\- " brief >file
    print ".SH SYNOPSIS" >file
    print "\\fB#include <ferry/" header ">\\fP" >file
    print ".PP" >file
    print prototype ";" >file
    print ".SH DESCRIPTION" >file
    printf "%s", text == "" ? "The comments around it in <ferry/" header "> describe it.\n" : text >file
    print ".SH SEE ALSO" >file
    print ".BR ferry (3)" >file
    close(file)
    file = ""
}

FNR == 1 {
    finish()
    header = FILENAME
    sub(/.*\//, "", header)
    sub(/\.3$/, "", header)
    functions = 0
}

/^\.SH / { finish(); functions = /Function Documentation/; next }

functions && /^\.SS / {
    finish()
    plain = $0
    gsub(/\\f[BPR]/, "", plain)
    if (!match(plain, /ferry_[a-z0-9_]+ \(/)) next
    name = substr(plain, RSTART, RLENGTH - 2)
    file = out "/" name ".3"
    prototype = $0
    sub(/^\.SS "/, "", prototype)
    sub(/"$/, "", prototype)
    text = ""
    brief = ""
    next
}

file != "" && /^[^.]/ && brief == "" {
    brief = $0
    if (match(brief, /[.:;]( |$)|\\&\./)) brief = substr(brief, 1, RSTART - 1)
    sub(/\\&$/, "", brief)
}
file != "" { sub(/^'/, "\\\\\\&'") } # else a command of troff's
file != "" && $0 != "" && !(/^\.PP/ && text == "") { text = text $0 "\n" }
END { finish() }
