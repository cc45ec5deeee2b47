/* SPDX-License-Identifier: MIT */
/*
 * A commit can fail after it was done: the journal is gone, and then a sync or an unlock answers with an I/O error. Whoever
 * was told of the failure must not count the same work again (P8), nor do it again where it was to be done once (P7).
 */
#include "machine.h"
#include "test.h"

#define TRANSACTIONS 8u
#define STRIDE       7u

static history seen_outside;

static void work_off(machine *m, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        m->failure[0] = '\0';
        machine_work(m, m->bus);
        busbar_sim_advance(m->sim, 2000000); /* acknowledgements are recorded, retries are due */
    }
}

static void assert_accounted(machine *m, uint64_t nth)
{
    static const char *const none[] = {
        "SELECT count(*) FROM busbar_progress"
        " WHERE cursor - start <> filtered + delivered + dead + expired + evicted + retrying",
        "SELECT count(*) FROM busbar_progress AS p"
        " WHERE cursor < (SELECT max(seq) FROM busbar_events AS e WHERE e.lane = p.lane)",
        "SELECT (SELECT count(*) FROM effects) - (SELECT sum(delivered) FROM busbar_progress WHERE consumer = "
        "'inside')",
        "SELECT count(*) FROM (SELECT id FROM busbar_events EXCEPT SELECT id FROM published)",
        "SELECT count(*) FROM (SELECT id FROM published EXCEPT SELECT id FROM busbar_events)",
        "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        int64_t count = machine_integer(m->db, none[i]);
        if (count != 0)
            fail_msg("%s: %lld instead of 0 after call %llu had failed", none[i], (long long)count,
                     (unsigned long long)nth);
    }
}

/* The workload with one failing call. False if there are not so many calls. */
static bool survive(const setting *s, unsigned call, uint64_t nth)
{
    memset(&seen_outside, 0, sizeof seen_outside);
    busbar_sim_disk *disk = busbar_sim_disk_new(1);
    assert_non_null(disk);
    machine_prepare(disk, s);
    machine m = {.setting = s, .disk = disk, .history = &seen_outside};
    assert_true(machine_start(&m, 0, true));
    busbar_sim_disk_fail(disk, call, nth, 1, SQLITE_IOERR);
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        machine_transaction(&m, i);
        work_off(&m, 1);
    }
    bool failed = busbar_sim_disk_failures(disk) > 0;
    busbar_sim_disk_fail(disk, 0, 0, 0, SQLITE_OK);
    work_off(&m, 8);
    assert_accounted(&m, nth);
    m.failure[0] = '\0';
    machine_stop(&m);
    assert_string_equal(m.failure, "");
    busbar_sim_disk_free(disk);
    return failed;
}

static void fail_each(const setting *s, unsigned call)
{
    uint64_t nth = 1;
    while (survive(s, call, nth))
        nth += STRIDE;
    assert_true(nth > 5 * STRIDE);
}

static void p8_a_sync_fails_after_the_journal_was_truncated(void **unused)
{
    (void)unused;
    fail_each(&(setting){"", "truncate", "full", 4096, false}, BUSBAR_SIM_DISK_SYNC);
    fail_each(&(setting){"", "persist", "full", 4096, false}, BUSBAR_SIM_DISK_SYNC);
}

static void p8_an_unlock_fails_after_the_commit(void **unused)
{
    (void)unused;
    fail_each(&(setting){"", "delete", "full", 1024, false}, BUSBAR_SIM_DISK_UNLOCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p8_a_sync_fails_after_the_journal_was_truncated),
        cmocka_unit_test(p8_an_unlock_fails_after_the_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
