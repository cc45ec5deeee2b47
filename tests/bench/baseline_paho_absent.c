/* SPDX-License-Identifier: MIT */
/* In place of baseline_paho.c where Paho C is not installed. */
#include "baseline.h"

bool baseline_paho_there(void)
{
    return false;
}

void baseline_paho(const baseline_wire *wire, measurement *out)
{
    (void)wire;
    (void)out;
    measure_must(false, "Paho C is not installed");
}
