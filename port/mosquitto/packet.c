/* SPDX-License-Identifier: MIT */
/* Sizes, checks and properties of PUBLISH packets. */
#include "packet.h"

#include <mqtt_protocol.h>
#include <string.h>
#include <strings.h>

#include "reason.h"

#define STRING_MAX    65535
#define REMAINING_MAX UINT64_C(268435455)

/* On the wire: identifier and value. */
#define FORMAT_PROPERTY_BYTES      2
#define EXPIRY_PROPERTY_BYTES      5
#define STRING_PROPERTY_HEAD_BYTES 3

static uint64_t varint_bytes(uint64_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

static uint64_t properties_bytes(const busbar_message *message)
{
    uint64_t bytes = 0;

    if (message->content_type != NULL && message->content_type[0] != '\0') {
        bytes += STRING_PROPERTY_HEAD_BYTES + strlen(message->content_type);
        bytes += bb_mosquitto_packet_is_text(message->content_type) ? FORMAT_PROPERTY_BYTES : 0;
    }
    if (message->expiry_s != 0) {
        bytes += EXPIRY_PROPERTY_BYTES;
    }
    return bytes;
}

static uint64_t remaining_bytes(const bb_mosquitto_limits *limits, const busbar_message *message)
{
    uint64_t bytes = 2 + (uint64_t)strlen(message->topic) + message->payload_size_bytes;

    if (message->qos > 0) {
        bytes += 2;
    }
    if (limits->v5) {
        uint64_t properties = properties_bytes(message);
        bytes += varint_bytes(properties) + properties;
    }
    return bytes;
}

uint64_t bb_mosquitto_packet_size(const bb_mosquitto_limits *limits, const busbar_message *message)
{
    uint64_t remaining = remaining_bytes(limits, message);
    return 1 + varint_bytes(remaining) + remaining;
}

/* Limit of a whole packet for us; 0: none. A limit that leaves nothing is 1, which nothing fits either. */
static uint64_t usable_packet_bytes(const bb_mosquitto_limits *limits)
{
    if (limits->max_packet_bytes == 0) {
        return 0;
    }
    return limits->max_packet_bytes > BB_MOSQUITTO_PACKET_MARGIN_BYTES
               ? limits->max_packet_bytes - BB_MOSQUITTO_PACKET_MARGIN_BYTES
               : 1;
}

size_t bb_mosquitto_packet_room(const bb_mosquitto_limits *limits)
{
    /* Fixed header and topic length with the smallest length field, so that no message is called too large wrongly. */
    const uint64_t overhead = 1 + 1 + 2 + (limits->v5 ? 1 : 0);
    uint64_t usable = usable_packet_bytes(limits);

    if (usable == 0) {
        return 0;
    }
    return usable > overhead ? (size_t)(usable - overhead) : 1;
}

static int check_topic(const char *topic, busbar_reason *out_reason)
{
    size_t length = topic != NULL ? strlen(topic) : 0;

    if (length == 0 || length > STRING_MAX) {
        bb_mosquitto_reason_set(out_reason, 0, "the topic is %s", length == 0 ? "empty" : "longer than 65535 bytes");
        return -1;
    }
    if (mosquitto_pub_topic_check2(topic, length) != MOSQ_ERR_SUCCESS) {
        bb_mosquitto_reason_set(out_reason, 0, "the topic '%s' has a wildcard (+ or #)", topic);
        return -1;
    }
    if (mosquitto_validate_utf8(topic, (int)length) != MOSQ_ERR_SUCCESS) {
        bb_mosquitto_reason_set(out_reason, 0, "the topic is not valid UTF-8, or has control characters");
        return -1;
    }
    return 0;
}

static int check_content_type(const char *content_type, busbar_reason *out_reason)
{
    size_t length = content_type != NULL ? strlen(content_type) : 0;

    if (length > STRING_MAX || (length > 0 && mosquitto_validate_utf8(content_type, (int)length) != MOSQ_ERR_SUCCESS)) {
        bb_mosquitto_reason_set(out_reason, 0, "the content type is too long, or not valid UTF-8");
        return -1;
    }
    return 0;
}

static int check_size(const bb_mosquitto_limits *limits, const busbar_message *message, busbar_reason *out_reason)
{
    uint64_t usable = usable_packet_bytes(limits);

    if (message->payload_size_bytes > REMAINING_MAX || remaining_bytes(limits, message) > REMAINING_MAX) {
        bb_mosquitto_reason_set(out_reason, 0, "the message has %zu bytes, more than MQTT can carry",
                                message->payload_size_bytes);
        return -1;
    }
    uint64_t size = bb_mosquitto_packet_size(limits, message);
    if (usable != 0 && size > usable) {
        bb_mosquitto_reason_set(out_reason, MQTT_RC_PACKET_TOO_LARGE,
                                "the message needs a packet of %llu bytes, the broker takes %lu less a margin of %d",
                                (unsigned long long)size, (unsigned long)limits->max_packet_bytes,
                                BB_MOSQUITTO_PACKET_MARGIN_BYTES);
        return -1;
    }
    return 0;
}

int bb_mosquitto_packet_check(const bb_mosquitto_limits *limits, const busbar_message *message,
                              busbar_reason *out_reason)
{
    if (check_topic(message->topic, out_reason) != 0 || check_content_type(message->content_type, out_reason) != 0) {
        return -1;
    }
    if (message->qos > limits->max_qos) {
        bb_mosquitto_reason_set(out_reason, MQTT_RC_QOS_NOT_SUPPORTED, "QoS %u is asked for, the broker takes %u",
                                (unsigned)message->qos, (unsigned)limits->max_qos);
        return -1;
    }
    return check_size(limits, message, out_reason);
}

static bool ends_with_json(const char *type, size_t length)
{
    return length > 4 && strncasecmp(type + length - 4, "json", 4) == 0 &&
           (type[length - 5] == '/' || type[length - 5] == '+');
}

bool bb_mosquitto_packet_is_text(const char *content_type)
{
    size_t length = strcspn(content_type, "; \t"); /* without parameters */
    return ends_with_json(content_type, length) || strncasecmp(content_type, "text/", 5) == 0;
}

/*
 * Only through the library's add functions: a list that was copied, or received, loses all but its first property when it
 * is sent by libmosquitto before 2.0.15.
 */
int bb_mosquitto_packet_properties(const bb_mosquitto_slot *slot, mosquitto_property **out_properties)
{
    const char *content_type = bb_mosquitto_slot_content_type(slot);
    mosquitto_property *properties = NULL;
    int rc = MOSQ_ERR_SUCCESS;

    if (content_type[0] != '\0' && bb_mosquitto_packet_is_text(content_type)) {
        rc = mosquitto_property_add_byte(&properties, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1);
    }
    if (rc == MOSQ_ERR_SUCCESS && slot->expiry_s != 0) {
        rc = mosquitto_property_add_int32(&properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, slot->expiry_s);
    }
    if (rc == MOSQ_ERR_SUCCESS && content_type[0] != '\0') {
        rc = mosquitto_property_add_string(&properties, MQTT_PROP_CONTENT_TYPE, content_type);
    }
    if (rc != MOSQ_ERR_SUCCESS) {
        mosquitto_property_free_all(&properties);
        return rc;
    }
    *out_properties = properties;
    return MOSQ_ERR_SUCCESS;
}
