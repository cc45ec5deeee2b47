/* SPDX-License-Identifier: MIT */
/* How a consumer's standing to an event is shown, in both forms: trouble stands out. */
#ifndef STANDING_H
#define STANDING_H

#include "json_writer.h"
#include "table.h"

#include <busbar/busbar.h>

/* Writes consumer, state, attempts and reason as members of an object. */
void standing_members(json_writer *out, const busbar_standing *standing);

#define STANDING_COLUMNS 3

/* The cells for state, attempts and reason; they point to the standing and to `attempts`. */
#define STANDING_ATTEMPTS_SIZE 16
void standing_cells(const busbar_standing *standing, char attempts[STANDING_ATTEMPTS_SIZE], table_cell *out_cells);

#endif
