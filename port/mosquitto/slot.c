/* SPDX-License-Identifier: MIT */
/* Copies of messages, and lists of them. */
#include "slot.h"

#include <stdlib.h>
#include <string.h>

/* A buffer up to this size stays with its slot: the common message then costs no allocation. */
#define BUFFER_KEPT_BYTES 2048

static int reserve(bb_mosquitto_slot *slot, size_t size)
{
    if (size <= slot->capacity) {
        return 0;
    }
    /* Not realloc: the old content is of no use, and need not be copied. */
    char *bytes = malloc(size);
    if (bytes == NULL) {
        return -1;
    }
    free(slot->bytes);
    slot->bytes = bytes;
    slot->capacity = size;
    return 0;
}

int bb_mosquitto_slot_fill(bb_mosquitto_slot *slot, const busbar_message *message)
{
    size_t topic_length = strlen(message->topic);
    size_t type_length = message->content_type != NULL ? strlen(message->content_type) : 0;

    if (reserve(slot, topic_length + 1 + type_length + 1 + message->payload_size_bytes) != 0) {
        return -1;
    }
    memcpy(slot->bytes, message->topic, topic_length + 1);
    if (type_length > 0) {
        memcpy(slot->bytes + topic_length + 1, message->content_type, type_length);
    }
    slot->bytes[topic_length + 1 + type_length] = '\0';
    if (message->payload_size_bytes > 0) {
        memcpy(slot->bytes + topic_length + type_length + 2, message->payload, message->payload_size_bytes);
    }
    slot->topic_length = topic_length;
    slot->content_type_length = type_length;
    slot->payload_size = message->payload_size_bytes;
    slot->token = message->token;
    slot->expiry_s = message->expiry_s;
    slot->qos = message->qos;
    return 0;
}

void bb_mosquitto_slot_reset(bb_mosquitto_slot *slot)
{
    free(slot->detail);
    slot->detail = NULL;
    if (slot->capacity > BUFFER_KEPT_BYTES) {
        free(slot->bytes);
        slot->bytes = NULL;
        slot->capacity = 0;
    }
}

void bb_mosquitto_slot_free(bb_mosquitto_slot *slot)
{
    free(slot->detail);
    free(slot->bytes);
}

const char *bb_mosquitto_slot_topic(const bb_mosquitto_slot *slot)
{
    return slot->bytes;
}

const char *bb_mosquitto_slot_content_type(const bb_mosquitto_slot *slot)
{
    return slot->bytes + slot->topic_length + 1;
}

const void *bb_mosquitto_slot_payload(const bb_mosquitto_slot *slot)
{
    return slot->bytes + slot->topic_length + slot->content_type_length + 2;
}

void bb_mosquitto_list_append(bb_mosquitto_list *list, bb_mosquitto_slot *slot)
{
    slot->next = NULL;
    slot->previous = list->last;
    if (list->last != NULL) {
        list->last->next = slot;
    } else {
        list->first = slot;
    }
    list->last = slot;
}

void bb_mosquitto_list_remove(bb_mosquitto_list *list, bb_mosquitto_slot *slot)
{
    if (slot->previous != NULL) {
        slot->previous->next = slot->next;
    } else {
        list->first = slot->next;
    }
    if (slot->next != NULL) {
        slot->next->previous = slot->previous;
    } else {
        list->last = slot->previous;
    }
}

bb_mosquitto_slot *bb_mosquitto_list_pop(bb_mosquitto_list *list)
{
    bb_mosquitto_slot *slot = list->first;
    if (slot != NULL) {
        bb_mosquitto_list_remove(list, slot);
    }
    return slot;
}

void bb_mosquitto_list_move(bb_mosquitto_list *list, bb_mosquitto_list *from)
{
    if (from->first == NULL) {
        return;
    }
    from->first->previous = list->last;
    if (list->last != NULL) {
        list->last->next = from->first;
    } else {
        list->first = from->first;
    }
    list->last = from->last;
    from->first = NULL;
    from->last = NULL;
}
