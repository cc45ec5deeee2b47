/* SPDX-License-Identifier: MIT */
/* Without outcome events: no handler asks for one. */
#include "sequel.h"

#include "absent.h"

const char *bb_sequel_refusal(void)
{
    return BB_ABSENT("on_success and on_failure", "outcome_events");
}

int bb_sequel_publish(busbar *bus, const char *type, const busbar_record *cause, const bb_sequel_failure *failure)
{
    (void)bus;
    (void)type;
    (void)cause;
    (void)failure;
    return BUSBAR_OK;
}
