#!/usr/bin/env bash
# scripts/test_package.sh [ROOT]: makes the Debian packages, installs them in a clean Debian root and
# builds and runs every example there, against the installed library, through pkg-config and through
# find_package, in C and in C++. As root; needs debootstrap and the network, unless ROOT holds such a
# root already (a copy of it is used).
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools=gcc,g++,libc6-dev,cmake,make,pkg-config

scripts/package.sh build/deb dist

if [ $# -gt 0 ]; then
    cp -a "$1" "$work/root"
else
    debootstrap --variant=minbase --include="$tools" bookworm "$work/root"
fi
mkdir "$work/root/ferry"
cp -r dist/*.deb examples "$work/root/ferry"
mkdir -p "$work/root/ferry/tests"
cp -r tests/install "$work/root/ferry/tests"
cp tests/cpp/*.inc "$work/root/ferry"

# What runs in the clean root; nothing of the source tree but examples is there.
cat >"$work/root/ferry/check.sh" <<'CHECK'
set -eux
cd /ferry
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends ./*.deb
cd /tmp
ferry --version
ferry devices
ferry load /ferry/basic.inc
ferry verify --device host --operations 100
flags=$(pkg-config --cflags --libs ferry)
printf 'plain bytes' >model
for example in /ferry/examples/*.c; do
    case $example in
    *external_work*) continue ;; # needs a Vulkan device
    *cuda_external*) continue ;; # needs a CUDA device
    *triton_backend*) continue ;; # a server loads it
    *load_model*) file=model ;;
    *) file= ;;
    esac
    gcc -std=gnu11 "$example" -o example $flags -lpthread
    ./example $file
done
cat >face.cpp <<'CPP'
#include <ferry/ferry.hpp>
#include <vector>
using namespace ferry;
int main()
{
    MetalDevice *device = MetalDeviceManager::Instance().GetDefaultDevice();
    {
#include "/ferry/basic.inc"
        if (result != data) return 1;
    }
    {
#include "/ferry/copy.inc"
    }
    {
#include "/ferry/zero.inc"
    }
    return 0;
}
CPP
g++ -std=c++17 face.cpp -o face $flags
./face
mkdir cxx
cat >cxx/CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.20)
project(cxx CXX)
find_package(Ferry REQUIRED)
add_executable(face ../face.cpp)
target_compile_features(face PRIVATE cxx_std_17)
target_link_libraries(face PRIVATE Ferry::ferry)
CMAKE
cmake -S cxx -B cxx/build
cmake --build cxx/build
cxx/build/face
apt-get install -y -qq --no-install-recommends liburing-dev # the static library needs it
cmake -S /ferry/tests/install/find_package -B both
cmake --build both
ctest --test-dir both --output-on-failure --no-tests=error
apt-get remove -y -qq ferry-tools libferry-dev libferry1
[ -z "$(find /usr -name '*ferry*')" ]
CHECK
chroot "$work/root" bash /ferry/check.sh
echo "the packages install and work in a clean root, and leave nothing behind"
