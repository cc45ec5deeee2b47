/* SPDX-License-Identifier: MIT */
/*
 * The lease by which one worker at a time holds a consumer. The owner writes only when it takes, gives back, or answers a
 * competitor: an idle bus writes nothing. A competitor that finds work left undone writes a claim with a deadline; a living
 * owner strikes it out; after the deadline the consumer is the competitor's. Every piece of recorded work checks, in its
 * own transaction, that the owner's token still stands (the fence): a worker that was stopped past its lease records
 * nothing.
 */
#ifndef BB_LEASE_H
#define BB_LEASE_H

#include "store.h"

/* worker id, ':', 20 random characters */
#define BB_LEASE_TOKEN_SIZE (BUSBAR_IDENTITY_SIZE + 24)

typedef struct bb_lease {
    char token[BB_LEASE_TOKEN_SIZE]; /* ours */
    bool held;                       /* as last seen; the fence decides */
    uint32_t version;                /* of the data, when nobody's claim was found last; 0: not looked */
    bool claimed;                    /* we have laid a claim that we have not seen answered */
    bool unclean;            /* the worker that held it last did not give it back: something may have ended it */
    uint64_t pause_until_ms; /* no new claim before: the owner has answered the last one */
    uint64_t retry_ms;       /* when to look again after another worker was found holding it */
} bb_lease;

/* Makes the token. BUSBAR_ERANDOM. */
int bb_lease_init(bb_lease *lease, bb_store *store, const busbar_port *port);

/*
 * Tries to hold the consumer. BUSBAR_OK: held. BUSBAR_ELEASE: another worker holds it; lease->retry_ms says when to try
 * again. `wanted`: there is work, so a claim may be written. Outside any transaction.
 */
int bb_lease_acquire(bb_lease *lease, bb_store *store, const busbar_port *port, const char *boot, int64_t consumer,
                     uint32_t lease_ms, bool wanted);
/* Whether another worker has laid a claim that the owner has to strike out. Reads only. */
int bb_lease_challenged(bb_lease *lease, bb_store *store, int64_t consumer, bool *out_challenged);
/* In a transaction: BUSBAR_OK if the lease still stands (a claim is struck out), BUSBAR_ELEASE if it was lost. */
int bb_lease_fence(bb_lease *lease, bb_store *store, int64_t consumer);
/* Gives the consumer back. In a transaction. */
int bb_lease_release(bb_lease *lease, bb_store *store, int64_t consumer);
/* In a transaction: BUSBAR_ELEASE if a worker of this boot, other than a gone one, holds the consumer. */
int bb_lease_check_free(bb_store *store, const busbar_port *port, const char *boot, int64_t consumer);
/* Whether a worker of this boot, other than a gone one, holds the consumer. Reads only. BUSBAR_EREMOVED. */
int bb_lease_look(bb_store *store, const busbar_port *port, const char *boot, int64_t consumer, bool *out_held);

#endif
