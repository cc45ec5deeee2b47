#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what is missing, builds, and runs the tests.
#
#   sh tests/run.sh [OPTION...] [TEST...] [-- MESON-OPTION...]
#
#   TEST                run only the tests of this name (see --list)
#   --suite SUITE       run only this suite: header unit fuzz promises contract cli …; may be repeated
#   --full              run the long suites (full, soak) too
#   --valgrind          run each test under valgrind; for --suite unit and promises, in a build without a sanitizer
#   --list              list the tests, and end
#   --build DIRECTORY   where to build; default build/test
#   --help              print this, and end
#   MESON-OPTION        for `meson setup`: -Db_sanitize=thread, say. CC chooses the compiler.
#
# The last line says "N passed, N failed, N skipped", counted over the cases inside the tests. Exit code 0 if none failed.
set -eu
cd "$(dirname "$0")/.."

usage() {
    sed -n '3,/^set/{/^set/d; s/^# \{0,1\}//; p;}' tests/run.sh
}

build=build/test
setup=quick
list=false
suites=
tests=
while [ $# -gt 0 ]; do
    case $1 in
    --full) setup=full ;;
    --valgrind) setup=valgrind ;;
    --list) list=true ;;
    --suite | --build)
        [ $# -ge 2 ] || {
            echo "run.sh: $1 needs a value" >&2
            exit 2
        }
        case $1 in
        --suite) suites="$suites --suite $2" ;;
        *) build=$2 ;;
        esac
        shift
        ;;
    --help | -h)
        usage
        exit 0
        ;;
    --)
        shift
        break
        ;;
    -*)
        echo "run.sh: there is no option $1; see --help" >&2
        exit 2
        ;;
    *) tests="$tests $1" ;;
    esac
    shift
done

sh tests/packages.sh build test

if [ -f "$build/build.ninja" ]; then
    # shellcheck disable=SC2086
    [ $# -eq 0 ] || meson configure "$build" "$@"
else
    meson setup "$build" "$@"
fi
meson compile -C "$build"

if $list; then
    exec meson test -C "$build" --no-rebuild --setup "$setup" $suites --list
fi

# A suite that is asked for would bring its long tests along.
[ "$setup" = full ] || suites="$suites --no-suite full --no-suite soak"
[ "$setup" != valgrind ] || suites="$suites --no-suite sweep"

# Whatever the tests leave behind is in here.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/busbar-run.XXXXXX")
chmod 755 "$TMPDIR" # tests that drop their rights come in too
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 1' HUP INT TERM

status=0
log=$build/meson-logs/testlog-$setup.txt
rm -f "$log"
# shellcheck disable=SC2086 # these are lists
meson test -C "$build" --no-rebuild --print-errorlogs --setup "$setup" $suites $tests || status=$?

if ! sh tests/count.sh "$log"; then
    [ "$status" -ne 0 ] || status=1
fi
exit "$status"
