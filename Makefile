# make            builds the library and the command
# make run        moves a real file through private memory and proves every byte (FILE=, DEVICE=)
# make test       builds and runs all tests: optimised, then under the sanitizers
# make bench      measures, and writes what came of it to docs/benchmarks/ (DEVICE=, SECONDS=)
# make docs       makes a site of docs/ and the reference in build/release/site
# make wheel      packs the Python module with a library inside in dist/
# make package    makes the Debian packages in dist/
# make install    installs what `make` built (PREFIX=/usr/local, DESTDIR=)
# make uninstall  removes what the last `make install` wrote
# make macos-cross   builds for both kinds of Mac on Linux, and checks the files (nothing runs)
# make check      looks at the sources: layout, dialect, words, rooms, clang-tidy
# make format     lays out the C by clang-format 14
# What is missing is installed first, by scripts/setup.sh, for that purpose only.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
PREFIX ?= /usr/local
FILE ?=
DEVICE ?=
SECONDS ?=

# Scripts read these from the environment, as they were typed: nothing in them is special to a shell
# or to make.
override FILE := $(value FILE)
override DEVICE := $(value DEVICE)
override PREFIX := $(value PREFIX)
override SECONDS := $(value SECONDS)
SECONDS_EACH := $(SECONDS)
export FILE DEVICE PREFIX SECONDS_EACH JOBS
unexport SECONDS
# Nor are they handed to the make that CMake runs.
MAKEOVERRIDES =
MAKEFLAGS += --no-print-directory

build = cmake --preset release && cmake --build --preset release --parallel $(JOBS) --target

all:
	scripts/setup.sh build
	$(build) ferry_all

# A file of your own needs no model file.
run:
	scripts/setup.sh $(if $(FILE),build,run)
	$(build) ferry_command
	scripts/run.sh

bench:
	scripts/setup.sh bench
	$(build) ferry_command
	scripts/bench.sh

test:
	scripts/setup.sh test
	scripts/test.sh

docs:
	scripts/setup.sh docs
	cmake --preset release && cmake --build --preset release --target ferry_docs

wheel:
	scripts/setup.sh wheel
	scripts/wheel.sh dist

package:
	scripts/setup.sh build
	scripts/package.sh build/deb dist

install:
	scripts/install.sh

uninstall:
	scripts/install.sh --undo

macos-cross:
	scripts/macos_cross.sh

check:
	JOBS=$(JOBS) scripts/check.sh

format:
	scripts/format.sh

clean:
	rm -rf build

.PHONY: all run bench test docs wheel package install uninstall macos-cross check format clean
