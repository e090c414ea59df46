#!/usr/bin/env bash
# test_command.sh FERRY: the command as its users run it, but for ferry bench (tests/bench).
set -u
ferry=$1
[ -x "$ferry" ] || exit 1
unset FERRY_DEVICE FERRY_PATH FERRY_LOG
# On a device of 60 MiB the upload of 64 MiB is not measured, which saves its time.
export FERRY_HOST=memory=60M
. "$(dirname "$0")/../checks.sh"

echo "[==========] Running the command's tests"
: >"$dir/empty"
printf x >"$dir/one"
head -c 100003 /dev/urandom >"$dir/small"
head -c 9000001 /dev/urandom >"$dir/big"
odd="$dir/odd \"name\" $(printf '\xff')"
cp "$dir/small" "$odd" 2>/dev/null || odd="$dir/small" # some file systems take UTF-8 only

run "help" 0 "$ferry" --help
says out "exit codes: 0 done, 1"
silent err
run "version" 0 "$ferry" --version
says out "^ferry [0-9]+\.[0-9]+\.[0-9]+$"
says out "^drivers: .*host"
says out "^libraries: "
cp "$dir/out" "$dir/version"
run "-V" 0 "$ferry" -V
if cmp -s "$dir/out" "$dir/version"; then good "-V is --version"; else bad "-V is not --version"; fi
run "help, a word" 0 "$ferry" help
says out "exit codes: 0 done, 1"
run "help of what there is not" 2 "$ferry" help swim
says err 'no command "swim"'
run "help of two commands" 2 "$ferry" help devices load
says err 'help takes one command, not "load" too'
run "help environment" 0 "$ferry" help environment
if awk 'length > 80 && !/^[A-Z_]*=/ { exit 1 }' "$dir/out"; then good "lines fit"; else bad "long lines"; fi
says out '^FERRY_FILE_IO=auto\|threads\|cache$'
for variable in $(sed -n 's/^FERRY_VARIABLE("\([A-Z_]*\)".*/\1/p' \
    "$(dirname "$0")/../../include/ferry/environment.inc"); do
    says out "^$variable="
done
run "nothing" 2 "$ferry"
says err "usage: ferry"
run "unknown command" 2 "$ferry" swim
says err 'no command "swim".*transfer, load, devices, explain, verify, bench, metrics, send, receive and triton'
for command in transfer load devices explain verify bench metrics triton; do
    run "$command help" 0 "$ferry" "$command" --help
    cp "$dir/out" "$dir/help"
    run "help $command" 0 "$ferry" help "$command"
    if cmp -s "$dir/out" "$dir/help"; then good "the same"; else bad "another text"; fi
    says out "^usage: ferry $command"
    says out "^examples:"
    run "$command unknown option" 2 "$ferry" "$command" --wings
    says err "no option --wings"
done

run "no file" 2 "$ferry" transfer
says err "no file is named"
run "no value" 2 "$ferry" transfer --device
says err "--device needs a value"
run "bad path" 2 "$ferry" transfer --path sideways "$dir/one"
says err 'auto, direct, staged, pipelined or imported, not "sideways"'
for number in 0 -1 1x "" " 1" 99999999999999999999; do
    run "bad number '$number'" 2 "$ferry" transfer --repeat "$number" "$dir/one"
    says err "whole number over 0"
done
for seconds in 0 -1 nan 1e99 s; do
    run "bad seconds '$seconds'" 2 "$ferry" verify --seconds "$seconds"
    says err "number of seconds"
done
run "too many words" 2 "$ferry" devices now
says err 'takes no "now"'
run "unknown device" 3 "$ferry" transfer --device submarine "$dir/one"
says err "submarine"
says err "host"

run "missing file" 3 "$ferry" transfer --device host "$dir/missing"
says err "$dir/missing: .*No such file"
run "directory" 3 "$ferry" transfer --device host "$dir"
says err "$dir: it is a directory"
run "a missing file among others" 3 "$ferry" transfer --device host "$dir/missing" "$dir/one"
says out "one: 1 byte,"
if [ -r /proc/self/mem ]; then
    run "unreadable" 3 "$ferry" transfer --device host /proc/self/mem
    says err "/proc/self/mem: cannot read it"
fi
if [ -w /dev/full ]; then
    run "full disk" 3 sh -c '"$1" devices >/dev/full' sh "$ferry"
    says err "cannot write the output"
fi

run "empty file" 0 "$ferry" transfer --device host "$dir/empty"
says out "empty: 0 bytes"
says out "every byte came back"
run "small file" 0 env FERRY_HOST= "$ferry" transfer --device host "$dir/small"
says out "^device: host"
says out "^why: "
says out "small: 100003 bytes, [0-9]+ passes"
says out "host to private +100003 .* %  [a-z]+"
says out "private to private +100003 .* %  [a-z]+"
says out "private to host +100003 .* %  [a-z]+"
says out "64.0 KiB Ferry .*memcpy .*naive"
says out "64.0 MiB Ferry .*memcpy .*naive"
run "repeat" 0 "$ferry" transfer --device host --repeat 3 "$dir/small"
says out "small: 100003 bytes, 3 passes"
run "quiet" 0 "$ferry" transfer --device host --quiet --repeat 1 "$dir/small" "$dir/empty"
silent out
silent err
run "environment's device" 3 env FERRY_DEVICE=submarine "$ferry" transfer "$dir/one"
says err "submarine"
for path in direct staged pipelined imported; do
    run "path $path" 0 "$ferry" transfer --device host --path "$path" --repeat 1 "$dir/small"
    says out "host to private +100003 .* %  $path"
done

run "pipe" 0 sh -c 'cat "$2" | "$1" transfer --device host --repeat 2 -' sh "$ferry" "$dir/big"
says out "^-: 9000001 bytes, 2 passes"
mkfifo "$dir/fifo"
cat "$dir/big" >"$dir/fifo" &
writer=$!
run "named pipe" 0 "$ferry" transfer --device host --repeat 1 "$dir/fifo"
says out "fifo: 9000001 bytes"
kill $writer 2>/dev/null
wait $writer 2>/dev/null

# Times have the unit that shows them: no 0.000000 for what takes nanoseconds.
printf '%s' 'a hundred bytes, or fewer' >"$dir/tiny"
run "a tiny file" 0 "$ferry" transfer --device host --repeat 2 "$dir/tiny"
says out "host to private +25 +[0-9.]+ (ns|us|ms) "

# A device of 8 MiB: windows.
run "windows" 0 env FERRY_HOST=memory=8388608 "$ferry" transfer --device host --repeat 2 "$dir/big"
says out "big: 9000001 bytes, in [0-9]+ windows of .*, 2 passes"
says out "64.0 MiB not measured: out of device memory"
run "windows of a pipe" 0 env FERRY_HOST=memory=8388608 sh -c \
    'cat "$2" | "$1" transfer --device host --repeat 2 --json -' sh "$ferry" "$dir/big"
json 'j["files"][0]["bytes"] == 9000001 and j["files"][0]["windows"] > 1'
json 'j["files"][0]["passes"] == 1'

run "JSON" 0 "$ferry" transfer --device host --json --repeat 2 "$dir/small" "$dir/empty" "$odd"
json 'j["version"] == 2 and j["command"] == "transfer" and j["path"] == "auto" and j["exit"] == 0'
json 'j["device"]["name"].startswith("host") and j["device"]["reason"] != ""'
json '[f["bytes"] for f in j["files"]] == [100003, 0, 100003]'
json '[s["step"] for s in j["files"][0]["steps"]][1:4] == ["upload", "copy", "download"]'
json 'all(s["path"] != "" and s["of_memcpy"] > 0 for s in j["files"][0]["steps"][1:4])'
json '[u["bytes"] for u in j["uploads"]] == [65536, 67108864]'
cp "$dir/out" "$dir/transfer.json"
run "JSON of load" 0 "$ferry" load --device host --json "$dir/small" "$dir/empty" "$odd"
json 'j["command"] == "load"'
json '[f["bytes"] for f in j["files"]] == [100003, 0, 100003]'
json 'j["file_read_bytes"] == 200006 and 0 <= j["file_read_direct_bytes"] <= 200006'
# One schema: what the one says of a run, a file and a step the other says under the same name.
json 'set(j) - {"separate", "staging_peak_bytes", "process_peak_bytes", "file_read_bytes", "file_read_direct_bytes"} == set(json.load(open(sys.argv[1][:-3] + "transfer.json"))) - {"uploads"}'
json 'set(j["device"]) == set(json.load(open(sys.argv[1][:-3] + "transfer.json"))["device"])'
json 'set(j["files"][0]) >= set(json.load(open(sys.argv[1][:-3] + "transfer.json"))["files"][0])
      - {"window", "windows", "passes"}'
json 'set(j["files"][0]["steps"][0]) == {"step", "bytes", "seconds", "bytes_per_second"}
      == set(json.load(open(sys.argv[1][:-3] + "transfer.json"))["files"][0]["steps"][0])'
run "a list" 0 "$ferry" load --list "$dir/small"
says out 'it is plain bytes'
run "JSON of a list" 0 "$ferry" load --list --json "$dir/small"
json '"device" not in j and j["files"][0]["verified"] is False'
json 'j["files"][0]["totals"] == [{"type": "U8", "tensors": 1, "bytes": 100003}]'
run "no comparing" 0 "$ferry" load --device host --json --no-verify "$dir/small"
json '[s["step"] for s in j["files"][0]["steps"]] == ["open", "make", "load"]'
json 'j["files"][0]["verified"] is False and j["process_peak_bytes"] > 0'
run "both" 2 "$ferry" load --verify --no-verify "$dir/small"
says err 'not both'
run "a list of a device" 2 "$ferry" load --list --device host "$dir/small"
run "little memory" 0 "$ferry" load --device host --path staged --memory 1M --json "$dir/small"
json 'j["files"][0]["verified"] and 0 < j["staging_peak_bytes"] <= 1 << 20'
run "too little memory" 2 "$ferry" load --device host --memory 1K "$dir/small"
run "JSON of a failure" 3 "$ferry" transfer --device host --json --repeat 1 \
    "$dir/missing" "$dir/one"
json 'j["files"][0]["exit"] == 3 and "No such file" in j["files"][0]["error"] and j["exit"] == 3'
json 'j["files"][1]["exit"] == 0'
run "JSON of a failing load" 3 "$ferry" load --device host --json "$dir/missing" "$dir/one"
json 'j["files"][0]["exit"] == 3 and "No such file" in j["files"][0]["error"] and j["exit"] == 3'
json 'j["files"][1]["exit"] == 0'

run "metrics" 0 "$ferry" metrics --device host
says out '^ferry_build_info\{version="[0-9.]+",drivers=".*host",libraries=".*"\} 1$'
says out '^ferry_operations_total\{device="host:0",operation="upload",path="direct"\} 1$'
says out '^ferry_operation_bytes_total\{device="host:0",operation="download",path="direct"\} 16777216$'
run "metrics of a file" 0 "$ferry" metrics --device host --path staged "$dir/small"
says out 'operation="upload",path="staged"\} 100003$'
run "metrics as JSON" 0 "$ferry" metrics --device host --json
json 'j[0]["device"] == "host:0"'
run "metrics of a missing file" 3 "$ferry" metrics --device host "$dir/missing"
says err "No such file"

run "devices" 0 "$ferry" devices
says out "^host"
run "devices JSON" 0 "$ferry" devices --json
json 'any(d["name"].startswith("host") and d["kind"] == "host" for d in j["devices"])'
json 'all(d["max_buffer_size"] > 0 for d in j["devices"])'
json '[d["name"] for d in j["drivers"] if d["devices"] == 0 and not d["reason"]] == []'
# Why there is no GPU, on a line of its own.
run "no loader" 0 env FERRY_VULKAN_LIBRARY="$dir/no loader.so" "$ferry" devices
if "$ferry" --version | grep -q '^drivers:.*vulkan'; then says out '^no vulkan device: .*no loader.so'; fi
# A loader without a driver, in the user's words.
if "$ferry" devices | grep -q '^vulkan:0'; then
    run "no driver" 0 env VK_DRIVER_FILES="$dir/none.json" VK_ICD_FILENAMES="$dir/none.json" "$ferry" devices
    says out '^no vulkan device: the Vulkan loader found no driver'
else
    skip "there is no Vulkan device to hide"
fi

# The environment.
run "a wrong value" 3 env FERRY_FILE_IO=thread "$ferry" devices
says err 'FERRY_FILE_IO is "thread", not auto, threads or cache; did you mean "threads"\?'
run "a name that is nearly ours" 0 env FERRY_DEVCE=host "$ferry" devices
says err 'FERRY_DEVCE, which does nothing: did you mean FERRY_DEVICE\?'
run "the log" 3 env FERRY_LOG=info "$ferry" transfer --device host "$dir/one" --path staged "$dir/missing"
run "the log's level" 3 env FERRY_LOG=info "$ferry" transfer --device submarine "$dir/one"
says err '^ferry: info: .*submarine'
run "no log" 0 env FERRY_LOG=none FERRY_DEVCE=1 "$ferry" devices
silent err

run "explain" 0 "$ferry" explain --device host --size 4K --count 100
says out "path .*direct"
run "explain JSON" 0 "$ferry" explain --device host --memory registered --json
json 'j["path"] == "direct" and j["engine"] == "cpu" and j["count"] == 1'
run "explain nonsense" 2 "$ferry" explain --operation swim
run "explain a wrong count" 2 "$ferry" explain --count many
says err '--count takes a whole number over 0, not "many"'
run "devices and thresholds" 0 "$ferry" devices --verbose
says out "^host:0: .*paths direct"
says out "direct_write_max +max"
run "devices opened, as JSON" 0 "$ferry" devices --verbose --json
json 'all("direct_write_max" in d["open"]["thresholds"] for d in j["devices"])'
json 'all(d["open"]["paths"] and d["open"]["queues"] > 0 for d in j["devices"])'
run "devices and their queues" 0 env FERRY_HOST=queues=3 "$ferry" devices --verbose
says out "^  uploads by queue 0, downloads by queue 1, copies and fills by queue 2$"
run "devices and their queues, as JSON" 0 env FERRY_HOST=queues=3 "$ferry" devices --verbose --json
json '[(o["upload_queue"], o["download_queue"], o["copy_queue"])
       for o in (d["open"] for d in j["devices"]) if o["queues"] == 3][:1] == [(0, 1, 2)]'
run "devices as JSON open none" 0 "$ferry" devices --json
json 'not any("open" in d for d in j["devices"])'
# A device that cannot be opened says why, and those after it are opened all the same. Listing
# ignores a knob that there is not.
for option in --verbose "--verbose --json"; do
    run "devices that cannot be opened $option" 3 env FERRY_HOST=depth=3 "$ferry" devices $option
    says err 'devices: 2 of [0-9]+ cannot be opened'
done
json '["depth" in d["open"]["error"] for d in j["devices"] if d["driver"] == "host"] == [True] * 2'
json 'all("paths" in d["open"] for d in j["devices"] if d["driver"] != "host")'
run "devices that cannot be opened" 3 env FERRY_HOST=depth=3 "$ferry" devices --verbose
says out '^host:0 cannot be opened: .*depth'
says out '^host:1 cannot be opened: .*depth'
if "$ferry" devices | grep -q '^vulkan:0'; then says out '^vulkan:0: .*paths'; fi

run "verify" 0 "$ferry" verify --device host --operations 300 --seed 7
says out "300 operations on .* \(seed 7\)"
run "verify JSON" 0 "$ferry" verify --device host --operations 300 --seed 7 --json
json 'j["operations"] == 300 and j["seed"] == 7 and j["exit"] == 0'
bytes=$(python3 -c "import json; print(json.load(open('$dir/out'))['bytes'])")
run "verify again" 0 "$ferry" verify --device host --operations 300 --seed 7 --json
json "j['bytes'] == $bytes"
run "verify by time" 0 "$ferry" verify --device host --seconds 0.05 --quiet
silent out
run "verify after a failure" 3 env FERRY_HOST=fail_submit=5 "$ferry" verify --device host \
    --path staged --operations 300 --seed 7
says err "replay with: ferry verify --device host.* --path staged --seed 7 --operations [0-9]+"

# The line is for a terminal, which Python's pty is; and for nothing else.
if python3 -c 'import pty; pty.openpty()' 2>/dev/null; then
    run "bar" 0 env TERM=xterm python3 -c \
        'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' "$ferry" verify --device host --seconds 1.5
    says out "operations/s +[0-9]+ s left"
    run "no bar on a dumb terminal" 0 env TERM=dumb python3 -c \
        'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' "$ferry" verify --device host --seconds 1.5
    lacks out "s left"
else
    skip "bar: no pseudo-terminal can be had here (is /dev/pts mounted?)"
fi
run "no bar" 0 "$ferry" verify --device host --seconds 1.5
silent err

summary
