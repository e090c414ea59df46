#!/usr/bin/env bash
# test_cli.sh FERRY: ferry send and ferry receive, two processes, and ferry bench --wire.
set -u
ferry=$1
. "$(dirname "$0")/../checks.sh"

# listen OPTION...: a receiver on the host device, in the background; its address in $address.
listen() {
    : >"$dir/listening"
    "$ferry" receive --device host --listen 127.0.0.1:0 "$@" >"$dir/received" 2>"$dir/listening" &
    receiver=$!
    address=
    while [ -z "$address" ] && kill -0 "$receiver" 2>/dev/null; do
        address=$(sed -n 's/^listening on //p' "$dir/listening")
        sleep 0.02
    done
}

head -c 20000001 /dev/urandom >"$dir/file"
: >"$dir/empty"
printf '0123456789abcdef' >"$dir/key"
printf '0123456789abcdeX' >"$dir/other"
printf 'short' >"$dir/short"
chmod 600 "$dir/key" "$dir/other" "$dir/short"
echo "[==========] Running the wire's command"

listen --out "$dir/came" --json
run "send" 0 "$ferry" send --device host "$dir/file" "$address"
says out 'sent 19.1 MiB to 127.0.0.1:[0-9]+ in .* by (posix|tcp) on lo'
wait "$receiver"
check "it is the same" cmp "$dir/file" "$dir/came"
cp "$dir/received" "$dir/out"
name=receive json 'j["version"] == 2 and j["bytes"] == 20000001 and j["files"] == 1'


# A trace has each send and receive: how long it waited for the other side, and moved bytes.
FERRY_TRACE=$dir/there.json listen --out "$dir/came" --transports tcp
run "traced" 0 env FERRY_TRACE="$dir/here.json" "$ferry" send --device host --transports tcp \
    "$dir/file" "$address"
wait "$receiver"
for side in here/send there/receive; do
    cp "$dir/${side%/*}.json" "$dir/out"
    name="trace of a ${side#*/}" json '[(s := [e for e in j if e.get("cat") == "stream"]),
        (whole := [e for e in s if e["name"] == "'"${side#*/}"'" and e["ph"] == "b"]),
        len(whole) == 4 and len(s) == 3 * 2 * len(whole)
        and any("20000001" not in e["args"]["words"] and "16777216 bytes" in e["args"]["words"]
                and "127.0.0.1:" in e["args"]["words"] and " by tcp" in e["args"]["words"]
                and e["args"]["ticket"] and e["args"]["status"] == "FERRY_OK" for e in whole)
        and {"waits for peer", "moves bytes"} < {e["name"] for e in s}
        and all(a["ts"] <= b["ts"] for a in s for b in s
                if a["id"] == b["id"] and (a["ph"], b["ph"]) == ("b", "e"))][-1]'
done

listen --out "$dir/came" --transports tcp --secret-file "$dir/key" --keep
run "another secret" 3 "$ferry" send --device host --secret-file "$dir/other" "$dir/file" "$address"
says err 'same secret'
run "no secret" 3 "$ferry" send --device host "$dir/file" "$address"
says err 'has a secret'
run "the secret" 0 "$ferry" send --device host --secret-file "$dir/key" --transports tcp --json \
    "$dir/file" "$address"
json 'j["bytes"] == 20000001 and j["transports"] == "tcp" and j["interface"] == "lo" and not j["fallback"]'
run "an empty file" 0 "$ferry" send --device host --secret-file "$dir/key" "$dir/empty" "$address"
run "no such file" 3 "$ferry" send --device host --secret-file "$dir/key" "$dir/none" "$address"
run "measured" 0 timeout 600 "$ferry" bench --device host --secret-file "$dir/key" \
    --transports tcp --wire "$address" --json --seconds 1
json 'len(j["wire"]["rows"]) == 6 and all(row["bytes_per_second"] > 0 for row in j["wire"]["rows"])'
run "one size" 0 timeout 600 "$ferry" bench --device host --secret-file "$dir/key" \
    --transports tcp --wire "$address" --json --size 5000 --seconds 0.05
json '[r["size"] for r in j["wire"]["rows"]] == [5000] and j["wire"]["rows"][0]["in_flight"] == 64
    and j["wire"]["transports"] == "tcp" and j["wire"]["fallback"] is False'
kill "$receiver"
wait "$receiver" 2>/dev/null

run "nobody there" 3 "$ferry" send --device host "$dir/file" 127.0.0.1:1
says err 'cannot connect to 127.0.0.1:1'
run "no address" 2 "$ferry" send "$dir/file"
run "a short secret" 3 "$ferry" send --device host --secret-file "$dir/short" "$dir/file" 127.0.0.1:1
says err '5 bytes, not 16 to 4096'
run "not without a secret" 3 "$ferry" receive --device host --listen 0.0.0.0:0
says err 'a secret is needed'
run "no range of ports" 3 "$ferry" receive --device host --data-ports 7701
says err 'FIRST-LAST'
run "transports that are none" 3 "$ferry" receive --device host --listen 127.0.0.1:x
run "two at once" 2 "$ferry" bench --quick --wire 127.0.0.1:1
run "a path of a wire" 2 "$ferry" bench --path direct --wire 127.0.0.1:1
run "too large a size" 2 "$ferry" bench --size 2G --wire 127.0.0.1:1
run "of the wire only" 2 "$ferry" bench --transports tcp
summary
