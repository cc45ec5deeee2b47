/* SPDX-License-Identifier: MIT */
/* Who this machine is, and which run of it this is. */
#ifndef BB_LINUX_IDENTITY_H
#define BB_LINUX_IDENTITY_H

#include <busbar/port.h>

/* The port's slots. */
int bb_linux_identity_boot(void *ctx, char out[BUSBAR_IDENTITY_SIZE]);
int bb_linux_identity_device(void *ctx, char out[BUSBAR_IDENTITY_SIZE]);

/* The device identity of a machine id (32 lower-case hex digits), which cannot be computed back. -1 if it is none. */
int bb_linux_identity_of_machine(const char *machine_id, char out[BUSBAR_IDENTITY_SIZE]);

/* The device identity of a host name. -1 if the name tells nothing ("localhost"). */
int bb_linux_identity_of_host(const char *host_name, char out[BUSBAR_IDENTITY_SIZE]);

#endif
