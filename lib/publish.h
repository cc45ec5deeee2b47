/* SPDX-License-Identifier: MIT */
/* The write path's side for the worker. */
#ifndef BB_PUBLISH_H
#define BB_PUBLISH_H

#include "handle.h"

/* Confirms what publishes inside transactions have cached: session and kinds. Outside any transaction. */
int bb_publish_confirm(busbar *bus);

/* busbar_publish with extension attributes that are written already (as bb_extension_write does); the event names none. */
int bb_publish_extended(busbar *bus, const busbar_event *event, const char *extensions);

#endif
