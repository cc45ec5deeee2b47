/* SPDX-License-Identifier: MIT */
/* Topics: whatever template passes and whatever an event says, the result can be published, or is refused. */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include <busbar/busbar.h>

#include "attribute.h"
#include "topic.h"
#include "utf8.h"

/* An input is a template, a line feed, and the subject, which is the key as well. */
const char *const fuzz_samples[] = {
    "devices/{source}/{type}\nx",
    "{subject}\n$SYS",
    "{subject}/{key}/{id}/{lane}\na+b#c",
    "{type}{subject}\n+",
    "a/b/c\n#",
    "{key}\n%23",
    "{subject}/{subject}/{subject}/{subject}/{subject}/{subject}\n"
    "a subject of many bytes, some + and # among them, so that six of it come close to the largest topic: "
    "0123456789 0123456789 0123456789 0123456789",
    NULL,
};

const char *const fuzz_pieces[] = {
    "{",         "}",     "{type}", "{source}",
    "{subject}", "{key}", "{id}",   "{lane}",
    "{x}",       "$",     "+",      "#",
    "/",         "%",     "\n",     "none",
    "\xc3\xa4",  "\xff",  "\x01",   "{subject}{subject}{subject}{subject}{subject}{subject}{subject}{subject}",
    NULL,
};

#define TEXT_MAX 2100

static void check_topic(const uint8_t *data, size_t size, const char *topic, size_t topic_size)
{
    FUZZ_CHECK(topic_size > 0 && topic_size <= BUSBAR_TOPIC_MAX, data, size);
    FUZZ_CHECK(strlen(topic) == topic_size, data, size);
    FUZZ_CHECK(!strpbrk(topic, "+#"), data, size);
    FUZZ_CHECK(topic[0] != '$', data, size);
    FUZZ_CHECK(bb_utf8_printable(topic, topic_size), data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char template[TEXT_MAX];
    if (size >= sizeof template || memchr(data, '\0', size))
        return 0;
    memcpy(template, data, size);
    template[size] = '\0';
    char *subject = strchr(template, '\n');
    if (subject)
        *subject++ = '\0';
    if (bb_topic_check(template) != BUSBAR_OK)
        return 0;
    bool given = subject && bb_attribute_subject_check(subject) == BUSBAR_OK;
    const busbar_record record = {
        .size = sizeof record,
        .seq = 7,
        .id = "token-n7",
        .source = "/s/1",
        .type = "a.b",
        .subject = given ? subject : NULL,
        .key = given ? subject : NULL,
    };
    char topic[BUSBAR_TOPIC_MAX + 1];
    size_t topic_size = SIZE_MAX;
    if (bb_topic_expand(template, &record, topic, sizeof topic, &topic_size) == BUSBAR_OK) {
        check_topic(data, size, topic, topic_size);
        size_t again = SIZE_MAX;
        FUZZ_CHECK(bb_topic_expand(template, &record, topic, topic_size, &again) == BUSBAR_ETOPIC, data, size);
        FUZZ_CHECK(again == SIZE_MAX, data, size);
    } else {
        FUZZ_CHECK(topic_size == SIZE_MAX, data, size);
    }
    return 0;
}
