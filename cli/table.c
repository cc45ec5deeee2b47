/* SPDX-License-Identifier: MIT */
#include "table.h"

#include "buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX 40 /* characters; foreign texts can have a thousand */
#define GAP      2  /* columns between cells */

void table_begin(table *self, const char *const *headings, size_t columns)
{
    assert(columns <= TABLE_COLUMNS_MAX);
    memset(self, 0, sizeof *self);
    self->headings = headings;
    self->columns = columns;
    for (size_t i = 0; i < columns; i++)
        self->widths[i] = strlen(headings[i]);
}

static void print_row(const table *self, char *const *texts, const out_style *cell_styles)
{
    for (size_t i = 0; i < self->columns; i++) {
        bool last = i + 1 == self->columns;
        out_cell(texts[i], cell_styles[i], last ? 0 : self->widths[i] + GAP);
    }
    out_text("\n");
}

static void print_headings(const table *self)
{
    for (size_t i = 0; i < self->columns; i++)
        out_cell(self->headings[i], OUT_BOLD, i + 1 == self->columns ? 0 : self->widths[i] + GAP);
    out_text("\n");
}

static void release(table *self)
{
    if (!self->started)
        print_headings(self);
    self->started = true;
    for (size_t row = 0; row < self->held; row++) {
        print_row(self, self->texts[row], self->styles[row]);
        for (size_t i = 0; i < self->columns; i++)
            free(self->texts[row][i]);
    }
    self->held = 0;
}

/* A copy, cut at CELL_MAX characters with an ellipsis. */
static char *cut(const char *text)
{
    size_t characters = 0;
    size_t keep = 0; /* bytes of the first CELL_MAX - 1 characters */
    for (size_t i = 0; text[i] != '\0'; i++) {
        characters += ((unsigned char)text[i] & 0xc0u) != 0x80u;
        if (characters == CELL_MAX && keep == 0)
            keep = i;
    }
    if (characters <= CELL_MAX)
        return memory_copy(text);
    char *copy = memory_new(keep + sizeof "\xe2\x80\xa6");
    memcpy(copy, text, keep);
    memcpy(copy + keep, "\xe2\x80\xa6", sizeof "\xe2\x80\xa6");
    return copy;
}

void table_row(table *self, const table_cell *cells)
{
    size_t row = self->held++;
    for (size_t i = 0; i < self->columns; i++) {
        const char *text = cells[i].text != NULL ? cells[i].text : "-";
        bool whole = i == 0 || i + 1 == self->columns;
        self->texts[row][i] = whole ? memory_copy(text) : cut(text);
        self->styles[row][i] = cells[i].style;
        size_t width = out_width(self->texts[row][i]);
        if (!self->started && width > self->widths[i])
            self->widths[i] = width;
    }
    if (self->started || self->held == TABLE_HELD_ROWS)
        release(self);
}

void table_end(table *self)
{
    release(self);
}
