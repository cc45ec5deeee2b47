/* SPDX-License-Identifier: MIT */
/*
 * Power cuts: the reference workload in every setting of SQLite that Busbar accepts, cut at every operation of its record,
 * each survivor opened again and examined (P1 to P5, P7, P8 and P13's one transaction; see survivor.h). See --help.
 */
#include "cuts.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define SETTINGS_MAX 32
#define SPARSE       7u /* the settings that differ little from another: every so many-th point */
#define P2_KIND      2u /* the bit of BROKEN_P2 */
#define SHOWN        12u
#define MILLION      UINT64_C(1000000)

static const char USAGE[] =
    "usage: test_power_cut [--only PREFIX] [--sparse N]\n"
    "           cuts every point once, or every N-th one; PREFIX of settings, as in wal/normal/4096\n"
    "       test_power_cut --long [CUTS] [--seed S] [--jobs N] [--only PREFIX]\n"
    "           a million cuts, or so many, at every point, with the seeds from S on\n"
    "       test_power_cut --replay SETTING:OPERATION:SEED[:twice]\n"
    "           one cut, as it is printed with a failure\n";

typedef struct arguments {
    const char *program;
    const char *only;
    const char *replay;
    bool is_long;
    uint64_t cuts;
    uint64_t seed;
    uint64_t jobs;
    uint64_t sparse;
} arguments;

static arguments args = {.only = "", .cuts = MILLION, .seed = 1, .sparse = 1};

static bool is_chosen(const setting *s)
{
    return strncmp(s->name, args.only, strlen(args.only)) == 0;
}

/* Both pages of WAL, and one page of two rollback journals, get every point; the others are like one of these. */
static bool is_dense(const char *name)
{
    return strncmp(name, "wal/", 4) == 0 || (strncmp(name, "delete/", 7) == 0 && strstr(name, "/1024")) ||
           (strncmp(name, "truncate/", 9) == 0 && strstr(name, "/4096"));
}

static recording *new_recording(const setting *s, control c)
{
    recording *r = malloc(sizeof *r);
    assert_non_null(r);
    recording_make(r, s, c);
    return r;
}

static bench *new_bench(void)
{
    bench *b = malloc(sizeof *b);
    assert_non_null(b);
    assert_true(bench_open(b));
    return b;
}

static tally cut_everywhere(const setting *s, control c, plan p)
{
    tally t = {.cuts = 0};
    bench *b = new_bench();
    recording *r = new_recording(s, c);
    if (r->failure[0] != '\0')
        fail_msg("%s: %s", s->name, r->failure);
    cuts_everywhere(b, r, p, &t);
    recording_free(r);
    bench_close(b);
    free(r);
    free(b);
    return t;
}

/* ---- The short form ---------------------------------------------------------------------------------------------- */

static void survives(void **state)
{
    const setting *s = *state;
    plan p = {.stride = args.sparse * (is_dense(s->name) ? 1 : SPARSE), .first_seed = args.seed, .seed_count = 1};
    tally t = cut_everywhere(s, (control){.lies_in_steps = 0}, p);
    print_message("%s: %llu cuts, and %llu while it caught up\n", s->name, (unsigned long long)t.cuts,
                  (unsigned long long)t.second_cuts);
    if (t.failures > 0)
        fail_msg("%llu of them failed. The first: %s\n  again: %s --replay %s", (unsigned long long)t.failures, t.first,
                 args.program, t.replay);
    assert_true(t.cuts > 100 / args.sparse);
}

/* A replay is worth something only if the workload writes the same bytes each time. */
static void the_record_repeats(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < cuts_setting_count; i += 5) {
        recording *a = new_recording(&cuts_settings[i], (control){.lies_in_steps = 0});
        uint64_t count = busbar_sim_disk_op_count(a->disk);
        const void *bytes[2];
        size_t sizes[2];
        assert_int_equal(busbar_sim_disk_get(a->disk, MACHINE_FILE, &bytes[0], &sizes[0]), BUSBAR_OK);
        recording *b = new_recording(&cuts_settings[i], (control){.lies_in_steps = 0});
        assert_int_equal(busbar_sim_disk_op_count(b->disk), count);
        assert_int_equal(busbar_sim_disk_get(b->disk, MACHINE_FILE, &bytes[1], &sizes[1]), BUSBAR_OK);
        assert_int_equal(sizes[0], sizes[1]);
        assert_memory_equal(bytes[0], bytes[1], sizes[0]);
        size_t sent = cuts_settings[i].most > 0 ? 50 : 60; /* some are evicted, or expire */
        assert_true(a->history.row_count > 60 && a->history.commit_count > 20 && a->history.given.count > sent);
        recording_free(a);
        recording_free(b);
        free(a);
        free(b);
    }
}

/* ---- Controls: these must fail ----------------------------------------------------------------------------------- */

static tally control_of(const char *name, control c, uint64_t stride)
{
    const setting *s = cuts_find_setting(name, strlen(name));
    assert_non_null(s);
    return cut_everywhere(s, c, (plan){.stride = stride, .first_seed = 1, .seed_count = 1});
}

/* The barrier's commit is not synced: what was sent is gone. Seldom is more than that wrong: the lie covers all syncs of a
   step, and where a WAL begins anew one of them is for the file's sake. */
static void control_without_the_barrier_p2_breaks(void **unused)
{
    (void)unused;
    tally wal = control_of("wal/normal/4096", (control){.lies_in_steps = BUSBAR_SIM_DISK_LIE_WAL}, 3);
    assert_true(wal.broken & BROKEN_P2);
    assert_true(wal.by_kind[P2_KIND] > wal.failures / 2);
    tally journal = control_of("delete/normal/4096", (control){.lies_in_steps = BUSBAR_SIM_DISK_LIE_DIRECTORY}, 9);
    assert_true(journal.broken & BROKEN_P2);
}

static void control_with_a_journal_in_memory_files_break(void **unused)
{
    (void)unused;
    tally t = control_of("delete/full/4096", (control){.journal_in_memory = true}, 3);
    assert_true(t.broken & BROKEN_FILE);
}

static int run_short(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(the_record_repeats),
        cmocka_unit_test(control_without_the_barrier_p2_breaks),
        cmocka_unit_test(control_with_a_journal_in_memory_files_break),
    };
    struct CMUnitTest tests[SETTINGS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < cuts_setting_count && i < SETTINGS_MAX; i++)
        if (is_chosen(&cuts_settings[i]))
            tests[count++] = (struct CMUnitTest){.name = cuts_settings[i].name,
                                                 .test_func = survives,
                                                 .initial_state = (void *)(uintptr_t)&cuts_settings[i]};
    if (count == 0) {
        fprintf(stderr, "test_power_cut: there is no setting %s\n", args.only);
        return 2;
    }
    int failed = _cmocka_run_group_tests("power_cut", tests, count, NULL, NULL);
    if (args.only[0] == '\0' || strcmp(args.only, "wal") == 0)
        failed += cmocka_run_group_tests_name("controls", others, NULL, NULL);
    return failed;
}

/* ---- The long form: settings are shared out among processes ------------------------------------------------------- */

typedef struct share {
    tally tally;
    uint64_t planned;
    char failure[400];
} share;

/* Seed after seed, so that the share can be watched; `cuts` in all. */
static void cut_share(const setting *s, uint64_t cuts, share *out)
{
    bench *b = malloc(sizeof *b);
    recording *r = malloc(sizeof *r);
    plan p = {.stride = 1, .first_seed = args.seed, .seed_count = 1};
    if (!b || !r || !bench_open(b)) {
        snprintf(out->failure, sizeof out->failure, "out of memory");
        return;
    }
    recording_make(r, s, (control){.lies_in_steps = 0});
    memcpy(out->failure, r->failure, sizeof out->failure);
    uint64_t each = cuts_planned(r, p);
    out->planned = (cuts + each - 1) / each * each;
    for (; out->failure[0] == '\0' && out->tally.cuts < out->planned; p.first_seed++)
        cuts_everywhere(b, r, p, &out->tally);
    recording_free(r);
    bench_close(b);
    free(r);
    free(b);
}

static void show_progress(const share *shares, uint64_t total)
{
    uint64_t cuts = 0;
    uint64_t failures = 0;
    for (size_t i = 0; i < cuts_setting_count; i++) {
        cuts += shares[i].tally.cuts;
        failures += shares[i].tally.failures;
    }
    fprintf(stderr, "\r%llu of %llu cuts, %llu failed ", (unsigned long long)cuts, (unsigned long long)total,
            (unsigned long long)failures);
    fflush(stderr);
}

static bool report_share(const setting *s, const share *it)
{
    bool ok = it->failure[0] == '\0' && it->tally.failures == 0 && it->planned > 0 && it->tally.cuts >= it->planned;
    printf("%s - %s: %llu cuts, and %llu while it caught up, seeds from %llu on\n", ok ? "ok" : "not ok", s->name,
           (unsigned long long)it->tally.cuts, (unsigned long long)it->tally.second_cuts,
           (unsigned long long)args.seed);
    if (!ok)
        printf("%llu failed. The first: %s%s\n  again: %s --replay %s\n", (unsigned long long)it->tally.failures,
               it->tally.first, it->failure, args.program, it->tally.replay);
    fflush(stdout);
    return ok;
}

/* One process per job; job number n has the settings n, n + jobs, n + 2 jobs … */
static void work_off(share *shares, uint64_t job, uint64_t chosen)
{
    uint64_t index = 0;
    for (size_t i = 0; i < cuts_setting_count; i++)
        if (is_chosen(&cuts_settings[i]) && index++ % args.jobs == job)
            cut_share(&cuts_settings[i], args.cuts / chosen, &shares[i]);
}

static void wait_for_jobs(const share *shares)
{
    bool terminal = isatty(STDERR_FILENO);
    for (uint64_t left = args.jobs; left > 0;) {
        pid_t ended = waitpid(-1, NULL, terminal ? WNOHANG : 0);
        if (ended > 0 || (ended < 0 && errno != EINTR))
            left--;
        if (terminal) {
            show_progress(shares, args.cuts);
            usleep(200000);
        }
    }
    if (terminal)
        fputc('\n', stderr);
}

static int run_long(void)
{
    if (args.jobs == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        args.jobs = processors > 0 ? (uint64_t)processors : 1;
    }
    share *shares =
        mmap(NULL, cuts_setting_count * sizeof *shares, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t chosen = 0;
    int failed = 0;
    if (shares == MAP_FAILED) {
        perror("test_power_cut");
        return 1;
    }
    for (size_t i = 0; i < cuts_setting_count; i++)
        chosen += is_chosen(&cuts_settings[i]);
    for (uint64_t job = 0; job < args.jobs && chosen > 0; job++)
        if (fork() == 0) {
            work_off(shares, job, chosen);
            _exit(0);
        }
    wait_for_jobs(shares);
    for (size_t i = 0; i < cuts_setting_count; i++)
        if (is_chosen(&cuts_settings[i]))
            failed += !report_share(&cuts_settings[i], &shares[i]);
    munmap(shares, cuts_setting_count * sizeof *shares);
    return failed > 0 || chosen == 0;
}

/* ---- One cut ----------------------------------------------------------------------------------------------------- */

/* The last ones before the cut, and the one it came in. */
static void show_operations(const recording *r, uint64_t op)
{
    char text[BUSBAR_SIM_DISK_OP_SIZE];
    for (uint64_t i = op > SHOWN ? op - SHOWN : 0; i <= op; i++)
        if (busbar_sim_disk_op(r->disk, i, text) == BUSBAR_OK)
            printf("%8llu %s%s\n", (unsigned long long)i, text, i == op ? "   <- the cut" : "");
}

static int run_replay(void)
{
    unsigned long long op = 0;
    unsigned long long seed = 0;
    char rest[16] = "";
    const char *colon = strchr(args.replay, ':');
    const setting *s = colon ? cuts_find_setting(args.replay, (size_t)(colon - args.replay)) : NULL;
    if (!s || sscanf(colon, ":%llu:%llu%15s", &op, &seed, rest) < 2 || (rest[0] && strcmp(rest, ":twice") != 0)) {
        fprintf(stderr, "test_power_cut: --replay takes SETTING:OPERATION:SEED, with :twice or not\n");
        return 2;
    }
    tally t = {.cuts = 0};
    bench *b = new_bench();
    recording *r = new_recording(s, (control){.lies_in_steps = 0});
    if (r->failure[0] == '\0')
        cuts_at(b, r, (point){.op = op, .seed = seed, .twice = rest[0] != '\0'}, &t);
    show_operations(r, op);
    printf("%s%s%s\n", r->failure, t.first, t.failures || r->failure[0] ? "" : "it survived");
    int failed = t.failures > 0 || r->failure[0] != '\0';
    recording_free(r);
    bench_close(b);
    free(r);
    free(b);
    return failed;
}

static bool take_number(const char *text, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;
    if (!text || errno != 0 || end == text || *end != '\0' || value == 0)
        return false;
    *out = value;
    return true;
}

static bool take_arguments(char **argv)
{
    for (int i = 1; argv[i]; i++) {
        const char *value = argv[i + 1];
        bool takes_value = true;
        bool good = true;
        if (strcmp(argv[i], "--long") == 0) {
            args.is_long = true;
            takes_value = take_number(value, &args.cuts);
        } else if (strcmp(argv[i], "--only") == 0) {
            args.only = value;
            good = value != NULL;
        } else if (strcmp(argv[i], "--replay") == 0) {
            args.replay = value;
            good = value != NULL;
        } else if (strcmp(argv[i], "--seed") == 0) {
            good = take_number(value, &args.seed);
        } else if (strcmp(argv[i], "--jobs") == 0) {
            good = take_number(value, &args.jobs);
        } else if (strcmp(argv[i], "--sparse") == 0) {
            good = take_number(value, &args.sparse);
        } else {
            return false;
        }
        if (!good)
            return false;
        i += takes_value;
    }
    return true;
}

int main(int argc, char **argv)
{
    (void)argc;
    args.program = argv[0];
    if (!take_arguments(argv)) {
        fputs(USAGE, stderr);
        return 2;
    }
    if (args.replay)
        return run_replay();
    return args.is_long ? run_long() : run_short();
}
