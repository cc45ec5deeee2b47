/* SPDX-License-Identifier: MIT */
#include "inline.h"

#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "later.h"
#include "log.h"
#include "pattern.h"
#include "record.h"
#include "text.h"

/* Inline handlers may publish, and so run inline handlers: but not for ever. */
#define DEPTH_MAX 4

struct bb_inline {
    bb_inline *next;
    busbar_handler_fn *fn;
    void *ctx;
    uint32_t lanes; /* 0: all */
    bb_filter *filter;
    char name[BUSBAR_NAME_MAX + 1];
    char pattern[BUSBAR_PATTERN_MAX + 1];
};

static void free_one(bb_inline *handler)
{
    bb_filter_free(handler->filter);
    free(handler);
}

int bb_inline_new(busbar *bus, const busbar_handler *handler, bb_inline **out_inline)
{
    bb_inline *made = calloc(1, sizeof *made);
    int result = made ? bb_filter_copy(handler->filter, &made->filter) : BUSBAR_ENOMEM;
    if (result < 0) {
        free(made);
        return bb_store_fail_plain(&bus->store, result);
    }
    made->fn = handler->fn;
    made->ctx = handler->ctx;
    made->lanes = handler->lanes;
    bb_text_copy(made->name, sizeof made->name, handler->name);
    bb_text_copy(made->pattern, sizeof made->pattern, handler->pattern ? handler->pattern : "#");
    *out_inline = made;
    return BUSBAR_OK;
}

void bb_inline_append(bb_inline **chain, bb_inline *handlers)
{
    while (*chain)
        chain = &(*chain)->next;
    *chain = handlers;
}

void bb_inline_free_all(bb_inline *handlers)
{
    while (handlers) {
        bb_inline *next = handlers->next;
        free_one(handlers);
        handlers = next;
    }
}

bool bb_inline_named(const bb_inline *handlers, const char *name)
{
    while (handlers && strcmp(handlers->name, name) != 0)
        handlers = handlers->next;
    return handlers != NULL;
}

/* ---- Running ---- */

static bool wants(const bb_inline *handler, const busbar_record *record)
{
    bool lane = handler->lanes == BUSBAR_LANES_ALL || (handler->lanes & (1u << (unsigned)record->lane)) != 0;
    return lane && bb_pattern_match(handler->pattern, record->type) && bb_filter_match(handler->filter, record);
}

static int refuse(busbar *bus, const bb_inline *handler, const busbar_reason *reason)
{
    char text[BUSBAR_DETAIL_SIZE];
    bb_text detail = bb_text_on(text, sizeof text);
    bb_text_add(&detail, "inline handler \"");
    bb_text_add(&detail, handler->name);
    bb_text_add(&detail, "\" refused the event: ");
    bb_text_add(&detail, reason->text[0] ? reason->text : "it gave no reason");
    return bb_store_fail(&bus->store, BUSBAR_EREFUSED, text);
}

static int call(busbar *bus, const bb_inline *handler, const busbar_record *record)
{
    busbar_reason reason = {.code = 0};
    bool was_in_handler = bus->in_handler;
    bus->in_handler = true;
    busbar_verdict verdict = handler->fn(bus, record, &reason, handler->ctx);
    bus->in_handler = was_in_handler;
    if (!bb_store_in_transaction(&bus->store)) /* done is done: whether the event exists is for it to know */
        return bb_store_fail(
            &bus->store, BUSBAR_EMISUSE,
            "an inline handler ended the publisher's transaction with a COMMIT or ROLLBACK of its own: "
            "remove that from it");
    reason.text[BUSBAR_REASON_SIZE - 1] = '\0';
    return verdict == BUSBAR_DONE ? BUSBAR_OK : refuse(bus, handler, &reason);
}

/* Where the event was stored: in the log, or (`later` is not 0) among those that are not due yet. */
typedef struct place {
    busbar_lane lane;
    int64_t seq;
    int64_t later;
} place;

/* The event as it was stored, in memory of its own: handlers may publish, and nothing of theirs may change it. */
static int read_back(busbar *bus, bb_reader *reader, const place *at, bb_buffer *buffer, busbar_record *out_record)
{
    sqlite3_stmt *stmt;
    busbar_record record;
    int result = at->later != 0 ? bb_later_read(&bus->store, at->later, &stmt)
                                : bb_log_read_next(&bus->store, at->lane, at->seq - 1, &stmt);
    if (result != BB_ROW)
        return result < 0 ? result : bb_store_fail(&bus->store, BUSBAR_ENOTFOUND, "the event is not in the log");
    result = bb_reader_record(reader, stmt, 0, at->lane, &record);
    if (result == BUSBAR_OK && bb_record_copy(&record, buffer, out_record) < 0)
        result = bb_store_fail_plain(&bus->store, BUSBAR_ENOMEM);
    bb_store_end(&bus->store, stmt);
    return result;
}

static int run_all(busbar *bus, const busbar_record *record)
{
    int result = BUSBAR_OK;
    for (bb_inline *handler = bus->inlines; result == BUSBAR_OK && handler; handler = handler->next) {
        if (wants(handler, record))
            result = call(bus, handler, record);
    }
    return result;
}

static int run_at(busbar *bus, const place *at)
{
    bb_reader reader;
    bb_buffer buffer = {.bytes = NULL};
    busbar_record record = {.size = 0};
    if (bus->inline_depth >= DEPTH_MAX)
        return bb_store_fail(&bus->store, BUSBAR_EMISUSE,
                             "inline handlers publish events for inline handlers, more than four deep");
    bb_reader_init(&reader, &bus->store);
    bus->inline_depth++;
    int result = read_back(bus, &reader, at, &buffer, &record);
    if (result == BUSBAR_OK)
        result = run_all(bus, &record);
    bus->inline_depth--;
    bb_buffer_free(&buffer);
    bb_reader_fini(&reader);
    return result;
}

int bb_inline_run(busbar *bus, busbar_lane lane, int64_t seq)
{
    place at = {.lane = lane, .seq = seq};
    return run_at(bus, &at);
}

int bb_inline_run_later(busbar *bus, busbar_lane lane, int64_t n)
{
    place at = {.lane = lane, .later = n};
    return run_at(bus, &at);
}
