/* SPDX-License-Identifier: MIT */
/* A wire that breaks where it is told to. */

#include "test.h"

#include "wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct wire {
    pthread_t thread;
    int listener;
    int wake_fd;
    unsigned port;
    /* the thread's */
    int ends[2]; /* client and server; -1: not connected */
    size_t limit;
    wire_break how;
    bool stalled;
    /* under the mutex */
    pthread_mutex_t mutex;
    bool stopping, cutting;
    unsigned server_port;
    size_t next_limit;
    wire_break next_how;
    unsigned times;
    unsigned connections;
    size_t carried;
};

static void hang_up(wire *it, bool reset)
{
    const struct linger at_once = {.l_onoff = reset ? 1 : 0, .l_linger = 0};

    for (unsigned i = 0; i < 2; i++) {
        if (it->ends[i] >= 0) {
            setsockopt(it->ends[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            close(it->ends[i]);
            it->ends[i] = -1;
        }
    }
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

static size_t left(wire *it)
{
    pthread_mutex_lock(&it->mutex);
    size_t bytes = it->limit - it->carried;
    pthread_mutex_unlock(&it->mutex);
    return bytes;
}

static void break_now(wire *it)
{
    if (it->how == WIRE_STALL) {
        it->stalled = true;
    } else {
        hang_up(it, it->how == WIRE_RESET);
    }
}

static void connect_ends(wire *it)
{
    const int at_once = 1;

    pthread_mutex_lock(&it->mutex);
    const struct sockaddr_in server = loopback(it->server_port);
    pthread_mutex_unlock(&it->mutex);
    it->ends[0] = accept(it->listener, NULL, NULL);
    it->ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (it->ends[0] < 0 || it->ends[1] < 0 ||
        connect(it->ends[1], (const struct sockaddr *)&server, sizeof server) != 0) {
        hang_up(it, false);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        setsockopt(it->ends[i], IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    }
    pthread_mutex_lock(&it->mutex);
    it->connections++;
    it->carried = 0;
    it->limit = it->times > 0 ? it->next_limit : SIZE_MAX;
    it->how = it->next_how;
    it->times -= it->times > 0;
    pthread_mutex_unlock(&it->mutex);
    it->stalled = false;
    if (it->limit == 0) {
        break_now(it);
    }
}

/* What one end said goes to the other one, up to the byte at which the wire breaks. */
static void carry(wire *it, unsigned from)
{
    char bytes[65536];
    size_t most = left(it);
    ssize_t got = recv(it->ends[from], bytes, most < sizeof bytes ? most : sizeof bytes, 0);
    ssize_t gone = 0;

    while (gone < got) {
        ssize_t sent = send(it->ends[1 - from], bytes + gone, (size_t)(got - gone), MSG_NOSIGNAL);
        if (sent <= 0) {
            break;
        }
        gone += sent;
    }
    if (got <= 0 || gone < got) {
        hang_up(it, false);
        return;
    }
    pthread_mutex_lock(&it->mutex);
    it->carried += (size_t)got;
    pthread_mutex_unlock(&it->mutex);
    if (left(it) == 0) {
        break_now(it);
    }
}

/* Does what other threads asked for. False when the wire is to end. */
static bool obey(wire *it)
{
    uint64_t count;

    if (read(it->wake_fd, &count, sizeof count) != sizeof count) {
        return true;
    }
    pthread_mutex_lock(&it->mutex);
    bool stopping = it->stopping;
    bool cutting = it->cutting;
    it->cutting = false;
    pthread_mutex_unlock(&it->mutex);
    if (stopping || cutting) {
        hang_up(it, false);
    }
    return !stopping;
}

static void *serve(void *context)
{
    wire *it = context;

    for (;;) {
        bool connected = it->ends[0] >= 0;
        short wanted = it->stalled ? POLLRDHUP : POLLIN;
        struct pollfd fds[] = {
            {.fd = it->wake_fd, .events = POLLIN},
            {.fd = connected ? it->ends[0] : it->listener, .events = connected ? wanted : POLLIN},
            {.fd = it->ends[1], .events = wanted},
        };
        if (poll(fds, connected ? 3 : 2, -1) < 0) {
            continue;
        }
        if (fds[0].revents != 0) {
            if (!obey(it)) {
                return NULL;
            }
        } else if (!connected) {
            connect_ends(it);
        } else if (it->stalled) {
            hang_up(it, false);
        } else {
            carry(it, fds[1].revents != 0 ? 0 : 1);
        }
    }
}

wire *wire_start(unsigned server_port)
{
    wire *it = calloc(1, sizeof *it);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;

    assert_non_null(it);
    it->server_port = server_port;
    it->ends[0] = it->ends[1] = -1;
    it->wake_fd = eventfd(0, EFD_CLOEXEC);
    it->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(it->wake_fd >= 0 && it->listener >= 0);
    assert_int_equal(bind(it->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(it->listener, 8), 0);
    assert_int_equal(getsockname(it->listener, (struct sockaddr *)&address, &size), 0);
    it->port = ntohs(address.sin_port);
    assert_int_equal(pthread_mutex_init(&it->mutex, NULL), 0);
    assert_int_equal(pthread_create(&it->thread, NULL, serve, it), 0);
    return it;
}

static void wake(wire *it)
{
    const uint64_t one = 1;
    assert_int_equal(write(it->wake_fd, &one, sizeof one), sizeof one);
}

void wire_stop(wire *it)
{
    pthread_mutex_lock(&it->mutex);
    it->stopping = true;
    pthread_mutex_unlock(&it->mutex);
    wake(it);
    pthread_join(it->thread, NULL);
    pthread_mutex_destroy(&it->mutex);
    close(it->listener);
    close(it->wake_fd);
    free(it);
}

unsigned wire_port(const wire *it)
{
    return it->port;
}

void wire_break_after(wire *it, size_t bytes, wire_break how, unsigned times)
{
    pthread_mutex_lock(&it->mutex);
    it->next_limit = bytes;
    it->next_how = how;
    it->times = times;
    pthread_mutex_unlock(&it->mutex);
}

void wire_lead_to(wire *it, unsigned server_port)
{
    pthread_mutex_lock(&it->mutex);
    it->server_port = server_port;
    pthread_mutex_unlock(&it->mutex);
}

void wire_cut(wire *it)
{
    pthread_mutex_lock(&it->mutex);
    it->cutting = true;
    pthread_mutex_unlock(&it->mutex);
    wake(it);
}

unsigned wire_connections(wire *it)
{
    pthread_mutex_lock(&it->mutex);
    unsigned count = it->connections;
    pthread_mutex_unlock(&it->mutex);
    return count;
}

size_t wire_carried(wire *it)
{
    pthread_mutex_lock(&it->mutex);
    size_t bytes = it->carried;
    pthread_mutex_unlock(&it->mutex);
    return bytes;
}
