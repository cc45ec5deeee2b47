/* SPDX-License-Identifier: MIT */
/*
 * Turns stored columns into a busbar_record: kind and session numbers into texts, monotonic into wall time. A reader keeps
 * what it has looked up; a record points into the statement and into the reader, and is good until either moves on. A
 * listing inside a handler therefore has a reader of its own.
 */
#ifndef BB_READER_H
#define BB_READER_H

#include "buffer.h"
#include "clock.h"
#include "kind.h"
#include "session.h"

#define BB_READER_KIND_SLOTS    32u
#define BB_READER_SESSION_SLOTS 8u

typedef struct bb_reader {
    bb_store *store;
    bb_kind *kinds[BB_READER_KIND_SLOTS];         /* by number */
    bb_session sessions[BB_READER_SESSION_SLOTS]; /* by number; id 0: free */
    bb_clock_span span;
    bb_clock_range past;    /* of a boot whose events were read; 0: none kept */
    bb_clock_range present; /* of the handle's boot */
    bool doubtful;          /* some was read in a transaction that may be undone: its numbers may come again */
    bool asked;             /* the port, for the wall time: */
    busbar_clock_quality wall_quality;
    int64_t wall_ms;
    uint64_t kinds_until_us; /* kinds are read again then: what was registered may have changed */
    char id[BUSBAR_ID_MAX + 1];
    char given_time[BUSBAR_TIME_MAX + 1];
    bb_buffer extensions;
} bb_reader;

void bb_reader_init(bb_reader *reader, bb_store *store);
void bb_reader_fini(bb_reader *reader);

/*
 * Forgets what a commit of another process may have changed (clock fixes), and what was read in a transaction that was
 * perhaps undone. Before each batch. Ends every record.
 */
void bb_reader_refresh(bb_reader *reader);
/* The second for instants only: for who reads in the caller's transaction. Ends no record. */
void bb_reader_refresh_instants(bb_reader *reader);
/* The transaction in which it was read has just been committed. */
void bb_reader_keep(bb_reader *reader);
/* The same for kinds, now and then. Ends every record. */
void bb_reader_refresh_kinds(bb_reader *reader, uint64_t now_us);

/* The type of the event in the columns from `first` on; all that filtering needs. BUSBAR_ENOTFOUND: its kind is missing. */
int bb_reader_type(bb_reader *reader, sqlite3_stmt *stmt, int first, const char **out_type);

/* The whole event in the columns from `first` on (bb_log_column). attempt is left 1. */
int bb_reader_record(bb_reader *reader, sqlite3_stmt *stmt, int first, busbar_lane lane, busbar_record *out_record);

/* Monotonic instant of publishing within its boot: *out_boot 0 if the event has no session. */
int bb_reader_instant(bb_reader *reader, sqlite3_stmt *stmt, int first, int64_t *out_boot, int64_t *out_mono_ms);

#endif
