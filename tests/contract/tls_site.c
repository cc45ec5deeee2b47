/* SPDX-License-Identifier: MIT */
/* A broker behind TLS, with certificates made for the test. */
#define _POSIX_C_SOURCE 200809L

#include "test.h"

#include "tls_site.h"

#include <stdio.h>

#include "mqtt_host.h"

static void make_authority(const char *directory, const char *name)
{
    char key[64], certificate[64], subject[64];
    (void)snprintf(key, sizeof key, "%s.key", name);
    (void)snprintf(certificate, sizeof certificate, "%s.crt", name);
    (void)snprintf(subject, sizeof subject, "/CN=%s", name);
    broker_run(directory, (const char *const[]){"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                                                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                                                subject, "-keyout", key, "-out", certificate, NULL});
}

void tls_certificate_make(const char *directory, const char *name, const char *subject, const char *extension)
{
    char key[64], request[64], certificate[64];
    (void)snprintf(key, sizeof key, "%s.key", name);
    (void)snprintf(request, sizeof request, "%s.csr", name);
    (void)snprintf(certificate, sizeof certificate, "%s.crt", name);
    broker_file_write(directory, "extension", extension);
    broker_run(directory,
               (const char *const[]){"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                                     "-nodes", "-subj", subject, "-keyout", key, "-out", request, NULL});
    broker_run(directory, (const char *const[]){"openssl", "x509", "-req", "-in", request, "-CA", "ca.crt", "-CAkey",
                                                "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extension",
                                                "-out", certificate, NULL});
}

void tls_site_start(tls_site *it, const char *more_config)
{
    char config[1024];

    broker_directory_make(it->directory);
    make_authority(it->directory, "ca");
    make_authority(it->directory, "other");
    tls_certificate_make(it->directory, "server", "/CN=broker.test", "subjectAltName=IP:127.0.0.1,DNS:broker.test\n");
    tls_certificate_make(it->directory, "device", "/CN=device-1", "extendedKeyUsage=clientAuth\n");
    broker_file_path(it->directory, "ca.crt", it->ca);
    broker_file_path(it->directory, "other.crt", it->other_ca);
    broker_file_path(it->directory, "device.crt", it->device_certificate);
    broker_file_path(it->directory, "device.key", it->device_key);
    (void)snprintf(config, sizeof config,
                   "allow_anonymous true\ncafile %s/ca.crt\ncertfile %s/server.crt\nkeyfile %s/server.key\n%s\n",
                   it->directory, it->directory, it->directory, more_config);
    it->broker = broker_start(config);
}

void tls_site_stop(tls_site *it)
{
    broker_free(it->broker);
    broker_directory_remove(it->directory);
}

busbar_mosquitto_options tls_site_options(const tls_site *it)
{
    busbar_mosquitto_options options = mqtt_host_options(broker_port(it->broker));
    options.tls.enabled = true;
    options.tls.ca_file = it->ca;
    return options;
}
