/* SPDX-License-Identifier: MIT */
/* Reading the small text files in which Linux tells about itself (/proc, /etc). Knows nothing of what they say. */
#ifndef BB_LINUX_TEXTFILE_H
#define BB_LINUX_TEXTFILE_H

#include <stddef.h>

/* Reads a whole file into `out` and NUL-terminates it. Returns 0, or -1 if it cannot be read or does not fit. */
int bb_linux_textfile_read(const char *path, char *out, size_t size_bytes);

/* The same, but only its first line, without the line end. */
int bb_linux_textfile_line(const char *path, char *out, size_t size_bytes);

#endif
