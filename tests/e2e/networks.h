/* SPDX-License-Identifier: MIT */
/*
 * Two networks of the test's own, joined by a wire: network namespaces and a veth pair. The test program begins on the
 * broker's side; a thread may go over to the device's side, and what it starts there stays there. Nothing outside of the
 * test program is touched, and all of it is gone when the program ends. Linux, with the right to make namespaces (root, or
 * user namespaces), and the command `ip`.
 */
#ifndef NETWORKS_H
#define NETWORKS_H

#include <stdbool.h>

#define NETWORKS_BROKER_ADDRESS  "10.213.7.1"
#define NETWORKS_DEVICE_ADDRESS  "10.213.7.2"
#define NETWORKS_BROKER_ETHERNET "02:0b:75:73:62:01"
#define NETWORKS_BROKER_LINK     "broker0" /* the ends of the wire */
#define NETWORKS_DEVICE_LINK     "device0"

typedef enum networks_side { NETWORKS_BROKER, NETWORKS_DEVICE } networks_side;

/*
 * Makes both, up and with addresses. To be called by main() before there is a second thread. NULL on success, else why it
 * cannot be done here.
 */
const char *networks_make(void);
/* Moves the calling thread. */
void networks_enter(networks_side side);
/* Has both sides of the test program see these lines as /etc/hosts, from a file in the directory. False: not allowed. */
bool networks_set_hosts(const char *directory, const char *lines);
/* Runs a shell command (printf format) on a side, and expects it to succeed. */
__attribute__((format(printf, 2, 3))) void networks_run(networks_side side, const char *format, ...);

#endif
