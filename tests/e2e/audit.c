/* SPDX-License-Identifier: MIT */
/* Compares what was published with what was received. */
#include "test.h"

#include "audit.h"

#include <stdio.h>

#include "device.h"

#define DEVICES_MAX 8

void audit_add(audit *it, const process *publisher)
{
    char *log = process_log(publisher);
    it->entries = realloc(it->entries, (it->count + process_lines(publisher, "published ") + 1) * sizeof(entry));
    assert_non_null(it->entries);
    for (const char *line = log; *line != '\0'; line = strchr(line, '\n') + 1) {
        entry *added = &it->entries[it->count];
        if (sscanf(line, "published %79s %ld %79s", added->device, &added->n, added->id) == 3)
            it->count++;
    }
    free(log);
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

/* False if a later one of the same device was there before. */
static bool order_keep(order *it, const entry *arrived)
{
    size_t i = 0;
    while (i < DEVICES_MAX && it->device[i] != NULL && strcmp(it->device[i], arrived->device) != 0)
        i++;
    assert_true(i < DEVICES_MAX);
    bool kept = arrived->n > it->n[i];
    it->device[i] = arrived->device;
    it->n[i] = arrived->n;
    return kept;
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

audit_result audit_compare(const audit *it, receiver *from)
{
    audit_result result = {.missing = it->count};
    order seen_last = {.n = {0}};
    size_t count;
    reading *readings = receiver_readings(from, &count);
    bool *seen = calloc(it->count + 1, sizeof *seen);
    assert_non_null(seen);
    for (size_t i = 0; i < count; i++) {
        const entry *found = find(it, &readings[i]);
        if (found == NULL) {
            result.unknown++;
        } else if (seen[found - it->entries]) {
            result.duplicates++;
        } else {
            seen[found - it->entries] = true;
            result.missing--;
            result.out_of_order += !order_keep(&seen_last, found);
        }
    }
    free(seen);
    free(readings);
    return result;
}

void audit_assert_delivered(const process *publishers, size_t publisher_count, receiver *from, size_t duplicates_max)
{
    audit it = {.entries = NULL};
    for (size_t i = 0; i < publisher_count; i++)
        audit_add(&it, &publishers[i]);
    audit_seal(&it);
    audit_result result = audit_compare(&it, from);
    print_message("published %zu: missing %zu, unknown %zu, duplicates %zu (at most %zu), out of order %zu\n", it.count,
                  result.missing, result.unknown, result.duplicates, duplicates_max, result.out_of_order);
    audit_free(&it);
    assert_int_equal(result.missing, 0);
    assert_int_equal(result.unknown, 0);
    assert_int_equal(result.out_of_order, 0);
    assert_true(result.duplicates <= duplicates_max);
}
