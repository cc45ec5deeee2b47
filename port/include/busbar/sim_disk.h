/* SPDX-License-Identifier: MIT */
/*
 * busbar/sim_disk.h: a scripted disk for tests.
 *
 * An SQLite VFS over files in memory that remembers every write, truncation, deletion and sync. At any point of that
 * record the power can be cut: what a disk may then hold is built on another disk, where it is opened and examined. And
 * the calls of the VFS fail on command. Ships with Busbar, so that applications can test their own transactions ("is
 * the invoice still there, and its event?").
 *
 *     busbar_sim_disk *disk = busbar_sim_disk_new(1), *survivor = busbar_sim_disk_new(2);
 *     sqlite3_open_v2("app.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, busbar_sim_disk_vfs(disk));
 *     ... what is to be tested ...
 *     for (uint64_t op = 0; op <= busbar_sim_disk_op_count(disk); op++) {
 *         busbar_sim_disk_cut(disk, op, seed, survivor);
 *         ... open "app.db" with busbar_sim_disk_vfs(survivor), examine it, close it ...
 *     }
 *
 * The model. A disk has one directory. What was written is certain after a sync of its file; that a file was created or
 * deleted is certain after a sync of the directory, which happens as with SQLite's "unix" VFS: with the first sync of a
 * journal or WAL that was created, and with a deletion that asks for it. Of everything else any part may be there after
 * a power cut, in any order: each sector of 512 bytes that was written is new or old, or new up to some byte and old
 * from there; a file that grew may have its new length without its new bytes, with zeroes or rubbish instead. Bytes
 * beside the written ones are never hurt (SQLITE_IOCAP_POWERSAFE_OVERWRITE, which "unix" claims too).
 *
 * A disk, and all connections through it, belong to one thread. Any number of connections may be open, in every journal
 * mode; locks and the shared memory of WAL work among them. There is no memory mapping. Needs nothing but C11 and SQLite.
 */
#ifndef BUSBAR_SIM_DISK_H
#define BUSBAR_SIM_DISK_H

#include <busbar/busbar.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct busbar_sim_disk busbar_sim_disk;

/*
 * Makes an empty disk and registers it with SQLite, under a name of its own. `seed` is of the random bytes it gives to
 * SQLite. Returns NULL when out of memory. Released with busbar_sim_disk_free, after every connection.
 */
BUSBAR_API busbar_sim_disk *busbar_sim_disk_new(uint64_t seed);
BUSBAR_API void busbar_sim_disk_free(busbar_sim_disk *disk); /* NULL is allowed */

/* The name for sqlite3_open_v2; the disk's, valid until busbar_sim_disk_free. */
BUSBAR_API const char *busbar_sim_disk_vfs(const busbar_sim_disk *disk);

/*
 * Makes the disk SQLite's default, and SQLite's random numbers begin anew from `seed`: the salts in a WAL, random() in a
 * statement and the record of the disk are then the same in every run. Lasts until another VFS becomes the default, or
 * busbar_sim_disk_free.
 */
BUSBAR_API void busbar_sim_disk_repeatable(busbar_sim_disk *disk, uint64_t seed);

/* ---- Files ------------------------------------------------------------------------------------------------------- */

/*
 * Puts a file on the disk, as if it had always been there: durable, and not in the record. Bytes are copied. No
 * connection may have it open. Returns BUSBAR_OK; BUSBAR_EINVAL (a name empty or longer than 63 bytes); BUSBAR_ENOMEM.
 */
BUSBAR_API int busbar_sim_disk_put(busbar_sim_disk *disk, const char *name, const void *data, size_t size_bytes);

/*
 * What a file holds now, written or synced. Valid until the next use of the disk. Returns BUSBAR_OK; BUSBAR_ENOTFOUND.
 */
BUSBAR_API int busbar_sim_disk_get(const busbar_sim_disk *disk, const char *name, const void **out_data,
                                   size_t *out_size_bytes);

/* ---- The record -------------------------------------------------------------------------------------------------- */

/* Makes everything durable, and begins the record anew. Returns BUSBAR_OK; BUSBAR_ENOMEM (nothing changed). */
BUSBAR_API int busbar_sim_disk_settle(busbar_sim_disk *disk);

/* How many operations the record has: calls that changed a file or the directory, and syncs. */
BUSBAR_API uint64_t busbar_sim_disk_op_count(const busbar_sim_disk *disk);

/* Size of the text that describes an operation, terminating NUL included. */
#define BUSBAR_SIM_DISK_OP_SIZE 128

/*
 * Describes an operation for people: "write 4096 at 8192 of app.db-wal". Returns BUSBAR_OK; BUSBAR_ENOTFOUND (there are
 * not so many).
 */
BUSBAR_API int busbar_sim_disk_op(const busbar_sim_disk *disk, uint64_t op, char out_text[BUSBAR_SIM_DISK_OP_SIZE]);

/* ---- Power cuts -------------------------------------------------------------------------------------------------- */

typedef enum busbar_sim_disk_model {
    BUSBAR_SIM_DISK_ANY_ORDER = 0, /* as described above */
    /*
     * A file never shows bytes beyond its old end that were not written: it grows only as far as its bytes have arrived,
     * in order, as on a journaling file system with ordered data. A rollback journal with synchronous=NORMAL needs this:
     * its header can become valid before its pages are.
     */
    BUSBAR_SIM_DISK_ORDERED_APPEND = 1
} busbar_sim_disk_model;

BUSBAR_API void busbar_sim_disk_model_set(busbar_sim_disk *disk, busbar_sim_disk_model model);

/*
 * Cuts the power: empties `survivor` and puts on it what may be left of `disk` when the operations before number `op`
 * had been called, and that one was perhaps under way; `op` may be at most the number of operations. What is kept, torn
 * or lost follows from `op` and `seed` alone. `disk` is not changed by it. No connection to the survivor may be open; it
 * may be cut in its turn. Steps forward in `op` are cheap, a step back begins at the beginning.
 * Returns BUSBAR_OK; BUSBAR_EINVAL (not so many operations, survivor and disk are the same); BUSBAR_EMISUSE (a file of
 * the survivor is open); BUSBAR_ENOMEM.
 */
BUSBAR_API int busbar_sim_disk_cut(busbar_sim_disk *disk, uint64_t op, uint64_t seed, busbar_sim_disk *survivor);

/* ---- Lies -------------------------------------------------------------------------------------------------------- */

/* What a lying disk says it has synced, without doing so. For controls: a test of power cuts must notice. */
enum busbar_sim_disk_lie {
    BUSBAR_SIM_DISK_LIE_NONE = 0,
    BUSBAR_SIM_DISK_LIE_DATABASE = 1,
    BUSBAR_SIM_DISK_LIE_WAL = 2,
    BUSBAR_SIM_DISK_LIE_JOURNAL = 4,
    BUSBAR_SIM_DISK_LIE_DIRECTORY = 8
};

/* From now on it lies about these. */
BUSBAR_API void busbar_sim_disk_lie(busbar_sim_disk *disk, unsigned lies);

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

/* The methods of the VFS and its files, as a mask. */
enum busbar_sim_disk_call {
    BUSBAR_SIM_DISK_OPEN = 1u << 0,
    BUSBAR_SIM_DISK_DELETE = 1u << 1,
    BUSBAR_SIM_DISK_ACCESS = 1u << 2,
    BUSBAR_SIM_DISK_FULL_PATH = 1u << 3,
    BUSBAR_SIM_DISK_CLOSE = 1u << 4, /* closes all the same */
    BUSBAR_SIM_DISK_READ = 1u << 5,
    BUSBAR_SIM_DISK_WRITE = 1u << 6,
    BUSBAR_SIM_DISK_TRUNCATE = 1u << 7,
    BUSBAR_SIM_DISK_SYNC = 1u << 8,
    BUSBAR_SIM_DISK_SIZE = 1u << 9,
    BUSBAR_SIM_DISK_LOCK = 1u << 10,
    BUSBAR_SIM_DISK_UNLOCK = 1u << 11, /* unlocks all the same */
    BUSBAR_SIM_DISK_CHECK_LOCK = 1u << 12,
    BUSBAR_SIM_DISK_CONTROL = 1u << 13,
    BUSBAR_SIM_DISK_SHM_MAP = 1u << 14,
    BUSBAR_SIM_DISK_SHM_LOCK = 1u << 15,  /* to take a lock; giving one back never fails */
    BUSBAR_SIM_DISK_SHM_UNMAP = 1u << 16, /* unmaps all the same */
    BUSBAR_SIM_DISK_RANDOM = 1u << 17,    /* gives no bytes, whatever the code */
    BUSBAR_SIM_DISK_TIME = 1u << 18,      /* the date and time that SQL asks for */
    BUSBAR_SIM_DISK_ANY_CALL = (1u << 19) - 1
};

/* For ever, as a count of busbar_sim_disk_fail. */
#define BUSBAR_SIM_DISK_ALWAYS UINT64_MAX

/*
 * Of the calls in `calls`, counted together from now on, the one number `nth` (1 is the next) and those after it, `count`
 * in all, answer `code` (SQLITE_IOERR_WRITE, SQLITE_FULL …) and do nothing. Replaces what was asked for before. A count
 * of 0 ends it.
 */
BUSBAR_API void busbar_sim_disk_fail(busbar_sim_disk *disk, unsigned calls, uint64_t nth, uint64_t count, int code);

/* How many calls of those in the mask of the last busbar_sim_disk_fail there were since, and how many of them failed. */
BUSBAR_API uint64_t busbar_sim_disk_calls(const busbar_sim_disk *disk);
BUSBAR_API uint64_t busbar_sim_disk_failures(const busbar_sim_disk *disk);

#ifdef __cplusplus
}
#endif

#endif
