/* SPDX-License-Identifier: MIT */
/* Topic templates of routes: "devices/{source}/{type}". Knows records, but no transport. */
#ifndef BB_TOPIC_H
#define BB_TOPIC_H

#include <stddef.h>

#include <busbar/busbar.h>

/*
 * Returns BUSBAR_OK or BUSBAR_ETOPIC. A template is 1..BUSBAR_TOPIC_MAX bytes of printable UTF-8; its placeholders are
 * {type} {source} {subject} {key} {id} {lane}; there is no other brace, no + and no #, and no $ at its beginning.
 */
int bb_topic_check(const char *topic_template);

/*
 * Writes the topic of a record, NUL-terminated, and sets *out_size_bytes to its length without the NUL. A subject or key
 * that the record lacks becomes "none". In what placeholders yield, + becomes %2B and # %23; a / stays and makes levels, on
 * purpose. A $ at the beginning of the result becomes %24: topics with it are the broker's own.
 * Returns BUSBAR_OK; BUSBAR_ETOPIC when the topic is empty, or longer than BUSBAR_TOPIC_MAX or than `capacity` - 1 bytes
 * (the content of `out` is then unspecified).
 */
int bb_topic_expand(const char *topic_template, const busbar_record *record, char *out, size_t capacity,
                    size_t *out_size_bytes);

#endif
