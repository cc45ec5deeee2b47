/* SPDX-License-Identifier: MIT */
#include "kind.h"

#include <stdlib.h>
#include <string.h>

#include "attribute.h"

static const char FIND[] = "SELECT id, end_normal IS NOT NULL, redact FROM main.busbar_kind"
                           " WHERE type = ?1 AND source = ?2 AND datacontenttype = ?3 AND dataschema = ?4";
static const char INSERT[] =
    "INSERT INTO main.busbar_kind (type, source, datacontenttype, dataschema, ttl_ms, redact, begin_normal,"
    " begin_urgent, begin_bulk) SELECT ?1, ?2, ?3, ?4, ?5, ?6, (SELECT coalesce(max(seq), 0) FROM"
    " main.busbar_log_normal), (SELECT coalesce(max(seq), 0) FROM main.busbar_log_urgent),"
    " (SELECT coalesce(max(seq), 0) FROM main.busbar_log_bulk)";
/* It is in use again: see collect.h. */
static const char REVIVE[] = "UPDATE main.busbar_kind SET end_normal = NULL, end_urgent = NULL, end_bulk = NULL"
                             " WHERE id = ?1";
static const char LOAD[] =
    "SELECT type, source, datacontenttype, dataschema, ttl_ms, redact FROM main.busbar_kind WHERE id = ?1";
static const char SET_TTL[] = "UPDATE main.busbar_kind SET ttl_ms = ?2 WHERE id = ?1 AND ttl_ms <> ?2";
static const char REDACT[] = "UPDATE main.busbar_kind SET redact = 1 WHERE id = ?1";

static uint32_t hash_string(uint32_t hash, const char *string)
{
    for (; string && *string; string++)
        hash = (hash ^ (uint8_t)*string) * 16777619u;
    return (hash ^ 0xffu) * 16777619u;
}

static uint32_t hash_key(const bb_kind_key *key)
{
    uint32_t hash = hash_string(2166136261u, key->type);
    hash = hash_string(hash, key->source);
    hash = hash_string(hash, key->datacontenttype);
    return hash_string(hash, key->dataschema);
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool matches(const bb_kind *kind, const bb_kind_key *key)
{
    return same(kind->type, key->type) && same(kind->source, key->source) &&
           same(kind->datacontenttype, key->datacontenttype) && same(kind->dataschema, key->dataschema);
}

static const char *copy_string(char **cursor, const char *string)
{
    if (!string)
        return NULL;
    char *copy = *cursor;
    size_t size = strlen(string) + 1;
    memcpy(copy, string, size);
    *cursor += size;
    return copy;
}

static size_t string_size(const char *string)
{
    return string ? strlen(string) + 1 : 0;
}

bb_kind *bb_kind_new(const bb_kind_key *key)
{
    size_t size = string_size(key->type) + string_size(key->source) + string_size(key->datacontenttype) +
                  string_size(key->dataschema);
    bb_kind *kind = calloc(1, sizeof *kind + size);
    if (!kind)
        return NULL;
    char *cursor = kind->strings;
    kind->type = copy_string(&cursor, key->type);
    kind->source = copy_string(&cursor, key->source);
    kind->datacontenttype = copy_string(&cursor, key->datacontenttype);
    kind->dataschema = copy_string(&cursor, key->dataschema);
    kind->json = bb_attribute_is_json(key->datacontenttype);
    kind->hash = hash_key(key);
    return kind;
}

bb_kind *bb_kinds_find(bb_kinds *kinds, const bb_kind_key *key)
{
    if (kinds->last && matches(kinds->last, key))
        return kinds->last;
    uint32_t hash = hash_key(key);
    bb_kind *kind = kinds->cache[hash % BB_KIND_CACHE_SLOTS];
    if (!kind || kind->hash != hash || !matches(kind, key))
        return NULL;
    kinds->last = kind;
    return kind;
}

void bb_kinds_keep(bb_kinds *kinds, bb_kind *kind)
{
    bb_kind **slot = &kinds->cache[kind->hash % BB_KIND_CACHE_SLOTS];
    free(*slot);
    *slot = kind;
    kinds->last = kind;
}

uint32_t bb_kinds_register(bb_kinds *kinds, bb_kind *kind)
{
    bb_kind **grown = realloc(kinds->registered, (kinds->registered_count + 1) * sizeof *grown);
    if (!grown)
        return 0;
    kinds->registered = grown;
    grown[kinds->registered_count] = kind;
    return ++kinds->registered_count;
}

bb_kind *bb_kinds_registered(bb_kinds *kinds, uint32_t slot)
{
    return slot >= 1 && slot <= kinds->registered_count ? kinds->registered[slot - 1] : NULL;
}

void bb_kinds_free(bb_kinds *kinds)
{
    for (size_t i = 0; i < BB_KIND_CACHE_SLOTS; i++)
        free(kinds->cache[i]);
    for (uint32_t i = 0; i < kinds->registered_count; i++)
        free(kinds->registered[i]);
    free(kinds->registered);
    memset(kinds, 0, sizeof *kinds);
}

static int prepare_with_strings(bb_store *store, const char *sql, const bb_kind *kind, sqlite3_stmt **out_stmt)
{
    int result = bb_store_prepare(store, sql, out_stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, *out_stmt, 1, kind->type);
    bb_bind_text(store, *out_stmt, 2, kind->source);
    bb_bind_text(store, *out_stmt, 3, kind->datacontenttype ? kind->datacontenttype : "");
    bb_bind_text(store, *out_stmt, 4, kind->dataschema ? kind->dataschema : "");
    return BUSBAR_OK;
}

/* What must be written before a stored kind is as it should be. */
typedef struct found_kind {
    bool ended; /* it may be collected unless that is taken back */
    bool shown; /* it is to be redacted, and is not */
} found_kind;

/* BB_ROW when found, BUSBAR_OK when not. */
static int find_id(bb_store *store, bb_kind *kind, found_kind *out)
{
    sqlite3_stmt *stmt;
    int result = prepare_with_strings(store, FIND, kind, &stmt);
    if (result == BUSBAR_OK)
        result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    kind->id = result == BB_ROW ? bb_column_integer(store, stmt, 0) : 0;
    out->ended = result == BB_ROW && bb_column_integer(store, stmt, 1) != 0;
    out->shown = result == BB_ROW && kind->redact && bb_column_integer(store, stmt, 2) == 0;
    bb_store_end(store, stmt);
    return result;
}

static int insert(bb_store *store, bb_kind *kind)
{
    sqlite3_stmt *stmt;
    int result = prepare_with_strings(store, INSERT, kind, &stmt);
    if (result == BUSBAR_OK) {
        bb_bind_integer(store, stmt, 5, kind->ttl_ms);
        bb_bind_integer(store, stmt, 6, kind->redact);
        result = bb_store_run(store, stmt);
    }
    if (result == BUSBAR_OK)
        kind->id = store->sql->last_insert_rowid(store->db);
    return result;
}

int bb_kind_ensure(bb_store *store, bb_kind *kind, bool *out_created)
{
    found_kind found = {.ended = false};
    int result = find_id(store, kind, &found);
    if (result < 0)
        return result;
    *out_created = result != BB_ROW || found.ended || found.shown; /* not so for certain before this is committed */
    if (result != BB_ROW)
        return insert(store, kind);
    int64_t values[] = {kind->id, kind->ttl_ms};
    result = found.ended ? bb_store_change(store, REVIVE, values, 1) : BUSBAR_OK;
    if (result == BUSBAR_OK &&
        found.shown) /* what was hidden once is never shown because somebody did not ask for it */
        result = bb_store_change(store, REDACT, values, 1);
    return result == BUSBAR_OK && kind->ttl_ms != 0 ? bb_store_change(store, SET_TTL, values, 2) : result;
}

int bb_kind_confirm(bb_store *store, bb_kind *kind)
{
    found_kind found = {.ended = false};
    int result = find_id(store, kind, &found);
    kind->confirmed = result == BB_ROW && !found.ended && !found.shown;
    return result < 0 ? result : BUSBAR_OK;
}

void bb_kinds_doubt(bb_kinds *kinds)
{
    for (size_t i = 0; i < BB_KIND_CACHE_SLOTS; i++) {
        if (kinds->cache[i])
            kinds->cache[i]->confirmed = false;
    }
    for (uint32_t i = 0; i < kinds->registered_count; i++)
        kinds->registered[i]->confirmed = false;
}

static const char *absent_if_empty(const char *text)
{
    return text && *text ? text : NULL;
}

int bb_kind_load(bb_store *store, int64_t id, bb_kind **out_kind)
{
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, LOAD, &id, 1, &stmt);
    if (result == BUSBAR_OK)
        return bb_store_fail(store, BUSBAR_ENOTFOUND, "an event names a kind that is not in busbar_kind");
    if (result < 0)
        return result;
    bb_kind_key key = {bb_column_text(store, stmt, 0), bb_column_text(store, stmt, 1),
                       absent_if_empty(bb_column_text(store, stmt, 2)),
                       absent_if_empty(bb_column_text(store, stmt, 3))};
    bool redact = bb_column_integer(store, stmt, 5) != 0;
    bb_kind *kind = key.type && key.source ? bb_kind_new(&key) : NULL;
    if (kind)
        kind->ttl_ms = bb_column_integer(store, stmt, 4);
    bb_store_end(store, stmt);
    if (!kind)
        return bb_store_fail_plain(store, BUSBAR_ENOMEM);
    kind->id = id;
    kind->redact = redact;
    *out_kind = kind;
    return BUSBAR_OK;
}
