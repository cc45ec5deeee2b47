#!/bin/sh
# SPDX-License-Identifier: MIT
# Every public header compiles alone, and twice, as pedantic C11 and as C++17, with gcc and clang.
# Usage: headers.sh "FLAGS" HEADER...   (HEADER as it is included: busbar/busbar.h)
. "${0%/*}/lib.sh"
flags=$1
shift

compiles() { # COMPILER LANGUAGE STANDARD HEADER
    name="$4 alone as $3 with $1"
    if ! command -v "$1" >/dev/null 2>&1; then
        skip "$name" "there is no $1"
        return
    fi
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$4" "$4" >"$work/alone"
    # shellcheck disable=SC2086 # flags is a list
    "$1" -x "$2" -std="$3" -pedantic-errors -Wall -Wextra -Wshadow -Wundef -Werror $flags -fsyntax-only "$work/alone" \
        2>&1 | verdict "$name"
}

for header in "$@"; do
    compiles gcc c c11 "$header"
    compiles clang c c11 "$header"
    compiles g++ c++ c++17 "$header"
    compiles clang++ c++ c++17 "$header"
done
finish
