/* SPDX-License-Identifier: MIT */
#include "pattern.h"

#include <string.h>

#include <busbar/busbar.h>

#include "utf8.h"

/* ---- Checking ---- */

static bool segment_valid(const char *segment, size_t size_bytes)
{
    if (size_bytes == 0)
        return false;
    if (size_bytes == 1 && (*segment == '*' || *segment == '#'))
        return true;
    for (size_t i = 0; i < size_bytes; i++) {
        if (strchr(" *#+", segment[i]))
            return false;
    }
    return true;
}

bool bb_pattern_valid(const char *pattern)
{
    if (!pattern)
        return true;
    size_t size = strlen(pattern);
    if (size > BUSBAR_PATTERN_MAX || !bb_utf8_printable(pattern, size))
        return false;
    const char *segment = pattern;
    for (;;) {
        size_t length = strcspn(segment, ".");
        if (!segment_valid(segment, length))
            return false;
        if (segment[length] == '\0')
            return true;
        segment += length + 1;
    }
}

/* ---- Matching ---- */
/* A place is the beginning of a segment, or NULL behind the last one. */

static const char *next_segment(const char *segment)
{
    while (*segment != '.' && *segment != '\0')
        segment++;
    return *segment == '.' ? segment + 1 : NULL;
}

static bool ends_segment(char c)
{
    return c == '.' || c == '\0';
}

static bool is_wildcard(const char *segment, char wildcard)
{
    return segment[0] == wildcard && ends_segment(segment[1]);
}

/* Moves both places on if the pattern's segment takes the type's. */
static bool take_segment(const char **pattern, const char **type)
{
    const char *p = *pattern;
    const char *t = *type;
    if (is_wildcard(p, '*')) {
        *pattern = next_segment(p);
        *type = next_segment(t);
        return true;
    }
    while (*p == *t && !ends_segment(*p)) {
        p++;
        t++;
    }
    if (!ends_segment(*p) || !ends_segment(*t))
        return false;
    *pattern = *p == '.' ? p + 1 : NULL;
    *type = *t == '.' ? t + 1 : NULL;
    return true;
}

bool bb_pattern_match(const char *pattern, const char *type)
{
    if (!pattern)
        return true;
    /* Only the last `#` ever needs to take one segment more: what an earlier one could take, the last can as well. */
    const char *behind_hash = NULL;
    const char *hash_end = NULL; /* how far the last `#` reaches into the type; NULL: there was none yet */
    while (type) {
        if (pattern && is_wildcard(pattern, '#')) {
            pattern = next_segment(pattern);
            if (!pattern)
                return true;
            behind_hash = pattern;
            hash_end = type;
        } else if (!pattern || !take_segment(&pattern, &type)) {
            if (!hash_end)
                return false;
            hash_end = next_segment(hash_end);
            type = hash_end;
            pattern = behind_hash;
        }
    }
    while (pattern && is_wildcard(pattern, '#'))
        pattern = next_segment(pattern);
    return pattern == NULL;
}
