#!/usr/bin/env bash
# test_netns.sh FERRY: two hosts, each a network namespace, with a cable between them: IPv4 and IPv6,
# bytes that cross the cable and nothing else, and a cable that loses packets. Skipped, with 77,
# where namespaces cannot be made.
set -u
ferry=$1
. "$(dirname "$0")/../checks.sh"
a=ferry-a-$$ b=ferry-b-$$

gone() {
    for host in "$a" "$b"; do ip netns del "$host" 2>/dev/null; done
    rm -rf "$dir"
}
trap gone EXIT

make_hosts() {
    ip netns add "$a" && ip netns add "$b" &&
        ip -n "$a" link add cable0 type veth peer name cable1 netns "$b" &&
        ip -n "$a" address add 10.77.0.1/24 dev cable0 && ip -n "$b" address add 10.77.0.2/24 dev cable1 &&
        ip -n "$a" address add fd77::1/64 dev cable0 nodad && ip -n "$b" address add fd77::2/64 dev cable1 nodad &&
        ip -n "$a" link set cable0 up && ip -n "$b" link set cable1 up &&
        ip -n "$a" link set lo up && ip -n "$b" link set lo up || return 1
    # The system says a little later that a link is there; UCX wants to hear that.
    until ip -n "$a" link show cable0 | grep -q 'state UP' &&
        ip -n "$b" link show cable1 | grep -q 'state UP'; do sleep 0.05; done
}

if ! make_hosts >"$dir/made" 2>&1; then
    echo "[==========] Running the wire between two hosts"
    skip "no network namespaces here: $(head -1 "$dir/made")"
    summary
    exit 77
fi

# exchange NAME ADDRESS: from host a to a listener of host b.
exchange() {
    ip netns exec "$b" timeout 60 "$ferry" receive --device host --listen "$2" --secret-file "$dir/key" \
        --transports tcp --out "$dir/came" >"$dir/received" 2>"$dir/listening" &
    receiver=$!
    address=
    while [ -z "$address" ] && kill -0 "$receiver" 2>/dev/null; do
        address=$(sed -n 's/^listening on //p' "$dir/listening")
        sleep 0.02
    done
    run "$1" 0 timeout 120 ip netns exec "$a" "$ferry" send --device host --secret-file "$dir/key" \
        --transports tcp --json "$dir/file" "$address"
    json 'j["bytes"] == 30000001 and j["transports"] == "tcp" and j["interface"] == "cable0"'
    wait "$receiver"
    check "$1: the same bytes" cmp "$dir/file" "$dir/came"
}

sent() { ip netns exec "$a" cat /sys/class/net/cable0/statistics/tx_bytes; }

head -c 30000001 /dev/urandom >"$dir/file"
head -c 32 /dev/urandom >"$dir/key"
echo "[==========] Running the wire between two hosts"
before=$(sent)
exchange "IPv4" 10.77.0.2:0
after=$(sent)
check "all bytes went through the cable" [ $((after - before)) -gt 30000001 ]
exchange "IPv6" "[fd77::2]:0"

if ip netns exec "$a" nft -f - 2>"$dir/nft" <<'RULES'; then
table inet loss {
    chain out {
        type filter hook output priority 0;
        oif "cable0" numgen random mod 100 < 1 drop
    }
}
RULES
    exchange "one packet of a hundred is lost" 10.77.0.2:0
else
    skip "no loss: $(head -1 "$dir/nft")"
fi

summary
