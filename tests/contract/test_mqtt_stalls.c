/* SPDX-License-Identifier: MIT */
/*
 * What waits behind the transport must not wait in front of it: a program that steps the bus on the thread of its user
 * interface stays live while the connection hangs, wherever it hangs. And whatever hangs, closing takes a bounded time.
 */
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mqtt_bus.h"
#include "mqtt_host.h"
#include "wire.h"

#define STEP_MOST_US  100000u /* of one step; what waits for a network waits a thousand times longer */
#define CLOSE_MOST_US 3500000u
#define STALLED_MS    700
#define ATTEMPTS      4 /* a busy machine makes one step slow now and then, a step that waits is slow each time */

/* ---- Measuring ------------------------------------------------------------------------------------------------------------ */

/* An application at work: it publishes, and turns its event loop. */
static uint64_t slowest_step_us(const busbar_mosquitto_options *options, size_t padding, uint64_t *out_close_us)
{
    mqtt_bus bus;
    busbar_route route = mqtt_bus_route();

    mqtt_bus_open(&bus, &route, options);
    uint64_t until_us = scratch_now_us() + STALLED_MS * 1000;
    while (scratch_now_us() < until_us) {
        mqtt_bus_publish_large(&bus, padding);
        mqtt_bus_idle(&bus, 5);
    }
    mqtt_bus_look(&bus);
    assert_true(bus.progress.delivered < bus.published);
    uint64_t begun_us = scratch_now_us();
    uint64_t slowest_us = bus.slowest_step_us;
    mqtt_bus_close(&bus);
    *out_close_us = scratch_now_us() - begun_us;
    return slowest_us;
}

static void expect_liveness(const busbar_mosquitto_options *options, size_t padding)
{
    uint64_t slowest_us = UINT64_MAX, close_us = UINT64_MAX;

    for (unsigned i = 0; i < ATTEMPTS && (slowest_us >= STEP_MOST_US || close_us >= CLOSE_MOST_US); i++) {
        slowest_us = slowest_step_us(options, padding, &close_us);
    }
    assert_in_range(slowest_us, 0, STEP_MOST_US - 1);
    assert_in_range(close_us, 0, CLOSE_MOST_US - 1);
}

/* ---- Places to hang in ------------------------------------------------------------------------------------------------------ */

static void stay_silent(mqtt_peer *peer, const mqtt_peer_packet *packet, void *context)
{
    (void)peer;
    (void)packet;
    (void)context;
}

static void a_peer_that_never_answers_blocks_nothing(void **state)
{
    mqtt_peer *peer = mqtt_peer_start(stay_silent, NULL);
    busbar_mosquitto_options options = mqtt_host_options(mqtt_peer_port(peer));
    (void)state;
    expect_liveness(&options, 10);
    options.tls.enabled = true; /* the same in the handshake */
    expect_liveness(&options, 10);
    mqtt_peer_stop(peer);
}

/* A listener whose queue is full drops every SYN: the connect hangs, as with an address that nobody answers for. */
static void a_hanging_connect_blocks_nothing(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fillers[8];
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
    expect_liveness(&options, 10);
    options.tls.enabled = true;
    expect_liveness(&options, 10);
    for (size_t i = 0; i < 8; i++) {
        close(fillers[i]);
    }
    close(listener);
}

/* The broker has accepted us and then reads no more: everything between us fills up. */
static void a_peer_that_reads_no_more_blocks_nothing(void **state)
{
    static const size_t places[] = {60, 100, 300000};
    mqtt_receiver receiver = {.illness = NULL};
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        mqtt_receiver_start(&receiver);
        wire *cable = wire_start(mqtt_peer_port(receiver.peer));
        busbar_mosquitto_options options = mqtt_host_options(wire_port(cable));
        options.window = 1000;
        wire_break_after(cable, places[i], WIRE_STALL, 1000000);
        expect_liveness(&options, 30000);
        wire_stop(cable);
        mqtt_receiver_stop(&receiver);
    }
}

/* ---- And costs nothing -------------------------------------------------------------------------------------------------------- */

static double cpu_s(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void expect_calm(unsigned port, bool tls)
{
    mqtt_host host;
    busbar_mosquitto_options options = mqtt_host_options(port);

    options.reconnect_min_ms = 300; /* each attempt at TLS reads the authorities anew */
    options.reconnect_max_ms = 300;
    options.tls.enabled = tls;
    double before_s = cpu_s();
    mqtt_host_start(&host, &options);
    mqtt_host_idle(&host, 1500);
    mqtt_host_stop(&host);
    assert_int_equal(host.ups, 0);
    assert_true(cpu_s() - before_s < 0.9); /* a loop that spins uses 1.5 s */
}

/* libmosquitto's own loop uses a whole processor for this, until the keepalive ends it. */
static void a_closed_port_costs_no_processor(void **state)
{
    mqtt_peer *peer = mqtt_peer_start(stay_silent, NULL);
    unsigned port = mqtt_peer_port(peer);
    (void)state;
    mqtt_peer_stop(peer);
    expect_calm(port, false);
    expect_calm(port, true);
}

static void silence_costs_no_processor(void **state)
{
    mqtt_peer *peer = mqtt_peer_start(stay_silent, NULL);
    (void)state;
    expect_calm(mqtt_peer_port(peer), false);
    expect_calm(mqtt_peer_port(peer), true);
    mqtt_peer_stop(peer);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_peer_that_never_answers_blocks_nothing),
        cmocka_unit_test(a_hanging_connect_blocks_nothing),
        cmocka_unit_test(a_peer_that_reads_no_more_blocks_nothing),
        cmocka_unit_test(a_closed_port_costs_no_processor),
        cmocka_unit_test(silence_costs_no_processor),
    };
    return cmocka_run_group_tests_name("connections that hang", cases, NULL, NULL);
}
