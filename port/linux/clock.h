/* SPDX-License-Identifier: MIT */
/* The clocks of the machine. */
#ifndef BB_LINUX_CLOCK_H
#define BB_LINUX_CLOCK_H

#include <busbar/port.h>

/* The port's slots. */
uint64_t bb_linux_clock_mono_us(void *ctx);
busbar_clock_quality bb_linux_clock_wall_ms(void *ctx, int64_t *out_ms);

/* How far a wall time can be believed, when the kernel does or does not call its clock synchronised. */
busbar_clock_quality bb_linux_clock_judge(int64_t wall_ms, bool synchronised);

#endif
