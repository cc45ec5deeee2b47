/* SPDX-License-Identifier: MIT */
/*
 * A scripted end of MQTT connections, for what no real broker does on request: refuse, stay silent, acknowledge with any
 * code, hang up at any point. Listens on a loopback port and serves one connection at a time on a thread of its own; the
 * test's script answers each packet.
 */
#ifndef MQTT_PEER_H
#define MQTT_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mqtt_peer mqtt_peer;

/* The first byte of a packet's header, without flags. */
#define MQTT_PEER_CONNECT    0x10
#define MQTT_PEER_PUBLISH    0x30
#define MQTT_PEER_PUBACK     0x40
#define MQTT_PEER_PUBREC     0x50
#define MQTT_PEER_PUBREL     0x60
#define MQTT_PEER_PUBCOMP    0x70
#define MQTT_PEER_PINGREQ    0xc0
#define MQTT_PEER_DISCONNECT 0xe0
/* Not packets, without body: a connection was accepted; the time asked for by mqtt_peer_call_in is over. */
#define MQTT_PEER_ACCEPTED 0x00
#define MQTT_PEER_CALLED   0x01

typedef struct mqtt_peer_packet {
    unsigned connection; /* 1 for the first connection */
    unsigned type;
    unsigned flags;
    const uint8_t *body; /* behind the fixed header */
    size_t size;
    size_t wire_size;       /* with the fixed header */
    uint16_t mid;           /* PUBLISH with QoS, PUBREL: the packet identifier */
    unsigned version;       /* 4 is MQTT 3.1.1, 5 MQTT 5; 0 before CONNECT */
    const uint8_t *payload; /* PUBLISH */
    size_t payload_size;
} mqtt_peer_packet;

/* Called on the peer's thread for each packet. Answers with the functions below. */
typedef void mqtt_peer_script(mqtt_peer *peer, const mqtt_peer_packet *packet, void *ctx);

mqtt_peer *mqtt_peer_start(mqtt_peer_script *script, void *ctx);
unsigned mqtt_peer_port(const mqtt_peer *peer);
/* Connections accepted so far. Any thread. */
unsigned mqtt_peer_connections(mqtt_peer *peer);
void mqtt_peer_stop(mqtt_peer *peer);

/* ---- Inside the script. */
void mqtt_peer_send(mqtt_peer *peer, const void *bytes, size_t size);
/* CONNACK of MQTT 5 with these property bytes, or of MQTT 3.1.1. */
void mqtt_peer_connack(mqtt_peer *peer, unsigned code, const void *properties, size_t size);
void mqtt_peer_connack_v311(mqtt_peer *peer, unsigned code);
void mqtt_peer_puback(mqtt_peer *peer, uint16_t mid, unsigned code);
/* PUBACK, PUBREC or PUBCOMP as `type`, in the words of the connection's version: MQTT 3.1.1 has no code. */
void mqtt_peer_acknowledge(mqtt_peer *peer, unsigned type, uint16_t mid, unsigned code);
/* CONNACK in the words of the version, without properties. */
void mqtt_peer_accept(mqtt_peer *peer);
void mqtt_peer_pong(mqtt_peer *peer);
void mqtt_peer_disconnect(mqtt_peer *peer, unsigned code);
/* Has the script called with MQTT_PEER_CALLED after this time, unless the connection has ended by then. */
void mqtt_peer_call_in(mqtt_peer *peer, unsigned time_ms);
/* Closes the connection; with `reset`, so that the other end sees an error. */
void mqtt_peer_hang_up(mqtt_peer *peer, bool reset);

#endif
