#!/bin/sh
# SPDX-License-Identifier: MIT
# What the libraries define and what they call: names that cannot collide with an application's, no global state in the
# core, and nothing of an operating system in it.
# Usage: symbols.sh SHARED-CORE|- STATIC-CORE STATIC-PORT...
. "${0%/*}/lib.sh"
shared=$1
core=$2
shift 2

for library in "$shared" "$core" "$@"; do
    [ "$library" = - ] || [ -e "$library" ] || echo "there is no $library"
done | verdict "the libraries are there"

defined() { # ARCHIVE: its global symbols, but for those of sanitizers
    nm -g --defined-only "$1" | awk 'NF == 3 && $3 !~ /^_/ { print $3 }'
}

if [ "$shared" = - ]; then
    skip "${core##*/}: the shared library exports busbar_* only" "no shared library is built"
else
    nm -D --defined-only "$shared" | awk '{ print $3 }' | grep -v '^busbar_' |
        grep -v -E '^(__|_init$|_fini$|_edata$|_end$)' | verdict "${shared##*/} exports busbar_* only"
    if nm -D --defined-only "$shared" | grep -q ' T busbar_open$'; then
        pass "${shared##*/} exports busbar_open"
    else
        echo "it does not" | verdict "${shared##*/} exports busbar_open"
    fi
fi
defined "$core" | grep -v -E '^(busbar|bb)_' | verdict "${core##*/} defines busbar_* and bb_* only"
for archive in "$@"; do
    name=${archive##*/libbusbar-}
    name=${name%.a}
    defined "$archive" | grep -v -E "^(busbar_|bb_${name}_)" | verdict "${archive##*/} defines busbar_* and bb_${name}_* only"
done

nm -f sysv --defined-only "$core" | awk -F'|' '
    { gsub(/ /, "", $1); gsub(/ /, "", $7) }
    $1 ~ /^(_|\.)/ { next }
    $7 ~ /^\.(data|bss|tdata|tbss)/ && $7 !~ /^\.data\.rel\.ro/ { print $1 " is writable (" $7 ")" }' |
    verdict "${core##*/} has no writable data"

# What a compiler brings itself (memcpy, _sanitizers_) and a freestanding C library has.
nm -u "$core" | awk 'NF == 2 { print $2 }' | sort -u |
    grep -v -E '^(_|busbar_|bb_|sqlite3_|cJSON_|mem(cpy|move|set|cmp|chr)$|bcmp$|str(len|cmp|ncmp|chr|rchr|str|spn|cspn|pbrk)$)' |
    grep -v -E '^(malloc|calloc|realloc|free|abs|labs|llabs|qsort|bsearch)$' |
    sed 's/$/ is not of the few functions that the core may call/' | verdict "${core##*/} calls no operating system, stdio or thread"
finish
