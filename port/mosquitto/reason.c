/* SPDX-License-Identifier: MIT */
/* The table of reason codes, and the texts made from it. */
#define _POSIX_C_SOURCE 200809L /* strerror_r, gai_strerror */

#include "reason.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Comes after the name in a text; "" where nothing can be done but wait. */
#define CHECK_ACCESS "; check username, password and the broker's access rules"
#define CHECK_LOGIN  "; check username and password"
#define CHECK_ID     "; choose another client_id"
#define CHECK_SIZE   "; the message may be too large for the broker"
#define CHECK_TOPIC  "; check the route's topic"
#define CHECK_TAKEN  "; another client uses the same client_id"
#define CHECK_HOST   "; change the host"

typedef struct known_code {
    int code;
    bb_mosquitto_outcome outcome;
    const char *name;
    const char *advice;
} known_code;

static const known_code known_codes[] = {
    {0x00, BB_MOSQUITTO_ACKED, "success", ""},
    {0x10, BB_MOSQUITTO_ACKED, "no matching subscribers", ""},
    {0x80, BB_MOSQUITTO_RETRY, "unspecified error", ""},
    {0x81, BB_MOSQUITTO_RETRY, "malformed packet", ""},
    {0x82, BB_MOSQUITTO_RETRY, "protocol error", ""},
    {0x83, BB_MOSQUITTO_DEAD, "implementation specific error", CHECK_SIZE},
    {0x84, BB_MOSQUITTO_RETRY, "unsupported protocol version", ""},
    {0x85, BB_MOSQUITTO_RETRY, "client identifier not valid", CHECK_ID},
    {0x86, BB_MOSQUITTO_RETRY, "bad user name or password", CHECK_LOGIN},
    {0x87, BB_MOSQUITTO_RETRY, "not authorized", CHECK_ACCESS},
    {0x88, BB_MOSQUITTO_RETRY, "server unavailable", ""},
    {0x89, BB_MOSQUITTO_RETRY, "server busy", ""},
    {0x8a, BB_MOSQUITTO_RETRY, "banned", "; ask the broker's operator"},
    {0x8b, BB_MOSQUITTO_RETRY, "server shutting down", ""},
    {0x8c, BB_MOSQUITTO_RETRY, "bad authentication method", CHECK_LOGIN},
    {0x8d, BB_MOSQUITTO_RETRY, "keep alive timeout", ""},
    {0x8e, BB_MOSQUITTO_RETRY, "session taken over", CHECK_TAKEN},
    {0x8f, BB_MOSQUITTO_RETRY, "topic filter invalid", ""},
    {0x90, BB_MOSQUITTO_DEAD, "topic name invalid", CHECK_TOPIC},
    {0x91, BB_MOSQUITTO_RECONNECT, "packet identifier in use", ""},
    {0x92, BB_MOSQUITTO_RETRY, "packet identifier not found", ""},
    {0x93, BB_MOSQUITTO_RETRY, "receive maximum exceeded", ""},
    {0x94, BB_MOSQUITTO_RETRY, "topic alias invalid", ""},
    {0x95, BB_MOSQUITTO_DEAD, "packet too large", CHECK_SIZE},
    {0x96, BB_MOSQUITTO_RETRY, "message rate too high", "; set the route's rate limit"},
    {0x97, BB_MOSQUITTO_RETRY, "quota exceeded", ""},
    {0x98, BB_MOSQUITTO_RETRY, "administrative action", ""},
    {0x99, BB_MOSQUITTO_DEAD, "payload format invalid", "; the payload is not what its content type says"},
    {0x9a, BB_MOSQUITTO_RETRY, "retain not supported", ""},
    {0x9b, BB_MOSQUITTO_DEAD, "QoS not supported", "; choose a lower QoS for the route"},
    {0x9c, BB_MOSQUITTO_RETRY, "use another server", CHECK_HOST},
    {0x9d, BB_MOSQUITTO_RETRY, "server moved", CHECK_HOST},
    {0x9e, BB_MOSQUITTO_RETRY, "shared subscriptions not supported", ""},
    {0x9f, BB_MOSQUITTO_RETRY, "connection rate exceeded", ""},
    {0xa0, BB_MOSQUITTO_RETRY, "maximum connect time", ""},
    {0xa1, BB_MOSQUITTO_RETRY, "subscription identifiers not supported", ""},
    {0xa2, BB_MOSQUITTO_RETRY, "wildcard subscriptions not supported", ""},
};

static known_code find_code(int code)
{
    for (size_t i = 0; i < sizeof known_codes / sizeof known_codes[0]; i++) {
        if (known_codes[i].code == code) {
            return known_codes[i];
        }
    }
    return (known_code){code, code < 0x80 ? BB_MOSQUITTO_ACKED : BB_MOSQUITTO_RETRY, "unknown reason", ""};
}

bb_mosquitto_outcome bb_mosquitto_reason_outcome(int code)
{
    return find_code(code).outcome;
}

bool bb_mosquitto_reason_unmatched(const bb_mosquitto_slot *slot)
{
    return slot->outcome == BB_MOSQUITTO_ACKED && slot->code == MQTT_RC_NO_MATCHING_SUBSCRIBERS;
}

const char *bb_mosquitto_reason_name(int code)
{
    return find_code(code).name;
}

int bb_mosquitto_reason_from_v311(int return_code)
{
    static const int equals[] = {0x00, 0x84, 0x85, 0x88, 0x86, 0x87};
    bool known = return_code >= 0 && return_code < (int)(sizeof equals / sizeof equals[0]);
    return known ? equals[return_code] : 0x80;
}

/* Ends the text before a character that was cut in two, and keeps it on one line. */
static void tidy(char *text, bool cut)
{
    size_t length = strlen(text);

    if (cut) {
        while (length > 0 && ((unsigned char)text[length - 1] & 0xc0) == 0x80) {
            length--;
        }
        if (length > 0 && ((unsigned char)text[length - 1] & 0x80) != 0) {
            length--;
        }
        text[length] = '\0';
    }
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = ' ';
        }
    }
}

void bb_mosquitto_reason_set(busbar_reason *reason, int32_t code, const char *format, ...)
{
    va_list arguments;

    if (reason == NULL) {
        return;
    }
    va_start(arguments, format);
    int length = vsnprintf(reason->text, sizeof reason->text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        reason->text[0] = '\0';
    }
    tidy(reason->text, length >= (int)sizeof reason->text);
    reason->code = code;
}

/* " (the broker says: …)" would push the advice out of the text, so the broker's own words replace it. */
static const char *say(const known_code *known, const char *detail, const char **out_separator)
{
    bool has_detail = detail != NULL && detail[0] != '\0';
    *out_separator = has_detail ? "; the broker says: " : "";
    return has_detail ? detail : known->advice;
}

void bb_mosquitto_reason_connack(busbar_reason *reason, const bb_mosquitto_place *place, int code, const char *detail)
{
    known_code known = find_code(code);
    const char *separator;
    const char *words = say(&known, detail, &separator);
    bb_mosquitto_reason_set(reason, code, "%s:%u refused the connection: %s (0x%02x)%s%s", place->host, place->port,
                            known.name, (unsigned)code, separator, words);
}

void bb_mosquitto_reason_disconnect(busbar_reason *reason, const bb_mosquitto_place *place, int code)
{
    known_code known = find_code(code);
    bb_mosquitto_reason_set(reason, code, "%s:%u ended the connection: %s (0x%02x)%s", place->host, place->port,
                            known.name, (unsigned)code, known.advice);
}

void bb_mosquitto_reason_message(busbar_reason *reason, const bb_mosquitto_slot *slot)
{
    known_code known = find_code(slot->code);
    const char *separator;
    const char *words = say(&known, slot->detail, &separator);
    bb_mosquitto_reason_set(reason, slot->code, "the broker refused the message: %s (0x%02x)%s%s", known.name,
                            (unsigned)slot->code, separator, words);
}

static void error_text(int error, char *text, size_t size)
{
    if (strerror_r(error, text, size) != 0) {
        (void)snprintf(text, size, "error %d", error);
    }
}

void bb_mosquitto_reason_connect(busbar_reason *reason, const bb_mosquitto_place *place, int rc, int error)
{
    char text[80];

    if (rc == MOSQ_ERR_EAI) {
        bb_mosquitto_reason_set(reason, 0, "cannot resolve the host '%s': %s", place->host, gai_strerror(error));
    } else if (rc == MOSQ_ERR_ERRNO) {
        error_text(error, text, sizeof text);
        bb_mosquitto_reason_set(reason, error, "cannot connect to %s:%u: %s%s", place->host, place->port, text,
                                error == ECONNREFUSED ? "; is the broker running?" : "");
    } else {
        bb_mosquitto_reason_set(reason, 0, "cannot connect to %s:%u: %s", place->host, place->port,
                                mosquitto_strerror(rc));
    }
}

static const char *lost_hint(const bb_mosquitto_place *place, bool accepted)
{
    if (accepted) {
        return "";
    }
    return place->tls ? "; is this a port for TLS?" : "; if this is a port for TLS, enable it";
}

void bb_mosquitto_reason_lost(busbar_reason *reason, const bb_mosquitto_place *place, bool accepted, int rc, int error)
{
    const char *phase = accepted ? "" : " before it accepted the connection";
    char text[80];

    if (rc == MOSQ_ERR_KEEPALIVE) {
        bb_mosquitto_reason_set(reason, 0, "%s:%u did not answer the keepalive ping", place->host, place->port);
    } else if (rc == MOSQ_ERR_ERRNO && error != 0 && error != EPROTO && error != EPIPE) {
        error_text(error, text, sizeof text);
        bb_mosquitto_reason_set(reason, error, "%s:%u was lost%s: %s%s", place->host, place->port, phase, text,
                                lost_hint(place, accepted));
    } else if (rc == MOSQ_ERR_SUCCESS || rc == MOSQ_ERR_CONN_LOST || rc == MOSQ_ERR_NO_CONN || rc == MOSQ_ERR_ERRNO) {
        bb_mosquitto_reason_set(reason, 0, "%s:%u closed the connection%s%s", place->host, place->port, phase,
                                lost_hint(place, accepted));
    } else {
        bb_mosquitto_reason_set(reason, 0, "%s:%u was lost%s: %s", place->host, place->port, phase,
                                mosquitto_strerror(rc));
    }
}

void bb_mosquitto_reason_tls(busbar_reason *reason, const bb_mosquitto_place *place, const char *log)
{
    static const struct {
        const char *sign; /* occurs in what is logged */
        const char *meaning;
    } known[] = {
        {"host name verification failed", "the broker's certificate is for another host name"},
        {"certificate verify failed",
         "the broker's certificate is not trusted; check the CA, the certificate's dates and this machine's clock"},
        {"wrong version number", "the broker does not speak TLS; is this the right port?"},
        {"unexpected eof", "the broker closed the connection in the handshake; is this a port for TLS?"},
        {"alert certificate required", "the broker asks for a client certificate; set cert_file and key_file"},
        {"alert handshake failure", "the broker refused the handshake; it may ask for a client certificate"},
        {"alert unknown ca", "the broker does not trust the client certificate"},
        {"alert bad certificate", "the broker refused the client certificate"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(log, known[i].sign) != NULL) {
            bb_mosquitto_reason_set(reason, 0, "TLS with %s:%u failed: %s", place->host, place->port, known[i].meaning);
            return;
        }
    }
    /* OpenSSL writes error:number:library:function:reason. */
    const char *last_colon = strrchr(log, ':');
    const char *words = strstr(log, "OpenSSL Error") == log && last_colon != NULL ? last_colon + 1 : log;
    bb_mosquitto_reason_set(reason, 0, "TLS with %s:%u failed: %s", place->host, place->port,
                            words[0] != '\0' ? words : "the connection was closed in the handshake");
}
