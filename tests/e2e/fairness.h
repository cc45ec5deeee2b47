/* SPDX-License-Identifier: MIT */
/*
 * What the test of fairness (P15) runs: a worker that drains a backlog, and an application that commits small transactions
 * meanwhile, in processes of their own.
 *
 *   fairness fill DATABASE COUNT JOURNAL        a new file with so many events; JOURNAL: wal, delete
 *   fairness dispatch DATABASE                  a runner whose transactional handler writes a row per event
 *   fairness relay DATABASE PORT                a runner with a route: to the broker at PORT; 0: within the process, with
 *                                               nothing to wait for. Both print "running" and end on SIGTERM
 *   fairness app DATABASE BEGIN TIMEOUT_MS PAUSE_US TIME_MS CONSUMER COUNT
 *                                               the application: a row of state and an event per transaction, begun with
 *                                               BEGIN (immediate, deferred), a pause between two, until the time is over
 *                                               and the consumer has come to COUNT (0: no consumer is looked at), or until
 *                                               SIGTERM; then a line as FAIRNESS_RESULT
 */
#ifndef FAIRNESS_H
#define FAIRNESS_H

#define FAIRNESS_HANDLER "handler"
#define FAIRNESS_ROUTE   "route"

/*
 * Of the application: its commits; failures because the database was locked, the most of them one after the other, and how
 * long they took together; the time from the first try of a transaction to its commit; and how far the consumer came.
 */
#define FAIRNESS_RESULT                                                                                                \
    "result commits %ld busy %ld run %ld run_us %ld p50_us %ld p99_us %ld max_us %ld moved %ld ms %ld\n"

#endif
