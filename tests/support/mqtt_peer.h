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
#define MQTT_PEER_PINGREQ    0xc0
#define MQTT_PEER_DISCONNECT 0xe0
/* Not a packet: a connection was accepted; body and size are nothing. */
#define MQTT_PEER_ACCEPTED 0x00

typedef struct mqtt_peer_packet {
    unsigned connection; /* 1 for the first connection */
    unsigned type;
    unsigned flags;
    const uint8_t *body; /* behind the fixed header */
    size_t size;
    size_t wire_size; /* with the fixed header */
    uint16_t mid;     /* PUBLISH with QoS: its packet identifier */
    unsigned version; /* CONNECT: 4 is MQTT 3.1.1 */
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
/* Closes the connection; with `reset`, so that the other end sees an error. */
void mqtt_peer_hang_up(mqtt_peer *peer, bool reset);

#endif
