/* SPDX-License-Identifier: MIT */
/* Without limits nothing is collected: what old sessions have left stays until another library comes. */
#include "collect.h"

int bb_collect_step(bb_store *store, const busbar_port *port, const bb_session *session, const bb_boot *boot)
{
    (void)store;
    (void)port;
    (void)session;
    (void)boot;
    return BUSBAR_OK;
}

int bb_collect_end(bb_store *store, const bb_session *session)
{
    (void)store;
    (void)session;
    return BUSBAR_OK;
}
