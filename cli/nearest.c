/* SPDX-License-Identifier: MIT */
#include "nearest.h"

#include <string.h>

#define WORD_MAX 32 /* longer words are never mistyped known ones */

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Edits (insert, delete, replace, swap of neighbours) from one word to the other; both are WORD_MAX long at most. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= a_length; i++)
        rows[i][0] = i;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++)
        for (size_t j = 1; j <= b_length; j++) {
            size_t replace = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            rows[i][j] = smallest(rows[i - 1][j] + 1, rows[i][j - 1] + 1, replace);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && rows[i - 2][j - 2] + 1 < rows[i][j])
                rows[i][j] = rows[i - 2][j - 2] + 1;
        }
    return rows[a_length][b_length];
}

const char *nearest(const char *word, size_t length, size_t count, nearest_fn *known, const void *ctx)
{
    const char *best = NULL;
    size_t best_distance = length / 3 + 2; /* a third of the word, and at least one letter, may be wrong */
    if (length == 0 || length > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const char *candidate = known(i, ctx);
        size_t candidate_length = strlen(candidate);
        if (candidate_length > WORD_MAX)
            continue;
        size_t edits = distance(word, length, candidate, candidate_length);
        /* What was typed of a long name is close, however much of it is missing. */
        if (length >= 2 && candidate_length > length && memcmp(word, candidate, length) == 0)
            edits = 1;
        if (edits < best_distance) {
            best = candidate;
            best_distance = edits;
        }
    }
    return best;
}
