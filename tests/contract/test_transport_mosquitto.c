/* SPDX-License-Identifier: MIT */
/*
 * The MQTT transport against the contract of transports, and against real brokers: access, TLS, brokers that come and go.
 * What no real broker does on request is in test_mosquitto_link.c.
 */
#define _DEFAULT_SOURCE

#include "test.h"

#include <busbar/mosquitto.h>

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker.h"
#include "mqtt_host.h"
#include "tls_site.h"
#include "transport.h"

/* ---- The contract's peer: a broker, and a subscriber to the test's topic. -------------------------------------------- */

typedef struct contract_peer {
    broker *broker;
    subscriber *subscriber;
    const char *topic;
    char directory[BROKER_PATH_SIZE];
} contract_peer;

static void *open_peer(const transport_setup *setup, busbar_transport *out_transport)
{
    contract_peer *peer = calloc(1, sizeof *peer);
    char config[1024], access_list[BROKER_PATH_SIZE], size_limit[64] = "";

    assert_non_null(peer);
    peer->topic = setup->topic;
    broker_directory_make(peer->directory);
    broker_file_write(peer->directory, "acl", "topic readwrite contract/#\n");
    broker_file_path(peer->directory, "acl", access_list);
    if (setup->max_bytes != 0) {
        (void)snprintf(size_limit, sizeof size_limit, "max_packet_size %zu\n", setup->max_bytes);
    }
    (void)snprintf(config, sizeof config, "allow_anonymous true\nacl_file %s\nmax_inflight_messages %u\n%s",
                   access_list, (unsigned)setup->window, size_limit);
    peer->broker = broker_start(config);
    if (setup->absent) {
        broker_kill(peer->broker);
    } else {
        peer->subscriber = subscriber_start(broker_port(peer->broker), peer->topic);
    }
    busbar_mosquitto_options options = mqtt_host_options(broker_port(peer->broker));
    options.window = 50; /* the broker's is smaller */
    assert_int_equal(busbar_mosquitto_new(&options, out_transport, NULL), BUSBAR_OK);
    return peer;
}

static void close_peer(void *context)
{
    contract_peer *peer = context;
    subscriber_free(peer->subscriber);
    broker_free(peer->broker);
    broker_directory_remove(peer->directory);
    free(peer);
}

static void link_peer(void *context, bool up)
{
    contract_peer *peer = context;
    subscriber_free(peer->subscriber);
    peer->subscriber = NULL;
    if (up) {
        broker_restart(peer->broker);
        peer->subscriber = subscriber_start(broker_port(peer->broker), peer->topic);
    } else {
        broker_kill(peer->broker);
    }
}

static void hold_peer(void *context, bool held)
{
    const contract_peer *peer = context;
    if (held) {
        broker_pause(peer->broker);
    } else {
        broker_resume(peer->broker);
    }
}

static size_t received(void *context, size_t at_least)
{
    const contract_peer *peer = context;
    return subscriber_wait(peer->subscriber, at_least, MQTT_HOST_DEADLINE_MS);
}

static transport_received at(void *context, size_t index)
{
    const contract_peer *peer = context;
    const subscriber_message *got = subscriber_at(peer->subscriber, index);
    return (transport_received){got->payload, got->payload_size, got->content_type, got->expiry_s};
}

static const transport_fixture mosquitto_fixture = {
    .name = "transport contract: mosquitto",
    .open = open_peer,
    .close = close_peer,
    .link = link_peer,
    .hold = hold_peer,
    .received = received,
    .at = at,
    .refused_topic = "refused",
    .refused_verdict = BUSBAR_REFUSED_RETRY,
};

/* ---- Access --------------------------------------------------------------------------------------------------------- */

typedef struct secured {
    broker *broker;
    char directory[BROKER_PATH_SIZE];
} secured;

/* A broker that knows the user "device" with the password "right", who may publish below "ok/" only. */
static void start_secured(secured *it)
{
    char config[1024], passwords[BROKER_PATH_SIZE], access_list[BROKER_PATH_SIZE];

    broker_directory_make(it->directory);
    broker_file_path(it->directory, "passwords", passwords);
    broker_file_path(it->directory, "acl", access_list);
    broker_run(it->directory,
               (const char *const[]){"mosquitto_passwd", "-b", "-c", "passwords", "device", "right", NULL});
    broker_file_write(it->directory, "acl", "user device\ntopic readwrite ok/#\n");
    (void)snprintf(config, sizeof config, "allow_anonymous false\npassword_file %s\nacl_file %s\n", passwords,
                   access_list);
    it->broker = broker_start(config);
}

static void stop_secured(secured *it)
{
    broker_free(it->broker);
    broker_directory_remove(it->directory);
}

static void the_right_user_is_let_in(void **state)
{
    secured site;
    mqtt_host host;
    (void)state;
    start_secured(&site);
    busbar_mosquitto_options options = mqtt_host_options(broker_port(site.broker));
    options.username = "device";
    options.password = "right";
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.ups, 1);
    assert_int_equal(mqtt_host_send(&host, 1, "ok/1", "x"), BUSBAR_SEND_ACCEPTED);
    mqtt_host_wait(&host, &host.acked, 1);
    mqtt_host_stop(&host);
    stop_secured(&site);
}

static void the_wrong_user_is_told_what_to_check(void **state)
{
    secured site;
    mqtt_host host;
    (void)state;
    start_secured(&site);
    busbar_mosquitto_options options = mqtt_host_options(broker_port(site.broker));
    options.username = "device";
    options.password = "wrong-secret";
    for (unsigned version = BUSBAR_MOSQUITTO_V311; version <= BUSBAR_MOSQUITTO_V5; version++) {
        options.protocol = (busbar_mosquitto_protocol)version;
        mqtt_host_start(&host, &options);
        mqtt_host_wait(&host, &host.downs, 3); /* it goes on trying */
        assert_int_equal(host.ups, 0);
        assert_int_equal(host.last_down.reason.code, 0x87);
        assert_non_null(strstr(host.last_down.reason.text, "refused the connection: not authorized (0x87)"));
        assert_non_null(strstr(host.last_down.reason.text, "check username, password"));
        assert_null(strstr(host.last_down.reason.text, "wrong-secret"));
        mqtt_host_stop(&host);
    }
    stop_secured(&site);
}

/* P11: the event is refused, and what comes after it gets through. */
static void a_forbidden_topic_is_refused(void **state)
{
    secured site;
    mqtt_host host;
    (void)state;
    start_secured(&site);
    busbar_mosquitto_options options = mqtt_host_options(broker_port(site.broker));
    options.username = "device";
    options.password = "right";
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.ups, 1);
    assert_int_equal(mqtt_host_send(&host, 1, "secret/1", "x"), BUSBAR_SEND_ACCEPTED);
    mqtt_host_wait(&host, &host.refused, 1);
    assert_int_equal(host.last_refused.token, 1);
    assert_int_equal(host.last_refused.verdict, BUSBAR_REFUSED_RETRY);
    assert_int_equal(host.last_refused.reason.code, 0x87);
    assert_non_null(strstr(host.last_refused.reason.text, "not authorized (0x87)"));
    assert_int_equal(mqtt_host_send(&host, 2, "ok/2", "x"), BUSBAR_SEND_ACCEPTED);
    mqtt_host_wait(&host, &host.acked, 1);
    mqtt_host_stop(&host);
    stop_secured(&site);
}

/* ---- MQTT 3.1.1 ----------------------------------------------------------------------------------------------------- */

static void mqtt_311_works(void **state)
{
    mqtt_host host;
    broker *server = broker_start(NULL);
    subscriber *listener = subscriber_start(broker_port(server), "t/#");
    busbar_mosquitto_options options = mqtt_host_options(broker_port(server));
    (void)state;
    options.protocol = BUSBAR_MOSQUITTO_V311;
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.ups, 1);
    assert_int_equal(host.last_up.window, 100); /* the protocol tells no limit: the option's */
    for (uint64_t token = 1; token <= 20; token++) {
        assert_int_equal(mqtt_host_send(&host, token, "t/1", "x"), BUSBAR_SEND_ACCEPTED);
    }
    mqtt_host_wait(&host, &host.acked, 20);
    assert_int_equal(subscriber_wait(listener, 20, MQTT_HOST_DEADLINE_MS), 20);
    assert_null(subscriber_at(listener, 0)->content_type);
    mqtt_host_stop(&host);
    subscriber_free(listener);
    broker_free(server);
}

static void text_is_marked_as_utf8_and_bytes_are_not(void **state)
{
    static const struct {
        const char *type;
        bool is_text;
    } types[] = {{"application/cloudevents+json; charset=UTF-8", true}, {"text/plain", true}, {"image/png", false}};
    mqtt_host host;
    broker *server = broker_start(NULL);
    subscriber *listener = subscriber_start(broker_port(server), "t/#");
    busbar_mosquitto_options options = mqtt_host_options(broker_port(server));
    busbar_reason reason;
    (void)state;
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.ups, 1);
    for (unsigned i = 0; i < 3; i++) {
        const busbar_message message = {
            .size = sizeof message, .token = i + 1, .topic = "t", .content_type = types[i].type, .qos = 1};
        assert_int_equal(host.transport.api->send(host.transport.ctx, &message, &reason), BUSBAR_SEND_ACCEPTED);
    }
    assert_int_equal(subscriber_wait(listener, 3, MQTT_HOST_DEADLINE_MS), 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(subscriber_at(listener, i)->content_type, types[i].type);
        assert_int_equal(subscriber_at(listener, i)->is_utf8, types[i].is_text);
    }
    mqtt_host_stop(&host);
    subscriber_free(listener);
    broker_free(server);
}

/* ---- TLS ------------------------------------------------------------------------------------------------------------ */

static void expect_delivery(const busbar_mosquitto_options *options)
{
    mqtt_host host;
    mqtt_host_start(&host, options);
    mqtt_host_wait(&host, &host.ups, 1);
    assert_int_equal(host.downs, 0);
    for (uint64_t token = 1; token <= 20; token++) {
        assert_int_equal(mqtt_host_send(&host, token, "t", "x"), BUSBAR_SEND_ACCEPTED);
    }
    mqtt_host_wait(&host, &host.acked, 20);
    mqtt_host_stop(&host);
}

static void expect_refusal(const busbar_mosquitto_options *options, const char *reason)
{
    mqtt_host host;
    mqtt_host_start(&host, options);
    mqtt_host_wait_reason(&host, reason);
    unsigned downs = host.downs;
    mqtt_host_wait(&host, &host.downs, downs + 2); /* it goes on trying */
    assert_int_equal(host.ups, 0);
    mqtt_host_stop(&host);
}

static void tls_trusts_the_right_authority_only(void **state)
{
    tls_site site;
    (void)state;
    tls_site_start(&site, "");
    busbar_mosquitto_options options = tls_site_options(&site);
    expect_delivery(&options);
    options.tls.ca_file = site.other_ca;
    expect_refusal(&options, "the broker's certificate is not trusted");
    options.tls.ca_file = NULL; /* the operating system does not know our authority */
    expect_refusal(&options, "the broker's certificate is not trusted");
    options.tls.cert_file = site.device_certificate; /* with a client certificate neither */
    options.tls.key_file = site.device_key;
    expect_refusal(&options, "the broker's certificate is not trusted");
    tls_site_stop(&site);
}

static void tls_checks_the_host_name(void **state)
{
    tls_site site;
    (void)state;
    tls_site_start(&site, "");
    busbar_mosquitto_options options = tls_site_options(&site);
    options.host = "localhost";
    expect_refusal(&options, "certificate is for another host name");
    tls_site_stop(&site);
}

static void tls_presents_a_client_certificate(void **state)
{
    tls_site site;
    (void)state;
    tls_site_start(&site, "require_certificate true\n");
    busbar_mosquitto_options options = tls_site_options(&site);
    expect_refusal(&options, "client certificate");
    options.tls.cert_file = site.device_certificate;
    options.tls.key_file = site.device_key;
    expect_delivery(&options);
    options.tls.key_file = site.ca; /* a file, but no key */
    expect_refusal(&options, "TLS with");
    tls_site_stop(&site);
}

/* The library would ask the terminal for the passphrase, and wait. */
static void an_encrypted_key_is_refused_without_asking(void **state)
{
    tls_site site;
    char encrypted[BROKER_PATH_SIZE];
    (void)state;
    tls_site_start(&site, "require_certificate true\n");
    broker_run(site.directory, (const char *const[]){"openssl", "pkey", "-in", "device.key", "-aes128", "-passout",
                                                     "pass:secret", "-out", "encrypted.key", NULL});
    broker_file_path(site.directory, "encrypted.key", encrypted);
    busbar_mosquitto_options options = tls_site_options(&site);
    options.tls.cert_file = site.device_certificate;
    options.tls.key_file = encrypted;
    expect_refusal(&options, "Unable to load client key file");
    tls_site_stop(&site);
}

static void a_missing_tls_file_is_named(void **state)
{
    tls_site site;
    (void)state;
    tls_site_start(&site, "");
    busbar_mosquitto_options options = tls_site_options(&site);
    options.tls.ca_file = "missing-ca.crt";
    expect_refusal(&options, "cannot read missing-ca.crt: no such file");
    tls_site_stop(&site);
}

static void tls_survives_a_killed_broker(void **state)
{
    tls_site site;
    mqtt_host host;
    (void)state;
    tls_site_start(&site, "");
    busbar_mosquitto_options options = tls_site_options(&site);
    mqtt_host_start(&host, &options);
    for (unsigned round = 1; round <= 3; round++) {
        mqtt_host_wait(&host, &host.ups, round);
        assert_int_equal(mqtt_host_send(&host, round, "t", "x"), BUSBAR_SEND_ACCEPTED);
        mqtt_host_wait(&host, &host.acked, round);
        broker_restart(site.broker);
    }
    mqtt_host_wait(&host, &host.ups, 4);
    mqtt_host_stop(&host);
    tls_site_stop(&site);
}

static void large_messages_pass_through_tls(void **state)
{
    enum { SIZE = 3 * 1000 * 1000 };
    tls_site site;
    mqtt_host host;
    char *payload = malloc(SIZE + 1);
    (void)state;
    assert_non_null(payload);
    memset(payload, 'x', SIZE);
    payload[SIZE] = '\0';
    tls_site_start(&site, "");
    busbar_mosquitto_options options = tls_site_options(&site);
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.ups, 1);
    for (uint64_t token = 1; token <= 5; token++) {
        assert_int_equal(mqtt_host_send(&host, token, "t", payload), BUSBAR_SEND_ACCEPTED);
    }
    mqtt_host_wait(&host, &host.acked, 5);
    assert_int_equal(host.downs, 0);
    mqtt_host_stop(&host);
    tls_site_stop(&site);
    free(payload);
}

static double cpu_s(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void tls_and_plain_ports_are_not_mixed_up_silently(void **state)
{
    tls_site site;
    broker *plain = broker_start(NULL);
    (void)state;
    tls_site_start(&site, "");
    busbar_mosquitto_options options = tls_site_options(&site);
    options.port = (uint16_t)broker_port(plain);
    expect_refusal(&options, "TLS");
    options = mqtt_host_options(broker_port(site.broker));
    expect_refusal(&options, "if this is a port for TLS, enable it");
    tls_site_stop(&site);
    broker_free(plain);
}

/* ---- Brokers that come and go --------------------------------------------------------------------------------------- */

/* P6 */
static void a_broker_that_comes_late_is_found(void **state)
{
    mqtt_host host;
    unsigned port = broker_free_port();
    busbar_mosquitto_options options = mqtt_host_options(port);
    (void)state;
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.downs, 3);
    assert_non_null(strstr(host.last_down.reason.text, "Connection refused; is the broker running?"));
    assert_non_null(strstr(host.last_down.reason.text, BROKER_HOST));
    broker *server = broker_start_on(port, NULL);
    mqtt_host_wait(&host, &host.ups, 1);
    assert_int_equal(mqtt_host_send(&host, 1, "t", "x"), BUSBAR_SEND_ACCEPTED);
    mqtt_host_wait(&host, &host.acked, 1);
    mqtt_host_stop(&host);
    broker_free(server);
}

static void a_name_that_does_not_resolve_is_said(void **state)
{
    mqtt_host host;
    busbar_mosquitto_options options = mqtt_host_options(1);
    (void)state;
    options.host = "no such host"; /* not a host name: fails without asking anybody */
    mqtt_host_start(&host, &options);
    mqtt_host_wait_reason(&host, "cannot resolve the host 'no such host'");
    mqtt_host_stop(&host);
}

/* P3: after kill -9 of the broker nothing is settled that it did not acknowledge, and nothing twice. */
static void a_killed_broker_costs_the_window_and_no_more(void **state)
{
    mqtt_host host;
    broker *server = broker_start("allow_anonymous true\nmax_inflight_messages 10\n");
    busbar_mosquitto_options options = mqtt_host_options(broker_port(server));
    uint64_t token = 0;
    (void)state;
    mqtt_host_start(&host, &options);
    for (unsigned round = 1; round <= 3; round++) {
        mqtt_host_wait(&host, &host.ups, round);
        unsigned sent = 0;
        unsigned settled = host.acked;
        while (sent < 200) {
            if (mqtt_host_send(&host, token + 1, "t", "x") == BUSBAR_SEND_ACCEPTED) {
                token++;
                sent++;
            } else {
                mqtt_host_wait(&host, &host.acked, host.acked + 1);
            }
        }
        broker_kill(server);
        mqtt_host_wait(&host, &host.downs, 1);
        assert_in_range(host.acked - settled, 190, 200);
        broker_restart(server);
    }
    mqtt_host_stop(&host);
    broker_free(server);
}

/* ---- A good guest (P15) --------------------------------------------------------------------------------------------- */

static void the_applications_sigpipe_is_left_alone(void **state)
{
    mqtt_host host;
    struct sigaction now;
    broker *server = broker_start(NULL);
    busbar_mosquitto_options options = mqtt_host_options(broker_port(server));
    struct sigaction mine = {.sa_handler = SIG_DFL};
    (void)state;
    assert_int_equal(sigaction(SIGPIPE, &mine, NULL), 0);
    mqtt_host_start(&host, &options);
    for (unsigned round = 1; round <= 2; round++) {
        mqtt_host_wait(&host, &host.ups, round);
        assert_int_equal(sigaction(SIGPIPE, NULL, &now), 0);
        assert_true(now.sa_handler == SIG_DFL);
        broker_pause(server);
        for (uint64_t token = 1; token <= 20; token++) { /* writes into a connection that is about to break */
            assert_int_equal(mqtt_host_send(&host, token, "t", "x"), BUSBAR_SEND_ACCEPTED);
        }
        broker_restart(server);
    }
    mqtt_host_wait(&host, &host.ups, 3);
    mqtt_host_stop(&host);
    broker_free(server);
}

static void descriptors_above_1024_work(void **state)
{
    enum { MANY = 1100 };
    static int filler[MANY];
    struct rlimit limit;
    mqtt_host host;
    broker *server = broker_start(NULL);
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit before = limit;
    limit.rlim_cur = 4096 < limit.rlim_max ? 4096 : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < MANY + 100) {
        broker_free(server);
        print_message("the system does not allow so many open files\n");
        skip();
    }
    for (unsigned i = 0; i < MANY; i++) {
        filler[i] = dup(0);
        assert_true(filler[i] >= 0);
    }
    busbar_mosquitto_options options = mqtt_host_options(broker_port(server));
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.ups, 1);
    assert_true(host.transport.api->fd(host.transport.ctx) > 1024);
    assert_int_equal(mqtt_host_send(&host, 1, "t", "x"), BUSBAR_SEND_ACCEPTED);
    mqtt_host_wait(&host, &host.acked, 1);
    mqtt_host_stop(&host);
    for (unsigned i = 0; i < MANY; i++) {
        close(filler[i]);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    broker_free(server);
}

static void no_descriptor_is_left_behind(void **state)
{
    broker *server = broker_start(NULL);
    busbar_mosquitto_options options = mqtt_host_options(broker_port(server));
    (void)state;
    int lowest = dup(0);
    close(lowest);
    for (unsigned i = 0; i < 20; i++) {
        mqtt_host host;
        mqtt_host_start(&host, &options);
        if (i % 2 == 0) {
            mqtt_host_wait(&host, &host.ups, 1);
        }
        mqtt_host_stop(&host);
    }
    int next = dup(0);
    close(next);
    assert_int_equal(next, lowest);
    broker_free(server);
}

static void an_idle_connection_costs_nothing(void **state)
{
    mqtt_host host;
    tls_site site;
    (void)state;
    tls_site_start(&site, "");
    busbar_mosquitto_options options = tls_site_options(&site);
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.ups, 1);
    double before_s = cpu_s();
    mqtt_host_idle(&host, 1500);
    assert_true(cpu_s() - before_s < 0.15);
    assert_int_equal(host.downs, 0);
    mqtt_host_stop(&host);
    tls_site_stop(&site);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_right_user_is_let_in),
        cmocka_unit_test(the_wrong_user_is_told_what_to_check),
        cmocka_unit_test(a_forbidden_topic_is_refused),
        cmocka_unit_test(mqtt_311_works),
        cmocka_unit_test(text_is_marked_as_utf8_and_bytes_are_not),
        cmocka_unit_test(tls_trusts_the_right_authority_only),
        cmocka_unit_test(tls_checks_the_host_name),
        cmocka_unit_test(tls_presents_a_client_certificate),
        cmocka_unit_test(an_encrypted_key_is_refused_without_asking),
        cmocka_unit_test(a_missing_tls_file_is_named),
        cmocka_unit_test(tls_survives_a_killed_broker),
        cmocka_unit_test(large_messages_pass_through_tls),
        cmocka_unit_test(tls_and_plain_ports_are_not_mixed_up_silently),
        cmocka_unit_test(a_broker_that_comes_late_is_found),
        cmocka_unit_test(a_name_that_does_not_resolve_is_said),
        cmocka_unit_test(a_killed_broker_costs_the_window_and_no_more),
        cmocka_unit_test(the_applications_sigpipe_is_left_alone),
        cmocka_unit_test(descriptors_above_1024_work),
        cmocka_unit_test(no_descriptor_is_left_behind),
        cmocka_unit_test(an_idle_connection_costs_nothing),
    };
    if (!broker_available()) {
        return 77; /* skipped */
    }
    int failed = transport_contract_run(&mosquitto_fixture);
    failed += cmocka_run_group_tests_name("mosquitto with real brokers", cases, NULL, NULL);
    return failed;
}
