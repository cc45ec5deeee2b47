/* SPDX-License-Identifier: MIT */
/*
 * P11 with real processes: a handler that crashes the application, a transport that aborts it, a message at which the broker
 * hangs up. Each is found out; its neighbours get through; and a link that only flaps kills nothing.
 */
#include "test.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include "courier.h"
#include "device.h"
#include "mqtt_peer.h"
#include "proxy.h"
#include "scene.h"
#include "schedule.h"

#define EVENTS      100
#define EVENTS_TEXT "100"
#define POISON_TEXT "50"
#define ENDS        3 /* options.poison_ends is 3 by default, each with the event alone in hand */

static const char DEAD[] = "SELECT count(*) FROM busbar_exception WHERE state = 3";
static const char REASON[] = "SELECT reason FROM busbar_exception WHERE state = 3";
static const char POISON_REASON[] = "the process ended again and again while it had this event in hand";

/* ---- An application that comes down ------------------------------------------------------------------------------------- */

static const char *program(const char *variable)
{
    const char *path = getenv(variable);
    assert_non_null(path);
    return path;
}

/* True when it has ended by itself, false when the query answers with the number. */
static bool ends_before(scene *it, process *which, const char *query, int64_t value)
{
    uint64_t deadline_ms = broker_now_ms() + PROCESS_PATIENCE_MS;
    int status;
    while (waitpid(which->pid, &status, WNOHANG) == 0) {
        assert_true(broker_now_ms() < deadline_ms);
        if (scene_integer(it, query) == value)
            return false;
        process_look_again();
    }
    which->pid = 0;
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    return true;
}

/* Starts it again and again, as a service manager does, until it stays up and is done. How often it came down. */
static unsigned restart_until(scene *it, const char *how, const char *query, int64_t value)
{
    const char *const arguments[] = {
        program("VICTIM"), it->database, how, POISON_TEXT, strcmp(how, "transport") == 0 ? it->port_text : NULL, NULL};
    for (unsigned ends = 0; ends < 20; ends++) {
        process_start(&it->worker, it->directory, "victim.log", arguments);
        if (!ends_before(it, &it->worker, query, value))
            return ends;
        scene_assert_sound(it); /* P8 at each end */
    }
    fail_msg("it never stays up");
    return 0;
}

static void assert_found_out(scene *it, unsigned ends)
{
    char *reason = scene_text(it, REASON);
    print_message("dead after %u ends\n", ends);
    assert_string_equal(reason, POISON_REASON);
    assert_int_equal(scene_integer(it, DEAD), 1);
    assert_int_equal(scene_integer(it, "SELECT seq FROM busbar_exception"), strtol(POISON_TEXT, NULL, 10));
    assert_in_range(ends, ENDS, ENDS + 1); /* the first may have been before it was alone in hand */
    free(reason);
}

static void crash(scene *it, const char *how, bool exactly_once)
{
    scene_publish(it, &it->publisher, "pump", EVENTS_TEXT);
    unsigned ends = restart_until(it, how, "SELECT count(*) FROM handled", EVENTS - 1);
    scene_await_integer(it, "SELECT sum(cursor) FROM busbar_cursor WHERE lane = 0", EVENTS);
    assert_found_out(it, ends);
    if (exactly_once)
        assert_int_equal(scene_integer(it, "SELECT max(times) FROM handled"), 1);
    scene_publish(it, &it->publisher, "pump", "20"); /* and it works on */
    scene_await_integer(it, "SELECT count(*) FROM handled", EVENTS - 1 + 20);
    process_stop(&it->worker);
}

static void P11_a_handler_that_aborts(void **state)
{
    crash(*state, "abort", true);
}

static void P11_a_handler_that_breaks_memory(void **state)
{
    crash(*state, "segv", true);
}

static void P11_an_outside_handler_that_aborts(void **state)
{
    crash(*state, "outside", false);
}

static void P11_a_transport_that_aborts(void **state)
{
    scene *it = *state;
    scene_publish(it, &it->publisher, "pump", EVENTS_TEXT);
    scene_open_broker(it);
    unsigned ends = restart_until(it, "transport", "SELECT sum(cursor) FROM busbar_cursor WHERE lane = 0", EVENTS);
    assert_found_out(it, ends);
    receiver_await_reading(it->receiver, "pump", EVENTS);
    audit all = {.entries = NULL};
    audit_add(&all, &it->publisher);
    audit_seal(&all);
    audit_result result = audit_compare(&all, it->receiver);
    audit_free(&all);
    assert_int_equal(result.missing, 1);
    assert_int_equal(result.out_of_order, 0);
    process_stop(&it->worker);
}

/* ---- A broker that hangs up --------------------------------------------------------------------------------------------- */

#define TOPIC_POISON "devices/poison"

/* Written on the peer's thread. */
static atomic_int arrived[EVENTS + 100];
static atomic_int hung_up;

static void take(mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    char text[2048];
    long n = 0;
    snprintf(text, sizeof text, "%.*s", (int)(packet->size - 2), (const char *)packet->body + 2);
    if (strncmp(text, TOPIC_POISON, strlen(TOPIC_POISON)) == 0) {
        atomic_fetch_add(&hung_up, 1);
        mqtt_peer_hang_up(peer, true);
        return;
    }
    for (size_t i = 2; i + 4 < packet->size; i++) /* behind topic and properties, which hold NULs */
        if (memcmp(packet->body + i, "\"n\":", 4) == 0)
            n = strtol((const char *)packet->body + i + 4, NULL, 10);
    if (n > 0 && n < EVENTS + 100)
        atomic_fetch_add(&arrived[n], 1);
    mqtt_peer_puback(peer, packet->mid, 0);
}

static void hang_up_at_poison(mqtt_peer *peer, const mqtt_peer_packet *packet, void *ctx)
{
    (void)ctx;
    if (packet->type == MQTT_PEER_CONNECT)
        mqtt_peer_accept(peer);
    else if (packet->type == MQTT_PEER_PUBLISH)
        take(peer, packet);
    else if (packet->type == MQTT_PEER_PINGREQ)
        mqtt_peer_pong(peer);
}

static void publish_poison(scene *it)
{
    process publisher;
    const char *const arguments[] = {program("BUSBAR"), "publish", it->database, "poison", "--data", "{}", NULL};
    process_start(&publisher, it->directory, "poison.log", arguments);
    assert_int_equal(process_wait(&publisher), 0);
}

static int count_arrived(void)
{
    int count = 0;
    for (int n = 0; n < EVENTS + 100; n++)
        count += atomic_load(&arrived[n]) > 0;
    return count;
}

/* It is parked with its attempts counted, not dead, and stands in nobody's way. */
static void P11_a_message_at_which_the_broker_hangs_up(void **state)
{
    scene *it = *state;
    mqtt_peer *peer = mqtt_peer_start(hang_up_at_poison, NULL);
    scene_publish(it, &it->publisher, "pump", "50");
    publish_poison(it);
    scene_publish(it, &it->publisher, "pump", "50");
    courier sender = {.runner = NULL}; /* a relay waits longer and longer between such connections */
    const busbar_mosquitto_options options = {.size = sizeof options,
                                              .host = BROKER_HOST,
                                              .port = (uint16_t)mqtt_peer_port(peer),
                                              .window = 20,
                                              .reconnect_min_ms = 10,
                                              .reconnect_max_ms = 100};
    courier_start(&sender, it->database, &options);
    scene_await_integer(it, "SELECT count(*) FROM busbar_exception WHERE state = 2 AND attempts >= 1", 1);
    scene_await_integer(it, "SELECT sum(delivered) FROM busbar_cursor WHERE lane = 0", EVENTS);
    print_message("%d times hung up, %u connections\n", atomic_load(&hung_up), mqtt_peer_connections(peer));
    assert_int_equal(count_arrived(), EVENTS);
    assert_true(atomic_load(&hung_up) >= 3);
    assert_int_equal(scene_integer(it, DEAD), 0);
    courier_stop(&sender);
    mqtt_peer_stop(peer);
}

/* ---- A link that flaps -------------------------------------------------------------------------------------------------- */

static void P11_a_flapping_link_kills_nothing(void **state)
{
    scene *it = *state;
    size_t cuts = schedule_size(100, 2000);
    long last = 0;
    courier sender = {.runner = NULL};
    schedule_begin();
    scene_open_broker(it);
    proxy *between = proxy_start(it->port);
    const busbar_mosquitto_options options = {.size = sizeof options,
                                              .host = BROKER_HOST,
                                              .port = (uint16_t)proxy_port(between),
                                              .window = 20,
                                              .reconnect_min_ms = 1,
                                              .reconnect_max_ms = 5};
    courier_start(&sender, it->database, &options);
    for (size_t i = 0; i < cuts; i++) {
        if (receiver_count(it->receiver) + 100 > (size_t)last) {
            scene_publish(it, &it->publisher, "pump", "400");
            last += 400;
        }
        schedule_pass_below_ms(15);
        proxy_cut(between);
    }
    receiver_await_reading(it->receiver, "pump", last);
    scene_await_integer(it, "SELECT sum(cursor) FROM busbar_cursor WHERE lane = 0", last);
    scene_await_integer(it, "SELECT count(*) FROM busbar_exception WHERE state <> 3", 0);
    unsigned connections = proxy_connections(between);
    courier_stop(&sender);
    proxy_stop(between);
    print_message("%zu cuts, %u connections\n", cuts, connections);
    assert_int_equal(scene_integer(it, "SELECT count(*) FROM busbar_exception"), 0);
    assert_int_equal(scene_integer(it, "SELECT sum(delivered) FROM busbar_cursor WHERE lane = 0"), last);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, scene_tear_down)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(P11_a_handler_that_aborts),
        CASE(P11_a_handler_that_breaks_memory),
        CASE(P11_an_outside_handler_that_aborts),
        CASE(P11_a_transport_that_aborts),
        CASE(P11_a_message_at_which_the_broker_hangs_up),
        CASE(P11_a_flapping_link_kills_nothing),
    };
    return scene_run(cases);
}
