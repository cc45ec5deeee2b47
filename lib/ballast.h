/* SPDX-License-Identifier: MIT */
/*
 * Ballast: a file beside the database that takes up the reserve on the storage itself, so that a disk which somebody else has
 * filled still has room for acknowledging, deleting and dropping. It is thrown off when a worker finds the disk full, and
 * taken aboard again when there is room; in between nothing is published. Reached through the database's VFS.
 */
#ifndef BB_BALLAST_H
#define BB_BALLAST_H

#include "store.h"

/* Whether it is there, all of it. */
int bb_ballast_look(bb_store *store, uint64_t size_bytes, bool *out_there);
/* Makes it, all of it or nothing. BUSBAR_EFULL. */
int bb_ballast_take(bb_store *store, uint64_t size_bytes);
/* Removes it. True: it was there. */
bool bb_ballast_throw(bb_store *store);

#endif
