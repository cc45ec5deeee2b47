/* SPDX-License-Identifier: MIT */
/*
 * The simulated disk of busbar/sim_disk.h. As a VFS it must behave as SQLite's own: the same cases run on both. Then what
 * only it can do: its record, power cuts, lies and failures.
 */
#include <busbar/sim_disk.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "test.h"

#define SURVIVORS 400u

static const int CREATE = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

/* ---- Both: files ------------------------------------------------------------------------------------------------- */

typedef struct site {
    sqlite3_vfs *vfs;
    busbar_sim_disk *disk; /* NULL: SQLite's own VFS, in a directory of its own */
    char directory[64];
} site;

static site site_open(bool simulated)
{
    site s = {.disk = NULL};
    if (simulated) {
        s.disk = busbar_sim_disk_new(1);
        assert_non_null(s.disk);
        s.vfs = sqlite3_vfs_find(busbar_sim_disk_vfs(s.disk));
    } else {
        snprintf(s.directory, sizeof s.directory, "/tmp/busbar-disk-XXXXXX");
        assert_non_null(mkdtemp(s.directory));
        s.vfs = sqlite3_vfs_find(NULL);
    }
    assert_non_null(s.vfs);
    return s;
}

static void site_close(site *s)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    busbar_sim_disk_free(s->disk);
    for (size_t i = 0; s->directory[0] && i < sizeof endings / sizeof *endings; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/a.db%s", s->directory, endings[i]);
        unlink(path);
    }
    if (s->directory[0])
        assert_int_equal(rmdir(s->directory), 0);
}

/* A name as SQLite hands names on: absolute, and with two more terminators for parameters. */
static const char *path_of(const site *s, const char *name)
{
    static char full[600];
    char path[128];
    memset(full, 0, sizeof full);
    snprintf(path, sizeof path, "%s%s%s", s->directory, s->directory[0] ? "/" : "", name);
    assert_int_equal(s->vfs->xFullPathname(s->vfs, path, 512, full), SQLITE_OK);
    return full;
}

static sqlite3_file *open_file(site *s, const char *name, int flags, int expected)
{
    static char kept[4][600]; /* SQLite keeps a name as long as its file is open */
    static unsigned next;
    sqlite3_file *file = calloc(1, (size_t)s->vfs->szOsFile);
    assert_non_null(file);
    memcpy(kept[next % 4], path_of(s, name), sizeof kept[0]);
    assert_int_equal(s->vfs->xOpen(s->vfs, kept[next++ % 4], file, flags, &flags) & 0xff, expected);
    if (expected == SQLITE_OK)
        return file;
    assert_null(file->pMethods);
    free(file);
    return NULL;
}

static void close_file(sqlite3_file *file)
{
    assert_int_equal(file->pMethods->xClose(file), SQLITE_OK);
    free(file);
}

static bool exists(site *s, const char *name, int flags)
{
    int result = 2;
    assert_int_equal(s->vfs->xAccess(s->vfs, path_of(s, name), flags, &result), SQLITE_OK);
    return result != 0;
}

static void bytes_are_files(site *s)
{
    char bytes[8] = "XXXXXXXX";
    sqlite3_int64 size = -1;
    open_file(s, "a.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_MAIN_DB, SQLITE_CANTOPEN);
    sqlite3_file *f = open_file(s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    assert_false(exists(s, "a.db", SQLITE_ACCESS_EXISTS)); /* empty counts as none */
    assert_int_equal(f->pMethods->xRead(f, bytes, 8, 0), SQLITE_IOERR_SHORT_READ);
    assert_memory_equal(bytes, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(f->pMethods->xWrite(f, "abcd", 4, 6), SQLITE_OK);
    assert_int_equal(f->pMethods->xFileSize(f, &size), SQLITE_OK);
    assert_int_equal(size, 10);
    assert_int_equal(f->pMethods->xRead(f, bytes, 8, 4), SQLITE_IOERR_SHORT_READ);
    assert_memory_equal(bytes, "\0\0abcd\0\0", 8);
    assert_int_equal(f->pMethods->xRead(f, bytes, 3, 7), SQLITE_OK);
    assert_memory_equal(bytes, "bcd", 3);
    assert_int_equal(f->pMethods->xTruncate(f, 7), SQLITE_OK);
    assert_int_equal(f->pMethods->xFileSize(f, &size), SQLITE_OK);
    assert_int_equal(size, 7);
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_OK);
    assert_true(exists(s, "a.db", SQLITE_ACCESS_EXISTS));
    assert_true(exists(s, "a.db", SQLITE_ACCESS_READWRITE));
    assert_int_equal(s->vfs->xDelete(s->vfs, path_of(s, "a.db"), 1), SQLITE_OK);
    assert_false(exists(s, "a.db", SQLITE_ACCESS_EXISTS));
    assert_int_equal(f->pMethods->xRead(f, bytes, 1, 6), SQLITE_OK); /* open files outlive their names */
    assert_int_equal(s->vfs->xDelete(s->vfs, path_of(s, "a.db"), 0), SQLITE_IOERR_DELETE_NOENT);
    close_file(f);
    assert_int_equal(s->vfs->szOsFile > 0, 1);
}

static void it_says_what_unix_says(site *s)
{
    sqlite3_file *f = open_file(s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    char *name = NULL;
    assert_int_equal(f->pMethods->xSectorSize(f), 4096);
    assert_int_equal(f->pMethods->xDeviceCharacteristics(f), SQLITE_IOCAP_POWERSAFE_OVERWRITE);
    assert_int_equal(f->pMethods->xFileControl(f, SQLITE_FCNTL_VFSNAME, &name), SQLITE_OK);
    assert_string_equal(name, s->vfs->zName);
    sqlite3_free(name);
    assert_int_equal(f->pMethods->xFileControl(f, 4711, NULL), SQLITE_NOTFOUND);
    close_file(f);
}

/* ---- Both: locks ------------------------------------------------------------------------------------------------- */

static int lock(sqlite3_file *f, int level)
{
    return f->pMethods->xLock(f, level);
}

static void unlock(sqlite3_file *f, int level)
{
    assert_int_equal(f->pMethods->xUnlock(f, level), SQLITE_OK);
}

static bool reserved(sqlite3_file *f)
{
    int result = 2;
    assert_int_equal(f->pMethods->xCheckReservedLock(f, &result), SQLITE_OK);
    return result != 0;
}

static void locks_exclude_each_other(site *s)
{
    sqlite3_file *a = open_file(s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    sqlite3_file *b = open_file(s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    sqlite3_file *c = open_file(s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    assert_int_equal(lock(a, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_int_equal(lock(b, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_false(reserved(b));
    assert_int_equal(lock(a, SQLITE_LOCK_RESERVED), SQLITE_OK);
    assert_true(reserved(b));
    assert_int_equal(lock(b, SQLITE_LOCK_RESERVED), SQLITE_BUSY);
    assert_int_equal(lock(b, SQLITE_LOCK_EXCLUSIVE), SQLITE_BUSY);
    assert_int_equal(lock(a, SQLITE_LOCK_EXCLUSIVE), SQLITE_BUSY); /* b reads; a is now pending */
    assert_int_equal(lock(c, SQLITE_LOCK_SHARED), SQLITE_BUSY);
    unlock(b, SQLITE_LOCK_NONE);
    assert_int_equal(lock(a, SQLITE_LOCK_EXCLUSIVE), SQLITE_OK);
    assert_int_equal(lock(b, SQLITE_LOCK_SHARED), SQLITE_BUSY);
    unlock(a, SQLITE_LOCK_SHARED);
    assert_int_equal(lock(b, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_false(reserved(b));
    close_file(a);                                               /* lets go of what it has */
    assert_int_equal(lock(b, SQLITE_LOCK_EXCLUSIVE), SQLITE_OK); /* from shared at once: as for a hot journal */
    close_file(b);
    assert_int_equal(lock(c, SQLITE_LOCK_SHARED), SQLITE_OK);
    close_file(c);
}

static int shm(sqlite3_file *f, int first, int count, int flags)
{
    return f->pMethods->xShmLock(f, first, count, flags);
}

static void shared_memory_is_shared(site *s)
{
    static const int take = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE;
    static const int give = SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE;
    static const int take_shared = SQLITE_SHM_LOCK | SQLITE_SHM_SHARED;
    static const int give_shared = SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED;
    sqlite3_file *a = open_file(s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    sqlite3_file *b = open_file(s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    void volatile *x = NULL;
    void volatile *y = NULL;
    assert_int_equal(a->pMethods->xWrite(a, "x", 1, 0),
                     SQLITE_OK); /* "unix" shares the memory of existing files only */
    assert_int_equal(a->pMethods->xShmMap(a, 0, 32768, 0, &x) & 0xff, SQLITE_OK);
    assert_null((void *)(uintptr_t)x);
    assert_int_equal(a->pMethods->xShmMap(a, 1, 32768, 1, &x), SQLITE_OK);
    assert_int_equal(b->pMethods->xShmMap(b, 1, 32768, 0, &y), SQLITE_OK);
    ((volatile char *)x)[100] = 'z';
    b->pMethods->xShmBarrier(b);
    assert_int_equal(((volatile char *)y)[100], 'z');
    assert_int_equal(shm(a, 2, 3, take), SQLITE_OK);
    assert_int_equal(shm(b, 4, 1, take), SQLITE_BUSY);
    assert_int_equal(shm(b, 4, 1, take_shared), SQLITE_BUSY);
    assert_int_equal(shm(b, 5, 1, take_shared), SQLITE_OK);
    assert_int_equal(shm(a, 5, 1, take_shared), SQLITE_OK);
    assert_int_equal(shm(a, 5, 1, give_shared), SQLITE_OK);
    assert_int_equal(shm(a, 5, 2, take), SQLITE_BUSY);
    assert_int_equal(shm(b, 5, 1, give_shared), SQLITE_OK);
    assert_int_equal(shm(a, 5, 2, take), SQLITE_OK);
    assert_int_equal(shm(a, 2, 3, give), SQLITE_OK);
    assert_int_equal(shm(b, 2, 3, take), SQLITE_OK);
    assert_int_equal(shm(a, 5, 2, give), SQLITE_OK);
    assert_int_equal(a->pMethods->xShmUnmap(a, 0), SQLITE_OK);
    assert_int_equal(((volatile char *)y)[100], 'z'); /* b still has it */
    assert_int_equal(b->pMethods->xShmUnmap(b, 1), SQLITE_OK);
    close_file(a);
    close_file(b);
}

/* ---- Both: SQLite on top ----------------------------------------------------------------------------------------- */

static void sql(sqlite3 *db, const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
}

static int64_t integer(sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static sqlite3 *connect(const site *s, const char *journal)
{
    char text[64];
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s%sa.db", s->directory, s->directory[0] ? "/" : "");
    assert_int_equal(sqlite3_open_v2(path, &db, CREATE, s->vfs->zName), SQLITE_OK);
    snprintf(text, sizeof text, "PRAGMA journal_mode=%s", journal);
    sql(db, text);
    return db;
}

static void two_connections_work(site *s)
{
    static const char *const journals[] = {"DELETE", "TRUNCATE", "PERSIST", "WAL"};
    for (size_t i = 0; i < 4; i++) {
        sqlite3 *a = connect(s, journals[i]);
        sql(a, "DROP TABLE IF EXISTS t; CREATE TABLE t (x)");
        sqlite3 *b = connect(s, journals[i]);
        for (int j = 0; j < 20; j++) {
            sql(a, "BEGIN; INSERT INTO t SELECT randomblob(3000) FROM (VALUES (1), (2), (3)); COMMIT");
            sql(b, "BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
            assert_int_equal(sqlite3_exec(a, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_BUSY);
            sql(b, j % 2 ? "COMMIT" : "ROLLBACK");
        }
        assert_int_equal(integer(a, "SELECT count(*) FROM t"), 70);
        assert_int_equal(integer(b, "SELECT count(*) FROM t"), 70);
        if (i == 3)
            assert_int_equal(integer(b, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
        sql(a, "DELETE FROM t; VACUUM; CREATE TEMP TABLE big AS SELECT randomblob(100000)");
        assert_string_equal("ok", integer(b, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'")
                                      ? "ok"
                                      : "damaged");
        sqlite3_close(a);
        sqlite3_close(b);
    }
}

static void behaves_as_a_vfs(void **state)
{
    void (*const *test)(site *) = *state;
    for (int simulated = 0; simulated < 2; simulated++) {
        site s = site_open(simulated);
        (*test)(&s);
        site_close(&s);
    }
}

static void (*const CASES[])(site *) = {bytes_are_files, it_says_what_unix_says, locks_exclude_each_other,
                                        shared_memory_is_shared, two_connections_work};

/* ---- The record -------------------------------------------------------------------------------------------------- */

static void the_record_tells_what_happened(void **unused)
{
    static const char *const expected[] = {
        "create a.db-journal",
        "write 4 at 2 of a.db-journal",
        "truncate to 3 of a.db-journal",
        "sync a.db-journal",
        "sync of the directory for a.db-journal",
        "sync a.db-journal", /* the directory has it now */
        "delete a.db-journal",
        "sync of the directory for a.db-journal",
    };
    char text[BUSBAR_SIM_DISK_OP_SIZE];
    site s = site_open(true);
    (void)unused;
    sqlite3_file *f = open_file(&s, "a.db-journal", CREATE | SQLITE_OPEN_MAIN_JOURNAL, SQLITE_OK);
    f->pMethods->xWrite(f, "abcd", 4, 2);
    f->pMethods->xTruncate(f, 3);
    f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
    f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
    close_file(f);
    assert_int_equal(s.vfs->xDelete(s.vfs, "a.db-journal", 1), SQLITE_OK);
    assert_int_equal(busbar_sim_disk_op_count(s.disk), sizeof expected / sizeof *expected);
    for (uint64_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_int_equal(busbar_sim_disk_op(s.disk, i, text), BUSBAR_OK);
        assert_string_equal(text, expected[i]);
    }
    assert_int_equal(busbar_sim_disk_op(s.disk, 8, text), BUSBAR_ENOTFOUND);
    assert_int_equal(busbar_sim_disk_settle(s.disk), BUSBAR_OK);
    assert_int_equal(busbar_sim_disk_op_count(s.disk), 0);
    site_close(&s);
}

static void files_are_put_and_taken(void **unused)
{
    const void *data = NULL;
    size_t size = 0;
    site s = site_open(true);
    (void)unused;
    assert_int_equal(busbar_sim_disk_put(s.disk, "a.db", "hello", 5), BUSBAR_OK);
    assert_int_equal(busbar_sim_disk_put(s.disk, "", "x", 1), BUSBAR_EINVAL);
    assert_int_equal(busbar_sim_disk_get(s.disk, "a.db", &data, &size), BUSBAR_OK);
    assert_int_equal(size, 5);
    assert_memory_equal(data, "hello", 5);
    assert_int_equal(busbar_sim_disk_put(s.disk, "a.db", "hi", 2), BUSBAR_OK);
    assert_int_equal(busbar_sim_disk_get(s.disk, "a.db", &data, &size), BUSBAR_OK);
    assert_int_equal(size, 2);
    assert_int_equal(busbar_sim_disk_get(s.disk, "b.db", &data, &size), BUSBAR_ENOTFOUND);
    assert_int_equal(busbar_sim_disk_op_count(s.disk), 0);
    site_close(&s);
}

/* ---- Power cuts -------------------------------------------------------------------------------------------------- */

/* The file as survivors have it, one after the other. NULL when there are no more; size SIZE_MAX: no file. */
typedef struct survivors {
    busbar_sim_disk *from;
    busbar_sim_disk *to;
    uint64_t op;
    uint64_t seed;
    size_t size;
    const unsigned char *data;
} survivors;

static survivors survivors_of(busbar_sim_disk *disk, uint64_t op)
{
    survivors s = {.from = disk, .to = busbar_sim_disk_new(9), .op = op};
    assert_non_null(s.to);
    return s;
}

static bool next(survivors *s, const char *name)
{
    const void *data = NULL;
    if (s->seed == SURVIVORS) {
        busbar_sim_disk_free(s->to);
        return false;
    }
    assert_int_equal(busbar_sim_disk_cut(s->from, s->op, s->seed++, s->to), BUSBAR_OK);
    s->size = SIZE_MAX;
    (void)busbar_sim_disk_get(s->to, name, &data, &s->size);
    s->data = data;
    return true;
}

/* "old" in three sectors, synced; then "new" over it, not synced. */
static sqlite3_file *write_twice(site *s)
{
    unsigned char bytes[3 * 512];
    assert_int_equal(busbar_sim_disk_put(s->disk, "a.db", "", 0), BUSBAR_OK);
    sqlite3_file *f = open_file(s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    memset(bytes, 'o', sizeof bytes);
    f->pMethods->xWrite(f, bytes, sizeof bytes, 0);
    f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
    memset(bytes, 'n', sizeof bytes);
    f->pMethods->xWrite(f, bytes, 1000, 100);
    return f;
}

static size_t count_new(const survivors *v, size_t from, size_t to)
{
    size_t count = 0;
    for (size_t i = from; i < to; i++) {
        assert_true(v->data[i] == 'n' || v->data[i] == 'o');
        count += v->data[i] == 'n';
    }
    return count;
}

static void what_is_not_synced_is_kept_lost_or_torn(void **unused)
{
    site s = site_open(true);
    unsigned kept = 0;
    unsigned lost = 0;
    unsigned torn = 0;
    unsigned reordered = 0;
    (void)unused;
    sqlite3_file *f = write_twice(&s);
    survivors v = survivors_of(s.disk, busbar_sim_disk_op_count(s.disk));
    while (next(&v, "a.db")) {
        assert_int_equal(v.size, 3 * 512);
        assert_int_equal(count_new(&v, 0, 100), 0); /* what was not written to is not hurt */
        assert_int_equal(count_new(&v, 1100, 1536), 0);
        size_t first = count_new(&v, 100, 512);
        size_t second = count_new(&v, 512, 1024);
        size_t all = count_new(&v, 100, 1100);
        kept += all == 1000;
        lost += all == 0;
        torn += (first > 0 && first < 412) || (second > 0 && second < 512);
        reordered += first == 0 && second == 512;
    }
    assert_true(kept > 20 && lost > 20 && torn > 20 && reordered > 10);
    close_file(f);
    site_close(&s);
}

static void what_is_synced_stays(void **unused)
{
    site s = site_open(true);
    (void)unused;
    sqlite3_file *f = write_twice(&s);
    f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
    survivors v = survivors_of(s.disk, busbar_sim_disk_op_count(s.disk));
    while (next(&v, "a.db")) {
        assert_int_equal(v.size, 3 * 512);
        assert_int_equal(count_new(&v, 0, 1536), 1000);
    }
    v = survivors_of(s.disk, 2); /* before the second write began, or while it was going on */
    unsigned begun = 0;
    while (next(&v, "a.db"))
        begun += count_new(&v, 0, 1536) > 0;
    assert_true(begun > 20 && begun < SURVIVORS);
    v = survivors_of(s.disk, 1); /* not even the first is certain */
    unsigned shorter = 0;
    while (next(&v, "a.db"))
        shorter += v.size < 3 * 512;
    assert_true(shorter > 20);
    close_file(f);
    site_close(&s);
}

static void a_cut_repeats(void **unused)
{
    site s = site_open(true);
    unsigned char before[3 * 512];
    (void)unused;
    sqlite3_file *f = write_twice(&s);
    survivors v = survivors_of(s.disk, 3);
    while (next(&v, "a.db")) {
        memcpy(before, v.data, sizeof before);
        assert_int_equal(busbar_sim_disk_cut(s.disk, 0, v.seed, v.to), BUSBAR_OK); /* a step back and forth */
        v.seed--;
        assert_true(next(&v, "a.db"));
        assert_memory_equal(before, v.data, sizeof before);
    }
    close_file(f);
    site_close(&s);
}

/* How often a name survives a cut now. */
static unsigned presence(site *s, const char *name)
{
    unsigned there = 0;
    survivors v = survivors_of(s->disk, busbar_sim_disk_op_count(s->disk));
    while (next(&v, name))
        there += v.size != SIZE_MAX;
    return there;
}

static void names_are_certain_after_a_sync_of_the_directory(void **unused)
{
    site s = site_open(true);
    (void)unused;
    sqlite3_file *db = open_file(&s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    db->pMethods->xWrite(db, "x", 1, 0);
    db->pMethods->xSync(db, SQLITE_SYNC_NORMAL);
    assert_in_range(presence(&s, "a.db"), 20, SURVIVORS - 20); /* its bytes are certain, its name is not */
    sqlite3_file *journal = open_file(&s, "a.db-journal", CREATE | SQLITE_OPEN_MAIN_JOURNAL, SQLITE_OK);
    assert_in_range(presence(&s, "a.db-journal"), 20, SURVIVORS - 20);
    journal->pMethods->xSync(journal, SQLITE_SYNC_NORMAL); /* the first one: of the directory, too */
    assert_int_equal(presence(&s, "a.db-journal"), SURVIVORS);
    assert_int_equal(presence(&s, "a.db"), SURVIVORS);
    close_file(journal);
    assert_int_equal(s.vfs->xDelete(s.vfs, "a.db-journal", 0), SQLITE_OK);
    assert_in_range(presence(&s, "a.db-journal"), 20, SURVIVORS - 20);
    journal = open_file(&s, "a.db-journal", CREATE | SQLITE_OPEN_MAIN_JOURNAL, SQLITE_OK);
    close_file(journal);
    assert_int_equal(s.vfs->xDelete(s.vfs, "a.db-journal", 1), SQLITE_OK);
    assert_int_equal(presence(&s, "a.db-journal"), 0);
    close_file(db);
    site_close(&s);
}

static void ordered_files_show_no_bytes_that_were_not_written(void **unused)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        site s = site_open(true);
        unsigned char bytes[2048];
        unsigned holes = 0;
        (void)unused;
        memset(bytes, 'n', sizeof bytes);
        busbar_sim_disk_model_set(s.disk, ordered ? BUSBAR_SIM_DISK_ORDERED_APPEND : BUSBAR_SIM_DISK_ANY_ORDER);
        assert_int_equal(busbar_sim_disk_put(s.disk, "a.db", "", 0), BUSBAR_OK);
        sqlite3_file *f = open_file(&s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
        for (int i = 0; i < 4; i++)
            f->pMethods->xWrite(f, bytes, 2048, i * 2048);
        survivors v = survivors_of(s.disk, 4);
        while (next(&v, "a.db"))
            for (size_t i = 0; i < v.size; i++)
                holes += v.data[i] != 'n';
        assert_true(ordered ? holes == 0 : holes > 1000);
        close_file(f);
        site_close(&s);
    }
}

static void a_cut_is_refused_where_it_makes_no_sense(void **unused)
{
    site s = site_open(true);
    site other = site_open(true);
    (void)unused;
    assert_int_equal(busbar_sim_disk_cut(s.disk, 1, 1, other.disk), BUSBAR_EINVAL);
    assert_int_equal(busbar_sim_disk_cut(s.disk, 0, 1, s.disk), BUSBAR_EINVAL);
    sqlite3_file *f = open_file(&other, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    assert_int_equal(busbar_sim_disk_cut(s.disk, 0, 1, other.disk), BUSBAR_EMISUSE);
    close_file(f);
    assert_int_equal(busbar_sim_disk_cut(s.disk, 0, 1, other.disk), BUSBAR_OK);
    site_close(&s);
    site_close(&other);
}

static void a_liar_syncs_nothing(void **unused)
{
    site s = site_open(true);
    unsigned lost = 0;
    (void)unused;
    sqlite3_file *f = write_twice(&s);
    busbar_sim_disk_lie(s.disk, BUSBAR_SIM_DISK_LIE_DATABASE);
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_OK);
    survivors v = survivors_of(s.disk, busbar_sim_disk_op_count(s.disk));
    while (next(&v, "a.db"))
        lost += count_new(&v, 0, 1536) == 0;
    assert_true(lost > 20);
    close_file(f);
    site_close(&s);
}

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

static void calls_fail_on_command(void **unused)
{
    site s = site_open(true);
    (void)unused;
    sqlite3_file *f = open_file(&s, "a.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_OK);
    busbar_sim_disk_fail(s.disk, BUSBAR_SIM_DISK_WRITE | BUSBAR_SIM_DISK_SYNC, 2, 2, SQLITE_FULL);
    uint64_t ops = busbar_sim_disk_op_count(s.disk);
    assert_int_equal(f->pMethods->xWrite(f, "x", 1, 0), SQLITE_OK);
    assert_int_equal(f->pMethods->xTruncate(f, 1), SQLITE_OK); /* not among them */
    assert_int_equal(f->pMethods->xWrite(f, "y", 1, 0), SQLITE_FULL);
    assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_FULL);
    assert_int_equal(f->pMethods->xWrite(f, "z", 1, 1), SQLITE_OK);
    assert_int_equal(busbar_sim_disk_calls(s.disk), 4);
    assert_int_equal(busbar_sim_disk_failures(s.disk), 2);
    assert_int_equal(busbar_sim_disk_op_count(s.disk), ops + 3); /* what failed did nothing */
    busbar_sim_disk_fail(s.disk, BUSBAR_SIM_DISK_ANY_CALL, 1, BUSBAR_SIM_DISK_ALWAYS, SQLITE_IOERR);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f->pMethods->xWrite(f, "x", 1, 0), SQLITE_IOERR);
    busbar_sim_disk_fail(s.disk, BUSBAR_SIM_DISK_OPEN, 1, BUSBAR_SIM_DISK_ALWAYS, SQLITE_IOERR);
    open_file(&s, "b.db", CREATE | SQLITE_OPEN_MAIN_DB, SQLITE_IOERR);
    busbar_sim_disk_fail(s.disk, BUSBAR_SIM_DISK_ANY_CALL, 1, 0, SQLITE_IOERR);
    assert_int_equal(f->pMethods->xWrite(f, "x", 1, 0), SQLITE_OK);
    close_file(f);
    site_close(&s);
}

static void sqlite_sees_the_failures(void **unused)
{
    static const char *const journals[] = {"DELETE", "WAL"};
    (void)unused;
    for (int i = 0; i < 2; i++) {
        site s = site_open(true);
        sqlite3 *db = connect(&s, journals[i]);
        sql(db, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
        for (unsigned call = 1; call < BUSBAR_SIM_DISK_ANY_CALL; call <<= 1) {
            busbar_sim_disk_fail(s.disk, call, 1, 1, SQLITE_IOERR);
            int result = sqlite3_exec(db, "INSERT INTO t VALUES (2)", NULL, NULL, NULL);
            assert_true(busbar_sim_disk_failures(s.disk) > 0 || result == SQLITE_OK);
            busbar_sim_disk_fail(s.disk, 0, 0, 0, SQLITE_OK);
            sql(db, "INSERT INTO t VALUES (3)");
        }
        assert_int_equal(integer(db, "SELECT count(*) FROM t WHERE x = 3"), 19);
        sqlite3_close(db);
        site_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"bytes_are_files", behaves_as_a_vfs, NULL, NULL, (void *)(uintptr_t)&CASES[0]},
        {"it_says_what_unix_says", behaves_as_a_vfs, NULL, NULL, (void *)(uintptr_t)&CASES[1]},
        {"locks_exclude_each_other", behaves_as_a_vfs, NULL, NULL, (void *)(uintptr_t)&CASES[2]},
        {"shared_memory_is_shared", behaves_as_a_vfs, NULL, NULL, (void *)(uintptr_t)&CASES[3]},
        {"two_connections_work", behaves_as_a_vfs, NULL, NULL, (void *)(uintptr_t)&CASES[4]},
        cmocka_unit_test(the_record_tells_what_happened),
        cmocka_unit_test(files_are_put_and_taken),
        cmocka_unit_test(what_is_not_synced_is_kept_lost_or_torn),
        cmocka_unit_test(what_is_synced_stays),
        cmocka_unit_test(a_cut_repeats),
        cmocka_unit_test(names_are_certain_after_a_sync_of_the_directory),
        cmocka_unit_test(ordered_files_show_no_bytes_that_were_not_written),
        cmocka_unit_test(a_cut_is_refused_where_it_makes_no_sense),
        cmocka_unit_test(a_liar_syncs_nothing),
        cmocka_unit_test(calls_fail_on_command),
        cmocka_unit_test(sqlite_sees_the_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
