/* SPDX-License-Identifier: MIT */
/* The Linux port against the contracts of ports and wake objects, and what only it promises (busbar/linux.h). */
#include "test.h"

#include <busbar/linux.h>

#include "child.h"
#include "peer.h"
#include "port.h"
#include "port_wake.h"
#include "scratch.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- The contract ------------------------------------------------------------------------------------------------ */

/* A process that does nothing but have a name. */
typedef struct process {
    pid_t pid;
    char id[BUSBAR_IDENTITY_SIZE];
} process;

typedef struct machine {
    process running;
} machine;

static process start_child(void)
{
    process it = {.pid = -1};
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    it.pid = fork();
    assert_true(it.pid >= 0);
    if (it.pid == 0) {
        const busbar_port *port = busbar_linux_port();
        char id[BUSBAR_IDENTITY_SIZE] = {0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (port->worker_id(port->ctx, id) == 0 && write(fds[1], id, sizeof id) == (ssize_t)sizeof id)
            pause();
        _exit(1);
    }
    assert_int_equal(read(fds[0], it.id, sizeof it.id), sizeof it.id);
    close(fds[0]);
    close(fds[1]);
    return it;
}

/* Returns when the process has ended, but has not been waited for. */
static void kill_child(const process *it)
{
    siginfo_t info;
    kill(it->pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)it->pid, &info, WEXITED | WNOWAIT), 0);
}

static void bury_child(process *it)
{
    if (it->pid > 0)
        waitpid(it->pid, NULL, 0);
    it->pid = -1;
}

static const busbar_port *open_linux(void **out_machine)
{
    machine *it = calloc(1, sizeof *it);
    it->running.pid = -1;
    *out_machine = it;
    return busbar_linux_port();
}

static void close_linux(void *handle)
{
    machine *it = handle;
    if (it->running.pid > 0)
        kill_child(&it->running);
    bury_child(&it->running);
    free(it);
}

static void pass(void *handle, uint64_t time_us)
{
    (void)handle;
    uint64_t end_us = scratch_now_us() + time_us;
    while (scratch_now_us() < end_us)
        poll(NULL, 0, (int)((end_us - scratch_now_us()) / 1000) + 1);
}

static int dead_worker(void *handle, char out_id[BUSBAR_IDENTITY_SIZE])
{
    (void)handle;
    process it = start_child();
    memcpy(out_id, it.id, sizeof it.id);
    kill_child(&it);
    bury_child(&it);
    return 0;
}

static int live_worker(void *handle, char out_id[BUSBAR_IDENTITY_SIZE])
{
    machine *it = handle;
    it->running = start_child();
    memcpy(out_id, it->running.id, sizeof it->running.id);
    return 0;
}

static const port_fixture linux_fixture = {
    .name = "port contract: linux",
    .open = open_linux,
    .close = close_linux,
    .pass = pass,
    .dead_worker = dead_worker,
    .live_worker = live_worker,
};

/* ---- Clock and identities ---------------------------------------------------------------------------------------- */

static void monotonic_time_is_boot_time(void **state)
{
    (void)state;
    const busbar_port *port = busbar_linux_port();
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    uint64_t before_us = (uint64_t)boot.tv_sec * 1000000u + (uint64_t)boot.tv_nsec / 1000u;
    uint64_t now_us = port->mono_us(port->ctx);
    assert_in_range(now_us, before_us, before_us + 10000000u);
}

static void wall_time_is_real_time(void **state)
{
    (void)state;
    const busbar_port *port = busbar_linux_port();
    struct timespec real;
    int64_t now_ms = 0;
    clock_gettime(CLOCK_REALTIME, &real);
    int64_t before_ms = (int64_t)real.tv_sec * 1000 + real.tv_nsec / 1000000;
    busbar_clock_quality quality = port->wall_ms(port->ctx, &now_ms);
    assert_true(now_ms >= before_ms && now_ms <= before_ms + 10000);
    assert_true((quality == BUSBAR_CLOCK_UNKNOWN) == (now_ms < INT64_C(1704067200000)));
}

/* machine-id(5): the id itself must stay on the machine. */
static void device_identity_does_not_tell_the_machine_id(void **state)
{
    (void)state;
    const busbar_port *port = busbar_linux_port();
    char id[BUSBAR_IDENTITY_SIZE];
    char raw[64] = {0};
    FILE *file = fopen("/etc/machine-id", "r");
    bool is_known = file != NULL && fgets(raw, sizeof raw, file) != NULL && strlen(raw) >= 32;
    if (file != NULL)
        fclose(file);
    if (!is_known) {
        print_message("the figure to compare with is not readable on this machine\n");
        skip();
    }
    raw[32] = '\0';
    assert_int_equal(port->device_id(port->ctx, id), 0);
    assert_memory_equal(id, "device-", 7);
    assert_int_equal(strlen(id), 7 + 32);
    assert_null(strstr(id, raw));
}

/* ---- Random bytes ------------------------------------------------------------------------------------------------ */

/* In this process, from now on, getrandom answers as the kernel does early in the boot. */
static int forbid_getrandom(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static child_result draw_without_entropy(const void *ctx)
{
    (void)ctx;
    const busbar_port *port = busbar_linux_port();
    unsigned char bytes[16];
    if (forbid_getrandom() != 0)
        return CHILD_SKIPPED;
    return port->random(port->ctx, bytes, sizeof bytes) == -1 ? CHILD_PASSED : CHILD_FAILED;
}

static void without_entropy_random_fails_instead_of_waiting(void **state)
{
    (void)state;
    child_run(draw_without_entropy, NULL);
}

/* ---- Workers ----------------------------------------------------------------------------------------------------- */

static bool is_gone(const char *id)
{
    const busbar_port *port = busbar_linux_port();
    return port->worker_gone(port->ctx, id);
}

/* A supervisor may be slow to collect a killed worker: its work is to be taken over all the same. */
static void a_killed_worker_is_gone_before_it_is_waited_for(void **state)
{
    (void)state;
    process it = start_child();
    assert_false(is_gone(it.id));
    kill_child(&it);
    assert_true(is_gone(it.id));
    bury_child(&it);
    assert_true(is_gone(it.id));
}

static void split(const char *id, unsigned long long out[4])
{
    assert_int_equal(sscanf(id, "linux-%llu-%llu-%llu-%llu", &out[0], &out[1], &out[2], &out[3]), 4);
}

static void join(const unsigned long long parts[4], char out[BUSBAR_IDENTITY_SIZE])
{
    snprintf(out, BUSBAR_IDENTITY_SIZE, "linux-%llu-%llu-%llu-%llu", parts[0], parts[1], parts[2], parts[3]);
}

static void a_process_id_given_to_another_process_is_gone(void **state)
{
    (void)state;
    process it = start_child();
    unsigned long long parts[4];
    char earlier[BUSBAR_IDENTITY_SIZE];
    split(it.id, parts);
    parts[1]--;
    join(parts, earlier);
    assert_true(is_gone(earlier));
    kill_child(&it);
    bury_child(&it);
}

static void a_worker_of_another_namespace_is_never_gone(void **state)
{
    (void)state;
    process it = start_child();
    kill_child(&it);
    bury_child(&it);
    for (unsigned i = 2; i < 4; i++) {
        unsigned long long parts[4];
        char foreign[BUSBAR_IDENTITY_SIZE];
        split(it.id, parts);
        parts[i]++;
        join(parts, foreign);
        assert_false(is_gone(foreign));
    }
    assert_true(is_gone(it.id));
}

/* In a new pid namespace, with the old /proc still mounted: nothing can be known, so nobody is gone. */
static child_result look_from_another_namespace(const void *parent_id)
{
    const busbar_port *port = busbar_linux_port();
    char id[BUSBAR_IDENTITY_SIZE];
    int status = 0;
    if (unshare(CLONE_NEWPID) != 0)
        return CHILD_SKIPPED;
    pid_t pid = fork();
    if (pid == 0)
        _exit(port->worker_id(port->ctx, id) == -1 && !is_gone(parent_id) ? CHILD_PASSED : CHILD_FAILED);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return CHILD_FAILED;
    return (child_result)WEXITSTATUS(status);
}

static void with_the_proc_of_another_namespace_nobody_is_gone(void **state)
{
    (void)state;
    const busbar_port *port = busbar_linux_port();
    char parent_id[BUSBAR_IDENTITY_SIZE];
    assert_int_equal(port->worker_id(port->ctx, parent_id), 0);
    child_run(look_from_another_namespace, parent_id);
}

/* ---- Wake -------------------------------------------------------------------------------------------------------- */

static bool is_readable(void *wake, int timeout_ms)
{
    struct pollfd set = {.fd = busbar_linux_port()->wake->fd(wake), .events = POLLIN};
    return poll(&set, 1, timeout_ms) == 1;
}

/* Clears it until the next planned look is more than a second away. False if that never comes. */
static bool await_quiet(void *wake)
{
    unsigned tries = 50;
    while (tries > 0 && is_readable(wake, 1500)) {
        busbar_linux_port()->wake->clear(wake);
        tries--;
    }
    return tries > 0;
}

static void make_and_remove_files(const char *directory)
{
    char path[SCRATCH_PATH_SIZE];
    scratch_path(directory, "other", path);
    for (unsigned i = 0; i < 100; i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs("text", file);
        fclose(file);
        unlink(path);
    }
}

/* The contract allows to wake for nothing; while there is a WAL this port does not, also if there was none at first. */
static void other_files_beside_the_database_do_not_wake(void **state)
{
    (void)state;
    const busbar_port *port = busbar_linux_port();
    char directory[SCRATCH_PATH_SIZE];
    char path[SCRATCH_PATH_SIZE];
    scratch_make(directory);
    scratch_path(directory, "state.db", path);
    peer_make_database(path, "WAL");
    peer *keeper = peer_start(&(peer_options){.path = path});
    void *before = port->wake->open(port->ctx, path);
    peer_connect(keeper);
    void *after = port->wake->open(port->ctx, path);
    assert_true(before != NULL && after != NULL);
    assert_true(is_readable(before, 10000));
    assert_true(await_quiet(before));
    make_and_remove_files(directory);
    assert_false(is_readable(before, 100));
    assert_false(is_readable(after, 100));
    port->wake->close(before);
    port->wake->close(after);
    peer_stop(keeper);
    scratch_remove(directory);
}

/* How many inotify watches this process may have: those of a user namespace of its own. */
static bool limit_watches(const char *count)
{
    FILE *file = fopen("/proc/sys/user/max_inotify_watches", "w");
    return file != NULL && (fputs(count, file) >= 0) + (fclose(file) == 0) == 2;
}

typedef struct crowded_place {
    const char *path;
    peer *keeper;
} crowded_place;

/*
 * The WAL is made when no watch can be had for it: the wake object tells to look from time to time, until one can be
 * had.
 */
static child_result be_refused_a_watch(const void *ctx)
{
    const crowded_place *it = ctx;
    const busbar_port *port = busbar_linux_port();
    if (unshare(CLONE_NEWUSER) != 0)
        return CHILD_SKIPPED;
    void *wake = port->wake->open(port->ctx, it->path);
    CHILD_REQUIRE(wake != NULL);
    if (!limit_watches("3"))
        return CHILD_SKIPPED;
    CHILD_REQUIRE(port->wake->open(port->ctx, it->path) == NULL);
    CHILD_REQUIRE(limit_watches("2"));
    CHILD_REQUIRE(port->wake->open(port->ctx, it->path) == NULL);
    peer_connect(it->keeper);
    CHILD_REQUIRE(is_readable(wake, 10000));
    CHILD_REQUIRE(!port->wake->clear(wake));
    for (unsigned i = 0; i < 2; i++) {
        peer_commit(it->keeper);
        CHILD_REQUIRE(is_readable(wake, 10000));
        CHILD_REQUIRE(port->wake->clear(wake));
    }
    CHILD_REQUIRE(limit_watches("100"));
    CHILD_REQUIRE(await_quiet(wake));
    peer_commit(it->keeper);
    CHILD_REQUIRE(is_readable(wake, 500));
    port->wake->close(wake);
    return CHILD_PASSED;
}

static void a_refused_watch_is_made_up_for_by_looking(void **state)
{
    (void)state;
    char directory[SCRATCH_PATH_SIZE];
    char path[SCRATCH_PATH_SIZE];
    scratch_make(directory);
    scratch_path(directory, "state.db", path);
    peer_make_database(path, "WAL");
    crowded_place it = {path, peer_start(&(peer_options){.path = path})};
    child_run(be_refused_a_watch, &it);
    peer_stop(it.keeper);
    scratch_remove(directory);
}

static int run_own(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_is_boot_time),
        cmocka_unit_test(wall_time_is_real_time),
        cmocka_unit_test(device_identity_does_not_tell_the_machine_id),
        cmocka_unit_test(without_entropy_random_fails_instead_of_waiting),
        cmocka_unit_test(a_killed_worker_is_gone_before_it_is_waited_for),
        cmocka_unit_test(a_process_id_given_to_another_process_is_gone),
        cmocka_unit_test(a_worker_of_another_namespace_is_never_gone),
        cmocka_unit_test(with_the_proc_of_another_namespace_nobody_is_gone),
        cmocka_unit_test(other_files_beside_the_database_do_not_wake),
        cmocka_unit_test(a_refused_watch_is_made_up_for_by_looking),
    };
    return cmocka_run_group_tests_name("linux port", tests, NULL, NULL);
}

int main(void)
{
    return port_contract_run(&linux_fixture) + port_wake_contract_run(busbar_linux_port()) + run_own();
}
