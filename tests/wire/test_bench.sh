#!/usr/bin/env bash
# test_bench.sh FERRY WIRE.PY: what bench/wire.py prints, with ucx_perftest and without.
set -u
ferry=$1
wire=$2
. "$(dirname "$0")/../checks.sh"

python=$(python3 -c 'import sys; print(sys.executable)')
timeout=$(command -v timeout)

# measure OPTION...: two small sizes, one of them odd.
measure() {
    "$timeout" 200 "$python" "$wire" "$ferry" --transports tcp --size 64 --size 4097 --rounds 1 \
        --seconds 0.05 "$@"
}

rows='[r["size"] for r in j["wires"][0]["rows"]] == [64, 4097] and len(j["wires"]) == 1 and all(
    abs(r["bytes_per_second"] / r["size"] / r["messages_per_second"] - 1) < 1e-9
    and r["messages_per_second"] > 0 and r["in_flight"] == 64 for r in j["wires"][0]["rows"])
    and j["wires"][0]["transports"] == "tcp" and j["rounds"] == 1 and j["processors"] > 0
    and j["load_before"] >= 0 and j["load_after"] >= 0'
echo "[==========] Running what measures the wire"

# Without UCX's own measure: nothing is compared, and that is said.
mkdir "$dir/path"
alone() { PATH=$dir/path measure "$@"; }
run "alone" 0 alone --json
json "$rows"
json 'j["ucx"] is None and not any("ratio" in r for r in j["wires"][0]["rows"])'
run "alone, for people" 0 alone
says out 'ucx_perftest: not installed .*nothing to compare with'
says out '^ +64 B +64 +[0-9]+ +[0-9.]+ +- +-$'
says out '^by tcp$'

if command -v ucx_perftest >"$dir/out"; then
    run "beside UCX" 0 measure --json
    json "$rows"
    json '"UCX" in j["ucx"] and all(
        abs(r["bytes_per_second"] / r["ucx_bytes_per_second"] / r["ratio"] - 1) < 1e-9
        and r["ratio"] > 0 for r in j["wires"][0]["rows"])'
    run "beside UCX, for people" 0 measure
    says out '^ +4097 B +64 +[0-9]+( +[0-9.]+){3}$'
else
    skip "beside UCX: no ucx_perftest (ucx-utils)"
fi

run "no such device" 1 measure --device none
summary
