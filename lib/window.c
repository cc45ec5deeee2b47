/* SPDX-License-Identifier: MIT */
#include "window.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int bb_window_init(bb_window *window, size_t capacity)
{
    memset(window, 0, sizeof *window);
    window->entries = calloc(capacity, sizeof *window->entries);
    if (!window->entries)
        return BUSBAR_ENOMEM;
    window->capacity = capacity;
    return BUSBAR_OK;
}

void bb_window_fini(bb_window *window)
{
    if (!window->entries)
        return;
    bb_window_clear(window);
    free(window->entries);
    window->entries = NULL;
}

bool bb_window_full(const bb_window *window)
{
    return window->count == window->capacity;
}

bb_entry *bb_window_at(const bb_window *window, size_t index)
{
    assert(index < window->count);
    return &window->entries[(window->start + index) % window->capacity];
}

static bool is_run(bb_entry_state state)
{
    return state == BB_ENTRY_FILTERED || state == BB_ENTRY_EXPIRED;
}

static void count_state(bb_window *window, bb_entry_state state, size_t change)
{
    if (state == BB_ENTRY_SENT)
        window->in_flight += change;
    else if (state == BB_ENTRY_UNSENT)
        window->unsent += change;
    else if (state == BB_ENTRY_ACKED || state == BB_ENTRY_REFUSED)
        window->outcomes += change;
}

bb_entry *bb_window_push(bb_window *window, int64_t seq, bb_entry_state state, uint64_t token)
{
    if (window->count > 0 && is_run(state)) {
        bb_entry *last = bb_window_at(window, window->count - 1);
        if (last->state == state && last->last + 1 == seq) { /* else what lay between is gone */
            last->last = seq;
            return last;
        }
    }
    assert(!bb_window_full(window));
    bb_entry *entry = &window->entries[(window->start + window->count) % window->capacity];
    *entry = (bb_entry){.first = seq, .last = seq, .token = token, .state = state};
    window->count++;
    count_state(window, state, 1);
    return entry;
}

bb_entry *bb_window_find(bb_window *window, uint64_t token)
{
    for (size_t i = 0; i < window->count; i++) {
        size_t index = (window->hint + i) % window->count;
        bb_entry *entry = bb_window_at(window, index);
        if (entry->state == BB_ENTRY_SENT && entry->token == token) {
            window->hint = index + 1;
            return entry;
        }
    }
    return NULL;
}

void bb_window_set(bb_window *window, bb_entry *entry, bb_entry_state state)
{
    count_state(window, entry->state, (size_t)-1);
    entry->state = state;
    count_state(window, state, 1);
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void bb_window_refuse(bb_window *window, bb_entry *entry, busbar_refusal verdict, const char *reason)
{
    bb_window_set(window, entry, BB_ENTRY_REFUSED);
    entry->verdict = verdict;
    entry->reason = copy_text(reason);
}

static bool will_retry(const bb_entry *entry)
{
    return entry->state == BB_ENTRY_PARKED ||
           (entry->state == BB_ENTRY_REFUSED && entry->verdict == BUSBAR_REFUSED_RETRY);
}

static bool on_its_way(const bb_entry *entry)
{
    return entry->state == BB_ENTRY_SENT || entry->state == BB_ENTRY_UNSENT;
}

bb_window_place bb_window_place_of(const bb_window *window, uint64_t key)
{
    for (size_t i = 0; i < window->count; i++) {
        const bb_entry *entry = bb_window_at(window, i);
        if (entry->key != key)
            continue;
        if (on_its_way(entry))
            return BB_PLACE_WAITS;
        if (will_retry(entry))
            return BB_PLACE_PARKS;
    }
    return BB_PLACE_FREE;
}

bool bb_window_clear_way(const bb_window *window)
{
    for (size_t i = 0; i < window->count; i++) {
        const bb_entry *entry = bb_window_at(window, i);
        if (on_its_way(entry) || will_retry(entry))
            return false;
    }
    return true;
}

void bb_window_lose(bb_window *window)
{
    for (size_t i = 0; i < window->count && window->in_flight > 0; i++) {
        bb_entry *entry = bb_window_at(window, i);
        if (entry->state == BB_ENTRY_SENT)
            bb_window_set(window, entry, BB_ENTRY_UNSENT);
    }
    window->hint = 0;
}

size_t bb_window_settled(const bb_window *window)
{
    size_t count = 0;
    while (count < window->count) {
        bb_entry_state state = bb_window_at(window, count)->state;
        if (state == BB_ENTRY_SENT || state == BB_ENTRY_UNSENT)
            break;
        count++;
    }
    return count;
}

void bb_window_pop(bb_window *window, size_t count)
{
    assert(count <= window->count);
    for (size_t i = 0; i < count; i++) {
        bb_entry *entry = bb_window_at(window, i);
        count_state(window, entry->state, (size_t)-1);
        free(entry->reason);
        entry->reason = NULL;
    }
    window->start = (window->start + count) % window->capacity;
    window->count -= count;
    window->hint = window->hint > count ? window->hint - count : 0;
}

void bb_window_clear(bb_window *window)
{
    bb_window_pop(window, window->count);
}
