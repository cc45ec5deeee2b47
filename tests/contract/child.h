/* SPDX-License-Identifier: MIT */
/* Running a piece of a test in a process of its own, because it gives up rights that the test goes on to need. */
#ifndef CHILD_H
#define CHILD_H

#include <stdbool.h>

/* What such a piece returns; it must use no cmocka function. */
typedef enum child_result { CHILD_PASSED = 0, CHILD_FAILED = 1, CHILD_SKIPPED = 77 } child_result;
typedef child_result child_fn(const void *ctx);

/* In a piece: fails it, telling where, unless `condition` holds. */
#define CHILD_REQUIRE(condition)                                                                                       \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return child_fail(__FILE__, __LINE__, #condition);                                                         \
    } while (false)

/* Runs it; fails or skips the calling test with it. */
void child_run(child_fn *fn, const void *ctx);
child_result child_fail(const char *file, int line, const char *condition);

/* From now on this process has the rights of an ordinary user. False if that cannot be had. */
bool child_drop_rights(void);

#endif
