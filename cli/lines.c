/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L

#include "lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE 65536

void lines_begin(lines *self, int fd, size_t max_bytes)
{
    *self = (lines){.fd = fd, .max_bytes = max_bytes};
}

void lines_end(lines *self)
{
    buffer_free(&self->pending);
}

/* Anything but "nothing to read yet" counts as readable: reading then tells. */
static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) != 0;
}

/* Reads once. LINES_LINE means that something came. */
static lines_result fill(lines *self, bool wait)
{
    buffer_drop(&self->pending, self->taken);
    self->scanned -= self->taken;
    self->taken = 0;
    if (!wait && !is_readable(self->fd))
        return LINES_NOT_YET;
    ssize_t size;
    do {
        size = read(self->fd, buffer_reserve(&self->pending, READ_SIZE), READ_SIZE);
    } while (size < 0 && errno == EINTR);
    if (size < 0)
        return LINES_FAILED;
    self->ended = size == 0;
    self->pending.size += (size_t)size;
    self->read_bytes += (uint64_t)size;
    return LINES_LINE;
}

/* Hands out the line that ends at `end`; `after` is where the next one begins. */
static lines_result take(lines *self, size_t end, size_t after, const char **out_line, size_t *out_size)
{
    const char *line = self->pending.bytes + self->taken;
    size_t size = end - self->taken;
    bool skipped = self->skipping || size > self->max_bytes;
    self->skipping = false;
    self->taken = after;
    self->scanned = after;
    self->number++;
    if (skipped)
        return LINES_TOO_LONG;
    *out_line = line;
    *out_size = size > 0 && line[size - 1] == '\r' ? size - 1 : size;
    return LINES_LINE;
}

/* Forgets the beginning of a line that will not be handed out anyway. */
static void skip_long(lines *self)
{
    if (self->pending.size - self->taken <= self->max_bytes)
        return;
    self->skipping = true;
    self->taken = self->pending.size;
}

lines_result lines_next(lines *self, bool wait, const char **out_line, size_t *out_size)
{
    for (;;) {
        size_t unseen = self->pending.size - self->scanned;
        const char *end = unseen > 0 ? memchr(self->pending.bytes + self->scanned, '\n', unseen) : NULL;
        if (end != NULL) {
            size_t at = (size_t)(end - self->pending.bytes);
            return take(self, at, at + 1, out_line, out_size);
        }
        self->scanned = self->pending.size;
        if (self->ended) {
            bool rest = self->pending.size > self->taken || self->skipping;
            return rest ? take(self, self->pending.size, self->pending.size, out_line, out_size) : LINES_END;
        }
        skip_long(self);
        lines_result result = fill(self, wait);
        if (result != LINES_LINE)
            return result;
    }
}
