/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <string.h>

#include "text.h"

static const char FIND_BOOT[] = "SELECT id FROM main.busbar_boot WHERE boot = ?1";
static const char INSERT_BOOT[] = "INSERT INTO main.busbar_boot (boot) VALUES (?1)";
static const char HAS_SESSION[] = "SELECT 1 FROM main.busbar_session WHERE id = ?1 AND token = ?2";
static const char LOAD_SESSION[] = "SELECT token, boot, mono_ms FROM main.busbar_session WHERE id = ?1";
static const char NEXT_SESSION[] = "SELECT next_session FROM main.busbar_meta WHERE id = 1";
static const char COUNT_SESSION[] = "UPDATE main.busbar_meta SET next_session = ?1 + 1 WHERE id = 1";
static const char INSERT_SESSION[] =
    "INSERT INTO main.busbar_session (id, token, boot, mono_ms, owner, begin_normal, begin_urgent, begin_bulk)"
    " SELECT ?1, ?2, ?3, ?4, ?5, (SELECT coalesce(max(seq), 0) FROM main.busbar_log_normal),"
    " (SELECT coalesce(max(seq), 0) FROM main.busbar_log_urgent),"
    " (SELECT coalesce(max(seq), 0) FROM main.busbar_log_bulk)";

static int random_boot(bb_boot *boot, bb_store *store, const busbar_port *port)
{
    uint8_t bytes[12];
    if (port->random(port->ctx, bytes, sizeof bytes) != 0)
        return bb_store_fail(store, BUSBAR_ERANDOM,
                             "the port has neither a boot identity nor random bytes to make one");
    char token[BB_IDENTITY_TOKEN_SIZE];
    bb_identity_mix(bytes, 0, "", "", port->mono_us(port->ctx), 0, token);
    bb_text text = bb_text_on(boot->text, sizeof boot->text);
    bb_text_add(&text, BB_BOOT_MADE_UP);
    bb_text_add(&text, token);
    return BUSBAR_OK;
}

int bb_boot_init(bb_boot *boot, bb_store *store, const busbar_port *port)
{
    boot->id = 0;
    boot->confirmed = false;
    if (port->boot_id(port->ctx, boot->text) == 0 && boot->text[0] != '\0')
        return BUSBAR_OK;
    return random_boot(boot, store, port);
}

bool bb_boot_made_up(const char *boot)
{
    return strncmp(boot, BB_BOOT_MADE_UP, sizeof BB_BOOT_MADE_UP - 1) == 0;
}

/* 0 stands for none. */
static int check_number(bb_boot *boot, bb_store *store, int result)
{
    if (boot->id > 0)
        return result;
    boot->id = 0;
    return bb_store_fail(store, BUSBAR_ECORRUPT,
                         "the database file is damaged: a boot has no positive number (see `busbar check`)");
}

/* BB_ROW when found, BUSBAR_OK when not. */
static int find_boot(bb_boot *boot, bb_store *store)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, FIND_BOOT, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 1, boot->text);
    result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    boot->id = result == BB_ROW ? bb_column_integer(store, stmt, 0) : 0;
    bb_store_end(store, stmt);
    return result == BB_ROW ? check_number(boot, store, result) : result;
}

static int insert_boot(bb_boot *boot, bb_store *store)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, INSERT_BOOT, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 1, boot->text);
    result = bb_store_run(store, stmt);
    if (result == BUSBAR_OK)
        boot->id = store->sql->last_insert_rowid(store->db);
    return result == BUSBAR_OK ? check_number(boot, store, result) : result;
}

int bb_boot_ensure(bb_boot *boot, bb_store *store)
{
    if (boot->confirmed)
        return BUSBAR_OK;
    int result = find_boot(boot, store);
    if (result == BUSBAR_OK)
        result = insert_boot(boot, store);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_session_token(bb_store *store, const busbar_port *port, const char *boot, uint64_t counter, uint64_t mono_us,
                     char out[BB_IDENTITY_TOKEN_SIZE])
{
    uint8_t bytes[12];
    char device[BUSBAR_IDENTITY_SIZE] = "";
    int64_t wall_ms = 0;
    if (port->random(port->ctx, bytes, sizeof bytes) != 0)
        return bb_store_fail(store, BUSBAR_ERANDOM,
                             "the port has no random bytes for the identity of events; try again");
    if (port->device_id(port->ctx, device) != 0)
        device[0] = '\0';
    if (port->wall_ms(port->ctx, &wall_ms) == BUSBAR_CLOCK_UNKNOWN)
        wall_ms = 0;
    bb_identity_mix(bytes, counter, device, boot, mono_us, wall_ms, out);
    return BUSBAR_OK;
}

static int insert_session(bb_session *session, bb_store *store, const busbar_port *port, int64_t id, int64_t boot)
{
    char owner[BUSBAR_IDENTITY_SIZE];
    bool owned = port->worker_id && port->worker_gone && port->worker_id(port->ctx, owner) == 0;
    int result = bb_store_change(store, COUNT_SESSION, &id, 1);
    sqlite3_stmt *stmt = NULL;
    const int64_t values[] = {id, 0, boot, session->mono_ms};
    if (result == BUSBAR_OK)
        result = bb_store_prepare_with(store, INSERT_SESSION, values, 4, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 2, session->token);
    bb_bind_text(store, stmt, 5, owned ? owner : NULL);
    return bb_store_run(store, stmt);
}

static int create_session(bb_session *session, bb_store *store, bb_boot *boot, const busbar_port *port)
{
    int64_t id = 0;
    uint64_t now_us = port->mono_us(port->ctx);
    session->mono_ms = (int64_t)(now_us / 1000);
    int result = bb_boot_ensure(boot, store);
    if (result == BUSBAR_OK)
        result = bb_store_integer(store, NEXT_SESSION, NULL, 0, &id);
    if (result == BUSBAR_OK) /* no row */
        return bb_store_fail(store, BUSBAR_ECORRUPT, "busbar_meta has no row: the database is damaged");
    if (result == BB_ROW)
        result = bb_session_token(store, port, boot->text, (uint64_t)id, now_us, session->token);
    if (result == BUSBAR_OK)
        result = insert_session(session, store, port, id, boot->id);
    if (result == BUSBAR_OK) {
        session->id = id;
        session->boot = boot->id;
    }
    return result;
}

/* BB_ROW when the session's own row is there. */
static int has_session(bb_session *session, bb_store *store)
{
    if (session->id == 0)
        return BUSBAR_OK;
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, HAS_SESSION, &stmt);
    if (result < 0)
        return result;
    bb_bind_integer(store, stmt, 1, session->id);
    bb_bind_text(store, stmt, 2, session->token);
    result = bb_store_step(store, stmt);
    if (result >= 0)
        bb_store_end(store, stmt);
    return result;
}

int bb_session_ensure(bb_session *session, bb_store *store, bb_boot *boot, const busbar_port *port, bool *out_created)
{
    *out_created = false;
    if (session->confirmed)
        return BUSBAR_OK;
    int result = has_session(session, store);
    if (result != BUSBAR_OK)
        return result < 0 ? result : BUSBAR_OK;
    session->id = 0;
    *out_created = true;
    return create_session(session, store, boot, port);
}

int bb_session_confirm(bb_session *session, bb_boot *boot, bb_store *store)
{
    int result = BUSBAR_OK;
    if (!boot->confirmed) {
        result = find_boot(boot, store);
        boot->confirmed = result == BB_ROW;
    }
    if (result >= 0 && !session->confirmed) {
        result = has_session(session, store);
        session->confirmed = result == BB_ROW;
        if (result == BUSBAR_OK)
            session->id = 0;
    }
    return result < 0 ? result : BUSBAR_OK;
}

int bb_session_load(bb_store *store, int64_t id, bb_session *out_session)
{
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, LOAD_SESSION, &id, 1, &stmt);
    if (result == BUSBAR_OK)
        return bb_store_fail(store, BUSBAR_ENOTFOUND, "an event names a session that is not stored");
    if (result < 0)
        return result;
    const char *token = bb_column_text(store, stmt, 0);
    *out_session = (bb_session){
        .id = id,
        .confirmed = true,
        .boot = bb_column_integer(store, stmt, 1),
        .mono_ms = bb_column_ms(store, stmt, 2),
    };
    bb_text_copy(out_session->token, sizeof out_session->token, token);
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}
