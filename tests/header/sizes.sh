#!/bin/sh
# SPDX-License-Identifier: MIT
# Files stay below 800 lines and functions within 70, from the brace to the brace that ends them. Tests may have 1,000 and
# 150, because their functions are often tables of cases. There are fewer SQL texts than a handle keeps statements for.
# Usage: sizes.sh SOURCE-DIRECTORY
. "${0%/*}/lib.sh"
cd "${1:?usage: $0 SOURCE-DIRECTORY}" || exit 1

long_files() { # LINES FILE...
    limit=$1
    shift
    wc -l "$@" | awk -v limit="$limit" '$2 != "total" && $1 >= limit { print $2 " has " $1 " lines" }'
}

long_functions() { # LINES FILE...
    limit=$1
    shift
    awk -v limit="$limit" '
        FNR == 1 { start = 0 }
        /^\{/ { start = FNR }
        /^\}/ && start {
            if (FNR - start + 1 > limit)
                print FILENAME ":" start ": this function has " FNR - start + 1 " lines"
            start = 0
        }' "$@"
}

product=$(find lib port cli examples -name '*.[ch]')
tests=$(find tests -name '*.[ch]')
# shellcheck disable=SC2086 # these are lists
{
    long_files 800 $product | verdict "files of the product have less than 800 lines"
    long_files 1000 $tests | verdict "files of tests have less than 1000 lines"
    long_functions 70 $product | verdict "functions of the product have 70 lines at most"
    long_functions 150 $tests | verdict "functions of tests have 150 lines at most"
    # Texts that are run once and not kept are counted too: that errs on the right side. Tables have one text for each lane.
    slots=$(sed -n 's/^#define BB_STATEMENT_SLOTS \([0-9]*\)u$/\1/p' lib/store.h)
    texts=$(cat lib/*.c | tr '\n' ' ' |
        grep -o -E '[=({,] *"(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)' | wc -l)
    tables=$(cat lib/*.c | grep -c -E '^static const char \*const [A-Z_]+\[(BUSBAR_LANE_COUNT)?\] = ')
    count=$((texts + 3 * tables))
    { [ "$texts" -ge 100 ] && [ $((count * 8)) -le $((slots * 7)) ] || echo "there are $count SQL texts for $slots slots"; } |
        verdict "lib has fewer SQL texts than a handle keeps statements for"
    for file in $product $tests; do
        head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file does not name its licence in its first lines"
    done | verdict "every source file names its licence"
}
finish
