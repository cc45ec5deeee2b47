/* SPDX-License-Identifier: MIT */
/*
 * What every wake object must do (busbar_wake_api in busbar/port.h), for platforms with fork, poll and SQLite in WAL
 * mode. Another process commits for real.
 */
#ifndef PORT_WAKE_CONTRACT_H
#define PORT_WAKE_CONTRACT_H

#include <busbar/port.h>

/* Runs the suite. Returns the number of tests that failed. */
int port_wake_contract_run(const busbar_port *port);

#endif
