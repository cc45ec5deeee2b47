/* SPDX-License-Identifier: MIT */
/*
 * The MQTT transport's connections, against a scripted broker: what a real one does rarely, or never on request. Most cases
 * here were a dead thread, a spinning processor or an endless wait in programs that use libmosquitto's own loops.
 */
#define _DEFAULT_SOURCE

#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker.h"
#include "mqtt_site.h"

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
    site *it = site_begin_up(wanted);
    assert_int_equal(it->host.downs, 1); /* the refusal was reported */
    assert_non_null(strstr(it->host.last_down.reason.text, "unsupported protocol version (0x84)"));
    assert_int_equal(atomic_load(&it->plan.version), 4);
    site_send(it, 1);
    mqtt_host_wait(&it->host, &it->host.acked, 1);
    site_finish(it);
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
    site *it = site_prepare(&wanted);
    it->options.protocol = BUSBAR_MOSQUITTO_V5;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.downs, 3);
    assert_int_equal(it->host.ups, 0);
    assert_int_equal(atomic_load(&it->plan.version), 5);
    site_finish(it);
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
    site *it = site_begin_up(&wanted);
    read_client_id(&it->plan, first);
    assert_int_equal(strlen(first), 23);
    assert_int_equal(strspn(first, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), 23);
    assert_int_equal(it->plan.connect_packet[7] & 0x02, 0x02); /* clean start */
    site_send(it, 1);
    mqtt_host_wait(&it->host, &it->host.ups, 2);
    read_client_id(&it->plan, second);
    assert_string_equal(first, second);
    site_finish(it);
}

static void a_given_client_id_and_login_are_sent(void **state)
{
    static const uint8_t login[] = "\0\6device\0\5right";
    char id[64];
    const plan wanted = {0};
    (void)state;
    site *it = site_prepare(&wanted);
    it->options.client_id = "pump-7";
    it->options.username = "device";
    it->options.password = "right";
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    read_client_id(&it->plan, id);
    assert_string_equal(id, "pump-7");
    assert_memory_equal(it->plan.connect_packet + it->plan.connect_size - (sizeof login - 1), login, sizeof login - 1);
    site_finish(it);
}

/* The library itself would take 256 MB. */
static void the_broker_is_told_what_we_take(void **state)
{
    static const uint8_t maximum_packet_size[] = {0x27, 0, 1, 0, 0};
    const plan wanted = {0};
    (void)state;
    site *it = site_begin_up(&wanted);
    const uint8_t *properties = it->plan.connect_packet + 10;
    assert_non_null(memmem(properties + 1, properties[0], maximum_packet_size, sizeof maximum_packet_size));
    site_finish(it);
}

/* ---- Refused and ended connections ---------------------------------------------------------------------------------- */

/* libmosquitto's loops take any such CONNACK of MQTT 5 for the end of all things. */
static void a_refused_connection_is_tried_again(void **state)
{
    const plan wanted = {.refuse_code = 0x88, .times = 3};
    (void)state;
    site *it = site_begin_up(&wanted);
    assert_int_equal(it->host.last_down.reason.code, 0x88);
    assert_non_null(strstr(it->host.last_down.reason.text, "server unavailable (0x88)"));
    assert_int_equal(atomic_load(&it->plan.connects), 4);
    site_finish(it);
}

static void the_brokers_own_words_are_passed_on(void **state)
{
    static const uint8_t properties[] = "\x1c\0\x0dother.example";
    const plan wanted = {
        .refuse_code = 0x9d, .times = 1, .properties = properties, .properties_size = sizeof properties - 1};
    (void)state;
    site *it = site_begin_up(&wanted);
    assert_non_null(strstr(it->host.last_down.reason.text, "server moved (0x9d); the broker says: other.example"));
    site_finish(it);
}

/* And a DISCONNECT they take for the application's own wish. */
static void a_connection_ended_by_the_broker_is_made_again(void **state)
{
    const plan wanted = {.disconnect_code = 0x8e};
    (void)state;
    site *it = site_begin_up(&wanted);
    site_send(it, 1);
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    assert_int_equal(it->host.last_down.reason.code, 0x8e);
    assert_non_null(
        strstr(it->host.last_down.reason.text, "session taken over (0x8e); another client uses the same client_id"));
    mqtt_host_wait(&it->host, &it->host.ups, 2);
    site_send(it, 2);
    mqtt_host_wait(&it->host, &it->host.acked, 1);
    site_finish(it);
}

static void a_silent_peer_is_given_up(void **state)
{
    const plan wanted = {.silent = true};
    (void)state;
    site *it = site_prepare(&wanted);
    it->options.connect_timeout_ms = 100;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.downs, 3);
    assert_non_null(strstr(it->host.last_down.reason.text, "did not answer within 100 ms"));
    site_finish(it);
}

static void expect_calm_retries(const plan *wanted, bool tls, const char *reason)
{
    site *it = site_prepare(wanted);
    it->options.tls.enabled = tls;
    it->options.connect_timeout_ms = 300;
    double before_s = cpu_s();
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.downs, 3);
    const char *text = it->host.last_down.reason.text;
    if (strstr(text, reason) == NULL &&
        strstr(text, "cannot connect to 127.0.0.1") == NULL) { /* reset as early as that */
        fail_msg("no '%s' in: %s", reason, it->host.last_down.reason.text);
    }
    assert_int_equal(it->host.ups, 0);
    assert_true(cpu_s() - before_s < 0.6);
    site_finish(it);
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

/* ---- Times that pass, ends ------------------------------------------------------------------------------------------ */

static void an_unanswered_ping_ends_the_connection(void **state)
{
    const plan wanted = {0};
    (void)state;
    site *it = site_prepare(&wanted);
    it->options.keepalive_s = 5; /* the shortest that libmosquitto takes */
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    mqtt_host_wait_reason(&it->host, "did not answer the keepalive ping");
    site_finish(it);
}

static void closing_says_goodbye(void **state)
{
    const plan wanted = {0};
    (void)state;
    site *it = site_begin_up(&wanted);
    site_send(it, 1);
    mqtt_host_wait(&it->host, &it->host.acked, 1);
    mqtt_host_stop(&it->host);
    site_wait_blindly(&it->plan.disconnects, 1);
    mqtt_peer_stop(it->peer);
    free(it);
}

/* Between the end of a connection and the DOWN that tells of it nothing is taken, and nor before the next UP was seen: it
   would be unsettled by a DOWN that came before it, and acknowledged later all the same (P3). */
static void expect_nothing_is_taken_unseen(const plan *wanted)
{
    site *it = site_begin_up(wanted);
    site_send(it, 1);
    site_wait_blindly(&it->plan.connects, 2);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(mqtt_host_send(&it->host, 2, "t", "x"), BUSBAR_SEND_NOT_NOW);
        poll(NULL, 0, 1);
    }
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    assert_int_equal(it->host.acked, 0);
    site_finish(it);
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
    site *it = site_begin(&wanted);
    site_wait_blindly(&it->plan.connects, 6);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    assert_in_range(it->host.downs, 1, 2);
    site_finish(it);
}

static void a_connection_that_came_and_went_unseen_is_down(void **state)
{
    const plan wanted = {.leave = true, .silent_later = true};
    (void)state;
    site *it = site_begin(&wanted);
    site_wait_blindly(&it->plan.connects, 2);
    mqtt_host_poll(&it->host);
    assert_int_equal(it->host.ups, 0);
    assert_int_equal(it->host.downs, 1);
    site_finish(it);
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
    site *it = site_begin_up(&wanted);
    assert_int_equal(it->host.transport.api->start(it->host.transport.ctx, &reason), -1);
    assert_true(strlen(reason.text) > 0);
    site_finish(it);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(it_falls_back_to_311),
        cmocka_unit_test(it_does_not_fall_back_from_a_chosen_version),
        cmocka_unit_test(a_random_client_id_is_kept_over_reconnects),
        cmocka_unit_test(a_given_client_id_and_login_are_sent),
        cmocka_unit_test(the_broker_is_told_what_we_take),
        cmocka_unit_test(a_refused_connection_is_tried_again),
        cmocka_unit_test(the_brokers_own_words_are_passed_on),
        cmocka_unit_test(a_connection_ended_by_the_broker_is_made_again),
        cmocka_unit_test(a_silent_peer_is_given_up),
        cmocka_unit_test(hanging_up_costs_no_processor),
        cmocka_unit_test(hanging_up_in_the_tls_handshake_costs_no_processor),
        cmocka_unit_test(the_application_protocol_is_named_in_the_handshake),
        cmocka_unit_test(an_unanswered_ping_ends_the_connection),
        cmocka_unit_test(closing_says_goodbye),
        cmocka_unit_test(nothing_is_taken_between_unseen_changes),
        cmocka_unit_test(unseen_failures_are_merged),
        cmocka_unit_test(a_connection_that_came_and_went_unseen_is_down),
        cmocka_unit_test(stopping_does_not_wait_for_a_hanging_connect),
        cmocka_unit_test(start_is_refused_a_second_time),
    };
    return cmocka_run_group_tests_name("mosquitto connections", cases, NULL, NULL);
}
