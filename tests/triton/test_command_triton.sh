#!/usr/bin/env bash
# test_command_triton.sh FERRY SERVER BACKENDS [vulkan]: `ferry triton` with the stand-in as the
# server library, opened as a real one is. With vulkan only what differs there: the backend's work
# by a queue of Vulkan's. Prints a line per check, and cmocka's closing lines.
set -u
ferry=$1 server=$2 backends=$3 device=${4-host}
[ -x "$ferry" ] && [ -f "$server" ] && [ -d "$backends" ] || exit 1
# shellcheck source=tests/checks.sh
. "$(dirname "$0")/../checks.sh"
unset FERRY_DEVICE FERRY_PATH FERRY_HOST STANDIN_MAJOR STANDIN_BACKEND_MAJOR STANDIN_NO_METRICS
unset STANDIN_NO_STATISTICS STANDIN_GPU STANDIN_NEW_ERRORS
export TMPDIR=$dir/tmp
mkdir "$TMPDIR"
# json EXPRESSION: of the last output, parsed, in Python; j is the value, m the metrics.
json() {
    if python3 -c "import json, sys; j = json.load(open(sys.argv[1])); m = j['metrics']
sys.exit(not ($1))" "$dir/out" 2>>"$dir/err"; then
        good "$name: $1"
    else
        bad "$name: not so: $1"
    fi
}

drive() {
    name=$1 expected=$2
    shift 2
    run "$name" "$expected" "$ferry" triton --server "$server" --backends "$backends" \
        --device "$device" --requests 200 "$@"
    lacks err "broken rule"
}

finish() {
    name="temporary files"
    if [ -z "$(ls "$TMPDIR")" ]; then good "$name: none left"; else bad "$name: $(ls "$TMPDIR")"; fi
    summary
    exit
}

echo "[==========] Running the command's tests"
if [ "$device" = vulkan ]; then
    drive "on Vulkan" 0 --json --bytes 4097
    json "j['requests'] == 200 and j['device'] == 'vulkan:0'"
    json "m['ferry_external_works_total{device=\"vulkan:0\"}'] == m['ferry_triton_gathers_total']"
    drive "on Vulkan, private" 0 --json --private --bytes 65537 --concurrency 40
    json "m['ferry_triton_allocations_private_total'] == 200"
    export STRICTVK=memory=private
    drive "on Vulkan, memory that the host does not reach" 0 --json --bytes 31
    json "m['ferry_submissions_total{device=\"vulkan:0\"}'] > 0"
    finish
fi
run "help" 0 "$ferry" triton --help
says out "^usage: ferry triton"
says out "--concurrency"
run "no server" 2 "$ferry" triton
says err "--server is missing"
says err "/opt/tritonserver/lib/libtritonserver.so"
run "no backends" 2 "$ferry" triton --server "$server"
says err "--backends is missing"
run "no such library" 3 "$ferry" triton --server "$dir/none.so" --backends "$backends"
says err "cannot open the server library: .*none.so"
case $(uname) in
Darwin) other=/usr/lib/libSystem.B.dylib ;;
*) other=libm.so.6 ;;
esac
run "another library" 3 "$ferry" triton --server "$other" --backends "$backends"
says err "no Triton server"
run "another major version" 3 env STANDIN_MAJOR=2 "$ferry" triton --server "$server" \
    --backends "$backends"
says err "TRITONSERVER API 2 .* needs 1"
run "another major version of the backend's half" 3 env STANDIN_BACKEND_MAJOR=2 "$ferry" triton \
    --server "$server" --backends "$backends"
says err "TRITONBACKEND API 2, Ferry needs 1 and 1"
run "no such kind" 2 "$ferry" triton --server "$server" --backends "$backends" --kind tpu
says err "cpu, model or gpu, not .tpu."
run "nothing to send" 2 "$ferry" triton --server "$server" --backends "$backends" --bytes 0
says err "bytes takes a size in bytes over 0"
run "no backend there" 3 "$ferry" triton --server "$server" --backends "$dir" --device host
says err "loading the model: .*libtriton_ferry.so"
run "no such device" 3 "$ferry" triton --server "$server" --backends "$backends" --device atlantis
says err "no device .atlantis."
run "no device's name" 2 "$ferry" triton --server "$server" --backends "$backends" \
    --device 'host" }'
says err "no device is called"

drive "text" 0
says out "^requests 200 of 64.0 KiB, 16 at a time, every byte compared"
says out "TRITONSERVER API 1\.34"
says out "compute_input +gather"
says out "ferry_triton_gathered_requests_total 200"
drive "json" 0 --json --bytes 4097 --concurrency 7
json "j['requests'] == 200 and j['bytes'] == 4097 and j['concurrency'] == 7"
json "j['statistics']['model_stats'][0]['inference_stats']['success']['count'] == 200"
json "m['ferry_triton_gathered_bytes_total'] == 200 * 4097"
json "m['ferry_triton_scattered_bytes_total'] == 200 * 4097"
json "m['ferry_triton_gathers_total'] == m['ferry_triton_scatters_total'] <= 200"
drive "KIND_MODEL" 0 --json --kind model
json "j['kind'] == 'model' and j['requests'] == 200"
drive "KIND_GPU where the server takes none" 3 --kind gpu
says err "loading the model: .*does not support GPUs"
export STANDIN_GPU=1
drive "KIND_GPU" 0 --json --kind gpu --private
json "j['kind'] == 'gpu' and j['device'] == 'host:0'"
json "m['ferry_triton_allocations_private_total'] == 200"
unset STANDIN_GPU
# The report is out before the server is told to end: it does not go with one that dies of that.
export STANDIN_CRASH=1
drive "a server that dies in its end" 134 --json
json "j['requests'] == 200"
says err "Stopping the server"
drive "likewise, as text" 134
says out "ferry_triton_gathered_requests_total 200"
unset STANDIN_CRASH
rm -rf "${TMPDIR:?}"/* # the dead left their repositories
# What the server prints is not among it.
drive "text alone" 0
lacks out "standin.c"
says err "Started the server"
if [ -e /dev/full ]; then
    name="a full disk"
    "$ferry" triton --server "$server" --backends "$backends" --device host --requests 3 \
        >/dev/full 2>"$dir/err"
    code=$?
    if [ $code = 3 ]; then good "$name"; else bad "$name: exit $code, not 3"; fi
    says err "cannot write the output: No space"
fi
export FERRY_HOST=no_map
drive "private" 0 --json --private
json "m['ferry_triton_allocations_private_total'] == 200"
json "m['ferry_triton_other_memory_total'] == 0 if 'ferry_triton_other_memory_total' in m else True"
drive "one byte, one at a time" 0 --bytes 1 --concurrency 1 --json
json "j['requests'] == 200"
# What the device fails is told, and the server is still stopped in order.
FERRY_HOST=no_map,fail_every=40 # not one alone: that may be the zeros of a new buffer
drive "a device that fails" 3
says err "request [0-9]+: .*(a knob stops a submission|fails by a knob)"
# Where errors of responses are new at each call, as the real server's are, none is left over.
export STANDIN_NEW_ERRORS=1
drive "likewise, and each error is a new one" 3
says err "request [0-9]+: .*(a knob stops a submission|fails by a knob)"
unset STANDIN_NEW_ERRORS
FERRY_HOST=no_map
export STANDIN_NO_STATISTICS=1
drive "no statistics" 0
says out "Triton's statistics: this server keeps none"
drive "no statistics in json" 0 --json
json "j['statistics'] is None"
unset STANDIN_NO_STATISTICS
export STANDIN_NO_METRICS=1
drive "no metrics" 0
says out "this server has no metrics"
drive "no metrics in json" 0 --json
json "m is None"

finish
