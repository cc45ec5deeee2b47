/* SPDX-License-Identifier: MIT */
/*
 * Where a test takes place: a directory with a database that the device program made, a broker's port, and what has been
 * started there. The programs come from the environment: BUSBAR is the command line, DEVICE the device program.
 */
#ifndef SCENE_H
#define SCENE_H

#include "audit.h"
#include "broker.h"
#include "process.h"
#include "receiver.h"

typedef struct scene {
    char directory[BROKER_PATH_SIZE];
    char database[BROKER_PATH_SIZE];
    unsigned port; /* where the broker is, or will be */
    char port_text[8];
    broker *broker;     /* NULL: none yet */
    receiver *receiver; /* NULL: none yet */
    process publisher;
    process worker;
    process second;
} scene;

/* For cmocka: a new scene without a broker, and its end, at which the database must be sound. */
int scene_set_up(void **state);
int scene_tear_down(void **state);

/* Fails the test unless `busbar check` finds nothing: among others, that each consumer's counters add up (P8). */
void scene_assert_sound(scene *it);

/* Starts the broker and the receiver. */
void scene_open_broker(scene *it);
/* Stops the broker from reading until something is on its way to it, which a kill will lose. */
void scene_hold_broker(const scene *it);
/* Kills the broker while messages are on their way to it, and starts it again; what sends to it stands still until the receiver is back. */
void scene_interrupt_broker(scene *it, const process *sender);

/* Starts the device program in `mode`, with the database and up to five more arguments. NULL ends them. */
void scene_start_device(scene *it, process *out, const char *name, const char *mode, const char *const *more);
/* Publishes `count` events of a device, and waits for its end. `publisher` has the log, over all calls. */
void scene_publish(scene *it, process *publisher, const char *device, const char *count);
/* Starts `busbar relay` with this window and rate; `last` is one more option or NULL. */
void scene_start_relay(scene *it, process *out, const char *name, const char *window, const char *rate,
                       const char *last);

/* The first column of the first row of a query; the connection lasts for the call only. */
int64_t scene_integer(const scene *it, const char *query);
/* The same as text, which the caller frees. */
char *scene_text(const scene *it, const char *query);
/* Waits until a query answers with this number. */
void scene_await_integer(const scene *it, const char *query, int64_t value);

/* Runs the tests, or answers that they were skipped if there is no broker to run. */
#define scene_run(tests) (broker_available() ? cmocka_run_group_tests(tests, NULL, NULL) : 77)

#endif
