/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L

#include "file.h"

#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE 65536

int file_open(const char *path)
{
    if (strcmp(path, "-") == 0)
        return STDIN_FILENO;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        out_error("%s: cannot be opened: %s", path, strerror(errno));
    return fd;
}

void file_close(int fd)
{
    if (fd > STDIN_FILENO)
        close(fd);
}

static bool read_all(int fd, const char *name, size_t max_bytes, buffer *out)
{
    size_t start = out->size;
    for (;;) {
        ssize_t size = read(fd, buffer_reserve(out, READ_SIZE), READ_SIZE);
        if (size == 0)
            return true;
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0) {
            out_error("%s: cannot be read: %s", name, strerror(errno));
            return false;
        }
        out->size += (size_t)size;
        if (out->size - start > max_bytes) {
            out_error("%s: is too large; %zu bytes at most", name, max_bytes);
            return false;
        }
    }
}

bool file_read(const char *path, size_t max_bytes, buffer *out)
{
    int fd = file_open(path);
    if (fd < 0)
        return false;
    bool ok = read_all(fd, fd == STDIN_FILENO ? "standard input" : path, max_bytes, out);
    file_close(fd);
    return ok;
}

bool file_is_exposed(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) &&
           (info.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) != 0;
}
