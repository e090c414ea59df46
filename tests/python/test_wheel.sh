#!/usr/bin/env bash
# test_wheel.sh SOURCE PYTHON: makes the wheel, installs it into a bare virtual environment and uses
# it there, with nothing of the source tree in sight. Prints cmocka's closing lines, which
# scripts/test_summary.awk counts.
set -u
source=$1 python=$2
# shellcheck source=tests/checks.sh
. "$(dirname "$0")/../checks.sh"
unset FERRY_LIBRARY PYTHONPATH FERRY_DEVICE FERRY_PATH
export PYTHONDONTWRITEBYTECODE=1

installed() {
    "$python" -m venv --without-pip "$dir/venv" &&
        "$python" -m pip --python "$dir/venv/bin/python" install --quiet --no-index --no-deps \
            --disable-pip-version-check "$dir"/dist/*.whl
}

inside() { (cd "$dir" && "$dir/venv/bin/python" -c "$1" "${@:2}"); }

# What the tag promises is what the libraries need, by other means than the script that made it.
true_tag() {
    wheel=$(ls "$dir"/dist/*.whl)
    "$python" -m zipfile -e "$wheel" "$dir/unpacked"
    libraries=("$dir"/unpacked/ferry/libferry*.so*)
    newest=$(objdump -T "${libraries[@]}" | grep -o 'GLIBC_[0-9.]*' |
        sort -t. -k1,1 -k2,2n -k3,3n | tail -n 1)
    echo "$wheel: $newest, ${libraries[*]}"
    [ "${#libraries[@]}" = 2 ] &&
        [[ $wheel == *-py3-none-manylinux_$(tr . _ <<<"${newest#GLIBC_}")_$(uname -m).whl ]] &&
        ! ldd "${libraries[@]}" | grep '=>' |
            grep -vE "libc\.so|libm\.so|libdl\.so|libpthread\.so|libferry\.so\.1 => $dir/unpacked/"
}

# A library that needs more than a system has gets no tag.
refused() {
    library=$(find "$dir/unpacked" -name 'libferry.so*')
    wire=$(find "$dir/unpacked" -name 'libferry_wire.so*')
    ! "$python" "$source/scripts/wheel_tag.py" "$wire" 2>"$dir/why" || return 1
    echo 'int main(void) { return 0; }' | ${CC:-cc} -shared -fPIC -x c - -x none -o "$dir/foreign.so" \
        -Wl,--no-as-needed "$library" 2>/dev/null || return 1
    ! "$python" "$source/scripts/wheel_tag.py" "$dir/foreign.so" 2>"$dir/why" &&
        grep -q 'needs .*libferry.*, which a system need not have' "$dir/why"
}

echo "[==========] Running the wheel's tests"
check "the wheel is made" "$source/scripts/wheel.sh" "$dir/dist"
check "the wheel is installed" installed
check "its tag is true" true_tag
check "what needs more has no tag" refused
run "its own library is used" 0 inside "
import ferry, sys
with ferry.Device('host') as device:
    print(device.upload(b'across the water').read())
print([line.split()[-1] for line in open('/proc/self/maps') if 'libferry' in line][0])
print(ferry.__version__, ferry.__file__)"
says out "^b'across the water'"
says out "^$dir/venv/lib.*/ferry/libferry.so.1$"
says out "^[0-9]+\.[0-9]+\.[0-9]+ $dir/venv/"
run "its own wire is used, with the UCX of the system" 0 inside "
import ferry, ferry.wire
with ferry.Device('host') as device, ferry.wire.Wire(listen='127.0.0.1:0') as there, \
        ferry.wire.Wire() as here:
    out = here.connect(there.address, timeout=60)
    arrived = device.upload(bytes(7))
    received = there.accept(timeout=60).receive_async(arrived, tag=1)
    out.send(device.upload(b'weights'), tag=1)
    received.result(60)
    print(arrived.read())
libraries = sorted({line.split()[-1] for line in open('/proc/self/maps') if 'libferry' in line})
print(*libraries, f'{len(libraries)} libraries', sep='\n')"
says out "^b'weights'"
says out "^$dir/venv/lib.*/ferry/libferry.so.1$"
says out "^$dir/venv/lib.*/ferry/libferry_wire.so.1$"
says out '^2 libraries$'
run "its documentation's examples run" 0 inside "
import doctest, ferry, sys
result = doctest.testmod(ferry)
sys.exit(result.failed or not result.attempted)"
printf 'plain bytes' >"$dir/model"
run "the example" 0 "$dir/venv/bin/python" "$source/bindings/python/examples/load_model.py" "$dir/model"
says out "^bytes: 1 tensors, 11 bytes on "
says out "model is now b'.x07.x07.x07.x07'"
if command -v mypy >/dev/null; then
    run "types, as a user's checker sees them" 0 mypy --strict --cache-dir "$dir/cache" \
        --python-executable "$dir/venv/bin/python" "$source/bindings/python/examples/load_model.py"
    printf 'import ferry\nferry.Device(5).buffer("x").read().nothing()\n' >"$dir/wrong.py"
    run "a wrong program" 1 mypy --strict --cache-dir "$dir/cache" \
        --python-executable "$dir/venv/bin/python" "$dir/wrong.py"
    says out 'has incompatible type "int"; expected "(Optional\[str\]|str \| None)"'
    says out 'has incompatible type "str"; expected "int"'
    says out '"bytes" has no attribute "nothing"'
else
    skip "types: there is no mypy"
fi
run "help" 0 inside "import ferry; help(ferry.Buffer)"
says out "copy_from_host\(self, source, offset=0\)"
says out "All bytes of source, to offset in the buffer"
summary
