/* SPDX-License-Identifier: MIT */
/* A real broker behind TLS, and the certificates of its world. */
#ifndef TLS_SITE_H
#define TLS_SITE_H

#include <busbar/mosquitto.h>

#include "broker.h"

typedef struct tls_site {
    broker *broker;
    char directory[BROKER_PATH_SIZE];
    char ca[BROKER_PATH_SIZE], other_ca[BROKER_PATH_SIZE];
    char device_certificate[BROKER_PATH_SIZE], device_key[BROKER_PATH_SIZE];
} tls_site;

/* A broker whose certificate, signed by `ca`, is for 127.0.0.1 and broker.test, and not for "localhost". */
void tls_site_start(tls_site *it, const char *more_config);
void tls_site_stop(tls_site *it);
/* Makes NAME.key and NAME.crt in the directory of a site, signed by `ca`. */
void tls_certificate_make(const char *directory, const char *name, const char *subject, const char *extension);
/* Options for a transport to it that trusts `ca`. */
busbar_mosquitto_options tls_site_options(const tls_site *it);

#endif
