# make         builds the library and the command
# make run     moves a real file through private memory and proves every byte (FILE=, DEVICE=)
# make test    builds and runs all tests: optimised, then under the sanitizers
# make bench   measures, and writes what came of it to docs/benchmarks/ (DEVICE=, SECONDS=)
# make macos-cross   builds for both kinds of Mac on Linux, and checks the files (nothing runs)
# make package   makes the Debian packages in build/deb
# make install PREFIX=/usr/local
# make format  lays out the C by clang-format 14
# Each of the first four installs what is missing (scripts/setup.sh).
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
PREFIX ?= /usr/local
FILE ?=
DEVICE ?=
SECONDS ?=

MAKEFLAGS += --no-print-directory

all: setup
	cmake --preset release
	cmake --build --preset release --parallel $(JOBS)

setup:
	scripts/setup.sh

run: setup
	cmake --preset release
	cmake --build --preset release --parallel $(JOBS) --target ferry_command
	FILE='$(FILE)' DEVICE='$(DEVICE)' scripts/run.sh

bench:
	scripts/setup.sh bench
	cmake --preset release
	cmake --build --preset release --parallel $(JOBS) --target ferry_command
	DEVICE='$(DEVICE)' SECONDS_EACH='$(SECONDS)' scripts/bench.sh

test: setup
	JOBS=$(JOBS) scripts/test.sh

macos-cross:
	JOBS=$(JOBS) scripts/macos_cross.sh

package: setup
	scripts/package.sh build/deb

install:
	cmake --install build/release --prefix '$(PREFIX)'

format:
	scripts/format.sh

clean:
	rm -rf build

.PHONY: all setup run bench test macos-cross package install format clean
