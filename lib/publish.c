/* SPDX-License-Identifier: MIT */
/*
 * The write path. A known kind costs one INSERT; what is not yet seen in a committed state (tables, session, kind) is looked
 * up each time, in one scope with the event, so that a rollback can leave no half of it behind.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "attribute.h"
#include "backoff.h"
#include "bound.h"
#include "clock.h"
#include "collect.h"
#include "extension.h"
#include "given.h"
#include "handle.h"
#include "inline.h"
#include "json.h"
#include "later.h"
#include "log.h"
#include "postpone.h"
#include "publish.h"
#include "schema.h"

/* A publisher looks at the wall clock so often. */
#define CLOCK_PAUSE_MS INT64_C(60000)
#define LOOK_PAUSE_MS  INT64_C(1000) /* between two looks whether the database file is still in its place */

#define GIVEN_PRUNED 64u /* ids that go when a session begins, where no worker does that */
#define GIVEN_CHUNK  16u /* and as many with every so many that are given */

typedef struct publication {
    const busbar_event *event;
    bb_kind *kind;
    bb_log_row row;
    char retry[BB_BACKOFF_TEXT_SIZE];
    size_t size_bytes; /* counted for the limits of options; 0: nobody asks */
    bool ask;          /* whether there is room */
} publication;

/* ---- Checks ---- */

static int check_json(busbar *bus, const busbar_event *event)
{
    size_t offset = 0;
    if (bb_json_valid(event->data, event->data_size_bytes, &offset))
        return BUSBAR_OK;
    char text[BUSBAR_DETAIL_SIZE];
    bb_text detail = bb_text_on(text, sizeof text);
    bb_text_add(&detail, "data is not valid JSON at byte ");
    bb_text_add_int(&detail, (int64_t)offset);
    bb_text_add(&detail, ": mend it, or give a datacontenttype that is not JSON");
    (void)bb_store_fail(&bus->store, BUSBAR_EJSON, text);
    bus->store.error.offset = offset;
    return BUSBAR_EJSON;
}

static int check_data(busbar *bus, const busbar_event *event, bool json)
{
    if (!event->data && event->data_size_bytes > 0)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "data is NULL but data_size_bytes is not 0");
    if (event->data_size_bytes > bus->options.max_data_bytes) {
        char text[BUSBAR_DETAIL_SIZE];
        bb_text detail = bb_text_on(text, sizeof text);
        bb_text_add(&detail, "data has ");
        bb_text_add_int(&detail, (int64_t)event->data_size_bytes);
        bb_text_add(&detail, " bytes and this bus takes ");
        bb_text_add_int(&detail, (int64_t)bus->options.max_data_bytes);
        bb_text_add(&detail, ": raise max_data_bytes, or send a reference");
        return bb_store_fail(&bus->store, BUSBAR_EDATASIZE, text);
    }
    return event->data && json ? check_json(bus, event) : BUSBAR_OK;
}

static int check_optional(int (*check)(const char *), const char *value)
{
    return value ? check(value) : BUSBAR_OK;
}

static bool ttl_valid(uint64_t ttl_ms)
{
    return ttl_ms <= INT64_MAX || ttl_ms == BUSBAR_FOREVER;
}

static bool scheduled(const busbar_event *event)
{
    return event->delay_ms != 0 || event->not_before_ms != 0;
}

static int check_fields(busbar *bus, const busbar_event *event)
{
    if ((unsigned)event->lane >= BUSBAR_LANE_COUNT)
        return bb_store_fail_plain(&bus->store, BUSBAR_ELANE);
    if (!ttl_valid(event->ttl_ms))
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "ttl_ms is out of range");
    int result = scheduled(event) ? bb_postpone_check(bus, event) : BUSBAR_OK;
    if (result < 0)
        return result;
    result = check_optional(bb_attribute_subject_check, event->subject);
    if (result == BUSBAR_OK)
        result = check_optional(bb_attribute_key_check, event->key);
    if (result == BUSBAR_OK)
        result = check_optional(bb_attribute_id_check, event->id);
    if (result == BUSBAR_OK)
        result = check_optional(bb_attribute_time_check, event->time);
    if (result == BUSBAR_OK && event->retry)
        result = bb_backoff_check(event->retry);
    return result < 0 ? bb_store_fail_plain(&bus->store, result) : BUSBAR_OK;
}

static int check_kind(busbar *bus, const bb_kind_key *key)
{
    int result = key->type ? bb_attribute_type_check(key->type) : BUSBAR_ETYPE;
    if (result == BUSBAR_OK)
        result = bb_attribute_source_check(key->source);
    if (result == BUSBAR_OK)
        result = check_optional(bb_attribute_content_type_check, key->datacontenttype);
    if (result == BUSBAR_OK)
        result = check_optional(bb_attribute_dataschema_check, key->dataschema);
    return result < 0 ? bb_store_fail_plain(&bus->store, result) : BUSBAR_OK;
}

/* ---- Kinds ---- */

static int new_kind(busbar *bus, const bb_kind_key *key, bb_kind **out_kind)
{
    int result = check_kind(bus, key);
    if (result < 0)
        return result;
    *out_kind = bb_kind_new(key);
    return *out_kind ? BUSBAR_OK : bb_store_fail_plain(&bus->store, BUSBAR_ENOMEM);
}

static int find_kind(busbar *bus, const busbar_event *event, bb_kind **out_kind)
{
    if (event->kind.slot != 0) {
        *out_kind = bb_kinds_registered(&bus->kinds, event->kind.slot);
        return *out_kind ? BUSBAR_OK : bb_store_fail(&bus->store, BUSBAR_EINVAL, "event.kind is not of this handle");
    }
    if (!event->type)
        return bb_store_fail(&bus->store, BUSBAR_ETYPE, "the event has no type");
    bb_kind_key key = {event->type, event->source ? event->source : bus->source, event->datacontenttype,
                       event->dataschema};
    *out_kind = bb_kinds_find(&bus->kinds, &key);
    if (*out_kind)
        return BUSBAR_OK;
    int result = new_kind(bus, &key, out_kind);
    if (result == BUSBAR_OK)
        bb_kinds_keep(&bus->kinds, *out_kind);
    return result;
}

/* ---- Writing ---- */

static bool session_ready(const busbar *bus)
{
    return bus->schema_confirmed && bus->session.confirmed;
}

static void observe(const busbar *bus, const publication *p, int64_t seq)
{
    busbar_observation seen = {
        .size = sizeof seen,
        .what = BUSBAR_OBSERVED_PUBLISHED,
        .lane = (int)p->event->lane,
        .seq = seq,
        .type = p->kind->type,
    };
    bb_handle_observe(bus, &seen);
}

/* Gives the monotonic time. */
static uint64_t fill_identity(busbar *bus, publication *p)
{
    uint64_t now_us = bus->port->mono_us(bus->port->ctx);
    p->row.kind = p->kind->id;
    p->row.session = bus->session.id;
    p->row.at_ms = (int64_t)(now_us / 1000) - bus->session.mono_ms;
    return now_us;
}

static int append(busbar *bus, publication *p, busbar_id *out_id)
{
    const busbar_event *event = p->event;
    (void)fill_identity(bus, p);
    int64_t seq = 0;
    int result = bb_log_append(&bus->store, event->lane, &p->row, &seq);
    if (result < 0)
        return result;
    observe(bus, p, seq);
    if (!out_id)
        return BUSBAR_OK;
    out_id->lane = event->lane;
    out_id->seq = seq;
    bb_text text = bb_text_on(out_id->text, sizeof out_id->text);
    if (event->id)
        bb_text_add(&text, event->id);
    else
        bb_identity_format(bus->session.token, event->lane, seq, &text);
    return BUSBAR_OK;
}

/*
 * Whether a row that was just looked up is certainly committed: it was there in a committed state, or it was there before
 * the last commit. *version keeps under which state of the data it was first seen.
 */
static bool settled(busbar *bus, bool created, bool committed_view, uint32_t *version)
{
    uint32_t now = bb_store_data_version(&bus->store);
    if (!created && (committed_view || (*version != 0 && now != 0 && now != *version)))
        return true;
    if (created || *version == 0)
        *version = now;
    return false;
}

/* A new session clears up after old ones. */
static int ensure_session(busbar *bus, bool *out_created)
{
    int result = bb_session_ensure(&bus->session, &bus->store, &bus->boot, bus->port, out_created);
    if (result < 0 || !*out_created)
        return result;
    bb_kinds_doubt(&bus->kinds);
    result = bb_collect_step(&bus->store, bus->port, &bus->session, &bus->boot);
    return result == BUSBAR_OK ? bb_given_prune(&bus->store, bus->options.keep_ids, GIVEN_PRUNED) : result;
}

/*
 * Everything that a publish needs beside the event is there. With `committed_view` the look-ups see only committed rows:
 * what was there before is confirmed. The publisher never reads before it writes in the caller's transaction, so that it
 * cannot make a snapshot stale that the caller's own write would not have.
 */
static int ensure_identity(busbar *bus, bb_kind *kind, bool committed_view)
{
    int result = bb_handle_ensure_schema(bus);
    bool session_created = false;
    if (result == BUSBAR_OK)
        result = ensure_session(bus, &session_created);
    if (result == BUSBAR_OK && !bus->session.confirmed)
        result = bb_clock_note(&bus->store, bus->port, bus->session.boot);
    if (result < 0)
        return result;
    if (!bus->session.confirmed)
        bus->session.confirmed = settled(bus, session_created, committed_view, &bus->session.version);
    bus->schema_confirmed = bus->schema_confirmed || bus->session.confirmed; /* its table is committed, too */
    if (!kind || kind->confirmed)
        return BUSBAR_OK;
    bool created = false;
    result = bb_kind_ensure(&bus->store, kind, &created);
    if (result == BUSBAR_OK)
        kind->confirmed = settled(bus, created, committed_view, &kind->version);
    return result;
}

static int put_off(busbar *bus, publication *p, busbar_id *out_id)
{
    uint64_t now_us = fill_identity(bus, p);
    int64_t n = 0;
    int result = bb_postpone(bus, p->event, &p->row, now_us, &n, out_id);
    if (result < 0)
        return result;
    observe(bus, p, 0);
    return bus->inlines ? bb_inline_run_later(bus, p->event->lane, n) : BUSBAR_OK;
}

/* BUSBAR_DUPLICATE with *out_id filled, or BUSBAR_OK. */
static int find_duplicate(busbar *bus, const publication *p, busbar_id *out_id)
{
    busbar_id first = {.seq = 0};
    int result = bb_given_find(&bus->store, p->event->id, p->kind->source, &first.lane, &first.seq);
    if (result == BUSBAR_OK)
        result = bb_later_find(&bus->store, p->event->id, p->kind->source, &first.lane);
    if (result != BB_ROW)
        return result;
    bb_text_copy(first.text, sizeof first.text, p->event->id);
    *out_id = first;
    return BUSBAR_DUPLICATE;
}

static int remember_id(busbar *bus, const publication *p, const busbar_id *id)
{
    int result = bb_given_add(&bus->store, p->event->id, p->kind->source, id->lane, id->seq);
    if (result < 0 || ++bus->ids_given % GIVEN_CHUNK != 0)
        return result;
    return bb_given_prune(&bus->store, bus->options.keep_ids, 2 * GIVEN_CHUNK);
}

static int write_all(busbar *bus, publication *p, bool committed_view, busbar_id *out_id)
{
    int result = ensure_identity(bus, p->kind, committed_view);
    if (result == BUSBAR_OK && p->event->id)
        result = find_duplicate(bus, p, out_id);
    if (result != BUSBAR_OK)
        return result;
    if (p->ask)
        result = bb_bound_admit(bus, p->event->lane, p->size_bytes);
    if (result < 0)
        return result;
    if (scheduled(p->event))
        return put_off(bus, p, out_id);
    result = append(bus, p, out_id);
    if (result == BUSBAR_OK && p->ask)
        result = bb_bound_trim(bus, p->event->lane);
    if (result == BUSBAR_OK && p->event->id)
        result = remember_id(bus, p, out_id);
    if (result == BUSBAR_OK && bus->inlines)
        result = bb_inline_run(bus, out_id->lane, out_id->seq);
    return result;
}

/* A commit of our own made everything final. */
static void confirm_all(busbar *bus, bb_kind *kind)
{
    bus->schema_confirmed = true;
    bus->session.confirmed = bus->session.id != 0;
    if (kind)
        kind->confirmed = kind->id != 0;
}

/* Opens the scope, and says whether look-ups in it see committed rows only. */
static int enter(busbar *bus, bb_scope *out_scope, bool *out_committed_view)
{
    bool writing = bb_store_in_transaction(&bus->store) && bb_store_writing(&bus->store);
    int result = bb_store_enter(&bus->store, out_scope);
    if (result < 0)
        return result;
    *out_committed_view = !writing;
    if (!out_scope->own && !writing && bus->schema_confirmed) {
        result = bb_store_take_write_lock(&bus->store);
        if (result < 0)
            return bb_store_leave(&bus->store, out_scope, result);
    }
    return BUSBAR_OK;
}

static int publish_in_scope(busbar *bus, publication *p, busbar_id *out_id)
{
    bb_scope scope;
    bool committed_view = false;
    int result = enter(bus, &scope, &committed_view);
    if (result < 0)
        return result;
    busbar_id id = {.seq = 0};
    result = bb_bound_leave(bus, &scope, write_all(bus, p, committed_view, &id));
    if (result >= 0 && scope.own) /* what inline handlers publish may have taken the kind's place */
        confirm_all(bus, bus->inlines ? NULL : p->kind);
    if (result >= 0 && out_id)
        *out_id = id;
    return result;
}

static int write_extensions(busbar *bus, const busbar_event *event, const char **out_extensions)
{
    *out_extensions = NULL;
    if (event->extension_count == 0 && !event->time)
        return BUSBAR_OK;
    if (event->extension_count > 0 && !event->extensions)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "extensions is NULL but extension_count is not 0");
    for (;;) {
        bb_text text = bb_text_on(bus->extensions.bytes, bus->extensions.capacity);
        int result = bb_extension_write(event->time, event->extensions, event->extension_count, &text);
        if (result < 0)
            return bb_store_fail_plain(&bus->store, result);
        *out_extensions = bus->extensions.bytes;
        if (bb_text_fits(&text))
            return BUSBAR_OK;
        if (bb_buffer_reserve(&bus->extensions, text.length + 1) < 0)
            return bb_store_fail_plain(&bus->store, BUSBAR_ENOMEM);
    }
}

static const char *write_retry(publication *p)
{
    bb_text text = bb_text_on(p->retry, sizeof p->retry);
    bb_backoff_write(p->event->retry, &text);
    assert(bb_text_fits(&text));
    return p->retry;
}

static int64_t stored_ttl(uint64_t ttl_ms)
{
    return ttl_ms > INT64_MAX ? INT64_MAX : (int64_t)ttl_ms;
}

/* `extensions`: written already, or NULL for those that the event names. */
static int prepare(busbar *bus, const busbar_event *event, const char *extensions, publication *p)
{
    p->event = event;
    int result = find_kind(bus, event, &p->kind);
    assert(result < 0 || p->kind);
    if (result == BUSBAR_OK)
        result = check_fields(bus, event);
    if (result == BUSBAR_OK)
        result = check_data(bus, event, p->kind->json && !event->binary);
    if (result == BUSBAR_OK && !extensions)
        result = write_extensions(bus, event, &extensions);
    if (result < 0)
        return result;
    p->row = (bb_log_row){
        .id = event->id,
        .subject = event->subject,
        .key = event->key,
        .extensions = extensions,
        .ttl_ms = stored_ttl(event->ttl_ms),
        .retry = event->retry ? write_retry(p) : NULL,
        .data = event->data,
        .data_size_bytes = event->data_size_bytes,
        .data_is_text = p->kind->json && !event->binary,
    };
    return BUSBAR_OK;
}

/* Nothing has to be looked up, remembered or asked: one INSERT will do. */
static bool plain(const busbar *bus, const publication *p)
{
    return session_ready(bus) && p->kind->confirmed && !p->event->id && !p->event->retry && !bus->inlines && !p->ask &&
           !scheduled(p->event);
}

/*
 * Where no worker steps, a publisher notes that the clock has become known or was stepped: rarely, and after the event, which
 * does not fail with it. Only what ended the caller's transaction is told.
 */
static int note_clock(busbar *bus, const publication *p, bool in_transaction)
{
    bb_scope scope;
    int64_t now_ms = bus->session.mono_ms + p->row.at_ms;
    bb_clock_watch watch = bus->clock;
    if (now_ms >= bus->look_ms) { /* what is found counts for the next event: this one is written */
        bus->look_ms = now_ms + LOOK_PAUSE_MS;
        bb_store_look_moved(&bus->store);
    }
    if (now_ms < bus->clock.ask_ms)
        return BUSBAR_OK;
    bus->clock.ask_ms = now_ms + CLOCK_PAUSE_MS;
    if (!bb_clock_due(&watch, bus->port, now_ms))
        return BUSBAR_OK;
    int result = bb_store_enter(&bus->store, &scope);
    if (result == BUSBAR_OK)
        result = bb_store_leave(&bus->store, &scope, bb_clock_note(&bus->store, bus->port, bus->session.boot));
    if (result == BUSBAR_OK && scope.own)
        (void)bb_clock_look(&bus->clock, &bus->store, bus->session.boot);
    result = in_transaction ? bb_store_check_rollback(&bus->store, result) : BUSBAR_OK;
    return result == BUSBAR_EROLLEDBACK ? result : BUSBAR_OK;
}

static int publish(busbar *bus, const busbar_event *event, const char *extensions, busbar_id *out_id)
{
    publication p = {.kind = NULL};
    int result = prepare(bus, event, extensions, &p);
    if (result == BUSBAR_OK)
        result = bb_store_check_moved(&bus->store);
    if (result == BUSBAR_OK)
        result = bb_store_mend(&bus->store);
    if (result < 0)
        return result;
    if (bus->bound.active)
        p.ask = bb_bound_spent(bus, p.event->lane, &p.row, &p.size_bytes);
    bool in_transaction = bb_store_in_transaction(&bus->store);
    do
        result = plain(bus, &p) ? append(bus, &p, out_id) : publish_in_scope(bus, &p, out_id);
    while (result == BUSBAR_EBUSFULL && !in_transaction && bb_bound_cut_wal(bus));
    if (result == BUSBAR_OK)
        result = note_clock(bus, &p, in_transaction);
    return in_transaction ? bb_store_check_rollback(&bus->store, result) : result;
}

int bb_publish_extended(busbar *bus, const busbar_event *event, const char *extensions)
{
    return publish(bus, event, extensions, NULL);
}

int busbar_publish(busbar *bus, const busbar_event *event, busbar_id *out_id)
{
    if (!bus || !event || event->size != sizeof *event)
        return bus ? bb_store_fail(&bus->store, BUSBAR_EINVAL, "event is NULL, or its size is not sizeof(busbar_event)")
                   : BUSBAR_EINVAL;
    if (bus->options.require_transaction && !bb_store_in_transaction(&bus->store))
        return bb_store_fail(&bus->store, BUSBAR_ENOTXN,
                             "this bus publishes only inside a transaction, and none is open: BEGIN one first");
    return publish(bus, event, NULL, out_id);
}

/* ---- Registering ---- */

static int store_kind(busbar *bus, bb_kind *kind)
{
    bb_store *store = &bus->store;
    bb_scope scope;
    bool committed_view = false;
    int result = enter(bus, &scope, &committed_view);
    if (result < 0)
        return result;
    result = bb_store_leave(store, &scope, ensure_identity(bus, kind, committed_view));
    if (result >= 0 && scope.own)
        confirm_all(bus, kind);
    return result;
}

int busbar_kind_register(busbar *bus, const busbar_kind_desc *desc, busbar_kind *out_kind)
{
    if (!bus)
        return BUSBAR_EINVAL;
    if (!desc || desc->size != sizeof *desc || !out_kind)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "desc or out_kind is NULL, or desc->size is wrong");
    if (!ttl_valid(desc->ttl_ms))
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "ttl_ms is out of range");
    bb_kind_key key = {desc->type, desc->source ? desc->source : bus->source, desc->datacontenttype, desc->dataschema};
    bb_kind *kind = NULL;
    int result = bb_store_mend(&bus->store);
    if (result == BUSBAR_OK)
        result = new_kind(bus, &key, &kind);
    if (result == BUSBAR_OK) {
        kind->ttl_ms = stored_ttl(desc->ttl_ms);
        kind->redact = desc->redact;
        result = store_kind(bus, kind);
    }
    uint32_t slot = result == BUSBAR_OK ? bb_kinds_register(&bus->kinds, kind) : 0;
    if (slot == 0) {
        free(kind);
        return result < 0 ? result : bb_store_fail_plain(&bus->store, BUSBAR_ENOMEM);
    }
    out_kind->slot = slot;
    return BUSBAR_OK;
}

/* ---- Confirming ---- */

static int confirm_kind(busbar *bus, bb_kind *kind)
{
    return kind && kind->id != 0 && !kind->confirmed ? bb_kind_confirm(&bus->store, kind) : BUSBAR_OK;
}

int bb_publish_confirm(busbar *bus)
{
    assert(!bb_store_in_transaction(&bus->store));
    int result = BUSBAR_OK;
    if (bus->session.id != 0 && !bus->session.confirmed)
        result = bb_session_confirm(&bus->session, &bus->boot, &bus->store);
    for (size_t i = 0; result == BUSBAR_OK && i < BB_KIND_CACHE_SLOTS; i++)
        result = confirm_kind(bus, bus->kinds.cache[i]);
    for (uint32_t i = 0; result == BUSBAR_OK && i < bus->kinds.registered_count; i++)
        result = confirm_kind(bus, bus->kinds.registered[i]);
    return result;
}
