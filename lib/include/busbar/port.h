/* SPDX-License-Identifier: MIT */
/*
 * busbar/port.h: what a platform provides.
 *
 * A port is a const struct of functions with a version and a context. Storage is not in it: SQLite's VFS is the storage
 * port. Every function is called on the thread that called Busbar, never concurrently for one handle; a port shared by
 * handles on several threads must be thread safe. No function may call Busbar. Slots marked optional may be NULL.
 *
 * Implementations here: port/linux (the real thing) and port/sim (virtual clock, scripted; ships as a test kit). The
 * conformance suite in tests/contract/port.c runs against each, and is meant to be run against yours.
 */
#ifndef BUSBAR_PORT_H
#define BUSBAR_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BUSBAR_PORT_VERSION 1u

/* Size of identity texts, terminating NUL included. Printable ASCII without space, quote or backslash. */
#define BUSBAR_IDENTITY_SIZE 64

/* How far wall time can be believed. Order is meaningful: larger is better. */
typedef enum busbar_clock_quality {
    BUSBAR_CLOCK_UNKNOWN = 0,   /* not set since boot; the value is not used at all */
    BUSBAR_CLOCK_ESTIMATED = 1, /* set by hand, by an RTC, or synchronised once and free-running since */
    BUSBAR_CLOCK_TRUSTED = 2    /* disciplined now (NTP, GNSS, PTP, cellular network) */
} busbar_clock_quality;

/*
 * A wake object tells a sleeping worker that there may be something to do: another process committed to the database
 * file, or a watched descriptor became readable. All members are required.
 */
typedef struct busbar_wake_api {
    /*
     * Starts watching the database file `path` (absolute, as SQLite reports it; the file exists) and its WAL.
     * Returns a wake object that the caller releases with close(), or NULL when the platform refuses.
     */
    void *(*open)(void *ctx, const char *path);
    /* A descriptor that polls readable when there may be work. Valid until close(); the same value every time. */
    int (*fd)(void *wake);
    /* Also wake when `fd` becomes readable; `fd` stays open until unwatch(). Returns 0, or -1 when refused. */
    int (*watch)(void *wake, int fd);
    void (*unwatch)(void *wake, int fd);
    /*
     * Takes all pending signals, so that fd() is no longer readable because of the file. True if the file was written, or so
     * recently that it may only now be visible; fd() may become readable once more just to look again.
     */
    bool (*clear)(void *wake);
    void (*close)(void *wake);
} busbar_wake_api;

typedef struct busbar_port {
    uint32_t version; /* BUSBAR_PORT_VERSION */
    void *ctx;        /* handed to every function */

    /*
     * Microseconds since an arbitrary point of this boot. Never goes back within one boot identity, is the same clock in
     * every process of the machine, and keeps counting while the machine is suspended. Any resolution up to 10 ms is fine.
     */
    uint64_t (*mono_us)(void *ctx);

    /*
     * Wall time: milliseconds since 1970-01-01T00:00:00Z. Returns the quality; on BUSBAR_CLOCK_UNKNOWN *out_ms is not
     * read. May step forwards and backwards.
     */
    busbar_clock_quality (*wall_ms)(void *ctx, int64_t *out_ms);

    /*
     * Identity of this run of the machine: equal in every process of the run, different after every restart. Writes a
     * NUL-terminated text. Returns 0, or -1 if there is none (every opening then counts as a boot of its own).
     */
    int (*boot_id)(void *ctx, char out[BUSBAR_IDENTITY_SIZE]);

    /* Identity of this device, stable over its life; becomes the default event source. Returns 0, or -1 if there is none. */
    int (*device_id)(void *ctx, char out[BUSBAR_IDENTITY_SIZE]);

    /* Fills `out` with unpredictable bytes. Returns 0, or -1 when it cannot (publishing then reports BUSBAR_ERANDOM). */
    int (*random)(void *ctx, void *out, size_t size_bytes);

    /*
     * Optional pair. worker_id names the running process so that worker_gone, asked in any process of the same machine,
     * can say that it has certainly ended (true), or that it runs or cannot be seen from here (false). With the pair, the
     * work of a killed process is taken over at once instead of after the lease.
     */
    int (*worker_id)(void *ctx, char out[BUSBAR_IDENTITY_SIZE]);
    bool (*worker_gone)(void *ctx, const char *worker_id);

    /* Optional. Without it a worker is woken only by its own step calls, and busbar_fd() answers BUSBAR_ENOTSUP. */
    const busbar_wake_api *wake;
} busbar_port;

#ifdef __cplusplus
}
#endif

#endif
