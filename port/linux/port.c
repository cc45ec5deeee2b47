/* SPDX-License-Identifier: MIT */
/* The port as a whole: which function is in which slot. */
#include <busbar/linux.h>

#include "clock.h"
#include "identity.h"
#include "random.h"
#include "wake.h"
#include "worker.h"

static const busbar_port linux_port = {
    .version = BUSBAR_PORT_VERSION,
    .ctx = NULL,
    .mono_us = bb_linux_clock_mono_us,
    .wall_ms = bb_linux_clock_wall_ms,
    .boot_id = bb_linux_identity_boot,
    .device_id = bb_linux_identity_device,
    .random = bb_linux_random_fill,
    .worker_id = bb_linux_worker_id,
    .worker_gone = bb_linux_worker_gone,
    .wake = &bb_linux_wake_api,
};

const busbar_port *busbar_linux_port(void)
{
    return &linux_port;
}
