/* SPDX-License-Identifier: MIT */
#include "meter.h"

#define SPAN_US       1000000u
#define SHORT_SPAN_US 20000u /* the least that says anything about a rate */

void bb_meter_add(bb_meter *meter, int64_t count, uint64_t now_us, bool drained)
{
    if (meter->since_us == 0) {
        meter->since_us = now_us > 0 ? now_us : 1;
        meter->count = 0;
    }
    meter->count += count;
    uint64_t span_us = now_us - meter->since_us;
    if (span_us >= SPAN_US || (drained && span_us >= SHORT_SPAN_US)) {
        int64_t rate = (int64_t)((double)meter->count * 1e9 / (double)span_us);
        meter->rate_mhz = meter->rate_mhz == 0 ? rate : (meter->rate_mhz + rate) / 2;
        meter->since_us = now_us;
        meter->count = 0;
    }
    if (drained)
        meter->since_us = 0;
}

void bb_meter_pause(bb_meter *meter)
{
    meter->since_us = 0;
}
