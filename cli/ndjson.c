/* SPDX-License-Identifier: MIT */
#include "ndjson.h"

#include "command.h"
#include "file.h"
#include "human.h"
#include "lines.h"
#include "out.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What one transaction holds at most: few enough to let other writers in, many enough to share one commit. */
#define BATCH_EVENTS_MAX 500
#define BATCH_BYTES_MAX  (1024u * 1024)
#define BATCH_PART       32 /* of a limit on the file and its WAL, which a commit must not take by surprise */

typedef struct counts {
    uint64_t stored;
    uint64_t known;
} counts;

typedef struct stream {
    database *db;
    busbar_event handling;
    lines in;
    counts done;  /* committed */
    counts batch; /* in the open transaction */
    size_t batch_bytes;
    size_t batch_bytes_max;
    uint64_t batch_line; /* the first line of the open transaction; 0: none is open */
    uint64_t refused;
} stream;

/* ---- Transactions ---------------------------------------------------------------------------------------------------- */

static sqlite3 *connection(const stream *self)
{
    return busbar_linux_database_handle(self->db->file);
}

static void forget_batch(stream *self)
{
    self->batch = (counts){0, 0};
    self->batch_bytes = 0;
    self->batch_line = 0;
}

/* Ends the stream at a failure of the database. */
static bool give_up(stream *self, int code, const busbar_error *error)
{
    uint64_t from = self->batch_line != 0 ? self->batch_line : self->in.number;
    database_fail_with(self->db->path, code, error);
    busbar_linux_transaction_rollback(connection(self), NULL);
    forget_batch(self);
    out_error("nothing from line %" PRIu64 " on was stored", from);
    return false;
}

static bool begin(stream *self)
{
    busbar_error error = {0};
    if (self->batch_line != 0)
        return true;
    int code = busbar_linux_transaction_begin(connection(self), &error);
    if (code != BUSBAR_OK)
        return give_up(self, code, &error);
    self->batch_line = self->in.number;
    return true;
}

static bool commit(stream *self)
{
    busbar_error error = {0};
    if (self->batch_line == 0)
        return true;
    int code = busbar_linux_transaction_commit(connection(self), &error);
    if (code != BUSBAR_OK)
        return give_up(self, code, &error);
    self->done.stored += self->batch.stored;
    self->done.known += self->batch.known;
    forget_batch(self);
    out_progress("%s lines read, %s events stored", human_count((int64_t)self->in.number).text,
                 human_count((int64_t)self->done.stored).text);
    return true;
}

/* ---- Lines ----------------------------------------------------------------------------------------------------------- */

static void refuse(stream *self, int code, const busbar_error *error)
{
    const char *text = error->text[0] != '\0' ? error->text : busbar_error_text(code);
    self->refused++;
    out_error("line %" PRIu64 ": %s", self->in.number, text);
}

/* The event's fault, not the database's: the stream can go on without it. */
static bool is_refusal(int code)
{
    return code == BUSBAR_EINVAL || (code <= BUSBAR_ETYPE && code >= BUSBAR_EEVENT);
}

static bool publish(stream *self, const busbar_event *decoded, size_t size)
{
    busbar_event event = *decoded;
    event.lane = self->handling.lane;
    event.ttl_ms = self->handling.ttl_ms;
    if (!begin(self))
        return false;
    int code = busbar_publish(self->db->bus, &event, NULL);
    if (code == BUSBAR_EBUSFULL &&
        self->batch.stored > 0) { /* what went in stays, and a commit makes room in the WAL */
        if (!commit(self) || !begin(self))
            return false;
        code = busbar_publish(self->db->bus, &event, NULL);
    }
    if (code < 0) {
        busbar_error error;
        busbar_error_get(self->db->bus, &error);
        if (!is_refusal(code))
            return give_up(self, code, &error);
        refuse(self, code, &error);
        return true;
    }
    self->batch.known += code == BUSBAR_DUPLICATE;
    self->batch.stored += code != BUSBAR_DUPLICATE;
    self->batch_bytes += size;
    bool full =
        self->batch.stored + self->batch.known >= BATCH_EVENTS_MAX || self->batch_bytes >= self->batch_bytes_max;
    return full ? commit(self) : true;
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (line[i] != ' ' && line[i] != '\t')
            return false;
    return true;
}

static bool take_line(stream *self, const char *line, size_t size)
{
    busbar_decoded *decoded;
    busbar_error error = {0};
    if (is_blank(line, size))
        return true;
    int code = busbar_decode(line, size, &decoded, &error);
    if (code == BUSBAR_ENOMEM)
        return give_up(self, code, &error);
    if (code != BUSBAR_OK) {
        refuse(self, code, &error);
        return true;
    }
    bool go_on = publish(self, busbar_decoded_event(decoded), size);
    busbar_decoded_free(decoded);
    return go_on;
}

static bool fail_long(stream *self)
{
    self->refused++;
    out_error("line %" PRIu64 ": is longer than %u MiB; store the data elsewhere and publish a reference to it",
              self->in.number, DATABASE_DATA_MAX_BYTES / (1024 * 1024));
    return true;
}

static bool fail_reading(stream *self, const char *name)
{
    out_error("%s: cannot be read on after line %" PRIu64 ": %s", name, self->in.number, strerror(errno));
    commit(self);
    return false;
}

/* Reads to the end. No transaction stays open while the writer of the stream makes us wait. */
static bool read_all(stream *self, const char *name)
{
    for (;;) {
        const char *line;
        size_t size;
        bool go_on = true;
        switch (lines_next(&self->in, self->batch_line == 0, &line, &size)) {
        case LINES_LINE:
            go_on = take_line(self, line, size);
            break;
        case LINES_TOO_LONG:
            go_on = fail_long(self);
            break;
        case LINES_NOT_YET:
            go_on = commit(self);
            break;
        case LINES_END:
            return commit(self);
        case LINES_FAILED:
            return fail_reading(self, name);
        }
        if (!go_on)
            return false;
    }
}

int ndjson_publish(database *db, const char *path, const busbar_event *handling, uint64_t max_bytes)
{
    stream self = {.db = db, .handling = *handling, .batch_bytes_max = BATCH_BYTES_MAX};
    if (max_bytes != 0 && max_bytes / BATCH_PART < BATCH_BYTES_MAX)
        self.batch_bytes_max = (size_t)(max_bytes / BATCH_PART);
    int fd = file_open(path);
    if (fd < 0)
        return EXIT_FAILED;
    lines_begin(&self.in, fd, DATABASE_DATA_MAX_BYTES);
    bool complete = read_all(&self, strcmp(path, "-") == 0 ? "standard input" : path);
    out_note("stored %" PRIu64 ", known already %" PRIu64 ", refused %" PRIu64, self.done.stored, self.done.known,
             self.refused);
    lines_end(&self.in);
    file_close(fd);
    return complete && self.refused == 0 ? EXIT_DONE : EXIT_FAILED;
}
