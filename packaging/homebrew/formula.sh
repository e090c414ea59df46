#!/usr/bin/env bash
# packaging/homebrew/formula.sh [URL]: makes build/homebrew/ferry.rb, a formula for Homebrew, and the
# archive of the sources (of HEAD) that it installs. URL: where that archive will be found; without
# one the formula takes the file that was made here. docs/packages.md tells how to install it.
set -eu
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^#define FERRY_VERSION_M[AI][JN]OR //p; s/^#define FERRY_VERSION_PATCH //p' \
    include/ferry/ferry.h | paste -sd. -)
description=$(sed -n 's/.*DESCRIPTION "\(.*\)").*/\1/p' CMakeLists.txt)
out=$PWD/build/homebrew
archive=$out/ferry-$version.tar.gz
mkdir -p "$out"
git archive --prefix="ferry-$version/" HEAD | gzip -n >"$archive"
sum=$( (sha256sum "$archive" 2>/dev/null || shasum -a 256 "$archive") | cut -d' ' -f1)
sed -e "s|@URL@|${1:-file://$archive}|" -e "s|@SHA256@|$sum|" \
    -e "s|@DESCRIPTION@|$description|" packaging/homebrew/ferry.rb.in >"$out/ferry.rb"
echo "$out/ferry.rb"
