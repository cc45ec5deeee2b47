/* SPDX-License-Identifier: MIT */
/*
 * Offering one event to a route's transport: whether it is wanted, whose turn it is, how long it may live, how it is encoded.
 * Knows nothing of room, pace and lanes: route_send.c does.
 */
#ifndef BB_OFFER_H
#define BB_OFFER_H

#include "route.h"

/* Positive outcomes of offering one event. */
#define BB_OFFER_NO_ROOM  1 /* the transport takes nothing more now */
#define BB_OFFER_TOO_OLD  2 /* its time to live is over */
#define BB_OFFER_BURIED   3 /* it can never be sent: `reason` */
#define BB_OFFER_UNWANTED 4 /* the route does not want it */
#define BB_OFFER_PARKED   5 /* it waits behind another of its key, as an exception */
#define BB_OFFER_WAITS    6 /* another must be settled first: the lane stands still */
#define BB_OFFER_NOTE     7 /* it must be noted (`due`) before it is sent */

typedef struct bb_offer {
    bb_route *route;
    busbar *bus;
    uint64_t deadline_us;
    uint64_t token;       /* of the message that is in flight now */
    uint64_t key;         /* hash of the ordering key of the event in hand; 0: none */
    bb_exception_key due; /* the event to be noted */
    bool moved;           /* by one event at least: a turn gets on however short its time is */
    busbar_reason reason; /* why it can never be sent */
} bb_offer;

/* Offers the event of the log that a statement stands on. BUSBAR_OK when it is in flight, an outcome, or a code. */
int bb_offer_row(bb_offer *offer, sqlite3_stmt *stmt, busbar_lane lane);
/* Offers an event once more, from the log's columns that begin at `first`: it is wanted, and its turn was before. */
int bb_offer_again(bb_offer *offer, sqlite3_stmt *stmt, int first, busbar_lane lane);
/* Offers a record that is in no log: nothing is asked but whether it can be sent. */
int bb_offer_record(bb_offer *offer, const busbar_record *record);
/* The link and the pace allow one more message now. (route_send.c) */
bool bb_offer_link_room(const bb_offer *offer, uint64_t *out_wait_us);
/* Offers the events of all gaps that are to be told now. (route_gap.c) */
int bb_route_gap_send(bb_offer *offer, uint64_t *out_wait_us);
/* After a bad end of the last worker: an event is noted before it is sent, and not sent if it has ended too many. (route_suspect.c, also what follows) */
int bb_offer_check_noted(bb_offer *offer, const bb_exception_key *key);
/* Notes the event that is due. BB_OFFER_NO_ROOM: another route tries its own. */
int bb_route_take_note(bb_offer *offer);
/* Nothing is on its way but the message that is set aside. True: sending once more may get on. */
bool bb_route_turn_to_suspect(bb_offer *offer);
/* BB_OFFER_BURIED, with this reason. */
int bb_offer_bury(bb_offer *offer, const char *text);

#endif
