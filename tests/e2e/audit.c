/* SPDX-License-Identifier: MIT */
/* Compares what was published with what was received. */
#include "test.h"

#include "audit.h"

#include <stdio.h>

#include "device.h"

#define DEVICES_MAX 8

/* A line that begins with this word. */
static bool read_line(const char *line, const char *word, entry *out)
{
    char first[16];
    return sscanf(line, "%15s %79s %ld %79s", first, out->device, &out->n, out->id) == 4 && strcmp(first, word) == 0;
}

static void add_entry(audit *it, const entry *added)
{
    it->entries[it->count++] = *added;
}

/* What was tried last, and not said to be published, is known from what the next life tries. */
static void settle(audit *it, const entry *unsaid, const entry *next)
{
    if (unsaid->id[0] == '\0' || next->n == unsaid->n)
        return;
    if (next->n != unsaid->n + 1)
        fail_msg("after %s %ld comes %ld", unsaid->device, unsaid->n, next->n);
    add_entry(it, unsaid);
    it->unsaid++;
}

void audit_add(audit *it, const process *publisher)
{
    entry unsaid = {.id = ""};
    char *log = process_log(publisher);
    size_t lines = process_lines(publisher, "published ") + process_lines(publisher, "trying ");
    it->entries = realloc(it->entries, (it->count + lines + 1) * sizeof(entry));
    assert_non_null(it->entries);
    for (const char *line = log; *line != '\0'; line = strchr(line, '\n') + 1) {
        entry found;
        if (read_line(line, "trying", &found)) {
            settle(it, &unsaid, &found);
            unsaid = found;
        } else if (read_line(line, "published", &found)) {
            add_entry(it, &found);
            unsaid.id[0] = '\0';
        }
    }
    free(log);
    if (unsaid.id[0] != '\0')
        fail_msg("nobody knows what became of %s %ld", unsaid.device, unsaid.n);
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->id, ((const entry *)b)->id);
}

void audit_seal(audit *it)
{
    qsort(it->entries, it->count, sizeof(entry), compare_ids);
    for (size_t i = 1; i < it->count; i++)
        if (compare_ids(&it->entries[i - 1], &it->entries[i]) == 0)
            fail_msg("two events have the id %s", it->entries[i].id);
}

void audit_free(audit *it)
{
    free(it->entries);
}

/* ---- Comparing --------------------------------------------------------------------------------------------------------- */

/* The latest event of each device that has arrived for the first time. */
typedef struct order {
    const char *device[DEVICES_MAX];
    long n[DEVICES_MAX];
} order;

static size_t order_of(const order *it, const char *device)
{
    size_t i = 0;
    while (i < DEVICES_MAX && it->device[i] != NULL && strcmp(it->device[i], device) != 0)
        i++;
    assert_true(i < DEVICES_MAX);
    return i;
}

/* False if a later one of the same device was there before. */
static bool order_keep(order *it, const entry *arrived)
{
    size_t i = order_of(it, arrived->device);
    bool kept = arrived->n > it->n[i];
    it->device[i] = arrived->device;
    it->n[i] = arrived->n;
    return kept;
}

/* How many of its device, itself included, it goes back to. */
static size_t order_depth(const order *it, const entry *repeated)
{
    return (size_t)(it->n[order_of(it, repeated->device)] - repeated->n + 1);
}

/* Published by a handler: not in the log of any publisher. */
static bool is_effect(const reading *arrived)
{
    size_t length = strlen(arrived->device);
    return length > 0 && arrived->device[length - 1] == DEVICE_EFFECT;
}

static const entry *find(const audit *it, const reading *arrived)
{
    entry key = {.n = 0};
    memcpy(key.id, arrived->id, sizeof key.id);
    const entry *found = bsearch(&key, it->entries, it->count, sizeof(entry), compare_ids);
    bool same = found != NULL && strcmp(arrived->source, DEVICE_SOURCE) == 0 &&
                strcmp(found->device, arrived->device) == 0 && found->n == arrived->n;
    return same ? found : NULL;
}

static void compare_one(audit_result *result, order *latest, bool *seen, const entry *found)
{
    if (*seen) {
        size_t depth = order_depth(latest, found);
        result->duplicates++;
        result->deepest = depth > result->deepest ? depth : result->deepest;
        return;
    }
    *seen = true;
    result->missing--;
    result->out_of_order += !order_keep(latest, found);
}

audit_result audit_compare(const audit *it, receiver *from)
{
    audit_result result = {.missing = it->count};
    order latest = {.n = {0}};
    size_t count;
    reading *readings = receiver_readings(from, &count);
    bool *seen = calloc(it->count + 1, sizeof *seen);
    assert_non_null(seen);
    for (size_t i = 0; i < count; i++) {
        const entry *found = find(it, &readings[i]);
        if (found != NULL)
            compare_one(&result, &latest, &seen[found - it->entries], found);
        else
            result.unknown += !is_effect(&readings[i]);
    }
    free(seen);
    free(readings);
    return result;
}

static audit_result assert_delivered(const process *publishers, size_t publisher_count, receiver *from,
                                     size_t duplicates_max)
{
    audit it = {.entries = NULL};
    for (size_t i = 0; i < publisher_count; i++)
        audit_add(&it, &publishers[i]);
    audit_seal(&it);
    audit_result result = audit_compare(&it, from);
    print_message(
        "published %zu (%zu unsaid): missing %zu, unknown %zu, duplicates %zu (at most %zu), deepest %zu, out of "
        "order %zu\n",
        it.count, it.unsaid, result.missing, result.unknown, result.duplicates, duplicates_max, result.deepest,
        result.out_of_order);
    audit_free(&it);
    assert_int_equal(result.missing, 0);
    assert_int_equal(result.unknown, 0);
    assert_int_equal(result.out_of_order, 0);
    assert_true(result.duplicates <= duplicates_max);
    return result;
}

void audit_assert_delivered(const process *publishers, size_t publisher_count, receiver *from, size_t duplicates_max)
{
    (void)assert_delivered(publishers, publisher_count, from, duplicates_max);
}

size_t audit_assert_delivered_over_kills(const process *publishers, size_t publisher_count, receiver *from,
                                         size_t kills, size_t at_risk)
{
    audit_result result = assert_delivered(publishers, publisher_count, from, kills * at_risk);
    if (result.deepest > at_risk)
        fail_msg("a kill made something be sent again that was %zu back; at most %zu are allowed", result.deepest,
                 at_risk);
    return result.duplicates;
}

/* ---- Effects ------------------------------------------------------------------------------------------------------------ */

size_t audit_assert_effects(receiver *from, const char *device, size_t count)
{
    char name[RECEIVER_TEXT_SIZE];
    size_t reading_count;
    size_t repeated = 0;
    size_t missing = count;
    reading *readings = receiver_readings(from, &reading_count);
    const reading **first = calloc(count + 1, sizeof *first); /* by n */
    assert_non_null(first);
    snprintf(name, sizeof name, "%.70s%c", device, DEVICE_EFFECT);
    for (size_t i = 0; i < reading_count; i++) {
        if (strcmp(readings[i].device, name) != 0)
            continue;
        assert_in_range(readings[i].n, 1, count);
        const reading **of_n = &first[readings[i].n];
        if (*of_n == NULL)
            missing--, *of_n = &readings[i];
        else if (strcmp((*of_n)->id, readings[i].id) == 0)
            repeated++;
        else
            fail_msg("event %ld of %s had two effects: %s and %s", readings[i].n, device, (*of_n)->id, readings[i].id);
    }
    print_message("effects of %s: %zu of %zu missing, %zu sent again\n", device, missing, count, repeated);
    free(first);
    free(readings);
    assert_int_equal(missing, 0);
    return repeated;
}
