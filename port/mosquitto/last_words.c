/* SPDX-License-Identifier: MIT */
/* The reason in a broker's last packet. */
#include "last_words.h"

#include <stdbool.h>
#include <sys/socket.h>

#define DISCONNECT  0xe0
#define LENGTH_MAX  4 /* bytes of a length field */
#define READ_AT_END 8192

/* Reads the length field at bytes[*at]. False if it is not whole, or too long. */
static bool read_length(const uint8_t *bytes, size_t size, size_t *at, size_t *out_length)
{
    size_t length = 0;

    for (unsigned i = 0; i < LENGTH_MAX && *at < size; i++) {
        uint8_t byte = bytes[(*at)++];
        length |= (size_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            *out_length = length;
            return true;
        }
    }
    return false;
}

int bb_mosquitto_last_words_find(const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    int code = -1;

    while (at < size) {
        size_t length = 0;
        uint8_t type = bytes[at++];
        if (!read_length(bytes, size, &at, &length) || length > size - at) {
            return -1; /* these were no whole packets */
        }
        code = type == DISCONNECT && length > 0 ? bytes[at] : -1;
        at += length;
    }
    return code;
}

int bb_mosquitto_last_words_read(int fd)
{
    uint8_t bytes[READ_AT_END];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);

    return got > 0 ? bb_mosquitto_last_words_find(bytes, (size_t)got) : -1;
}
