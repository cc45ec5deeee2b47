/* SPDX-License-Identifier: MIT */
/* A bad network. */
#include "test.h"

#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX   64
#define PIECE_BYTES 16384
/* What is on its way at most: then nothing more is read, as on a real wire. */
#define ON_WAY_MAX_BYTES (1024u * 1024u)

/* Bytes that were read together, and are due together. */
typedef struct piece {
    struct piece *next;
    uint64_t due_ms;
    size_t size;
    size_t gone;
    unsigned char bytes[];
} piece;

/* One way of a connection: from ends[way] to ends[1 - way]. */
typedef struct lane {
    piece *first;
    piece *last;
    size_t on_way;
    size_t left; /* bytes until it is cut */
    bool ended;  /* its source has said all */
} lane;

typedef struct pair {
    int ends[2]; /* client and server; -1: this pair is free */
    lane lanes[2];
} pair;

struct proxy {
    pthread_t thread;
    int listener;
    int wake_fd;
    unsigned port;
    unsigned server_port;
    pair pairs[PAIRS_MAX]; /* the thread's */
    /* under the mutex */
    pthread_mutex_t mutex;
    bool stopping, cutting, silent, refusing;
    unsigned delay_ms;
    size_t cut_bytes[2]; /* 0: never */
    unsigned connections, open;
    size_t carried[2];
};

/* What the thread knows in one turn. */
typedef struct turn {
    bool stopping, cutting, silent, refusing;
    unsigned delay_ms;
    size_t cut_bytes[2];
    uint64_t now_ms;
} turn;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct sockaddr_in loopback(unsigned port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* ---- The thread's side -------------------------------------------------------------------------------------------------- */

static void hang_up(proxy *it, pair *of)
{
    for (unsigned way = 0; way < 2; way++) {
        lane *along = &of->lanes[way];
        while (along->first != NULL) {
            piece *gone = along->first;
            along->first = gone->next;
            free(gone);
        }
        close(of->ends[way]);
        of->ends[way] = -1;
    }
    pthread_mutex_lock(&it->mutex);
    it->open--;
    pthread_mutex_unlock(&it->mutex);
}

static pair *free_pair(proxy *it)
{
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        if (it->pairs[i].ends[0] < 0) {
            return &it->pairs[i];
        }
    }
    return NULL;
}

static void connect_pair(proxy *it, const turn *now)
{
    const struct sockaddr_in server = loopback(it->server_port);
    const int at_once = 1;
    int client = accept4(it->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pair *to = free_pair(it);

    if (client < 0 || far < 0 || to == NULL || now->refusing ||
        connect(far, (const struct sockaddr *)&server, sizeof server) != 0) {
        close(client);
        close(far);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    *to = (pair){.ends = {client, far}};
    for (unsigned way = 0; way < 2; way++) {
        to->lanes[way].left = now->cut_bytes[way] > 0 ? now->cut_bytes[way] : SIZE_MAX;
    }
    pthread_mutex_lock(&it->mutex);
    it->connections++;
    it->open++;
    pthread_mutex_unlock(&it->mutex);
}

/* Reads what the source says. False if the connection is broken. */
static bool take(pair *of, unsigned way, const turn *now)
{
    lane *along = &of->lanes[way];
    unsigned char bytes[PIECE_BYTES];
    ssize_t got = recv(of->ends[way], bytes, sizeof bytes, MSG_DONTWAIT);

    if (got <= 0) {
        along->ended = got == 0;
        return got == 0;
    }
    piece *added = malloc(sizeof *added + (size_t)got);
    if (added == NULL) {
        abort(); /* not an assertion: this is not the test's thread */
    }
    *added = (piece){.due_ms = now->now_ms + now->delay_ms, .size = (size_t)got};
    memcpy(added->bytes, bytes, (size_t)got);
    if (along->first == NULL) {
        along->first = added;
    } else {
        along->last->next = added;
    }
    along->last = added;
    along->on_way += (size_t)got;
    return true;
}

/* Counted before anybody can have read it. */
static ssize_t send_counted(proxy *it, const pair *of, unsigned way, const unsigned char *bytes, size_t size)
{
    pthread_mutex_lock(&it->mutex);
    ssize_t sent = send(of->ends[1 - way], bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    it->carried[way] += sent > 0 ? (size_t)sent : 0;
    pthread_mutex_unlock(&it->mutex);
    return sent;
}

/* Hands over what is due. False if the connection is broken, or to be cut here. */
static bool give(proxy *it, pair *of, unsigned way, const turn *now)
{
    lane *along = &of->lanes[way];

    while (along->first != NULL && along->first->due_ms <= now->now_ms) {
        piece *first = along->first;
        size_t most = first->size - first->gone < along->left ? first->size - first->gone : along->left;
        ssize_t sent = send_counted(it, of, way, first->bytes + first->gone, most);
        if (sent < 0) {
            return errno == EAGAIN;
        }
        along->left -= (size_t)sent;
        along->on_way -= (size_t)sent;
        first->gone += (size_t)sent;
        if (along->left == 0) {
            return false;
        }
        if (first->gone == first->size) {
            along->first = first->next;
            free(first);
        }
    }
    return along->first != NULL || !along->ended; /* the end comes after all that was said */
}

/* How long nothing happens by itself; -1: for ever. A peer that does not read is asked again soon. */
static int wait_ms(const proxy *it, const turn *now)
{
    int wait = -1;

    for (size_t i = 0; i < PAIRS_MAX && !now->silent; i++) {
        for (unsigned way = 0; way < 2 && it->pairs[i].ends[0] >= 0; way++) {
            const piece *first = it->pairs[i].lanes[way].first;
            if (first != NULL) {
                int left = first->due_ms > now->now_ms ? (int)(first->due_ms - now->now_ms) : 1;
                wait = wait < 0 || left < wait ? left : wait;
            }
        }
    }
    return wait;
}

static turn look(proxy *it)
{
    uint64_t value;
    ssize_t taken = read(it->wake_fd, &value, sizeof value);
    (void)taken;
    pthread_mutex_lock(&it->mutex);
    turn now = {.stopping = it->stopping,
                .cutting = it->cutting,
                .silent = it->silent,
                .refusing = it->refusing,
                .delay_ms = it->delay_ms,
                .cut_bytes = {it->cut_bytes[0], it->cut_bytes[1]},
                .now_ms = now_ms()};
    it->cutting = false;
    pthread_mutex_unlock(&it->mutex);
    return now;
}

/* In a black hole nothing is read. */
static short wanted(const pair *of, unsigned end, const turn *now)
{
    const lane *along = &of->lanes[end];
    if (now->silent) {
        return POLLRDHUP;
    }
    return along->ended || along->on_way >= ON_WAY_MAX_BYTES ? 0 : POLLIN;
}

static void serve_pair(proxy *it, pair *of, const struct pollfd fds[2], const turn *now)
{
    bool given_up = now->silent && ((fds[0].revents | fds[1].revents) & ~POLLIN) != 0; /* then what was kept is lost */
    bool whole = !now->cutting && !now->stopping && !now->refusing && !given_up;

    for (unsigned way = 0; way < 2 && whole && !now->silent; way++) {
        if (fds[way].fd == of->ends[way] && fds[way].revents != 0 && !of->lanes[way].ended) {
            whole = take(of, way, now);
        }
        whole = whole && give(it, of, way, now);
    }
    if (!whole) {
        hang_up(it, of);
    }
}

static void *serve(void *context)
{
    proxy *it = context;
    turn now = look(it);

    while (!now.stopping) {
        struct pollfd fds[2 + 2 * PAIRS_MAX] = {{.fd = it->wake_fd, .events = POLLIN},
                                                {.fd = it->listener, .events = POLLIN}};
        for (size_t i = 0; i < PAIRS_MAX; i++) {
            for (unsigned end = 0; end < 2; end++) {
                short events = it->pairs[i].ends[end] >= 0 ? wanted(&it->pairs[i], end, &now) : 0;
                fds[2 + 2 * i + end] =
                    (struct pollfd){.fd = events != 0 ? it->pairs[i].ends[end] : -1, .events = events};
            }
        }
        (void)poll(fds, sizeof fds / sizeof fds[0], wait_ms(it, &now));
        now = look(it);
        for (size_t i = 0; i < PAIRS_MAX; i++) {
            if (it->pairs[i].ends[0] >= 0) {
                serve_pair(it, &it->pairs[i], &fds[2 + 2 * i], &now);
            }
        }
        if (fds[1].revents != 0 && !now.stopping) {
            connect_pair(it, &now);
        }
    }
    return NULL;
}

/* ---- The test's side ---------------------------------------------------------------------------------------------------- */

proxy *proxy_start(unsigned server_port)
{
    proxy *it = calloc(1, sizeof *it);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;

    assert_non_null(it);
    it->server_port = server_port;
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        it->pairs[i].ends[0] = it->pairs[i].ends[1] = -1;
    }
    it->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    it->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(it->wake_fd >= 0 && it->listener >= 0);
    assert_int_equal(bind(it->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(it->listener, 64), 0);
    assert_int_equal(getsockname(it->listener, (struct sockaddr *)&address, &size), 0);
    it->port = ntohs(address.sin_port);
    assert_int_equal(pthread_mutex_init(&it->mutex, NULL), 0);
    assert_int_equal(pthread_create(&it->thread, NULL, serve, it), 0);
    return it;
}

/* Ends a change, so that the thread hears of it. */
static void unlock(proxy *it)
{
    const uint64_t one = 1;
    pthread_mutex_unlock(&it->mutex);
    assert_int_equal(write(it->wake_fd, &one, sizeof one), sizeof one);
}

void proxy_stop(proxy *it)
{
    pthread_mutex_lock(&it->mutex);
    it->stopping = true;
    unlock(it);
    pthread_join(it->thread, NULL);
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        if (it->pairs[i].ends[0] >= 0) {
            hang_up(it, &it->pairs[i]);
        }
    }
    close(it->listener);
    close(it->wake_fd);
    pthread_mutex_destroy(&it->mutex);
    free(it);
}

unsigned proxy_port(const proxy *it)
{
    return it->port;
}

void proxy_delay(proxy *it, unsigned delay_ms)
{
    pthread_mutex_lock(&it->mutex);
    it->delay_ms = delay_ms;
    unlock(it);
}

void proxy_cut_after(proxy *it, proxy_way way, size_t bytes)
{
    pthread_mutex_lock(&it->mutex);
    it->cut_bytes[way] = bytes;
    unlock(it);
}

void proxy_black_hole(proxy *it, bool on)
{
    pthread_mutex_lock(&it->mutex);
    it->silent = on;
    unlock(it);
}

void proxy_refuse(proxy *it, bool on)
{
    pthread_mutex_lock(&it->mutex);
    it->refusing = on;
    unlock(it);
}

void proxy_cut(proxy *it)
{
    pthread_mutex_lock(&it->mutex);
    it->cutting = true;
    unlock(it);
}

unsigned proxy_connections(proxy *it)
{
    pthread_mutex_lock(&it->mutex);
    unsigned connections = it->connections;
    pthread_mutex_unlock(&it->mutex);
    return connections;
}

unsigned proxy_open(proxy *it)
{
    pthread_mutex_lock(&it->mutex);
    unsigned open = it->open;
    pthread_mutex_unlock(&it->mutex);
    return open;
}

size_t proxy_carried(proxy *it, proxy_way way)
{
    pthread_mutex_lock(&it->mutex);
    size_t bytes = it->carried[way];
    pthread_mutex_unlock(&it->mutex);
    return bytes;
}
