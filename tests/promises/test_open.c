/* SPDX-License-Identifier: MIT */
/* Opening, P2's refusals, P13 (upgrades keep data) and P15 (a good guest). */
#include "fixture.h"

#include <stdio.h>

#include "schema.h"

static int open_code(const fixture *f, sqlite3 *db, busbar_error *error)
{
    busbar *bus = NULL;
    int result = busbar_open(&bus, db, &f->options, error);
    if (result == BUSBAR_OK)
        assert_int_equal(busbar_close(bus), BUSBAR_OK);
    else
        assert_null(bus);
    return result;
}

/* ---- Opening ---- */

static void opening_writes_nothing(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    int64_t version = sql_integer(f.db, "PRAGMA data_version");
    sqlite3 *other = fixture_connect(&f);
    int64_t pages = sql_integer(other, "PRAGMA page_count");
    busbar_error error;
    assert_int_equal(open_code(&f, other, &error), BUSBAR_OK);
    assert_int_equal(sql_integer(f.db, "PRAGMA data_version"), version);
    assert_int_equal(sql_integer(other, "PRAGMA page_count"), pages);
    sqlite3_close(other);
    fixture_close(&f);
}

static void p2_unsafe_settings_are_refused(void **unused)
{
    (void)unused;
    fixture f;
    busbar_error error;
    fixture_open(&f);
    sqlite3 *db = fixture_connect(&f);
    sql(db, "PRAGMA synchronous=OFF");
    assert_int_equal(open_code(&f, db, &error), BUSBAR_EUNSAFE);
    assert_non_null(strstr(error.text, "synchronous"));
    sqlite3_close(db);

    sqlite3_open(":memory:", &db);
    assert_int_equal(open_code(&f, db, &error), BUSBAR_EUNSAFE);
    assert_non_null(strstr(error.text, "journal_mode"));
    sqlite3_close(db);

    char path[200];
    snprintf(path, sizeof path, "%s/rollback.db", f.directory);
    sqlite3_open(path, &db);
    static const char *const modes[] = {"MEMORY", "OFF", "DELETE", "TRUNCATE", "PERSIST"};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char pragma[64];
        snprintf(pragma, sizeof pragma, "PRAGMA journal_mode=%s", modes[i]);
        sql(db, pragma);
        assert_int_equal(open_code(&f, db, &error), i < 2 ? BUSBAR_EUNSAFE : BUSBAR_OK);
    }
    sqlite3_close(db);
    fixture_close(&f);
}

static void wrong_arguments_are_told(void **unused)
{
    (void)unused;
    fixture f;
    busbar *bus = NULL;
    busbar_error error;
    fixture_open(&f);
    busbar_options options = f.options;
    assert_int_equal(busbar_open(NULL, f.db, &options, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_open(&bus, NULL, &options, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_open(&bus, f.db, NULL, &error), BUSBAR_EINVAL);
    options.size = 3;
    assert_int_equal(busbar_open(&bus, f.db, &options, &error), BUSBAR_EINVAL);
    options = f.options;
    options.port = NULL;
    assert_int_equal(busbar_open(&bus, f.db, &options, NULL), BUSBAR_EPORT);
    options = f.options;
    options.source = "not a uri";
    assert_int_equal(busbar_open(&bus, f.db, &options, &error), BUSBAR_ESOURCE);
    assert_null(bus);
    assert_int_equal(busbar_close(NULL), BUSBAR_OK);
    fixture_close(&f);
}

static void a_file_that_is_no_database_is_told(void **unused)
{
    (void)unused;
    fixture f;
    busbar_error error;
    fixture_open(&f);
    char path[200];
    snprintf(path, sizeof path, "%s/text.db", f.directory);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 100; i++)
        fputs("this is not an SQLite database; it is a text of some length.\n", file);
    fclose(file);
    sqlite3 *db;
    sqlite3_open(path, &db);
    assert_int_equal(open_code(&f, db, &error), BUSBAR_ENOTBUS);
    sqlite3_close(db);
    fixture_close(&f);
}

static void readers_say_what_is_missing(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_status status = {.size = sizeof status};
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_ENOTBUS);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_OK);
    assert_int_equal(status.schema_version, BUSBAR_SCHEMA_VERSION);
    fixture_close(&f);
}

/* ---- P13 ---- */

static void p13_newer_tables_are_refused(void **unused)
{
    (void)unused;
    fixture f;
    busbar_error error;
    fixture_open(&f);
    publish(f.bus, "a.b");
    sql(f.db, "UPDATE busbar_meta SET schema_version = 99");
    sqlite3 *db = fixture_connect(&f);
    assert_int_equal(open_code(&f, db, &error), BUSBAR_ESCHEMANEWER);
    assert_non_null(strstr(error.text, "99"));
    sqlite3_close(db);
    busbar_status status = {.size = sizeof status};
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_ESCHEMANEWER);
    fixture_close(&f);
}

/* A made-up history: version 1 had one table, version 2 gives it a column, version 3 another table. */
static const bb_schema_step HISTORY[] = {
    {1, "CREATE TABLE main.busbar_meta (id INTEGER PRIMARY KEY, schema_version INTEGER NOT NULL) STRICT;"
        "INSERT INTO main.busbar_meta VALUES (1, 1); CREATE TABLE main.busbar_old (x INTEGER) STRICT;"},
    {2, "ALTER TABLE main.busbar_old ADD COLUMN y INTEGER NOT NULL DEFAULT 7;"},
    {3,
     "CREATE TABLE main.busbar_new (z INTEGER) STRICT; INSERT INTO main.busbar_new SELECT x + y FROM main.busbar_old;"},
};
static const bb_schema_step BROKEN_HISTORY[] = {
    {2, "ALTER TABLE main.busbar_old ADD COLUMN y INTEGER NOT NULL DEFAULT 7;"},
    {3, "CREATE TABLE main.busbar_new (z INTEGER) STRICT; INSERT INTO main.no_such_table VALUES (1);"},
};

static void p13_older_tables_are_migrated_in_one_transaction(void **unused)
{
    (void)unused;
    static const busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;
    fixture f;
    fixture_open(&f);
    bb_store *store = calloc(1, sizeof *store);
    bb_statement *statements = calloc(BB_STATEMENT_SLOTS, sizeof *statements);
    int version = 0;
    bb_store_init(store, statements, &routines, f.db);
    assert_int_equal(bb_schema_migrate(store, HISTORY, 1), BUSBAR_OK);
    sql(f.db, "INSERT INTO busbar_old VALUES (35)");

    assert_true(bb_schema_migrate(store, BROKEN_HISTORY, 2) < 0); /* nothing of it stays */
    assert_int_equal(bb_schema_version(store, &version), BUSBAR_OK);
    assert_int_equal(version, 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM pragma_table_info('busbar_old')"), 1);

    assert_int_equal(bb_schema_migrate(store, HISTORY, 3), BUSBAR_OK);
    assert_int_equal(sql_integer(f.db, "SELECT z FROM busbar_new"), 42);
    assert_int_equal(bb_schema_version(store, &version), BUSBAR_OK);
    assert_int_equal(version, 3);
    assert_int_equal(bb_schema_migrate(store, HISTORY, 3), BUSBAR_OK); /* nothing to do */
    assert_int_equal(bb_schema_migrate(store, HISTORY, 2), BUSBAR_ESCHEMANEWER);
    bb_store_fini(store);
    free(statements);
    free(store);
    fixture_close(&f);
}

static void p13_older_tables_are_told_to_readers(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    sql(f.db, "UPDATE busbar_meta SET schema_version = -1");
    busbar_status status = {.size = sizeof status};
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_ESCHEMAOLDER);
    fixture_close(&f);
}

static void p13_the_views_are_readable(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_event event = event_with("door.opened", "{\"n\":1}");
    event.subject = "front";
    event.lane = BUSBAR_URGENT;
    busbar_id id;
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_OK);
    assert_string_equal(
        sql_text(f.db,
                 "SELECT lane || ' ' || type || ' ' || source || ' ' || subject || ' ' || data FROM busbar_events"),
        "urgent door.opened urn:test:device front {\"n\":1}");
    assert_string_equal(sql_text(f.db, "SELECT id FROM busbar_events"), id.text);
    assert_string_equal(sql_text(f.db, "PRAGMA integrity_check"), "ok");
    sqlite3 *attached;
    char statement[256];
    sqlite3_open(":memory:", &attached);
    snprintf(statement, sizeof statement, "ATTACH '%s' AS elsewhere", f.path);
    sql(attached, statement);
    assert_int_equal(sql_integer(attached, "SELECT count(*) FROM elsewhere.busbar_events"), 1);
    sqlite3_close(attached);
    fixture_close(&f);
}

/* ---- P15: a good guest ---- */

static int commits;
static int rollbacks;
static int updates;
static int authorizations;
static int waited;

static int on_commit(void *ctx)
{
    (void)ctx;
    commits++;
    return 0;
}

static void on_rollback(void *ctx)
{
    (void)ctx;
    rollbacks++;
}

static void on_update(void *ctx, int op, const char *schema, const char *table, sqlite3_int64 rowid)
{
    (void)ctx, (void)op, (void)schema, (void)rowid;
    updates += strcmp(table, "state") == 0;
}

static int on_authorize(void *ctx, int action, const char *a, const char *b, const char *c, const char *d)
{
    (void)ctx, (void)action, (void)a, (void)b, (void)c, (void)d;
    authorizations++;
    return SQLITE_OK;
}

static int on_busy(void *ctx, int count)
{
    (void)ctx, (void)count;
    waited++;
    return 0;
}

static busbar_verdict done(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason, (void)ctx;
    return BUSBAR_DONE;
}

static const busbar_handler HANDLER = {.size = sizeof(busbar_handler), .name = "all", .fn = done};
static const busbar_handler OUTSIDE = {
    .size = sizeof(busbar_handler), .name = "outside", .fn = done, .delivery = BUSBAR_OUTSIDE};

static busbar_verdict fail_it(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason, (void)ctx;
    return BUSBAR_DEAD;
}

static const busbar_handler FAILING = {.size = sizeof(busbar_handler), .name = "failing", .fn = fail_it};

/* Publishes and works in every way there is. */
static void use(fixture *f)
{
    publish(f->bus, "a.b");
    sql(f->db, "BEGIN");
    publish(f->bus, "c.d");
    sql(f->db, "ROLLBACK");
    settle(f, 100);
}

static void p15_hooks_stay_the_applications(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sqlite3_commit_hook(f.db, on_commit, NULL);
    sqlite3_rollback_hook(f.db, on_rollback, NULL);
    sqlite3_update_hook(f.db, on_update, NULL);
    sqlite3_set_authorizer(f.db, on_authorize, NULL);
    sqlite3_busy_handler(f.db, on_busy, NULL);
    assert_code(f.bus, busbar_subscribe(f.bus, &HANDLER, 1), BUSBAR_OK);
    use(&f);
    fixture_reopen_bus(&f);
    commits = rollbacks = updates = authorizations = waited = 0;
    sql(f.db, "BEGIN; INSERT INTO state VALUES ('w', 1); COMMIT; BEGIN; DELETE FROM state; ROLLBACK");
    assert_true(commits == 1 && rollbacks == 1 && authorizations > 0);
    sql(f.db, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    assert_ptr_equal(sqlite3_commit_hook(f.db, NULL, NULL), NULL); /* the old argument, as it was given */
    sqlite3 *other = fixture_connect(&f);
    sql(other, "BEGIN IMMEDIATE");
    assert_int_equal(sqlite3_exec(f.db, "INSERT INTO t VALUES (2)", NULL, NULL, NULL), SQLITE_BUSY);
    assert_int_equal(waited, 1);
    sql(other, "COMMIT");
    sqlite3_close(other);
    fixture_close(&f);
}

static void read_pragmas(sqlite3 *db, char *out, size_t size)
{
    static const char *const names[] = {
        "journal_mode",       "synchronous",    "foreign_keys",  "busy_timeout",       "cache_size",
        "temp_store",         "locking_mode",   "secure_delete", "auto_vacuum",        "wal_autocheckpoint",
        "user_version",       "application_id", "page_size",     "recursive_triggers", "query_only",
        "journal_size_limit", "mmap_size",      "encoding",      "defer_foreign_keys", "case_sensitive_like",
    };
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char pragma[64];
        sqlite3_stmt *stmt;
        snprintf(pragma, sizeof pragma, "PRAGMA main.%s", names[i]);
        assert_int_equal(sqlite3_prepare_v2(db, pragma, -1, &stmt, NULL), SQLITE_OK);
        const char *value = sqlite3_step(stmt) == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : "-";
        length += (size_t)snprintf(out + length, size - length, "%s=%s\n", names[i], value);
        sqlite3_finalize(stmt);
    }
}

static void p15_pragmas_stay_as_they_were(void **unused)
{
    (void)unused;
    static const char *const synchronous[] = {"NORMAL", "FULL", "EXTRA"};
    for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++) {
        fixture f;
        char before[2048];
        char after[2048];
        char pragma[64];
        fixture_open(&f);
        snprintf(pragma, sizeof pragma, "PRAGMA synchronous=%s", synchronous[i]);
        sql(f.db, pragma);
        sql(f.db, "PRAGMA foreign_keys=ON; PRAGMA busy_timeout=1234; PRAGMA cache_size=77; PRAGMA user_version=5;"
                  "PRAGMA application_id=99; PRAGMA recursive_triggers=ON; PRAGMA wal_autocheckpoint=321;");
        read_pragmas(f.db, before, sizeof before);
        assert_code(f.bus, busbar_subscribe(f.bus, &HANDLER, 1), BUSBAR_OK);
        assert_code(f.bus, busbar_subscribe(f.bus, &OUTSIDE, 1), BUSBAR_OK); /* it needs the synced commit */
        use(&f);
        read_pragmas(f.db, after, sizeof after);
        assert_string_equal(after, before);
        fixture_reopen_bus(&f);
        read_pragmas(f.db, after, sizeof after);
        assert_string_equal(after, before);
        fixture_close(&f);
    }
}

static void p15_last_insert_rowid_is_restored(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sql(f.db, "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (4711)");
    publish(f.bus, "a.b"); /* makes tables, kind, session */
    assert_int_equal(sqlite3_last_insert_rowid(f.db), 4711);
    publish(f.bus, "a.b");
    busbar_event event = event_of("a.b");
    event.id = "given";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(sqlite3_last_insert_rowid(f.db), 4711);
    assert_code(f.bus, busbar_subscribe(f.bus, &HANDLER, 1), BUSBAR_OK);
    publish(f.bus, "a.b");
    settle(&f, 100);
    assert_int_equal(sqlite3_last_insert_rowid(f.db), 4711);
    assert_code(f.bus, busbar_subscribe(f.bus, &FAILING, 1), BUSBAR_OK);
    publish(f.bus, "a.b");
    settle(&f, 100);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_exception"), 1);
    assert_int_equal(sqlite3_last_insert_rowid(f.db), 4711);
    busbar_kind kind;
    busbar_kind_desc desc = {.size = sizeof desc, .type = "new.kind"};
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_OK);
    fixture_reopen_bus(&f);
    assert_int_equal(sqlite3_last_insert_rowid(f.db), 4711);
    fixture_close(&f);
}

static void p15_temporary_tables_of_the_same_names_are_left_alone(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    static const char *const names[] = {"meta",       "kind",     "boot",  "clock",    "session", "log_normal",
                                        "log_urgent", "log_bulk", "given", "consumer", "cursor",  "exception"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[128];
        snprintf(text, sizeof text, "CREATE TEMP TABLE busbar_%s (empty)", names[i]);
        sql(f.db, text);
    }
    fixture_reopen_bus(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &HANDLER, 1), BUSBAR_OK);
    assert_code(f.bus, busbar_subscribe(f.bus, &OUTSIDE, 1), BUSBAR_OK);
    busbar_event event = event_of("a.b");
    event.id = "given";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    use(&f);
    assert_int_equal(progress_of(f.bus, "all", BUSBAR_NORMAL).delivered, 2);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[128];
        snprintf(text, sizeof text, "SELECT count(*) FROM temp.busbar_%s", names[i]);
        assert_int_equal(sql_integer(f.db, text), 0);
    }
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM main.busbar_log_normal"), 2);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_writes_nothing),
        cmocka_unit_test(p2_unsafe_settings_are_refused),
        cmocka_unit_test(wrong_arguments_are_told),
        cmocka_unit_test(a_file_that_is_no_database_is_told),
        cmocka_unit_test(readers_say_what_is_missing),
        cmocka_unit_test(p13_newer_tables_are_refused),
        cmocka_unit_test(p13_older_tables_are_migrated_in_one_transaction),
        cmocka_unit_test(p13_older_tables_are_told_to_readers),
        cmocka_unit_test(p13_the_views_are_readable),
        cmocka_unit_test(p15_hooks_stay_the_applications),
        cmocka_unit_test(p15_pragmas_stay_as_they_were),
        cmocka_unit_test(p15_last_insert_rowid_is_restored),
        cmocka_unit_test(p15_temporary_tables_of_the_same_names_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
