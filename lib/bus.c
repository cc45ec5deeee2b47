/* SPDX-License-Identifier: MIT */
/* Lifecycle: open, close, migrate, and the removal of consumers. */
#include <stdlib.h>
#include <string.h>

#include "attribute.h"
#include "bound.h"
#include "collect.h"
#include "inline.h"
#include "schema.h"
#include "text.h"
#include "worker.h"

#define SQLITE_VERSION_MIN 3037000

#define DEFAULT_LEASE_MS      10000u
#define DEFAULT_WRITE_HOLD_US 2000u
#define DEFAULT_KEEP_EVENTS   1000u
#define DEFAULT_KEEP_IDS      100000u
#define DEFAULT_KEEP_DEAD     10000u

static const busbar_sqlite linked_routines = BUSBAR_SQLITE_ROUTINES;

/* ---- Opening ---- */

static int fail_open(busbar_error *out_error, int code, const char *text)
{
    if (!out_error)
        return code;
    *out_error = (busbar_error){.code = code};
    bb_text_copy(out_error->text, sizeof out_error->text, text);
    return code;
}

static bool port_usable(const busbar_port *port)
{
    return port && port->version >= 1 && port->mono_us && port->wall_ms && port->boot_id && port->device_id &&
           port->random;
}

/*
 * A connection begins with the address of its VFS, which is one of the list of the copy that opened it. This one word is all
 * that may be read of a connection before it is known whose it is: any call of the wrong copy would crash.
 */
static bool same_copy(const busbar_sqlite *sql, sqlite3 *db)
{
    sqlite3_vfs *used;
    memcpy(&used, (const void *)db, sizeof used);
    sqlite3_vfs *vfs = sql->vfs_find(NULL);
    while (vfs && vfs != used)
        vfs = vfs->pNext;
    return vfs != NULL;
}

static int check_arguments(sqlite3 *db, const busbar_options *options, busbar_error *out_error)
{
    if (!db || !options || options->size != sizeof *options)
        return fail_open(out_error, BUSBAR_EINVAL,
                         "db or options is NULL, or options.size is not sizeof(busbar_options)");
    if (!port_usable(options->port))
        return fail_open(out_error, BUSBAR_EPORT,
                         "options.port is NULL or lacks a required function; on Linux give busbar_linux_port()");
    if (options->max_data_bytes > BUSBAR_DATA_MAX)
        return fail_open(out_error, BUSBAR_EINVAL, "options.max_data_bytes is above BUSBAR_DATA_MAX");
    const busbar_sqlite *sql = options->sqlite ? options->sqlite : &linked_routines;
    if (sql->size != sizeof *sql)
        return fail_open(out_error, BUSBAR_EINVAL, "options.sqlite has another size than this library's busbar_sqlite");
    if (sql->libversion_number() < SQLITE_VERSION_MIN)
        return fail_open(out_error, BUSBAR_EOLDSQLITE, busbar_error_text(BUSBAR_EOLDSQLITE));
    if (options->checkpoint_db == db)
        return fail_open(out_error, BUSBAR_EINVAL, "options.checkpoint_db is the bus's own connection");
    if (!same_copy(sql, db) || (options->checkpoint_db && !same_copy(sql, options->checkpoint_db)))
        return fail_open(out_error, BUSBAR_ECOPY, busbar_error_text(BUSBAR_ECOPY));
    return BUSBAR_OK;
}

static void fill_options(busbar *bus, const busbar_options *options)
{
    busbar_options *own = &bus->options;
    *own = *options;
    if (own->max_data_bytes == 0)
        own->max_data_bytes = BUSBAR_DATA_DEFAULT_MAX;
    if (own->lease_ms == 0)
        own->lease_ms = DEFAULT_LEASE_MS;
    if (own->write_hold_us == 0)
        own->write_hold_us = DEFAULT_WRITE_HOLD_US;
    if (own->keep_events == 0)
        own->keep_events = DEFAULT_KEEP_EVENTS;
    if (own->keep_ids == 0)
        own->keep_ids = DEFAULT_KEEP_IDS;
    if (own->keep_dead == 0)
        own->keep_dead = DEFAULT_KEEP_DEAD;
}

static int set_source(busbar *bus, const char *source)
{
    char device[BUSBAR_IDENTITY_SIZE] = "";
    if (!source && bus->port->device_id(bus->port->ctx, device) == 0)
        source = device;
    if (!source || bb_attribute_source_check(source) < 0)
        return bb_store_fail(
            &bus->store, BUSBAR_ESOURCE,
            "options.source is not a URI-reference, or is missing and the port knows no device identity");
    size_t size = strlen(source) + 1;
    bus->source = malloc(size);
    if (!bus->source)
        return bb_store_fail_plain(&bus->store, BUSBAR_ENOMEM);
    memcpy(bus->source, source, size);
    bus->options.source = bus->source;
    return BUSBAR_OK;
}

/* Tables of this version, seen in a committed state, need not be looked for again. */
static int check_schema(busbar *bus)
{
    int version = 0;
    bool writing = bb_store_in_transaction(&bus->store) && bb_store_writing(&bus->store);
    int result = bb_schema_version(&bus->store, &version);
    if (result < 0)
        return result;
    if (version > BUSBAR_SCHEMA_VERSION)
        return bb_schema_check(&bus->store);
    bus->schema_confirmed = version == BUSBAR_SCHEMA_VERSION && !writing;
    return BUSBAR_OK;
}

static int open_on(busbar *bus, const busbar_options *options)
{
    fill_options(bus, options);
    int result = set_source(bus, options->source);
    if (result == BUSBAR_OK)
        result = bb_bound_init(bus);
    if (result == BUSBAR_OK)
        result = bb_worker_init_notes(bus);
    if (result == BUSBAR_OK)
        result = bb_store_check_safety(&bus->store);
    if (result == BUSBAR_OK)
        result = check_schema(bus);
    if (result == BUSBAR_OK)
        result = bb_boot_init(&bus->boot, &bus->store, bus->port);
    return result;
}

static void free_bus(busbar *bus)
{
    bb_inline_free_all(bus->inlines);
    bb_kinds_free(&bus->kinds);
    bb_reader_fini(&bus->reader);
    bb_buffer_free(&bus->extensions);
    bb_store_fini(&bus->store);
    free(bus->source);
    free(bus);
}

int busbar_open(busbar **out_bus, sqlite3 *db, const busbar_options *options, busbar_error *out_error)
{
    if (!out_bus)
        return fail_open(out_error, BUSBAR_EINVAL, "out_bus is NULL");
    int result = check_arguments(db, options, out_error);
    if (result < 0)
        return result;
    busbar *bus = calloc(1, sizeof *bus);
    if (!bus)
        return fail_open(out_error, BUSBAR_ENOMEM, busbar_error_text(BUSBAR_ENOMEM));
    bus->port = options->port;
    bb_store_init(&bus->store, bus->statements, options->sqlite ? options->sqlite : &linked_routines, db);
    bus->store.port = options->port;
    bb_reader_init(&bus->reader, &bus->store);
    result = open_on(bus, options);
    if (result == BUSBAR_OK)
        result = bb_checkpoint_init(&bus->checkpoint, &bus->store, options->checkpoint_db, options->max_bytes);
    if (result < 0) {
        if (out_error)
            *out_error = bus->store.error;
        free_bus(bus);
        return result;
    }
    *out_bus = bus;
    return BUSBAR_OK;
}

/* ---- Closing ---- */

static void release_leases(busbar *bus)
{
    for (bb_worker *worker = bus->workers; worker; worker = worker->next) {
        if (!worker->lease.held || bb_store_begin(&bus->store) < 0)
            continue; /* a lease that is not given back ends by itself */
        if (bb_lease_release(&worker->lease, &bus->store, worker->consumer) < 0)
            bb_store_rollback(&bus->store);
        else
            (void)bb_store_commit(&bus->store);
    }
}

/* Whoever cannot write now leaves it to those who find out that the process is gone. */
static void end_session(busbar *bus)
{
    if (bus->session.id == 0 || bb_store_in_transaction(&bus->store) || bb_store_begin(&bus->store) < 0)
        return;
    (void)bb_store_finish(&bus->store, bb_collect_end(&bus->store, &bus->session));
}

static void close_wake(busbar *bus)
{
    if (bus->wake)
        bus->port->wake->close(bus->wake);
    bus->wake = NULL;
}

int busbar_close(busbar *bus)
{
    if (!bus)
        return BUSBAR_OK;
    int result = bus->workers ? bb_handle_idle(bus) : bb_handle_outside_handler(bus);
    if (result < 0)
        return result;
    (void)bb_store_mend(
        &bus->store); /* a bus that never worked may be closed in the caller's transaction, but not in its own */
    sqlite3_int64 application_rowid = bus->store.sql->last_insert_rowid(bus->store.db);
    for (bb_worker *worker = bus->workers; worker; worker = worker->next)
        worker->api->stop(worker, bus);
    release_leases(bus);
    end_session(bus);
    close_wake(bus);
    while (bus->workers) {
        bb_worker *worker = bus->workers;
        bus->workers = worker->next;
        worker->api->free(worker);
    }
    bus->store.sql->set_last_insert_rowid(bus->store.db, application_rowid);
    free_bus(bus);
    return BUSBAR_OK;
}

/* ---- The rest ---- */

sqlite3 *busbar_connection(const busbar *bus)
{
    return bus ? bus->store.db : NULL;
}

bool busbar_wal_race(const struct busbar_sqlite *sqlite)
{
    return bb_checkpoint_guards((sqlite ? sqlite : &linked_routines)->libversion_number());
}

int busbar_migrate(busbar *bus)
{
    if (!bus)
        return BUSBAR_EINVAL;
    int result = bb_handle_outside_handler(bus);
    if (result == BUSBAR_OK)
        result = bb_store_mend(&bus->store);
    if (result < 0)
        return result;
    bool in_transaction = bb_store_in_transaction(&bus->store);
    result = bb_schema_migrate(&bus->store, bb_schema_steps, bb_schema_step_count);
    if (result == BUSBAR_OK && !in_transaction)
        bus->schema_confirmed = true;
    return result;
}

static int remove_locked(busbar *bus, const char *name)
{
    int64_t id = 0;
    int result = bb_consumer_find(&bus->store, name, &id);
    if (result == BUSBAR_OK)
        result = bb_lease_check_free(&bus->store, bus->port, bus->boot.text, id);
    return result == BUSBAR_OK ? bb_consumer_delete(&bus->store, id) : result;
}

int busbar_consumer_remove(busbar *bus, const char *name)
{
    if (!bus)
        return BUSBAR_EINVAL;
    if (!name)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "name is NULL");
    int result = bb_handle_idle(bus);
    if (result == BUSBAR_OK && bb_worker_find(bus, name))
        return bb_store_fail(&bus->store, BUSBAR_EEXISTS, "the consumer is registered on this handle: close it first");
    if (result == BUSBAR_OK)
        result = bb_schema_check(&bus->store);
    if (result == BUSBAR_OK)
        result = bb_store_begin(&bus->store);
    if (result < 0)
        return result;
    result = remove_locked(bus, name);
    return bb_store_finish(&bus->store, result);
}
