/* SPDX-License-Identifier: MIT */
/*
 * The copy of one accepted message on its way through the transport, and lists of such copies. A slot is always on exactly
 * one list, and belongs to the thread or lock that owns the list.
 */
#ifndef BB_MOSQUITTO_SLOT_H
#define BB_MOSQUITTO_SLOT_H

#include <busbar/transport.h>

typedef enum bb_mosquitto_outcome {
    BB_MOSQUITTO_ACKED,
    BB_MOSQUITTO_RETRY,
    BB_MOSQUITTO_DEAD,
    BB_MOSQUITTO_RECONNECT /* the acknowledgement says nothing of the message: the connection is unusable */
} bb_mosquitto_outcome;

typedef struct bb_mosquitto_slot {
    struct bb_mosquitto_slot *next;
    struct bb_mosquitto_slot *previous;
    char *bytes; /* topic NUL content type NUL payload; kept from message to message */
    size_t capacity;
    size_t topic_length;
    size_t content_type_length; /* 0: none */
    size_t payload_size;
    uint64_t token;
    uint32_t expiry_s;
    uint8_t qos;
    int mid;          /* the library's packet identifier */
    uint32_t number;  /* counts the messages of the connection */
    uint64_t sent_ms; /* when the library got it */
    bb_mosquitto_outcome outcome;
    int code;     /* MQTT reason code of the outcome */
    char *detail; /* the broker's own words about a refusal, or NULL */
} bb_mosquitto_slot;

typedef struct bb_mosquitto_list {
    bb_mosquitto_slot *first;
    bb_mosquitto_slot *last;
} bb_mosquitto_list;

/* Copies the message. Returns 0, or -1 without memory. */
int bb_mosquitto_slot_fill(bb_mosquitto_slot *slot, const busbar_message *message);
/* Makes a used slot ready for the next message; a large buffer is given back, so memory follows the traffic. */
void bb_mosquitto_slot_reset(bb_mosquitto_slot *slot);
void bb_mosquitto_slot_free(bb_mosquitto_slot *slot);

const char *bb_mosquitto_slot_topic(const bb_mosquitto_slot *slot);
const char *bb_mosquitto_slot_content_type(const bb_mosquitto_slot *slot); /* "" if none */
const void *bb_mosquitto_slot_payload(const bb_mosquitto_slot *slot);

void bb_mosquitto_list_append(bb_mosquitto_list *list, bb_mosquitto_slot *slot);
void bb_mosquitto_list_remove(bb_mosquitto_list *list, bb_mosquitto_slot *slot);
/* The first slot, taken off the list; NULL if there is none. */
bb_mosquitto_slot *bb_mosquitto_list_pop(bb_mosquitto_list *list);
/* Appends all of `from`, which is then empty. */
void bb_mosquitto_list_move(bb_mosquitto_list *list, bb_mosquitto_list *from);

#endif
