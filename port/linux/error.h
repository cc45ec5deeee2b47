/* SPDX-License-Identifier: MIT */
/* Filling in error details for what this port does itself. Knows codes and texts, not what they are about. */
#ifndef BB_LINUX_ERROR_H
#define BB_LINUX_ERROR_H

#include <busbar/busbar.h>

/* Sets *out_error, if not NULL. Returns `code`. */
__attribute__((format(printf, 4, 5))) int bb_linux_error_set(busbar_error *out_error, int code, int native,
                                                             const char *format, ...);

/* Our code for SQLite's (extended) result code; never BUSBAR_OK. */
int bb_linux_error_code(int native);

/* Our code for an errno value of a file operation. */
int bb_linux_error_code_errno(int number);

#endif
