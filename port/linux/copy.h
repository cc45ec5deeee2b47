/* SPDX-License-Identifier: MIT */
/* A private copy of a database's files, for reading where SQLite cannot read without writing. Knows no SQL. */
#ifndef BB_LINUX_COPY_H
#define BB_LINUX_COPY_H

#include <busbar/busbar.h>

typedef struct bb_linux_copy {
    char *directory; /* NULL: there is no copy */
    char *path;      /* of the copied database */
    bool has_journal;
} bb_linux_copy;

/*
 * Copies the database `path`, its WAL and its journal into a new directory that only this user can enter. On success
 * *out_copy is to be released with bb_linux_copy_remove. BUSBAR_ELOCKED if the files change all the time.
 */
int bb_linux_copy_make(bb_linux_copy *out_copy, const char *path, busbar_error *out_error);

/* Removes the files and the directory. Legal when there is no copy. */
void bb_linux_copy_remove(bb_linux_copy *copy);

#endif
