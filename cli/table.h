/* SPDX-License-Identifier: MIT */
/*
 * A table for people: columns as wide as their content. Holds back the first rows until it knows the widths, so that a
 * long table still starts at once and takes little memory.
 */
#ifndef TABLE_H
#define TABLE_H

#include "out.h"

#define TABLE_COLUMNS_MAX 14
#define TABLE_HELD_ROWS   128

typedef struct table_cell {
    const char *text; /* NULL: shown as "-" */
    out_style style;
} table_cell;

typedef struct table {
    const char *const *headings;
    size_t columns;
    size_t widths[TABLE_COLUMNS_MAX];
    char *texts[TABLE_HELD_ROWS][TABLE_COLUMNS_MAX];
    out_style styles[TABLE_HELD_ROWS][TABLE_COLUMNS_MAX];
    size_t held;
    bool started; /* the headings are printed, the widths are settled */
} table;

void table_begin(table *self, const char *const *headings, size_t columns);
/* Adds a row; long cells but the first and the last are cut. The texts are copied. */
void table_row(table *self, const table_cell *cells);
/* Prints what is held back. Prints the headings of an empty table too. */
void table_end(table *self);

#endif
