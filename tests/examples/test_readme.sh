#!/bin/sh
# SPDX-License-Identifier: MIT
# The program in README.md is the one in examples/, and prints what README.md says.
# Usage: test_readme.sh SOURCE-DIRECTORY PROGRAM
. "${0%/*}/../header/lib.sh"
source=$1
program=$(cd "${2%/*}" && pwd)/${2##*/}

awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$source/README.md" >"$work/readme.c"
diff "$source/examples/readme.c" "$work/readme.c" | verdict "README.md shows examples/readme.c as it is"

cd "$work" || exit 1
said=$("$program" door.db 2>&1) || said="exit code $?: $said"
{ [ "$said" = 'door.opened {"n":1}' ] || echo "it prints: $said"; } | verdict "it prints what README.md says"
{ grep -qF 'It prints `door.opened {"n":1}`.' "$source/README.md" || echo "it does not"; } | verdict "README.md says what it prints"
finish
