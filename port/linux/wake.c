/* SPDX-License-Identifier: MIT */
/*
 * Telling a sleeping worker that another process committed: an epoll set of an inotify descriptor, a timer and whatever
 * else the worker watches. Knows how SQLite uses its files, but neither SQL nor what is in them. It never opens the
 * files: closing any descriptor of the database or its -shm would drop the locks that SQLite holds on it in this
 * process.
 *
 * What is watched. The database file (journal modes other than WAL write it) and the WAL, for modification. While there
 * is no WAL, its directory for the WAL's creation; only then, so that the other files in it wake nobody.
 *
 * A commit becomes visible after its last write: in WAL mode SQLite syncs the log (synchronous FULL), and only then
 * changes the index, which is shared memory and signals nothing. So a write is followed by wake-ups that only say "look
 * again", at growing distances: short ones for the usual case, long ones for storage that takes seconds to sync.
 * Readers write to the shared memory only, so a worker that only looks does not wake itself.
 */
#include "wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* How long after a write, and then after each other, the worker is told to look again. */
static const uint32_t recheck_us[] = {200,   300,    500,    1000,    2000,    4000,    10000,
                                      30000, 100000, 300000, 1000000, 3000000, 12000000};
#define RECHECK_COUNT (sizeof recheck_us / sizeof recheck_us[0])

/* When the system grants no watch any more (its limit is reached): look so often, and try for a watch again. */
#define BLIND_US 1000000u

#define WAL_MASK       (IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF)
#define DIRECTORY_MASK (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)

/*
 * Reads of the event queue in one clear(); it is short, because the kernel merges equal events. What is left stays
 * pending.
 */
#define READS_MAX 16

typedef struct wake {
    int epoll_fd;
    int inotify_fd;
    int timer_fd;
    int database_watch;
    int wal_watch;       /* -1: there is no WAL */
    int directory_watch; /* -1: not needed */
    bool blind;          /* the system refused a watch that is needed */
    size_t recheck;      /* which of recheck_us is running; RECHECK_COUNT: none */
    char *wal_path;
    char *wal_name; /* in wal_path */
    char *directory;
} wake;

static int add_to_epoll(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void set_timer(const wake *self, uint32_t delay_us)
{
    struct itimerspec when = {.it_value = {delay_us / 1000000u, (long)(delay_us % 1000000u) * 1000}};
    timerfd_settime(self->timer_fd, 0, &when, NULL);
}

/* Watches the WAL that is there now. True if it was not watched before. */
static bool attach_wal(wake *self)
{
    int watch = inotify_add_watch(self->inotify_fd, self->wal_path, WAL_MASK);
    int before = self->wal_watch;
    self->wal_watch = watch;
    self->blind = watch < 0 && errno != ENOENT;
    if (before >= 0 && before != watch)
        inotify_rm_watch(self->inotify_fd, before);
    return watch >= 0 && watch != before;
}

static bool watch_directory(wake *self)
{
    if (self->directory_watch < 0)
        self->directory_watch = inotify_add_watch(self->inotify_fd, self->directory, DIRECTORY_MASK);
    return self->directory_watch >= 0;
}

static void leave_directory(wake *self)
{
    if (self->directory_watch >= 0)
        inotify_rm_watch(self->inotify_fd, self->directory_watch);
    self->directory_watch = -1;
}

/*
 * Brings the watches in line with the files. True if a WAL has come to be watched: it may have been written before.
 * The directory is watched before the last look for the WAL, so that its creation is seen by one of the two.
 */
static bool adjust_watches(wake *self)
{
    bool is_new = attach_wal(self);
    if (self->wal_watch < 0) {
        bool refused = !watch_directory(self);
        is_new = attach_wal(self);
        self->blind |= refused && self->wal_watch < 0;
    }
    if (self->wal_watch >= 0)
        leave_directory(self);
    return is_new;
}

/* What a batch of events means. */
typedef struct findings {
    bool written;
    bool moved; /* the watches may be out of line with the files */
} findings;

static void judge(const wake *self, const struct inotify_event *event, findings *out)
{
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        out->written = true;
        out->moved = true;
    } else if (event->wd == self->database_watch || event->wd == self->wal_watch) {
        out->written |= (event->mask & IN_MODIFY) != 0;
        out->moved |= (event->mask & ~(uint32_t)IN_MODIFY) != 0;
    } else if (event->wd == self->directory_watch) {
        out->moved |= event->len > 0 && strcmp(event->name, self->wal_name) == 0;
    }
}

static findings read_events(wake *self)
{
    _Alignas(struct inotify_event) char buffer[4096];
    findings found = {false, false};
    for (unsigned i = 0; i < READS_MAX; i++) {
        ssize_t size_bytes = read(self->inotify_fd, buffer, sizeof buffer);
        if (size_bytes <= 0)
            break;
        for (const char *next = buffer; next < buffer + size_bytes;) {
            const struct inotify_event *event = (const void *)next;
            judge(self, event, &found);
            next += sizeof *event + event->len;
        }
    }
    return found;
}

static bool take_timer(const wake *self)
{
    uint64_t count;
    return read(self->timer_fd, &count, sizeof count) == (ssize_t)sizeof count;
}

/* Sets the timer for the next look, if there is to be one. */
static void plan(wake *self, bool written, bool due)
{
    if (written)
        self->recheck = 0;
    else if (due && self->recheck < RECHECK_COUNT)
        self->recheck++;
    if (self->recheck < RECHECK_COUNT && (written || due))
        set_timer(self, recheck_us[self->recheck]);
    else if (self->blind)
        set_timer(self, BLIND_US);
}

static bool wake_clear(void *handle)
{
    wake *self = handle;
    findings found = read_events(self);
    bool due = take_timer(self);
    if (found.moved || (due && self->blind))
        found.written |= adjust_watches(self);
    if (found.written || found.moved || due)
        plan(self, found.written, due);
    return found.written || due;
}

static int wake_fd(void *handle)
{
    const wake *self = handle;
    return self->epoll_fd;
}

static int wake_watch(void *handle, int fd)
{
    const wake *self = handle;
    return add_to_epoll(self->epoll_fd, fd);
}

static void wake_unwatch(void *handle, int fd)
{
    const wake *self = handle;
    if (fd != self->inotify_fd && fd != self->timer_fd)
        epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void wake_close(void *handle)
{
    wake *self = handle;
    close_fd(self->epoll_fd);
    close_fd(self->inotify_fd);
    close_fd(self->timer_fd);
    free(self->wal_path);
    free(self->directory);
    free(self);
}

static int set_paths(wake *self, const char *path)
{
    size_t length = strlen(path);
    size_t directory_length = (size_t)(strrchr(path, '/') - path);
    self->wal_path = malloc(length + sizeof "-wal");
    self->directory = malloc(directory_length + 2);
    if (self->wal_path == NULL || self->directory == NULL)
        return -1;
    memcpy(self->wal_path, path, length);
    memcpy(self->wal_path + length, "-wal", sizeof "-wal");
    self->wal_name = self->wal_path + directory_length + 1;
    memcpy(self->directory, path, directory_length + 1);
    self->directory[directory_length > 0 ? directory_length : 1] = '\0';
    return 0;
}

static int open_descriptors(wake *self)
{
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    self->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    self->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (self->epoll_fd < 0 || self->inotify_fd < 0 || self->timer_fd < 0)
        return -1;
    return add_to_epoll(self->epoll_fd, self->inotify_fd) | add_to_epoll(self->epoll_fd, self->timer_fd);
}

static int start_watching(wake *self, const char *path)
{
    self->database_watch = inotify_add_watch(self->inotify_fd, path, IN_MODIFY);
    if (self->database_watch < 0)
        return -1;
    adjust_watches(self);
    return self->blind ? -1 : 0;
}

static void *wake_open(void *ctx, const char *path)
{
    (void)ctx;
    if (path == NULL || path[0] != '/')
        return NULL;
    wake *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->epoll_fd = self->inotify_fd = self->timer_fd = -1;
    self->database_watch = self->wal_watch = self->directory_watch = -1;
    self->recheck = RECHECK_COUNT;
    if (set_paths(self, path) != 0 || open_descriptors(self) != 0 || start_watching(self, path) != 0) {
        wake_close(self);
        return NULL;
    }
    return self;
}

const busbar_wake_api bb_linux_wake_api = {
    .open = wake_open,
    .fd = wake_fd,
    .watch = wake_watch,
    .unwatch = wake_unwatch,
    .clear = wake_clear,
    .close = wake_close,
};
