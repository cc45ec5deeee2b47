/* SPDX-License-Identifier: MIT */
/*
 * A device: the program that these tests run, kill and compare. Its state is a row `state(name, n)`; each change of it is
 * a transaction that adds one to n and publishes an event with that n. What it has committed it prints, a line each.
 *
 *   device init DATABASE                        makes the file and the tables
 *   device publish DATABASE NAME COUNT          so many changes, "trying NAME N ID" before the commit of each and
 *                                               "published NAME N ID" after it; then "done". COUNT 0: for ever
 *   device unsteady DATABASE NAME               as publish for ever, but some transactions and savepoints are rolled back,
 *                                               and nothing is said before a commit
 *   device run DATABASE [PORT WINDOW RATE]      a runner with a handler that counts in the table `handled`, and, with
 *                                               PORT, publishes the device's name with a '+' and its n as another event,
 *                                               and a route to the broker there; "running"; ends on SIGTERM
 *   device app DATABASE NAME COUNT PORT WINDOW RATE   both in one process: a runner as in run, and publishing
 *   device reply DATABASE                       a runner whose handler answers each question with an event; "running"
 *   device ask DATABASE COUNT                   so many questions, each waits for its answer on its own bus: "answered N MS"
 *   device outside DATABASE FREEZE_AT           a runner with an outside handler, "handled NAME N" each; in front of this
 *                                               n it stops itself (SIGSTOP) once. "running"; ends on SIGTERM
 *
 * From the environment: DEVICE_BOOT is the identity of the boot instead of the machine's, DEVICE_LEASE_MS the lease.
 */
#ifndef DEVICE_H
#define DEVICE_H

#define DEVICE_SOURCE   "urn:e2e:device"
#define DEVICE_READING  "reading.taken"
#define DEVICE_QUESTION "question.asked"
#define DEVICE_ANSWER   "answer.given"
#define DEVICE_COUNTED  "reading.counted"
#define DEVICE_EFFECT   '+'       /* ends the device's name in what a handler publishes */
#define DEVICE_COUNTER  "counter" /* the subscription */
#define DEVICE_ROUTE    "out"     /* the route */

/* Far more than a test publishes: what a test looks for must still be there. */
#define DEVICE_KEEP_EVENTS 1000000

#endif
