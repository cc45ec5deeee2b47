/* SPDX-License-Identifier: MIT */
/* Without limits no dead letter goes by age. */
#include "retain.h"

int bb_retain_choose_old(bb_store *store, const bb_keep *keep, bb_dead_choice *choice)
{
    (void)store;
    (void)keep;
    (void)choice;
    return BUSBAR_OK;
}
