/* SPDX-License-Identifier: MIT */
/*
 * Lines of a stream, of any length up to a limit. Can look for the next line without waiting for it, so that the caller
 * holds nothing (a write transaction, say) while a slow writer takes its time.
 */
#ifndef LINES_H
#define LINES_H

#include "buffer.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum lines_result {
    LINES_LINE,     /* a line; valid until the next call */
    LINES_TOO_LONG, /* a line beyond the limit; it was skipped, and reading can go on */
    LINES_NOT_YET,  /* would have to wait */
    LINES_END,
    LINES_FAILED /* errno says why */
} lines_result;

typedef struct lines {
    int fd;
    size_t max_bytes;
    buffer pending; /* read and not yet handed out */
    size_t taken;   /* bytes of pending that were handed out */
    size_t scanned; /* bytes of pending known to have no line end */
    bool skipping;  /* inside a line that is too long */
    bool ended;
    uint64_t number;     /* of the last line, counted from 1 */
    uint64_t read_bytes; /* of the stream so far */
} lines;

/* The descriptor stays the caller's. */
void lines_begin(lines *self, int fd, size_t max_bytes);

/*
 * The next line without its line end (LF or CR LF); a last line may lack one. Returns LINES_NOT_YET only if `wait` is
 * false.
 */
lines_result lines_next(lines *self, bool wait, const char **out_line, size_t *out_size);

void lines_end(lines *self);

#endif
