/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include "command.h"
#include "value.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#define BYTES_MIN (256u * 1024u) /* of max_bytes: the library's least */

typedef enum limit_form { COUNT, BYTES, DURATION, POLICY } limit_form;

typedef struct limit {
    const char *name;
    limit_form form;
    bool by_lane;
    bool narrow;   /* the member has 32 bits */
    size_t offset; /* of the member of busbar_options */
} limit;

static const limit limits[] = {
    {"max-bytes", BYTES, false, false, offsetof(busbar_options, max_bytes)},
    {"reserve-bytes", BYTES, false, false, offsetof(busbar_options, reserve_bytes)},
    {"max-events", COUNT, true, false, offsetof(busbar_options, max_events)},
    {"max-event-age", DURATION, true, false, offsetof(busbar_options, max_age_ms)},
    {"full", POLICY, true, true, offsetof(busbar_options, full)},
    {"keep-events", COUNT, false, true, offsetof(busbar_options, keep_events)},
    {"keep-age", DURATION, false, false, offsetof(busbar_options, keep_ms)},
    {"keep-bytes", BYTES, false, false, offsetof(busbar_options, keep_bytes)},
    {"keep-ids", COUNT, false, true, offsetof(busbar_options, keep_ids)},
    {"keep-dead", COUNT, false, true, offsetof(busbar_options, keep_dead)},
    {"keep-dead-age", DURATION, false, false, offsetof(busbar_options, keep_dead_ms)},
    {"consumer-idle", DURATION, false, false, offsetof(busbar_options, consumer_idle_ms)},
};

static const limit *find(const char *name)
{
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (strcmp(limits[i].name, name) == 0)
            return &limits[i];
    return NULL;
}

bool limits_know(const char *name)
{
    return find(name) != NULL;
}

/* Reads "LANE=" off the front of *word. False if what stands before the equals sign is no lane. */
static bool read_lane(const char **word, bool chosen[BUSBAR_LANE_COUNT])
{
    const char *equals = strchr(*word, '=');
    char name[16] = "";
    busbar_lane lane;
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++)
        chosen[i] = equals == NULL;
    if (equals == NULL)
        return true;
    size_t length = (size_t)(equals - *word);
    if (length >= sizeof name)
        return false;
    memcpy(name, *word, length);
    if (!value_lane(name, &lane))
        return false;
    chosen[lane] = true;
    *word = equals + 1;
    return true;
}

/* Zero would mean the default, which nobody asks for by giving the option. */
static bool read_value(const limit *it, const char *word, uint64_t *out)
{
    switch (it->form) {
    case COUNT:
        return value_number(word, it->narrow ? UINT32_MAX : INT64_MAX, out) && *out > 0;
    case BYTES:
        return value_bytes(word, out) && *out > 0;
    case DURATION:
        return value_duration(word, out) && *out > 0;
    case POLICY:
        *out = strcmp(word, "refuse") == 0 ? BUSBAR_FULL_REFUSE : BUSBAR_FULL_EVICT;
        return *out == BUSBAR_FULL_REFUSE || strcmp(word, "evict") == 0;
    }
    return false;
}

static int fail(const arguments *args, const limit *it, const char *word)
{
    static const char *const forms[] = {
        [COUNT] = "a number of at least 1",
        [BYTES] = "a size such as 500000, 512K, 64M or 2G",
        [DURATION] = "a duration with a unit, such as 90s, 10m or 3d",
        [POLICY] = "refuse or evict",
    };
    return arguments_fail(args, "--%s is %s%s, not \"%s\"", it->name, forms[it->form],
                          it->by_lane ? ", for one lane with urgent=, normal= or bulk= before it" : "", word);
}

/* The member at `index`, which is that of the lane, or 0. */
static void set(busbar_options *options, const limit *it, int index, uint64_t value)
{
    unsigned char *base = (unsigned char *)options + it->offset;
    if (it->form == POLICY)
        options->full[index] = (busbar_full)value;
    else if (it->narrow)
        memcpy(base, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
    else
        memcpy(base + (size_t)index * sizeof value, &value, sizeof value);
}

int limits_take(const arguments *args, const char *name, const char *word, busbar_options *options)
{
    const limit *it = find(name);
    assert(it);
    bool chosen[BUSBAR_LANE_COUNT] = {true};
    const char *rest = word;
    uint64_t value = 0;
    if (it->by_lane && !read_lane(&rest, chosen))
        return fail(args, it, word);
    if (!read_value(it, rest, &value))
        return fail(args, it, word);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        if (chosen[lane])
            set(options, it, lane, value);
    return EXIT_DONE;
}

int limits_check(const arguments *args, const busbar_options *options)
{
    if (options->max_bytes != 0 && options->max_bytes < BYTES_MIN)
        return arguments_fail(args, "--max-bytes is 256K at least: the tables, and room to work, need that much");
    if (options->max_bytes != 0 && options->reserve_bytes > options->max_bytes / 2)
        return arguments_fail(args, "--reserve-bytes is half of --max-bytes at most");
    return EXIT_DONE;
}

int limits_read(const arguments *args, busbar_options *options)
{
    int exit_code = EXIT_DONE;
    for (size_t i = 0; exit_code == EXIT_DONE && i < args->option_count; i++)
        if (args->values[i] != NULL && limits_know(args->options[i].name))
            exit_code = limits_take(args, args->options[i].name, args->values[i], options);
    for (size_t i = 0; exit_code == EXIT_DONE && i < args->many_count; i++) {
        const char *name = args->options[args->many_option[i]].name;
        if (limits_know(name))
            exit_code = limits_take(args, name, args->many[i], options);
    }
    return exit_code == EXIT_DONE ? limits_check(args, options) : exit_code;
}
