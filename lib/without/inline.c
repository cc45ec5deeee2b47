/* SPDX-License-Identifier: MIT */
/* Without inline handlers: nobody has a word in a publisher's transaction. */
#include "inline.h"

#include "absent.h"

int bb_inline_new(busbar *bus, const busbar_handler *handler, bb_inline **out_inline)
{
    (void)handler;
    (void)out_inline;
    return bb_store_fail(&bus->store, BUSBAR_ENOTSUP, BB_ABSENT("an inline handler", "inline_handlers"));
}

void bb_inline_append(bb_inline **chain, bb_inline *handlers)
{
    (void)chain;
    (void)handlers;
}

void bb_inline_free_all(bb_inline *handlers)
{
    (void)handlers;
}

bool bb_inline_named(const bb_inline *handlers, const char *name)
{
    (void)handlers;
    (void)name;
    return false;
}

int bb_inline_run(busbar *bus, busbar_lane lane, int64_t seq)
{
    (void)bus;
    (void)lane;
    (void)seq;
    return BUSBAR_OK;
}

int bb_inline_run_later(busbar *bus, busbar_lane lane, int64_t n)
{
    (void)bus;
    (void)lane;
    (void)n;
    return BUSBAR_OK;
}
