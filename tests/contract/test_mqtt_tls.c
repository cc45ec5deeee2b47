/* SPDX-License-Identifier: MIT */
/*
 * A whole bus behind TLS that fails, each way on its own: the status says which, no event is lost or counted as failed (P3,
 * P6), and when the connection leads to the right broker, everything arrives there.
 */
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mqtt_bus.h"
#include "mqtt_host.h"
#include "tls_site.h"
#include "wire.h"

#define EVENTS 5u

/* The right broker, who listens on it in the clear, and a bus that is connected to a wire. */
typedef struct place {
    tls_site site;
    subscriber *listener;
    wire *cable;
    mqtt_bus bus;
} place;

/* The broker opens its second port a moment after the first one. */
static void await_port(unsigned port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    bool open = false;

    while (!open) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0 && broker_now_ms() < deadline_ms);
        open = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
        close(fd);
        poll(NULL, 0, open ? 0 : 2);
    }
}

static int open_place(void **state)
{
    char second_listener[64];
    unsigned port = broker_free_port();
    place *it = calloc(1, sizeof *it);

    assert_non_null(it);
    (void)snprintf(second_listener, sizeof second_listener, "listener %u 127.0.0.1", port);
    tls_site_start(&it->site, second_listener);
    await_port(port);
    it->listener = subscriber_start(port, "t");
    it->cable = wire_start(broker_port(it->site.broker));
    *state = it;
    return 0;
}

static int close_place(void **state)
{
    place *it = *state;

    wire_stop(it->cable);
    subscriber_free(it->listener);
    tls_site_stop(&it->site);
    free(it);
    return 0;
}

static void open_bus(place *it, bool tls)
{
    busbar_mosquitto_options options = tls_site_options(&it->site);
    busbar_route route = mqtt_bus_route();

    options.port = (uint16_t)wire_port(it->cable);
    options.connect_timeout_ms = 1000;
    if (!tls) {
        options.tls = (busbar_mosquitto_tls){.enabled = false};
    }
    mqtt_bus_open(&it->bus, &route, &options);
    mqtt_bus_publish(&it->bus, EVENTS);
}

static void expect_told(place *it, const char *told)
{
    mqtt_bus_await_error(&it->bus, told);
    mqtt_bus_idle(&it->bus, 100);
    mqtt_bus_look(&it->bus);
    assert_int_equal(it->bus.progress.delivered + it->bus.progress.dead + it->bus.progress.retrying, 0);
}

static void expect_arrival(place *it)
{
    mqtt_bus_publish(&it->bus, 2);
    mqtt_bus_await_delivered(&it->bus, it->bus.published);
    mqtt_bus_await_error(&it->bus, NULL);
    assert_true(subscriber_wait(it->listener, it->bus.published, MQTT_HOST_DEADLINE_MS) >= it->bus.published);
    for (unsigned n = 1; n <= it->bus.published; n++) {
        assert_int_equal(mqtt_bus_attempts(&it->bus, n), 0);
    }
    mqtt_bus_close(&it->bus);
}

/* First to the wrong broker, then to the right one. */
static void expect_fault_at(place *it, broker *wrong, const char *told)
{
    wire_lead_to(it->cable, broker_port(wrong));
    open_bus(it, true);
    expect_told(it, told);
    wire_lead_to(it->cable, broker_port(it->site.broker));
    expect_arrival(it);
}

static void an_unknown_authority_is_told(void **state)
{
    tls_site stranger;

    tls_site_start(&stranger, "");
    expect_fault_at(*state, stranger.broker,
                    "failed: the broker's certificate is not trusted; check the CA, the certificate's dates and this "
                    "machine's clock");
    tls_site_stop(&stranger);
}

static void another_host_name_is_told(void **state)
{
    place *it = *state;
    char config[1024];
    const char *directory = it->site.directory;

    tls_certificate_make(directory, "elsewhere", "/CN=elsewhere.test", "subjectAltName=DNS:elsewhere.test\n");
    (void)snprintf(config, sizeof config,
                   "allow_anonymous true\ncafile %s/ca.crt\ncertfile %s/elsewhere.crt\nkeyfile %s/elsewhere.key\n",
                   directory, directory, directory);
    broker *wrong = broker_start(config);
    expect_fault_at(it, wrong, "failed: the broker's certificate is for another host name");
    broker_free(wrong);
}

static void an_expired_certificate_is_told(void **state)
{
    place *it = *state;
    char config[1024];
    const char *directory = it->site.directory;

    tls_certificate_make(directory, "old", "/CN=old.test", "subjectAltName=IP:127.0.0.1\n");
    broker_run(directory, (const char *const[]){"openssl", "x509", "-req", "-in", "old.csr", "-CA", "ca.crt", "-CAkey",
                                                "ca.key", "-CAcreateserial", "-days", "-1", "-extfile", "extension",
                                                "-out", "old.crt", NULL});
    (void)snprintf(config, sizeof config,
                   "allow_anonymous true\ncafile %s/ca.crt\ncertfile %s/old.crt\nkeyfile %s/old.key\n", directory,
                   directory, directory);
    broker *wrong = broker_start(config);
    expect_fault_at(it, wrong, "check the CA, the certificate's dates and this machine's clock");
    broker_free(wrong);
}

static void a_port_without_tls_is_told(void **state)
{
    broker *plain = broker_start(NULL);

    expect_fault_at(*state, plain, "TLS");
    broker_free(plain);
}

static void a_port_for_tls_is_told_to_a_client_without(void **state)
{
    place *it = *state;
    broker *plain = broker_start(NULL);

    open_bus(it, false);
    expect_told(it, "if this is a port for TLS, enable it");
    subscriber_free(it->listener);
    it->listener = subscriber_start(broker_port(plain), "t");
    wire_lead_to(it->cable, broker_port(plain));
    expect_arrival(it);
    broker_free(plain);
}

/* At any byte of the handshake; all of the connections, until the wire is mended. */
static void expect_broken_handshake(place *it, wire_break how, const char *told)
{
    static const size_t places[] = {0, 1, 300, 900, 1300};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i += how == WIRE_STALL ? 3 : 1) { /* silence takes long */
        size_t before = subscriber_wait(it->listener, 0, 0);
        wire_break_after(it->cable, places[i], how, 1000000);
        open_bus(it, true);
        expect_told(it, i == 0 && how == WIRE_RESET ? "127.0.0.1:" : told); /* then it may not even have connected */
        wire_break_after(it->cable, 0, how, 0);
        expect_arrival(it);
        assert_true(subscriber_wait(it->listener, before + EVENTS, MQTT_HOST_DEADLINE_MS) >= before + EVENTS);
    }
}

static void a_peer_that_closes_in_the_handshake_is_told(void **state)
{
    expect_broken_handshake(*state, WIRE_CLOSE, "TLS");
}

static void a_peer_that_resets_the_handshake_is_told(void **state)
{
    expect_broken_handshake(*state, WIRE_RESET, "TLS");
}

static void a_peer_that_falls_silent_in_the_handshake_is_told(void **state)
{
    expect_broken_handshake(*state, WIRE_STALL, "did not answer within 1000 ms");
}

/* No close_notify, an error on the stack of OpenSSL: libmosquitto's loops end there. */
static void a_killed_broker_is_told_and_found_again(void **state)
{
    place *it = *state;

    open_bus(it, true);
    mqtt_bus_await_delivered(&it->bus, EVENTS);
    broker_kill(it->site.broker);
    mqtt_bus_publish(&it->bus, EVENTS);
    mqtt_bus_await_error(&it->bus, "127.0.0.1:");
    mqtt_bus_idle(&it->bus, 200);
    assert_int_equal(it->bus.progress.delivered, EVENTS);
    broker_restart(it->site.broker);
    mqtt_bus_await_delivered(&it->bus, it->bus.published);
    mqtt_bus_await_error(&it->bus, NULL);
    mqtt_bus_close(&it->bus);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
#define CASE(function) cmocka_unit_test_setup_teardown(function, open_place, close_place)
        CASE(an_unknown_authority_is_told),
        CASE(another_host_name_is_told),
        CASE(an_expired_certificate_is_told),
        CASE(a_port_without_tls_is_told),
        CASE(a_port_for_tls_is_told_to_a_client_without),
        CASE(a_peer_that_closes_in_the_handshake_is_told),
        CASE(a_peer_that_resets_the_handshake_is_told),
        CASE(a_peer_that_falls_silent_in_the_handshake_is_told),
        CASE(a_killed_broker_is_told_and_found_again),
    };
    return broker_available() ? cmocka_run_group_tests_name("a bus behind TLS", cases, NULL, NULL) : 77;
}
