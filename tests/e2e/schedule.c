/* SPDX-License-Identifier: MIT */
/* Random moments, by a seed. */
#include "test.h"

#include "schedule.h"

#include <poll.h>
#include <time.h>

void schedule_begin(void)
{
    const char *given = getenv("E2E_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("seed %u (E2E_SEED=%u replays it)\n", seed, seed);
    srand(seed);
}

size_t schedule_below(size_t limit)
{
    return limit > 0 ? (size_t)rand() % limit : 0;
}

void schedule_pass_below_ms(size_t limit_ms)
{
    (void)poll(NULL, 0, (int)schedule_below(limit_ms));
}

size_t schedule_size(size_t quick, size_t full)
{
    return getenv("E2E_FULL") != NULL ? full : quick;
}
