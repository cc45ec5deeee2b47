/* SPDX-License-Identifier: MIT */
/*
 * Opening a database file on Linux (busbar/linux.h): what is made, what is left as it is, what can be read where
 * nothing can be written, and what the errors say (P12).
 */
#include "test.h"

#include <busbar/linux.h>

#include "child.h"
#include "copy.h"
#include "peer.h"
#include "scratch.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct place {
    char directory[SCRATCH_PATH_SIZE];
    char path[SCRATCH_PATH_SIZE];
} place;

static int set_up(void **state)
{
    place *it = calloc(1, sizeof *it);
    scratch_make(it->directory);
    scratch_path(it->directory, "state.db", it->path);
    *state = it;
    return 0;
}

static int tear_down(void **state)
{
    place *it = *state;
    chmod(it->directory, 0700);
    scratch_remove(it->directory);
    free(it);
    return 0;
}

static int try_open(const char *path, busbar_linux_mode mode, busbar_linux_database **out, busbar_error *error)
{
    busbar_linux_database_options options = {.size = sizeof options, .mode = mode, .busy_timeout_ms = 20};
    return busbar_linux_database_open(out, path, &options, error);
}

static busbar_linux_database *must_open(const char *path, busbar_linux_mode mode)
{
    busbar_error error = {0};
    busbar_linux_database *database = NULL;
    if (try_open(path, mode, &database, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
    return database;
}

static void must_close(busbar_linux_database *database)
{
    assert_int_equal(busbar_linux_database_close(database), BUSBAR_OK);
}

/* The error must have the code, name the file, and say this. */
static void expect_refusal(const char *path, busbar_linux_mode mode, int code, const char *says)
{
    busbar_error error = {0};
    busbar_linux_database *untouched = (busbar_linux_database *)&error;
    busbar_linux_database *database = untouched;
    assert_int_equal(try_open(path, mode, &database, &error), code);
    assert_ptr_equal(database, untouched);
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.text, path));
    if (strstr(error.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, says);
    assert_int_equal(try_open(path, mode, &database, NULL), code);
}

static void pragma(busbar_linux_database *database, const char *sql, char out[32])
{
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(busbar_linux_database_handle(database), sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    snprintf(out, 32, "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
}

static void expect_pragma(busbar_linux_database *database, const char *sql, const char *expected)
{
    char value[32];
    pragma(database, sql, value);
    assert_string_equal(value, expected);
}

static void write_bytes(const char *path, const char *bytes, size_t size_bytes)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size_bytes, file), size_bytes);
    assert_int_equal(fclose(file), 0);
}

static off_t size_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static void a_new_file_is_private_and_in_wal_mode(void **state)
{
    const place *it = *state;
    struct stat info;
    char wal[SCRATCH_PATH_SIZE];
    mode_t mask = umask(0);
    busbar_linux_database *database = must_open(it->path, BUSBAR_LINUX_CREATE);
    umask(mask);
    expect_pragma(database, "PRAGMA journal_mode", "wal");
    expect_pragma(database, "PRAGMA synchronous", "1");
    assert_false(busbar_linux_database_copied(database));
    assert_int_equal(stat(it->path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    scratch_path(it->directory, "state.db-wal", wal);
    assert_int_equal(stat(wal, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    must_close(database);
}

static void an_existing_file_keeps_its_journal_mode(void **state)
{
    const place *it = *state;
    peer_make_database(it->path, "DELETE");
    for (busbar_linux_mode mode = BUSBAR_LINUX_WRITE; mode <= BUSBAR_LINUX_CREATE; mode++) {
        busbar_linux_database *database = must_open(it->path, mode);
        expect_pragma(database, "PRAGMA journal_mode", "delete");
        expect_pragma(database, "PRAGMA synchronous", "1");
        must_close(database);
    }
}

static void a_file_without_content_is_a_new_one(void **state)
{
    const place *it = *state;
    write_bytes(it->path, "", 0);
    busbar_linux_database *database = must_open(it->path, BUSBAR_LINUX_WRITE);
    expect_pragma(database, "PRAGMA journal_mode", "wal");
    must_close(database);
}

static void a_missing_file_is_made_only_on_demand(void **state)
{
    const place *it = *state;
    char deep[SCRATCH_PATH_SIZE];
    scratch_path(it->directory, "none/state.db", deep);
    expect_refusal(it->path, BUSBAR_LINUX_READ, BUSBAR_ENOTFOUND, "no such file");
    expect_refusal(it->path, BUSBAR_LINUX_WRITE, BUSBAR_ENOTFOUND, "no such file");
    expect_refusal(deep, BUSBAR_LINUX_CREATE, BUSBAR_ENOTFOUND, "directory");
    assert_int_equal(scratch_count(it->directory), 0);
}

/* A link to nowhere: SQLite would make what it points to, readable by everyone. */
static void a_dangling_link_makes_no_file(void **state)
{
    const place *it = *state;
    char link[SCRATCH_PATH_SIZE];
    scratch_path(it->directory, "link", link);
    assert_int_equal(symlink(it->path, link), 0);
    expect_refusal(link, BUSBAR_LINUX_CREATE, BUSBAR_ENOTFOUND, "no such file");
    assert_int_equal(scratch_count(it->directory), 1);
}

/* SQLite would take these for a database in memory, or for a URI. */
static void a_path_is_always_the_name_of_a_file(void **state)
{
    static const char *const names[] = {":memory:", "file:x?mode=memory"};
    const place *it = *state;
    char before[PATH_MAX];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(it->directory), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        expect_refusal(names[i], BUSBAR_LINUX_WRITE, BUSBAR_ENOTFOUND, "no such file");
        must_close(must_open(names[i], BUSBAR_LINUX_CREATE));
        assert_true(size_of(names[i]) > 0);
        must_close(must_open(names[i], BUSBAR_LINUX_READ));
    }
    assert_int_equal(chdir(before), 0);
}

static uint64_t now_us(void)
{
    return busbar_linux_port()->mono_us(busbar_linux_port()->ctx);
}

static void a_writer_waits_for_a_lock_as_long_as_it_was_told(void **state)
{
    const place *it = *state;
    sqlite3 *holder;
    busbar_linux_database *database = must_open(it->path, BUSBAR_LINUX_CREATE);
    sqlite3 *db = busbar_linux_database_handle(database);
    assert_int_equal(sqlite3_open(it->path, &holder), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    uint64_t begun_us = now_us();
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_BUSY);
    assert_true(now_us() - begun_us >= 20000);
    sqlite3_close(holder);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    must_close(database);
}

/* ---- Refusals ---------------------------------------------------------------------------------------------------- */

static void what_is_no_database_is_told_and_left_alone(void **state)
{
    const place *it = *state;
    char text[4096];
    memset(text, 'x', sizeof text);
    for (busbar_linux_mode mode = BUSBAR_LINUX_READ; mode <= BUSBAR_LINUX_CREATE; mode++) {
        write_bytes(it->path, text, sizeof text);
        expect_refusal(it->path, mode, BUSBAR_ENOTBUS, "is not an SQLite database");
        assert_int_equal(size_of(it->path), sizeof text);
        expect_refusal(it->directory, mode, BUSBAR_ECANTOPEN, "is a directory");
    }
    unlink(it->path);
    assert_int_equal(mkfifo(it->path, 0600), 0);
    expect_refusal(it->path, BUSBAR_LINUX_READ, BUSBAR_ECANTOPEN, "is not a regular file");
}

static void a_locked_database_is_told(void **state)
{
    const place *it = *state;
    sqlite3 *holder;
    peer_make_database(it->path, "DELETE");
    assert_int_equal(sqlite3_open(it->path, &holder), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    expect_refusal(it->path, BUSBAR_LINUX_READ, BUSBAR_ELOCKED, "locked");
    expect_refusal(it->path, BUSBAR_LINUX_WRITE, BUSBAR_ELOCKED, "locked");
    sqlite3_close(holder);
    must_close(must_open(it->path, BUSBAR_LINUX_READ));
}

static void bad_arguments_are_refused(void **state)
{
    const place *it = *state;
    busbar_error error;
    busbar_linux_database *database = NULL;
    busbar_linux_database_options options = {.size = sizeof options + 1};
    assert_int_equal(busbar_linux_database_open(NULL, it->path, NULL, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_linux_database_open(&database, NULL, NULL, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_linux_database_open(&database, "", NULL, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_linux_database_open(&database, it->path, &options, &error), BUSBAR_EINVAL);
    options = (busbar_linux_database_options){.size = sizeof options, .mode = (busbar_linux_mode)3};
    assert_int_equal(busbar_linux_database_open(&database, it->path, &options, &error), BUSBAR_EINVAL);
    assert_null(database);
    assert_int_equal(busbar_linux_database_close(NULL), BUSBAR_OK);
}

static void close_waits_for_unfinished_statements(void **state)
{
    const place *it = *state;
    sqlite3_stmt *stmt;
    busbar_linux_database *database = must_open(it->path, BUSBAR_LINUX_CREATE);
    sqlite3 *db = busbar_linux_database_handle(database);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT 1", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(busbar_linux_database_close(database), BUSBAR_EMISUSE);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    sqlite3_finalize(stmt);
    must_close(database);
}

static child_result open_without_rights(const void *ctx)
{
    const place *it = ctx;
    busbar_error error;
    busbar_linux_database *database = NULL;
    if (!child_drop_rights())
        return CHILD_SKIPPED;
    CHILD_REQUIRE(try_open(it->path, BUSBAR_LINUX_READ, &database, &error) == BUSBAR_ECANTOPEN);
    CHILD_REQUIRE(strstr(error.text, strerror(EACCES)) != NULL);
    CHILD_REQUIRE(try_open(it->path, BUSBAR_LINUX_WRITE, &database, &error) == BUSBAR_ECANTOPEN);
    CHILD_REQUIRE(strstr(error.text, strerror(EACCES)) != NULL);
    return CHILD_PASSED;
}

static void a_file_of_someone_else_is_refused(void **state)
{
    const place *it = *state;
    peer_make_database(it->path, "WAL");
    assert_int_equal(chmod(it->path, 0000), 0);
    assert_int_equal(chmod(it->directory, 0755), 0);
    child_run(open_without_rights, it);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static void a_live_file_is_read_as_it_changes(void **state)
{
    const place *it = *state;
    peer_make_database(it->path, "WAL");
    peer *writer = peer_start(&(peer_options){.path = it->path});
    peer_connect(writer);
    peer_commit(writer);
    busbar_linux_database *database = must_open(it->path, BUSBAR_LINUX_READ);
    assert_false(busbar_linux_database_copied(database));
    assert_int_equal(peer_last_seq(busbar_linux_database_handle(database)), 1);
    peer_commit(writer);
    assert_int_equal(peer_last_seq(busbar_linux_database_handle(database)), 2);
    assert_int_equal(sqlite3_db_readonly(busbar_linux_database_handle(database), "main"), 1);
    must_close(database);
    peer_stop(writer);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[65536];
    FILE *file = fopen(from, "r");
    assert_non_null(file);
    size_t size_bytes = fread(bytes, 1, sizeof bytes, file);
    assert_true(size_bytes < sizeof bytes);
    fclose(file);
    write_bytes(to, bytes, size_bytes);
}

static void copy_sibling(const place *from, const place *to, const char *name)
{
    char source[SCRATCH_PATH_SIZE];
    char target[SCRATCH_PATH_SIZE];
    scratch_path(from->directory, name, source);
    scratch_path(to->directory, name, target);
    copy_file(source, target);
}

/* What a technician brings home: the database and its WAL, with 3 rows of which the last are only in the WAL. */
static void copy_live_database(const place *to)
{
    void *handle;
    set_up(&handle);
    place *from = handle;
    peer_make_database(from->path, "WAL");
    peer *writer = peer_start(&(peer_options){.path = from->path});
    peer_connect(writer);
    for (unsigned i = 0; i < 3; i++)
        peer_commit(writer);
    copy_sibling(from, to, "state.db");
    copy_sibling(from, to, "state.db-wal");
    peer_stop(writer);
    tear_down(&handle);
}

static void a_copied_file_is_read_with_its_wal(void **state)
{
    const place *it = *state;
    copy_live_database(it);
    busbar_linux_database *database = must_open(it->path, BUSBAR_LINUX_READ);
    assert_false(busbar_linux_database_copied(database));
    assert_int_equal(peer_last_seq(busbar_linux_database_handle(database)), 3);
    must_close(database);
}

/* Two places: the database, which cannot be written, and where temporary files go. */
typedef struct read_only_case {
    const place *source;
    place *temporary;
    int64_t rows;
} read_only_case;

static unsigned mode_of_first(const char *directory)
{
    char command[SCRATCH_PATH_SIZE + 64];
    unsigned mode = 0;
    snprintf(command, sizeof command, "stat -c %%a %s/busbar-*", directory);
    FILE *pipe = popen(command, "r");
    if (pipe != NULL && fscanf(pipe, "%o", &mode) != 1)
        mode = 0;
    if (pipe != NULL)
        pclose(pipe);
    return mode;
}

static child_result read_where_nothing_can_be_written(const void *ctx)
{
    const read_only_case *it = ctx;
    busbar_error error = {0};
    busbar_linux_database *database = NULL;
    if (!child_drop_rights() || setenv("TMPDIR", it->temporary->directory, 1) != 0)
        return CHILD_SKIPPED;
    int rc = try_open(it->source->path, BUSBAR_LINUX_READ, &database, &error);
    if (rc != BUSBAR_OK)
        fprintf(stderr, "%s\n", error.text);
    CHILD_REQUIRE(rc == BUSBAR_OK);
    CHILD_REQUIRE(busbar_linux_database_copied(database));
    CHILD_REQUIRE(mode_of_first(it->temporary->directory) == 0700);
    CHILD_REQUIRE(peer_last_seq(busbar_linux_database_handle(database)) == it->rows);
    CHILD_REQUIRE(sqlite3_db_readonly(busbar_linux_database_handle(database), "main") == 1);
    CHILD_REQUIRE(busbar_linux_database_close(database) == BUSBAR_OK);
    CHILD_REQUIRE(scratch_count(it->temporary->directory) == 0);
    return CHILD_PASSED;
}

static void run_read_only(const place *source, child_fn *fn, int64_t rows)
{
    void *handle;
    set_up(&handle);
    read_only_case it = {source, handle, rows};
    unsigned before = scratch_count(source->directory);
    assert_int_equal(chmod(it.temporary->directory, 0777), 0);
    assert_int_equal(chmod(source->directory, 0555), 0);
    child_run(fn, &it);
    assert_int_equal(scratch_count(source->directory), before);
    tear_down(&handle);
}

/* Opening it `immutable` would show the rows of the database file, and hide those of the WAL. */
static void read_only_media_are_read_through_a_private_copy(void **state)
{
    const place *it = *state;
    copy_live_database(it);
    run_read_only(it, read_where_nothing_can_be_written, 3);
}

/* A database whose writer lost power within a commit: its first pages are new, the old ones are in the journal. */
static void copy_torn_database(const place *to)
{
    void *handle;
    sqlite3 *db;
    set_up(&handle);
    place *from = handle;
    peer_make_database(from->path, "DELETE");
    assert_int_equal(sqlite3_open(from->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO log(at_us) VALUES(0),(0)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN; INSERT INTO log(at_us) VALUES(0)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_db_cacheflush(db), SQLITE_OK);
    copy_sibling(from, to, "state.db");
    copy_sibling(from, to, "state.db-journal");
    sqlite3_close(db);
    tear_down(&handle);
}

static void a_torn_database_on_read_only_media_is_rolled_back_in_the_copy(void **state)
{
    const place *it = *state;
    copy_torn_database(it);
    run_read_only(it, read_where_nothing_can_be_written, 2);
}

static child_result read_without_room(const void *ctx)
{
    const read_only_case *it = ctx;
    busbar_error error = {0};
    busbar_linux_database *database = NULL;
    struct rlimit limit = {4096, 4096};
    if (!child_drop_rights() || setenv("TMPDIR", it->temporary->directory, 1) != 0)
        return CHILD_SKIPPED;
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return CHILD_SKIPPED;
    CHILD_REQUIRE(try_open(it->source->path, BUSBAR_LINUX_READ, &database, &error) == BUSBAR_EFULL);
    CHILD_REQUIRE(strstr(error.text, "TMPDIR") != NULL);
    CHILD_REQUIRE(scratch_count(it->temporary->directory) == 0);
    setenv("TMPDIR", "/nowhere/at/all", 1);
    CHILD_REQUIRE(try_open(it->source->path, BUSBAR_LINUX_READ, &database, &error) == BUSBAR_ECANTOPEN);
    CHILD_REQUIRE(strstr(error.text, "TMPDIR") != NULL);
    return CHILD_PASSED;
}

static void a_copy_that_finds_no_room_is_told_and_leaves_nothing(void **state)
{
    const place *it = *state;
    copy_live_database(it);
    run_read_only(it, read_without_room, 0);
}

/* Writes into a file all the time. */
typedef struct scribbler {
    const char *path;
    atomic_bool is_ending;
} scribbler;

static void *scribble(void *ctx)
{
    scribbler *it = ctx;
    FILE *file = fopen(it->path, "r+");
    while (file != NULL && !atomic_load(&it->is_ending)) {
        rewind(file);
        fputc('x', file);
        fflush(file);
    }
    if (file != NULL)
        fclose(file);
    return NULL;
}

/* Files copied while they change do not belong together: better no copy than that one. */
static void files_that_change_while_they_are_copied_are_refused(void **state)
{
    enum { SIZE = 16 * 1024 * 1024 };
    const place *it = *state;
    bb_linux_copy copy = {NULL, NULL, false};
    busbar_error error = {0};
    scribbler other = {.path = it->path};
    pthread_t thread;
    char *bytes = calloc(1, SIZE);
    assert_non_null(bytes);
    write_bytes(it->path, bytes, SIZE);
    free(bytes);
    assert_int_equal(setenv("TMPDIR", it->directory, 1), 0);
    atomic_init(&other.is_ending, false);
    assert_int_equal(pthread_create(&thread, NULL, scribble, &other), 0);
    /* On a busy machine the other thread may not have run while this one copied: then the copy was good. */
    int rc = BUSBAR_OK;
    for (unsigned i = 0; i < 50 && rc == BUSBAR_OK; i++) {
        rc = bb_linux_copy_make(&copy, it->path, &error);
        if (rc == BUSBAR_OK)
            bb_linux_copy_remove(&copy);
    }
    atomic_store(&other.is_ending, true);
    pthread_join(thread, NULL);
    assert_int_equal(rc, BUSBAR_ELOCKED);
    assert_null(copy.directory);
    assert_int_equal(scratch_count(it->directory), 1);
    assert_int_equal(bb_linux_copy_make(&copy, it->path, &error), BUSBAR_OK);
    assert_int_equal(scratch_count(it->directory), 2);
    bb_linux_copy_remove(&copy);
    assert_int_equal(scratch_count(it->directory), 1);
    unsetenv("TMPDIR");
}

static child_result write_where_nothing_can_be_written(const void *ctx)
{
    const read_only_case *it = ctx;
    busbar_error error = {0};
    busbar_linux_database *database = NULL;
    if (!child_drop_rights())
        return CHILD_SKIPPED;
    CHILD_REQUIRE(try_open(it->source->path, BUSBAR_LINUX_WRITE, &database, &error) == BUSBAR_ECANTOPEN);
    CHILD_REQUIRE(strstr(error.text, "-wal") != NULL);
    CHILD_REQUIRE(database == NULL);
    return CHILD_PASSED;
}

static void a_place_for_no_wal_is_told_to_writers(void **state)
{
    const place *it = *state;
    peer_make_database(it->path, "WAL");
    assert_int_equal(chmod(it->path, 0666), 0);
    run_read_only(it, write_where_nothing_can_be_written, 0);
}

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

static void transactions_are_begun_committed_and_rolled_back(void **state)
{
    const place *it = *state;
    busbar_error error = {0};
    peer_make_database(it->path, "WAL");
    busbar_linux_database *database = must_open(it->path, BUSBAR_LINUX_WRITE);
    sqlite3 *db = busbar_linux_database_handle(database);
    assert_int_equal(busbar_linux_transaction_commit(db, &error), BUSBAR_ENOTXN);
    assert_int_equal(busbar_linux_transaction_rollback(db, &error), BUSBAR_OK);
    assert_int_equal(busbar_linux_transaction_begin(db, &error), BUSBAR_OK);
    assert_int_equal(busbar_linux_transaction_begin(db, &error), BUSBAR_ETXN);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO log(at_us) VALUES(0)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(busbar_linux_transaction_rollback(db, &error), BUSBAR_OK);
    assert_int_equal(peer_last_seq(db), 0);
    assert_int_equal(busbar_linux_transaction_begin(db, &error), BUSBAR_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO log(at_us) VALUES(0)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(busbar_linux_transaction_commit(db, &error), BUSBAR_OK);
    assert_int_equal(peer_last_seq(db), 1);
    assert_int_equal(busbar_linux_transaction_begin(NULL, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_linux_transaction_commit(NULL, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_linux_transaction_rollback(NULL, &error), BUSBAR_EINVAL);
    must_close(database);
}

/* The write lock is taken when it begins: nothing that is done in it can be refused later for another writer. */
static void a_transaction_takes_the_write_lock_at_once(void **state)
{
    const place *it = *state;
    busbar_error error = {0};
    peer_make_database(it->path, "WAL");
    busbar_linux_database *first = must_open(it->path, BUSBAR_LINUX_WRITE);
    busbar_linux_database *second = must_open(it->path, BUSBAR_LINUX_WRITE);
    assert_int_equal(busbar_linux_transaction_begin(busbar_linux_database_handle(first), &error), BUSBAR_OK);
    assert_int_equal(busbar_linux_transaction_begin(busbar_linux_database_handle(second), &error), BUSBAR_ELOCKED);
    assert_non_null(strstr(error.text, "locked"));
    assert_int_equal(busbar_linux_transaction_rollback(busbar_linux_database_handle(first), &error), BUSBAR_OK);
    assert_int_equal(busbar_linux_transaction_begin(busbar_linux_database_handle(second), &error), BUSBAR_OK);
    must_close(first);
    must_close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_file_is_private_and_in_wal_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_existing_file_keeps_its_journal_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_without_content_is_a_new_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_file_is_made_only_on_demand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dangling_link_makes_no_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_path_is_always_the_name_of_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_database_is_told_and_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_waits_for_a_lock_as_long_as_it_was_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_locked_database_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_arguments_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(close_waits_for_unfinished_statements, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_someone_else_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_live_file_is_read_as_it_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copied_file_is_read_with_its_wal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(read_only_media_are_read_through_a_private_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_database_on_read_only_media_is_rolled_back_in_the_copy, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_copy_that_finds_no_room_is_told_and_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_that_change_while_they_are_copied_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_place_for_no_wal_is_told_to_writers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(transactions_are_begun_committed_and_rolled_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_transaction_takes_the_write_lock_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("linux database", tests, NULL, NULL);
}
