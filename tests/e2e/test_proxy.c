/* SPDX-License-Identifier: MIT */
/*
 * A bad network between the relay and a real broker: everything arrives over it, in order (P4), and what comes twice is
 * what was on its way when a connection ended (P3). What stands still goes on within 1 s of a sign that it can (P6).
 */
#include "test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "courier.h"
#include "proxy.h"
#include "scene.h"
#include "schedule.h"

#define WINDOW   20
#define LIMIT_MS 1000
#define LONG_MS  60000 /* a wait that is never the reason */

/* ---- The proxy itself --------------------------------------------------------------------------------------------------- */

static int open_listener(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static int connect_to(unsigned port)
{
    const struct timeval patience = {.tv_sec = 10};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void expect_bytes(int fd, const char *text)
{
    char bytes[64] = "";
    assert_int_equal(recv(fd, bytes, strlen(text), MSG_WAITALL), strlen(text));
    assert_string_equal(bytes, text);
}

static void the_proxy_delays_cuts_and_falls_silent(void **state)
{
    char byte;
    unsigned port = broker_free_port();
    int listener = open_listener(port);
    proxy *it = proxy_start(port);
    (void)state;

    int client = connect_to(proxy_port(it));
    int server = accept(listener, NULL, NULL);
    proxy_delay(it, 150);
    uint64_t begun_ms = broker_now_ms();
    assert_int_equal(send(client, "question", 8, 0), 8);
    expect_bytes(server, "question");
    assert_in_range(broker_now_ms() - begun_ms, 145, 1000);
    proxy_delay(it, 0);
    assert_int_equal(send(server, "answer", 6, 0), 6);
    expect_bytes(client, "answer");
    assert_int_equal(proxy_carried(it, PROXY_UP), 8);
    assert_int_equal(proxy_carried(it, PROXY_DOWN), 6);

    proxy_black_hole(it, true);
    assert_int_equal(send(client, "kept", 4, 0), 4);
    poll(NULL, 0, 50); /* time for what must not happen */
    assert_int_equal(recv(server, &byte, 1, MSG_DONTWAIT), -1);
    proxy_black_hole(it, false);
    expect_bytes(server, "kept");
    close(client);
    assert_int_equal(recv(server, &byte, 1, 0), 0);
    close(server);

    proxy_cut_after(it, PROXY_UP, 3);
    client = connect_to(proxy_port(it));
    server = accept(listener, NULL, NULL);
    assert_int_equal(send(client, "12345", 5, 0), 5);
    expect_bytes(server, "123");
    assert_int_equal(recv(server, &byte, 1, 0), 0);
    assert_true(recv(client, &byte, 1, 0) <= 0);
    close(client);
    close(server);

    proxy_refuse(it, true);
    client = connect_to(proxy_port(it));
    assert_true(recv(client, &byte, 1, 0) <= 0);
    close(client);
    assert_int_equal(proxy_connections(it), 2);
    assert_int_equal(proxy_open(it), 0);
    proxy_stop(it);
    close(listener);
}

/* ---- The relay behind it ------------------------------------------------------------------------------------------------ */

typedef struct trial {
    scene *scene;
    proxy *proxy;
    courier courier;
    busbar_mosquitto_options options;
} trial;

static int set_up(void **state)
{
    trial *it = calloc(1, sizeof *it);
    void *inner = NULL;
    assert_non_null(it);
    scene_set_up(&inner);
    it->scene = inner;
    it->proxy = proxy_start(it->scene->port);
    scene_open_broker(it->scene);
    it->options = (busbar_mosquitto_options){.size = sizeof it->options,
                                             .host = BROKER_HOST,
                                             .port = (uint16_t)proxy_port(it->proxy),
                                             .window = WINDOW,
                                             .reconnect_min_ms = 20,
                                             .reconnect_max_ms = 100,
                                             .connect_timeout_ms = 1500,
                                             .ack_timeout_ms = 1500};
    *state = it;
    return 0;
}

static int tear_down(void **state)
{
    trial *it = *state;
    void *inner = it->scene;
    if (it->courier.runner != NULL)
        busbar_runner_stop(it->courier.runner);
    proxy_stop(it->proxy);
    scene_tear_down(&inner);
    free(it);
    return 0;
}

static void publish(trial *it, const char *count)
{
    scene_publish(it->scene, &it->scene->publisher, "pump", count);
}

static void start(trial *it)
{
    courier_start(&it->courier, it->scene->database, &it->options);
}

/* Waits for the last event, and compares. A connection that ends has a window on its way at most. */
static void conclude(trial *it, long last, const char *what)
{
    receiver_await_reading(it->scene->receiver, "pump", last);
    courier_stop(&it->courier);
    unsigned connections = proxy_connections(it->proxy);
    print_message("%s: %u connections\n", what, connections);
    audit_assert_delivered(&it->scene->publisher, 1, it->scene->receiver, WINDOW * (size_t)(connections - 1));
}

/* Slow is not dead: not for the transport's timers, and not when it is told to look at the connection. */
static void P3_a_slow_network_costs_time_and_nothing_else(void **state)
{
    trial *it = *state;
    proxy_delay(it->proxy, 200);
    publish(it, "200");
    start(it);
    for (size_t i = 0; i < 150 / WINDOW; i++) {
        receiver_await(it->scene->receiver, i * WINDOW + 1);
        assert_int_equal(busbar_mosquitto_link_up(it->courier.transport), BUSBAR_OK);
    }
    conclude(it, 200, "200 ms each way");
    assert_int_equal(proxy_connections(it->proxy), 1);
}

static void drain_over_cuts(trial *it, proxy_way way, size_t bytes, const char *what)
{
    size_t count = schedule_size(400, 4000);
    char text[16];
    snprintf(text, sizeof text, "%zu", count);
    proxy_cut_after(it->proxy, way, bytes);
    publish(it, text);
    start(it);
    conclude(it, (long)count, what);
    assert_true(proxy_connections(it->proxy) > 5);
}

static void P3_cuts_in_what_is_sent_cost_nothing_but_duplicates(void **state)
{
    drain_over_cuts(*state, PROXY_UP, 12000, "cut after 12,000 bytes sent");
}

static void P3_cuts_in_the_acknowledgements_cost_nothing_but_duplicates(void **state)
{
    drain_over_cuts(*state, PROXY_DOWN, 131, "cut after 131 bytes received");
}

static void await_connections(trial *it, unsigned count, unsigned within_ms)
{
    uint64_t deadline_ms = broker_now_ms() + within_ms;
    while (proxy_connections(it->proxy) < count) {
        if (broker_now_ms() >= deadline_ms)
            fail_msg("no connection %u within %u ms", count, within_ms);
        process_look_again();
    }
}

/* The time from now to the next message, which must be short. */
static void expect_next_soon(trial *it, size_t before, uint64_t begun_ms, const char *what)
{
    receiver_await(it->scene->receiver, before + 1);
    unsigned long long time_ms = broker_now_ms() - begun_ms;
    print_message("%s: next message after %llu ms\n", what, time_ms);
    if (time_ms >= LIMIT_MS)
        fail_msg("%s: the next message came after %llu ms", what, time_ms);
}

/* Nothing tells that the network is gone: only the acknowledgements stay away. */
static void P6_a_black_hole_is_found_out_and_left(void **state)
{
    trial *it = *state;
    publish(it, "3000");
    proxy_delay(it->proxy, 5);
    start(it);
    receiver_await(it->scene->receiver, 300);
    proxy_black_hole(it->proxy, true);
    await_connections(it, 2, it->options.ack_timeout_ms + LIMIT_MS);
    size_t before = receiver_count(it->scene->receiver);
    assert_true(before < 3000);
    uint64_t begun_ms = broker_now_ms();
    proxy_black_hole(it->proxy, false);
    expect_next_soon(it, before, begun_ms, "out of a black hole");
    conclude(it, 3000, "black hole");
}

/* The transport waits for a minute; the application knows better. */
static void P6_the_applications_word_ends_the_wait_after_a_black_hole(void **state)
{
    trial *it = *state;
    it->options.reconnect_min_ms = LONG_MS;
    it->options.reconnect_max_ms = LONG_MS;
    it->options.connect_timeout_ms = 300;
    it->options.ack_timeout_ms = 500;
    publish(it, "1000");
    proxy_delay(it->proxy, 5);
    start(it);
    receiver_await(it->scene->receiver, 100);
    proxy_black_hole(it->proxy, true);
    while (proxy_open(it->proxy) > 0)
        process_look_again(); /* it has given up */
    size_t before = receiver_count(it->scene->receiver);
    assert_true(before < 1000);
    proxy_black_hole(it->proxy, false);
    uint64_t begun_ms = broker_now_ms();
    assert_int_equal(busbar_mosquitto_link_up(it->courier.transport), BUSBAR_OK);
    expect_next_soon(it, before, begun_ms, "told that the network is back");
    conclude(it, 1000, "black hole, and a word");
}

/* Without any word the longest wait is the bound: here 300 ms. */
static void P6_a_broker_that_accepts_again_is_found_within_the_longest_wait(void **state)
{
    trial *it = *state;
    it->options.reconnect_max_ms = 300;
    publish(it, "50");
    proxy_refuse(it->proxy, true);
    start(it);
    poll(NULL, 0, 1500); /* so that the waits have grown */
    uint64_t begun_ms = broker_now_ms();
    proxy_refuse(it->proxy, false);
    expect_next_soon(it, 0, begun_ms, "a broker that accepts again");
    conclude(it, 50, "refusals");
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_proxy_delays_cuts_and_falls_silent),
        cmocka_unit_test_setup_teardown(P3_a_slow_network_costs_time_and_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(P3_cuts_in_what_is_sent_cost_nothing_but_duplicates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(P3_cuts_in_the_acknowledgements_cost_nothing_but_duplicates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(P6_a_black_hole_is_found_out_and_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(P6_the_applications_word_ends_the_wait_after_a_black_hole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(P6_a_broker_that_accepts_again_is_found_within_the_longest_wait, set_up,
                                        tear_down),
    };
    return scene_run(cases);
}
