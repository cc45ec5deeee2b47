/* SPDX-License-Identifier: MIT */
#include "relay_settings.h"

#include "command.h"
#include "database.h"
#include "file.h"
#include "limits.h"
#include "out.h"
#include "value.h"

#include <stdlib.h>
#include <string.h>

#define NAME_DEFAULT       "relay"
#define ENV_USER           "BUSBAR_MQTT_USER"
#define ENV_PASSWORD       "BUSBAR_MQTT_PASSWORD"
#define PASSWORD_MAX_BYTES 65535
#define WINDOW_DEFAULT     20u /* of a route; the transport is given the same */
#define RATE_MAX           1000000

/* ---- The broker's address -------------------------------------------------------------------------------------------- */

static int fail_url(const arguments *args, const char *why)
{
    return arguments_fail(args, "--url is mqtt://HOST[:PORT] or mqtts://HOST[:PORT]; this one %s", why);
}

/* Returns what follows the scheme, or NULL. */
static const char *read_scheme(const char *url, bool *out_tls)
{
    *out_tls = strncmp(url, "mqtts://", 8) == 0;
    if (*out_tls)
        return url + 8;
    return strncmp(url, "mqtt://", 7) == 0 ? url + 7 : NULL;
}

/* Reads the host, of which an IPv6 address stands in brackets. Returns what follows it, or NULL. */
static const char *read_host(const char *text, buffer *out)
{
    bool bracket = text[0] == '[';
    const char *begin = text + bracket;
    size_t length = strcspn(begin, bracket ? "]/?# " : ":/?#[] ");
    if (length == 0 || (bracket && begin[length] != ']'))
        return NULL;
    buffer_add(out, begin, length);
    return begin + length + bracket;
}

/* Reads ":PORT" if it is there. Returns what follows it, or NULL. */
static const char *read_port(const char *text, uint16_t *out)
{
    char digits[8] = "";
    uint64_t port;
    if (*text != ':')
        return text;
    size_t length = strcspn(text + 1, "/");
    if (length < sizeof digits)
        memcpy(digits, text + 1, length);
    if (!value_number(digits, UINT16_MAX, &port) || port == 0)
        return NULL;
    *out = (uint16_t)port;
    return text + 1 + length;
}

static int read_url(const arguments *args, relay_settings *out)
{
    const char *url = out->values[RELAY_URL];
    if (url == NULL)
        return arguments_fail(args, "relay needs --url, the broker's address: mqtt://localhost");
    const char *rest = read_scheme(url, &out->broker.tls.enabled);
    if (rest == NULL)
        return fail_url(args, "begins differently");
    if (strchr(rest, '@') != NULL) /* not echoed: it may hold a password */
        return fail_url(args,
                        "names a user or a password, which others could read in the list of processes; "
                        "give --user and --password-file, or " ENV_USER " and " ENV_PASSWORD " in the environment");
    rest = read_host(rest, &out->host);
    if (rest == NULL)
        return fail_url(args, "has no host");
    rest = read_port(rest, &out->broker.port);
    if (rest == NULL)
        return fail_url(args, "has a port that is not a number from 1 to 65535");
    if (rest[0] != '\0' && strcmp(rest, "/") != 0)
        return fail_url(args, "goes on behind host and port");
    out->broker.host = buffer_text(&out->host);
    return EXIT_DONE;
}

/* ---- User and password ----------------------------------------------------------------------------------------------- */

/* Reads the first line of the file, which must be the only one. */
static int read_password_file(const arguments *args, const char *path, buffer *out)
{
    buffer_reserve(out, 4 * PASSWORD_MAX_BYTES); /* so that growing leaves no copy of it behind */
    if (!file_read(path, PASSWORD_MAX_BYTES, out))
        return EXIT_FAILED;
    if (file_is_exposed(path))
        out_note("%s: others than its owner may read or change it; `chmod 600` mends that", path);
    size_t length = out->size > 0 ? strcspn(buffer_text(out), "\r\n") : 0;
    size_t ending = out->size - length;
    bool one_line = ending == 0 || (ending == 1 && out->bytes[length] == '\n') ||
                    (ending == 2 && memcmp(out->bytes + length, "\r\n", 2) == 0);
    if (length == 0 || !one_line)
        return arguments_fail(args, "%s: must hold the password, on one line, and nothing else", path);
    out->size = length;
    return EXIT_DONE;
}

static int read_login(const arguments *args, relay_settings *out)
{
    const char *path = out->values[RELAY_PASSWORD_FILE];
    const char *from_environment = getenv(ENV_PASSWORD);
    out->broker.username = out->values[RELAY_USER] != NULL ? out->values[RELAY_USER] : getenv(ENV_USER);
    if (path != NULL) {
        int exit_code = read_password_file(args, path, &out->password);
        if (exit_code != EXIT_DONE)
            return exit_code;
    } else if (from_environment != NULL) {
        buffer_add_text(&out->password, from_environment);
    }
    if (out->password.size > 0)
        out->broker.password = buffer_text(&out->password);
    return EXIT_DONE;
}

/* ---- TLS ------------------------------------------------------------------------------------------------------------- */

/* A file that cannot be read would otherwise show only as a connection that never comes up. */
static int check_file(const char *path)
{
    int fd = path != NULL ? file_open(path) : 0;
    file_close(fd);
    return fd < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int read_tls(const arguments *args, relay_settings *out)
{
    busbar_mosquitto_tls *tls = &out->broker.tls;
    tls->ca_file = out->values[RELAY_CA];
    tls->cert_file = out->values[RELAY_CERT];
    tls->key_file = out->values[RELAY_KEY_FILE];
    if (!tls->enabled && (tls->ca_file != NULL || tls->cert_file != NULL || tls->key_file != NULL))
        return arguments_fail(args, "--ca, --cert and --key-file need an mqtts:// URL");
    if ((tls->cert_file == NULL) != (tls->key_file == NULL))
        return arguments_fail(args, "--cert and --key-file need each other");
    int exit_code = check_file(tls->ca_file);
    if (exit_code == EXIT_DONE)
        exit_code = check_file(tls->cert_file);
    return exit_code == EXIT_DONE ? check_file(tls->key_file) : exit_code;
}

/* ---- The route ------------------------------------------------------------------------------------------------------- */

static int read_number(const arguments *args, const char *name, const char *text, uint64_t max, uint32_t *out)
{
    uint64_t number;
    if (text == NULL)
        return EXIT_DONE;
    if (!value_number(text, max, &number))
        return arguments_fail(args, "--%s is a number up to %llu, not \"%s\"", name, (unsigned long long)max, text);
    *out = (uint32_t)number;
    return EXIT_DONE;
}

static int read_qos(const arguments *args, const char *text, busbar_qos *out)
{
    static const busbar_qos levels[] = {BUSBAR_QOS_0, BUSBAR_QOS_1, BUSBAR_QOS_2};
    uint32_t level = 1;
    int exit_code = read_number(args, "qos", text, 2, &level);
    *out = levels[level];
    return exit_code;
}

static int read_format(const arguments *args, const char *text, busbar_format *out)
{
    *out = BUSBAR_FORMAT_STRUCTURED;
    if (text != NULL && strcmp(text, "structured") != 0)
        return arguments_fail(args, "--format is structured, not \"%s\"", text);
    return EXIT_DONE;
}

static int read_ttl(const arguments *args, const char *text, uint64_t *out_ms)
{
    *out_ms = 0;
    if (text == NULL || (value_duration(text, out_ms) && *out_ms > 0))
        return EXIT_DONE;
    return arguments_fail(args, "--ttl is a duration with a unit, such as 500ms, 90s, 10m or 3d, not \"%s\"", text);
}

static int read_unmatched(const arguments *args, const char *text, busbar_unmatched *out)
{
    static const char *const words[] = {
        [BUSBAR_UNMATCHED_ACCEPT] = "accept", [BUSBAR_UNMATCHED_COUNT] = "count", [BUSBAR_UNMATCHED_HOLD] = "hold"};
    *out = BUSBAR_UNMATCHED_ACCEPT;
    for (size_t i = 0; text != NULL && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = (busbar_unmatched)i;
            return EXIT_DONE;
        }
    return text == NULL ? EXIT_DONE : arguments_fail(args, "--unmatched is accept, count or hold, not \"%s\"", text);
}

static int read_protocol(const arguments *args, const char *text, busbar_mosquitto_protocol *out)
{
    *out = BUSBAR_MOSQUITTO_AUTO;
    if (text == NULL || strcmp(text, "auto") == 0)
        return EXIT_DONE;
    *out = strcmp(text, "5") == 0 ? BUSBAR_MOSQUITTO_V5 : BUSBAR_MOSQUITTO_V311;
    if (*out == BUSBAR_MOSQUITTO_V311 && strcmp(text, "3.1.1") != 0)
        return arguments_fail(args, "--mqtt is 5, 3.1.1 or auto, not \"%s\"", text);
    return EXIT_DONE;
}

static bool is_given(const arguments *args, size_t option_index)
{
    for (size_t i = 0; i < args->many_count; i++)
        if (args->many_option[i] == option_index)
            return true;
    return false;
}

static int take_many(const arguments *args, relay_settings *out, size_t index, const char *word)
{
    if (limits_know(relay_options[index].name))
        return limits_take(args, relay_options[index].name, word, &out->bus);
    return relay_match_add(&out->match, args, index == RELAY_MATCH_NOT, word);
}

/* The command line goes before the configuration here too: of each option, the words of one of them count. */
static int read_many(const arguments *args, relay_settings *out)
{
    const relay_config *config = &out->config;
    for (size_t i = 0; i < args->many_count; i++) {
        int exit_code = take_many(args, out, args->many_option[i], args->many[i]);
        if (exit_code != EXIT_DONE)
            return exit_code;
    }
    for (size_t i = 0; i < config->many_count; i++) {
        if (is_given(args, config->many_option[i]))
            continue;
        int exit_code = take_many(args, out, config->many_option[i], config->many[i]);
        if (exit_code != EXIT_DONE)
            return exit_code;
    }
    out->route.filter = relay_match_filter(&out->match);
    return EXIT_DONE;
}

static int read_limits(const arguments *args, relay_settings *out)
{
    int exit_code = EXIT_DONE;
    for (size_t i = 0; exit_code == EXIT_DONE && i < RELAY_OPTION_COUNT; i++)
        if (out->values[i] != NULL && limits_know(relay_options[i].name))
            exit_code = limits_take(args, relay_options[i].name, out->values[i], &out->bus);
    return exit_code == EXIT_DONE ? limits_check(args, &out->bus) : exit_code;
}

static int read_route(const arguments *args, relay_settings *out)
{
    const char *const *values = out->values;
    busbar_route *route = &out->route;
    route->name = values[RELAY_NAME] != NULL ? values[RELAY_NAME] : NAME_DEFAULT;
    route->pattern = values[RELAY_TYPE];
    route->topic = values[RELAY_TOPIC];
    route->window = WINDOW_DEFAULT;
    if (route->topic == NULL)
        return arguments_fail(args, "relay needs --topic, such as 'events/{type}'");
    int exit_code = read_many(args, out);
    if (exit_code == EXIT_DONE)
        exit_code = read_limits(args, out);
    if (exit_code == EXIT_DONE)
        exit_code = read_qos(args, values[RELAY_QOS], &route->qos);
    if (exit_code == EXIT_DONE)
        exit_code = read_format(args, values[RELAY_FORMAT], &route->format);
    if (exit_code == EXIT_DONE)
        exit_code = read_unmatched(args, values[RELAY_UNMATCHED], &route->unmatched);
    if (exit_code == EXIT_DONE)
        exit_code = read_number(args, "window", values[RELAY_WINDOW], BUSBAR_MOSQUITTO_WINDOW_MAX, &route->window);
    if (exit_code == EXIT_DONE && route->window == 0)
        return arguments_fail(args, "--window is 1 or more");
    if (exit_code == EXIT_DONE)
        exit_code = read_number(args, "rate", values[RELAY_RATE], RATE_MAX, &route->rate_per_s);
    return exit_code == EXIT_DONE ? read_ttl(args, values[RELAY_TTL], &route->ttl_ms) : exit_code;
}

static int read_broker(const arguments *args, relay_settings *out)
{
    out->broker.client_id = out->values[RELAY_CLIENT_ID];
    out->broker.window = out->route.window;
    int exit_code = read_protocol(args, out->values[RELAY_MQTT], &out->broker.protocol);
    if (exit_code == EXIT_DONE)
        exit_code = read_url(args, out);
    if (exit_code == EXIT_DONE)
        exit_code = read_login(args, out);
    return exit_code == EXIT_DONE ? read_tls(args, out) : exit_code;
}

/* ---- All of it ------------------------------------------------------------------------------------------------------- */

int relay_settings_read(relay_settings *out, const arguments *args)
{
    *out = (relay_settings){.route = {.size = sizeof out->route}, .broker = {.size = sizeof out->broker}};
    out->bus = database_bus_options();
    const char *config = args->values[RELAY_CONFIG];
    if (config != NULL && !relay_config_read(&out->config, config))
        return EXIT_FAILED;
    for (size_t i = 0; i < RELAY_OPTION_COUNT; i++)
        out->values[i] = args->values[i] != NULL ? args->values[i] : out->config.values[i];
    out->drain = out->values[RELAY_DRAIN] != NULL;
    out->stats = out->values[RELAY_STATS] != NULL;
    int exit_code = read_route(args, out);
    return exit_code == EXIT_DONE ? read_broker(args, out) : exit_code;
}

/* A volatile pointer, so that the stores to memory about to be freed are not optimised away. */
static void wipe(buffer *secret)
{
    volatile char *bytes = secret->bytes;
    for (size_t i = 0; i < secret->capacity; i++)
        bytes[i] = '\0';
}

void relay_settings_free(relay_settings *self)
{
    wipe(&self->password);
    buffer_free(&self->password);
    buffer_free(&self->host);
    relay_match_free(&self->match);
    relay_config_free(&self->config);
}
