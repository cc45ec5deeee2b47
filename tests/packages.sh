#!/bin/sh
# SPDX-License-Identifier: MIT
# Looks for what Busbar needs on this machine, and installs what is missing with apt. Without apt, or without the right to
# use it, says what is missing and exits with 1.
# Usage: packages.sh build|test|demo|bench|check...
#   build   compiler, meson, libraries    test   what the tests need more    demo   what the quickstart needs more
#   bench   what the benchmarks compare with
#   check   what CI needs more: clang, its sanitizers, clang-format, what analyses, valgrind, gcovr, a compiler for Cortex-M
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

command_there() {
    command -v "$1" >/dev/null 2>&1
}
library_there() {
    command_there pkg-config && pkg-config --exists "$1"
}
paho_there() {
    echo '#include <MQTTClient.h>' | ${CC:-cc} -E - >/dev/null 2>&1
}
c_library_there() {
    command_there "${CC:-cc}" || return 1
    echo '#include <stdio.h>' | ${CC:-cc} -E - >/dev/null 2>&1
}
cortex_m_library_there() {
    command_there arm-none-eabi-gcc || return 1
    echo '#include <string.h>' | arm-none-eabi-gcc -E - >/dev/null 2>&1
}
clang_sanitizers_there() {
    command_there clang || return 1
    [ -e "$(clang -print-file-name=libclang_rt.asan-x86_64.a)" ] || ls "$(clang -print-resource-dir)"/lib/*/libclang_rt.asan* >/dev/null 2>&1
}

missing=
need() { # PACKAGE CHECK...: the package is missing if the check fails
    package=$1
    shift
    "$@" && return
    case "$missing " in
    *" $package "*) ;;
    *) missing="$missing $package" ;;
    esac
}

look() { # WHAT
    case $1 in
    build)
        need gcc command_there "${CC:-cc}"
        need libc6-dev c_library_there
        need meson command_there meson
        need ninja-build command_there ninja
        need pkg-config command_there pkg-config
        need libsqlite3-dev library_there 'sqlite3 >= 3.37.0'
        need libcjson-dev library_there 'libcjson >= 1.7.15'
        need libmosquitto-dev library_there 'libmosquitto >= 2.0.11'
        ;;
    test)
        need g++ command_there g++
        need libcmocka-dev library_there cmocka
        need mosquitto command_there mosquitto
        need openssl command_there openssl
        need iproute2 command_there ip
        ;;
    demo)
        need mosquitto command_there mosquitto
        need mosquitto-clients command_there mosquitto_sub
        ;;
    bench)
        need mosquitto command_there mosquitto
        need libpaho-mqtt-dev paho_there
        ;;
    check)
        need clang command_there clang
        need libclang-rt-dev clang_sanitizers_there
        need clang-format command_there clang-format
        need clang-tidy command_there clang-tidy
        need cppcheck command_there cppcheck
        need valgrind command_there valgrind
        need gcovr command_there gcovr
        need gcc-arm-none-eabi command_there arm-none-eabi-gcc
        need libnewlib-arm-none-eabi cortex_m_library_there
        ;;
    *)
        echo "packages.sh: unknown: $1" >&2
        exit 2
        ;;
    esac
}

give_up() { # REASON
    echo "packages.sh: missing:$missing" >&2
    echo "packages.sh: $1. Install these packages (the names are Debian's), then try again." >&2
    exit 1
}

look_for() {
    missing=
    for what in "$@"; do
        look "$what"
    done
}

look_for "$@"
[ -n "$missing" ] || exit 0

command_there apt-get || give_up "there is no apt-get to install them with"
if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command_there sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
else
    give_up "installing needs root, and there is no way to become root"
fi

echo "Installing:$missing"
# shellcheck disable=SC2086 # these are lists
{
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq ||
        echo "packages.sh: the package lists could not be updated; trying with the old ones" >&2
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        give_up "apt-get could not install them"
}

look_for "$@"
[ -z "$missing" ] || give_up "they are still not found after apt-get has installed them"
