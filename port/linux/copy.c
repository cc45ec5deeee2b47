/* SPDX-License-Identifier: MIT */
/* A private copy of a database's files, for reading where SQLite cannot read without writing. Knows no SQL. */
#include "copy.h"

#include "error.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES  (256 * 1024)
#define ATTEMPTS_MAX 5
#define FILE_COUNT   3

/* What belongs to a database; the first must exist. */
static const char *const suffixes[FILE_COUNT] = {"", "-wal", "-journal"};
/* What SQLite may have added to the copy. */
static const char *const leftovers[] = {"", "-wal", "-journal", "-shm"};

typedef struct file_state {
    bool exists;
    ino_t inode;
    off_t size;
    struct timespec modified;
} file_state;

/* A missing file here is not the caller's database, so it is never BUSBAR_ENOTFOUND. */
static int fail_errno(busbar_error *out_error, const char *what, const char *path)
{
    int number = errno;
    int code = number == ENOENT ? BUSBAR_ECANTOPEN : bb_linux_error_code_errno(number);
    return bb_linux_error_set(out_error, code, 0, "%s: %s: %s", path, what, strerror(number));
}

/* NULL when out of memory. */
static char *join(const char *head, const char *tail)
{
    size_t head_length = strlen(head);
    size_t size_bytes = head_length + strlen(tail) + 1;
    char *text = malloc(size_bytes);
    if (text != NULL)
        snprintf(text, size_bytes, "%s%s", head, tail);
    return text;
}

static int look_at(const char *path, file_state out[FILE_COUNT])
{
    memset(out, 0, FILE_COUNT * sizeof *out);
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        char *name = join(path, suffixes[i]);
        struct stat info;
        if (name == NULL)
            return -1;
        out[i].exists = stat(name, &info) == 0;
        free(name);
        if (!out[i].exists)
            continue;
        out[i].inode = info.st_ino;
        out[i].size = info.st_size;
        out[i].modified = info.st_mtim;
    }
    return 0;
}

static bool is_same(const file_state *a, const file_state *b)
{
    return a->exists == b->exists && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

static int write_all(int fd, const char *data, size_t size_bytes)
{
    while (size_bytes > 0) {
        ssize_t count = write(fd, data, size_bytes);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        data += count;
        size_bytes -= (size_t)count;
    }
    return 0;
}

/* 0, or -1 with errno set. */
static int pump(int from_fd, int to_fd)
{
    char *chunk = malloc(CHUNK_BYTES);
    if (chunk == NULL)
        return -1;
    ssize_t count = 1;
    while (count > 0) {
        count = read(from_fd, chunk, CHUNK_BYTES);
        if (count < 0 && errno == EINTR)
            count = 1;
        else if (count > 0 && write_all(to_fd, chunk, (size_t)count) != 0)
            count = -1;
    }
    int number = errno;
    free(chunk);
    errno = number;
    return count == 0 ? 0 : -1;
}

static int copy_file(const char *from, const char *to, busbar_error *out_error)
{
    int from_fd = open(from, O_RDONLY | O_CLOEXEC);
    if (from_fd < 0)
        return fail_errno(out_error, "cannot be read", from);
    int rc = BUSBAR_OK;
    int to_fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to_fd < 0)
        rc = fail_errno(out_error, "cannot be written", to);
    else if (pump(from_fd, to_fd) != 0)
        rc = fail_errno(out_error, "cannot be copied to a temporary directory; set TMPDIR to a place with room", from);
    if (to_fd >= 0 && close(to_fd) != 0 && rc == BUSBAR_OK)
        rc = fail_errno(out_error, "cannot be written", to);
    close(from_fd);
    return rc;
}

static int copy_one(const bb_linux_copy *copy, const char *path, const char *suffix, bool exists,
                    busbar_error *out_error)
{
    char *from = join(path, suffix);
    char *to = join(copy->path, suffix);
    int rc = BUSBAR_OK;
    if (from == NULL || to == NULL)
        rc = bb_linux_error_set(out_error, BUSBAR_ENOMEM, 0, "%s: out of memory", path);
    else if (exists)
        rc = copy_file(from, to, out_error);
    else
        unlink(to);
    free(from);
    free(to);
    return rc;
}

/* Copies the files as they are. *out_stable: nothing changed meanwhile, so they belong together. */
static int copy_files(bb_linux_copy *copy, const char *path, bool *out_stable, busbar_error *out_error)
{
    file_state before[FILE_COUNT];
    file_state after[FILE_COUNT];
    int rc = look_at(path, before) == 0 ? BUSBAR_OK : BUSBAR_ENOMEM;
    for (unsigned i = 0; i < FILE_COUNT && rc == BUSBAR_OK; i++)
        rc = copy_one(copy, path, suffixes[i], before[i].exists || i == 0, out_error);
    if (rc == BUSBAR_OK)
        rc = look_at(path, after) == 0 ? BUSBAR_OK : BUSBAR_ENOMEM;
    *out_stable = rc == BUSBAR_OK;
    for (unsigned i = 0; i < FILE_COUNT && rc == BUSBAR_OK; i++)
        *out_stable &= is_same(&before[i], &after[i]);
    copy->has_journal = rc == BUSBAR_OK && before[2].exists;
    return rc;
}

static int make_directory(bb_linux_copy *copy, busbar_error *out_error)
{
    const char *parent = getenv("TMPDIR");
    if (parent == NULL || parent[0] != '/')
        parent = "/tmp";
    char *directory = join(parent, "/busbar-XXXXXX");
    if (directory == NULL)
        return bb_linux_error_set(out_error, BUSBAR_ENOMEM, 0, "out of memory");
    if (mkdtemp(directory) == NULL) {
        int rc = fail_errno(out_error, "no temporary directory can be made; set TMPDIR", parent);
        free(directory);
        return rc;
    }
    copy->directory = directory;
    copy->path = join(directory, "/database");
    if (copy->path != NULL)
        return BUSBAR_OK;
    return bb_linux_error_set(out_error, BUSBAR_ENOMEM, 0, "out of memory");
}

int bb_linux_copy_make(bb_linux_copy *out_copy, const char *path, busbar_error *out_error)
{
    bb_linux_copy copy = {NULL, NULL, false};
    bool stable = false;
    int rc = make_directory(&copy, out_error);
    assert(rc != BUSBAR_OK || copy.path != NULL);
    for (unsigned i = 0; i < ATTEMPTS_MAX && rc == BUSBAR_OK && !stable; i++)
        rc = copy_files(&copy, path, &stable, out_error);
    if (rc == BUSBAR_OK && !stable)
        rc = bb_linux_error_set(out_error, BUSBAR_ELOCKED, 0, "%s: keeps changing while it is being copied; try again",
                                path);
    if (rc != BUSBAR_OK) {
        bb_linux_copy_remove(&copy);
        return rc;
    }
    *out_copy = copy;
    return BUSBAR_OK;
}

void bb_linux_copy_remove(bb_linux_copy *copy)
{
    for (unsigned i = 0; copy->path != NULL && i < sizeof leftovers / sizeof leftovers[0]; i++) {
        char *name = join(copy->path, leftovers[i]);
        if (name != NULL)
            unlink(name);
        free(name);
    }
    if (copy->directory != NULL)
        rmdir(copy->directory);
    free(copy->path);
    free(copy->directory);
    *copy = (bb_linux_copy){NULL, NULL, false};
}
