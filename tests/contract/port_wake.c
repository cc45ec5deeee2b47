/* SPDX-License-Identifier: MIT */
/* What every wake object must do: tell that another process committed, always, and say nothing otherwise. */
#include "test.h"

#include "peer.h"
#include "port_wake.h"
#include "scratch.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* Far above any delay of a sound implementation: whoever waits for so long has lost a wake-up. */
#define LOST_MS 20000

/* So long nothing may happen before the next wake-up is taken for one of the next commit. */
#define QUIET_MS 700

typedef struct subject {
    const busbar_port *port;
    char directory[SCRATCH_PATH_SIZE];
    char path[SCRATCH_PATH_SIZE];
    peer *other;
    sqlite3 *db; /* this process's */
    void *wake;
} subject;

/* ---- Setting up -------------------------------------------------------------------------------------------------- */

static void open_here(subject *it)
{
    assert_int_equal(sqlite3_open_v2(it->path, &it->db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(it->db, 10000);
    peer_last_seq(it->db);
}

static void open_wake(subject *it)
{
    it->wake = it->port->wake->open(it->port->ctx, it->path);
    assert_non_null(it->wake);
}

/* A database, and another process that has it open. */
static subject begin_with(void **state, const char *journal_mode, bool full_sync, uint32_t slow_sync_us)
{
    subject it = {.port = *state};
    scratch_make(it.directory);
    scratch_path(it.directory, "state.db", it.path);
    peer_make_database(it.path, journal_mode);
    it.other = peer_start(&(peer_options){it.path, full_sync, slow_sync_us});
    peer_connect(it.other);
    return it;
}

/* The same in WAL mode, open here too, and watched. */
static subject begin(void **state)
{
    subject it = begin_with(state, "WAL", false, 0);
    open_here(&it);
    open_wake(&it);
    return it;
}

static void end(subject *it)
{
    if (it->wake != NULL)
        it->port->wake->close(it->wake);
    sqlite3_close(it->db);
    peer_stop(it->other);
    scratch_remove(it->directory);
}

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

static bool is_readable(const subject *it, int timeout_ms)
{
    struct pollfd set = {.fd = it->port->wake->fd(it->wake), .events = POLLIN};
    int count = poll(&set, 1, timeout_ms);
    assert_true(count >= 0);
    return count == 1 && (set.revents & POLLIN) != 0;
}

/* As a worker waits: looks first, and sleeps until it is woken. False if a wake-up was lost. */
static bool await_seq(const subject *it, int64_t seq)
{
    while (peer_last_seq(it->db) < seq) {
        if (!is_readable(it, LOST_MS))
            return false;
        it->port->wake->clear(it->wake);
    }
    return true;
}

/* Fails if it never comes to rest. */
static void await_quiet(const subject *it)
{
    uint64_t until_us = scratch_now_us() + LOST_MS * UINT64_C(1000);
    while (is_readable(it, QUIET_MS)) {
        it->port->wake->clear(it->wake);
        assert_true(scratch_now_us() < until_us);
    }
}

/* ---- At rest ----------------------------------------------------------------------------------------------------- */

static void the_descriptor_stays_the_same(void **state)
{
    subject it = begin(state);
    int fd = it.port->wake->fd(it.wake);
    assert_true(fd >= 0);
    peer_commit(it.other);
    assert_true(is_readable(&it, LOST_MS));
    it.port->wake->clear(it.wake);
    assert_int_equal(it.port->wake->fd(it.wake), fd);
    end(&it);
}

static void at_rest_nothing_is_readable(void **state)
{
    subject it = begin(state);
    assert_false(is_readable(&it, 100));
    assert_false(it.port->wake->clear(it.wake));
    assert_false(is_readable(&it, 0));
    end(&it);
}

static void a_worker_that_only_looks_does_not_wake_itself(void **state)
{
    subject it = begin(state);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(peer_last_seq(it.db), 0);
    assert_false(is_readable(&it, 100));
    end(&it);
}

/* Whatever is done to say "look again" ends, and is no busy loop. */
static void after_a_write_it_comes_to_rest(void **state)
{
    subject it = begin(state);
    peer_commit(it.other);
    unsigned count = 0;
    uint64_t end_us = scratch_now_us() + 1000000;
    while (scratch_now_us() < end_us)
        if (is_readable(&it, 20) && it.port->wake->clear(it.wake))
            count++;
    assert_in_range(count, 1, 20);
    end(&it);
}

static void clear_takes_the_signal(void **state)
{
    subject it = begin(state);
    peer_commit(it.other);
    assert_true(is_readable(&it, LOST_MS));
    assert_true(it.port->wake->clear(it.wake));
    /* Unless a planned "look again" is due in this very moment. */
    unsigned tries = 20;
    while (tries > 0 && is_readable(&it, 0)) {
        it.port->wake->clear(it.wake);
        tries--;
    }
    assert_int_not_equal(tries, 0);
    end(&it);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void other_files_beside_the_database_are_no_writes(void **state)
{
    subject it = begin(state);
    char path[SCRATCH_PATH_SIZE];
    scratch_path(it.directory, "state.db-wal.bak", path);
    write_text(path, "new");
    assert_false(it.port->wake->clear(it.wake));
    write_text(path, "more");
    scratch_path(it.directory, "notes.txt", path);
    write_text(path, "new");
    unlink(path);
    assert_false(it.port->wake->clear(it.wake));
    end(&it);
}

/* ---- Commits ----------------------------------------------------------------------------------------------------- */

static void a_commit_of_another_process_wakes(void **state)
{
    subject it = begin(state);
    peer_commit(it.other);
    assert_true(is_readable(&it, LOST_MS));
    assert_true(it.port->wake->clear(it.wake));
    assert_int_equal(peer_last_seq(it.db), 1);
    end(&it);
}

static void no_wake_up_is_lost(void **state)
{
    for (unsigned full_sync = 0; full_sync < 2; full_sync++) {
        subject it = begin_with(state, "WAL", full_sync == 1, 0);
        open_here(&it);
        open_wake(&it);
        for (int64_t seq = 1; seq <= 300; seq++) {
            peer_commit_soon(it.other);
            bool seen = await_seq(&it, seq);
            peer_finish(it.other);
            assert_true(seen);
        }
        end(&it);
    }
}

/* The commit becomes visible long after its last write to the file: when the log has been synced. */
static void no_wake_up_is_lost_on_slow_storage(void **state)
{
    static const uint32_t sync_us[] = {300, 3000, 30000, 300000, 1000000};
    for (size_t i = 0; i < sizeof sync_us / sizeof sync_us[0]; i++) {
        subject it = begin_with(state, "WAL", true, sync_us[i]);
        open_here(&it);
        open_wake(&it);
        for (int64_t seq = 1; seq <= 2; seq++) {
            peer_commit_soon(it.other);
            bool seen = await_seq(&it, seq);
            peer_finish(it.other);
            assert_true(seen);
        }
        end(&it);
    }
}

static void a_commit_with_a_rollback_journal_wakes(void **state)
{
    subject it = begin_with(state, "DELETE", false, 0);
    open_here(&it);
    open_wake(&it);
    assert_false(is_readable(&it, 50));
    for (int64_t seq = 1; seq <= 20; seq++) {
        peer_commit_soon(it.other);
        bool seen = await_seq(&it, seq);
        peer_finish(it.other);
        assert_true(seen);
    }
    /* And it is the database that tells, not the journal that comes and goes beside it. */
    await_quiet(&it);
    peer_commit(it.other);
    assert_true(is_readable(&it, QUIET_MS));
    assert_true(it.port->wake->clear(it.wake));
    end(&it);
}

/* Nobody has the database open when the watching begins, and later again: the WAL comes and goes. */
static void a_wal_that_comes_and_goes_is_followed(void **state)
{
    subject it = begin_with(state, "WAL", false, 0);
    peer_disconnect(it.other);
    assert_int_equal(scratch_count(it.directory), 1);
    open_wake(&it);
    assert_false(is_readable(&it, 50));
    for (int64_t seq = 1; seq <= 3; seq++) {
        peer_connect(it.other);
        await_quiet(&it);
        peer_commit(it.other);
        assert_true(is_readable(&it, QUIET_MS));
        assert_true(it.port->wake->clear(it.wake));
        peer_disconnect(it.other);
        assert_int_equal(scratch_count(it.directory), 1);
    }
    end(&it);
}

/* The same, when the first thing noticed of the new WAL is that it is there. */
static void a_commit_into_a_wal_just_made_wakes(void **state)
{
    subject it = begin_with(state, "WAL", false, 0);
    peer_disconnect(it.other);
    open_wake(&it);
    peer_connect(it.other);
    peer_commit(it.other);
    assert_true(is_readable(&it, LOST_MS));
    assert_true(it.port->wake->clear(it.wake));
    await_quiet(&it);
    peer_commit(it.other);
    assert_true(is_readable(&it, QUIET_MS));
    end(&it);
}

static void several_wake_objects_on_one_file_are_woken_each(void **state)
{
    subject it = begin(state);
    subject second = it;
    open_wake(&second);
    peer_commit(it.other);
    assert_true(is_readable(&it, LOST_MS));
    assert_true(it.port->wake->clear(it.wake));
    assert_true(is_readable(&second, LOST_MS));
    assert_true(second.port->wake->clear(second.wake));
    second.port->wake->close(second.wake);
    end(&it);
}

/* ---- Watched descriptors, life ----------------------------------------------------------------------------------- */

static void a_watched_descriptor_wakes_until_it_is_unwatched(void **state)
{
    subject it = begin(state);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(it.port->wake->watch(it.wake, fds[0]), 0);
    assert_false(is_readable(&it, 20));
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_true(is_readable(&it, LOST_MS));
    /* It is not the file that was written, and only reading the descriptor takes its signal. */
    assert_false(it.port->wake->clear(it.wake));
    assert_true(is_readable(&it, 0));
    it.port->wake->unwatch(it.wake, fds[0]);
    assert_false(is_readable(&it, 20));
    assert_int_equal(it.port->wake->watch(it.wake, fds[0]), 0);
    assert_true(is_readable(&it, 0));
    it.port->wake->unwatch(it.wake, fds[0]);
    it.port->wake->unwatch(it.wake, fds[0]);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(it.port->wake->watch(it.wake, -1), -1);
    peer_commit(it.other);
    assert_true(is_readable(&it, LOST_MS));
    end(&it);
}

static void what_cannot_be_watched_is_refused(void **state)
{
    const busbar_port *port = *state;
    unsigned before = scratch_open_fds();
    assert_null(port->wake->open(port->ctx, "/nowhere/at/all.db"));
    assert_null(port->wake->open(port->ctx, "relative.db"));
    assert_null(port->wake->open(port->ctx, ""));
    assert_int_equal(scratch_open_fds(), before);
}

static void close_gives_everything_back(void **state)
{
    subject it = begin_with(state, "WAL", false, 0);
    unsigned before = scratch_open_fds();
    for (unsigned i = 0; i < 100; i++) {
        open_wake(&it);
        if (i % 25 == 0)
            peer_commit(it.other);
        it.port->wake->clear(it.wake);
        it.port->wake->close(it.wake);
    }
    assert_int_equal(scratch_open_fds(), before);
    it.wake = NULL;
    end(&it);
}

int port_wake_contract_run(const busbar_port *port)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(the_descriptor_stays_the_same),
        cmocka_unit_test(at_rest_nothing_is_readable),
        cmocka_unit_test(a_worker_that_only_looks_does_not_wake_itself),
        cmocka_unit_test(after_a_write_it_comes_to_rest),
        cmocka_unit_test(clear_takes_the_signal),
        cmocka_unit_test(other_files_beside_the_database_are_no_writes),
        cmocka_unit_test(a_commit_of_another_process_wakes),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(no_wake_up_is_lost_on_slow_storage),
        cmocka_unit_test(a_commit_with_a_rollback_journal_wakes),
        cmocka_unit_test(a_wal_that_comes_and_goes_is_followed),
        cmocka_unit_test(a_commit_into_a_wal_just_made_wakes),
        cmocka_unit_test(several_wake_objects_on_one_file_are_woken_each),
        cmocka_unit_test(a_watched_descriptor_wakes_until_it_is_unwatched),
        cmocka_unit_test(what_cannot_be_watched_is_refused),
        cmocka_unit_test(close_gives_everything_back),
    };
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tests[i].initial_state = (void *)(uintptr_t)port;
    return cmocka_run_group_tests_name("port contract: wake", tests, NULL, NULL);
}
