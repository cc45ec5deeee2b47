/* SPDX-License-Identifier: MIT */
/* A copy of a record that outlives the statement it was read from. */
#ifndef BB_RECORD_H
#define BB_RECORD_H

#include <busbar/busbar.h>

#include "buffer.h"

/* Bytes that a copy of all that `record` points to takes. */
size_t bb_record_size(const busbar_record *record);
/* Copies to `room`, which has that many bytes. */
void bb_record_place(const busbar_record *record, char *room, busbar_record *out_copy);
/* Copies `record` with all it points to into `buffer`; *out_copy is good until the buffer is used again. BUSBAR_ENOMEM. */
int bb_record_copy(const busbar_record *record, bb_buffer *buffer, busbar_record *out_copy);

#endif
