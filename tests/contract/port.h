/* SPDX-License-Identifier: MIT */
/*
 * What every port must do (busbar/port.h). Fill in a fixture for yours, call port_contract_run() from main(), and
 * return what it returns. Needs no operating system; what a wake object must do is in port_wake.h.
 */
#ifndef PORT_CONTRACT_H
#define PORT_CONTRACT_H

#include <busbar/port.h>

typedef struct port_fixture {
    const char *name;
    /* Gives the port as an application gets it, and the machine to hand to the functions below. Once per test. */
    const busbar_port *(*open)(void **out_machine);
    void (*close)(void *machine);
    /* Returns when at least so much time has passed, virtual or real. */
    void (*pass)(void *machine, uint64_t time_us);

    /*
     * Optional, NULL where the platform offers no way. Each returns 0, or -1 if it cannot be arranged now (then
     * skipped).
     */
    int (*suspend)(void *machine, uint64_t time_us);
    int (*reboot)(void *machine);
    int (*break_random)(void *machine); /* the next call finds no entropy */
    /* Names a worker of this machine that has ended by being killed, and one that runs beside the caller. */
    int (*dead_worker)(void *machine, char out_id[BUSBAR_IDENTITY_SIZE]);
    int (*live_worker)(void *machine, char out_id[BUSBAR_IDENTITY_SIZE]);
} port_fixture;

/* Runs the suite. Returns the number of tests that failed. */
int port_contract_run(const port_fixture *fixture);

#endif
