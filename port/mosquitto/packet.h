/* SPDX-License-Identifier: MIT */
/*
 * What a message looks like as an MQTT PUBLISH packet: whether it can be one, how large it gets, which properties it has.
 * The exact size matters: libmosquitto 2.0.11 ends the process on a packet above the broker's limit.
 */
#ifndef BB_MOSQUITTO_PACKET_H
#define BB_MOSQUITTO_PACKET_H

#include <busbar/transport.h>
#include <mosquitto.h>

#include "slot.h"

/* What the broker takes, as told when it accepted the connection. */
typedef struct bb_mosquitto_limits {
    bool v5;
    uint8_t max_qos;
    uint32_t window;
    uint32_t max_packet_bytes; /* 0: no limit told */
} bb_mosquitto_limits;

/* Stay this far below the broker's limit. */
#define BB_MOSQUITTO_PACKET_MARGIN_BYTES 8

/* Whole size of the packet. The topic's and content type's lengths are those of the message. */
uint64_t bb_mosquitto_packet_size(const bb_mosquitto_limits *limits, const busbar_message *message);

/* Returns 0 if the message can be sent within the limits, else -1 with *out_reason set: it never can on this connection. */
int bb_mosquitto_packet_check(const bb_mosquitto_limits *limits, const busbar_message *message,
                              busbar_reason *out_reason);

/* Largest topic plus payload, if the message has no properties; 0: no limit told. Above it nothing can be sent. */
size_t bb_mosquitto_packet_room(const bb_mosquitto_limits *limits);

/* The payload of this media type is UTF-8 text: text and JSON. */
bool bb_mosquitto_packet_is_text(const char *content_type);

/*
 * The MQTT 5 properties of a message. On success *out_properties belongs to the caller (mosquitto_property_free_all) and
 * may be NULL. Returns 0, or a code of libmosquitto.
 */
int bb_mosquitto_packet_properties(const bb_mosquitto_slot *slot, mosquitto_property **out_properties);

#endif
