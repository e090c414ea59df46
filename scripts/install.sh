#!/usr/bin/env bash
# make install: installs what `make` built under PREFIX (or DESTDIR and PREFIX), and has the system's
# loader look for the new library. make uninstall (--undo): removes the files that the last
# installation from this tree wrote, and the folders of Ferry's own that are empty then.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
prefix=${PREFIX:-/usr/local}
manifest=$build/install_manifest.txt

# Programs find a new library in the system's folders only once ldconfig has run.
tell_loader() {
    [ -z "${DESTDIR-}" ] && [ "$(uname)" = Linux ] || return 0
    PATH=$PATH:/usr/sbin:/sbin
    command -v ldconfig >/dev/null || return 0
    if [ "$(id -u)" = 0 ]; then
        ldconfig
    elif [ -z "${HOME-}" ] || [ "${prefix#"$HOME"}" = "$prefix" ]; then
        echo "install: run ldconfig as root, so that programs find libferry"
    fi
    # Outside of the system's folders ldconfig does not look.
    libraries=$(sed -n 's|/libferry\.so\..*||p' "$manifest" | sort -u | head -n 1)
    if [ -n "$libraries" ] && ! ldconfig -v -N 2>/dev/null | grep -q "^$libraries:"; then
        echo "install: $libraries is not where the loader looks: link with -Wl,-rpath,$libraries," \
            "or set LD_LIBRARY_PATH"
    fi
}

install() {
    if [ ! -e "$build/cmake_install.cmake" ]; then
        echo "install: nothing is built yet: run make first" >&2
        exit 1
    fi
    cmake --install "$build" --prefix "$prefix"
    tell_loader
}

# Folders, the deepest first, that are named after Ferry or lie in one that is.
own_folders() {
    awk -F/ '{
        path = ""
        own = 0
        for (i = 2; i < NF; i++) {
            path = path "/" $i
            own = own || tolower($i) == "ferry"
            if (own) print path
        }
    }' "$manifest" | sort -ru
}

undo() {
    if [ ! -s "$manifest" ]; then
        echo "uninstall: no record of an installation from here ($manifest)" >&2
        exit 1
    fi
    while IFS= read -r file || [ -n "$file" ]; do
        rm -f -- "${DESTDIR-}$file"
    done <"$manifest"
    own_folders | while IFS= read -r folder; do
        rmdir -- "${DESTDIR-}$folder" 2>/dev/null || true
    done
    rm -f "$manifest"
    [ "$(id -u)" != 0 ] || tell_loader_of_loss
    echo "uninstall: done"
}

tell_loader_of_loss() {
    PATH=$PATH:/usr/sbin:/sbin
    if [ -z "${DESTDIR-}" ] && [ "$(uname)" = Linux ] && command -v ldconfig >/dev/null; then
        ldconfig
    fi
}

case ${1-} in
--undo) undo ;;
*) install ;;
esac
