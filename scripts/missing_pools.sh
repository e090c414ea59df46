#!/usr/bin/env bash
# missing_pools.sh LOG: what OBJC_DEBUG_MISSING_POOLS=YES wrote, by class. Apple's own threads miss
# pools, too: that is told. Metal's objects are what Ferry handles: one of those fails.
set -eu
classes=$(sed -n 's/.*MISSING POOLS:.* of class \([A-Za-z0-9_]*\) autoreleased.*/\1/p' "$1" | sort | uniq -c)
if [ -z "$classes" ]; then
    echo "missing pools: none"
    exit 0
fi
echo "missing pools, by class:"
echo "$classes"
if echo "$classes" | grep -qE ' _?(MTL|AGX|IOGPU|IOAccel|AppleParavirt|BronzeMtl|GFX|CaptureMTL|NSMTL)'; then
    echo "missing pools: Metal's objects are among them" >&2
    exit 1
fi
