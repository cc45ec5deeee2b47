/* SPDX-License-Identifier: MIT */
#include "suspicion.h"

#include <string.h>

#define LOSSES_TO_SINGLE 2u /* connections lost with many messages on their way */
#define LOSSES_TO_ASIDE  3u /* and then with the same one alone */
#define NARROW_MAX       100u

static bool same(const bb_exception_key *a, const bb_exception_key *b)
{
    return a->seq == b->seq && a->lane == b->lane;
}

bool bb_suspicion_single(const bb_suspicion *suspicion)
{
    return suspicion->losses >= LOSSES_TO_SINGLE || suspicion->narrow > 0;
}

bool bb_suspicion_aside(const bb_suspicion *suspicion, const bb_exception_key *key)
{
    return suspicion->aside && same(&suspicion->suspect, key);
}

void bb_suspicion_relent(bb_suspicion *suspicion)
{
    suspicion->aside = false;
}

/* The message beside the suspect was lost as well: it is the link. */
static void acquit(bb_suspicion *suspicion)
{
    suspicion->aside = false;
    suspicion->alone = 0;
    suspicion->suspect.seq = 0;
}

void bb_suspicion_lost(bb_suspicion *suspicion, size_t in_flight, const bb_exception_key *only)
{
    if (in_flight == 0)
        return;
    if (suspicion->losses < LOSSES_TO_SINGLE)
        suspicion->losses++;
    if (in_flight > 1 && suspicion->losses >= LOSSES_TO_SINGLE) /* any of these: one by one, until it is found */
        suspicion->narrow = in_flight < NARROW_MAX ? (uint32_t)in_flight : NARROW_MAX;
    if (suspicion->aside || in_flight > 1) {
        acquit(suspicion);
        return;
    }
    suspicion->alone = same(&suspicion->suspect, only) ? suspicion->alone + 1 : 1;
    suspicion->suspect = *only;
    suspicion->aside = suspicion->alone >= LOSSES_TO_ASIDE;
}

bool bb_suspicion_passed(bb_suspicion *suspicion, const bb_exception_key *key, bb_exception_key *out_guilty)
{
    bool guilty = suspicion->aside && !same(&suspicion->suspect, key);
    uint32_t narrow = guilty || suspicion->narrow == 0 ? 0 : suspicion->narrow - 1;
    if (guilty)
        *out_guilty = suspicion->suspect;
    memset(suspicion, 0, sizeof *suspicion);
    suspicion->narrow = narrow;
    return guilty;
}
