/* SPDX-License-Identifier: MIT */
/* The record of a simulated disk: what was called, in order. Knows nothing of what it means. */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

static bool append(bb_sim_log *log, const bb_sim_op *op)
{
    bb_sim_op *ops = bb_sim_grow(log->ops, log->count, &log->capacity, sizeof *ops);
    if (ops == NULL)
        return false;
    log->ops = ops;
    ops[log->count++] = *op;
    return true;
}

bool bb_sim_log_write(bb_sim_log *log, const bb_sim_node *node, size_t offset, const void *data, size_t size)
{
    bb_sim_op op = {.type = BB_SIM_WRITE, .node = node->number, .offset = offset, .size = size, .data = log->data.size};
    return bb_sim_bytes_write(&log->data, log->data.size, data, size) && append(log, &op);
}

bool bb_sim_log_add(bb_sim_log *log, bb_sim_op_type type, const bb_sim_node *node, size_t offset)
{
    return append(log, &(bb_sim_op){.type = type, .node = node->number, .offset = offset});
}

void bb_sim_log_clear(bb_sim_log *log)
{
    log->count = 0;
    log->data.size = 0;
}

void bb_sim_log_free(bb_sim_log *log)
{
    free(log->ops);
    bb_sim_bytes_free(&log->data);
    *log = (bb_sim_log){.ops = NULL};
}

uint64_t busbar_sim_disk_op_count(const busbar_sim_disk *disk)
{
    return disk->log.count;
}

/* ---- For people -------------------------------------------------------------------------------------------------- */

static void add_text(char *out, const char *text)
{
    size_t length = strlen(out);
    size_t room = BUSBAR_SIM_DISK_OP_SIZE - 1 - length;
    size_t more = strlen(text);
    if (more > room)
        more = room;
    memcpy(out + length, text, more);
    out[length + more] = '\0';
}

static void add_number(char *out, uint64_t value)
{
    char digits[21] = {0};
    size_t at = sizeof digits - 1;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    add_text(out, digits + at);
}

static const char *verb(bb_sim_op_type type)
{
    switch (type) {
    case BB_SIM_WRITE:
        return "write ";
    case BB_SIM_TRUNCATE:
        return "truncate to ";
    case BB_SIM_CREATE:
        return "create ";
    case BB_SIM_DELETE:
        return "delete ";
    case BB_SIM_SYNC:
        return "sync ";
    case BB_SIM_SYNC_DIRECTORY:
        return "sync of the directory for ";
    }
    return "";
}

int busbar_sim_disk_op(const busbar_sim_disk *disk, uint64_t op, char out_text[BUSBAR_SIM_DISK_OP_SIZE])
{
    if (op >= disk->log.count)
        return BUSBAR_ENOTFOUND;
    const bb_sim_op *it = &disk->log.ops[op];
    out_text[0] = '\0';
    add_text(out_text, verb(it->type));
    if (it->type == BB_SIM_WRITE) {
        add_number(out_text, it->size);
        add_text(out_text, " at ");
    }
    if (it->type == BB_SIM_WRITE || it->type == BB_SIM_TRUNCATE) {
        add_number(out_text, it->offset);
        add_text(out_text, " of ");
    }
    add_text(out_text, disk->nodes[it->node]->name);
    return BUSBAR_OK;
}
