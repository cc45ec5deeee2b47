/* SPDX-License-Identifier: MIT */
/* How a state is shown: trouble stands out. */
#ifndef STATE_STYLE_H
#define STATE_STYLE_H

#include "out.h"

#include <busbar/busbar.h>

out_style state_style(busbar_state state);

#endif
