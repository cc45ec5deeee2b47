/* SPDX-License-Identifier: MIT */
/* Bytes that grow, and the files of the simulated disk. Knows nothing of SQLite's calls and of the record. */
#include "disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(bb_sim_bytes *bytes, size_t size)
{
    if (size <= bytes->capacity)
        return true;
    size_t capacity = bytes->capacity < 2048 ? 4096 : 2 * bytes->capacity;
    while (capacity < size)
        capacity *= 2;
    unsigned char *data = realloc(bytes->data, capacity);
    if (data == NULL)
        return false;
    bytes->data = data;
    bytes->capacity = capacity;
    return true;
}

bool bb_sim_bytes_resize(bb_sim_bytes *bytes, size_t size)
{
    if (!reserve(bytes, size))
        return false;
    if (size > bytes->size)
        memset(bytes->data + bytes->size, 0, size - bytes->size);
    bytes->size = size;
    return true;
}

bool bb_sim_bytes_write(bb_sim_bytes *bytes, size_t offset, const void *data, size_t size)
{
    if (size == 0)
        return true;
    if (offset + size > bytes->size && !bb_sim_bytes_resize(bytes, offset + size))
        return false;
    memcpy(bytes->data + offset, data, size);
    return true;
}

bool bb_sim_bytes_copy(bb_sim_bytes *bytes, const bb_sim_bytes *from)
{
    if (!reserve(bytes, from->size))
        return false;
    if (from->size > 0)
        memcpy(bytes->data, from->data, from->size);
    bytes->size = from->size;
    return true;
}

void bb_sim_bytes_free(bb_sim_bytes *bytes)
{
    free(bytes->data);
    *bytes = (bb_sim_bytes){.data = NULL};
}

void *bb_sim_grow(void *array, size_t count, size_t *capacity, size_t element_size)
{
    if (count < *capacity)
        return array;
    size_t grown = *capacity == 0 ? 16 : 2 * *capacity;
    void *moved = realloc(array, grown * element_size);
    if (moved != NULL)
        *capacity = grown;
    return moved;
}

bb_sim_node *bb_sim_node_new(const char *name)
{
    bb_sim_node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return NULL;
    assert(strlen(name) < sizeof node->name);
    memcpy(node->name, name, strlen(name) + 1);
    return node;
}

void bb_sim_node_free_shm(bb_sim_node *node)
{
    for (size_t i = 0; i < node->region_count; i++)
        free(node->regions[i]);
    free(node->regions);
    node->regions = NULL;
    node->region_count = node->region_capacity = 0;
}

void bb_sim_node_free(bb_sim_node *node)
{
    bb_sim_node_free_shm(node);
    bb_sim_bytes_free(&node->now);
    bb_sim_bytes_free(&node->base);
    bb_sim_bytes_free(&node->durable);
    free(node->pending);
    free(node);
}
