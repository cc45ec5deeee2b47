/* SPDX-License-Identifier: MIT */
/*
 * What the world outside of the database has seen of a run, and when: the ids that publishers were told, commits that
 * returned, events that a transport or an outside handler was given, and what the peer acknowledged. "When" is the number
 * of operations that the disk had recorded by then.
 */
#ifndef BUSBAR_HISTORY_H
#define BUSBAR_HISTORY_H

#include <busbar/sim_disk.h>

#define HISTORY_ID_SIZE 48
#define HISTORY_MAX     900

/* One event of the application's table `published`, in its order. */
typedef struct published {
    int64_t txn;
    uint64_t id;
    busbar_lane lane;
    int64_t seq;
} published;

typedef struct seen {
    uint64_t id;
    uint64_t op;
} seen;

typedef struct seen_list {
    seen at[HISTORY_MAX];
    size_t count;
} seen_list;

/* The table `published` as it was when a commit had returned. */
typedef struct commit {
    size_t rows;
    uint64_t op;
} commit;

typedef struct history {
    published rows[HISTORY_MAX]; /* at the end of the run */
    size_t row_count;
    commit commits[HISTORY_MAX];
    size_t commit_count;
    seen_list told;      /* ids that busbar_publish gave, whether they were committed or not */
    seen_list given;     /* to the transport */
    size_t given_before; /* of these, by earlier runs */
    seen_list handled;   /* by the handler outside of transactions */
    seen_list acknowledged;
    seen_list gaps;       /* how many events each gap that was told says are lost, in place of ids */
    uint64_t migrated_op; /* when the tables had been created; UINT64_MAX: never */
} history;

/* Ids are compared by a hash of 64 bits. */
uint64_t history_id(const char *text);
void history_note(seen_list *list, uint64_t id, uint64_t op);
/* Whether it was seen by then; entries before `first` do not count. */
bool history_has(const seen_list *list, size_t first, uint64_t id, uint64_t op);
void history_commit(history *h, size_t rows, uint64_t op);
/* What of `from` had been seen when the power was cut, as the beginning of another run. */
void history_inherit(history *h, const history *from, uint64_t op);

#endif
