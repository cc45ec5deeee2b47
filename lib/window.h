/* SPDX-License-Identifier: MIT */
/*
 * What a route has read from one lane and not yet recorded as finished, in log order: the memory of a relay, bounded by its
 * window and acknowledgement group whatever the backlog. Pure: no SQL, no network, no clock.
 */
#ifndef BB_WINDOW_H
#define BB_WINDOW_H

#include <busbar/busbar.h>

typedef enum bb_entry_state {
    BB_ENTRY_SENT,   /* accepted by the transport, not settled */
    BB_ENTRY_UNSENT, /* to be sent again: the connection was lost */
    BB_ENTRY_ACKED,
    BB_ENTRY_REFUSED,  /* with a verdict and a reason */
    BB_ENTRY_FILTERED, /* a run of events that the route does not want */
    BB_ENTRY_EXPIRED,  /* a run of events whose time was over */
    BB_ENTRY_PARKED    /* waits behind another of its key */
} bb_entry_state;

typedef struct bb_entry {
    int64_t first; /* position; runs of FILTERED and EXPIRED go up to `last` */
    int64_t last;
    uint64_t token;
    bb_entry_state state;
    uint64_t key;   /* a hash of the ordering key; 0: none */
    bool unmatched; /* ACKED, but nobody was there to receive it */
    busbar_refusal verdict;
    bool spared;             /* REFUSED, but no attempt is spent */
    uint32_t retry_after_ms; /* REFUSED */
    char *reason;            /* REFUSED; owned */
} bb_entry;

typedef struct bb_window {
    bb_entry *entries; /* a ring */
    size_t capacity;
    size_t start;
    size_t count;
    size_t hint;      /* where the next acknowledgement is expected, from start */
    size_t in_flight; /* entries that are SENT */
    size_t unsent;    /* entries that are UNSENT */
    size_t outcomes;  /* entries that are ACKED or REFUSED, wherever they stand */
} bb_window;

/* BUSBAR_ENOMEM. */
int bb_window_init(bb_window *window, size_t capacity);
void bb_window_fini(bb_window *window);

bool bb_window_full(const bb_window *window);
bb_entry *bb_window_at(const bb_window *window, size_t index);
/* Appends the next position of the lane. Runs of FILTERED and of EXPIRED are one entry. The window is not full. */
bb_entry *bb_window_push(bb_window *window, int64_t seq, bb_entry_state state, uint64_t token);
/* The SENT entry with this token, or NULL. */
bb_entry *bb_window_find(bb_window *window, uint64_t token);
/* Changes an entry's state, keeping the counts. */
void bb_window_set(bb_window *window, bb_entry *entry, bb_entry_state state);
/* REFUSED with its reason (copied; a copy that fails for want of memory leaves the reason out). */
void bb_window_refuse(bb_window *window, bb_entry *entry, busbar_refusal verdict, const char *reason);

/* How an event that is to be sent stands to those of the window that it must not overtake. */
typedef enum bb_window_place {
    BB_PLACE_FREE,  /* none is in its way */
    BB_PLACE_WAITS, /* one is on its way: when it is settled, ask again */
    BB_PLACE_PARKS  /* one will be tried again: this one is parked behind it */
} bb_window_place;
/* With order by key: of this key (not 0). */
bb_window_place bb_window_place_of(const bb_window *window, uint64_t key);
/* With strict order. */
bool bb_window_clear_way(const bb_window *window);
/* Every SENT entry becomes UNSENT. */
void bb_window_lose(bb_window *window);
/* How many entries at the front are settled, and can be recorded. */
size_t bb_window_settled(const bb_window *window);
/* Forgets `count` entries at the front. */
void bb_window_pop(bb_window *window, size_t count);
void bb_window_clear(bb_window *window);

#endif
