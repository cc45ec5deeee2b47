/* SPDX-License-Identifier: MIT */
/* A runner in the test program. */
#include "test.h"

#include "courier.h"

#include "device.h"

static int add_route(busbar *bus, void *context)
{
    courier *it = context;
    const busbar_route route = {
        .size = sizeof route, .name = DEVICE_ROUTE, .topic = "devices/{type}", .window = it->options->window};
    busbar_reason reason;
    int code = busbar_mosquitto_new(it->options, &it->transport, &reason);
    return code == BUSBAR_OK ? busbar_route_add(bus, &route, it->transport) : code;
}

void courier_start(courier *it, const char *database, const busbar_mosquitto_options *options)
{
    const busbar_options bus = {.size = sizeof bus, .source = DEVICE_SOURCE, .keep_events = DEVICE_KEEP_EVENTS};
    const busbar_runner_options runner = {
        .size = sizeof runner, .path = database, .bus = &bus, .setup = add_route, .ctx = it};
    busbar_error error;

    it->options = options;
    if (busbar_runner_start(&it->runner, &runner, &error) != BUSBAR_OK) {
        fail_msg("the runner does not start: %s", error.text);
    }
}

void courier_stop(courier *it)
{
    busbar_runner *runner = it->runner;
    it->runner = NULL;
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}
