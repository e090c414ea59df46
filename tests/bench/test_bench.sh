#!/usr/bin/env bash
# test_bench.sh FERRY DRIVER...: ferry bench as its users run it, built with these drivers, where
# libcuda.so.1 is the fake one.
set -u
ferry=$1
shift
[ -x "$ferry" ] || exit 1
unset FERRY_DEVICE FERRY_PATH
# On a device of 60 MiB nothing larger is measured, which saves its time.
export FERRY_HOST=memory=60M
. "$(dirname "$0")/../checks.sh"
export DYLD_LIBRARY_PATH=${FERRY_TEST_FAKES-}

echo "[==========] Running the benchmark's tests"
run "bench formats" 2 "$ferry" bench --json --csv
says err "two formats"
run "bench quick csv" 2 "$ferry" bench --quick --csv
says err "quick has no --csv"
run "bench quick large" 2 "$ferry" bench --quick --large
says err "quick has no --large"
run "bench device" 3 "$ferry" bench --device submarine --quick
says err "bench: cannot open the device: .*submarine"
run "bench quick" 0 "$ferry" bench --device host --quick --seconds 0.05
says out "^device: host"
says out "^(met|missed|noisy) +direct, 64 KiB +[0-9.]+ of memcpy \([0-9.]+ to [0-9.]+\), at least 0.95"
says out "^(met|missed|noisy) +batch of 1000 .* [0-9.]+ ns an item .*, at most 700"
says out "^- +direct, 256 MiB +not measured: .*"
silent err
run "bench quick json" 0 "$ferry" bench --device host --quick --seconds 0.05 --json
json 'j["device"]["name"] == "host:0" and len(j["peers"]) == 4'
json 'all(p["measured"] or p["why"] for p in j["peers"])'
json 'len([t for t in j["targets"] if t["name"] + t["unit"] not in {
      "direct, 16 MiBtimes OpenCL", "direct, 256 MiBtimes OpenCL"}]) == 18'
json 'all(t["met"] is None and t["why"] or t["low"] <= t["measured"] <= t["high"]
      for t in j["targets"])'
json 'all(t["met"] is None or not (t["low"] < 0.8 * t.get("at_least", t.get("at_most"))
      and t["high"] > 1.2 * t.get("at_least", t.get("at_most"))) for t in j["targets"])'
json 'all(t["met"] is None or t["met"] == (t["measured"] <= t["at_most"] if "at_most" in t
      else t["measured"] >= t["at_least"]) for t in j["targets"])'
run "bench without direct" 0 env FERRY_HOST=memory=60M,no_map "$ferry" bench --device host \
    --quick --seconds 0.05
says out "^- +direct, 256 bytes +not measured: .*"
says out "^(met|missed|noisy) +batch of 1000"
run "bench without peers" 0 "$ferry" bench --device host --quick --seconds 0.05 --no-peers --json
json 'not any(p["measured"] for p in j["peers"]) and len(j["targets"]) == 18'
run "bench that fails" 3 env FERRY_HOST=memory=60M,fail_exec=9,fail_every=9 "$ferry" bench \
    --device host --quick --seconds 0.05
says err "^ferry: bench: "
run "bench of a size" 0 "$ferry" bench --device host --size 12345 --operation upload --seconds 0.05 --json
json '{r["size"] for r in j["rows"]} == {12345} and {r["operation"] for r in j["rows"]} == {"upload"}'
json '{"direct", "staged"} <= {r["path"] for r in j["rows"]}'
run "bench of a path" 0 "$ferry" bench --device host --size 64K --path staged --seconds 0.05 --json
json '{r["path"] for r in j["rows"] if r["contestant"] == "ferry"} == {"staged"}'
json '{r["contestant"] for r in j["rows"]} <= {"ferry", "memcpy", "memcpy by two"}'
run "bench of both ways" 0 "$ferry" bench --device host --both-ways --size 64K --seconds 0.05 --json
json '{r["mode"] for r in j["rows"]} == {"both"} and any(r.get("ns") for r in j["rows"])'
run "bench of blocks" 0 "$ferry" bench --device host --blocks --size 4K --iterations 3 --json
json '{(r["operation"], r["memory"]) for r in j["blocks"]} == {("upload", "page-locked"),
      ("upload", "pageable"), ("download", "page-locked"), ("download", "pageable"),
      ("copy", "device")}'
json '{r["contestant"] for r in j["blocks"]} == {"ferry", "ferry, rows", "memcpy loop"}'
json 'all(r["block"] == 4096 and r["rounds"] == 3 and r["ns"] > 0 for r in j["blocks"])'
json '{r["count"] for r in j["blocks"]} == {1000}' # more has no room in 60 MiB
run "bench of blocks both ways" 0 env FERRY_HOST=memory=200M "$ferry" bench --device host --blocks --both-ways --size 1K --iterations 3 --csv
says out '^"ferry, two arenas",upload,1,page-locked,1024,10000,3,[0-9.e+]+,'
silent err
run "bench of blocks beside" 2 "$ferry" bench --blocks --path staged
says err "blocks has no --quick, --path and --compare"
run "bench, so many rounds" 0 "$ferry" bench --device host --size 256 --operation fill --iterations 7 --json
json '{r["rounds"] for r in j["rows"] if "ns" in r} == {7}'
run "bench as Markdown" 0 "$ferry" bench --device host --size 4K --operation copy --iterations 3 --format markdown
says out '^\| operation \| size \| way \| time \| spread \| GB/s \| of memcpy \|$'
says out '^\| copy \| 4.0 KiB \| auto \| [0-9.]+ [nu]s \| [^|]+ \| [0-9.]+ \| [0-9.]+ \|$'
silent err
run "bench as CSV" 0 "$ferry" bench --device host --size 4K --operation copy --iterations 3 --format csv
cp "$dir/out" "$dir/then.csv"
# A time of a thousandth and a thousandfold: faster and slower, whatever this machine does.
awk -F, -v OFS=, 'NR > 1 && $11 {$11 = $12 = $13 = $11 * 1000} {print}' "$dir/then.csv" >"$dir/slow.csv"
awk -F, -v OFS=, 'NR > 1 && $11 {$11 = $12 = $13 = $11 / 1000} {print}' "$dir/then.csv" >"$dir/fast.csv"
run "bench beside a slow one" 0 "$ferry" bench --device host --size 4K --operation copy --iterations 3 --compare "$dir/slow.csv"
says out '    auto .* times then: faster$'
run "bench beside a fast one" 0 "$ferry" bench --device host --size 4K --operation copy --iterations 3 \
    --compare "$dir/fast.csv" --format markdown
says out '^\| copy .* times, slower \|$'
run "bench beside no table" 3 "$ferry" bench --device host --compare "$0"
says err 'this is not what ferry bench --csv prints'
run "bench beside nothing" 3 "$ferry" bench --device host --compare "$dir/nothing"
says err 'No such file'
run "bench of a wrong operation" 2 "$ferry" bench --operation sing
says err 'upload, download, copy or fill, not "sing"'
run "bench of a wrong size" 2 "$ferry" bench --size many
says err 'a size in bytes over 0, such as 4096, 64K, 16M or 1G, not "many"'
run "bench of nothing" 2 "$ferry" bench --device host --operation fill --path staged
says err 'no row of the table'
run "bench json" 0 "$ferry" bench --device host --seconds 0.05 --json
json 'len(j["rows"]) >= 350'
json 'all("why" in r or r["ns_low"] <= r["ns"] <= r["ns_high"] for r in j["rows"])'
# Every kind of row is measured.
for column in 'operation upload download copy fill' 'mode waiting async batch threads' \
    'path auto direct staged pipelined imported' 'memory pageable registered allocated' \
    'size 256 4096 65536 1048576 4194304 16777216'; do
    json "set('$column'.split()[1:]) <= {str(r['${column%% *}']) for r in j['rows']
          if r['contestant'] == 'ferry' and 'ns' in r}"
done
cp "$dir/out" "$dir/table.json"
json '{r["odd"] for r in j["rows"] if r["contestant"] == "ferry" and "ns" in r} == {False, True}'

# The plots are optional: without gnuplot plot.py says so.
run "plots" 0 python3 -B "$(dirname "$0")/../../bench/plot.py" "$dir"
if command -v gnuplot >/dev/null; then
    for plot in upload download copy fill; do
        says out "\($plot\.svg\)"
    done
    for plot in upload download copy fill; do
        run "plot of $plot" 0 grep -q "Ferry" "$dir/$plot.svg"
        run "picture of $plot" 0 test -s "$dir/$plot.png"
    done
else
    says out "^no plots: gnuplot"
fi
run "same rows as CSV" 0 python3 - "$dir" <<'END'
import csv, json, sys
rows = list(csv.DictReader(open(sys.argv[1] + "/table.csv")))
table = json.load(open(sys.argv[1] + "/table.json"))["rows"]
assert len(rows) == len(table)
for row, other in zip(rows, table):
    assert all(row[name] == str(value) for name, value in other.items() if name != "why"), other
END

# CUDA's device is the one with the UUID of Ferry's, which the host has not. The strict Vulkan has no
# room for large buffers, for the table's sake; the targets beside CUDA need them.
run "bench of another device" 0 "$ferry" bench --device host --quick --seconds 0.05
says out "cuda: not measured: .*UUID"
run "devices" 0 "$ferry" devices --json
json 'all(len(d["uuid"]) == 32 and int(d["uuid"], 16) >= 0 for d in j["devices"])'
cp "$dir/out" "$dir/devices.json" # the next run writes over out
# The strict CUDA beside the fake one, which has its UUID: the targets of the CUDA driver. All are
# measured; whether one is met, missed or too noisy to judge depends on the machine. Large transfers
# on strict GPUs take minutes: with ALL=1 only.
all=${ALL:-0}
if [ "$all" != 0 ] && [ -n "${FERRY_CUDA_LIBRARY-}" ]; then
    run "bench on cuda" 0 env FAKE_CUDA_UUID=5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c28 STRICTCUDA=delay=0 \
        "$ferry" bench --device cuda --quick --seconds 0.05 --json
    json '[t["name"] for t in j["targets"] if "CUDA" in t["unit"] and "measured" in t] == [
          "upload, 256 MiB, registered", "upload, 256 MiB, pageable",
          "download, 256 MiB, registered", "download, 256 MiB, pageable", "copy, 256 MiB",
          "upload, 16 MiB, registered", "upload, 1 MiB, registered",
          "download, 16 MiB, registered", "download, 1 MiB, registered", "download, 256 bytes",
          "copy, 16 MiB", "fill, 256 MiB", "1000 x 4 KiB, asynchronous", "batch of 1000 x 4 KiB",
          "both ways, 64 MiB"]'
fi
if [[ " $* " == *" vulkan "* ]]; then
    FAKE_CUDA_UUID=$(python3 -c "import json, sys
print(next(d['uuid'] for d in json.load(sys.stdin)['devices'] if d['driver'] == 'vulkan'))" \
        <"$dir/devices.json")
    export FAKE_CUDA_UUID
    check "the UUID of Vulkan's device" test -n "$FAKE_CUDA_UUID"
    if [ "$all" != 0 ]; then
        run "bench beside cuda" 0 "$ferry" bench --device vulkan --quick --seconds 0.05 --json
        json 'j["peers"][3] == {"name": "cuda", "measured": True}'
        json '[t["name"] for t in j["targets"] if "CUDA" in t["unit"] and "measured" in t] == [
              "upload, 256 MiB, registered", "upload, 256 MiB, pageable",
              "download, 256 MiB, registered", "download, 256 MiB, pageable", "copy, 256 MiB",
              "upload, 1 MiB, registered", "download, 1 MiB, registered", "copy, 16 MiB",
              "fill, 256 MiB"]
        and [t["measured"] > 0 for t in j["targets"] if t["name"].startswith("download, ")
             and t["unit"] == "ns"] == [True, True]'
        json 'len([t for t in j["targets"] if t.get("at_most") in (1000, 3000) and "measured" in t]) == 2'
        export STRICTVK=heap=100000000
        run "table beside cuda" 0 "$ferry" bench --device vulkan --seconds 0.05 --csv
        says out "^contestant,operation,mode,n,path,memory,size,odd,pinned,rounds,ns,"
        cp "$dir/out" "$dir/table.csv"
        run "rows beside cuda" 0 python3 - "$dir/table.csv" <<'END'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
assert all(None not in row and None not in row.values() for row in rows)
rows = [row for row in rows if row["contestant"] == "cuda"]
measured = {(row["operation"], row["mode"], row["memory"]) for row in rows if row["ns"]}
assert measured == {
    ("upload", "waiting", "pageable"), ("upload", "waiting", "allocated"),
    ("download", "waiting", "pageable"), ("download", "waiting", "allocated"),
    ("copy", "waiting", "pageable"), ("fill", "waiting", "pageable"),
    ("upload", "batch", "pageable")}, measured
END
    fi
    export STRICTVK=heap=100000000
    run "cuda without memory" 0 env FAKE_CUDA_FAIL=cuMemAlloc_v2 "$ferry" bench --device vulkan \
        --quick --seconds 0.05
    says out "^(met|missed|noisy) +batch of 1000 x 256 bytes +[0-9.]+ ns an item .*, at most 3000"
    run "cuda that fails" 0 env FAKE_CUDA_FAIL=cuStreamSynchronize "$ferry" bench \
        --device vulkan --quick --seconds 0.05
    says out "^(met|missed|noisy) +batch of 1000 x 256 bytes +[0-9.]+ ns an item .*, at most 3000"
    run "cuda that crashes" 134 env FAKE_CUDA_CRASH=1 "$ferry" bench --device vulkan --quick \
        --seconds 0.05
    says err "^ferry: bench: cuda crashed; --no-peers"
fi

summary
