#!/usr/bin/env bash
# test_mac_tools.sh SOURCE BUILD: that the strict tools refuse what they say, and the scripts that a Mac
# runs and no other test does, with them.
set -u
source=$1
. "$source/tests/checks.sh"

echo "[==========] Running the scripts with a Mac's tools"
printf '3\n1\n' >"$dir/lines"
refused() { # refused COMMAND...
    run "refused: $*" 64 "$@"
    says err "a Mac's knows no"
}
if [ "$(uname)" = Darwin ]; then
    skip "the tools are a Mac's own"
else
    refused paste -sd.
    refused sed -i s/3/4/ "$dir/lines"
    refused date -d yesterday
    refused date +%s%N
    refused stat -c %s "$dir/lines"
    refused readlink -f "$dir/lines"
    refused grep -P 3 "$dir/lines"
    refused head -n -1 "$dir/lines"
    refused find -name lines
    refused mktemp --suffix=.c
    check "wc pads" test "$(wc -l <"$dir/lines")" = "       2"
fi
check "sed -i.bak" sed -i.bak s/3/4/ "$dir/lines"
check "paste" test "$(paste -sd. - <"$dir/lines")" = 4.1

# The formula, of a repository: what is released has none.
if git -C "$source" rev-parse HEAD >/dev/null 2>&1; then
    run "formula" 0 git clone -q --no-hardlinks "$source" "$dir/clone"
    run "formula" 0 "$dir/clone/packaging/homebrew/formula.sh" https://example.org/ferry.tar.gz
    formula=$dir/clone/build/homebrew/ferry.rb
    check "formula has an address" grep -q 'url "https://example.org/ferry.tar.gz"' "$formula"
    check "formula has a sum" grep -qE 'sha256 "[0-9a-f]{64}"' "$formula"
    check "archive has a version" test -n "$(find "$dir/clone/build/homebrew" -name 'ferry-[0-9]*.[0-9]*.[0-9]*.tar.gz')"
else
    skip "no repository to make a formula of"
fi
# The report, of the simulated Metal where there is one.
log=$dir/pools
apples="objc[1]: MISSING POOLS: (0x1) Object 0x2 of class OS_xpc_object autoreleased with no pool"
metals="objc[1]: MISSING POOLS: (0x1) Object 0x2 of class AGXG16SDevice autoreleased with no pool"
echo "quiet" >"$log"
run "no missing pool" 0 "$source/scripts/missing_pools.sh" "$log"
echo "$apples" >>"$log"
run "Apple's missing pool" 0 "$source/scripts/missing_pools.sh" "$log"
says out "1 OS_xpc_object"
echo "$metals" >>"$log"
run "Metal's missing pool" 1 "$source/scripts/missing_pools.sh" "$log"
says err "Metal's objects"
if [ -n "${FERRY_METAL_LIBRARIES-}" ]; then
    export METALSIM=apple,devices=2 SECONDS_OF_VERIFY=1 BENCH=0 FILTER=test_info
    run "report" 0 "$source/scripts/metal_report.sh" "$2"
    says out "^class apple, imports right both ways, residency set in use"
    says out "^kernels compiled in [0-9]+ ms"
    says out "^do the kernels compile +yes"
    says out "^does the suite pass +yes"
    says out "^is random work right +yes"
    says out "^blit or kernel: copies of "
    lacks out " NO .*(open|suite|pools|verify)"
    METALSIM=apple,bad_kernels,devices=2 run "report without kernels" 1 "$source/scripts/metal_report.sh" "$2"
    says out "^do the kernels compile +NO"
else
    skip "no Metal, simulated or not, to report on"
fi
summary
