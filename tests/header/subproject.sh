#!/bin/sh
# SPDX-License-Identifier: MIT
# Busbar inside another project: a superproject with Busbar in subprojects/ finds it as a dependency, builds only what it
# needs of it, runs, and installs only its own files.
# Usage: subproject.sh SOURCE-DIRECTORY MESON
. "${0%/*}/lib.sh"
source=$1
meson=$2
super=$work/super

mkdir -p "$super/subprojects/busbar"
for part in meson.build meson_options.txt lib port cli examples tests docs; do
    [ ! -e "$source/$part" ] || ln -s "$source/$part" "$super/subprojects/busbar/$part"
done
cp "$source/tests/header/consumer.c" "$super/consumer.c"
cat >"$super/meson.build" <<'END'
project('super', 'c', default_options: ['c_std=c11', 'warning_level=3'])
busbar = dependency('busbar', fallback: 'busbar', default_options: ['default_library=static'])
busbar_linux = dependency('busbar-linux', fallback: 'busbar')
executable('consumer', 'consumer.c', dependencies: [busbar, busbar_linux], install: true)
END

step() { # NAME COMMAND...
    name=$1
    shift
    { "$@" >"$work/log" 2>&1 || { cat "$work/log" && echo "failed: $*"; }; } | verdict "$name"
    [ ! -e "$work/failed" ] || finish
}

# Another Busbar that happens to be installed is not wanted.
step "a superproject is configured" "$meson" setup "$work/build" "$super" --wrap-mode=forcefallback
step "it builds" "$meson" compile -C "$work/build"
step "it runs" "$work/build/consumer" "$work/consumer.db"
grep -v '^published 1$' "$work/log" | verdict "it publishes"
find "$work/build" -type f -perm -u+x ! -name '*.so*' ! -path '*/meson-*' ! -name consumer |
    verdict "neither tests nor the command line nor examples are built with it"
step "it is installed" "$meson" install -C "$work/build" --no-rebuild --destdir "$work/root"
find "$work/root" -type f ! -path '*/bin/consumer' | verdict "only the superproject's own files are installed"
finish
