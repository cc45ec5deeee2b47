/* SPDX-License-Identifier: MIT */
/*
 * The options of a transport, checked, completed with the defaults and copied. Knows the limits of MQTT and of
 * libmosquitto, but neither threads nor sockets.
 */
#ifndef BB_MOSQUITTO_SETTINGS_H
#define BB_MOSQUITTO_SETTINGS_H

#include <busbar/mosquitto.h>

#define BB_MOSQUITTO_CLIENT_ID_SIZE 24

typedef struct bb_mosquitto_settings {
    char *host;
    char *client_id; /* never NULL: a connection that lingers at the broker is then taken over by the next one */
    char *username;  /* this and the following may be NULL */
    char *password;
    char *ca_file;
    char *ca_path;
    char *cert_file;
    char *key_file;
    char *alpn;
    busbar_mosquitto_protocol protocol;
    uint16_t port;
    bool tls;
    uint16_t keepalive_s;
    uint32_t window;
    uint32_t reconnect_min_ms;
    uint32_t reconnect_max_ms;
    uint32_t connect_timeout_ms;
    uint32_t ack_timeout_ms;
} bb_mosquitto_settings;

/*
 * Fills *out_settings from the options, which it copies. Returns BUSBAR_OK; BUSBAR_EINVAL, BUSBAR_ENOMEM or BUSBAR_EIO
 * (no random bytes) with *out_reason set and nothing kept.
 */
int bb_mosquitto_settings_copy(const busbar_mosquitto_options *options, bb_mosquitto_settings *out_settings,
                               busbar_reason *out_reason);

/* Frees the copies; the password's bytes are overwritten first. */
void bb_mosquitto_settings_free(bb_mosquitto_settings *settings);

#endif
