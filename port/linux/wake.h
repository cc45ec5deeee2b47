/* SPDX-License-Identifier: MIT */
/* Telling a sleeping worker that another process committed. */
#ifndef BB_LINUX_WAKE_H
#define BB_LINUX_WAKE_H

#include <busbar/port.h>

/* The port's slot. */
extern const busbar_wake_api bb_linux_wake_api;

#endif
