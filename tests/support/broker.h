/* SPDX-License-Identifier: MIT */
/*
 * A real mosquitto broker for a test: a process of its own on a free loopback port, in a directory of its own; a
 * subscriber that collects what it forwards; and what a test needs around them. Everything waits for a condition, with a
 * deadline that fails the test. A broker does not outlive the test program, however that ends.
 */
#ifndef BROKER_H
#define BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BROKER_PATH_SIZE 256

/* True if there is a mosquitto to run. */
bool broker_available(void);

/* ---- Directories, files and programs. */

/* Makes a new directory of the test's own. */
void broker_directory_make(char out[BROKER_PATH_SIZE]);
/* Removes it with the files in it. */
void broker_directory_remove(const char *directory);
void broker_file_path(const char *directory, const char *name, char out[BROKER_PATH_SIZE]);
void broker_file_write(const char *directory, const char *name, const char *content);
/* Runs a program in the directory, without output, and expects it to succeed. The list of arguments ends with NULL. */
void broker_run(const char *directory, const char *const *arguments);

/* Milliseconds on the monotonic clock. */
uint64_t broker_now_ms(void);
/* A loopback port that nobody listens on. */
unsigned broker_free_port(void);
/* Where every broker listens. */
#define BROKER_HOST "127.0.0.1"

/* ---- The broker. */

typedef struct broker broker;

/*
 * Starts one on a free port and returns when it accepts connections. `config` is added to mosquitto's configuration behind
 * the listener's line, so it may have options of the listener and of the broker; NULL: anonymous clients may do anything.
 */
broker *broker_start(const char *config);
/* As broker_start, on this port. */
broker *broker_start_on(unsigned port, const char *config);
unsigned broker_port(const broker *it);
int broker_pid(const broker *it);
/* Ends it in order, or at once. The port is closed on return. */
void broker_stop(broker *it);
void broker_kill(broker *it);
/* Starts it again on the same port with the same configuration. */
void broker_restart(broker *it);
/* Stops it from running, or lets it go on; connections stay open meanwhile. */
void broker_pause(broker *it);
void broker_resume(broker *it);
/* Kills it if it still runs, and removes its directory. */
void broker_free(broker *it);

/* ---- A subscriber. */

typedef struct subscriber_message {
    char *topic;
    void *payload; /* with a NUL behind it */
    size_t payload_size;
    char *content_type; /* NULL: none */
    uint32_t expiry_s;
    bool is_utf8; /* payload format indicator */
} subscriber_message;

typedef struct subscriber subscriber;

/* Connects with MQTT 5, subscribes at QoS 2, and returns when the broker has confirmed it. */
subscriber *subscriber_start(unsigned port, const char *filter);
/* Receives until there are at least so many messages, or the time is over. Returns how many there are. */
size_t subscriber_wait(subscriber *it, size_t count, unsigned timeout_ms);
/* The messages in the order of their arrival. */
const subscriber_message *subscriber_at(const subscriber *it, size_t index);
void subscriber_free(subscriber *it);

#endif
