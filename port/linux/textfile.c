/* SPDX-License-Identifier: MIT */
/* Reading the small text files in which Linux tells about itself (/proc, /etc). Knows nothing of what they say. */
#include "textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_some(int fd, char *out, size_t size_bytes)
{
    ssize_t count;
    do
        count = read(fd, out, size_bytes);
    while (count < 0 && errno == EINTR);
    return count;
}

int bb_linux_textfile_read(const char *path, char *out, size_t size_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t length = 0;
    ssize_t count = 1;
    while (count > 0 && length < size_bytes) {
        count = read_some(fd, out + length, size_bytes - length);
        length += count > 0 ? (size_t)count : 0;
    }
    close(fd);
    if (count < 0 || length >= size_bytes)
        return -1;
    out[length] = '\0';
    return 0;
}

int bb_linux_textfile_line(const char *path, char *out, size_t size_bytes)
{
    if (bb_linux_textfile_read(path, out, size_bytes) != 0)
        return -1;
    out[strcspn(out, "\r\n")] = '\0';
    return 0;
}
