/* SPDX-License-Identifier: MIT */
#include "filter.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attribute.h"
#include "json.h"
#include "utf8.h"

/* An attribute that is a member of the record. */
typedef struct core_attribute {
    const char *name;
    size_t offset; /* of the member, a text */
    bool of_kind;
} core_attribute;

/*
 * The tree lies in preorder: a node's first part is the next node, and behind its last part is `end`. The outcome of a
 * comparison leads straight on to the next one that is needed, or to MATCH or NO_MATCH: deciding needs no stack.
 */
typedef struct node {
    busbar_filter_op op;
    uint8_t parent; /* of the root: itself */
    uint8_t end;
    uint8_t yes; /* where to go on */
    uint8_t no;
    const core_attribute *core; /* NULL: an extension */
    const char *name;           /* of the attribute */
    /* Of an extension, as it stands between the quotes of a JSON string: then stored texts need no unescaping. */
    const char *value;
    size_t value_size_bytes;
} node;

struct bb_filter {
    size_t count;
    node nodes[]; /* the texts stand behind them */
};

#define MATCH    UINT8_MAX
#define NO_MATCH (UINT8_MAX - 1)

static_assert(BUSBAR_FILTER_NODES_MAX < NO_MATCH, "a node's index is a byte");

/* ---- Checking ---- */

static const core_attribute *find_core(const char *name)
{
    static const core_attribute cores[] = {
        {"type", offsetof(busbar_record, type), true},
        {"source", offsetof(busbar_record, source), true},
        {"subject", offsetof(busbar_record, subject), false},
        {"id", offsetof(busbar_record, id), false},
        {"key", offsetof(busbar_record, key), false},
        {"datacontenttype", offsetof(busbar_record, datacontenttype), true},
        {"dataschema", offsetof(busbar_record, dataschema), true},
    };
    const char *sought = strcmp(name, "partitionkey") == 0 ? "key" : name;
    for (size_t i = 0; i < sizeof cores / sizeof cores[0]; i++) {
        if (strcmp(sought, cores[i].name) == 0)
            return &cores[i];
    }
    return NULL;
}

static bool is_combination(const busbar_filter *filter)
{
    return filter->op == BUSBAR_FILTER_ALL || filter->op == BUSBAR_FILTER_ANY || filter->op == BUSBAR_FILTER_NOT;
}

static bool attribute_valid(const char *name)
{
    const busbar_attribute extension = {.name = name, .type = BUSBAR_ATTRIBUTE_BOOLEAN};
    return name && (find_core(name) || bb_attribute_extension_check(&extension) == BUSBAR_OK);
}

/* No attribute is longer or has other characters: such a value would be a mistake. */
static bool value_valid(const char *value)
{
    size_t size = value ? strlen(value) : 0;
    return size > 0 && size <= BUSBAR_EXTENSION_VALUE_MAX && bb_utf8_printable(value, size);
}

static bool node_valid(const busbar_filter *filter)
{
    switch (filter->op) {
    case BUSBAR_FILTER_EXACT:
    case BUSBAR_FILTER_PREFIX:
    case BUSBAR_FILTER_SUFFIX:
        return !filter->filters && filter->filter_count == 0 && attribute_valid(filter->attribute) &&
               value_valid(filter->value);
    case BUSBAR_FILTER_ALL:
    case BUSBAR_FILTER_ANY:
    case BUSBAR_FILTER_NOT:
        return !filter->attribute && !filter->value && filter->filters && filter->filter_count > 0 &&
               filter->filter_count < BUSBAR_FILTER_NODES_MAX &&
               (filter->op != BUSBAR_FILTER_NOT || filter->filter_count == 1);
    }
    return false;
}

/* ---- Copying ---- */

/* The application's tree in preorder. */
typedef struct flat {
    const busbar_filter *filters[BUSBAR_FILTER_NODES_MAX];
    uint8_t parents[BUSBAR_FILTER_NODES_MAX];
    size_t count;
} flat;

static bool flatten(const busbar_filter *root, flat *out)
{
    size_t open[BUSBAR_FILTER_DEPTH_MAX];  /* the combinations around the next node, */
    size_t taken[BUSBAR_FILTER_DEPTH_MAX]; /* and how many of their parts were seen */
    size_t depth = 0;
    out->count = 0;
    for (const busbar_filter *next = root; next;) {
        if (depth == BUSBAR_FILTER_DEPTH_MAX || out->count == BUSBAR_FILTER_NODES_MAX || !node_valid(next))
            return false;
        size_t index = out->count++;
        out->filters[index] = next;
        out->parents[index] = (uint8_t)(depth > 0 ? open[depth - 1] : 0);
        if (is_combination(next)) {
            open[depth] = index;
            taken[depth++] = 0;
        }
        while (depth > 0 && taken[depth - 1] == out->filters[open[depth - 1]]->filter_count)
            depth--;
        next = depth > 0 ? &out->filters[open[depth - 1]]->filters[taken[depth - 1]++] : NULL;
    }
    return true;
}

/* Adds the texts of a comparison. Where there is no room they are only counted, and `n` is not touched. */
static void place_texts(node *n, const busbar_filter *filter, bb_text *texts)
{
    const core_attribute *core = find_core(filter->attribute);
    size_t size = strlen(filter->value);
    size_t name_at = texts->length;
    if (!core)
        bb_text_add_bytes(texts, filter->attribute, strlen(filter->attribute) + 1);
    size_t value_at = texts->length;
    if (core)
        bb_text_add_bytes(texts, filter->value, size);
    else
        bb_json_add_string(texts, filter->value, size);
    if (!n || !bb_text_fits(texts))
        return;
    n->core = core;
    n->name = core ? core->name : texts->buffer + name_at;
    n->value = texts->buffer + value_at + (core ? 0 : 1);
    n->value_size_bytes = texts->length - value_at - (core ? 0 : 2);
}

static size_t texts_size(const flat *tree)
{
    bb_text texts = bb_text_bare_on(NULL, 0);
    for (size_t i = 0; i < tree->count; i++) {
        if (!is_combination(tree->filters[i]))
            place_texts(NULL, tree->filters[i], &texts);
    }
    return texts.length;
}

/* Parts come behind what they are parts of: from behind, every end is known before it is passed on. */
static void find_ends(bb_filter *filter)
{
    for (size_t i = 0; i < filter->count; i++)
        filter->nodes[i].end = (uint8_t)(i + 1);
    for (size_t i = filter->count - 1; i > 0; i--) {
        node *parent = &filter->nodes[filter->nodes[i].parent];
        if (parent->end < filter->nodes[i].end)
            parent->end = filter->nodes[i].end;
    }
}

/* Where each node's outcome leads: to the next part if it leaves the combination open, else where that one's leads. */
static void find_ways(bb_filter *filter)
{
    filter->nodes[0].yes = MATCH;
    filter->nodes[0].no = NO_MATCH;
    for (size_t i = 1; i < filter->count; i++) {
        node *n = &filter->nodes[i];
        const node *parent = &filter->nodes[n->parent];
        bool last = n->end == parent->end;
        bool negated = parent->op == BUSBAR_FILTER_NOT;
        n->yes = negated ? parent->no : parent->yes;
        n->no = negated ? parent->yes : parent->no;
        if (parent->op == BUSBAR_FILTER_ALL && !last)
            n->yes = n->end;
        if (parent->op == BUSBAR_FILTER_ANY && !last)
            n->no = n->end;
    }
}

const char *bb_filter_refusal(void)
{
    return NULL;
}

int bb_filter_copy(const busbar_filter *filter, bb_filter **out_filter)
{
    flat tree;
    if (!filter) {
        *out_filter = NULL;
        return BUSBAR_OK;
    }
    if (!flatten(filter, &tree))
        return BUSBAR_EFILTER;
    size_t nodes_size = tree.count * sizeof(node);
    size_t size = texts_size(&tree);
    bb_filter *copy = calloc(1, sizeof *copy + nodes_size + size);
    if (!copy)
        return BUSBAR_ENOMEM;
    bb_text texts = bb_text_bare_on((char *)copy + sizeof *copy + nodes_size, size);
    copy->count = tree.count;
    for (size_t i = 0; i < tree.count; i++) {
        copy->nodes[i].op = tree.filters[i]->op;
        copy->nodes[i].parent = tree.parents[i];
        if (!is_combination(tree.filters[i]))
            place_texts(&copy->nodes[i], tree.filters[i], &texts);
    }
    find_ends(copy);
    find_ways(copy);
    *out_filter = copy;
    return BUSBAR_OK;
}

void bb_filter_free(bb_filter *filter)
{
    free(filter);
}

/* ---- Deciding ---- */

static bool combines(const node *n)
{
    return n->value == NULL;
}

static bool holds(const node *n, const char *text, size_t size_bytes)
{
    if (size_bytes < n->value_size_bytes || (n->op == BUSBAR_FILTER_EXACT && size_bytes > n->value_size_bytes))
        return false;
    const char *at = n->op == BUSBAR_FILTER_SUFFIX ? text + (size_bytes - n->value_size_bytes) : text;
    return memcmp(at, n->value, n->value_size_bytes) == 0;
}

enum { HOLDS = 1, HOLDS_NOT = 2 };

/*
 * Compares escaped text with escaped text. What is stored is printable, so that only quotes and backslashes are escaped, each
 * with a backslash before it: beginnings and ends of the value are then beginnings and ends of the escaped value, and no
 * others are (one that began within an escape would stay one character ahead to its end).
 */
static int compare_member(const char *name, size_t name_size_bytes, const char *value, size_t value_size_bytes,
                          void *ctx)
{
    const node *n = ctx;
    if (strlen(n->name) != name_size_bytes || memcmp(n->name, name, name_size_bytes) != 0)
        return 0;
    if (value_size_bytes >= 2 && value[0] == '"') {
        value++;
        value_size_bytes -= 2;
    }
    return holds(n, value, value_size_bytes) ? HOLDS : HOLDS_NOT;
}

static bool extension_holds(node n, const char *extensions)
{
    return extensions && bb_json_members(extensions, strlen(extensions), compare_member, &n) == HOLDS;
}

static bool comparison_holds(const node *n, const busbar_record *record)
{
    const char *text;
    if (!n->core)
        return extension_holds(*n, record->extensions);
    memcpy(&text, (const char *)record + n->core->offset, sizeof text);
    return text && holds(n, text, strlen(text));
}

bool bb_filter_match(const bb_filter *filter, const busbar_record *record)
{
    size_t at = filter ? 0 : MATCH;
    while (at < NO_MATCH) {
        const node *n = &filter->nodes[at];
        if (combines(n))
            at++;
        else
            at = comparison_holds(n, record) ? n->yes : n->no;
    }
    return at == MATCH;
}

bool bb_filter_needs_only_kind(const bb_filter *filter)
{
    for (size_t i = 0; filter && i < filter->count; i++) {
        const node *n = &filter->nodes[i];
        if (!combines(n) && (!n->core || !n->core->of_kind))
            return false;
    }
    return true;
}

/* ---- Telling ---- */

/* A combination inside another, unless it has only one part. */
static bool in_parentheses(const bb_filter *filter, size_t index)
{
    const node *n = &filter->nodes[index];
    return combines(n) && n->op != BUSBAR_FILTER_NOT && index > 0 && filter->nodes[index + 1].end < n->end;
}

static void add_comparison(const node *n, bb_text *out)
{
    bb_text_add(out, n->name);
    bb_text_add(out, n->op == BUSBAR_FILTER_PREFIX ? "^=" : n->op == BUSBAR_FILTER_SUFFIX ? "$=" : "=");
    if (n->core) {
        bb_json_add_string(out, n->value, n->value_size_bytes);
    } else {
        bb_text_add_char(out, '"');
        bb_text_add_bytes(out, n->value, n->value_size_bytes);
        bb_text_add_char(out, '"');
    }
}

static void add_node(const bb_filter *filter, size_t index, bb_text *out)
{
    const node *n = &filter->nodes[index];
    if (index > n->parent + 1u)
        bb_text_add(out, filter->nodes[n->parent].op == BUSBAR_FILTER_ALL ? " and " : " or ");
    if (n->op == BUSBAR_FILTER_NOT)
        bb_text_add(out, "not ");
    if (in_parentheses(filter, index))
        bb_text_add_char(out, '(');
    if (combines(n))
        return;
    add_comparison(n, out);
    for (size_t around = index; around > 0;) {
        around = filter->nodes[around].parent;
        if (filter->nodes[around].end == n->end && in_parentheses(filter, around))
            bb_text_add_char(out, ')');
    }
}

/* Ends a text that did not fit with dots, behind a whole character. */
static void shorten(bb_text *text, size_t begin)
{
    static const char dots[] = "...";
    if (text->bare || text->capacity < begin + sizeof dots)
        return;
    char *end = text->buffer + text->capacity - sizeof dots;
    while (end > text->buffer + begin && ((unsigned char)*end & 0xc0) == 0x80)
        end--;
    memcpy(end, dots, sizeof dots);
}

void bb_filter_text(const bb_filter *filter, bb_text *out)
{
    size_t begin = out->length;
    for (size_t i = 0; filter && i < filter->count; i++)
        add_node(filter, i, out);
    if (!bb_text_fits(out))
        shorten(out, begin);
}
