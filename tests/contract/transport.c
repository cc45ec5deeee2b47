/* SPDX-License-Identifier: MIT */
/*
 * What every transport must do. The promises that stand on it: P3 (only a positive acknowledgement settles, and exactly
 * once), P4 (order), P6 (reconnecting by itself), P11 (what can never be sent is told at once).
 */
#define _POSIX_C_SOURCE 200809L /* poll, clock_gettime */

#include "test.h"

#include "transport.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>

#define DEADLINE_MS 20000
#define QUIET_MS    100 /* for what must not happen */
#define TOKENS      4096
#define TOPIC       "contract/test"
#define WINDOW      8
#define MAX_BYTES   2000

typedef enum fate { NEVER_SENT = 0, OPEN, ACKED, REFUSED, UNSETTLED } fate;

typedef struct subject {
    const transport_fixture *fixture;
    busbar_transport transport;
    void *peer;
    bool closed;
    bool up;
    unsigned ups, downs, acked, refused;
    fate fates[TOKENS];          /* by token */
    uint64_t settled[TOKENS];    /* tokens in the order they were acknowledged */
    busbar_transport_event last; /* the latest event of any kind */
    busbar_transport_event last_up;
    uint64_t send_on_ack; /* tokens from here on are sent from inside the callback; 0: none */
    unsigned sends_left;
    busbar_send_result sent_in_down;
} subject;

/* ---- Machinery ------------------------------------------------------------------------------------------------------ */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static busbar_message message(uint64_t token, const char *payload)
{
    busbar_message it;
    memset(&it, 0, sizeof it);
    it.size = sizeof it;
    it.token = token;
    it.topic = TOPIC;
    it.payload = payload;
    it.payload_size_bytes = strlen(payload);
    it.qos = 1;
    return it;
}

static busbar_send_result send_message(subject *it, const busbar_message *sent)
{
    busbar_reason reason = {.code = 4711, .text = "untouched"};

    assert_true(sent->token < TOKENS && it->fates[sent->token] == NEVER_SENT);
    busbar_send_result result = it->transport.api->send(it->transport.ctx, sent, &reason);
    if (result == BUSBAR_SEND_DEAD) {
        assert_string_not_equal(reason.text, "untouched");
        assert_true(strlen(reason.text) > 0);
    } else {
        assert_string_equal(reason.text, "untouched");
        assert_int_equal(reason.code, 4711);
    }
    if (result == BUSBAR_SEND_ACCEPTED) {
        it->fates[sent->token] = OPEN;
    }
    return result;
}

static busbar_send_result send_text(subject *it, uint64_t token, const char *payload)
{
    busbar_message sent = message(token, payload);
    return send_message(it, &sent);
}

static void settle(subject *it, uint64_t token, fate end)
{
    assert_true(it->up);
    assert_true(token < TOKENS);
    assert_int_equal(it->fates[token], OPEN); /* accepted, and neither settled before nor given up by DOWN */
    it->fates[token] = end;
}

static void unsettle_all(subject *it)
{
    for (size_t token = 0; token < TOKENS; token++) {
        if (it->fates[token] == OPEN) {
            it->fates[token] = UNSETTLED;
        }
    }
}

static void check_reason(const busbar_reason *reason)
{
    assert_non_null(memchr(reason->text, '\0', sizeof reason->text));
    assert_true(strlen(reason->text) > 0);
    assert_null(strpbrk(reason->text, "\r\n"));
}

/* Holds what must be true of every event, whatever the test is about. */
static void on_event(const busbar_transport_event *event, void *context)
{
    subject *it = context;

    assert_false(it->closed);
    assert_int_equal(event->size, sizeof *event);
    it->last = *event;
    switch (event->type) {
    case BUSBAR_TRANSPORT_UP:
        assert_false(it->up);
        it->up = true;
        it->ups++;
        it->last_up = *event;
        break;
    case BUSBAR_TRANSPORT_DOWN:
        check_reason(&event->reason);
        it->up = false;
        it->downs++;
        unsettle_all(it);
        it->sent_in_down = send_text(it, TOKENS - 1, "too late");
        break;
    case BUSBAR_TRANSPORT_ACKED:
        settle(it, event->token, ACKED);
        it->settled[it->acked++] = event->token;
        if (it->sends_left > 0) {
            it->sends_left--;
            assert_int_equal(send_text(it, it->send_on_ack++, "again"), BUSBAR_SEND_ACCEPTED);
        }
        break;
    case BUSBAR_TRANSPORT_REFUSED:
        check_reason(&event->reason);
        settle(it, event->token, REFUSED);
        it->refused++;
        break;
    default:
        fail_msg("unknown event %d", (int)event->type);
    }
}

static int transport_fd(const subject *it)
{
    return it->transport.api->fd != NULL ? it->transport.api->fd(it->transport.ctx) : -1;
}

static void collect(subject *it)
{
    if (it->fixture->work != NULL) {
        it->fixture->work(it->peer);
    }
    it->transport.api->poll(it->transport.ctx, on_event, it);
}

static bool is_readable(const subject *it, int timeout_ms)
{
    struct pollfd fd = {.fd = transport_fd(it), .events = POLLIN};
    return poll(&fd, 1, timeout_ms) == 1;
}

/* Waits for a condition, woken by the transport's descriptor where it has one. */
static void wait_until(subject *it, const unsigned *counter, unsigned at_least)
{
    uint64_t deadline_ms = now_ms() + DEADLINE_MS;

    for (collect(it); *counter < at_least; collect(it)) {
        assert_true(now_ms() < deadline_ms);
        if (transport_fd(it) >= 0) {
            (void)is_readable(it, 50);
        }
    }
}

/* For what must not happen: gives it time to. */
static void stay_quiet(subject *it)
{
    if (transport_fd(it) >= 0) {
        (void)is_readable(it, QUIET_MS);
    }
    collect(it);
}

static void begin_with(subject *it, void **state, const transport_setup *setup)
{
    memset(it, 0, sizeof *it);
    it->fixture = *state;
    it->sent_in_down = BUSBAR_SEND_NOT_NOW;
    it->peer = it->fixture->open(setup, &it->transport);
}

static const transport_setup plain = {.window = WINDOW, .topic = TOPIC};

static void start(subject *it)
{
    busbar_reason reason;
    assert_int_equal(it->transport.api->start(it->transport.ctx, &reason), 0);
}

static void begin(subject *it, void **state)
{
    begin_with(it, state, &plain);
    start(it);
    wait_until(it, &it->ups, 1);
}

static void close_transport(subject *it)
{
    it->transport.api->close(it->transport.ctx);
    it->closed = true;
}

static void finish(subject *it)
{
    assert_int_equal(it->sent_in_down, BUSBAR_SEND_NOT_NOW);
    close_transport(it);
    it->transport.api->stop(it->transport.ctx);
    it->fixture->close(it->peer);
}

static void assert_got(const subject *it, size_t index, const char *payload)
{
    transport_received got = it->fixture->at(it->peer, index);
    assert_int_equal(got.payload_size, strlen(payload));
    assert_memory_equal(got.payload, payload, strlen(payload));
}

/* ---- The interface itself ------------------------------------------------------------------------------------------- */

static void every_required_slot_is_filled(void **state)
{
    subject it;
    begin_with(&it, state, &plain);
    const busbar_transport_api *api = it.transport.api;
    assert_int_equal(api->version, BUSBAR_TRANSPORT_VERSION);
    assert_true(api->name != NULL && api->name[0] != '\0');
    assert_true(api->start != NULL && api->send != NULL && api->poll != NULL);
    assert_true(api->close != NULL && api->stop != NULL);
    finish(&it);
}

static void close_and_stop_are_legal_without_start(void **state)
{
    subject it;
    begin_with(&it, state, &plain);
    it.transport.api->stop(it.transport.ctx);
    it.fixture->close(it.peer);

    begin_with(&it, state, &plain);
    it.transport.api->close(it.transport.ctx);
    it.transport.api->close(it.transport.ctx);
    it.transport.api->stop(it.transport.ctx);
    it.fixture->close(it.peer);
}

/* ---- Coming up ------------------------------------------------------------------------------------------------------ */

static void start_reports_up_with_the_peers_limits(void **state)
{
    subject it;
    begin(&it, state);
    assert_int_equal(it.ups, 1);
    assert_int_equal(it.downs, 0);
    assert_int_equal(it.last_up.window, WINDOW);
    assert_int_equal(it.last_up.max_message_bytes, 0);
    finish(&it);
}

static void nothing_is_taken_before_up(void **state)
{
    subject it;
    begin_with(&it, state, &plain);
    assert_int_equal(send_text(&it, 1, "early"), BUSBAR_SEND_NOT_NOW);
    start(&it);
    assert_int_equal(send_text(&it, 1, "early"), BUSBAR_SEND_NOT_NOW);
    if (transport_fd(&it) >= 0) {
        assert_true(is_readable(&it, DEADLINE_MS)); /* connected, but nobody was told */
        assert_int_equal(send_text(&it, 1, "early"), BUSBAR_SEND_NOT_NOW);
    }
    wait_until(&it, &it.ups, 1);
    assert_int_equal(send_text(&it, 1, "now"), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    finish(&it);
}

/* P6 */
static void an_absent_peer_is_reported_and_found_when_it_comes(void **state)
{
    subject it;
    const transport_setup setup = {.window = WINDOW, .topic = TOPIC, .absent = true};
    begin_with(&it, state, &setup);
    start(&it);
    wait_until(&it, &it.downs, 1);
    assert_int_equal(it.ups, 0);
    assert_int_equal(send_text(&it, 1, "early"), BUSBAR_SEND_NOT_NOW);
    it.fixture->link(it.peer, true);
    wait_until(&it, &it.ups, 1);
    assert_int_equal(send_text(&it, 1, "now"), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    finish(&it);
}

/* ---- Messages ------------------------------------------------------------------------------------------------------- */

/* P3 */
static void an_accepted_message_arrives_and_is_acknowledged_once(void **state)
{
    subject it;
    begin(&it, state);
    busbar_message sent = message(7, "{\"on\":true}");
    sent.content_type = "application/cloudevents+json";
    sent.expiry_s = 600;
    assert_int_equal(send_message(&it, &sent), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    assert_int_equal(it.settled[0], 7);
    assert_int_equal(it.fixture->received(it.peer, 1), 1);
    assert_got(&it, 0, "{\"on\":true}");
    transport_received got = it.fixture->at(it.peer, 0);
    assert_string_equal(got.content_type, "application/cloudevents+json");
    assert_in_range(got.expiry_s, 590, 600);
    stay_quiet(&it);
    assert_int_equal(it.acked + it.refused, 1);
    finish(&it);
}

static void every_quality_of_service_is_settled(void **state)
{
    subject it;
    begin(&it, state);
    for (uint8_t qos = 0; qos <= 2; qos++) {
        busbar_message sent = message(qos + 1u, "x");
        sent.qos = qos;
        assert_int_equal(send_message(&it, &sent), BUSBAR_SEND_ACCEPTED);
        wait_until(&it, &it.acked, qos + 1u);
    }
    assert_int_equal(it.fixture->received(it.peer, 3), 3);
    finish(&it);
}

static void an_empty_payload_is_a_message(void **state)
{
    subject it;
    begin(&it, state);
    busbar_message sent = message(1, "");
    sent.payload = NULL;
    assert_int_equal(send_message(&it, &sent), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    assert_int_equal(it.fixture->received(it.peer, 1), 1);
    assert_int_equal(it.fixture->at(it.peer, 0).payload_size, 0);
    assert_null(it.fixture->at(it.peer, 0).content_type);
    finish(&it);
}

static void any_bytes_arrive_as_they_are(void **state)
{
    subject it;
    unsigned char bytes[256];
    begin(&it, state);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(255 - i);
    }
    busbar_message sent = message(1, "");
    sent.payload = bytes;
    sent.payload_size_bytes = sizeof bytes;
    sent.content_type = "application/octet-stream";
    assert_int_equal(send_message(&it, &sent), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    assert_int_equal(it.fixture->received(it.peer, 1), 1);
    assert_int_equal(it.fixture->at(it.peer, 0).payload_size, sizeof bytes);
    assert_memory_equal(it.fixture->at(it.peer, 0).payload, bytes, sizeof bytes);
    finish(&it);
}

/* P4 */
static void order_is_kept(void **state)
{
    enum { COUNT = 300 };
    subject it;
    char text[16];
    begin(&it, state);
    for (uint64_t token = 1; token <= COUNT;) {
        (void)snprintf(text, sizeof text, "%u", (unsigned)token);
        if (send_text(&it, token, text) == BUSBAR_SEND_ACCEPTED) {
            token++;
        } else {
            wait_until(&it, &it.acked, it.acked + 1);
        }
    }
    wait_until(&it, &it.acked, COUNT);
    assert_int_equal(it.fixture->received(it.peer, COUNT), COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(text, sizeof text, "%u", i + 1);
        assert_got(&it, i, text);
        assert_int_equal(it.settled[i], i + 1);
    }
    finish(&it);
}

static void a_message_may_be_overwritten_after_send(void **state)
{
    subject it;
    char topic[] = TOPIC, payload[] = "precious", type[] = "text/plain";
    begin(&it, state);
    busbar_message sent = message(1, payload);
    sent.topic = topic;
    sent.content_type = type;
    assert_int_equal(send_message(&it, &sent), BUSBAR_SEND_ACCEPTED);
    memset(topic, '!', sizeof topic - 1);
    memset(payload, '!', sizeof payload - 1);
    memset(type, '!', sizeof type - 1);
    wait_until(&it, &it.acked, 1);
    assert_int_equal(it.fixture->received(it.peer, 1), 1);
    assert_got(&it, 0, "precious");
    assert_string_equal(it.fixture->at(it.peer, 0).content_type, "text/plain");
    finish(&it);
}

static void sending_is_allowed_inside_the_callback(void **state)
{
    subject it;
    begin(&it, state);
    it.send_on_ack = 100;
    it.sends_left = 50;
    assert_int_equal(send_text(&it, 1, "first"), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 51);
    assert_int_equal(it.fixture->received(it.peer, 51), 51);
    finish(&it);
}

/* ---- The window ----------------------------------------------------------------------------------------------------- */

static void a_full_window_takes_nothing_until_an_acknowledgement(void **state)
{
    subject it;
    begin(&it, state);
    it.fixture->hold(it.peer, true);
    for (uint64_t token = 1; token <= WINDOW; token++) {
        assert_int_equal(send_text(&it, token, "x"), BUSBAR_SEND_ACCEPTED);
    }
    assert_int_equal(send_text(&it, 100, "x"), BUSBAR_SEND_NOT_NOW);
    stay_quiet(&it);
    assert_int_equal(it.acked, 0);
    assert_int_equal(send_text(&it, 100, "x"), BUSBAR_SEND_NOT_NOW);
    it.fixture->hold(it.peer, false);
    wait_until(&it, &it.acked, 1);
    assert_int_equal(send_text(&it, 100, "x"), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, WINDOW + 1);
    assert_int_equal(it.fixture->received(it.peer, WINDOW + 1), WINDOW + 1);
    finish(&it);
}

/* ---- What is refused ------------------------------------------------------------------------------------------------ */

/* P11 */
static void a_refused_message_is_reported_with_a_reason(void **state)
{
    subject it;
    begin(&it, state);
    busbar_message sent = message(1, "x");
    sent.topic = it.fixture->refused_topic;
    assert_int_equal(send_message(&it, &sent), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.refused, 1);
    assert_int_equal(it.last.token, 1);
    assert_int_equal(it.last.verdict, it.fixture->refused_verdict);
    assert_int_equal(send_text(&it, 2, "after"), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    assert_int_equal(it.fixture->received(it.peer, 1), 1);
    assert_got(&it, 0, "after");
    finish(&it);
}

/* P11 */
static void an_oversize_message_is_dead(void **state)
{
    subject it;
    char large[2 * MAX_BYTES], fitting[MAX_BYTES / 2];
    const transport_setup setup = {.window = WINDOW, .topic = TOPIC, .max_bytes = MAX_BYTES};
    begin_with(&it, state, &setup);
    start(&it);
    wait_until(&it, &it.ups, 1);
    assert_in_range(it.last_up.max_message_bytes, MAX_BYTES / 2, 2 * MAX_BYTES);
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    memset(fitting, 'x', sizeof fitting - 1);
    fitting[sizeof fitting - 1] = '\0';
    assert_int_equal(send_text(&it, 1, large), BUSBAR_SEND_DEAD);
    assert_int_equal(send_text(&it, 2, fitting), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    assert_int_equal(it.fixture->received(it.peer, 1), 1);
    assert_int_equal(it.downs, 0);
    finish(&it);
}

/* Every size around the limit: taken and acknowledged, or dead at once; never a lost connection or a lost process. */
static void sizes_around_the_limit_are_safe(void **state)
{
    subject it;
    char payload[MAX_BYTES + 200];
    unsigned taken = 0;
    uint64_t token = 1;
    const transport_setup setup = {.window = WINDOW, .topic = TOPIC, .max_bytes = MAX_BYTES};
    begin_with(&it, state, &setup);
    start(&it);
    wait_until(&it, &it.ups, 1);
    memset(payload, 'x', sizeof payload);
    for (size_t size = MAX_BYTES - 100; size < sizeof payload; size++) {
        busbar_message sent = message(token++, "");
        sent.payload = payload;
        sent.payload_size_bytes = size;
        sent.content_type = size % 2 == 0 ? "text/plain" : NULL;
        if (send_message(&it, &sent) == BUSBAR_SEND_ACCEPTED) {
            wait_until(&it, &it.acked, ++taken);
        }
    }
    assert_in_range(taken, 1, 250);
    assert_int_equal(it.downs, 0);
    finish(&it);
}

static void a_topic_that_cannot_be_published_is_dead(void **state)
{
    static const char *const topics[] = {"", "a/+/b", "a/#", "#"};
    subject it;
    begin(&it, state);
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        busbar_message sent = message(1, "x");
        sent.topic = topics[i];
        assert_int_equal(send_message(&it, &sent), BUSBAR_SEND_DEAD);
    }
    assert_int_equal(send_text(&it, 1, "x"), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    finish(&it);
}

/* ---- Losing the connection ------------------------------------------------------------------------------------------ */

/* P3: what was under way is neither acknowledged later nor sent again by the transport. */
static void down_unsettles_everything_for_good(void **state)
{
    subject it;
    begin(&it, state);
    assert_int_equal(send_text(&it, 1, "before"), BUSBAR_SEND_ACCEPTED);
    wait_until(&it, &it.acked, 1);
    it.fixture->hold(it.peer, true);
    for (uint64_t token = 2; token <= WINDOW; token++) {
        assert_int_equal(send_text(&it, token, "lost"), BUSBAR_SEND_ACCEPTED);
    }
    it.fixture->link(it.peer, false);
    wait_until(&it, &it.downs, 1);
    assert_int_equal(it.fates[2], UNSETTLED);
    assert_int_equal(send_text(&it, 100, "x"), BUSBAR_SEND_NOT_NOW);
    it.fixture->link(it.peer, true);
    it.fixture->hold(it.peer, false);
    wait_until(&it, &it.ups, 2);
    for (uint64_t token = 101; token <= 100 + WINDOW; token++) { /* the whole window is free again */
        assert_int_equal(send_text(&it, token, "after"), BUSBAR_SEND_ACCEPTED);
    }
    wait_until(&it, &it.acked, 1 + WINDOW);
    stay_quiet(&it);
    assert_int_equal(it.acked, 1 + WINDOW);
    for (uint64_t token = 2; token <= WINDOW; token++) {
        assert_int_equal(it.fates[token], UNSETTLED);
    }
    finish(&it);
}

/* P6 */
static void it_reconnects_again_and_again(void **state)
{
    subject it;
    begin(&it, state);
    for (unsigned round = 1; round <= 3; round++) {
        unsigned downs = it.downs;
        it.fixture->link(it.peer, false);
        wait_until(&it, &it.downs, downs + 1);
        it.fixture->link(it.peer, true);
        wait_until(&it, &it.ups, round + 1);
        assert_int_equal(send_text(&it, round, "x"), BUSBAR_SEND_ACCEPTED);
        wait_until(&it, &it.acked, round);
    }
    finish(&it);
}

/* ---- Ending --------------------------------------------------------------------------------------------------------- */

static void nothing_is_reported_after_close(void **state)
{
    subject it;
    begin(&it, state);
    it.fixture->hold(it.peer, true);
    for (uint64_t token = 1; token <= 4; token++) {
        assert_int_equal(send_text(&it, token, "x"), BUSBAR_SEND_ACCEPTED);
    }
    close_transport(&it);
    it.fixture->hold(it.peer, false);
    stay_quiet(&it); /* on_event fails the test */
    assert_int_equal(send_text(&it, 9, "x"), BUSBAR_SEND_NOT_NOW);
    it.fixture->link(it.peer, false);
    stay_quiet(&it);
    finish(&it);
}

static void what_happened_before_close_is_dropped_by_it(void **state)
{
    subject it;
    begin(&it, state);
    assert_int_equal(send_text(&it, 1, "x"), BUSBAR_SEND_ACCEPTED);
    assert_int_equal(it.fixture->received(it.peer, 1), 1);
    if (transport_fd(&it) >= 0) {
        assert_true(is_readable(&it, DEADLINE_MS)); /* its acknowledgement is waiting */
    }
    close_transport(&it);
    if (transport_fd(&it) >= 0) {
        assert_false(is_readable(&it, 0));
    }
    stay_quiet(&it);
    finish(&it);
}

static void a_lost_connection_before_close_is_dropped_by_it(void **state)
{
    subject it;
    begin(&it, state);
    it.fixture->link(it.peer, false);
    if (transport_fd(&it) >= 0) {
        assert_true(is_readable(&it, DEADLINE_MS));
    }
    close_transport(&it);
    stay_quiet(&it);
    finish(&it);
}

static void it_stops_while_the_peer_is_away(void **state)
{
    subject it;
    const transport_setup setup = {.window = WINDOW, .topic = TOPIC, .absent = true};
    begin_with(&it, state, &setup);
    start(&it);
    wait_until(&it, &it.downs, 1);
    uint64_t before_ms = now_ms();
    finish(&it);
    assert_in_range(now_ms() - before_ms, 0, 5000);
}

/* ---- The descriptor ------------------------------------------------------------------------------------------------- */

static void the_descriptor_is_readable_while_there_is_something_to_report(void **state)
{
    subject it;
    begin_with(&it, state, &plain);
    if (transport_fd(&it) < 0) {
        finish(&it);
        print_message("this transport has no descriptor\n");
        skip();
    }
    int fd = transport_fd(&it);
    assert_false(is_readable(&it, 0));
    start(&it);
    assert_true(is_readable(&it, DEADLINE_MS));
    assert_true(is_readable(&it, 0)); /* still, for nobody has polled */
    collect(&it);
    assert_int_equal(it.ups, 1);
    assert_false(is_readable(&it, 0));
    assert_false(is_readable(&it, QUIET_MS));
    assert_int_equal(send_text(&it, 1, "x"), BUSBAR_SEND_ACCEPTED);
    assert_true(is_readable(&it, DEADLINE_MS));
    collect(&it);
    assert_int_equal(it.acked, 1);
    assert_false(is_readable(&it, 0));
    it.fixture->link(it.peer, false);
    assert_true(is_readable(&it, DEADLINE_MS));
    collect(&it);
    assert_int_equal(it.downs, 1);
    assert_int_equal(transport_fd(&it), fd);
    finish(&it);
}

#define CASE(function) cmocka_unit_test_prestate(function, state)

int transport_contract_run(const transport_fixture *fixture)
{
    void *state = (void *)(uintptr_t)fixture;
    const struct CMUnitTest cases[] = {
        CASE(every_required_slot_is_filled),
        CASE(close_and_stop_are_legal_without_start),
        CASE(start_reports_up_with_the_peers_limits),
        CASE(nothing_is_taken_before_up),
        CASE(an_absent_peer_is_reported_and_found_when_it_comes),
        CASE(an_accepted_message_arrives_and_is_acknowledged_once),
        CASE(every_quality_of_service_is_settled),
        CASE(an_empty_payload_is_a_message),
        CASE(any_bytes_arrive_as_they_are),
        CASE(order_is_kept),
        CASE(a_message_may_be_overwritten_after_send),
        CASE(sending_is_allowed_inside_the_callback),
        CASE(a_full_window_takes_nothing_until_an_acknowledgement),
        CASE(a_refused_message_is_reported_with_a_reason),
        CASE(an_oversize_message_is_dead),
        CASE(sizes_around_the_limit_are_safe),
        CASE(a_topic_that_cannot_be_published_is_dead),
        CASE(down_unsettles_everything_for_good),
        CASE(it_reconnects_again_and_again),
        CASE(nothing_is_reported_after_close),
        CASE(what_happened_before_close_is_dropped_by_it),
        CASE(a_lost_connection_before_close_is_dropped_by_it),
        CASE(it_stops_while_the_peer_is_away),
        CASE(the_descriptor_is_readable_while_there_is_something_to_report),
    };
    return cmocka_run_group_tests_name(fixture->name, cases, NULL, NULL);
}
