/* SPDX-License-Identifier: MIT */
/*
 * busbar/mosquitto.h: the transport to an MQTT broker, over libmosquitto.
 *
 * One private thread per transport owns the connection: it resolves, connects, handshakes and reconnects, so nothing of
 * the transport but stop() ever waits. Messages are handed to the library only while the broker has accepted the
 * connection, and at most a window of them; what is unacknowledged when a connection ends is reported by DOWN and never
 * sent again by the transport itself.
 *
 * What becomes of a message, by the reason code of its acknowledgement (MQTT 5; MQTT 3.1.1 has none, so there an
 * acknowledgement does not prove that the broker kept the message):
 *
 *   0x00 success, 0x10 no matching subscribers                              ACKED
 *   0x80 unspecified, 0x87 not authorized, 0x97 quota exceeded              REFUSED, BUSBAR_REFUSED_RETRY
 *   0x83 implementation specific (mosquitto: payload too large),
 *   0x90 topic name invalid, 0x95 packet too large, 0x99 payload format
 *   invalid, 0x9b QoS not supported                                         REFUSED, BUSBAR_REFUSED_DEAD
 *   0x91 packet identifier in use                                           the connection is dropped: DOWN
 *   any other below 0x80 / from 0x80                                        ACKED / REFUSED, BUSBAR_REFUSED_RETRY
 *
 * QoS 0 messages count as ACKED once their bytes were handed to the operating system.
 *
 * Guest rules  The library's initialisation is done once per process and never undone, so it disturbs no other user of
 *              libmosquitto or OpenSSL; make the first transport before another thread calls mosquitto_lib_init(). It
 *              seeds rand(). Versions of the library before 2.0.15 ignore SIGPIPE for the whole process: the
 *              application's disposition is put back before busbar_mosquitto_new() returns. The private thread has
 *              every signal blocked.
 * Coming back  After a failure the transport waits (options.reconnect_…), but it listens to the kernel: when an interface,
 *              an address or a route appears, it tries within 0.3 s, and asks TCP whether a connection that is still
 *              open has outlived the change; one that does not answer for 0.3 s and two round trips is given up and
 *              made again. So draining starts within 1 s of the link, if the broker is there. A flapping interface
 *              brings about 10 such attempts, then one in 5 s. What no news tells of has other bounds: a broker that was
 *              restarted is found when the wait is over (reconnect_max_ms at most), and an open connection behind which
 *              everything falls silent is given up after ack_timeout_ms, idle within twice the keepalive.
 *              Where the kernel cannot be listened to, the application may: busbar_mosquitto_link_up.
 * Limits       Name resolution lasts as long as the system lets it, and hears no news meanwhile. One attempt tries one
 *              address of each family, IPv6 and IPv4: the one that the resolver names first. Times are measured on a
 *              clock that counts suspend, but the library's keepalive is not.
 */
#ifndef BUSBAR_MOSQUITTO_H
#define BUSBAR_MOSQUITTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <busbar/busbar.h>
#include <busbar/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Most messages a transport can have unsettled, whatever options.window says. */
#define BUSBAR_MOSQUITTO_WINDOW_MAX 10000u

typedef enum busbar_mosquitto_protocol {
    BUSBAR_MOSQUITTO_AUTO = 0, /* MQTT 5; 3.1.1 from then on once the broker refuses the version (0x84, or 1) */
    BUSBAR_MOSQUITTO_V311 = 4, /* the number on the wire */
    BUSBAR_MOSQUITTO_V5 = 5
} busbar_mosquitto_protocol;

/* TLS 1.2 or newer. The broker's certificate chain and host name are always checked; there is no way to turn that off. */
typedef struct busbar_mosquitto_tls {
    bool enabled;
    const char *ca_file;   /* PEM file of trusted authorities */
    const char *ca_path;   /* directory of them, hashed; with neither, those of the operating system are trusted */
    const char *cert_file; /* client certificate chain, PEM; needs key_file */
    const char *key_file;  /* its private key, PEM, not encrypted */
    const char *alpn;      /* one protocol name of at most 254 bytes, such as "mqtt"; NULL: none is sent */
} busbar_mosquitto_tls;

/* Strings are copied. Zero or NULL means the default. */
typedef struct busbar_mosquitto_options {
    size_t size;           /* sizeof(busbar_mosquitto_options) */
    const char *host;      /* required: a name or an address */
    uint16_t port;         /* 0: 1883, with TLS 8883 */
    const char *client_id; /* unique at the broker, and not empty; NULL: 23 random letters and digits */
    const char *username;  /* NULL: none */
    const char *password;  /* needs a username unless protocol is V5. The transport's copy is wiped when it is freed */
    busbar_mosquitto_tls tls;
    busbar_mosquitto_protocol protocol;
    uint32_t keepalive_s; /* 5 to 65535; 0: 30. A message must cross the link within twice this time */
    uint32_t window;      /* most messages unsettled, if the broker takes as many; 0: 100 */
    /*
     * Reconnecting: the first wait after a connection that was stable for 10 s is random below reconnect_min_ms, each
     * further one random between reconnect_min_ms and three times the one before, at most reconnect_max_ms.
     */
    uint32_t reconnect_min_ms;   /* 0: 1,000 */
    uint32_t reconnect_max_ms;   /* 0: 60,000 */
    uint32_t connect_timeout_ms; /* TCP connect, TLS handshake and the broker's answer, together; 0: 10,000 */
    uint32_t ack_timeout_ms;     /* a message unacknowledged for so long, with none before it acknowledged in the
                                    meantime, drops the connection; 0: 30,000 */
} busbar_mosquitto_options;

/*
 * Makes a transport to one broker. Nothing is connected before its start. The transport belongs to the caller until it is
 * given to a route; a transport that no route took is released with transport.api->stop(transport.ctx). Any context.
 *
 * With it: send() accepts only between UP and DOWN, at most the window told by UP. UP tells the broker's limits;
 * max_message_bytes is an upper bound, since content type and expiry take room too, and send() answers
 * BUSBAR_SEND_DEAD by the exact size of the packet, 8 bytes below the broker's limit. While nobody polls, failed
 * attempts and connections that came and went are merged into one DOWN with the latest reason. stop() waits 2 s at most:
 * a thread that the system holds longer (name resolution) is left to itself and frees everything later.
 * An event's reason.code is an MQTT reason code (3.1.1's are given as their equals of MQTT 5), or an errno, or 0.
 *
 * Returns BUSBAR_OK; BUSBAR_EINVAL (an option is missing or out of range), BUSBAR_ENOMEM, BUSBAR_EIO (no descriptor
 * left): *out_reason, if not NULL, then says which. *out_transport is untouched on failure.
 */
BUSBAR_API int busbar_mosquitto_new(const busbar_mosquitto_options *options, busbar_transport *out_transport,
                                    busbar_reason *out_reason);

/*
 * Says that the network is back: a transport that waits tries soon, one that is connected checks its connection. For
 * applications that watch the network themselves, where the transport cannot or knows less. Never waits; any thread,
 * before the transport's stop (of a route's: before busbar_close). To say it too often does no harm.
 *
 * Returns BUSBAR_OK; BUSBAR_EINVAL: not a transport made by busbar_mosquitto_new.
 */
BUSBAR_API int busbar_mosquitto_link_up(busbar_transport transport);

#ifdef __cplusplus
}
#endif

#endif
