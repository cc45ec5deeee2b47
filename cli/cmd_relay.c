/* SPDX-License-Identifier: MIT */
/* busbar relay: forwards events to an MQTT broker. The runner's thread works; this one waits, watches and tells. */
#define _POSIX_C_SOURCE 200809L

#include "broker.h"
#include "command.h"
#include "database.h"
#include "limits.h"
#include "out.h"
#include "relay_settings.h"
#include "relay_watch.h"
#include "stop.h"

#include <inttypes.h>

static const char help[] = "usage: busbar relay DATABASE --url URL --topic TEMPLATE [--OPTION...]\n"
                           "\n"
                           "Forwards events to an MQTT broker, as structured CloudEvents JSON, in order, at least\n"
                           "once; waits for the broker as long as it takes. Ends on SIGINT and SIGTERM.\n"
                           "\n"
                           "  --url URL            mqtt://HOST[:PORT] or mqtts://HOST[:PORT], the latter with TLS\n"
                           "  --topic TEMPLATE     with {type} {source} {subject} {key} {id} {lane}\n"
                           "  --name NAME          of this route, under which its progress is kept (default relay)\n"
                           "  --type PATTERN       only events of these types; * is one segment, # any number\n"
                           "  --match NAME=VALUE   only events with this attribute (source, subject, key, ..., the\n"
                           "                       name of an extension); VALUE* begins so, *VALUE ends so. Given\n"
                           "                       several times, all must match\n"
                           "  --match-not NAME=VALUE  no events that match this; given several times, none may match\n"
                           "  --drain              end with 0 as soon as nothing is left, and not before; stopped\n"
                           "                       earlier, end with 1\n"
                           "  --stats              at the end, say on standard output what it has written\n"
                           "  --qos 0|1|2          (default 1); with 0, events can be lost on the way\n"
                           "  --format structured\n"
                           "  --window N           messages sent and not yet acknowledged, at most (default 20)\n"
                           "  --rate N             messages per second, at most (default: no limit)\n"
                           "  --ttl DURATION       older events are not sent, and counted as expired; what is left\n"
                           "                       goes along as message expiry (MQTT 5): 90s, 10m, 1h30m, 3d\n"
                           "  --unmatched accept|count|hold  what a message is that the broker took while nobody was\n"
                           "                       subscribed to its topic: delivered, the same but counted, or not\n"
                           "                       delivered, to be sent again until somebody is (default accept;\n"
                           "                       needs MQTT 5 and QoS 1)\n"
                           "  --user NAME          also BUSBAR_MQTT_USER in the environment\n"
                           "  --password-file FILE also BUSBAR_MQTT_PASSWORD in the environment\n"
                           "  --ca FILE            trusted authorities, PEM (default: those of the system)\n"
                           "  --cert FILE          client certificate, PEM; needs --key-file\n"
                           "  --key-file FILE      its private key, PEM, not encrypted\n"
                           "  --client-id ID       (default: random)\n"
                           "  --mqtt 5|3.1.1|auto  (default auto: 5, and 3.1.1 if the broker refuses that)\n"
                           "  --config FILE        a JSON object with the names of these options; the command line\n"
                           "                       goes before it: {\"url\": \"mqtt://localhost\", \"qos\": 1}\n"
                           "\n"
                           "Limits, which this worker holds:\n"
                           "\n" LIMITS_HELP_BOTH LIMITS_HELP_WORKER "\n"
                           "What the broker refuses for good is kept as a dead letter: `busbar list DATABASE\n"
                           "--consumer relay --state dead`. Dead letters do not keep --drain from ending with 0.\n"
                           "If the database is removed or replaced while it runs, it ends with 1.\n";

/* It reads each event once: more cache would only make its memory grow with the backlog (P9). */
#define CACHE_KIB 256

/* What the runner's thread needs to set itself up. */
typedef struct setup {
    const busbar_route *route;
    busbar_transport transport;
    bool given; /* the transport belongs to the bus */
} setup;

static int add_route(busbar *bus, void *ctx)
{
    setup *self = ctx;
    self->given = true;
    return busbar_route_add(bus, self->route, self->transport);
}

/* A relay into a file without Busbar's tables would make them, and wait for ever: more likely the name is wrong. */
static int check_database(const char *path)
{
    database db;
    int exit_code = database_open_writing(&db, path);
    database_close(&db);
    return exit_code;
}

static int start(const char *path, const relay_settings *settings, busbar_runner **out_runner)
{
    busbar_reason reason = {0};
    busbar_error error = {0};
    setup self = {.route = &settings->route};
    busbar_runner_options options = {.size = sizeof options,
                                     .path = path,
                                     .bus = &settings->bus,
                                     .setup = add_route,
                                     .ctx = &self,
                                     .cache_kib = CACHE_KIB};
    if (broker_new(&settings->broker, &self.transport, &reason) != BUSBAR_OK) {
        out_error("cannot relay to %s: %s", settings->values[RELAY_URL], reason.text);
        return EXIT_FAILED;
    }
    int code = busbar_runner_start(out_runner, &options, &error);
    if (code == BUSBAR_OK)
        return EXIT_DONE;
    if (!self.given)
        self.transport.api->stop(self.transport.ctx);
    return database_fail_with(path, code, &error);
}

/* Since it was started: for sizing the wear of flash memory. */
static void tell_writes(busbar_runner *runner)
{
    busbar_status status = {.size = sizeof status};
    if (busbar_runner_status(runner, &status) == BUSBAR_OK)
        out_line("written: %" PRId64 " bytes in %" PRId64 " transactions, %" PRId64 " of them synced",
                 status.written_bytes, status.commit_count, status.synced_count);
}

static int stop(const char *path, busbar_runner *runner)
{
    int code = busbar_runner_stop(runner);
    if (code == BUSBAR_OK)
        return EXIT_DONE;
    out_error("%s: ended, but not cleanly: %s; what was not recorded as delivered will be sent again", path,
              busbar_error_text(code));
    return EXIT_FAILED;
}

static int relay(const char *path, const relay_settings *settings)
{
    busbar_runner *runner;
    int exit_code = check_database(path);
    if (exit_code == EXIT_DONE && !stop_begin())
        exit_code = EXIT_FAILED;
    if (exit_code == EXIT_DONE)
        exit_code = start(path, settings, &runner);
    if (exit_code != EXIT_DONE)
        return exit_code;
    exit_code = relay_watch(path, settings->route.name, runner, settings->drain);
    if (settings->stats)
        tell_writes(runner);
    int stopped = stop(path, runner);
    return exit_code != EXIT_DONE ? exit_code : stopped;
}

static int run(const arguments *args)
{
    relay_settings settings;
    int exit_code = relay_settings_read(&settings, args);
    if (exit_code == EXIT_DONE)
        exit_code = relay(args->operands[0], &settings);
    relay_settings_free(&settings);
    return exit_code;
}

const command cmd_relay = {
    .name = "relay",
    .summary = "forward events to an MQTT broker",
    .help = help,
    .options = relay_options,
    .option_count = RELAY_OPTION_COUNT,
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
