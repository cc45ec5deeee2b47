/* SPDX-License-Identifier: MIT */
/*
 * P12: a file that has decayed. Random bytes, pages and the length of a database with content, or of its WAL, are damaged;
 * then it is opened, and everything that the interface offers is tried on it. Nothing crashes, hangs or reads where it must
 * not (the sanitizers look on); who fails says so with a code and a text, and the rest goes on.
 */
#define _POSIX_C_SOURCE 200809L /* alarm, write */

#include <busbar/loopback.h>
#include <busbar/sim.h>
#include <busbar/sim_disk.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME  "app.db"
#define WAL_NAME   "app.db-wal"
#define PAGE_BYTES 1024u
#define EVENTS     240
#define TURNS      30
#define PATIENCE_S 60u /* for one file; it takes some milliseconds */
#define DAMAGE_MAX 6u
#define OPS_MAX    2000000 /* of one statement */

typedef struct image {
    unsigned char *bytes;
    size_t size;
} image;

typedef struct device {
    busbar_sim_disk *disk;
    busbar_sim *sim;
    sqlite3 *db;
    busbar *bus;
} device;

static struct {
    image db;
    image wal;
} sound;

static uint64_t read_bytes; /* so that no compiler leaves the reading out */
static uint64_t failed_calls;
static uint64_t all_calls;
static uint64_t found; /* files in which the check found something, or that it could not read */
static char replay[200];
static const char *doing = "";

static uint64_t random_below(uint64_t *state, uint64_t limit)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % limit;
}

static void give_up(const char *what, const char *why)
{
    printf("not ok - %s: %s\n  again: %s\n", what, why, replay);
    fflush(stdout);
    _exit(1);
}

/* Nothing but what a signal handler may call. */
static void on_signal(int number)
{
    static const char what[] = "\nnot ok - it crashed or hung; again: ";
    (void)!write(STDOUT_FILENO, doing, strlen(doing));
    (void)!write(STDOUT_FILENO, what, sizeof what - 1);
    (void)!write(STDOUT_FILENO, replay, strlen(replay));
    (void)!write(STDOUT_FILENO, "\n", 1);
    signal(number, SIG_DFL);
    raise(number == SIGALRM ? SIGABRT : number);
}

/* ---- Reading everything that is handed out ----------------------------------------------------------------------- */

static void read_text(const char *text)
{
    for (; text && *text; text++)
        read_bytes += (unsigned char)*text;
}

static void read_data(const void *data, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++)
        read_bytes += ((const unsigned char *)data)[i];
}

static void read_record(const busbar_record *r)
{
    static char json[8192];
    const char *const texts[] = {r->id,         r->source,     r->type,      r->subject, r->key, r->datacontenttype,
                                 r->dataschema, r->extensions, r->given_time};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        read_text(texts[i]);
    read_data(r->data, r->data_size_bytes);
    size_t size = busbar_record_encode(r, json, sizeof json);
    read_data(json, size < sizeof json ? size : 0);
}

static busbar_verdict handle(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)ctx;
    read_record(record);
    snprintf(reason->text, sizeof reason->text, "so it goes");
    if (record->type && strcmp(record->type, "a.dead") == 0)
        return BUSBAR_DEAD;
    return record->type && strcmp(record->type, "a.slow") == 0 && record->attempt < 3 ? BUSBAR_RETRY : BUSBAR_DONE;
}

static void receive(const busbar_message *message, void *ctx)
{
    (void)ctx;
    read_text(message->topic);
    read_data(message->payload, message->payload_size_bytes);
}

static int see_event(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)ctx;
    read_record(event);
    if (standing)
        read_text(standing->reason);
    return 0;
}

static int see_standing(const busbar_standing *standing, void *ctx)
{
    (void)ctx;
    read_text(standing->consumer);
    read_text(standing->reason);
    return 0;
}

static int see_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    (void)ctx;
    read_text(consumer->name);
    read_text(consumer->pattern);
    read_text(consumer->filter);
    read_text(consumer->worker);
    read_text(consumer->last_error);
    return 0;
}

static int see_reason(const busbar_health_reason *reason, void *ctx)
{
    (void)ctx;
    read_text(reason->text);
    return 0;
}

static int see_finding(const busbar_finding *finding, void *ctx)
{
    read_text(finding->part);
    read_text(finding->text);
    read_text(finding->advice);
    ++*(int *)ctx;
    return 0;
}

/* ---- Using a bus ------------------------------------------------------------------------------------------------- */

/* Of the caller's mistakes there are none here: a code must be one of the environment, of the tables, or of an outcome. */
static bool good(const device *d, int code, const char *what)
{
    busbar_error error = {.code = 0};
    doing = what;
    all_calls++;
    if (code >= 0)
        return true;
    failed_calls++;
    busbar_error_get(d->bus, &error);
    if (code >= BUSBAR_ENOTXN || (d->bus && error.text[0] == '\0') ||
        strncmp(busbar_error_name(code), "BUSBAR_E", 8) != 0)
        give_up(what, error.text[0] ? error.text : busbar_error_name(code));
    return false;
}

/* SQLite itself may walk about in a damaged tree for ever; an application that fears it interrupts it like this. */
static int interrupt(void *ctx)
{
    (void)ctx;
    return 1;
}

static bool open_device(device *d, bool wal)
{
    const char *text = wal ? "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0"
                           : "PRAGMA page_size=1024; PRAGMA journal_mode=DELETE";
    doing = "open";
    if (sqlite3_open_v2(FILE_NAME, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, busbar_sim_disk_vfs(d->disk)) !=
        SQLITE_OK)
        return false;
    sqlite3_progress_handler(d->db, OPS_MAX, interrupt, NULL);
    (void)sqlite3_exec(d->db, text, NULL, NULL, NULL); /* a damaged one is left to Busbar as it is */
    const busbar_options options = {
        .size = sizeof options,
        .port = busbar_sim_port(d->sim),
        .keep_events = 10,
        .max_bytes = 8u << 20,
        .max_events = {0, 0, 40},
        .max_age_ms = {3600000, 0, 0},
    };
    return good(d, busbar_open(&d->bus, d->db, &options, NULL), "busbar_open");
}

static void close_device(device *d)
{
    doing = "close";
    if (busbar_close(d->bus) != BUSBAR_OK)
        give_up("busbar_close", "it refuses");
    if (sqlite3_close(d->db) != SQLITE_OK)
        give_up("sqlite3_close", sqlite3_errmsg(d->db));
    d->bus = NULL;
    d->db = NULL;
}

static void add_consumers(device *d)
{
    static const busbar_retry retry = {.base_ms = 10, .cap_ms = 40};
    const busbar_handler handlers[] = {
        {.size = sizeof *handlers, .name = "inside", .fn = handle, .start = BUSBAR_START_BEGINNING, .retry = retry},
        {.size = sizeof *handlers,
         .name = "outside",
         .fn = handle,
         .start = BUSBAR_START_BEGINNING,
         .delivery = BUSBAR_OUTSIDE,
         .order = BUSBAR_ORDER_KEY,
         .retry = retry},
    };
    const busbar_route route = {.size = sizeof route, .name = "up", .topic = "{lane}/{type}/{id}", .window = 8};
    const busbar_loopback_options options = {.size = sizeof options, .receive = receive};
    busbar_transport transport;
    (void)good(d, busbar_subscribe(d->bus, handlers, 2), "subscribe");
    if (busbar_loopback_new(&options, &transport) == BUSBAR_OK)
        (void)good(d, busbar_route_add(d->bus, &route, transport), "route");
}

static void work(device *d, int turns)
{
    for (int i = 0; i < turns; i++) {
        uint64_t wait_us = 1000;
        (void)good(d, busbar_step(d->bus, 20000, &wait_us), "step");
        busbar_sim_advance(d->sim, wait_us > 20000 ? 20000 : wait_us + 10);
    }
}

static void publish_one(device *d, int i)
{
    static const char *const types[] = {"a.b", "a.slow", "a.b", "a.dead", "c.d"};
    static const busbar_lane lanes[] = {BUSBAR_NORMAL, BUSBAR_BULK, BUSBAR_NORMAL, BUSBAR_URGENT};
    static char data[3000];
    char given[24];
    const busbar_attribute site = {.name = "site", .string = "north"};
    snprintf(given, sizeof given, "given-%d", i);
    memset(data, 'x', sizeof data);
    busbar_event event = {
        .size = sizeof event,
        .type = types[i % 5],
        .lane = lanes[i % 4],
        .id = i % 6 == 2 ? given : NULL,
        .key = i % 3 == 1 ? "k" : NULL,
        .subject = i % 2 ? "pump" : NULL,
        .extensions = &site,
        .extension_count = i % 7 == 0,
        .data = data,
        .data_size_bytes = i % 10 == 9 ? sizeof data : 60,
        .binary = true,
        .ttl_ms = i % 8 == 3 ? 5000 : 0,
        .delay_ms = i % 20 == 11 ? 100 : 0,
    };
    (void)good(d, busbar_publish(d->bus, &event, NULL), "publish");
}

static void look(device *d)
{
    busbar_status status = {.size = sizeof status};
    busbar_query query = {.size = sizeof query};
    busbar_health health = BUSBAR_HEALTH_OK;
    int findings = 0;
    (void)good(d, busbar_status_get(d->bus, &status), "status");
    (void)good(d, busbar_consumer_list(d->bus, see_consumer, NULL), "consumer_list");
    (void)good(d, busbar_health_get(d->bus, NULL, see_reason, NULL, &health), "health");
    (void)good(d, busbar_list(d->bus, &query, see_event, NULL), "list");
    query.consumer = "outside";
    (void)good(d, busbar_list(d->bus, &query, see_event, NULL), "list");
    (void)good(d, busbar_show(d->bus, "given-2", see_event, see_standing, NULL), "show");
    bool readable = good(d, busbar_check(d->bus, see_finding, &findings), "check");
    found += !readable || findings > 0;
}

static void act(device *d)
{
    uint64_t count = 0;
    busbar_selector all = {.size = sizeof all, .consumer = "inside"};
    busbar_selector some = {.size = sizeof some, .consumer = "up", .pattern = "a.#", .limit = 20};
    busbar_pruning pruning = {.size = sizeof pruning, .keep = 5};
    (void)good(d, busbar_act(d->bus, &all, BUSBAR_ACTION_RETRY, &count), "retry");
    (void)good(d, busbar_act(d->bus, &some, BUSBAR_ACTION_REPLAY, &count), "replay");
    work(d, 5);
    (void)good(d, busbar_act(d->bus, &all, BUSBAR_ACTION_DROP, &count), "drop");
    (void)good(d, busbar_prune(d->bus, &pruning, &count), "prune");
}

/* Everything, on whatever the disk holds. */
static void use(device *d, bool wal)
{
    if (open_device(d, wal)) {
        look(d);
        add_consumers(d);
        for (int i = 0; i < 12; i++)
            publish_one(d, EVENTS + i);
        work(d, TURNS);
        look(d);
        act(d);
        (void)good(d, busbar_consumer_remove(d->bus, "gone"), "consumer_remove");
        work(d, TURNS);
        look(d);
    }
    close_device(d);
}

/* ---- The file, sound and damaged --------------------------------------------------------------------------------- */

static device new_device(uint64_t seed)
{
    device d = {.disk = busbar_sim_disk_new(seed), .sim = busbar_sim_new(7)};
    if (!d.disk || !d.sim)
        give_up("device", "out of memory");
    busbar_sim_disk_repeatable(d.disk, seed);
    busbar_sim_tick(d.sim,
                    5); /* work takes time, and ends with its budget, also where a damaged index shows it again */
    return d;
}

static void free_device(device *d)
{
    busbar_sim_free(d->sim);
    busbar_sim_disk_free(d->disk);
}

static image copy_of(const device *d, const char *name)
{
    const void *data = NULL;
    image i = {.bytes = NULL};
    if (busbar_sim_disk_get(d->disk, name, &data, &i.size) != BUSBAR_OK || i.size == 0)
        return (image){.bytes = NULL};
    i.bytes = malloc(i.size);
    if (!i.bytes)
        give_up("image", "out of memory");
    memcpy(i.bytes, data, i.size);
    return i;
}

/* Some events done, some dead, some in trouble, some evicted, many to come: in the file, and the last of it in the WAL. */
static void make_sound(void)
{
    device d = new_device(1);
    if (!open_device(&d, true))
        give_up("a new file", "does not open");
    add_consumers(&d);
    for (int i = 0; i < EVENTS; i++) {
        publish_one(&d, i);
        if (i == EVENTS / 3)
            work(&d, 12);
        if (i == EVENTS * 2 / 3)
            (void)sqlite3_exec(d.db, "PRAGMA wal_checkpoint", NULL, NULL, NULL);
    }
    work(&d, 2);
    sound.wal = copy_of(&d, WAL_NAME);
    sound.db = copy_of(&d, FILE_NAME);
    close_device(&d);
    free_device(&d);
    if (failed_calls > 0 || !sound.wal.bytes || !sound.db.bytes)
        give_up("a sound file", "cannot be made");
}

static void hurt(image *i, uint64_t *state)
{
    size_t page = (size_t)random_below(state, (i->size + PAGE_BYTES - 1) / PAGE_BYTES) * PAGE_BYTES;
    size_t size = i->size - page < PAGE_BYTES ? i->size - page : PAGE_BYTES;
    size_t at = page + (size_t)random_below(state, size);
    switch (random_below(state, 7)) {
    case 0:
        i->bytes[at] ^= (unsigned char)(1u << random_below(state, 8));
        break;
    case 1:
        memset(i->bytes + page, 0, size);
        break;
    case 2:
        for (size_t k = 0; k < size; k++)
            i->bytes[page + k] = (unsigned char)random_below(state, 256);
        break;
    case 3: /* another page in its place */
        memmove(i->bytes + page, i->bytes + (size_t)random_below(state, i->size - size + 1) / PAGE_BYTES * PAGE_BYTES,
                size);
        break;
    case 4: /* in the head of the page, where the tree is */
        i->bytes[page + (size_t)random_below(state, size < 40 ? size : 40)] = (unsigned char)random_below(state, 256);
        break;
    case 5:
        for (size_t k = 0; k < 16; k++)
            i->bytes[page + (size_t)random_below(state, size)] = (unsigned char)random_below(state, 256);
        break;
    default:
        if (random_below(state, 4) == 0)
            i->size = at + 1;
        break;
    }
}

static void put(device *d, const char *name, const image *from, bool damaged, uint64_t *state)
{
    image copy = {.bytes = malloc(from->size), .size = from->size};
    if (!copy.bytes)
        give_up("image", "out of memory");
    memcpy(copy.bytes, from->bytes, from->size);
    for (uint64_t n = damaged ? 1 + random_below(state, DAMAGE_MAX) : 0; n > 0; n--)
        hurt(&copy, state);
    if (busbar_sim_disk_put(d->disk, name, copy.bytes, copy.size) != BUSBAR_OK)
        give_up("image", "out of memory");
    free(copy.bytes);
}

/* Seed 0 damages nothing. */
static void decay(const char *program, uint64_t seed)
{
    uint64_t state = seed;
    bool in_wal = seed % 4 == 3;
    device d = new_device(seed);
    snprintf(replay, sizeof replay, "%s 1 %" PRIu64, program, seed);
    alarm(PATIENCE_S);
    put(&d, FILE_NAME, &sound.db, seed > 0 && !in_wal, &state);
    if (in_wal || seed % 2 == 0)
        put(&d, WAL_NAME, &sound.wal, in_wal, &state);
    use(&d, seed % 2 == 0 || in_wal);
    free_device(&d);
    alarm(0);
}

/* Arguments: how many files, and the number of the first. */
int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    make_sound();
    decay(argv[0], 0);
    if (found > 0)
        give_up("a sound file", "has findings");
    for (uint64_t i = 0; i < count; i++)
        decay(argv[0], first + i);
    printf("%s - %" PRIu64 " damaged files: in %" PRIu64 " looks the check found the damage, %" PRIu64 " of %" PRIu64
           " calls failed\n",
           found > 0 || count < 10 ? "ok" : "not ok", count, found, failed_calls, all_calls);
    free(sound.db.bytes);
    free(sound.wal.bytes);
    return found == 0 && count >= 10;
}
