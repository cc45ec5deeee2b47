/* SPDX-License-Identifier: MIT */
/*
 * The MQTT transport against a scripted broker: what a real one does rarely, or never on request. Every case here was a
 * silent loss, a dead thread, a spinning processor or an abort in programs that use libmosquitto's own loops.
 */
#define _DEFAULT_SOURCE

#include "test.h"

#include <busbar/mosquitto.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker.h"
#include "mqtt_host.h"
#include "mqtt_peer.h"
#include "packet.h"

/* ---- The script ----------------------------------------------------------------------------------------------------- */

/* What the peer does. Set before it starts; what it counts is atomic. */
typedef struct plan {
    bool reset_at_accept, close_at_accept; /* on the first `times` connections */
    bool silent;                           /* never answers CONNECT */
    bool silent_later;                     /* nor from the second connection on */
    bool leave;                            /* ends the first connection as soon as it has accepted it */
    unsigned refuse_code;                  /* the CONNACK of the first `times` connections */
    unsigned times;
    bool answer_v311; /* refuses MQTT 5 in the words of MQTT 3.1.1 */
    const uint8_t *properties;
    size_t properties_size;
    const uint8_t *later_properties; /* of the second connection on */
    size_t later_properties_size;
    unsigned disconnect_code; /* instead of the first acknowledgement */
    unsigned puback_code;
    bool withhold;      /* acknowledges nothing */
    bool withhold_tens; /* acknowledges nothing before the tenth, then everything */
    unsigned forget;    /* the message that is never acknowledged, counted from 1 */
    bool on_tick;       /* acknowledges one message, the oldest, for each QoS 0 message */
    const char *reason_string;

    atomic_uint connects, publishes, dups, disconnects, unacked, most_unacked, version, last_wire_size;
    atomic_uint publishes_on_first;
    uint16_t waiting[512]; /* the peer's thread only */
    unsigned waiting_count;
    uint8_t connect_packet[512]; /* of the latest connection; read it when UP was seen */
    size_t connect_size;
} plan;

static void answer_connect(mqtt_peer *peer, const mqtt_peer_packet *packet, plan *it)
{
    bool first = packet->connection <= it->times;

    atomic_fetch_add(&it->connects, 1);
    atomic_store(&it->version, packet->version);
    it->connect_size = packet->size < sizeof it->connect_packet ? packet->size : sizeof it->connect_packet;
    memcpy(it->connect_packet, packet->body, it->connect_size);
    it->waiting_count = 0;
    atomic_store(&it->unacked, 0);
    if (it->silent || (it->silent_later && packet->connection > 1)) {
        return;
    }
    if (packet->version == 4) {
        mqtt_peer_connack_v311(peer, first && !it->answer_v311 ? it->refuse_code : 0);
    } else if (it->answer_v311) {
        mqtt_peer_connack_v311(peer, 1);
    } else if (first && it->refuse_code != 0) {
        mqtt_peer_connack(peer, it->refuse_code, it->properties, it->properties_size);
    } else if (packet->connection > 1 && it->later_properties != NULL) {
        mqtt_peer_connack(peer, 0, it->later_properties, it->later_properties_size);
    } else {
        mqtt_peer_connack(peer, 0, it->refuse_code == 0 ? it->properties : NULL,
                          it->refuse_code == 0 ? it->properties_size : 0);
    }
    if (it->leave && packet->connection == 1) {
        mqtt_peer_hang_up(peer, false);
    }
}

static void acknowledge(mqtt_peer *peer, plan *it, uint16_t mid)
{
    if (it->reason_string != NULL) {
        uint8_t packet[128] = {0x40, 0, (uint8_t)(mid >> 8), (uint8_t)mid, (uint8_t)it->puback_code};
        size_t length = strlen(it->reason_string);
        packet[5] = (uint8_t)(length + 3);
        packet[6] = 0x1f;
        packet[7] = 0;
        packet[8] = (uint8_t)length;
        memcpy(packet + 9, it->reason_string, length);
        packet[1] = (uint8_t)(7 + length);
        mqtt_peer_send(peer, packet, 9 + length);
    } else if (atomic_load(&it->version) == 4) {
        const uint8_t packet[] = {0x40, 2, (uint8_t)(mid >> 8), (uint8_t)mid};
        mqtt_peer_send(peer, packet, sizeof packet);
    } else {
        mqtt_peer_puback(peer, mid, it->puback_code);
    }
    atomic_fetch_sub(&it->unacked, 1);
}

static void acknowledge_oldest(mqtt_peer *peer, plan *it)
{
    if (it->waiting_count > 0) {
        acknowledge(peer, it, it->waiting[0]);
        it->waiting_count--;
        memmove(it->waiting, it->waiting + 1, it->waiting_count * sizeof it->waiting[0]);
    }
}

static void answer_publish(mqtt_peer *peer, const mqtt_peer_packet *packet, plan *it)
{
    unsigned number = atomic_fetch_add(&it->publishes, 1) + 1;

    atomic_store(&it->last_wire_size, (unsigned)packet->wire_size);
    atomic_fetch_add(&it->dups, (packet->flags & 0x08) != 0);
    atomic_fetch_add(&it->publishes_on_first, packet->connection == 1);
    if (packet->mid == 0) {
        if (it->on_tick) {
            acknowledge_oldest(peer, it);
        }
        return;
    }
    unsigned unacked = atomic_fetch_add(&it->unacked, 1) + 1;
    if (unacked > atomic_load(&it->most_unacked)) {
        atomic_store(&it->most_unacked, unacked);
    }
    if (number == it->forget) {
        return;
    }
    if (it->disconnect_code != 0 && packet->connection == 1) {
        const uint8_t disconnect[] = {0xe0, 1, (uint8_t)it->disconnect_code};
        mqtt_peer_send(peer, disconnect, sizeof disconnect);
        return;
    }
    if (it->withhold) {
        return;
    }
    if (it->withhold_tens || it->on_tick) {
        it->waiting[it->waiting_count++] = packet->mid;
        while (it->withhold_tens && number >= 10 && it->waiting_count > 0) {
            acknowledge_oldest(peer, it);
        }
        return;
    }
    acknowledge(peer, it, packet->mid);
}

static void follow_plan(mqtt_peer *peer, const mqtt_peer_packet *packet, void *context)
{
    plan *it = context;

    switch (packet->type) {
    case MQTT_PEER_ACCEPTED:
        if ((it->reset_at_accept || it->close_at_accept) && packet->connection <= it->times) {
            mqtt_peer_hang_up(peer, it->reset_at_accept);
        }
        break;
    case MQTT_PEER_CONNECT:
        answer_connect(peer, packet, it);
        break;
    case MQTT_PEER_PUBLISH:
        answer_publish(peer, packet, it);
        break;
    case MQTT_PEER_DISCONNECT:
        atomic_fetch_add(&it->disconnects, 1);
        break;
    default: /* a ping: stay silent */
        break;
    }
}

/* ---- Machinery ------------------------------------------------------------------------------------------------------ */

typedef struct site {
    plan plan;
    mqtt_peer *peer;
    mqtt_host host;
    busbar_mosquitto_options options;
} site;

static site *prepare(const plan *wanted)
{
    site *it = calloc(1, sizeof *it);
    assert_non_null(it);
    memcpy(&it->plan, wanted, sizeof *wanted); /* its atomics are still zero */
    it->peer = mqtt_peer_start(follow_plan, &it->plan);
    it->options = mqtt_host_options(mqtt_peer_port(it->peer));
    return it;
}

static site *begin(const plan *wanted)
{
    site *it = prepare(wanted);
    mqtt_host_start(&it->host, &it->options);
    return it;
}

static site *begin_up(const plan *wanted)
{
    site *it = begin(wanted);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    return it;
}

static void finish(site *it)
{
    mqtt_host_stop(&it->host);
    mqtt_peer_stop(it->peer);
    free(it);
}

static void send_text(site *it, uint64_t token)
{
    assert_int_equal(mqtt_host_send(&it->host, token, "t", "x"), BUSBAR_SEND_ACCEPTED);
}

/* Waits for a count of the peer's. */
static void wait_for_peer(site *it, atomic_uint *counter, unsigned at_least)
{
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    while (atomic_load(counter) < at_least) {
        assert_true(broker_now_ms() < deadline_ms);
        mqtt_host_idle(&it->host, 2);
    }
}

static double cpu_s(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- Versions ------------------------------------------------------------------------------------------------------- */

static void expect_fall_back(const plan *wanted)
{
    site *it = begin_up(wanted);
    assert_int_equal(it->host.downs, 1); /* the refusal was reported */
    assert_non_null(strstr(it->host.last_down.reason.text, "unsupported protocol version (0x84)"));
    assert_int_equal(atomic_load(&it->plan.version), 4);
    send_text(it, 1);
    mqtt_host_wait(&it->host, &it->host.acked, 1);
    finish(it);
}

static void it_falls_back_to_311(void **state)
{
    (void)state;
    expect_fall_back(&(plan){.refuse_code = 0x84, .times = 1});
    expect_fall_back(&(plan){.answer_v311 = true});
}

static void it_does_not_fall_back_from_a_chosen_version(void **state)
{
    const plan wanted = {.answer_v311 = true};
    (void)state;
    site *it = prepare(&wanted);
    it->options.protocol = BUSBAR_MOSQUITTO_V5;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.downs, 3);
    assert_int_equal(it->host.ups, 0);
    assert_int_equal(atomic_load(&it->plan.version), 5);
    finish(it);
}

/* ---- Identity ------------------------------------------------------------------------------------------------------- */

/* Behind protocol name, version, flags and keepalive, with MQTT 5 also behind the properties. */
static void read_client_id(const plan *it, char out[64])
{
    size_t at = 10;
    if (it->connect_packet[6] == 5) {
        at += 1u + it->connect_packet[at];
    }
    size_t length = ((size_t)it->connect_packet[at] << 8) + it->connect_packet[at + 1];
    assert_in_range(length, 1, 63);
    memcpy(out, it->connect_packet + at + 2, length);
    out[length] = '\0';
}

static void a_random_client_id_is_kept_over_reconnects(void **state)
{
    char first[64], second[64];
    const plan wanted = {.disconnect_code = 0x8b};
    (void)state;
    site *it = begin_up(&wanted);
    read_client_id(&it->plan, first);
    assert_int_equal(strlen(first), 23);
    assert_int_equal(strspn(first, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), 23);
    assert_int_equal(it->plan.connect_packet[7] & 0x02, 0x02); /* clean start */
    send_text(it, 1);
    mqtt_host_wait(&it->host, &it->host.ups, 2);
    read_client_id(&it->plan, second);
    assert_string_equal(first, second);
    finish(it);
}

static void a_given_client_id_and_login_are_sent(void **state)
{
    static const uint8_t login[] = "\0\6device\0\5right";
    char id[64];
    const plan wanted = {0};
    (void)state;
    site *it = prepare(&wanted);
    it->options.client_id = "pump-7";
    it->options.username = "device";
    it->options.password = "right";
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    read_client_id(&it->plan, id);
    assert_string_equal(id, "pump-7");
    assert_memory_equal(it->plan.connect_packet + it->plan.connect_size - (sizeof login - 1), login, sizeof login - 1);
    finish(it);
}

/* ---- Refused and ended connections ---------------------------------------------------------------------------------- */

/* libmosquitto's loops take any such CONNACK of MQTT 5 for the end of all things. */
static void a_refused_connection_is_tried_again(void **state)
{
    const plan wanted = {.refuse_code = 0x88, .times = 3};
    (void)state;
    site *it = begin_up(&wanted);
    assert_int_equal(it->host.last_down.reason.code, 0x88);
    assert_non_null(strstr(it->host.last_down.reason.text, "server unavailable (0x88)"));
    assert_int_equal(atomic_load(&it->plan.connects), 4);
    finish(it);
}

static void the_brokers_own_words_are_passed_on(void **state)
{
    static const uint8_t properties[] = "\x1c\0\x0dother.example";
    const plan wanted = {
        .refuse_code = 0x9d, .times = 1, .properties = properties, .properties_size = sizeof properties - 1};
    (void)state;
    site *it = begin_up(&wanted);
    assert_non_null(strstr(it->host.last_down.reason.text, "server moved (0x9d); the broker says: other.example"));
    finish(it);
}

/* And a DISCONNECT they take for the application's own wish. */
static void a_connection_ended_by_the_broker_is_made_again(void **state)
{
    const plan wanted = {.disconnect_code = 0x8e};
    (void)state;
    site *it = begin_up(&wanted);
    send_text(it, 1);
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    assert_int_equal(it->host.last_down.reason.code, 0x8e);
    assert_non_null(
        strstr(it->host.last_down.reason.text, "session taken over (0x8e); another client uses the same client_id"));
    mqtt_host_wait(&it->host, &it->host.ups, 2);
    send_text(it, 2);
    mqtt_host_wait(&it->host, &it->host.acked, 1);
    finish(it);
}

static void a_silent_peer_is_given_up(void **state)
{
    const plan wanted = {.silent = true};
    (void)state;
    site *it = prepare(&wanted);
    it->options.connect_timeout_ms = 100;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.downs, 3);
    assert_non_null(strstr(it->host.last_down.reason.text, "did not answer within 100 ms"));
    finish(it);
}

static void expect_calm_retries(const plan *wanted, bool tls, const char *reason)
{
    site *it = prepare(wanted);
    it->options.tls.enabled = tls;
    it->options.connect_timeout_ms = 300;
    double before_s = cpu_s();
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.downs, 3);
    if (strstr(it->host.last_down.reason.text, reason) == NULL) {
        fail_msg("no '%s' in: %s", reason, it->host.last_down.reason.text);
    }
    assert_int_equal(it->host.ups, 0);
    assert_true(cpu_s() - before_s < 0.6);
    finish(it);
}

static void hanging_up_costs_no_processor(void **state)
{
    (void)state;
    expect_calm_retries(&(plan){.close_at_accept = true, .times = 1000}, false, "closed the connection before it");
    expect_calm_retries(&(plan){.reset_at_accept = true, .times = 1000}, false, "before it accepted");
}

/* The reset is what libmosquitto takes for "try again", with a socket that then polls as ready for ever. */
static void hanging_up_in_the_tls_handshake_costs_no_processor(void **state)
{
    (void)state;
    expect_calm_retries(&(plan){.close_at_accept = true, .times = 1000}, true, "TLS");
    expect_calm_retries(&(plan){.reset_at_accept = true, .times = 1000}, true, "TLS");
    expect_calm_retries(&(plan){.silent = true}, true, "did not answer within 300 ms");
}

/* The first bytes of a TLS connection are readable by anyone: the name of the protocol is among them. */
static void the_application_protocol_is_named_in_the_handshake(void **state)
{
    static const char name[] = "x-busbar-test";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char bytes[4096];
    mqtt_host host;
    bool found = false;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    busbar_mosquitto_options options = mqtt_host_options(ntohs(address.sin_port));
    options.tls.enabled = true;
    options.tls.alpn = name;
    mqtt_host_start(&host, &options);
    int connection = accept(listener, NULL, NULL);
    ssize_t got = recv(connection, bytes, sizeof bytes, 0);
    for (ssize_t i = 0; i + (ssize_t)sizeof name - 1 <= got && !found; i++) {
        found = memcmp(bytes + i, name, sizeof name - 1) == 0;
    }
    assert_true(found);
    close(connection);
    close(listener);
    mqtt_host_stop(&host);
}

/* ---- Acknowledgements ----------------------------------------------------------------------------------------------- */

static void every_reason_code_has_its_outcome(void **state)
{
    static const struct {
        unsigned code;
        int outcome; /* 0 acknowledged, 1 retry, 2 dead */
    } codes[] = {{0x00, 0}, {0x10, 0}, {0x80, 1}, {0x87, 1}, {0x97, 1}, {0x83, 2},
                 {0x90, 2}, {0x95, 2}, {0x99, 2}, {0x9b, 2}, {0x7f, 0}, {0xf0, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const plan wanted = {.puback_code = codes[i].code};
        site *it = begin_up(&wanted);
        send_text(it, 1);
        mqtt_host_wait(&it->host, codes[i].outcome == 0 ? &it->host.acked : &it->host.refused, 1);
        if (codes[i].outcome != 0) {
            assert_int_equal(it->host.last_refused.reason.code, codes[i].code);
            assert_int_equal(it->host.last_refused.verdict,
                             codes[i].outcome == 1 ? BUSBAR_REFUSED_RETRY : BUSBAR_REFUSED_DEAD);
        }
        assert_int_equal(it->host.downs, 0);
        finish(it);
    }
}

static void a_used_packet_identifier_ends_the_connection(void **state)
{
    const plan wanted = {.puback_code = 0x91};
    (void)state;
    site *it = begin_up(&wanted);
    send_text(it, 1);
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    assert_int_equal(it->host.last_down.reason.code, 0x91);
    assert_int_equal(it->host.acked + it->host.refused, 0);
    finish(it);
}

static void a_refusal_passes_the_brokers_words_on(void **state)
{
    const plan wanted = {.puback_code = 0x97, .reason_string = "daily quota used up"};
    (void)state;
    site *it = begin_up(&wanted);
    send_text(it, 1);
    mqtt_host_wait(&it->host, &it->host.refused, 1);
    assert_non_null(strstr(it->host.last_refused.reason.text, "quota exceeded (0x97); the broker says: daily quota"));
    finish(it);
}

/* MQTT 5 forbids sending again on the same connection: what is not acknowledged in time ends it. Nor is anything sent
   again by the transport on the next one: that is the bus's business (P3). */
static void a_missing_acknowledgement_ends_the_connection(void **state)
{
    const plan wanted = {.withhold = true};
    (void)state;
    site *it = prepare(&wanted);
    it->options.ack_timeout_ms = 200;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    send_text(it, 1);
    send_text(it, 2);
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    assert_non_null(strstr(it->host.last_down.reason.text, "did not acknowledge a message within 200 ms"));
    mqtt_host_wait(&it->host, &it->host.ups, 2);
    send_text(it, 3);
    wait_for_peer(it, &it->plan.publishes, 3);
    assert_int_equal(atomic_load(&it->plan.publishes_on_first), 2);
    assert_int_equal(atomic_load(&it->plan.publishes), 3);
    assert_int_equal(atomic_load(&it->plan.dups), 0);
    finish(it);
}

static busbar_send_result send_tick(site *it, uint64_t token)
{
    busbar_reason reason;
    const busbar_message tick = {.size = sizeof tick, .token = token, .topic = "tick", .qos = 0};
    return it->host.transport.api->send(it->host.transport.ctx, &tick, &reason);
}

/* Behind a slow link the last of a window waits longer than the timeout, and is no reason to give up. */
static void acknowledgements_in_order_have_time(void **state)
{
    const plan wanted = {.on_tick = true};
    (void)state;
    site *it = prepare(&wanted);
    it->options.ack_timeout_ms = 400;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    for (uint64_t token = 1; token <= 8; token++) {
        send_text(it, token);
    }
    for (unsigned i = 0; i < 8; i++) {
        mqtt_host_idle(&it->host, 150);
        assert_int_equal(send_tick(it, 100 + i), BUSBAR_SEND_ACCEPTED);
    }
    mqtt_host_wait(&it->host, &it->host.acked, 16);
    assert_int_equal(it->host.downs, 0);
    finish(it);
}

/* But one that later ones have overtaken is lost, however lively the connection is. */
static void an_overtaken_message_does_not_wait_for_ever(void **state)
{
    const plan wanted = {.forget = 1};
    (void)state;
    site *it = prepare(&wanted);
    it->options.ack_timeout_ms = 400;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    send_text(it, 1);
    for (uint64_t token = 2; it->host.downs == 0 && token < 60; token++) {
        send_text(it, token);
        mqtt_host_idle(&it->host, 50);
    }
    assert_int_equal(it->host.downs, 1);
    assert_non_null(strstr(it->host.last_down.reason.text, "did not acknowledge a message within 400 ms"));
    assert_in_range(it->host.acked, 4, 20);
    finish(it);
}

/* The library hands out packet identifiers that are still in use: 65535 messages later an acknowledgement would settle the
   wrong event. */
static void packet_identifiers_never_come_round(void **state)
{
    const plan wanted = {.forget = 1};
    uint64_t token = 1;
    (void)state;
    site *it = begin_up(&wanted);
    while (it->host.downs == 0 && token < 70000) {
        if (mqtt_host_send(&it->host, token, "t", "x") == BUSBAR_SEND_ACCEPTED) {
            token++;
        } else if (it->host.up) {
            mqtt_host_idle(&it->host, 1);
        }
        mqtt_host_poll(&it->host);
    }
    assert_int_equal(it->host.downs, 1);
    assert_non_null(strstr(it->host.last_down.reason.text, "did not acknowledge a message, but 50000 after it"));
    finish(it);
}

/* ---- The broker's limits -------------------------------------------------------------------------------------------- */

static void the_receive_maximum_bounds_what_is_under_way(void **state)
{
    static const uint8_t three[] = {0x21, 0, 3};
    static const uint8_t many[] = {0x21, 1, 0x90};
    const plan small = {.withhold_tens = true, .properties = three, .properties_size = sizeof three};
    const plan large = {.withhold = true, .properties = many, .properties_size = sizeof many};
    (void)state;
    site *it = begin_up(&small);
    assert_int_equal(it->host.last_up.window, 3);
    for (uint64_t token = 1; token <= 3; token++) {
        send_text(it, token);
    }
    assert_int_equal(mqtt_host_send(&it->host, 4, "t", "x"), BUSBAR_SEND_NOT_NOW);
    wait_for_peer(it, &it->plan.publishes, 3);
    finish(it);

    it = prepare(&large); /* libmosquitto would let a larger value replace ours */
    it->options.window = 5;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    assert_int_equal(it->host.last_up.window, 5);
    for (uint64_t token = 1; token <= 5; token++) {
        send_text(it, token);
    }
    assert_int_equal(mqtt_host_send(&it->host, 6, "t", "x"), BUSBAR_SEND_NOT_NOW);
    wait_for_peer(it, &it->plan.publishes, 5);
    mqtt_host_idle(&it->host, 50);
    assert_int_equal(atomic_load(&it->plan.most_unacked), 5);
    finish(it);
}

/* libmosquitto's own window is 20 where the broker tells none. */
static void without_a_receive_maximum_the_whole_window_is_under_way(void **state)
{
    (void)state;
    for (int version = 4; version <= 5; version++) {
        const plan wanted = {.withhold = true};
        site *it = prepare(&wanted);
        it->options.protocol = (busbar_mosquitto_protocol)version;
        it->options.window = 60;
        mqtt_host_start(&it->host, &it->options);
        mqtt_host_wait(&it->host, &it->host.ups, 1);
        for (uint64_t token = 1; token <= 60; token++) {
            send_text(it, token);
        }
        wait_for_peer(it, &it->plan.publishes, 60);
        finish(it);
    }
}

/* libmosquitto 2.0.11 aborts the process for a message that it holds when a connection brings a smaller limit (P11). */
static void a_smaller_limit_after_reconnecting_is_survived(void **state)
{
    static const uint8_t limit_1000[] = {0x27, 0, 0, 3, 0xe8};
    static const uint8_t limit_60[] = {0x27, 0, 0, 0, 60};
    const plan wanted = {.disconnect_code = 0x8b,
                         .properties = limit_1000,
                         .properties_size = sizeof limit_1000,
                         .later_properties = limit_60,
                         .later_properties_size = sizeof limit_60};
    char payload[501];
    (void)state;
    memset(payload, 'x', 500);
    payload[500] = '\0';
    site *it = begin_up(&wanted);
    for (uint64_t token = 1; token <= 20; token++) {
        assert_int_equal(mqtt_host_send(&it->host, token, "t", payload), BUSBAR_SEND_ACCEPTED);
    }
    mqtt_host_wait(&it->host, &it->host.ups, 2);
    assert_int_equal(mqtt_host_send(&it->host, 21, "t", payload), BUSBAR_SEND_DEAD);
    for (size_t size = 30; size <= 60; size++) { /* up to the very limit */
        payload[size] = '\0';
        busbar_send_result result = mqtt_host_send(&it->host, 100 + size, "t", payload);
        assert_true(result == BUSBAR_SEND_ACCEPTED || (result == BUSBAR_SEND_DEAD && size > 40));
        payload[size] = 'x';
        mqtt_host_idle(&it->host, 1);
    }
    assert_int_equal(mqtt_host_send(&it->host, 200, "t", "x"), BUSBAR_SEND_ACCEPTED);
    while (it->host.last_token != 200) {
        mqtt_host_wait(&it->host, &it->host.acked, it->host.acked + 1);
    }
    assert_int_equal(it->host.downs, 1);
    finish(it);
}

static void a_broker_without_qos_says_so_at_once(void **state)
{
    static const uint8_t at_most_once[] = {0x24, 0};
    const plan wanted = {.properties = at_most_once, .properties_size = sizeof at_most_once};
    busbar_reason reason = {0};
    (void)state;
    site *it = begin_up(&wanted);
    busbar_message message = {.size = sizeof message, .token = 1, .topic = "t", .qos = 1};
    assert_int_equal(it->host.transport.api->send(it->host.transport.ctx, &message, &reason), BUSBAR_SEND_DEAD);
    assert_string_equal(reason.text, "QoS 1 is asked for, the broker takes 0");
    message.qos = 0;
    assert_int_equal(it->host.transport.api->send(it->host.transport.ctx, &message, &reason), BUSBAR_SEND_ACCEPTED);
    mqtt_host_wait(&it->host, &it->host.acked, 1);
    finish(it);
}

/* The size that decides whether a message is dead is the size on the wire. */
static void sizes_are_those_on_the_wire(void **state)
{
    static const size_t payloads[] = {0, 1, 100, 110, 120, 127, 128, 129, 16370, 16384, 100000};
    static char bytes[100000];
    (void)state;
    for (int version = 4; version <= 5; version++) {
        const plan wanted = {0};
        site *it = prepare(&wanted);
        it->options.protocol = (busbar_mosquitto_protocol)version;
        mqtt_host_start(&it->host, &it->options);
        mqtt_host_wait(&it->host, &it->host.ups, 1);
        const bb_mosquitto_limits limits = {.v5 = version == 5, .max_qos = 2};
        uint64_t token = 0;
        for (size_t i = 0; i < sizeof payloads / sizeof payloads[0] * 4; i++) {
            busbar_reason reason;
            const busbar_message message = {
                .size = sizeof message,
                .token = ++token,
                .topic = "devices/a/temperature",
                .payload = bytes,
                .payload_size_bytes = payloads[i / 4],
                .content_type = (i & 2) != 0 ? "application/cloudevents+json" : NULL,
                .expiry_s = (i & 1) != 0 ? 100 : 0,
                .qos = 1,
            };
            assert_int_equal(it->host.transport.api->send(it->host.transport.ctx, &message, &reason),
                             BUSBAR_SEND_ACCEPTED);
            mqtt_host_wait(&it->host, &it->host.acked, (unsigned)token);
            assert_int_equal(bb_mosquitto_packet_size(&limits, &message), atomic_load(&it->plan.last_wire_size));
        }
        finish(it);
    }
}

/* ---- Times that pass, ends ------------------------------------------------------------------------------------------ */

static void an_unanswered_ping_ends_the_connection(void **state)
{
    const plan wanted = {0};
    (void)state;
    site *it = prepare(&wanted);
    it->options.keepalive_s = 5; /* the shortest that libmosquitto takes */
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    mqtt_host_wait_reason(&it->host, "did not answer the keepalive ping");
    finish(it);
}

static void closing_says_goodbye(void **state)
{
    const plan wanted = {0};
    (void)state;
    site *it = begin_up(&wanted);
    send_text(it, 1);
    mqtt_host_wait(&it->host, &it->host.acked, 1);
    mqtt_host_stop(&it->host);
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    while (atomic_load(&it->plan.disconnects) == 0) {
        assert_true(broker_now_ms() < deadline_ms);
        poll(NULL, 0, 1);
    }
    mqtt_peer_stop(it->peer);
    free(it);
}

/* Between the end of a connection and the DOWN that tells of it nothing is taken, and nor before the next UP was seen: it
   would be unsettled by a DOWN that came before it, and acknowledged later all the same (P3). */
static void expect_nothing_is_taken_unseen(const plan *wanted)
{
    site *it = begin_up(wanted);
    send_text(it, 1);
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    while (atomic_load(&it->plan.connects) < 2) { /* without polling */
        assert_true(broker_now_ms() < deadline_ms);
        poll(NULL, 0, 1);
    }
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(mqtt_host_send(&it->host, 2, "t", "x"), BUSBAR_SEND_NOT_NOW);
        poll(NULL, 0, 1);
    }
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    assert_int_equal(it->host.acked, 0);
    finish(it);
}

static void nothing_is_taken_between_unseen_changes(void **state)
{
    (void)state;
    expect_nothing_is_taken_unseen(&(plan){.disconnect_code = 0x8b, .silent_later = true});
    expect_nothing_is_taken_unseen(&(plan){.disconnect_code = 0x8b});
}

/* A host that does not poll for days must not find days of failures in memory (P9). */
static void unseen_failures_are_merged(void **state)
{
    const plan wanted = {.refuse_code = 0x88, .times = 5};
    (void)state;
    site *it = begin(&wanted);
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    while (atomic_load(&it->plan.connects) < 6) {
        assert_true(broker_now_ms() < deadline_ms);
        poll(NULL, 0, 1);
    }
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    assert_in_range(it->host.downs, 1, 2);
    finish(it);
}

static void a_connection_that_came_and_went_unseen_is_down(void **state)
{
    const plan wanted = {.leave = true, .silent_later = true};
    (void)state;
    site *it = begin(&wanted);
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    while (atomic_load(&it->plan.connects) < 2) { /* without polling */
        assert_true(broker_now_ms() < deadline_ms);
        poll(NULL, 0, 1);
    }
    mqtt_host_poll(&it->host);
    assert_int_equal(it->host.ups, 0);
    assert_int_equal(it->host.downs, 1);
    finish(it);
}

static unsigned lowest_descriptor(void)
{
    int fd = dup(0);
    assert_true(fd >= 0);
    close(fd);
    return (unsigned)fd;
}

/* A listener whose queue is full drops every SYN: the connect then hangs in the system, as with a silent address. */
static void stopping_does_not_wait_for_a_hanging_connect(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fillers[8];
    mqtt_host host;
    unsigned before = lowest_descriptor();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    for (size_t i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, size);
    }
    busbar_mosquitto_options options = mqtt_host_options(ntohs(address.sin_port));
    mqtt_host_start(&host, &options);
    mqtt_host_idle(&host, 200); /* it hangs by now */
    assert_int_equal(host.downs + host.ups, 0);
    uint64_t start_ms = broker_now_ms();
    mqtt_host_stop(&host);
    assert_in_range(broker_now_ms() - start_ms, 0, 3500);
    for (size_t i = 0; i < 8; i++) {
        close(fillers[i]);
    }
    close(listener); /* the next SYN is refused: the thread ends, and frees everything by itself */
    while (lowest_descriptor() != before) {
        assert_true(broker_now_ms() < start_ms + 30000);
        poll(NULL, 0, 10);
    }
}

static void start_is_refused_a_second_time(void **state)
{
    busbar_reason reason = {0};
    const plan wanted = {0};
    (void)state;
    site *it = begin_up(&wanted);
    assert_int_equal(it->host.transport.api->start(it->host.transport.ctx, &reason), -1);
    assert_true(strlen(reason.text) > 0);
    finish(it);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(it_falls_back_to_311),
        cmocka_unit_test(it_does_not_fall_back_from_a_chosen_version),
        cmocka_unit_test(a_random_client_id_is_kept_over_reconnects),
        cmocka_unit_test(a_given_client_id_and_login_are_sent),
        cmocka_unit_test(a_refused_connection_is_tried_again),
        cmocka_unit_test(the_brokers_own_words_are_passed_on),
        cmocka_unit_test(a_connection_ended_by_the_broker_is_made_again),
        cmocka_unit_test(a_silent_peer_is_given_up),
        cmocka_unit_test(hanging_up_costs_no_processor),
        cmocka_unit_test(hanging_up_in_the_tls_handshake_costs_no_processor),
        cmocka_unit_test(the_application_protocol_is_named_in_the_handshake),
        cmocka_unit_test(every_reason_code_has_its_outcome),
        cmocka_unit_test(a_used_packet_identifier_ends_the_connection),
        cmocka_unit_test(a_refusal_passes_the_brokers_words_on),
        cmocka_unit_test(a_missing_acknowledgement_ends_the_connection),
        cmocka_unit_test(acknowledgements_in_order_have_time),
        cmocka_unit_test(an_overtaken_message_does_not_wait_for_ever),
        cmocka_unit_test(packet_identifiers_never_come_round),
        cmocka_unit_test(the_receive_maximum_bounds_what_is_under_way),
        cmocka_unit_test(without_a_receive_maximum_the_whole_window_is_under_way),
        cmocka_unit_test(a_smaller_limit_after_reconnecting_is_survived),
        cmocka_unit_test(a_broker_without_qos_says_so_at_once),
        cmocka_unit_test(sizes_are_those_on_the_wire),
        cmocka_unit_test(an_unanswered_ping_ends_the_connection),
        cmocka_unit_test(closing_says_goodbye),
        cmocka_unit_test(nothing_is_taken_between_unseen_changes),
        cmocka_unit_test(unseen_failures_are_merged),
        cmocka_unit_test(a_connection_that_came_and_went_unseen_is_down),
        cmocka_unit_test(stopping_does_not_wait_for_a_hanging_connect),
        cmocka_unit_test(start_is_refused_a_second_time),
    };
    return cmocka_run_group_tests_name("mosquitto with a scripted broker", cases, NULL, NULL);
}
