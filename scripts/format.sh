#!/usr/bin/env bash
# make format: lays out all C as .clang-format says. --check: only names the files that differ. By
# clang-format 14, Debian 12's: others differ in a few lines. The example of external work keeps
# its own layout: it has to fit on a screen.
set -eu -o pipefail
cd "$(dirname "$0")/.."
if ! command -v clang-format >/dev/null; then
    echo "format: no clang-format: apt-get install clang-format" >&2
    exit 1
fi
files() { git ls-files '*.c' '*.h' ':!examples/external_work.c' \
    ':!examples/cuda_external.c'; }
if [ "${1-}" = --check ]; then
    files | xargs clang-format --dry-run --Werror
else
    files | xargs clang-format -i
fi
