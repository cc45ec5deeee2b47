/* SPDX-License-Identifier: MIT */
#include "lease.h"

#include <string.h>

#include "identity.h"
#include "text.h"

/* After an owner has struck a claim out, a competitor waits this many leases before it claims again. */
#define CLAIM_PAUSE_LEASES 6

static const char READ[] = "SELECT owner, owner_boot, claim, claim_boot, claim_until_ms, busy FROM main.busbar_consumer"
                           " WHERE id = ?1";
static const char TAKE[] =
    "UPDATE main.busbar_consumer SET owner = ?2, owner_boot = ?3, busy = 1, claim = NULL, claim_boot = NULL,"
    " claim_until_ms = NULL, idle_boot = 0 WHERE id = ?1";
static const char CLAIM[] =
    "UPDATE main.busbar_consumer SET claim = ?2, claim_boot = ?3, claim_until_ms = ?4 WHERE id = ?1";
static const char STRIKE[] =
    "UPDATE main.busbar_consumer SET claim = NULL, claim_boot = NULL, claim_until_ms = NULL WHERE id = ?1";
static const char RELEASE[] =
    "UPDATE main.busbar_consumer SET owner = NULL, owner_boot = NULL, busy = 0 WHERE id = ?1 AND owner = ?2";

typedef enum standing {
    FREE, /* nobody, or somebody who has certainly ended */
    OURS,
    CLAIMABLE, /* another's, and no claim stands */
    CLAIMED,   /* another's, and our claim stands */
    CONTESTED  /* another's, and a third worker's claim stands */
} standing;

typedef struct view {
    standing standing;
    int64_t claim_until_ms;
    bool busy; /* the last owner has not given it back */
} view;

int bb_lease_init(bb_lease *lease, bb_store *store, const busbar_port *port)
{
    memset(lease, 0, sizeof *lease);
    uint8_t bytes[12];
    if (port->random(port->ctx, bytes, sizeof bytes) != 0)
        return bb_store_fail(store, BUSBAR_ERANDOM, "the port has no random bytes for a worker's token; try again");
    char worker[BUSBAR_IDENTITY_SIZE] = "";
    if (port->worker_id && port->worker_id(port->ctx, worker) != 0)
        worker[0] = '\0';
    char unique[BB_IDENTITY_TOKEN_SIZE];
    bb_identity_mix(bytes, (uint64_t)(uintptr_t)lease, worker, "lease", port->mono_us(port->ctx), 0, unique);
    bb_text token = bb_text_on(lease->token, sizeof lease->token);
    bb_text_add(&token, worker);
    bb_text_add_char(&token, ':');
    bb_text_add(&token, unique);
    return BUSBAR_OK;
}

static bool owner_gone(const busbar_port *port, const char *owner)
{
    const char *colon = strrchr(owner, ':');
    if (!port->worker_gone || !colon || colon == owner || colon - owner >= BUSBAR_IDENTITY_SIZE)
        return false;
    char worker[BUSBAR_IDENTITY_SIZE];
    bb_text text = bb_text_on(worker, sizeof worker);
    bb_text_add_bytes(&text, owner, (size_t)(colon - owner));
    return port->worker_gone(port->ctx, worker);
}

static bool equal(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static standing judge(const bb_store *store, sqlite3_stmt *stmt, const char *token, const busbar_port *port,
                      const char *boot)
{
    const char *owner = bb_column_text(store, stmt, 0);
    if (equal(owner, token))
        return OURS;
    if (!owner || !equal(bb_column_text(store, stmt, 1), boot) || owner_gone(port, owner))
        return FREE;
    const char *claim = bb_column_text(store, stmt, 2);
    if (!claim || !equal(bb_column_text(store, stmt, 3), boot))
        return CLAIMABLE;
    return equal(claim, token) ? CLAIMED : CONTESTED;
}

/* BUSBAR_OK with the statement on the consumer's row, or why not. */
static int read_row(bb_store *store, int64_t consumer, sqlite3_stmt **out_stmt)
{
    int result = bb_store_find(store, READ, &consumer, 1, out_stmt);
    if (result == BUSBAR_OK)
        return bb_store_fail_plain(store, BUSBAR_EREMOVED);
    return result < 0 ? result : BUSBAR_OK;
}

static int look(bb_store *store, const char *token, const busbar_port *port, const char *boot, int64_t consumer,
                view *out_view)
{
    sqlite3_stmt *stmt;
    int result = read_row(store, consumer, &stmt);
    if (result < 0)
        return result;
    out_view->standing = judge(store, stmt, token, port, boot);
    out_view->claim_until_ms = bb_column_integer(store, stmt, 4);
    out_view->busy = bb_column_integer(store, stmt, 5) != 0;
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

static int write_token(bb_store *store, const char *sql, int64_t consumer, const char *token, const char *boot,
                       int64_t until_ms)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, sql, &stmt);
    if (result < 0)
        return result;
    bb_bind_integer(store, stmt, 1, consumer);
    bb_bind_text(store, stmt, 2, token);
    if (boot)
        bb_bind_text(store, stmt, 3, boot);
    if (until_ms > 0)
        bb_bind_integer(store, stmt, 4, until_ms);
    return bb_store_run(store, stmt);
}

/* What to do about a standing: take it, claim it, or wait until lease->retry_ms. */
typedef enum move { TAKE_IT, CLAIM_IT, WAIT } move;

static move wait_until(bb_lease *lease, uint64_t when_ms)
{
    lease->retry_ms = when_ms;
    return WAIT;
}

static move choose_claim(bb_lease *lease, uint64_t now_ms, uint32_t lease_ms, bool wanted)
{
    if (lease->claimed) { /* ours was struck out: the owner lives */
        lease->claimed = false;
        lease->pause_until_ms = now_ms + (uint64_t)lease_ms * CLAIM_PAUSE_LEASES;
    }
    if (now_ms < lease->pause_until_ms)
        return wait_until(lease, lease->pause_until_ms);
    return wanted ? CLAIM_IT : wait_until(lease, now_ms + lease_ms);
}

static move choose(bb_lease *lease, const view *seen, uint64_t now_ms, uint32_t lease_ms, bool wanted)
{
    uint64_t until_ms = (uint64_t)seen->claim_until_ms;
    switch (seen->standing) {
    case CLAIMED:
        return now_ms >= until_ms ? TAKE_IT : wait_until(lease, until_ms);
    case CONTESTED: /* its claimant has had one lease of time to act on it */
        if (now_ms < until_ms + lease_ms)
            return wait_until(lease, until_ms + lease_ms);
        return wanted ? CLAIM_IT : wait_until(lease, now_ms + lease_ms);
    case CLAIMABLE:
        return choose_claim(lease, now_ms, lease_ms, wanted);
    case FREE:
    case OURS:
    default:
        return TAKE_IT;
    }
}

static int act(bb_lease *lease, bb_store *store, const char *boot, int64_t consumer, move chosen, uint64_t until_ms)
{
    if (chosen == TAKE_IT)
        return write_token(store, TAKE, consumer, lease->token, boot, 0);
    return write_token(store, CLAIM, consumer, lease->token, boot, (int64_t)until_ms);
}

/* Looks again under the write lock, and does what is still right then. */
static int acquire_locked(bb_lease *lease, bb_store *store, const busbar_port *port, const char *boot, int64_t consumer,
                          uint32_t lease_ms, move *out_chosen)
{
    uint64_t now_ms = port->mono_us(port->ctx) / 1000;
    view seen = {.standing = FREE};
    int result = look(store, lease->token, port, boot, consumer, &seen);
    if (result < 0)
        return result;
    *out_chosen = choose(lease, &seen, now_ms, lease_ms, true);
    lease->unclean = seen.busy;
    return *out_chosen == WAIT ? BUSBAR_OK : act(lease, store, boot, consumer, *out_chosen, now_ms + lease_ms);
}

static int acquire_in_transaction(bb_lease *lease, bb_store *store, const busbar_port *port, const char *boot,
                                  int64_t consumer, uint32_t lease_ms)
{
    move chosen = WAIT;
    int result = bb_store_begin(store);
    if (result < 0)
        return result;
    result = acquire_locked(lease, store, port, boot, consumer, lease_ms, &chosen);
    if (result < 0) {
        bb_store_rollback(store);
        return result;
    }
    result = bb_store_commit(store);
    if (result < 0)
        return result;
    lease->held = chosen == TAKE_IT;
    lease->claimed = chosen == CLAIM_IT;
    if (chosen == CLAIM_IT)
        lease->retry_ms = port->mono_us(port->ctx) / 1000 + lease_ms;
    return BUSBAR_OK;
}

int bb_lease_acquire(bb_lease *lease, bb_store *store, const busbar_port *port, const char *boot, int64_t consumer,
                     uint32_t lease_ms, bool wanted)
{
    view seen = {.standing = FREE};
    int result = look(store, lease->token, port, boot, consumer, &seen);
    if (result < 0)
        return result;
    uint64_t now_ms = port->mono_us(port->ctx) / 1000;
    if (choose(lease, &seen, now_ms, lease_ms, wanted) != WAIT)
        result = acquire_in_transaction(lease, store, port, boot, consumer, lease_ms);
    if (result < 0)
        return result;
    return lease->held ? BUSBAR_OK : BUSBAR_ELEASE;
}

int bb_lease_challenged(bb_lease *lease, bb_store *store, int64_t consumer, bool *out_challenged)
{
    sqlite3_stmt *stmt;
    int result = read_row(store, consumer, &stmt);
    if (result < 0)
        return result;
    lease->held = equal(bb_column_text(store, stmt, 0), lease->token);
    *out_challenged = lease->held && !bb_column_is_null(store, stmt, 2);
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int bb_lease_fence(bb_lease *lease, bb_store *store, int64_t consumer)
{
    bool challenged = false;
    int result = bb_lease_challenged(lease, store, consumer, &challenged);
    if (result < 0)
        return result;
    if (!lease->held)
        return bb_store_fail(store, BUSBAR_ELEASE, "another worker has taken this consumer over");
    return challenged ? bb_store_change(store, STRIKE, &consumer, 1) : BUSBAR_OK;
}

int bb_lease_release(bb_lease *lease, bb_store *store, int64_t consumer)
{
    lease->held = false;
    return write_token(store, RELEASE, consumer, lease->token, NULL, 0);
}

int bb_lease_check_free(bb_store *store, const busbar_port *port, const char *boot, int64_t consumer)
{
    view seen = {.standing = FREE};
    int result = look(store, "", port, boot, consumer, &seen);
    if (result == BUSBAR_OK && seen.standing != FREE)
        return bb_store_fail(store, BUSBAR_ELEASE, "another worker holds this consumer: stop it first");
    return result;
}

int bb_lease_look(bb_store *store, const busbar_port *port, const char *boot, int64_t consumer, bool *out_held)
{
    view seen = {.standing = FREE};
    int result = look(store, "", port, boot, consumer, &seen);
    if (result == BUSBAR_OK)
        *out_held = seen.standing != FREE;
    return result;
}
