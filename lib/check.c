/* SPDX-License-Identifier: MIT */
/* busbar_check: asks the questions, and tells what is found. What must not be is in check_questions.c. */
#include "check.h"

#include <string.h>

#include "handle.h"
#include "schema.h"
#include "text.h"

#define FINDINGS_MAX 20 /* of one question */

typedef struct check {
    busbar *bus;
    busbar_finding_fn *fn;
    void *ctx;
} check;

static int tell(check *c, const char *part, const char *text, const char *advice)
{
    const busbar_finding finding = {.size = sizeof finding, .part = part, .text = text, .advice = advice};
    return c->fn(&finding, c->ctx);
}

/* What SQLite cannot read is a finding; that it is locked, or that memory is short, says nothing about the file. */
static bool is_finding(int code)
{
    return code == BUSBAR_ECORRUPT || code == BUSBAR_EIO || code == BUSBAR_ENOTBUS || code == BUSBAR_ESQLITE;
}

static int tell_failure(check *c, const char *part, int code, const char *advice)
{
    char text[BUSBAR_DETAIL_SIZE];
    if (!is_finding(code))
        return code;
    memcpy(text, c->bus->store.error.text, sizeof text);
    return tell(c, code == BUSBAR_ESQLITE ? part : "file", text,
                code == BUSBAR_ESQLITE ? advice : bb_check_pages.advice);
}

/* The text is the caller's copy: it outlives the statement. False: SQLite says that all is well. */
static bool read_text(check *c, sqlite3_stmt *stmt, char *out, size_t capacity)
{
    const char *value = bb_column_text(&c->bus->store, stmt, 0);
    bb_text text = bb_text_on(out, capacity);
    bb_text_add(&text, value ? value : "");
    return strcmp(out, "ok") != 0;
}

static int tell_rows(check *c, const bb_check_question *question, sqlite3_stmt *stmt)
{
    int result = BUSBAR_OK;
    int told = BUSBAR_OK;
    for (int count = 0; told == BUSBAR_OK && count < FINDINGS_MAX; count++) {
        char text[BUSBAR_DETAIL_SIZE];
        result = bb_store_step(&c->bus->store, stmt);
        if (result != BB_ROW)
            break;
        if (read_text(c, stmt, text, sizeof text))
            told = tell(c, question->part, text, question->advice);
    }
    if (told != BUSBAR_OK)
        return told;
    return result < 0 ? tell_failure(c, question->part, result, question->advice) : BUSBAR_OK;
}

/* Nothing of it is kept: it is asked once. */
static int ask(check *c, const bb_check_question *question)
{
    bb_store *store = &c->bus->store;
    sqlite3_stmt *stmt = NULL;
    int native = store->sql->prepare_v3(store->db, question->sql, -1, 0, &stmt, NULL);
    if (native != SQLITE_OK) {
        int code = bb_store_fail_sqlite(store, store->sql->extended_errcode(store->db), "read Busbar's tables");
        return tell_failure(c, question->part, code, question->advice);
    }
    int result = tell_rows(c, question, stmt);
    store->sql->finalize(stmt);
    return result;
}

static int ask_all(check *c, const bb_check_question *questions, size_t count)
{
    int result = BUSBAR_OK;
    for (size_t i = 0; result == BUSBAR_OK && i < count; i++)
        result = ask(c, &questions[i]);
    return result;
}

/* Of the tables' shapes only; a question that cannot be asked for want of a table was answered by that. */
typedef struct tally {
    check *inner;
    size_t count;
} tally;

static int count_and_tell(const busbar_finding *finding, void *ctx)
{
    tally *t = ctx;
    t->count++;
    return t->inner->fn(finding, t->inner->ctx);
}

int busbar_check(busbar *bus, busbar_finding_fn *fn, void *ctx)
{
    if (!bus)
        return BUSBAR_EINVAL;
    if (!fn)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "fn is NULL");
    check c = {bus, fn, ctx};
    tally shapes = {&c, 0};
    check counted = {bus, count_and_tell, &shapes};
    int result = bb_handle_idle(bus);
    if (result == BUSBAR_OK)
        result = ask(&c, &bb_check_pages);
    if (result != BUSBAR_OK)
        return result;
    result = bb_schema_check(&bus->store);
    if (result < 0 && result != BUSBAR_ENOTBUS && is_finding(result))
        return BUSBAR_OK; /* the pages said so */
    if (result == BUSBAR_OK)
        result = ask_all(&counted, bb_check_shapes, bb_check_shape_count);
    if (result == BUSBAR_OK && shapes.count == 0)
        result = ask_all(&c, bb_check_questions, bb_check_question_count);
    return result;
}
