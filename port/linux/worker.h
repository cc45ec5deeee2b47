/* SPDX-License-Identifier: MIT */
/* Naming this process so that another one can tell whether it still runs. */
#ifndef BB_LINUX_WORKER_H
#define BB_LINUX_WORKER_H

#include <busbar/port.h>

/* The port's slots. */
int bb_linux_worker_id(void *ctx, char out[BUSBAR_IDENTITY_SIZE]);
bool bb_linux_worker_gone(void *ctx, const char *worker_id);

#endif
