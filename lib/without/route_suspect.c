/* SPDX-License-Identifier: MIT */
/* Without suspicion: a message that ends connections, or the process, is sent again each time. */
#include "offer.h"

bool bb_route_suspects(const bb_route *route)
{
    (void)route;
    return false;
}

bool bb_route_set_aside(const bb_route *route, const bb_exception_key *key)
{
    (void)route;
    (void)key;
    return false;
}

void bb_route_answered(bb_route *route, busbar *bus, const bb_exception_key *key)
{
    (void)route;
    (void)bus;
    (void)key;
}

void bb_route_lost(bb_route *route)
{
    (void)route;
}

int bb_route_withdraw_if_back(bb_route *route, busbar *bus)
{
    (void)route;
    (void)bus;
    return BUSBAR_OK;
}

int bb_offer_check_noted(bb_offer *offer, const bb_exception_key *key)
{
    (void)offer;
    (void)key;
    return BUSBAR_OK;
}

int bb_route_take_note(bb_offer *offer)
{
    (void)offer;
    return BUSBAR_OK;
}

bool bb_route_turn_to_suspect(bb_offer *offer)
{
    (void)offer;
    return false;
}
