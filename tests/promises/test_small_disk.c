/* SPDX-License-Identifier: MIT */
/*
 * P12 (faults are errors) and P9 (bounded) on a small real file system that fills up and is freed, again and again, under one
 * handle that stays open: publishing, handlers, a route, dropping, pruning, and the application's own transactions.
 */
#define _GNU_SOURCE /* unshare */

#include "fixture.h"

#include <busbar/loopback.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB        1024u
#define DISK       "size=2m"
#define DATA_BYTES 1000
#define ROUNDS     4

typedef struct disk {
    char place[64];
    char filler[100];
    char kept_tmpdir[200];
    fixture f;
} disk;

/* ---- The file system ---- */

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* Mounts of our own, which nobody else sees, and which end with us; who is not root may be it in a world of their own. */
static bool leave_mounts(void)
{
    static bool left;
    char map[64];
    unsigned uid = (unsigned)getuid();
    unsigned gid = (unsigned)getgid();
    if (left)
        return true;
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return false;
        snprintf(map, sizeof map, "0 %u 1", uid);
        if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", map))
            return false;
        snprintf(map, sizeof map, "0 %u 1", gid);
        if (!write_text("/proc/self/gid_map", map))
            return false;
    }
    left = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return left;
}

/* False: not here. */
static bool disk_open(disk *d, uint64_t reserve_bytes)
{
    const char *before = getenv("TMPDIR");
    snprintf(d->kept_tmpdir, sizeof d->kept_tmpdir, "%s", before ? before : "/tmp");
    snprintf(d->place, sizeof d->place, "/tmp/busbar-disk-XXXXXX");
    assert_non_null(mkdtemp(d->place));
    if (!leave_mounts() || mount("busbar", d->place, "tmpfs", 0, DISK) != 0) {
        print_message("neither root nor a user namespace may mount a small file system here: %s\n", strerror(errno));
        rmdir(d->place);
        return false;
    }
    snprintf(d->filler, sizeof d->filler, "%s/filler", d->place);
    setenv("TMPDIR", d->place, 1);
    fixture_open_with(&d->f, (busbar_options){.size = sizeof(busbar_options), .reserve_bytes = reserve_bytes});
    sql(d->f.db, "PRAGMA wal_autocheckpoint=20");
    return true;
}

static void disk_close(disk *d)
{
    fixture_close(&d->f);
    setenv("TMPDIR", d->kept_tmpdir, 1);
    assert_int_equal(umount(d->place), 0);
    rmdir(d->place);
}

static void fill(const disk *d)
{
    static char block[4096];
    int fd = open(d->filler, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    memset(block, 7, sizeof block);
    while (write(fd, block, sizeof block) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void free_disk(const disk *d)
{
    assert_int_equal(unlink(d->filler), 0);
}

/* ---- The device ---- */

static busbar_verdict fail_some(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)reason, (void)ctx;
    return event->seq % 10 == 0 ? BUSBAR_DEAD : BUSBAR_DONE;
}

static void count_message(const busbar_message *message, void *ctx)
{
    (void)message;
    ++*(int64_t *)ctx;
}

static void set_up(disk *d, int64_t *received)
{
    busbar_handler handler = {.size = sizeof handler, .name = "reader", .fn = fail_some};
    busbar_loopback_options options = {.size = sizeof options, .receive = count_message, .ctx = received};
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "t"};
    busbar_transport transport;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(d->f.bus, busbar_subscribe(d->f.bus, &handler, 1), BUSBAR_OK);
    assert_code(d->f.bus, busbar_route_add(d->f.bus, &route, transport), BUSBAR_OK);
}

static int publish_one(disk *d)
{
    static char data[DATA_BYTES];
    memset(data, 'x', sizeof data);
    data[0] = data[DATA_BYTES - 1] = '"';
    busbar_event event = {.size = sizeof event, .type = "a.b", .data = data, .data_size_bytes = sizeof data};
    return busbar_publish(d->f.bus, &event, NULL);
}

/* A few seconds of the device's time. */
static void work(disk *d)
{
    uint64_t wait_us = 0;
    for (uint64_t passed_us = 0; passed_us < 3000000; passed_us += wait_us) {
        assert_code(d->f.bus, busbar_step(d->f.bus, 10000, &wait_us), BUSBAR_OK);
        wait_us = wait_us < 1000 ? 1000 : wait_us > 100000 ? 100000 : wait_us;
        busbar_sim_advance(d->f.sim, wait_us);
    }
}

/* How many went in before the disk was full. */
static int publish_until_full(disk *d)
{
    int count = 0;
    int result;
    while ((result = publish_one(d)) == BUSBAR_OK)
        assert_true(++count < 3000);
    assert_code(d->f.bus, result, BUSBAR_EFULL);
    assert_string_equal(busbar_error_name(result), "BUSBAR_EFULL");
    return count;
}

static void expect_all_delivered(disk *d, int64_t count, int64_t received)
{
    busbar_progress reader = progress_of(d->f.bus, "reader", BUSBAR_NORMAL);
    busbar_progress up = progress_of(d->f.bus, "up", BUSBAR_NORMAL);
    assert_int_equal(reader.delivered + reader.dead, count);
    assert_int_equal(up.delivered, count);
    assert_true(received >= count);
    assert_balanced(d->f.bus, "reader");
    assert_balanced(d->f.bus, "up");
}

static uint64_t drop(disk *d)
{
    busbar_selector all = {.size = sizeof all, .consumer = "reader"};
    uint64_t count = 0;
    assert_code(d->f.bus, busbar_act(d->f.bus, &all, BUSBAR_ACTION_DROP, &count), BUSBAR_OK);
    return count;
}

static uint64_t prune(disk *d)
{
    busbar_pruning pruning = {.size = sizeof pruning};
    uint64_t count = 0;
    assert_code(d->f.bus, busbar_prune(d->f.bus, &pruning, &count), BUSBAR_OK);
    return count;
}

/* The lowest that there is: the WAL takes up nothing, and can grow by nothing; what is free is filled. */
static void leave_no_room(disk *d)
{
    sql(d->f.db, "PRAGMA wal_checkpoint(TRUNCATE)");
    fill(d);
}

/* ---- With a reserve, only publishing waits ---- */

static void p12_on_a_full_disk_all_but_publishing_goes_on(void **unused)
{
    (void)unused;
    static disk d;
    int64_t received = 0;
    int64_t count = 0;
    int64_t dead_before = 0;
    if (!disk_open(&d, 256 * KIB))
        skip();
    set_up(&d, &received);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 200; i++, count++)
            assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
        leave_no_room(&d);
        count += publish_until_full(&d);
        work(&d); /* handling, relaying, acknowledging, deleting */
        expect_all_delivered(&d, count, received);
        int64_t dead = progress_of(d.f.bus, "reader", BUSBAR_NORMAL).dead;
        assert_int_equal(drop(&d), dead - dead_before);
        dead_before = dead;
        assert_true(prune(&d) > 100);
        sql(d.f.db, "BEGIN; INSERT OR REPLACE INTO state VALUES ('round', 1); COMMIT"); /* the application's own */
        assert_code(d.f.bus, publish_one(&d), BUSBAR_EFULL); /* the room is not the publishers' */
        free_disk(&d);
        busbar_sim_advance(d.f.sim, 60000000);
        assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
        count++;
        work(&d);
        expect_all_delivered(&d, count, received);
        assert_string_equal(sql_text(d.f.db, "PRAGMA integrity_check"), "ok");
    }
    disk_close(&d);
}

static void path_of_reserve(const disk *d, char out[250])
{
    snprintf(out, 250, "%s-reserve", d->f.path);
}

static int64_t size_of(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 ? (int64_t)about.st_size : -1;
}

/* A process may have ended while it wrote it. */
static void a_reserve_that_is_there_in_part_is_made_whole(void **unused)
{
    (void)unused;
    static disk d;
    char path[250];
    if (!disk_open(&d, 256 * KIB))
        skip();
    path_of_reserve(&d, path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
    assert_int_equal(size_of(path), 256 * KIB);
    disk_close(&d);
}

/* As `busbar drop` is, which knows nothing of the options of the application. */
static void the_reserve_is_given_up_whoever_has_taken_it(void **unused)
{
    (void)unused;
    static disk d;
    int64_t received = 0;
    uint64_t dropped = 0;
    char path[250];
    busbar *other = NULL;
    if (!disk_open(&d, 256 * KIB))
        skip();
    set_up(&d, &received);
    for (int i = 0; i < 300; i++)
        assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
    work(&d);
    sqlite3 *db = fixture_connect(&d.f);
    busbar_options options = d.f.options;
    options.reserve_bytes = 0;
    assert_int_equal(busbar_open(&other, db, &options, NULL), BUSBAR_OK);
    leave_no_room(&d);
    path_of_reserve(&d, path);
    assert_int_equal(size_of(path), 256 * KIB);
    busbar_selector all = {.size = sizeof all, .consumer = "reader"};
    assert_code(other, busbar_act(other, &all, BUSBAR_ACTION_DROP, &dropped), BUSBAR_OK);
    assert_int_equal(dropped, 30);
    assert_int_equal(size_of(path), -1);
    assert_code(other, busbar_close(other), BUSBAR_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    disk_close(&d);
}

/* What this process has given to write(2) so far. */
static int64_t written_bytes(void)
{
    long long bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "rchar: %*d wchar: %lld", &bytes), 1);
    fclose(file);
    return bytes;
}

/* P14: to find out whether the reserve can be taken again writes it. */
static void a_full_disk_is_tried_ever_more_rarely(void **unused)
{
    (void)unused;
    static disk d;
    int64_t received = 0;
    if (!disk_open(&d, 256 * KIB))
        skip();
    set_up(&d, &received);
    for (int i = 0; i < 100; i++)
        assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
    leave_no_room(&d);
    publish_until_full(&d);
    work(&d);
    drop(&d);
    int64_t before = written_bytes();
    for (int i = 0; i < 600; i++) { /* ten minutes */
        uint64_t wait_us = 0;
        for (int j = 0; j < 10; j++)
            assert_code(d.f.bus, publish_one(&d), BUSBAR_EFULL);
        assert_code(d.f.bus, busbar_step(d.f.bus, 1000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(d.f.sim, 1000000);
    }
    assert_in_range(written_bytes() - before, 0, 20 * 256 * KIB);
    disk_close(&d);
}

/* ---- Without one, everything waits, and goes on by itself ---- */

static void step_on_full_disk(disk *d)
{
    uint64_t wait_us = 0;
    for (int i = 0; i < 20; i++) {
        int result = busbar_step(d->f.bus, 1000, &wait_us);
        assert_true(result == BUSBAR_OK || result == BUSBAR_EFULL);
        busbar_sim_advance(d->f.sim, 1000000);
    }
}

static void p12_without_a_reserve_all_goes_on_when_there_is_room_again(void **unused)
{
    (void)unused;
    static disk d;
    int64_t received = 0;
    int64_t count = 0;
    if (!disk_open(&d, 0))
        skip();
    set_up(&d, &received);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 200; i++, count++)
            assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
        leave_no_room(&d);
        count += publish_until_full(&d);
        step_on_full_disk(&d);
        assert_balanced(d.f.bus, "reader");
        assert_balanced(d.f.bus, "up");
        free_disk(&d);
        assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
        count++;
        work(&d);
        expect_all_delivered(&d, count, received);
        drop(&d);
        prune(&d);
        assert_string_equal(sql_text(d.f.db, "PRAGMA integrity_check"), "ok");
    }
    disk_close(&d);
}

/* State and event stay together when the disk fills up within the application's transaction (P1). */
static void p1_a_transaction_that_the_disk_ends_leaves_neither(void **unused)
{
    (void)unused;
    static disk d;
    int64_t received = 0;
    if (!disk_open(&d, 0))
        skip();
    set_up(&d, &received);
    assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
    work(&d);
    leave_no_room(&d);
    sql(d.f.db, "BEGIN IMMEDIATE; INSERT INTO state VALUES ('a', 1)");
    int result = BUSBAR_OK;
    int count = 0;
    for (; count < 50 && result == BUSBAR_OK; count++)
        result = publish_one(&d);
    assert_true(result == BUSBAR_OK || result == BUSBAR_EFULL || result == BUSBAR_EROLLEDBACK);
    assert_int_not_equal(sqlite3_exec(d.f.db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_exec(d.f.db, "ROLLBACK", NULL, NULL, NULL);
    assert_int_equal(sql_integer(d.f.db, "SELECT count(*) FROM state"), 0);
    assert_int_equal(sql_integer(d.f.db, "SELECT count(*) FROM busbar_log_normal"), 1);
    free_disk(&d);
    sql(d.f.db, "BEGIN IMMEDIATE; INSERT INTO state VALUES ('a', 1)");
    assert_code(d.f.bus, publish_one(&d), BUSBAR_OK);
    sql(d.f.db, "COMMIT");
    work(&d);
    expect_all_delivered(&d, 2, received);
    disk_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p12_on_a_full_disk_all_but_publishing_goes_on),
        cmocka_unit_test(a_reserve_that_is_there_in_part_is_made_whole),
        cmocka_unit_test(the_reserve_is_given_up_whoever_has_taken_it),
        cmocka_unit_test(a_full_disk_is_tried_ever_more_rarely),
        cmocka_unit_test(p12_without_a_reserve_all_goes_on_when_there_is_room_again),
        cmocka_unit_test(p1_a_transaction_that_the_disk_ends_leaves_neither),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
