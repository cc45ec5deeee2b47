/* SPDX-License-Identifier: MIT */
/*
 * What the broker said at last on a connection that broke while something was being written: libmosquitto then closes the
 * socket without reading. Knows one packet, DISCONNECT of MQTT 5; not for TLS, where the bytes say nothing.
 */
#ifndef BB_MOSQUITTO_LAST_WORDS_H
#define BB_MOSQUITTO_LAST_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* The reason code of the DISCONNECT at the very end of these whole packets; -1 if there is none. */
int bb_mosquitto_last_words_find(const uint8_t *bytes, size_t size);

/* The same for what is left to read on a socket. Never waits. */
int bb_mosquitto_last_words_read(int fd);

#endif
