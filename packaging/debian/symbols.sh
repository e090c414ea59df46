#!/usr/bin/env bash
# packaging/debian/symbols.sh PACKAGE VERSION LIBRARY...: the file "symbols" of a Debian package:
# what each library exports, all of it since VERSION. Before 1.0 a change of a struct makes another
# package, so no symbol is older than that.
set -eu
package=$1 version=$2
shift 2
for library in "$@"; do
    soname=$(objdump -p "$library" | awk '$1 == "SONAME" {print $2}')
    echo "$soname $package #MINVER#"
    nm -D --defined-only --with-symbol-versions "$library" |
        awk -v version="$version" '
            {sub(/@@/, "@", $NF)}
            $NF !~ /@/ {$NF = $NF "@" $NF} # the name of a version itself
            {print " " $NF, version}' |
        LC_ALL=C sort
done
