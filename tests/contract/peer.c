/* SPDX-License-Identifier: MIT */
/* Another process that writes to a database. */
#include "test.h"

#include "peer.h"
#include "scratch.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

struct peer {
    pid_t pid;
    int fd;
};

typedef enum order { ORDER_CONNECT = 'o', ORDER_DISCONNECT = 'c', ORDER_COMMIT = 'w' } order;

/* ---- A VFS on slow storage --------------------------------------------------------------------------------------- */

static uint32_t slow_sync_us;
static sqlite3_vfs slow_vfs;
static sqlite3_vfs *fast_vfs;
static sqlite3_io_methods slow_methods;
static const sqlite3_io_methods *fast_methods;

static int sync_slowly(sqlite3_file *file, int flags)
{
    usleep(slow_sync_us);
    return fast_methods->xSync(file, flags);
}

static int open_slow(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    int native = fast_vfs->xOpen(fast_vfs, name, file, flags, out_flags);
    if (native != SQLITE_OK || (flags & SQLITE_OPEN_WAL) == 0)
        return native;
    fast_methods = file->pMethods;
    slow_methods = *fast_methods;
    slow_methods.xSync = sync_slowly;
    file->pMethods = &slow_methods;
    return SQLITE_OK;
}

static void use_slow_storage(uint32_t sync_us)
{
    slow_sync_us = sync_us;
    fast_vfs = sqlite3_vfs_find(NULL);
    slow_vfs = *fast_vfs;
    slow_vfs.zName = "slow";
    slow_vfs.xOpen = open_slow;
    sqlite3_vfs_register(&slow_vfs, 1);
}

/* ---- In the peer ------------------------------------------------------------------------------------------------- */

static void must(int native, int expected, const char *what)
{
    if (native == expected)
        return;
    fprintf(stderr, "peer: %s: %s\n", what, sqlite3_errstr(native));
    _exit(1);
}

static sqlite3 *peer_open(const peer_options *options)
{
    sqlite3 *db;
    must(sqlite3_open_v2(options->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK, "open");
    sqlite3_busy_timeout(db, 10000);
    const char *sync = options->full_sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL";
    must(sqlite3_exec(db, sync, NULL, NULL, NULL), SQLITE_OK, sync);
    must(sqlite3_exec(db, "SELECT count(*) FROM log", NULL, NULL, NULL), SQLITE_OK, "look");
    return db;
}

static void peer_write(sqlite3 *db, uint64_t now_us)
{
    sqlite3_stmt *stmt;
    must(sqlite3_prepare_v2(db, "INSERT INTO log(at_us) VALUES(?1)", -1, &stmt, NULL), SQLITE_OK, "prepare");
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)now_us);
    must(sqlite3_step(stmt), SQLITE_DONE, "insert");
    sqlite3_finalize(stmt);
}

static void obey(int fd, const peer_options *options)
{
    sqlite3 *db = NULL;
    char what;
    if (options->slow_sync_us > 0)
        use_slow_storage(options->slow_sync_us);
    while (read(fd, &what, 1) == 1) {
        uint64_t now_us = scratch_now_us();
        if (what == ORDER_CONNECT)
            db = peer_open(options);
        else if (what == ORDER_DISCONNECT)
            must(sqlite3_close(db), SQLITE_OK, "close");
        else
            peer_write(db, now_us);
        if (write(fd, &now_us, sizeof now_us) != (ssize_t)sizeof now_us)
            break;
    }
    _exit(0);
}

/* ---- In the test ------------------------------------------------------------------------------------------------- */

static void execute(sqlite3 *db, const char *sql)
{
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

void peer_make_database(const char *path, const char *journal_mode)
{
    sqlite3 *db;
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", journal_mode);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    execute(db, sql);
    execute(db, "CREATE TABLE log(seq INTEGER PRIMARY KEY, at_us INTEGER)");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int64_t peer_last_seq(sqlite3 *db)
{
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT ifnull(max(seq), 0) FROM log", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t seq = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return seq;
}

peer *peer_start(const peer_options *options)
{
    int fds[2];
    peer *it = malloc(sizeof *it);
    assert_non_null(it);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    it->pid = fork();
    assert_true(it->pid >= 0);
    if (it->pid == 0) {
        close(fds[0]);
        obey(fds[1], options);
    }
    close(fds[1]);
    it->fd = fds[0];
    return it;
}

void peer_stop(peer *it)
{
    close(it->fd);
    kill(it->pid, SIGKILL);
    waitpid(it->pid, NULL, 0);
    free(it);
}

static void give(const peer *it, order what)
{
    char byte = (char)what;
    assert_int_equal(write(it->fd, &byte, 1), 1);
}

uint64_t peer_finish(peer *it)
{
    uint64_t at_us = 0;
    assert_int_equal(read(it->fd, &at_us, sizeof at_us), sizeof at_us);
    return at_us;
}

void peer_connect(peer *it)
{
    give(it, ORDER_CONNECT);
    peer_finish(it);
}

void peer_disconnect(peer *it)
{
    give(it, ORDER_DISCONNECT);
    peer_finish(it);
}

void peer_commit_soon(peer *it)
{
    give(it, ORDER_COMMIT);
}

void peer_commit(peer *it)
{
    peer_commit_soon(it);
    peer_finish(it);
}
