/* SPDX-License-Identifier: MIT */
/*
 * What the MQTT transport makes of news of the network: it tries, or looks at its connection, and neither too often nor for
 * nothing. Here the application brings the news; tests/e2e/test_netns.c has the kernel's.
 */
#include "test.h"

#include "broker.h"
#include "mqtt_site.h"
#include "network.h"

#define LIMIT_MS 1000
#define LONG_MS  60000 /* a wait that is never the reason */

/* ---- Holding back ------------------------------------------------------------------------------------------------------- */

static void flapping_is_followed_ten_times_and_then_now_and_then(void **state)
{
    bb_mosquitto_network network;
    uint64_t now_ms = 1000000;
    unsigned attempts = 0;
    (void)state;
    bb_mosquitto_network_open(&network, now_ms, 7);
    for (unsigned i = 0; i < 10; i++) {
        assert_in_range(bb_mosquitto_network_wait_ms(&network, now_ms, LONG_MS), 1, 300);
    }
    assert_in_range(bb_mosquitto_network_wait_ms(&network, now_ms, LONG_MS), 5000, 5300);
    assert_in_range(bb_mosquitto_network_wait_ms(&network, now_ms, LONG_MS), 10000, 10300);
    assert_int_equal(bb_mosquitto_network_wait_ms(&network, now_ms, 2000), 2000); /* and that spends nothing */
    for (uint64_t until_ms = now_ms + 100000; now_ms < until_ms; attempts++) {
        now_ms += bb_mosquitto_network_wait_ms(&network, now_ms, LONG_MS);
    }
    assert_in_range(attempts, 17, 20);
    now_ms += 3600000;
    for (unsigned i = 0; i < 10; i++) {
        assert_in_range(bb_mosquitto_network_wait_ms(&network, now_ms, LONG_MS), 1, 300);
    }
    assert_in_range(bb_mosquitto_network_wait_ms(&network, now_ms, LONG_MS), 4000, 5300);
    bb_mosquitto_network_close(&network);
}

/* Devices that hear the same news do not come in the same moment. */
static void attempts_are_spread(void **state)
{
    uint32_t least_ms = UINT32_MAX;
    uint32_t most_ms = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        bb_mosquitto_network network;
        bb_mosquitto_network_open(&network, 1, seed * UINT64_C(0x9e3779b97f4a7c15));
        uint32_t wait_ms = bb_mosquitto_network_wait_ms(&network, 1, LONG_MS);
        bb_mosquitto_network_close(&network);
        least_ms = wait_ms < least_ms ? wait_ms : least_ms;
        most_ms = wait_ms > most_ms ? wait_ms : most_ms;
    }
    assert_true(most_ms - least_ms > 100);
}

/* ---- The application's word --------------------------------------------------------------------------------------------- */

static site *begin_waiting_long(const plan *wanted)
{
    site *it = site_prepare(wanted);
    it->options.reconnect_min_ms = LONG_MS;
    it->options.reconnect_max_ms = LONG_MS;
    mqtt_host_start(&it->host, &it->options);
    return it;
}

static void P6_a_word_ends_the_wait(void **state)
{
    const plan wanted = {.refuse_code = 0x88, .times = 1};
    (void)state;
    site *it = begin_waiting_long(&wanted);
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    uint64_t begun_ms = broker_now_ms();
    assert_int_equal(busbar_mosquitto_link_up(it->host.transport), BUSBAR_OK);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    assert_in_range(broker_now_ms() - begun_ms, 0, LIMIT_MS);
    site_finish(it);
}

static void many_words_hammer_nobody(void **state)
{
    const plan wanted = {.refuse_code = 0x88, .times = 1000};
    (void)state;
    site *it = begin_waiting_long(&wanted);
    for (unsigned i = 0; i < 400; i++) {
        assert_int_equal(busbar_mosquitto_link_up(it->host.transport), BUSBAR_OK);
        mqtt_host_idle(&it->host, 10);
    }
    assert_in_range(atomic_load(&it->plan.connects), 2,
                    14); /* its own, 10 for words, and what chance has in its own waits */
    site_finish(it);
}

/* The broker takes its time, but its machine answers; and an idle connection is asked for a sign. */
static void words_cost_no_healthy_connection(void **state)
{
    const plan withholding = {.withhold = true};
    (void)state;
    site *it = site_begin_up(&withholding);
    for (uint64_t token = 1; token <= 5; token++) {
        site_send(it, token);
    }
    for (unsigned i = 0; i < 15; i++) {
        assert_int_equal(busbar_mosquitto_link_up(it->host.transport), BUSBAR_OK);
        mqtt_host_idle(&it->host, 100);
    }
    assert_int_equal(it->host.downs, 0);
    site_finish(it);
}

static void a_word_is_taken_at_any_time(void **state)
{
    mqtt_host host = {.ups = 0};
    busbar_transport foreign = {.api = NULL};
    busbar_mosquitto_options options = mqtt_host_options(broker_free_port());
    (void)state;
    assert_int_equal(busbar_mosquitto_link_up(foreign), BUSBAR_EINVAL);
    assert_int_equal(busbar_mosquitto_new(&options, &host.transport, NULL), BUSBAR_OK);
    assert_int_equal(busbar_mosquitto_link_up(host.transport), BUSBAR_OK); /* before start */
    host.transport.api->close(host.transport.ctx);
    assert_int_equal(busbar_mosquitto_link_up(host.transport), BUSBAR_OK); /* after close */
    host.transport.api->stop(host.transport.ctx);
}

/* ---- Addresses ---------------------------------------------------------------------------------------------------------- */

/* Most machines have two addresses for this name, and name the one first behind which nobody listens here. */
static void the_other_family_of_a_names_addresses_is_tried_at_once(void **state)
{
    const plan wanted = {.refuse_code = 0};
    (void)state;
    site *it = site_prepare(&wanted);
    it->options.host = "localhost";
    it->options.reconnect_min_ms = LONG_MS;
    it->options.reconnect_max_ms = LONG_MS;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    assert_int_equal(it->host.downs, 0);
    site_finish(it);
}

/* And when there is none, the reason that is told is that of the first. */
static void a_refused_connect_is_told_as_that(void **state)
{
    mqtt_host host;
    busbar_mosquitto_options options = mqtt_host_options(broker_free_port());
    (void)state;
    mqtt_host_start(&host, &options);
    mqtt_host_wait(&host, &host.downs, 3);
    assert_non_null(strstr(host.last_down.reason.text, "refused"));
    mqtt_host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(flapping_is_followed_ten_times_and_then_now_and_then),
        cmocka_unit_test(attempts_are_spread),
        cmocka_unit_test(P6_a_word_ends_the_wait),
        cmocka_unit_test(many_words_hammer_nobody),
        cmocka_unit_test(words_cost_no_healthy_connection),
        cmocka_unit_test(a_word_is_taken_at_any_time),
        cmocka_unit_test(the_other_family_of_a_names_addresses_is_tried_at_once),
        cmocka_unit_test(a_refused_connect_is_told_as_that),
    };
    return cmocka_run_group_tests_name("mosquitto network", cases, NULL, NULL);
}
