#!/bin/sh
# SPDX-License-Identifier: MIT
# Busbar as its users get it: installed, found by pkg-config, linked shared and static.
# Usage: install.sh BUILD-DIRECTORY SOURCE-DIRECTORY MESON both|shared|static
. "${0%/*}/lib.sh"
build=$1
source=$2
meson=$3
forms=$4
root=$work/root
cc=${CC:-cc}

"$meson" install -C "$build" --no-rebuild --destdir "$root" --quiet >"$work/install.log" 2>&1 || {
    cat "$work/install.log"
    echo "meson install failed" | verdict "installs"
    finish
}
pass "installs"

pc=$(find "$root" -name busbar.pc)
libdir=${pc%/pkgconfig/busbar.pc}
PKG_CONFIG_SYSROOT_DIR=$root
PKG_CONFIG_PATH=${pc%/*}
export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH

for header in "$source"/lib/include/busbar/*.h "$source"/port/include/busbar/*.h; do
    name=busbar/${header##*/}
    case $name in
    busbar/mosquitto.h) pkg-config --exists busbar-mosquitto || continue ;;
    esac
    find "$root" -path "*/include/$name" | grep -q . || echo "$name is not installed"
done | verdict "every public header is installed"

# The flags of pkg-config have the sysroot in front of system paths too, where nothing is; those are harmless.
builds_and_runs() { # NAME FLAG-OF-PKG-CONFIG LINK-FLAGS PACKAGE...
    name=$1 static=$2 link=$3
    shift 3
    # shellcheck disable=SC2046,SC2086 # flags are lists
    {
        "$cc" -std=c11 -Wall -Wextra -Werror ${BUSBAR_TEST_FLAGS-} $(pkg-config --cflags "$@") \
            "$source/tests/header/consumer.c" -o "$work/consumer" $link $(pkg-config --libs $static "$@") 2>&1 &&
            LD_LIBRARY_PATH=$libdir "$work/consumer" "$work/consumer.db" 2>&1 || echo "failed"
    } >"$work/log"
    rm -f "$work"/consumer.db*
    grep -v '^published 1$' "$work/log" | verdict "$name"
}

if [ "$forms" != static ]; then
    builds_and_runs "a program links the shared library" "" "" busbar-linux busbar sqlite3
fi
if [ "$forms" != shared ]; then
    builds_and_runs "a program links the static library" --static "-L$libdir -Wl,-Bstatic -lbusbar-linux -lbusbar -Wl,-Bdynamic" \
        busbar-linux busbar sqlite3
    { nm "$work/consumer" | grep -q ' T busbar_open$' || echo "it is not"; } | verdict "the static library is inside the program"
fi
for package in busbar-loopback busbar-sim busbar-mosquitto; do
    if [ "$package" = busbar-mosquitto ] && [ ! -e "$libdir/libbusbar-mosquitto.a" ]; then
        skip "pkg-config knows $package" "built without libmosquitto"
        continue
    fi
    pkg-config --print-errors --exists "$package" 2>&1 | verdict "pkg-config knows $package"
done
finish
