/* SPDX-License-Identifier: MIT */
#include "spy.h"

#include <string.h>

#include "measure.h"

static int start(void *ctx, busbar_reason *out_reason)
{
    spy *it = ctx;
    return it->inner.api->start(it->inner.ctx, out_reason);
}

static void note_taken(spy *it, const char *topic)
{
    if (it->taken == 0)
        it->first_ns = measure_now_ns();
    if (it->watched && !it->watched_seen && strcmp(topic, it->watched) == 0) {
        it->before = it->taken;
        it->watched_seen = true;
    }
    it->taken++;
}

static busbar_send_result send(void *ctx, const busbar_message *message, busbar_reason *out_reason)
{
    spy *it = ctx;
    busbar_send_result result = it->inner.api->send(it->inner.ctx, message, out_reason);
    if (result == BUSBAR_SEND_ACCEPTED)
        note_taken(it, message->topic);
    return result;
}

static void on_event(const busbar_transport_event *event, void *ctx)
{
    spy *it = ctx;
    if (event->type == BUSBAR_TRANSPORT_UP && it->up_ns == 0)
        it->up_ns = measure_now_ns();
    if (event->type == BUSBAR_TRANSPORT_ACKED)
        atomic_fetch_add_explicit(&it->acked, 1, memory_order_release);
    it->fn(event, it->fn_ctx);
}

static void poll(void *ctx, busbar_transport_event_fn *fn, void *fn_ctx)
{
    spy *it = ctx;
    it->fn = fn;
    it->fn_ctx = fn_ctx;
    it->inner.api->poll(it->inner.ctx, on_event, it);
}

static void close(void *ctx)
{
    spy *it = ctx;
    it->inner.api->close(it->inner.ctx);
}

static void stop(void *ctx)
{
    spy *it = ctx;
    it->inner.api->stop(it->inner.ctx);
}

static int fd(void *ctx)
{
    spy *it = ctx;
    return it->inner.api->fd(it->inner.ctx);
}

busbar_transport spy_around(spy *it, busbar_transport inner)
{
    static const busbar_transport_api with_fd = {BUSBAR_TRANSPORT_VERSION, "spy", start, send, poll, close, stop, fd};
    static const busbar_transport_api without_fd = {
        BUSBAR_TRANSPORT_VERSION, "spy", start, send, poll, close, stop, NULL};
    it->inner = inner;
    return (busbar_transport){inner.api->fd ? &with_fd : &without_fd, it};
}
