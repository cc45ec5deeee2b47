/* SPDX-License-Identifier: MIT */
/* The private thread: connection after connection. */
#define _DEFAULT_SOURCE /* getrandom */

#include "link.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "backoff.h"
#include "connection.h"

/* A connection that lasted so long was good: the next failure starts with a short wait again. */
#define STABLE_MS 10000

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

/*
 * Never undone: the library's cleanup would unload OpenSSL's configured modules for the whole process, and its use count is
 * not thread safe.
 */
static void prepare_library(void)
{
    mosquitto_lib_init();
}

/* Taken while SIGPIPE's disposition may be the library's and not the application's. */
static pthread_mutex_t sigpipe_mutex = PTHREAD_MUTEX_INITIALIZER;

static struct mosquitto *new_handle(const char *client_id)
{
    struct sigaction before;
    struct sigaction after;

    pthread_mutex_lock(&sigpipe_mutex);
    int known = sigaction(SIGPIPE, NULL, &before);
    struct mosquitto *handle = mosquitto_new(client_id, true, NULL);
    int error = errno;
    if (known == 0 && sigaction(SIGPIPE, NULL, &after) == 0 && after.sa_handler == SIG_IGN &&
        ((before.sa_flags & SA_SIGINFO) != 0 || before.sa_handler != SIG_IGN)) {
        sigaction(SIGPIPE, &before, NULL);
    }
    pthread_mutex_unlock(&sigpipe_mutex);
    errno = error;
    return handle;
}

int bb_mosquitto_link_open(bb_mosquitto_link *link, const bb_mosquitto_settings *settings,
                           bb_mosquitto_exchange *exchange)
{
    pthread_once(&library_once, prepare_library);
    link->handle = new_handle(settings->client_id);
    if (link->handle == NULL) {
        return -1;
    }
    link->settings = settings;
    link->exchange = exchange;
    link->v5 = settings->protocol != BUSBAR_MOSQUITTO_V311;
    return 0;
}

void bb_mosquitto_link_close(bb_mosquitto_link *link)
{
    mosquitto_destroy(link->handle);
    link->handle = NULL;
}

static uint64_t seed(void)
{
    uint64_t value;

    if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value) {
        value = bb_mosquitto_now_ms();
    }
    return value;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Waits for an end of the wait, or for news of the network. True if there is some. */
static bool wait_for_news(bb_mosquitto_link *link, uint64_t now_ms, uint64_t until_ms)
{
    bb_mosquitto_network *network = &link->network;
    struct pollfd fds[] = {{.fd = link->exchange->link_fd, .events = POLLIN},
                           {.fd = bb_mosquitto_network_fd(network, now_ms), .events = POLLIN}};
    uint64_t due_ms = earlier(until_ms, bb_mosquitto_network_due_ms(network, now_ms));

    if (poll(fds, 2, (int)(due_ms - now_ms)) <= 0) {
        return false;
    }
    bool prompted = fds[0].revents != 0 && bb_mosquitto_exchange_wake_seen(link->exchange);
    bool news = fds[1].revents != 0 && bb_mosquitto_network_news(network, bb_mosquitto_now_ms());
    return prompted || news;
}

/* With news there is a new hope: one attempt soon, and if that fails the waits are short again. */
static void wait_to_retry(bb_mosquitto_link *link, bb_mosquitto_backoff *backoff, bool news)
{
    uint64_t now_ms = bb_mosquitto_now_ms();
    uint64_t until_ms = now_ms + bb_mosquitto_backoff_next(backoff);

    while (now_ms < until_ms && !bb_mosquitto_exchange_closing(link->exchange)) {
        if (news) {
            uint32_t left_ms = (uint32_t)(until_ms - now_ms);
            uint32_t wait_ms = bb_mosquitto_network_wait_ms(&link->network, now_ms, left_ms);
            if (wait_ms < left_ms) {
                until_ms = now_ms + wait_ms;
                bb_mosquitto_backoff_reset(backoff);
            }
        }
        news = wait_for_news(link, now_ms, until_ms);
        now_ms = bb_mosquitto_now_ms();
    }
}

/*
 * A name may have addresses of two families, of which only one leads to the broker: when nobody answers there, the other
 * is tried, and what worked is kept. True if the next attempt is to follow at once, as a part of this one.
 */
static bool change_family(bb_mosquitto_link *link, bb_mosquitto_connection *connection)
{
    if (connection->reached) {
        link->other_family = false;
        return false;
    }
    if (link->other_family) {
        link->other_family = false;
        link->bind_address = NULL;
        if (connection->family == AF_UNSPEC) { /* there is no address of the other family */
            connection->reason = link->first_reason;
        }
        return false;
    }
    if (connection->family == AF_UNSPEC || connection->early) {
        link->bind_address = NULL;
        return false;
    }
    link->other_family = true;
    link->bind_address = connection->family == AF_INET6 ? "0.0.0.0" : "::";
    link->first_reason = connection->reason;
    return true;
}

/* True if the next attempt is to follow at once. */
static bool fall_back(bb_mosquitto_link *link, const bb_mosquitto_connection *connection)
{
    if (connection->refused_version && link->v5 && link->settings->protocol == BUSBAR_MOSQUITTO_AUTO) {
        link->v5 = false;
        return true;
    }
    return false;
}

/*
 * Reinitialising throws away everything the library kept of the connection, its own queue above all: what was not
 * acknowledged is sent again by the bus or not at all. Unlike mosquitto_new() it leaves SIGPIPE alone.
 */
static void renew_handle(bb_mosquitto_link *link)
{
    mosquitto_reinitialise(link->handle, link->settings->client_id, true, NULL);
}

void bb_mosquitto_link_run(bb_mosquitto_link *link)
{
    const bb_mosquitto_settings *settings = link->settings;
    bb_mosquitto_backoff backoff =
        bb_mosquitto_backoff_start(settings->reconnect_min_ms, settings->reconnect_max_ms, seed());

    bb_mosquitto_network_open(&link->network, bb_mosquitto_now_ms(), seed());
    while (!bb_mosquitto_exchange_closing(link->exchange)) {
        bb_mosquitto_connection connection = {.handle = link->handle,
                                              .settings = settings,
                                              .exchange = link->exchange,
                                              .network = &link->network,
                                              .bind_address = link->bind_address,
                                              .v5 = link->v5};
        bb_mosquitto_connection_run(&connection);
        renew_handle(link);
        if (change_family(link, &connection)) {
            bb_mosquitto_connection_free(&connection);
            continue;
        }
        bb_mosquitto_exchange_down(link->exchange, &connection.reason, &connection.in_flight);
        if (bb_mosquitto_connection_served_ms(&connection) >= STABLE_MS) {
            bb_mosquitto_backoff_reset(&backoff);
        }
        bb_mosquitto_connection_free(&connection);
        if (!fall_back(link, &connection)) {
            wait_to_retry(link, &backoff, connection.early);
        }
    }
    bb_mosquitto_network_close(&link->network);
    bb_mosquitto_link_close(link);
}
