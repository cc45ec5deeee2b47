# SPDX-License-Identifier: MIT
# What the tests of the source tree share. Each prints "ok - name" and "not ok - name" lines, the reasons below, and ends
# with `finish`.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

pass() { # NAME
    echo "ok - $1"
}

skip() { # NAME REASON
    echo "ok - $1 # SKIP $2"
}

# Reads the faults, one a line, from standard input; none is a pass.
verdict() { # NAME
    found=$(cat)
    if [ -z "$found" ]; then
        pass "$1"
    else
        echo "not ok - $1"
        printf '%s\n' "$found" | sed 's/^/#   /'
        : >"$work/failed" # a file, since the end of a pipe is a shell of its own
    fi
}

finish() {
    [ ! -e "$work/failed" ]
    exit
}
