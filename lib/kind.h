/* SPDX-License-Identifier: MIT */
/*
 * Kinds: what repeats from event to event (type, source, datacontenttype, dataschema), stored once and named by a number.
 *
 * The cache of the write path must never trust a number that a rollback could take back: another process may give it to
 * another kind. A cached number is therefore used without a look-up only when it is `confirmed`: seen in a committed state.
 */
#ifndef BB_KIND_H
#define BB_KIND_H

#include "store.h"

#define BB_KIND_CACHE_SLOTS 64u

typedef struct bb_kind {
    int64_t id; /* 0: not looked up yet */
    bool confirmed;
    uint32_t version; /* of the data, when it was first written or found unconfirmed; 0: none */
    bool json;        /* data of this kind is JSON text */
    int64_t ttl_ms;   /* of its events; 0: none is stored, or (while registering) what is stored stays */
    bool redact;      /* read: data is not to be shown; on the write path: the row must say so */
    uint32_t hash;
    const char *type;
    const char *source;
    const char *datacontenttype; /* NULL: not given */
    const char *dataschema;      /* NULL: not given */
    char strings[];
} bb_kind;

/* What a publisher names a kind by. `source` is set. */
typedef struct bb_kind_key {
    const char *type;
    const char *source;
    const char *datacontenttype;
    const char *dataschema;
} bb_kind_key;

typedef struct bb_kinds {
    bb_kind *last; /* the one used last, in one of the two below */
    bb_kind *cache[BB_KIND_CACHE_SLOTS];
    bb_kind **registered; /* by slot - 1 */
    uint32_t registered_count;
} bb_kinds;

/* A kind object with copies of the strings; free() it. NULL: out of memory. */
bb_kind *bb_kind_new(const bb_kind_key *key);

/* The cached kind of this key, or NULL. */
bb_kind *bb_kinds_find(bb_kinds *kinds, const bb_kind_key *key);
/* Takes ownership of `kind` into the cache. */
void bb_kinds_keep(bb_kinds *kinds, bb_kind *kind);
/* Takes ownership of `kind` for good. Returns its slot (from 1), or 0: out of memory, nothing taken. */
uint32_t bb_kinds_register(bb_kinds *kinds, bb_kind *kind);
/* NULL: no such slot. */
bb_kind *bb_kinds_registered(bb_kinds *kinds, uint32_t slot);
/* Every number is looked up again: without a session of this handle, they may have been collected. */
void bb_kinds_doubt(bb_kinds *kinds);
void bb_kinds_free(bb_kinds *kinds);

/*
 * Looks the kind's number up by its strings, inserts it if it is not there, marks it as redacted if it is to be, and stores
 * ttl_ms if that is not 0. *out_created: something was written that must be committed first. In a scope.
 */
int bb_kind_ensure(bb_store *store, bb_kind *kind, bool *out_created);
/* Looks up without inserting: sets id and confirmed, which a missing row clears. Outside any transaction. */
int bb_kind_confirm(bb_store *store, bb_kind *kind);
/* Reads a kind by its number. BUSBAR_ENOTFOUND if there is none. free() the result. */
int bb_kind_load(bb_store *store, int64_t id, bb_kind **out_kind);

#endif
