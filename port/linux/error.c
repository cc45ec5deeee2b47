/* SPDX-License-Identifier: MIT */
/* Filling in error details for what this port does itself. Knows codes and texts, not what they are about. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

int bb_linux_error_set(busbar_error *out_error, int code, int native, const char *format, ...)
{
    if (out_error == NULL)
        return code;
    memset(out_error, 0, sizeof *out_error);
    out_error->code = code;
    out_error->native = native;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out_error->text, sizeof out_error->text, format, arguments);
    va_end(arguments);
    return code;
}

int bb_linux_error_code(int native)
{
    switch (native & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return BUSBAR_ELOCKED;
    case SQLITE_NOTADB:
        return BUSBAR_ENOTBUS;
    case SQLITE_CORRUPT:
        return BUSBAR_ECORRUPT;
    case SQLITE_FULL:
        return BUSBAR_EFULL;
    case SQLITE_IOERR:
        return native == SQLITE_IOERR_NOMEM ? BUSBAR_ENOMEM : BUSBAR_EIO;
    case SQLITE_NOMEM:
        return BUSBAR_ENOMEM;
    case SQLITE_READONLY:
        return BUSBAR_EREADONLY;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return BUSBAR_ECANTOPEN;
    default:
        return BUSBAR_ESQLITE;
    }
}

int bb_linux_error_code_errno(int number)
{
    switch (number) {
    case ENOENT:
        return BUSBAR_ENOTFOUND;
    case EROFS:
        return BUSBAR_EREADONLY;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return BUSBAR_EFULL;
    case ENOMEM:
        return BUSBAR_ENOMEM;
    case EIO:
        return BUSBAR_EIO;
    default:
        return BUSBAR_ECANTOPEN;
    }
}
