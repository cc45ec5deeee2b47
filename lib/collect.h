/* SPDX-License-Identifier: MIT */
/*
 * Collection: sessions, kinds, boots and clock fixes that nothing refers to any more are deleted, in bounded steps, when a
 * session begins: whoever makes new rows clears up old ones, so that no worker is needed.
 *
 * A session is ended when its handle was closed, or its process or its machine's run certainly is over. What was then the head of a lane is noted: all its
 * events lie between the heads at its beginning and at its end, and once retention has passed these, no event is of it.
 * The same holds for kinds, which any live publisher may have at hand: they are touched only while no other session lives.
 */
#ifndef BB_COLLECT_H
#define BB_COLLECT_H

#include "session.h"

/* One step. In the scope that has made `session`. */
int bb_collect_step(bb_store *store, const busbar_port *port, const bb_session *session, const bb_boot *boot);
/* The session is over, and says so by itself: its process may live on. In a scope. */
int bb_collect_end(bb_store *store, const bb_session *session);
/* At most so many sessions that are known to be over, and have no event any more, whoever is next. *out_count: how many. */
int bb_collect_some(bb_store *store, int64_t count_max, int64_t *out_count);

#endif
