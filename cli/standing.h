/* SPDX-License-Identifier: MIT */
/* How a consumer's standing to an event is shown, in both forms: trouble stands out. */
#ifndef STANDING_H
#define STANDING_H

#include "human.h"
#include "json_writer.h"
#include "table.h"

#include <busbar/busbar.h>

/* Writes consumer, state, attempts, reason, first_ms and last_ms as members of an object. */
void standing_members(json_writer *out, const busbar_standing *standing);

#define STANDING_COLUMNS 4

/* Texts that cells point to. */
#define STANDING_ATTEMPTS_SIZE 16
typedef struct standing_texts {
    char attempts[STANDING_ATTEMPTS_SIZE];
    human last_failure;
} standing_texts;

/* The cells for state, attempts, last failure and reason; they point to the standing and to `texts`. */
void standing_cells(const busbar_standing *standing, standing_texts *texts, table_cell *out_cells);

#endif
