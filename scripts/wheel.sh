#!/usr/bin/env bash
# make wheel: scripts/wheel.sh [OUT]: packs the Python module with a library inside in OUT (dist), by
# the setuptools and wheel that are here: nothing is fetched. The library is built for it in
# build/wheel: liburing is linked into it, where there is an archive of it, since a system need not
# have it. The wire's library is beside it: that opens UCX when a wire is, and needs none before. On
# Linux the wheel has the lowest manylinux tag that is true of both.
set -eu
cd "$(dirname "$0")/.."
out=${1:-dist}
build=build/wheel
python=${PYTHON:-}
for candidate in $python /usr/bin/python3 python3; do
    if "$candidate" -c 'import setuptools, wheel, pip' 2>/dev/null; then
        python=$candidate
        break
    fi
    python=""
done
if [ -z "$python" ]; then
    echo "wheel: no Python 3 with pip, setuptools and wheel (scripts/setup.sh wheel)" >&2
    exit 1
fi

cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DFERRY_TESTS=OFF -DFERRY_CLI=OFF \
    -DFERRY_TRITON=OFF -DFERRY_WIRE=ON -DFERRY_URING_STATIC=ON -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
    >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
cmake --build "$build" --parallel "${JOBS:-2}" --target ferry ferry_wire >>"$build.log" 2>&1 ||
    { cat "$build.log"; exit 1; }

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp bindings/python/pyproject.toml LICENSE "$stage"
# liburing's own terms (MIT), where it is linked in.
cp /usr/share/doc/liburing-dev/copyright "$stage/LICENSE.liburing" 2>/dev/null || true
mkdir "$stage/ferry"
cp bindings/python/ferry/*.py bindings/python/ferry/*.pyi bindings/python/ferry/py.typed "$stage/ferry"
if [ "$(uname)" = Darwin ]; then
    cp -L "$build/libferry.dylib" "$build/wire/libferry_wire.dylib" "$stage/ferry"
    strip -x "$stage"/ferry/libferry*
    platform=$("$python" -c 'import sysconfig; print(sysconfig.get_platform().replace("-", "_").replace(".", "_"))')
else
    cp -L "$build/libferry.so.1" "$build/wire/libferry_wire.so.1" "$stage/ferry"
    strip --strip-unneeded "$stage"/ferry/libferry*
    platform=$("$python" scripts/wheel_tag.py "$stage"/ferry/libferry*)
fi

# For any CPython 3: the library is opened by ctypes.
cat >"$stage/setup.py" <<SETUP
from setuptools import Distribution, setup
from wheel.bdist_wheel import bdist_wheel


class Binary(Distribution):
    def has_ext_modules(self):
        return True


class WithLibrary(bdist_wheel):
    def get_tag(self):
        return "py3", "none", "$platform"


setup(distclass=Binary, cmdclass={"bdist_wheel": WithLibrary})
SETUP
mkdir -p "$out"
"$python" -m pip wheel --quiet --no-build-isolation --no-deps --no-index --wheel-dir "$out" \
    --disable-pip-version-check "$stage"
ls "$out"/ferry-*"$platform".whl
