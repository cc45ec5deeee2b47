/* SPDX-License-Identifier: MIT */
/*
 * The two units of identity: a boot (one run of the machine, the unit of clock) and a session (one opening of the bus that
 * publishes; ids are derived from its token). Both are written by the first publish, and trusted without a look-up only
 * after they were seen in a committed state. A token is never used for a second row: a rolled-back session gets a new one.
 */
#ifndef BB_SESSION_H
#define BB_SESSION_H

#include "identity.h"
#include "store.h"

/* How the identity of a boot begins that was made up, for want of one, for one opening. */
#define BB_BOOT_MADE_UP "opening-"

typedef struct bb_boot {
    int64_t id; /* row in busbar_boot; 0: not looked up yet */
    bool confirmed;
    char text[BUSBAR_IDENTITY_SIZE];
} bb_boot;

typedef struct bb_session {
    int64_t id; /* 0: none yet */
    bool confirmed;
    uint32_t version; /* of the data, when the row was written; 0: none */
    int64_t boot;
    int64_t mono_ms; /* events carry their offset from it */
    char token[BB_IDENTITY_TOKEN_SIZE];
} bb_session;

/*
 * Makes a token that is never made again: random bytes, and what keeps tokens apart where these are bad. BUSBAR_ERANDOM.
 */
int bb_session_token(bb_store *store, const busbar_port *port, const char *boot, uint64_t counter, uint64_t mono_us,
                     char out[BB_IDENTITY_TOKEN_SIZE]);

/* Asks the port for the boot's identity; makes one up from random bytes if it has none. BUSBAR_ERANDOM. */
int bb_boot_init(bb_boot *boot, bb_store *store, const busbar_port *port);

/* Such a boot says nothing about others: they may run at the same time. */
bool bb_boot_made_up(const char *boot);

/* Looks the boot's row up, and inserts it if it is not there. In a scope. */
int bb_boot_ensure(bb_boot *boot, bb_store *store);

/* The session's row is there, or is made anew with a new token (*out_created). In a scope. */
int bb_session_ensure(bb_session *session, bb_store *store, bb_boot *boot, const busbar_port *port, bool *out_created);

/* Sets `confirmed` of both by looking; clears what is not there. Outside any transaction. */
int bb_session_confirm(bb_session *session, bb_boot *boot, bb_store *store);

/* Reads a session by its number. BUSBAR_ENOTFOUND. */
int bb_session_load(bb_store *store, int64_t id, bb_session *out_session);

#endif
