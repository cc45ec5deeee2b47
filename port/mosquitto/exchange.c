/* SPDX-License-Identifier: MIT */
/* The meeting point of host and link. */
#define _POSIX_C_SOURCE 200809L /* pthread_condattr_setclock */

#include "exchange.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Writing 1 to a non-blocking eventfd fails only when it is readable already. */
static void signal_fd(int fd)
{
    const uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof one);
    (void)written;
}

static void clear_fd(int fd)
{
    uint64_t count;
    ssize_t taken = read(fd, &count, sizeof count);
    (void)taken;
}

static int open_condition(bb_mosquitto_exchange *exchange)
{
    pthread_condattr_t attributes;

    if (pthread_condattr_init(&attributes) != 0) {
        return -1;
    }
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(&exchange->ended_condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return rc == 0 ? 0 : -1;
}

int bb_mosquitto_exchange_open(bb_mosquitto_exchange *exchange)
{
    memset(exchange, 0, sizeof *exchange);
    exchange->owners = 1;
    exchange->host_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (exchange->host_fd < 0) {
        return -1;
    }
    exchange->link_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (exchange->link_fd < 0) {
        close(exchange->host_fd);
        return -1;
    }
    if (pthread_mutex_init(&exchange->mutex, NULL) != 0 || open_condition(exchange) != 0) {
        close(exchange->host_fd);
        close(exchange->link_fd);
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

void bb_mosquitto_exchange_close(bb_mosquitto_exchange *exchange)
{
    close(exchange->host_fd);
    close(exchange->link_fd);
    pthread_cond_destroy(&exchange->ended_condition);
    pthread_mutex_destroy(&exchange->mutex);
}

bool bb_mosquitto_exchange_offer(bb_mosquitto_exchange *exchange, bb_mosquitto_slot *slot, uint64_t epoch)
{
    pthread_mutex_lock(&exchange->mutex);
    bool taken = exchange->connected && exchange->epoch == epoch && !exchange->closing;
    bool wake = taken && exchange->link_asleep;
    if (taken) {
        bb_mosquitto_list_append(&exchange->outbox, slot);
        exchange->link_asleep = false;
    }
    pthread_mutex_unlock(&exchange->mutex);
    if (wake) {
        signal_fd(exchange->link_fd);
    }
    return taken;
}

bool bb_mosquitto_exchange_collect(bb_mosquitto_exchange *exchange, bb_mosquitto_news *out_news)
{
    pthread_mutex_lock(&exchange->mutex);
    bool any = exchange->host_told;
    if (any) {
        *out_news = exchange->news;
        memset(&exchange->news, 0, sizeof exchange->news);
        exchange->host_told = false;
        clear_fd(exchange->host_fd);
    }
    pthread_mutex_unlock(&exchange->mutex);
    return any;
}

void bb_mosquitto_exchange_prompt(bb_mosquitto_exchange *exchange)
{
    pthread_mutex_lock(&exchange->mutex);
    exchange->prompted = true;
    pthread_mutex_unlock(&exchange->mutex);
    signal_fd(exchange->link_fd);
}

void bb_mosquitto_exchange_end(bb_mosquitto_exchange *exchange)
{
    pthread_mutex_lock(&exchange->mutex);
    exchange->closing = true;
    if (exchange->host_told) {
        exchange->host_told = false;
        clear_fd(exchange->host_fd);
    }
    pthread_mutex_unlock(&exchange->mutex);
    signal_fd(exchange->link_fd);
}

bool bb_mosquitto_exchange_wait_end(bb_mosquitto_exchange *exchange, uint32_t timeout_ms)
{
    struct timespec deadline;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&exchange->mutex);
    while (!exchange->ended && rc == 0) {
        rc = pthread_cond_timedwait(&exchange->ended_condition, &exchange->mutex, &deadline);
    }
    bool ended = exchange->ended;
    pthread_mutex_unlock(&exchange->mutex);
    return ended;
}

bool bb_mosquitto_exchange_take(bb_mosquitto_exchange *exchange, bb_mosquitto_list *list)
{
    pthread_mutex_lock(&exchange->mutex);
    bool any = exchange->outbox.first != NULL;
    bb_mosquitto_list_move(list, &exchange->outbox);
    exchange->link_asleep = !any;
    pthread_mutex_unlock(&exchange->mutex);
    return any;
}

/* Called with the lock held. */
static void tell_host(bb_mosquitto_exchange *exchange)
{
    if (!exchange->host_told && !exchange->closing) {
        exchange->host_told = true;
        signal_fd(exchange->host_fd);
    }
}

void bb_mosquitto_exchange_settle(bb_mosquitto_exchange *exchange, bb_mosquitto_list *settled)
{
    pthread_mutex_lock(&exchange->mutex);
    bb_mosquitto_list_move(&exchange->news.settled, settled);
    exchange->link_asleep = false;
    tell_host(exchange);
    pthread_mutex_unlock(&exchange->mutex);
}

void bb_mosquitto_exchange_up(bb_mosquitto_exchange *exchange, const bb_mosquitto_limits *limits)
{
    pthread_mutex_lock(&exchange->mutex);
    exchange->epoch++;
    exchange->connected = true;
    exchange->news.up = true;
    exchange->news.limits = *limits;
    exchange->news.epoch = exchange->epoch;
    tell_host(exchange);
    pthread_mutex_unlock(&exchange->mutex);
}

void bb_mosquitto_exchange_down(bb_mosquitto_exchange *exchange, const busbar_reason *reason,
                                bb_mosquitto_list *in_flight)
{
    pthread_mutex_lock(&exchange->mutex);
    exchange->connected = false;
    bb_mosquitto_list_move(&exchange->news.returned, in_flight);
    bb_mosquitto_list_move(&exchange->news.returned, &exchange->outbox);
    exchange->news.up = false;
    exchange->news.down = true;
    exchange->news.reason = *reason;
    tell_host(exchange);
    pthread_mutex_unlock(&exchange->mutex);
}

bool bb_mosquitto_exchange_closing(bb_mosquitto_exchange *exchange)
{
    pthread_mutex_lock(&exchange->mutex);
    bool closing = exchange->closing;
    pthread_mutex_unlock(&exchange->mutex);
    return closing;
}

bool bb_mosquitto_exchange_wake_seen(bb_mosquitto_exchange *exchange)
{
    clear_fd(exchange->link_fd);
    pthread_mutex_lock(&exchange->mutex);
    bool prompted = exchange->prompted;
    exchange->prompted = false;
    pthread_mutex_unlock(&exchange->mutex);
    return prompted;
}

void bb_mosquitto_exchange_ended(bb_mosquitto_exchange *exchange)
{
    pthread_mutex_lock(&exchange->mutex);
    exchange->ended = true;
    pthread_cond_signal(&exchange->ended_condition);
    pthread_mutex_unlock(&exchange->mutex);
}

bool bb_mosquitto_exchange_leave(bb_mosquitto_exchange *exchange)
{
    pthread_mutex_lock(&exchange->mutex);
    bool last = --exchange->owners == 0;
    pthread_mutex_unlock(&exchange->mutex);
    return last;
}
