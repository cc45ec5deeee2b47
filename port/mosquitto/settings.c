/* SPDX-License-Identifier: MIT */
/*
 * Checks and copies a transport's options. Everything that can be refused before there is a connection is refused here,
 * because a wrong option would otherwise only show as a connection that never comes up.
 */
#define _DEFAULT_SOURCE /* getrandom */

#include "settings.h"

#include <errno.h>
#include <mosquitto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "reason.h"

#define MQTT_STRING_MAX 65535
#define ALPN_MAX        254
#define KEEPALIVE_MIN_S 5 /* libmosquitto refuses less */

/* A volatile pointer, so that the stores to memory about to be freed are not optimised away. */
static void wipe(char *secret)
{
    for (volatile char *byte = secret; *byte != '\0'; byte++) {
        *byte = '\0';
    }
}

void bb_mosquitto_settings_free(bb_mosquitto_settings *settings)
{
    if (settings->password != NULL) {
        wipe(settings->password);
    }
    free(settings->host);
    free(settings->client_id);
    free(settings->username);
    free(settings->password);
    free(settings->ca_file);
    free(settings->ca_path);
    free(settings->cert_file);
    free(settings->key_file);
    free(settings->alpn);
    memset(settings, 0, sizeof *settings);
}

/* 23 letters and digits: what every MQTT 3.1.1 broker must take. */
static int random_client_id(char out[BB_MOSQUITTO_CLIENT_ID_SIZE])
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char prefix[] = "busbar";
    unsigned char bytes[BB_MOSQUITTO_CLIENT_ID_SIZE - sizeof prefix];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return -1;
    }
    memcpy(out, prefix, sizeof prefix - 1);
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[sizeof prefix - 1 + i] = alphabet[bytes[i] % (sizeof alphabet - 1)];
    }
    out[BB_MOSQUITTO_CLIENT_ID_SIZE - 1] = '\0';
    return 0;
}

/* NULL when the text may go into a packet, else what is wrong with it. */
static const char *mqtt_string_fault(const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    size_t length = strlen(text);
    if (length == 0) {
        return "is empty";
    }
    if (length > MQTT_STRING_MAX) {
        return "is longer than 65535 bytes";
    }
    if (mosquitto_validate_utf8(text, (int)length) != MOSQ_ERR_SUCCESS) {
        return "is not valid UTF-8, or has control characters";
    }
    return NULL;
}

static int refuse(busbar_reason *out_reason, const char *option, const char *fault)
{
    bb_mosquitto_reason_set(out_reason, EINVAL, "option %s %s", option, fault);
    return BUSBAR_EINVAL;
}

static int check_strings(const busbar_mosquitto_options *options, busbar_reason *out_reason)
{
    const struct {
        const char *name;
        const char *value;
    } strings[] = {{"host", options->host}, {"client_id", options->client_id}, {"username", options->username}};

    if (options->host == NULL) {
        return refuse(out_reason, "host", "is missing");
    }
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        const char *fault = mqtt_string_fault(strings[i].value);
        if (fault != NULL) {
            return refuse(out_reason, strings[i].name, fault);
        }
    }
    if (options->password != NULL && strlen(options->password) > MQTT_STRING_MAX) {
        return refuse(out_reason, "password", "is longer than 65535 bytes");
    }
    if (options->password != NULL && options->username == NULL && options->protocol != BUSBAR_MOSQUITTO_V5) {
        return refuse(out_reason, "password", "needs a username, unless protocol is MQTT 5 only");
    }
    return BUSBAR_OK;
}

static int check_tls(const busbar_mosquitto_tls *tls, busbar_reason *out_reason)
{
    bool any = tls->ca_file != NULL || tls->ca_path != NULL || tls->cert_file != NULL || tls->key_file != NULL ||
               tls->alpn != NULL;

    if (any && !tls->enabled) {
        return refuse(out_reason, "tls", "has files or a protocol name, but is not enabled");
    }
    if ((tls->cert_file == NULL) != (tls->key_file == NULL)) {
        return refuse(out_reason, "tls", "needs cert_file and key_file together");
    }
    if (tls->alpn != NULL && (tls->alpn[0] == '\0' || strlen(tls->alpn) > ALPN_MAX)) {
        return refuse(out_reason, "tls.alpn", "must have 1 to 254 bytes");
    }
    return BUSBAR_OK;
}

static int check_numbers(const busbar_mosquitto_options *options, busbar_reason *out_reason)
{
    if (options->protocol != BUSBAR_MOSQUITTO_AUTO && options->protocol != BUSBAR_MOSQUITTO_V311 &&
        options->protocol != BUSBAR_MOSQUITTO_V5) {
        return refuse(out_reason, "protocol", "is none of AUTO, V311 and V5");
    }
    if (options->keepalive_s != 0 && (options->keepalive_s < KEEPALIVE_MIN_S || options->keepalive_s > UINT16_MAX)) {
        return refuse(out_reason, "keepalive_s", "must be 5 to 65535, or 0 for 30");
    }
    if (options->window > BUSBAR_MOSQUITTO_WINDOW_MAX) {
        return refuse(out_reason, "window", "must be at most 10000");
    }
    return BUSBAR_OK;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

static void complete_numbers(const busbar_mosquitto_options *options, bb_mosquitto_settings *settings)
{
    settings->protocol = options->protocol;
    settings->tls = options->tls.enabled;
    settings->port = (uint16_t)or_default(options->port, options->tls.enabled ? 8883 : 1883);
    settings->keepalive_s = (uint16_t)or_default(options->keepalive_s, 30);
    settings->window = or_default(options->window, 100);
    settings->reconnect_min_ms = or_default(options->reconnect_min_ms, 1000);
    settings->reconnect_max_ms = or_default(options->reconnect_max_ms, 60000);
    if (settings->reconnect_max_ms < settings->reconnect_min_ms) {
        settings->reconnect_max_ms = settings->reconnect_min_ms;
    }
    settings->connect_timeout_ms = or_default(options->connect_timeout_ms, 10000);
    settings->ack_timeout_ms = or_default(options->ack_timeout_ms, 30000);
}

static bool copy_string(const char *text, char **out_copy)
{
    if (text != NULL) {
        *out_copy = strdup(text);
        return *out_copy != NULL;
    }
    return true;
}

static bool copy_strings(const busbar_mosquitto_options *options, const char *client_id,
                         bb_mosquitto_settings *settings)
{
    return copy_string(options->host, &settings->host) && copy_string(client_id, &settings->client_id) &&
           copy_string(options->username, &settings->username) && copy_string(options->password, &settings->password) &&
           copy_string(options->tls.ca_file, &settings->ca_file) &&
           copy_string(options->tls.ca_path, &settings->ca_path) &&
           copy_string(options->tls.cert_file, &settings->cert_file) &&
           copy_string(options->tls.key_file, &settings->key_file) && copy_string(options->tls.alpn, &settings->alpn);
}

int bb_mosquitto_settings_copy(const busbar_mosquitto_options *options, bb_mosquitto_settings *out_settings,
                               busbar_reason *out_reason)
{
    bb_mosquitto_settings settings = {0};
    char client_id[BB_MOSQUITTO_CLIENT_ID_SIZE];

    if (options == NULL || options->size != sizeof *options) {
        return refuse(out_reason, "size", "is not that of this library's options");
    }
    int rc = check_strings(options, out_reason);
    rc = rc == BUSBAR_OK ? check_tls(&options->tls, out_reason) : rc;
    rc = rc == BUSBAR_OK ? check_numbers(options, out_reason) : rc;
    if (rc != BUSBAR_OK) {
        return rc;
    }
    if (options->client_id == NULL && random_client_id(client_id) != 0) {
        bb_mosquitto_reason_set(out_reason, errno, "no random bytes for a client id; give one");
        return BUSBAR_EIO;
    }
    complete_numbers(options, &settings);
    if (!copy_strings(options, options->client_id != NULL ? options->client_id : client_id, &settings)) {
        bb_mosquitto_settings_free(&settings);
        bb_mosquitto_reason_set(out_reason, ENOMEM, "out of memory for the options");
        return BUSBAR_ENOMEM;
    }
    *out_settings = settings;
    return BUSBAR_OK;
}
