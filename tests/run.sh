#!/bin/sh
# Installs what is missing, builds, and runs every test.
set -eu
cd "$(dirname "$0")/.."
apt-get install -y --no-install-recommends meson gcc pkg-config libsqlite3-dev libcjson-dev libcmocka-dev libmosquitto-dev mosquitto >/dev/null
[ -d build/test ] || meson setup build/test .
meson test -C build/test --print-errorlogs
