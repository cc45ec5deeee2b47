/* SPDX-License-Identifier: MIT */
/*
 * An application that forwards its events itself: a runner with a route to an MQTT broker, which may come and go. It does
 * what `busbar relay` does as a program of its own.
 *
 *     gateway DATABASE HOST PORT       until it is told to end (SIGINT, SIGTERM)
 */
#define _POSIX_C_SOURCE 200809L

#include <busbar/linux.h>
#include <busbar/mosquitto.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct broker {
    const char *host;
    uint16_t port;
} broker;

/* Called once on the runner's thread. */
static int set_up(busbar *bus, void *ctx)
{
    const broker *to = ctx;
    const busbar_mosquitto_options options = {.size = sizeof options, .host = to->host, .port = to->port};
    const busbar_route route = {.size = sizeof route, .name = "gateway", .topic = "house/{type}"};
    busbar_transport transport;
    busbar_reason reason = {0};
    int result = busbar_mosquitto_new(&options, &transport, &reason);
    if (result != BUSBAR_OK) {
        fprintf(stderr, "gateway: %s\n", reason.text);
        return result;
    }
    return busbar_route_add(bus, &route, transport); /* the transport is the bus's from here on */
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s DATABASE HOST PORT\n", argv[0]);
        return 2;
    }
    /* Blocked before the runner's thread exists, so that only sigwait gets them. */
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    broker to = {argv[2], (uint16_t)atoi(argv[3])};
    busbar_error error = {0};
    busbar_runner *runner = NULL;
    const busbar_runner_options options = {
        .size = sizeof options, .path = argv[1], .create = true, .setup = set_up, .ctx = &to};
    if (busbar_runner_start(&runner, &options, &error) != BUSBAR_OK) {
        fprintf(stderr, "gateway: %s\n", error.text);
        return EXIT_FAILURE;
    }
    int signal_number = 0;
    sigwait(&ends, &signal_number);
    return busbar_runner_stop(runner) == BUSBAR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
