/* SPDX-License-Identifier: MIT */
/* The in-process transport against the contract of transports, and against its own script (busbar/loopback.h). */
#include "test.h"

#include <busbar/loopback.h>

#include "transport.h"

/* ---- A peer: a receiver that keeps what it gets, and acknowledges when the suite lets it work. ----------------------- */

#define KEPT_MAX 1024

typedef struct kept {
    char *payload;
    size_t size;
    char *content_type;
    uint32_t expiry_s;
} kept;

typedef struct loopback_peer {
    busbar_transport transport;
    kept messages[KEPT_MAX];
    size_t count;
    bool held;
} loopback_peer;

static void keep(const busbar_message *message, void *context)
{
    loopback_peer *peer = context;
    assert_true(peer->count < KEPT_MAX);
    kept *one = &peer->messages[peer->count++];
    one->size = message->payload_size_bytes;
    one->payload = calloc(1, one->size + 1);
    assert_non_null(one->payload);
    if (one->size > 0) {
        memcpy(one->payload, message->payload, one->size);
    }
    if (message->content_type != NULL) {
        one->content_type = calloc(1, strlen(message->content_type) + 1);
        assert_non_null(one->content_type);
        strcpy(one->content_type, message->content_type);
    }
    one->expiry_s = message->expiry_s;
}

static void *open_peer(const transport_setup *setup, busbar_transport *out_transport)
{
    loopback_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    const busbar_loopback_options options = {
        .size = sizeof options,
        .receive = keep,
        .ctx = peer,
        .window = setup->window,
        .max_message_bytes = setup->max_bytes,
        .manual_ack = true,
        .link_down = setup->absent,
    };
    const busbar_loopback_refusal refusal = {.size = sizeof refusal, .topic = "refused", .text = "not today"};
    assert_int_equal(busbar_loopback_new(&options, &peer->transport), BUSBAR_OK);
    assert_int_equal(busbar_loopback_refuse(peer->transport, &refusal), BUSBAR_OK);
    *out_transport = peer->transport;
    return peer;
}

static void close_peer(void *context)
{
    loopback_peer *peer = context;
    for (size_t i = 0; i < peer->count; i++) {
        free(peer->messages[i].payload);
        free(peer->messages[i].content_type);
    }
    free(peer);
}

static void link_peer(void *context, bool up)
{
    loopback_peer *peer = context;
    busbar_loopback_link(peer->transport, up);
}

static void hold_peer(void *context, bool held)
{
    loopback_peer *peer = context;
    peer->held = held;
}

static void work_peer(void *context)
{
    loopback_peer *peer = context;
    if (!peer->held) {
        busbar_loopback_ack(peer->transport, SIZE_MAX);
    }
}

static size_t received(void *context, size_t at_least)
{
    const loopback_peer *peer = context;
    (void)at_least; /* a message is there as soon as it is taken */
    return peer->count;
}

static transport_received at(void *context, size_t index)
{
    const loopback_peer *peer = context;
    assert_true(index < peer->count);
    const kept *one = &peer->messages[index];
    return (transport_received){one->payload, one->size, one->content_type, one->expiry_s};
}

static const transport_fixture loopback_fixture = {
    .name = "transport contract: loopback",
    .open = open_peer,
    .close = close_peer,
    .link = link_peer,
    .hold = hold_peer,
    .work = work_peer,
    .received = received,
    .at = at,
    .refused_topic = "refused",
    .refused_verdict = BUSBAR_REFUSED_RETRY,
};

/* ---- Its own script ------------------------------------------------------------------------------------------------- */

typedef struct script {
    busbar_transport transport;
    unsigned ups, downs, acked, refused, got;
    uint64_t last_token;
    busbar_transport_event last;
    bool restore_link;   /* the receiver cuts the link and restores it */
    unsigned sends_left; /* so many events are answered with another message */
} script;

static busbar_send_result send_to(const script *it, uint64_t token, const char *topic)
{
    const busbar_message message = {.size = sizeof message, .token = token, .topic = topic, .qos = 1};
    busbar_reason reason;
    return it->transport.api->send(it->transport.ctx, &message, &reason);
}

static void count_event(const busbar_transport_event *event, void *context)
{
    script *it = context;
    it->ups += event->type == BUSBAR_TRANSPORT_UP;
    it->downs += event->type == BUSBAR_TRANSPORT_DOWN;
    it->acked += event->type == BUSBAR_TRANSPORT_ACKED;
    it->refused += event->type == BUSBAR_TRANSPORT_REFUSED;
    it->last_token = event->token;
    it->last = *event;
    if (it->sends_left > 0) {
        it->sends_left--;
        assert_int_equal(send_to(it, 1000 + it->sends_left, "a"), BUSBAR_SEND_ACCEPTED);
    }
}

static void count_message(const busbar_message *message, void *context)
{
    script *it = context;
    (void)message;
    it->got++;
    if (it->restore_link) {
        busbar_loopback_link(it->transport, false);
        busbar_loopback_link(it->transport, true);
    }
}

static void poll_events(script *it)
{
    it->transport.api->poll(it->transport.ctx, count_event, it);
}

static void begin(script *it, busbar_loopback_options options)
{
    memset(it, 0, sizeof *it);
    options.size = sizeof options;
    options.receive = count_message;
    options.ctx = it;
    assert_int_equal(busbar_loopback_new(&options, &it->transport), BUSBAR_OK);
    assert_int_equal(it->transport.api->start(it->transport.ctx, NULL), 0);
    poll_events(it);
}

static void finish(script *it)
{
    it->transport.api->close(it->transport.ctx);
    it->transport.api->stop(it->transport.ctx);
}

static void it_acknowledges_by_itself(void **state)
{
    script it;
    (void)state;
    begin(&it, (busbar_loopback_options){0});
    assert_int_equal(send_to(&it, 1, "a"), BUSBAR_SEND_ACCEPTED);
    assert_int_equal(send_to(&it, 2, "a"), BUSBAR_SEND_ACCEPTED);
    assert_int_equal(it.acked, 0); /* only poll reports */
    poll_events(&it);
    assert_int_equal(it.acked, 2);
    assert_int_equal(it.got, 2);
    finish(&it);
}

static void defaults_are_enough(void **state)
{
    busbar_transport transport;
    script it = {0};
    (void)state;
    assert_int_equal(busbar_loopback_new(NULL, &transport), BUSBAR_OK);
    it.transport = transport;
    assert_int_equal(transport.api->start(transport.ctx, NULL), 0);
    poll_events(&it);
    assert_int_equal(it.last.window, 100);
    for (uint64_t token = 1; token <= 100; token++) {
        assert_int_equal(send_to(&it, token, "a"), BUSBAR_SEND_ACCEPTED);
    }
    assert_int_equal(send_to(&it, 101, "a"), BUSBAR_SEND_NOT_NOW);
    finish(&it);
}

static void acknowledging_follows_the_script(void **state)
{
    script it;
    (void)state;
    begin(&it, (busbar_loopback_options){.manual_ack = true});
    for (uint64_t token = 1; token <= 5; token++) {
        assert_int_equal(send_to(&it, token, "a"), BUSBAR_SEND_ACCEPTED);
    }
    poll_events(&it);
    assert_int_equal(it.acked, 0);
    assert_true(busbar_loopback_ack_token(it.transport, 4));
    assert_false(busbar_loopback_ack_token(it.transport, 4));
    poll_events(&it);
    assert_int_equal(it.last_token, 4);
    assert_int_equal(busbar_loopback_ack(it.transport, 2), 2);
    poll_events(&it);
    assert_int_equal(it.last_token, 2);
    assert_int_equal(busbar_loopback_ack(it.transport, SIZE_MAX), 2);
    assert_int_equal(busbar_loopback_ack(it.transport, SIZE_MAX), 0);
    poll_events(&it);
    assert_int_equal(it.acked, 5);
    assert_int_equal(it.last_token, 5);
    finish(&it);
}

static void refusing_follows_the_script(void **state)
{
    script it;
    (void)state;
    begin(&it, (busbar_loopback_options){0});
    const busbar_loopback_refusal one = {.size = sizeof one, .topic = "bad", .count = 1, .code = 5};
    const busbar_loopback_refusal two = {
        .size = sizeof two, .count = 2, .verdict = BUSBAR_REFUSED_DEAD, .code = 6, .text = "no more"};
    assert_int_equal(busbar_loopback_refuse(it.transport, &one), BUSBAR_OK);
    assert_int_equal(busbar_loopback_refuse(it.transport, &two), BUSBAR_OK);
    send_to(&it, 1, "bad");
    poll_events(&it);
    assert_int_equal(it.last.type, BUSBAR_TRANSPORT_REFUSED);
    assert_int_equal(it.last.verdict, BUSBAR_REFUSED_RETRY);
    assert_int_equal(it.last.reason.code, 5);
    assert_string_equal(it.last.reason.text, "refused");
    send_to(&it, 2, "good");
    send_to(&it, 3, "bad");
    poll_events(&it);
    assert_int_equal(it.refused, 3);
    assert_int_equal(it.last.verdict, BUSBAR_REFUSED_DEAD);
    assert_string_equal(it.last.reason.text, "no more");
    send_to(&it, 4, "bad");
    poll_events(&it);
    assert_int_equal(it.acked, 1);
    assert_int_equal(it.got, 1); /* the receiver sees none of the refused */
    finish(&it);
}

static void endless_refusals_can_be_taken_back(void **state)
{
    script it;
    (void)state;
    begin(&it, (busbar_loopback_options){0});
    const busbar_loopback_refusal all = {.size = sizeof all};
    assert_int_equal(busbar_loopback_refuse(it.transport, &all), BUSBAR_OK);
    for (uint64_t token = 1; token <= 10; token++) {
        send_to(&it, token, "a");
    }
    poll_events(&it);
    assert_int_equal(it.refused, 10);
    busbar_loopback_accept(it.transport);
    send_to(&it, 11, "a");
    poll_events(&it);
    assert_int_equal(it.acked, 1);
    finish(&it);
}

/* What reaches the receiver but is not acknowledged when the link goes is what at-least-once sends twice (P3). */
static void the_link_drops_after_so_many_messages(void **state)
{
    script it;
    (void)state;
    begin(&it, (busbar_loopback_options){0});
    busbar_loopback_drop_after(it.transport, 3);
    for (uint64_t token = 1; token <= 5; token++) {
        busbar_send_result expected = token <= 3 ? BUSBAR_SEND_ACCEPTED : BUSBAR_SEND_NOT_NOW;
        assert_int_equal(send_to(&it, token, "a"), expected);
    }
    assert_int_equal(it.got, 3);
    poll_events(&it);
    assert_int_equal(it.acked, 2);
    assert_int_equal(it.downs, 1);
    assert_int_equal(it.last.type, BUSBAR_TRANSPORT_DOWN);
    busbar_loopback_link(it.transport, true);
    assert_int_equal(send_to(&it, 6, "a"), BUSBAR_SEND_NOT_NOW); /* not told yet */
    poll_events(&it);
    assert_int_equal(it.ups, 2);
    assert_int_equal(send_to(&it, 6, "a"), BUSBAR_SEND_ACCEPTED);
    finish(&it);
}

static void a_link_that_went_and_came_unseen_is_reported_in_order(void **state)
{
    script it;
    (void)state;
    begin(&it, (busbar_loopback_options){.manual_ack = true});
    assert_int_equal(send_to(&it, 1, "a"), BUSBAR_SEND_ACCEPTED);
    busbar_loopback_link(it.transport, false);
    busbar_loopback_link(it.transport, true);
    assert_int_equal(send_to(&it, 2, "a"), BUSBAR_SEND_NOT_NOW);
    assert_int_equal(busbar_loopback_ack(it.transport, SIZE_MAX), 0);
    poll_events(&it);
    assert_int_equal(it.downs, 1);
    assert_int_equal(it.ups, 2);
    assert_int_equal(it.last.type, BUSBAR_TRANSPORT_UP);
    assert_int_equal(it.acked, 0);
    finish(&it);
}

static void the_receiver_may_use_the_script(void **state)
{
    script it;
    (void)state;
    begin(&it, (busbar_loopback_options){.manual_ack = true});
    it.restore_link = true;
    assert_int_equal(send_to(&it, 1, "a"), BUSBAR_SEND_ACCEPTED);
    poll_events(&it);
    assert_int_equal(it.downs, 1);
    assert_int_equal(it.ups, 2);
    finish(&it);
}

/* A callback that answers each acknowledgement with a message must not keep poll from returning. */
static void what_poll_brings_about_is_left_for_the_next(void **state)
{
    script it;
    (void)state;
    begin(&it, (busbar_loopback_options){0});
    it.sends_left = 5;
    assert_int_equal(send_to(&it, 1, "a"), BUSBAR_SEND_ACCEPTED);
    poll_events(&it);
    assert_int_equal(it.acked, 1);
    for (unsigned i = 2; i <= 6; i++) {
        poll_events(&it);
        assert_int_equal(it.acked, i);
    }
    finish(&it);
}

static void wrong_use_is_refused(void **state)
{
    script it;
    busbar_transport transport = {0};
    busbar_loopback_options options = {.size = 1};
    busbar_reason reason = {0};
    (void)state;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_EINVAL);
    assert_null(transport.api);
    assert_int_equal(busbar_loopback_new(NULL, NULL), BUSBAR_EINVAL);
    begin(&it, (busbar_loopback_options){0});
    assert_int_equal(busbar_loopback_refuse(it.transport, NULL), BUSBAR_EINVAL);
    assert_int_equal(it.transport.api->start(it.transport.ctx, &reason), -1);
    assert_true(strlen(reason.text) > 0);
    finish(&it);
}

/* A text longer than a reason is cut between two characters. */
static void long_texts_are_cut_between_characters(void **state)
{
    script it;
    char text[BUSBAR_REASON_SIZE * 2];
    (void)state;
    begin(&it, (busbar_loopback_options){0});
    memset(text, 'x', sizeof text);
    memcpy(text + BUSBAR_REASON_SIZE - 2, "\xc3\xa9", 3);
    const busbar_loopback_refusal refusal = {.size = sizeof refusal, .text = text};
    assert_int_equal(busbar_loopback_refuse(it.transport, &refusal), BUSBAR_OK);
    send_to(&it, 1, "a");
    poll_events(&it);
    assert_int_equal(strlen(it.last.reason.text), BUSBAR_REASON_SIZE - 2);
    finish(&it);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(it_acknowledges_by_itself),
        cmocka_unit_test(defaults_are_enough),
        cmocka_unit_test(acknowledging_follows_the_script),
        cmocka_unit_test(refusing_follows_the_script),
        cmocka_unit_test(endless_refusals_can_be_taken_back),
        cmocka_unit_test(the_link_drops_after_so_many_messages),
        cmocka_unit_test(a_link_that_went_and_came_unseen_is_reported_in_order),
        cmocka_unit_test(the_receiver_may_use_the_script),
        cmocka_unit_test(what_poll_brings_about_is_left_for_the_next),
        cmocka_unit_test(wrong_use_is_refused),
        cmocka_unit_test(long_texts_are_cut_between_characters),
    };
    int failed = transport_contract_run(&loopback_fixture);
    failed += cmocka_run_group_tests_name("loopback", cases, NULL, NULL);
    return failed;
}
