/* SPDX-License-Identifier: MIT */
#include "environment.h"

#include <stdlib.h>
#include <string.h>

#include "heap.h"

#define SEED         11u
#define SOME_FD      77 /* nobody polls it */
#define TEN_YEARS_MS INT64_C(315576000000)

enum port_call {
    CLOCK_STANDS = 1,
    WALL_UNKNOWN,
    WALL_JUMPS,
    BOOT_ID,
    DEVICE_ID,
    RANDOM,
    WORKER_ID,
    WAKE_OPEN,
    WAKE_WATCH,
    WAKE_CLEAR
};

enum network_call { START = 1, SEND_NOT_NOW, SEND_DEAD, LINK_LOST, REFUSED_RETRY, REFUSED_DEAD, SILENT, NO_FD };

#define DISK(text, method, failure)                                                                                    \
    {                                                                                                                  \
        .name = text, .area = FAULT_DISK, .call = BUSBAR_SIM_DISK_##method, .code = failure                            \
    }

const fault environment_faults[] = {
    DISK("open", OPEN, SQLITE_CANTOPEN),
    DISK("delete", DELETE, SQLITE_IOERR_DELETE),
    DISK("access", ACCESS, SQLITE_IOERR_ACCESS),
    DISK("full_path", FULL_PATH, SQLITE_CANTOPEN),
    DISK("close", CLOSE, SQLITE_IOERR_CLOSE),
    DISK("read", READ, SQLITE_IOERR_READ),
    DISK("write", WRITE, SQLITE_IOERR_WRITE),
    DISK("write_full", WRITE, SQLITE_FULL),
    DISK("truncate", TRUNCATE, SQLITE_IOERR_TRUNCATE),
    DISK("sync", SYNC, SQLITE_IOERR_FSYNC),
    DISK("size", SIZE, SQLITE_IOERR_FSTAT),
    DISK("lock", LOCK, SQLITE_IOERR_LOCK),
    DISK("lock_busy", LOCK, SQLITE_BUSY),
    DISK("unlock", UNLOCK, SQLITE_IOERR_UNLOCK),
    DISK("check_lock", CHECK_LOCK, SQLITE_IOERR_CHECKRESERVEDLOCK),
    DISK("control", CONTROL, SQLITE_IOERR),
    DISK("shm_map", SHM_MAP, SQLITE_IOERR_SHMMAP),
    DISK("shm_lock", SHM_LOCK, SQLITE_IOERR_SHMLOCK),
    DISK("shm_lock_busy", SHM_LOCK, SQLITE_BUSY),
    DISK("shm_unmap", SHM_UNMAP, SQLITE_IOERR_SHMLOCK),
    DISK("disk_random", RANDOM, SQLITE_IOERR),
    DISK("disk_time", TIME, SQLITE_ERROR),
    DISK("any", ANY_CALL, SQLITE_IOERR),
    {.name = "heap", .area = FAULT_HEAP},
    {.name = "sqlite_heap", .area = FAULT_SQLITE_HEAP},
    {.name = "clock_stands", .area = FAULT_PORT, .call = CLOCK_STANDS, .is_silent = true},
    {.name = "wall_unknown", .area = FAULT_PORT, .call = WALL_UNKNOWN, .is_silent = true},
    {.name = "wall_jumps", .area = FAULT_PORT, .call = WALL_JUMPS, .is_silent = true},
    {.name = "boot_id", .area = FAULT_PORT, .call = BOOT_ID, .is_silent = true},
    {.name = "device_id", .area = FAULT_PORT, .call = DEVICE_ID, .also = BUSBAR_ESOURCE},
    {.name = "random", .area = FAULT_PORT, .call = RANDOM},
    {.name = "worker_id", .area = FAULT_PORT, .call = WORKER_ID, .is_silent = true},
    {.name = "wake_open", .area = FAULT_PORT, .call = WAKE_OPEN},
    {.name = "wake_watch", .area = FAULT_PORT, .call = WAKE_WATCH, .is_silent = true},
    {.name = "wake_clear", .area = FAULT_PORT, .call = WAKE_CLEAR, .is_silent = true},
    {.name = "start", .area = FAULT_NETWORK, .call = START, .is_silent = true},
    {.name = "send_not_now", .area = FAULT_NETWORK, .call = SEND_NOT_NOW, .is_silent = true},
    {.name = "send_dead", .area = FAULT_NETWORK, .call = SEND_DEAD, .may_bury = true, .is_silent = true},
    {.name = "link_lost", .area = FAULT_NETWORK, .call = LINK_LOST, .is_silent = true},
    {.name = "refused", .area = FAULT_NETWORK, .call = REFUSED_RETRY, .is_silent = true},
    {.name = "refused_dead", .area = FAULT_NETWORK, .call = REFUSED_DEAD, .may_bury = true, .is_silent = true},
    {.name = "silent", .area = FAULT_NETWORK, .call = SILENT, .is_silent = true},
    {.name = "no_fd", .area = FAULT_NETWORK, .call = NO_FD, .is_silent = true},
};
const size_t environment_fault_count = sizeof environment_faults / sizeof *environment_faults;

const fault *environment_find_fault(const char *name)
{
    for (size_t i = 0; i < environment_fault_count; i++)
        if (strcmp(environment_faults[i].name, name) == 0)
            return &environment_faults[i];
    return NULL;
}

/* Of a platform or network. Counts the call; true if it is to fail. */
static bool fails(environment *e, fault_area area, unsigned call)
{
    if (e->armed == NULL || e->armed->area != area || e->armed->call != call)
        return false;
    e->calls++;
    bool failing = e->calls == e->nth || (e->goes_on && e->calls > e->nth);
    e->failures += failing;
    return failing;
}

/* ---- SQLite's memory --------------------------------------------------------------------------------------------- */

static sqlite3_mem_methods memory; /* SQLite's own */
static environment *remembering;   /* whose SQLite it is: allocations have no context */

static bool memory_fails(void)
{
    return remembering != NULL && fails(remembering, FAULT_SQLITE_HEAP, 0);
}

static void *memory_take(int size)
{
    return memory_fails() ? NULL : memory.xMalloc(size);
}

static void *memory_grow(void *bytes, int size)
{
    return memory_fails() ? NULL : memory.xRealloc(bytes, size);
}

void environment_prepare(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods failing = memory;
    failing.xMalloc = memory_take;
    failing.xRealloc = memory_grow;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
    sqlite3_initialize();
}

/* ---- The platform ------------------------------------------------------------------------------------------------ */

static const busbar_port *platform(environment *e)
{
    return busbar_sim_port(e->sim);
}

static uint64_t port_mono_us(void *ctx)
{
    environment *e = ctx;
    if (!fails(e, FAULT_PORT, CLOCK_STANDS))
        e->still_us = platform(e)->mono_us(e->sim);
    return e->still_us;
}

static busbar_clock_quality port_wall_ms(void *ctx, int64_t *out_ms)
{
    environment *e = ctx;
    busbar_clock_quality quality = platform(e)->wall_ms(e->sim, out_ms);
    if (fails(e, FAULT_PORT, WALL_UNKNOWN))
        return BUSBAR_CLOCK_UNKNOWN;
    if (fails(e, FAULT_PORT, WALL_JUMPS))
        *out_ms += e->calls % 2 ? TEN_YEARS_MS : -TEN_YEARS_MS;
    return quality;
}

static int port_boot_id(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    environment *e = ctx;
    return fails(e, FAULT_PORT, BOOT_ID) ? -1 : platform(e)->boot_id(e->sim, out);
}

static int port_device_id(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    environment *e = ctx;
    return fails(e, FAULT_PORT, DEVICE_ID) ? -1 : platform(e)->device_id(e->sim, out);
}

static int port_random(void *ctx, void *out, size_t size_bytes)
{
    environment *e = ctx;
    return fails(e, FAULT_PORT, RANDOM) ? -1 : platform(e)->random(e->sim, out, size_bytes);
}

static int port_worker_id(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    environment *e = ctx;
    return fails(e, FAULT_PORT, WORKER_ID) ? -1 : platform(e)->worker_id(e->sim, out);
}

static bool port_worker_gone(void *ctx, const char *worker_id)
{
    environment *e = ctx;
    return platform(e)->worker_gone(e->sim, worker_id);
}

static void *wake_open(void *ctx, const char *path)
{
    (void)path;
    return fails(ctx, FAULT_PORT, WAKE_OPEN) ? NULL : ctx;
}

static int wake_fd(void *wake)
{
    (void)wake;
    return SOME_FD;
}

static int wake_watch(void *wake, int fd)
{
    (void)fd;
    return fails(wake, FAULT_PORT, WAKE_WATCH) ? -1 : 0;
}

static void wake_unwatch(void *wake, int fd)
{
    (void)wake, (void)fd;
}

static bool wake_clear(void *wake)
{
    return !fails(wake, FAULT_PORT, WAKE_CLEAR);
}

static void wake_close(void *wake)
{
    (void)wake;
}

static const busbar_wake_api wake_api = {
    .open = wake_open,
    .fd = wake_fd,
    .watch = wake_watch,
    .unwatch = wake_unwatch,
    .clear = wake_clear,
    .close = wake_close,
};

/* ---- The network ------------------------------------------------------------------------------------------------- */

typedef struct wrapped {
    environment *e;
    busbar_transport inner;
    bool owes_event;               /* who was told "not now" waits for one */
    busbar_transport_event_fn *fn; /* during poll */
    void *fn_ctx;
} wrapped;

static int network_start(void *ctx, busbar_reason *out_reason)
{
    wrapped *w = ctx;
    if (!fails(w->e, FAULT_NETWORK, START))
        return w->inner.api->start(w->inner.ctx, out_reason);
    memset(out_reason, 0, sizeof *out_reason);
    memcpy(out_reason->text, "no network", sizeof "no network");
    return -1;
}

static busbar_send_result network_send(void *ctx, const busbar_message *message, busbar_reason *out_reason)
{
    wrapped *w = ctx;
    if (fails(w->e, FAULT_NETWORK, SEND_NOT_NOW)) {
        w->owes_event = true;
        return BUSBAR_SEND_NOT_NOW;
    }
    if (!fails(w->e, FAULT_NETWORK, SEND_DEAD))
        return w->inner.api->send(w->inner.ctx, message, out_reason);
    memset(out_reason, 0, sizeof *out_reason);
    return BUSBAR_SEND_DEAD;
}

static void pass_on(const busbar_transport_event *event, void *ctx)
{
    wrapped *w = ctx;
    busbar_transport_event other = *event;
    if (event->type == BUSBAR_TRANSPORT_ACKED) {
        bool dead = fails(w->e, FAULT_NETWORK, REFUSED_DEAD);
        if (dead || fails(w->e, FAULT_NETWORK, REFUSED_RETRY)) {
            other.type = BUSBAR_TRANSPORT_REFUSED;
            other.verdict = dead ? BUSBAR_REFUSED_DEAD : BUSBAR_REFUSED_RETRY;
        }
    }
    w->fn(&other, w->fn_ctx);
}

static void network_poll(void *ctx, busbar_transport_event_fn *fn, void *fn_ctx)
{
    wrapped *w = ctx;
    if (fails(w->e, FAULT_NETWORK, SILENT))
        return;
    if (fails(w->e, FAULT_NETWORK, LINK_LOST)) {
        busbar_loopback_link(w->inner, false);
        busbar_loopback_link(w->inner, true);
    }
    if (w->owes_event) {
        const busbar_transport_event up = {.size = sizeof up, .type = BUSBAR_TRANSPORT_UP};
        w->owes_event = false;
        fn(&up, fn_ctx);
    }
    w->fn = fn;
    w->fn_ctx = fn_ctx;
    w->inner.api->poll(w->inner.ctx, pass_on, w);
}

static void network_close(void *ctx)
{
    wrapped *w = ctx;
    w->inner.api->close(w->inner.ctx);
}

static void network_stop(void *ctx)
{
    wrapped *w = ctx;
    w->inner.api->stop(w->inner.ctx);
    free(w);
}

static int network_fd(void *ctx)
{
    wrapped *w = ctx;
    return fails(w->e, FAULT_NETWORK, NO_FD) ? -1 : SOME_FD + 1;
}

static const busbar_transport_api network_api = {
    .version = BUSBAR_TRANSPORT_VERSION,
    .name = "loopback",
    .start = network_start,
    .send = network_send,
    .poll = network_poll,
    .close = network_close,
    .stop = network_stop,
    .fd = network_fd,
};

bool environment_wrap(environment *e, busbar_transport inner, busbar_transport *out)
{
    wrapped *w = calloc(1, sizeof *w);
    if (w == NULL) {
        inner.api->stop(inner.ctx);
        return false;
    }
    w->e = e;
    w->inner = inner;
    *out = (busbar_transport){.api = &network_api, .ctx = w};
    return true;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

bool environment_open(environment *e)
{
    memset(e, 0, sizeof *e);
    e->disk = busbar_sim_disk_new(SEED);
    e->sim = busbar_sim_new(SEED);
    if (e->disk == NULL || e->sim == NULL)
        return false;
    busbar_sim_disk_repeatable(e->disk, SEED);
    e->port = (busbar_port){
        .version = BUSBAR_PORT_VERSION,
        .ctx = e,
        .mono_us = port_mono_us,
        .wall_ms = port_wall_ms,
        .boot_id = port_boot_id,
        .device_id = port_device_id,
        .random = port_random,
        .worker_id = port_worker_id,
        .worker_gone = port_worker_gone,
        .wake = &wake_api,
    };
    remembering = e;
    return true;
}

void environment_close(environment *e)
{
    remembering = NULL;
    busbar_sim_disk_free(e->disk);
    busbar_sim_free(e->sim);
}

void environment_arm(environment *e, const fault *f, uint64_t nth, bool goes_on)
{
    e->armed = f;
    e->nth = nth;
    e->goes_on = goes_on;
    e->calls = e->failures = 0;
    if (f->area == FAULT_DISK)
        busbar_sim_disk_fail(e->disk, f->call, nth, goes_on ? BUSBAR_SIM_DISK_ALWAYS : 1, f->code);
    else if (f->area == FAULT_HEAP && goes_on)
        heap_fail_from((int64_t)nth);
    else if (f->area == FAULT_HEAP)
        heap_fail_at((int64_t)nth);
}

uint64_t environment_calls(const environment *e)
{
    if (e->armed == NULL)
        return e->calls;
    if (e->armed->area == FAULT_DISK)
        return busbar_sim_disk_calls(e->disk);
    return e->armed->area == FAULT_HEAP ? (uint64_t)heap_calls() : e->calls;
}

uint64_t environment_failures(const environment *e)
{
    if (e->armed == NULL)
        return e->failures;
    if (e->armed->area == FAULT_DISK)
        return busbar_sim_disk_failures(e->disk);
    return e->armed->area == FAULT_HEAP ? heap_failed() : e->failures;
}

void environment_heal(environment *e)
{
    uint64_t calls = environment_calls(e);
    uint64_t failures = environment_failures(e);
    if (e->armed == NULL)
        return;
    if (e->armed->area == FAULT_DISK)
        busbar_sim_disk_fail(e->disk, 0, 0, 0, SQLITE_OK);
    else if (e->armed->area == FAULT_HEAP)
        heap_fail_at(0);
    e->armed = NULL;
    e->calls = calls;
    e->failures = failures;
}
