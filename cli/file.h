/* SPDX-License-Identifier: MIT */
/* Whole files, read with a limit. Reports its failures itself. */
#ifndef FILE_H
#define FILE_H

#include "buffer.h"

#include <stdbool.h>

/* Opens a file to read, "-" being standard input. Returns its descriptor, or -1 after reporting why. */
int file_open(const char *path);

/* Closes a descriptor of file_open; standard input stays open. */
void file_close(int fd);

/* Appends the file's content. False after reporting what is wrong; more than max_bytes is. */
bool file_read(const char *path, size_t max_bytes, buffer *out);

/* True if others than its owner may read or change the file. */
bool file_is_exposed(const char *path);

#endif
