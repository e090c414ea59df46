#!/usr/bin/env bash
# test_netns.sh FERRY: two hosts, each a network namespace, with a cable between them: IPv4 and IPv6,
# bytes that cross the cable and nothing else. Then cables that are long, lose packets, change them,
# or are cut (cable.py). Skipped, with 77, where namespaces cannot be made.
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

# listen ADDRESS: a listener of host b; its address in $address.
listen() {
    : >"$dir/listening"
    ip netns exec "$b" timeout 600 "$ferry" receive --device host --listen "$1" --secret-file "$dir/key" \
        --transports tcp --out "$dir/came" >"$dir/received" 2>"$dir/listening" &
    receiver=$!
    address=
    while [ -z "$address" ] && kill -0 "$receiver" 2>/dev/null; do
        address=$(sed -n 's/^listening on //p' "$dir/listening")
        sleep 0.02
    done
}

# send NAME EXIT: from host a to that listener.
send() {
    run "$1" "$2" timeout 600 ip netns exec "$a" "$ferry" send --device host --secret-file "$dir/key" \
        --transports tcp --json "$dir/file" "$address"
}

# exchange NAME ADDRESS INTERFACE
exchange() {
    listen "$2"
    send "$1" 0
    json 'j["bytes"] == '"$(wc -c <"$dir/file" | tr -d " ")"' and j["transports"] == "tcp" and j["interface"] == "'"$3"'"'
    wait "$receiver"
    check "$1: the same bytes" cmp "$dir/file" "$dir/came"
}

sent() { ip netns exec "$a" cat /sys/class/net/cable0/statistics/tx_bytes; }

# lay FAULT...: a cable of ours, with these faults.
lay() {
    : >"$dir/cable"
    "$(dirname "$0")/cable.py" "$a" "$b" "$@" >"$dir/cable" 2>&1 &
    cable=$!
    until grep -q ready "$dir/cable"; do
        kill -0 "$cable" 2>/dev/null || return 1
        sleep 0.02
    done
}

# lift NAME COUNTER...: it ends, and has met each of these.
lift() {
    kill "$cable"
    wait "$cable"
    cp "$dir/cable" "$dir/out"
    name=$1
    shift
    for counter in "$@"; do says out "$counter=[1-9]"; done
}

# faulty NAME COUNTER FAULT...: bytes through such a cable.
faulty() {
    what=$1 met=$2
    shift 2
    lay "$@"
    exchange "$what" 10.78.0.2:0 far0
    lift "$what" "$met"
}

head -c 30000001 /dev/urandom >"$dir/file"
head -c 32 /dev/urandom >"$dir/key"
echo "[==========] Running the wire between two hosts"
before=$(sent)
exchange "IPv4" 10.77.0.2:0 cable0
after=$(sent)
check "all bytes went through the cable" [ $((after - before)) -gt 30000001 ]
exchange "IPv6" "[fd77::2]:0" cable0

if ! lay; then
    skip "no faulty cables here: $(tail -1 "$dir/cable")"
    summary
    exit
fi
exchange "a cable of ours" 10.78.0.2:0 far0
address=10.78.0.2:1 send "nobody is there" 3
says err 'cannot connect to 10.78.0.2:1: Connection refused'
lift "a cable of ours" sent
head -c 3000001 /dev/urandom >"$dir/file"
faulty "far away" sent delay=40
faulty "packets are lost" lost delay=1 lose=50
faulty "packets come twice" twice twice=7
faulty "packets overtake each other" late delay=1 late=5
faulty "packets have wrong bits" flipped flip=40
faulty "all of that" lost delay=2 lose=101 twice=31 late=13 flip=97
faulty "a second of nothing" unheard delay=1 pause=1000000

# Both sides hear of it, in their own words, and neither hangs.
lay delay=1 cut=1000000
listen 10.78.0.2:0
send "the cable is cut" 3
says err 'silent|gone|closed|broke|failed'
wait "$receiver"
code=$?
cp "$dir/listening" "$dir/err"
name="the cable is cut, to the receiver"
check "$name: exit $code" [ "$code" = 3 ]
cp "$dir/listening" "$dir/err"
says err 'silent|gone|closed|broke|failed'
lift "the cable is cut" unheard
faulty "the next cable" sent delay=1
summary
