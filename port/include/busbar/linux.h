/* SPDX-License-Identifier: MIT */
/*
 * busbar/linux.h: Busbar on Linux.
 *
 * The port (clock, identities, random bytes, wake-up across processes), an opener for programs that have no connection
 * of their own, and the runner: a thread that works a bus. An application that has its own connection and its own event
 * loop needs the port only.
 */
#ifndef BUSBAR_LINUX_H
#define BUSBAR_LINUX_H

#include <busbar/busbar.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The port. Static, never freed, thread safe: one for all handles of the process.
 *
 *   mono_us      CLOCK_BOOTTIME
 *   wall_ms      CLOCK_REALTIME; UNKNOWN before 2024, TRUSTED while the kernel's clock is disciplined (adjtimex), else
 *                ESTIMATED
 *   boot_id      of the kernel
 *   device_id    a hash of the machine id (which is confidential itself), else the host name, else none
 *   random       getrandom(2); fails instead of waiting while the kernel has no entropy yet
 *   worker_id    process id, its start time and its namespaces; a worker of another namespace is never called gone
 *   wake         inotify on the database and its WAL
 */
BUSBAR_API const busbar_port *busbar_linux_port(void);

/* ---- Opening a database file ------------------------------------------------------------------------------------- */

typedef enum busbar_linux_mode {
    BUSBAR_LINUX_READ = 0,  /* the file must exist and is not written; SQLite may make its -wal and -shm */
    BUSBAR_LINUX_WRITE = 1, /* the file must exist */
    BUSBAR_LINUX_CREATE = 2 /* as WRITE; a missing file is made, readable and writable by its owner only */
} busbar_linux_mode;

typedef struct busbar_linux_database_options {
    size_t size; /* sizeof(busbar_linux_database_options) */
    busbar_linux_mode mode;
    uint32_t busy_timeout_ms; /* how long a statement waits for a lock; 0: 5,000 */
    uint32_t cache_kib;       /* of SQLite's page cache, for a writer; 0: SQLite's default, about 2 MB */
    uint64_t wal_bytes; /* a writer checkpoints a WAL that has so many; 0, and at most: SQLite's default, 1,000 pages */
} busbar_linux_database_options;

/* A connection that was opened here. It calls the copy of SQLite that this library was linked with. */
typedef struct busbar_linux_database busbar_linux_database;

/*
 * Opens the database file `path` (a file name, never a URI). `options` may be NULL: defaults.
 *
 * READ     Works on a live file and on a copied one. Where SQLite cannot read in place without writing (a WAL or a hot
 *          journal on read-only media), database, WAL and journal are copied to a private directory under $TMPDIR (else
 *          /tmp), the copy is opened, and busbar_linux_database_close removes it.
 * WRITE,   A file without content gets journal_mode WAL; the mode of any other file is never changed. The connection is
 * CREATE   synchronous NORMAL.
 *
 * On success *out_database belongs to the caller. On failure it is untouched and *out_error, if not NULL, gets the
 * detail. Any thread; the connection may move between threads, but is used by one at a time.
 * Returns BUSBAR_OK; BUSBAR_EINVAL (NULL or empty path, unknown size or mode); BUSBAR_ENOTFOUND (no such file, or no
 * directory to make it in); BUSBAR_ECANTOPEN (a directory, no permission, no place for the WAL or the copy);
 * BUSBAR_EREADONLY (writing to read-only media); BUSBAR_ENOTBUS (not an SQLite database); BUSBAR_ELOCKED; BUSBAR_EFULL
 * (no room, also for the copy); BUSBAR_ECORRUPT; BUSBAR_EIO; BUSBAR_ENOMEM; BUSBAR_ESQLITE.
 */
BUSBAR_API int busbar_linux_database_open(busbar_linux_database **out_database, const char *path,
                                          const busbar_linux_database_options *options, busbar_error *out_error);

/* The connection; the database's until busbar_linux_database_close. */
BUSBAR_API sqlite3 *busbar_linux_database_handle(const busbar_linux_database *database);

/* True if a private copy is being read, which later writes to the original do not reach. */
BUSBAR_API bool busbar_linux_database_copied(const busbar_linux_database *database);

/*
 * Closes the connection and removes the private copy, if there is one. NULL is allowed.
 * Returns BUSBAR_OK; BUSBAR_EMISUSE if a statement is unfinished, or a bus open on it (nothing is closed).
 */
BUSBAR_API int busbar_linux_database_close(busbar_linux_database *database);

/* ---- Transactions ------------------------------------------------------------------------------------------------ */
/* For programs that publish many events at once and speak no SQL. Any thread that may use the connection. */

/*
 * Begins a write transaction, taking the write lock now. *out_error, if not NULL, gets the detail.
 * Returns BUSBAR_OK; BUSBAR_EINVAL (NULL); BUSBAR_ETXN (one is open already); BUSBAR_ELOCKED after the busy timeout;
 * BUSBAR_EREADONLY and the other environment codes.
 */
BUSBAR_API int busbar_linux_transaction_begin(sqlite3 *db, busbar_error *out_error);

/*
 * Commits. On failure the transaction may still be open: roll it back.
 * Returns BUSBAR_OK; BUSBAR_EINVAL (NULL); BUSBAR_ENOTXN (none is open); BUSBAR_ELOCKED, BUSBAR_EFULL, BUSBAR_EIO and
 * the other environment codes.
 */
BUSBAR_API int busbar_linux_transaction_commit(sqlite3 *db, busbar_error *out_error);

/*
 * Rolls back. Legal, and BUSBAR_OK, when no transaction is open: SQLite may have rolled it back already.
 * Returns BUSBAR_OK; BUSBAR_EINVAL (NULL); an environment code, and then nothing of the transaction is kept either.
 */
BUSBAR_API int busbar_linux_transaction_rollback(sqlite3 *db, busbar_error *out_error);

/* ---- Runner: a thread that works a bus --------------------------------------------------------------------------- */

/*
 * Opens a connection of the runner's own, which nothing else uses: key, VFS and pragmas are the caller's business. Called
 * on the runner's thread, once, or twice with a SQLite for which busbar_wal_race() is true: the last connection is worked
 * on (its wal_autocheckpoint is set to 0), the one before it is for checkpoints. Returns the connection, or NULL with *out_error
 * set.
 */
typedef sqlite3 *busbar_runner_open_fn(void *ctx, busbar_error *out_error);

/* Closes such a connection. Called once for each, on the runner's thread, after the bus was closed. */
typedef void busbar_runner_close_fn(void *ctx, sqlite3 *db);

/*
 * Subscribes handlers and adds routes. Called once, on the runner's thread. Returns 0 or a negative code, which becomes
 * the result of busbar_runner_start. It must leave no transaction open.
 */
typedef int busbar_runner_setup_fn(busbar *bus, void *ctx);

typedef struct busbar_runner_options {
    size_t size;      /* sizeof(busbar_runner_options) */
    const char *path; /* the database file; or else `open` and `close` */
    bool create;      /* with `path`: a missing file is made, otherwise it is an error */
    busbar_runner_open_fn *open;
    busbar_runner_close_fn *close;
    const busbar_options *bus;     /* NULL: defaults; a NULL port in it means busbar_linux_port() */
    busbar_runner_setup_fn *setup; /* NULL: nothing is set up; the bus is only kept in order */
    void *ctx;                     /* handed to open, close and setup */
    uint32_t cache_kib;            /* of SQLite's page cache, with `path`; 0: SQLite's default, about 2 MB */
    uint32_t budget_us;            /* of each step, and so how long a stop may have to wait for one; 0: 10,000 */
} busbar_runner_options;

typedef struct busbar_runner busbar_runner;

/*
 * Starts a thread with a connection and a bus of its own, and returns when its setup is done. The thread then works the
 * bus until busbar_runner_stop: it sleeps while there is nothing to do, and a failing step only makes it wait (1 s,
 * doubling, 30 s at most) before it goes on. All signals are blocked in it. It holds no lock while a handler runs.
 * Everything in `options` but `ctx` is read during this call only; the port and the routines of options.bus must
 * outlive the runner. On failure *out_runner is untouched, nothing is kept, and *out_error, if not NULL, gets the
 * detail. Any thread.
 * Returns BUSBAR_OK; BUSBAR_EINVAL (NULL, size, neither or both of path and open, open without close); what opening the
 * database, busbar_open or setup returned; BUSBAR_ETXN if setup left a transaction open; BUSBAR_ENOMEM; BUSBAR_EIO if
 * the system refuses a thread or a descriptor.
 */
BUSBAR_API int busbar_runner_start(busbar_runner **out_runner, const busbar_runner_options *options,
                                   busbar_error *out_error);

/*
 * Makes the runner step now, unless it is waiting after a failure. Any thread but after stop; legal in signal handlers.
 */
BUSBAR_API void busbar_runner_wake(busbar_runner *runner);

/*
 * How the runner is doing. *out_error, if not NULL, gets the detail of the latest failure, also of one that is over;
 * its code is 0 if there was none. Any thread.
 * Returns BUSBAR_OK if the last step succeeded, else the code that it failed with.
 */
BUSBAR_API int busbar_runner_error(busbar_runner *runner, busbar_error *out_error);

/*
 * Fills *out_status, whose size must be set, as busbar_status_get does for the runner's bus: so written_bytes, commit_count and
 * synced_count are what the runner has written since it was started. It is done on the runner's thread between two steps: waits
 * for one at most. Any thread but the runner's own, and not once busbar_runner_stop was called.
 * Returns BUSBAR_OK; BUSBAR_EINVAL; BUSBAR_EMISUSE on the runner's own thread; what busbar_status_get returned.
 */
BUSBAR_API int busbar_runner_status(busbar_runner *runner, busbar_status *out_status);

/*
 * Ends the thread, closes its bus and connection on it, and frees the runner. Waits at most for one step, which means a
 * handler that is running, the connection's busy timeout (5 s with `path`), and what busbar_close waits for. NULL is
 * allowed. Any thread but the runner's own.
 * Returns BUSBAR_OK; BUSBAR_EMISUSE on the runner's own thread (it goes on running); or what busbar_close returned (all
 * is freed all the same, and what was not recorded is delivered again).
 */
BUSBAR_API int busbar_runner_stop(busbar_runner *runner);

#ifdef __cplusplus
}
#endif

#endif
