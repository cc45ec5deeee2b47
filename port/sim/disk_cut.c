/* SPDX-License-Identifier: MIT */
/*
 * A power cut of a simulated disk: walks the record up to the cut, keeping apart what is certain and what is not, and
 * lets a seed decide what becomes of the rest. Knows nothing of SQLite.
 */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

/* How a cut treats what was not synced. */
typedef enum cut_style {
    KEEP_ALL,
    DROP_ALL,
    HALF_OF_SECTORS,
    HALF_OF_OPERATIONS,
    MOST_SECTORS,
    FEW_SECTORS,
    STYLE_COUNT
} cut_style;

typedef struct cut {
    busbar_sim_disk *disk;
    uint64_t random;
    size_t under_way; /* the operation that may be half done; SIZE_MAX: none */
    cut_style style;
    bool each_its_own; /* a style for each file */
    bool rubbish;      /* instead of zeroes where a file grew */
} cut;

/* One file, as it is put together. */
typedef struct image {
    bb_sim_bytes *bytes;
    size_t whole_size; /* the file's size if nothing had been lost */
    cut_style style;
    bool stopped; /* ordered model: nothing later has arrived */
} image;

static uint64_t pick(cut *c, uint64_t count)
{
    return (bb_sim_disk_random(&c->random) >> 11) % count;
}

/* ---- Walking ----------------------------------------------------------------------------------------------------- */

static bool write_at(bb_sim_bytes *bytes, const bb_sim_log *log, const bb_sim_op *op)
{
    return bb_sim_bytes_write(bytes, op->offset, log->data.data + op->data, op->size);
}

static bool sync_file(busbar_sim_disk *disk, bb_sim_node *node)
{
    for (size_t i = 0; i < node->pending_count; i++) {
        const bb_sim_op *op = &disk->log.ops[node->pending[i]];
        if (op->type == BB_SIM_WRITE ? !write_at(&node->durable, &disk->log, op)
                                     : !bb_sim_bytes_resize(&node->durable, op->offset))
            return false;
    }
    node->pending_count = 0;
    return true;
}

static void sync_directory(busbar_sim_disk *disk)
{
    for (size_t i = 0; i < disk->cut_directory_count; i++) {
        const bb_sim_op *op = &disk->log.ops[disk->cut_directory[i]];
        disk->nodes[op->node]->durable_listed = op->type == BB_SIM_CREATE;
    }
    disk->cut_directory_count = 0;
}

static bool append(size_t **list, size_t *count, size_t *capacity, size_t value)
{
    size_t *grown = bb_sim_grow(*list, *count, capacity, sizeof *grown);
    if (grown == NULL)
        return false;
    *list = grown;
    grown[(*count)++] = value;
    return true;
}

static bool walk_over(busbar_sim_disk *disk, size_t index)
{
    const bb_sim_op *op = &disk->log.ops[index];
    bb_sim_node *node = disk->nodes[op->node];
    switch (op->type) {
    case BB_SIM_WRITE:
    case BB_SIM_TRUNCATE:
        return append(&node->pending, &node->pending_count, &node->pending_capacity, index);
    case BB_SIM_CREATE:
    case BB_SIM_DELETE:
        return append(&disk->cut_directory, &disk->cut_directory_count, &disk->cut_directory_capacity, index);
    case BB_SIM_SYNC:
        return sync_file(disk, node);
    case BB_SIM_SYNC_DIRECTORY:
        sync_directory(disk);
        return true;
    }
    return true;
}

static bool begin_anew(busbar_sim_disk *disk)
{
    for (size_t i = 0; i < disk->node_count; i++) {
        bb_sim_node *node = disk->nodes[i];
        if (!bb_sim_bytes_copy(&node->durable, &node->base))
            return false;
        node->durable_listed = node->base_listed;
        node->pending_count = 0;
    }
    disk->cut_directory_count = 0;
    disk->cut_op = 0;
    return true;
}

static bool walk_to(busbar_sim_disk *disk, uint64_t op)
{
    if (!disk->cut_begun || op < disk->cut_op)
        disk->cut_begun = begin_anew(disk);
    while (disk->cut_begun && disk->cut_op < op)
        disk->cut_begun = walk_over(disk, (size_t)disk->cut_op++);
    return disk->cut_begun;
}

/* ---- The directory ----------------------------------------------------------------------------------------------- */

/* The first file of the same name speaks for the name. */
static bb_sim_node *name_of(const busbar_sim_disk *disk, const bb_sim_node *node)
{
    for (size_t i = 0; i < node->number; i++)
        if (strcmp(disk->nodes[i]->name, node->name) == 0)
            return disk->nodes[i];
    return disk->nodes[node->number];
}

static bool keeps_entry(cut *c, cut_style style)
{
    switch (style) {
    case KEEP_ALL:
        return true;
    case DROP_ALL:
        return false;
    case MOST_SECTORS:
        return pick(c, 8) != 0;
    case FEW_SECTORS:
        return pick(c, 8) == 0;
    case HALF_OF_SECTORS:
    case HALF_OF_OPERATIONS:
    case STYLE_COUNT:
        break;
    }
    return pick(c, 2) == 0;
}

static void list_op(cut *c, size_t index, bool under_way)
{
    const bb_sim_op *op = &c->disk->log.ops[index];
    bb_sim_node *node = c->disk->nodes[op->node];
    bb_sim_node *name = name_of(c->disk, node);
    if (!name->decided && (under_way ? pick(c, 2) == 0 : keeps_entry(c, c->style)))
        node->survives = op->type == BB_SIM_CREATE;
    else
        name->decided = true; /* what one name goes through keeps its order */
}

static void list_survivors(cut *c)
{
    busbar_sim_disk *disk = c->disk;
    for (size_t i = 0; i < disk->node_count; i++) {
        disk->nodes[i]->survives = disk->nodes[i]->durable_listed;
        disk->nodes[i]->decided = false;
    }
    for (size_t i = 0; i < disk->cut_directory_count; i++)
        list_op(c, disk->cut_directory[i], false);
    if (c->under_way != SIZE_MAX) {
        bb_sim_op_type type = disk->log.ops[c->under_way].type;
        if (type == BB_SIM_CREATE || type == BB_SIM_DELETE)
            list_op(c, c->under_way, true);
    }
}

/* ---- Sectors ----------------------------------------------------------------------------------------------------- */

static bool keeps_sector(cut *c, cut_style style)
{
    switch (style) {
    case KEEP_ALL:
    case HALF_OF_OPERATIONS: /* decided for the operation */
        return true;
    case DROP_ALL:
        return false;
    case MOST_SECTORS:
        return pick(c, 8) != 0;
    case FEW_SECTORS:
        return pick(c, 8) == 0;
    case HALF_OF_SECTORS:
    case STYLE_COUNT:
        break;
    }
    return pick(c, 2) == 0;
}

/* Makes the file longer, with what a disk may show where nothing has arrived. */
static bool fill_to(cut *c, image *im, size_t size)
{
    size_t old = im->bytes->size;
    if (size <= old)
        return true;
    if (!bb_sim_bytes_resize(im->bytes, size))
        return false;
    for (size_t i = old; c->rubbish && i < size; i++)
        im->bytes->data[i] = (unsigned char)pick(c, 256);
    return true;
}

/* The file grows, if nothing is lost. */
static void reach(image *im, size_t end)
{
    if (end > im->whole_size)
        im->whole_size = end;
}

/* Ordered model: whether bytes at `offset` would lie beyond some that never arrived. */
static bool is_out_of_order(const cut *c, const image *im, size_t offset)
{
    return c->disk->model == BUSBAR_SIM_DISK_ORDERED_APPEND && offset > im->bytes->size &&
           im->bytes->size < im->whole_size;
}

static bool arrive(cut *c, image *im, size_t offset, const unsigned char *data, size_t size)
{
    if (size == 0 || is_out_of_order(c, im, offset))
        return true;
    return fill_to(c, im, offset) && bb_sim_bytes_write(im->bytes, offset, data, size);
}

/* A sector that was being written: its beginning is new, or its end. */
static bool tear(cut *c, image *im, size_t offset, const unsigned char *data, size_t size)
{
    size_t at = (size_t)pick(c, size + 1);
    if (c->disk->model == BUSBAR_SIM_DISK_ORDERED_APPEND || pick(c, 2) == 0)
        return arrive(c, im, offset, data, at);
    return arrive(c, im, offset + at, data + at, size - at);
}

/* A sector that did not arrive. The file may have grown for it all the same. */
static bool lose(cut *c, image *im, size_t end)
{
    if (c->disk->model == BUSBAR_SIM_DISK_ORDERED_APPEND || end <= im->bytes->size || pick(c, 4) != 0)
        return true;
    return fill_to(c, im, end);
}

static bool take_sector(cut *c, image *im, size_t offset, const unsigned char *data, size_t size)
{
    bool certain = im->style == KEEP_ALL || im->style == DROP_ALL;
    if (!certain && pick(c, 8) == 0)
        return tear(c, im, offset, data, size);
    if (keeps_sector(c, im->style))
        return arrive(c, im, offset, data, size);
    return lose(c, im, offset + size);
}

static size_t sector_part(size_t offset, size_t left)
{
    size_t part = BB_SIM_SECTOR_SIZE - offset % BB_SIM_SECTOR_SIZE;
    return part < left ? part : left;
}

static bool take_write(cut *c, image *im, const bb_sim_op *op)
{
    const unsigned char *data = c->disk->log.data.data + op->data;
    size_t size;
    for (size_t at = 0; at < op->size; at += size) {
        size = sector_part(op->offset + at, op->size - at);
        if (!take_sector(c, im, op->offset + at, data + at, size))
            return false;
        reach(im, op->offset + at + size);
    }
    return true;
}

static bool take_truncate(cut *c, image *im, const bb_sim_op *op)
{
    if (keeps_entry(c, im->style))
        return op->offset < im->bytes->size ? bb_sim_bytes_resize(im->bytes, op->offset) : fill_to(c, im, op->offset);
    im->stopped = c->disk->model == BUSBAR_SIM_DISK_ORDERED_APPEND;
    return true;
}

static bool take_op(cut *c, image *im, const bb_sim_op *op)
{
    bool whole_lost = im->style == HALF_OF_OPERATIONS && pick(c, 2) == 0;
    size_t end = op->offset + op->size;
    bool taken = true;
    if (op->type == BB_SIM_TRUNCATE)
        taken = take_truncate(c, im, op);
    else if (whole_lost)
        taken = lose(c, im, end);
    else
        taken = take_write(c, im, op);
    if (op->type == BB_SIM_TRUNCATE)
        im->whole_size = end;
    reach(im, end);
    return taken;
}

/* The operation that the power cut interrupted: its first sectors and a torn one, or any of them. */
static bool take_half(cut *c, image *im, const bb_sim_op *op)
{
    const unsigned char *data = c->disk->log.data.data + op->data;
    size_t done = (size_t)pick(c, op->size + 1);
    if (op->type == BB_SIM_TRUNCATE)
        return pick(c, 2) == 0 || take_truncate(c, im, op);
    if (pick(c, 2) == 0) {
        im->style = HALF_OF_SECTORS;
        return take_write(c, im, op);
    }
    size_t size;
    for (size_t at = 0; at < done; at += size) {
        size = sector_part(op->offset + at, done - at);
        if (!arrive(c, im, op->offset + at, data + at, size))
            return false;
    }
    return true;
}

/* ---- The survivor ------------------------------------------------------------------------------------------------ */

static bool build_file(cut *c, const bb_sim_node *node, bb_sim_bytes *out)
{
    const bb_sim_log *log = &c->disk->log;
    image im = {.bytes = out, .whole_size = node->durable.size, .style = c->style};
    if (c->each_its_own)
        im.style = (cut_style)pick(c, STYLE_COUNT);
    if (!bb_sim_bytes_copy(out, &node->durable))
        return false;
    for (size_t i = 0; i < node->pending_count && !im.stopped; i++)
        if (!take_op(c, &im, &log->ops[node->pending[i]]))
            return false;
    if (c->under_way == SIZE_MAX || im.stopped || log->ops[c->under_way].node != node->number)
        return true;
    const bb_sim_op *op = &log->ops[c->under_way];
    return (op->type != BB_SIM_WRITE && op->type != BB_SIM_TRUNCATE) || take_half(c, &im, op);
}

static bool build_survivor(cut *c, busbar_sim_disk *survivor)
{
    list_survivors(c);
    for (size_t i = 0; i < c->disk->node_count; i++) {
        const bb_sim_node *node = c->disk->nodes[i];
        if (!node->survives)
            continue;
        bb_sim_node *copy = bb_sim_disk_add(survivor, node->name);
        if (copy == NULL || !build_file(c, node, &copy->now) || !bb_sim_bytes_copy(&copy->base, &copy->now))
            return false;
        copy->listed = copy->base_listed = true;
    }
    return true;
}

static cut cut_of(busbar_sim_disk *disk, uint64_t op, uint64_t seed)
{
    cut c = {.disk = disk, .random = seed ^ (op * UINT64_C(0xd1342543de82ef95))};
    uint64_t way = pick(&c, STYLE_COUNT + 2);
    c.each_its_own = way >= STYLE_COUNT;
    c.style = c.each_its_own ? HALF_OF_OPERATIONS : (cut_style)way;
    c.rubbish = disk->model == BUSBAR_SIM_DISK_ANY_ORDER && pick(&c, 2) == 0;
    c.under_way = op < disk->log.count && pick(&c, 2) == 0 ? (size_t)op : SIZE_MAX;
    return c;
}

int busbar_sim_disk_cut(busbar_sim_disk *disk, uint64_t op, uint64_t seed, busbar_sim_disk *survivor)
{
    if (op > disk->log.count || survivor == disk)
        return BUSBAR_EINVAL;
    if (survivor->open_files > 0)
        return BUSBAR_EMISUSE;
    bb_sim_disk_clear(survivor);
    cut c = cut_of(disk, op, seed);
    if (!walk_to(disk, op) || !build_survivor(&c, survivor)) {
        bb_sim_disk_clear(survivor);
        return BUSBAR_ENOMEM;
    }
    return BUSBAR_OK;
}
