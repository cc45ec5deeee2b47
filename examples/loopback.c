/* SPDX-License-Identifier: MIT */
/*
 * A relay without a network: a route over the in-process transport, driven by hand as an event loop would. The link is down
 * at first, and nothing is lost by it; then it comes up, and everything that waited arrives, with no restart and no publish.
 *
 *     loopback DATABASE
 */
#include <busbar/linux.h>
#include <busbar/loopback.h>
#include <stdio.h>
#include <stdlib.h>

/* The peer: gets each message when it is taken. */
static void arrive(const busbar_message *message, void *ctx)
{
    ++*(int *)ctx;
    printf("  arrived: %s %.*s\n", message->topic, (int)message->payload_size_bytes, (const char *)message->payload);
}

static bool tell(int code, const busbar *bus)
{
    busbar_error error;
    if (code >= 0)
        return true;
    busbar_error_get(bus, &error);
    fprintf(stderr, "loopback: %s\n", error.text);
    return false;
}

/* Steps for about so long; a program with an event loop waits for busbar_fd() or `wait_us` instead. */
static bool work(busbar *bus, unsigned time_ms)
{
    const busbar_port *port = busbar_linux_port();
    uint64_t end_us = port->mono_us(port->ctx) + time_ms * UINT64_C(1000);
    uint64_t wait_us = 0;
    while (port->mono_us(port->ctx) < end_us) {
        if (!tell(busbar_step(bus, 1000, &wait_us), bus))
            return false;
    }
    return true;
}

static bool relay(busbar *bus)
{
    int arrived = 0;
    busbar_transport transport;
    const busbar_loopback_options options = {
        .size = sizeof options, .receive = arrive, .ctx = &arrived, .link_down = true};
    const busbar_route route = {.size = sizeof route, .name = "uplink", .topic = "house/{type}"};
    if (busbar_loopback_new(&options, &transport) < 0 || !tell(busbar_route_add(bus, &route, transport), bus))
        return false;
    printf("the link is down: events wait\n");
    if (!work(bus, 300))
        return false;
    printf("%d arrived; now the link comes up\n", arrived);
    busbar_loopback_link(transport, true);
    return work(bus, 500);
}

int main(int argc, char **argv)
{
    busbar *bus = NULL;
    busbar_error error = {0};
    busbar_linux_database *database = NULL;
    const busbar_linux_database_options how = {.size = sizeof how, .mode = BUSBAR_LINUX_WRITE};
    const busbar_options options = {.size = sizeof options, .port = busbar_linux_port()};
    if (argc != 2) {
        fprintf(stderr, "usage: %s DATABASE\n", argv[0]);
        return 2;
    }
    bool done = false;
    if (busbar_linux_database_open(&database, argv[1], &how, &error) == BUSBAR_OK &&
        busbar_open(&bus, busbar_linux_database_handle(database), &options, &error) == BUSBAR_OK)
        done = relay(bus);
    else
        fprintf(stderr, "loopback: %s\n", error.text);
    busbar_close(bus);
    busbar_linux_database_close(database);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
