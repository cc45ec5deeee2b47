#!/bin/sh
# SPDX-License-Identifier: MIT
# The arrows between the parts, read off the #include lines: cli, port and examples depend on the public headers, lib on
# nothing of theirs, no two modules of lib on each other, and only the store modules know SQL.
# Usage: arrows.sh SOURCE-DIRECTORY
. "${0%/*}/lib.sh"
cd "${1:?usage: $0 SOURCE-DIRECTORY}" || exit 1

# The modules that may hold SQL text. Others hand their wishes to these.
store_modules='bound check_questions checkpoint clock collect consumer exception gap given idle kind later lease log poison prune retain schema session status store wal watermark'

# Headers of C11 that need no operating system.
standard='assert|ctype|errno|float|inttypes|iso646|limits|math|stdalign|stdarg|stdbool|stddef|stdint|stdlib|string'

includes() { # FILE...: "file:line <header>" or "file:line \"header\"" for every #include
    awk '/^[[:space:]]*#[[:space:]]*include/ {
        sub(/^[[:space:]]*#[[:space:]]*include[[:space:]]*/, ""); sub(/[[:space:]]*(\/\*.*)?$/, "")
        print FILENAME ":" FNR " " $0
    }' "$@"
}

unless() { # REGEX REASON: the includes whose header does not match, each with the reason
    grep -v -E "^[^ ]+ $1\$" | sed "s|\$|: $2|"
}

own_folder_only() { # FILE...: quoted headers lie beside the file (or in $also), public ones exist
    includes "$@" | while read -r place header; do
        file=${place%:*}
        case $header in
        \"*)
            header=${header#\"}
            header=${header%\"}
            case $header in
            */*) echo "$place \"$header\": leaves the folder" ;;
            *) [ -f "${file%/*}/$header" ] || [ -f "$also/$header" ] || echo "$place \"$header\": not in the same folder" ;;
            esac
            ;;
        '<busbar/'*)
            header=${header#<}
            header=${header%>}
            [ -f "lib/include/$header" ] || [ -f "port/include/$header" ] || echo "$place <$header>: no public header"
            ;;
        esac
    done
}

also=/
public=$(find lib/include port/include -name '*.h')
lib=$(find lib -maxdepth 1 -name '*.[ch]')
without=$(find lib/without -name '*.[ch]')
port=$(find port -mindepth 2 -name '*.[ch]' ! -path 'port/include/*')
cli=$(find cli -name '*.[ch]')
# shellcheck disable=SC2086 # the file lists below are lists
{
    # ---- lib
    includes $lib $without | unless "(\"[a-z0-9_]+\.h\"|<($standard)\.h>|<busbar/(busbar|look|port|transport|sqlite)\.h>|<cjson/cJSON\.h>)" \
        "lib includes the C library, the public headers of lib and its own headers" |
        verdict "lib includes no port, no operating system, no stdio and no thread"
    includes $(find lib/include -name '*.h') |
        unless "(<std(bool|def|int)\.h>|<busbar/(busbar|look|port|transport|sqlite)\.h>|<sqlite3\.h>)" \
            "a public header of lib needs the fixed-width types and its siblings only" |
        verdict "the public headers of lib need nothing but C11"
    includes $(find port/include -name '*.h') |
        unless "(<std(bool|def|int)\.h>|<busbar/(busbar|look|port|transport)\.h>)" \
            "a public header of a port needs the fixed-width types and those of lib only" |
        verdict "the public headers of the ports show nothing of what is under them"
    own_folder_only $lib | verdict "lib: every header is in lib or public"
    also=lib
    own_folder_only $without | verdict "lib/without: every header is there, in lib or public"
    also=/
    for file in $without; do
        module=${file##*/}
        [ "$module" = absent.h ] || [ -f "lib/$module" ] || echo "$file stands in for no module of lib"
        grep -n -E '"[^"]*(SELECT|INSERT|UPDATE|DELETE|PRAGMA) ' "$file" | sed "s|^|$file:|"
    done | verdict "lib/without stands in for modules of lib, and holds no SQL"
    includes $lib $cli $port | grep -F 'cJSON.h' | grep -v -E '^(lib/decode\.c|cli/[a-z_]+\.c):' |
        verdict "cJSON is included by lib/decode.c and the command line only"
    includes $public $lib $without | grep -F '<sqlite3.h>' | grep -v '^lib/include/busbar/sqlite.h:' |
        verdict "lib sees sqlite3.h through busbar/sqlite.h only"
    for file in $lib; do
        module=${file##*/}
        module=${module%.*}
        includes "$file" | sed -n "s/^[^ ]* \"\([a-z0-9_]*\)\.h\"\$/$module \1/p"
    done | awk '$1 != $2' | sort -u | tsort 2>&1 >/dev/null | sed -n 's/^tsort: \([a-z0-9_]*\)$/\1 is part of the circle/p' |
        verdict "no modules of lib include each other in a circle"
    for file in $lib; do
        module=${file##*/}
        case " $store_modules " in
        *" ${module%.*} "*) ;;
        *) grep -n -E '"[^"]*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|PRAGMA) ' "$file" | sed "s|^|$file:|" ;;
        esac
    done | verdict "only the store modules of lib hold SQL"

    # ---- port
    own_folder_only $port | verdict "port: every header is in the port's folder or public"
    includes $port $cli $lib $public $(find examples -name '*.[ch]') | grep -E '<(mosquitto|mqtt_protocol)' |
        grep -v '^port/mosquitto/' | verdict "mosquitto.h is included by port/mosquitto only"
    includes $(find port/sim port/loopback -name '*.[ch]') | grep -v '^port/sim/disk[a-z_]*\.[ch]:[0-9]* <sqlite3\.h>$' |
        unless "(\"[a-z0-9_]+\.h\"|<($standard)\.h>|<busbar/(busbar|port|transport|sim|sim_disk|loopback)\.h>)" "needs more than C11" |
        verdict "port/sim and port/loopback need nothing but C11, and the simulated disk SQLite"
    includes $port | grep -E '<(sqlite3|busbar/sqlite)\.h>' | grep -v -E '^port/(linux/|sim/disk)' |
        verdict "of the ports only port/linux opens databases, and the simulated disk is under them"

    # ---- cli, examples
    own_folder_only $cli $(find examples -name '*.[ch]') |
        verdict "cli and examples: every header is in the folder or public"
    includes $cli | grep -E '<(sqlite3|busbar/sqlite|busbar/sim)\.h>' | verdict "cli knows neither SQLite nor the test kit"
    grep -n -E '"[^"]*(SELECT|INSERT INTO|UPDATE|DELETE FROM|PRAGMA) ' $cli | verdict "cli holds no SQL"

    # ---- all
    includes $public $lib $without $port $cli $(find examples -name '*.[ch]') | grep -i -E '[<"/](tests|cmocka)' |
        verdict "nothing depends on tests"
}
finish
