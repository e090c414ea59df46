#!/usr/bin/env bash
# test_model.sh: Spin looks at every state of the wire's protocol (wire.pml): of two nodes, with ALL=1
# of three, and of two with each planted mistake, which it has to find.
set -u
. "$(dirname "$0")/../checks.sh"
model=$(cd "$(dirname "$0")" && pwd)/wire.pml
for tool in spin cc; do
    command -v $tool >/dev/null || { skip "there is no $tool"; summary; exit 77; }
done

# explore DEFINITION...: all states; what Spin found is in $dir/found.
explore() {
    (cd "$dir" && rm -f wire.pml.trail && cp "$model" . && spin "$@" -a wire.pml >found 2>&1 &&
        cc -w -O2 -DMEMLIM=2000 -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c >>found 2>&1 &&
        ./pan -m1000000 >>found 2>&1)
    cp "$dir/found" "$dir/out"
    : >"$dir/err"
}

# all_well NAME DEFINITION...
all_well() {
    name=$1
    shift
    explore "$@"
    if grep -q 'errors: 0' "$dir/found" && ! grep -qE 'not completed|max search depth' "$dir/found"; then
        good "$name: $(sed -n 's/^ *\([0-9]*\) states, stored/\1 states/p' "$dir/found")"
    else
        bad "$name"
    fi
}

echo "[==========] Running the wire's model"
all_well "two nodes" -DNODES=2
[ "${ALL:-0}" = 0 ] || all_well "three nodes" -DNODES=3 -DCHUNKS=1 -DCREDITS=1
for planted in 1 2 3 4 5; do
    explore -DNODES=2 -DPLANTED=$planted
    if grep -q 'errors: 1' "$dir/found"; then good "planted $planted is found"; else bad "planted $planted is not found"; fi
done
summary
