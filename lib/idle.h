/* SPDX-License-Identifier: MIT */
/*
 * Consumers that nobody works any more hold events back for ever. From the first time that a worker of another one sees
 * such a consumer unheld and behind, time runs, over boots as far as it is certain; who takes its lease stops it. After
 * options.consumer_idle_ms it is moved on, counted and told as an eviction is.
 */
#ifndef BB_IDLE_H
#define BB_IDLE_H

#include "handle.h"

/* Looks at every consumer. Outside any transaction; commits only when there is something to note. */
int bb_idle_step(busbar *bus);

#endif
