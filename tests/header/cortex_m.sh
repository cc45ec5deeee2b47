#!/bin/sh
# SPDX-License-Identifier: MIT
# The core compiled for Cortex-M: from C11 and the headers of SQLite and cJSON alone, so that no header of an operating
# system is found by accident. Prints what each file takes, what a program carries that publishes, dispatches, relays and
# steps, with everything, without each part that may be left out, and without all of them, and which functions it needs from
# others; holds the goals for the size of that code.
# Usage: cortex_m.sh SOURCE-DIRECTORY FLAGS MODULES [PART=MODULES...]
#   FLAGS lead to sqlite3.h and cjson/cJSON.h. MODULES are files of lib/ that every library has, and those that a part has
#   beside them; without the part, the files of the same names in lib/without/ stand in. All as in lib/meson.build.
. "${0%/*}/lib.sh"
cd "${1:?usage: $0 SOURCE-DIRECTORY FLAGS MODULES [PART=MODULES...]}" || exit 1
flags=$2
always=$3
shift 3
optional=$(for part in "$@"; do echo "${part#*=}"; done)
tool=arm-none-eabi
cpu=cortex-m4
reduced_limit=$((48 * 1024)) # publishing, dispatch, relaying and encoding, without the parts
full_limit=$((72 * 1024))    # with all of them

command -v $tool-gcc >/dev/null 2>&1 || {
    echo "skipped: there is no $tool-gcc"
    exit 77
}

# ---- the only folders with headers: the compiler's own, the C library's, lib/include, and one with two headers in it
mkdir -p "$work/include/cjson" "$work/o"
for header in sqlite3.h cjson/cJSON.h; do
    # shellcheck disable=SC2086 # flags is a list
    found=$(echo "#include <$header>" | ${CC:-cc} $flags -E -M - | tr ' ' '\n' | grep "/$header\$")
    cp "${found:-$header}" "$work/include/$header" || exit 1
done
compiler=$(cd "$($tool-gcc -print-file-name=include)" && pwd)
libc=$(echo '#include <string.h>' | $tool-gcc -E -M - | tr ' ' '\n' | grep '/string\.h$' | head -n 1)
[ -n "$libc" ] || {
    echo "skipped: $tool-gcc has no C library (libnewlib-arm-none-eabi)"
    exit 77
}
libc=$(cd "${libc%/*}" && pwd)

compile() { # CPU FOLDER FILE...: objects, dependencies and stack figures in $work/FOLDER
    cpu_wanted=$1
    folder=$work/$2
    shift 2
    mkdir -p "$folder"
    for file in "$@"; do
        name=${file##*/}
        $tool-gcc -std=c11 -pedantic -Wall -Wextra -Werror -Os -DNDEBUG -mcpu="$cpu_wanted" -mthumb -ffunction-sections \
            -fdata-sections -fstack-usage -nostdinc -isystem "$compiler" -isystem "$libc" \
            -isystem "$work/include" -I lib/include -I lib -MD -MF "$folder/${name%.c}.d" -c "$file" -o "$folder/${name%.c}.o" 2>&1
    done
}

sizes() { # OBJECT: "code constants data bss"
    $tool-size -A "$1" | awk '
        $1 ~ /^\.text/ { code += $2 }
        $1 ~ /^\.rodata/ { constants += $2 }
        $1 ~ /^\.data/ { data += $2 }
        $1 ~ /^\.bss/ { bss += $2 }
        END { print code + 0, constants + 0, data + 0, bss + 0 }'
}

objects() { # FOLDER FILE...
    folder=$1
    shift
    for file in "$@"; do
        echo "$work/$folder/${file%.c}.o"
    done
}

# What a program carries that calls these: the linker leaves out what they do not reach.
carried() { # OBJECT...
    # shellcheck disable=SC2046 # this is a list
    $tool-ld --gc-sections --unresolved-symbols=ignore-all -e busbar_open \
        $(printf -- '-u %s ' busbar_close busbar_kind_register busbar_publish busbar_subscribe busbar_route_add busbar_step) \
        -o "$work/carried" "$@" && sizes "$work/carried"
}

# The objects of a library: with all parts but the one named, with all (-), or with none (+).
library() { # WITHOUT PART=MODULES...
    left_out=$1
    shift
    # shellcheck disable=SC2086 # these are lists
    objects o $always
    for part in "$@"; do
        folder=o
        [ "$left_out" != "${part%%=*}" ] && [ "$left_out" != + ] || folder=without
        # shellcheck disable=SC2086
        objects $folder ${part#*=}
    done
}

# The smaller processor first; the files stay there for what is looked at below.
for other in cortex-m0plus $cpu; do
    # shellcheck disable=SC2046,SC2086 # these are lists
    {
        compile $other o $(printf 'lib/%s ' $always $optional)
        compile $other without $(printf 'lib/without/%s ' $optional)
    } | verdict "compiles for $other"
    [ ! -e "$work/failed" ] || finish
    for left_out in - +; do
        # shellcheck disable=SC2046
        carried $(library $left_out "$@") >"$work/carried.$other.$left_out"
    done
done

# ---- the headers
sed 's/^[^:]*://; s/\\$//' "$work"/*/*.d | tr -s ' ' '\n' | grep '\.h$' | sort -u | while read -r header; do
    folder=$(cd "${header%/*}" && pwd)
    echo "$folder/${header##*/}"
done | sed "s|^$libc/|C library: |; s|^$compiler/|compiler: |; s|^$(pwd)/lib/|lib: |; s|^$work/include/|copied: |" |
    sort -u >"$work/headers"
grep -v -E '^(lib: (include/busbar/|without/)?[a-z0-9_]+\.h|copied: (sqlite3|cjson/cJSON)\.h|compiler: std(arg|bool|def|int)\.h)$' \
    "$work/headers" |
    grep -v -E '^C library: (assert|stdint|stdlib|string|_ansi|newlib|_newlib_version|machine/[a-z_]+)\.h$' |
    grep -v -E '^C library: sys/(_types|_intsup|_stdint|cdefs|config|features|lock|reent|string)\.h$' |
    sed 's/$/ is not of the few headers that the core may reach/' | verdict "only headers of C11, SQLite and cJSON are reached"

# ---- what others must bring
$tool-nm -u "$work"/o/*.o "$work"/without/*.o | awk '$1 == "U" { print $2 }' | grep -v '^bb_\|^busbar_' | sort -u >"$work/needs"
{
    sed -n '/define BUSBAR_SQLITE_ROUTINES/,/^#/s/[^a-z0-9_]/ /gp' lib/include/busbar/sqlite.h | tr -s ' ' '\n' | grep '^sqlite3_'
    printf '%s\n' cJSON_Delete cJSON_ParseWithLength calloc free malloc realloc \
        memchr memcmp memcpy memmove memset strchr strcmp strcspn strlen strncmp strrchr strspn
} | sort -u >"$work/may"
grep -v '^__aeabi_\|^__gnu_thumb1_case_' "$work/needs" | grep -v -x -F -f "$work/may" |
    sed 's/$/ is not of the few functions that the core may call/' | verdict "it calls memory, strings, SQLite and cJSON only"

# ---- the figures
echo "# $cpu, -Os, bytes:"
printf '# %-20s %8s %10s %6s %6s\n' file code constants data bss
for object in "$work"/o/*.o; do
    name=${object##*/}
    echo "${name%.o}.c $(sizes "$object")"
done | awk '
    { printf "# %-20s %8d %10d %6d %6d\n", $1, $2, $3, $4, $5; code += $2; constants += $3; data += $4; bss += $5 }
    END { printf "# %-20s %8d %10d %6d %6d\n", "sum", code, constants, data, bss; exit data + bss > 0 }' >"$work/table" ||
    echo "there is writable data; see the table" | verdict "no file has writable data"
cat "$work/table"
echo "# carried by a program that publishes, dispatches, relays and steps; with all parts, and with none:"
for other in cortex-m0plus $cpu; do
    for left_out in - +; do
        # shellcheck disable=SC2046 # four figures
        printf '# %-18s %s %8d %10d %6d %6d\n' "$other" $left_out $(cat "$work/carried.$other.$left_out")
    done
done
echo "# code and constants that it does not carry without one of them:"
read -r all_code all_constants rest <"$work/carried.$cpu.-"
for part in "$@"; do
    # shellcheck disable=SC2046
    carried $(library "${part%%=*}" "$@") | while read -r code constants rest; do
        printf '# %-20s %8d %10d\n' "${part%%=*}" $((all_code - code)) $((all_constants - constants))
    done
done
# What they take from the heap; a route has windows of 2 x (window + group) + 2 entries in each lane besides.
printf '#include "%s"\n' route.h subscription.h >"$work/structs.c"
cat >>"$work/structs.c" <<'EOF'
char handle[sizeof(busbar)], kind[sizeof(bb_kind)], subscription[sizeof(bb_subscription)];
char route[sizeof(bb_route)], route_entry[sizeof(bb_entry)];
EOF
echo "# heap with 32 bits:"
$tool-gcc -std=c11 -mcpu=$cpu -mthumb -isystem "$work/include" -I lib -I lib/include -c "$work/structs.c" -o "$work/structs.o" &&
    $tool-nm -S --radix=d "$work/structs.o" | awk '{ printf "# %-20s %8d\n", $4, $2 }'
echo "# largest stack frames:"
cat "$work"/o/*.su | sort -t "$(printf '\t')" -k 2,2 -r -n | head -n 5 | awk -F '[:\t]' '{ printf "# %-40s %6d\n", $4, $5 }'
echo "# needs: $(grep -v '^sqlite3_' "$work/needs" | tr '\n' ' ')"

hold() { # -|+ LIMIT NAME
    read -r code constants rest <"$work/carried.$cpu.$1"
    { [ "$code" -le "$2" ] || echo "it is $code bytes; $constants more are constants, and $rest are data and bss"; } |
        verdict "$3 below $2 bytes of code"
}
hold + $reduced_limit "without its parts the bus publishes, dispatches, relays and encodes"
hold - $full_limit "with all of them it does"
finish
