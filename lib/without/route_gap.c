/* SPDX-License-Identifier: MIT */
/* Without gap events: what was missed is counted and recorded, and told by the next library that has them. */
#include "absent.h"
#include "offer.h"

const char *bb_route_gap_refusal(void)
{
    return BB_ABSENT("a route that tells gaps (set no_gaps)", "gaps");
}

int bb_route_gap_load(bb_route *route, busbar *bus)
{
    (void)route;
    (void)bus;
    return BUSBAR_OK;
}

int bb_route_gap_send(bb_offer *offer, uint64_t *out_wait_us)
{
    (void)offer;
    (void)out_wait_us;
    return BUSBAR_OK;
}

bool bb_route_gap_settle(bb_route *route, busbar *bus, const busbar_transport_event *event)
{
    (void)route;
    (void)bus;
    (void)event;
    return false;
}

uint64_t bb_route_gap_wait_us(const bb_route *route, uint64_t now_us)
{
    (void)route;
    (void)now_us;
    return BUSBAR_FOREVER;
}

size_t bb_route_gap_count(const bb_route *route, bb_entry_state state)
{
    (void)route;
    (void)state;
    return 0;
}

bool bb_route_gap_holds(const bb_route *route, busbar *bus, busbar_lane lane)
{
    (void)route;
    (void)bus;
    (void)lane;
    return false;
}

void bb_route_gap_in_flight(const bb_route *route, bb_exception_key *out_key)
{
    (void)route;
    (void)out_key;
}

void bb_route_gap_convict(bb_route *route, busbar *bus, const bb_exception_key *key)
{
    (void)route;
    (void)bus;
    (void)key;
}

void bb_route_gap_lose(bb_route *route, busbar *bus)
{
    (void)route;
    (void)bus;
}

void bb_route_gap_clear(bb_route *route)
{
    (void)route;
}

int bb_route_gap_write(bb_route *route, busbar *bus)
{
    (void)route;
    (void)bus;
    return BUSBAR_OK;
}

void bb_route_gap_forget(bb_route *route)
{
    (void)route;
}
