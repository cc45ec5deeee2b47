/* SPDX-License-Identifier: MIT */
/*
 * A program of its own whose library has every part. For test_without.c: `prepare` leaves in a database what a library
 * without the parts cannot make, `finish` goes on with it after that library has been at work.
 * Usage: whole prepare|finish DATABASE
 */
#include <busbar/busbar.h>
#include <busbar/loopback.h>
#include <busbar/sim.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define EVENTS 20
#define KEPT   5
#define HOUR   INT64_C(3600000)

typedef struct site {
    sqlite3 *db;
    busbar_sim *sim;
    busbar *bus;
    busbar_transport transport;
    int gaps;
    int scheduled;
} site;

static int complain(const site *s, const char *what)
{
    busbar_error error = {.code = 0};
    busbar_error_get(s->bus, &error);
    fprintf(stderr, "whole: %s: %s\n", what, error.text);
    return 1;
}

static void receive(const busbar_message *message, void *ctx)
{
    site *s = ctx;
    char payload[4096];
    snprintf(payload, sizeof payload, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    s->gaps += strstr(payload, "\"type\":\"busbar.gap\"") && strstr(payload, "\"count\":15");
    s->scheduled += strstr(payload, "\"id\":\"for-later\"") != NULL;
}

static int set_up(site *s, const char *path, bool link_down)
{
    busbar_loopback_options loopback = {.size = sizeof loopback, .receive = receive, .ctx = s, .link_down = link_down};
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "t/{type}"};
    s->sim = busbar_sim_new(1);
    busbar_options options = {.size = sizeof options,
                              .port = busbar_sim_port(s->sim),
                              .source = "urn:test:device",
                              .max_events = {[BUSBAR_NORMAL] = KEPT}};
    busbar_error error = {.code = 0};
    if (sqlite3_open(path, &s->db) != SQLITE_OK || busbar_open(&s->bus, s->db, &options, &error) < 0) {
        fprintf(stderr, "whole: %s: %s\n", path, error.text);
        return 1;
    }
    if (busbar_loopback_new(&loopback, &s->transport) < 0 || busbar_route_add(s->bus, &route, s->transport) < 0)
        return complain(s, "the route");
    return 0;
}

static int step(site *s)
{
    for (int i = 0; i < 100; i++) {
        uint64_t wait_us = 0;
        if (busbar_step(s->bus, 100000, &wait_us) < 0)
            return complain(s, "a step");
        busbar_sim_advance(s->sim, 100000);
    }
    return 0;
}

/* A gap that was not told, and an event that is due in an hour. */
static int prepare(site *s)
{
    busbar_event event = {.size = sizeof event, .type = "a.b"};
    for (int i = 0; i < EVENTS; i++) {
        if (busbar_publish(s->bus, &event, NULL) < 0)
            return complain(s, "publishing");
    }
    event.id = "for-later";
    event.not_before_ms = BUSBAR_SIM_WALL_MS + HOUR;
    return busbar_publish(s->bus, &event, NULL) < 0 ? complain(s, "putting off") : step(s);
}

/* Both are still there, and go out. */
static int finish(site *s)
{
    busbar_sim_wall_set(s->sim, BUSBAR_SIM_WALL_MS + 2 * HOUR, BUSBAR_CLOCK_TRUSTED);
    int result = step(s);
    if (result == 0 && (s->gaps != 1 || s->scheduled != 1))
        fprintf(stderr, "whole: %d gaps and %d scheduled events were sent instead of one each\n", s->gaps,
                s->scheduled);
    return result != 0 || s->gaps != 1 || s->scheduled != 1;
}

int main(int argc, char **argv)
{
    site s = {.gaps = 0};
    if (argc != 3)
        return 2;
    bool first = strcmp(argv[1], "prepare") == 0;
    int result = set_up(&s, argv[2], first);
    if (result == 0)
        result = first ? prepare(&s) : finish(&s);
    if (busbar_close(s.bus) < 0 || sqlite3_close(s.db) != SQLITE_OK)
        result = 1;
    busbar_sim_free(s.sim);
    return result;
}
