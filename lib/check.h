/* SPDX-License-Identifier: MIT */
/* The questions of busbar_check: what must not be in the database, as SQL that finds it. Data only. */
#ifndef BB_CHECK_H
#define BB_CHECK_H

#include <stddef.h>

/* Each row of the answer is a finding: its first column says in words what is wrong. */
typedef struct bb_check_question {
    const char *part; /* as in busbar_finding */
    const char *sql;
    const char *advice;
} bb_check_question;

/* SQLite's own: "ok", or a row for each thing it finds; it looks on after that, up to a bound. */
extern const bb_check_question bb_check_pages;

/* Asked before the rest: if one of them cannot even be prepared, a table is missing or of another shape. */
extern const bb_check_question bb_check_shapes[];
extern const size_t bb_check_shape_count;

extern const bb_check_question bb_check_questions[];
extern const size_t bb_check_question_count;

#endif
