#!/bin/sh
# SPDX-License-Identifier: MIT
# Counts the cases in a log of `meson test`: those of cmocka, the "ok - name" and "not ok - name" lines of scripts, and as
# one case each test that has neither. Prints which failed, which were skipped and why, and as the last line
# "N passed, N failed, N skipped". Exit code 1 if one failed or none passed.
# Usage: count.sh TESTLOG
set -eu
[ -r "${1:?usage: count.sh TESTLOG}" ] || {
    echo "count.sh: there is no $1" >&2
    exit 1
}

awk '
function case_failed(name) {
    bad++
    failures = failures "  " test ": " name "\n"
}
function case_skipped(name, why) {
    skips++
    reasons = reasons "  " test ": " name (why == "" ? "" : ": " why) "\n"
}
function end_of_test() {
    if (test == "")
        return
    if (result ~ /exit status 77/) {
        if (skips == 0)
            case_skipped("all of it", last == "" ? "it does not say why" : last)
    } else if (result !~ /exit status 0$/ && bad == 0) {
        case_failed(result) # ended by a signal, by its time limit, by a sanitizer
    } else if (ok + bad + skips == 0)
        ok = 1
    passed += ok
    failed += bad
    skipped += skips
    test = ""
}
function rest() { # of an "ok" line, without its number
    sub(/^(not )?ok *[0-9]* *(- *)?/, "")
    return $0
}

/^=+ [0-9]+\/[0-9]+ =+$/ { end_of_test(); header = 1; ok = bad = skips = 0; result = last = ""; next }
header && /^test: / { sub(/^test: */, ""); sub(/^[^:]*:/, ""); test = $0; next }
header && /^result: / { sub(/^result: */, ""); result = $0; next }
/^-+ stdout -+$/ { header = 0; errors = 0; next }
/^-+ stderr -+$/ { header = 0; errors = 1; next }
/^=+$/ { errors = 0; next }
test == "" || header { next }

# cmocka tells each case on standard output, and sums up on standard error.
errors { if (NF && last == "") last = $0; next }
/^\[ +OK \] / { ok++; last = ""; next }
/^\[ +FAILED +\] / { case_failed($4); last = ""; next }
/^\[ +SKIPPED +\] / { case_skipped($4, last); last = ""; next }
/^\[ +RUN +\] / || /^\[=+\] / { last = ""; next }

/^ok .*# *[Ss][Kk][Ii][Pp]/ { case_skipped(rest()); next }
/^1\.\.0 # *SKIP/ { sub(/^.*SKIP */, ""); last = $0; next }
/^ok / { ok++; next }
/^not ok / { case_failed(rest()); next }
NF { last = $0 }

END {
    end_of_test()
    if (failures != "")
        printf "Failed:\n%s", failures
    if (reasons != "")
        printf "Skipped:\n%s", reasons
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0 || passed == 0
}' "$1"
