/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L

#include "relay_watch.h"

#include "command.h"
#include "database.h"
#include "human.h"
#include "out.h"
#include "stop.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* How often to look: while somebody waits for the end or watches the progress, and else. */
#define LOOK_SOON_MS 100
#define LOOK_LATE_MS 1000

#define ERROR_SIZE 512

/* In so many looks in a row another worker must hold the consumer before it is told: one that was killed is soon replaced. */
#define FOREIGN_LOOKS 3

typedef struct watch {
    database db;
    const char *name;
    busbar_runner *runner;
    bool found; /* the consumer, in this look */
    bool empty; /* nothing is left for it */
    int64_t dead;
    int64_t dead_told;
    char error_told[ERROR_SIZE]; /* "": none */
    int runner_code_told;
    unsigned foreign_looks;                /* in which another worker held the consumer */
    char own_worker[BUSBAR_IDENTITY_SIZE]; /* what the name of our own worker begins with; "": not known */
} watch;

/* ---- Looking --------------------------------------------------------------------------------------------------------- */

static void tell_error(watch *self, const char *last_error)
{
    const char *error = last_error != NULL ? last_error : "";
    if (strncmp(self->error_told, error, ERROR_SIZE - 1) == 0)
        return;
    if (error[0] != '\0')
        out_error("%s: %s", self->name, error);
    else
        out_note("%s: works again", self->name);
    snprintf(self->error_told, sizeof self->error_told, "%s", error);
}

static void tell_worker(watch *self, const char *worker)
{
    bool own = worker == NULL || strncmp(worker, self->own_worker, strlen(self->own_worker)) == 0;
    self->foreign_looks = own ? 0 : self->foreign_looks + 1;
    if (self->foreign_looks == FOREIGN_LOOKS)
        out_note("%s: another worker holds this consumer, and this one waits until it has ended: %s", self->name,
                 worker);
}

static void tell_dead(watch *self)
{
    if (self->dead > self->dead_told)
        out_error("%s: given up for good: %" PRId64 " more; `busbar list %s --consumer %s --state dead` shows them",
                  self->name, self->dead - self->dead_told, self->db.path, self->name);
    self->dead_told = self->dead;
}

static void show_progress(const busbar_consumer_status *consumer)
{
    if (consumer->pending == 0)
        out_progress("%s: nothing is waiting", consumer->name);
    else if (consumer->eta_s >= 0)
        out_progress("%s: %s waiting, %.0f/s, %s to go", consumer->name, human_count(consumer->pending).text,
                     consumer->rate_per_s, human_eta(consumer->eta_s).text);
    else
        out_progress("%s: %s waiting", consumer->name, human_count(consumer->pending).text);
}

static int look_at(const busbar_consumer_status *consumer, void *ctx)
{
    watch *self = ctx;
    if (strcmp(consumer->name, self->name) != 0)
        return 0;
    int64_t retrying = 0;
    self->found = true;
    self->dead = 0;
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++) {
        self->dead += consumer->progress[i].dead;
        retrying += consumer->progress[i].retrying;
    }
    self->empty = consumer->pending == 0 && retrying == 0;
    tell_worker(self, consumer->worker);
    tell_error(self, consumer->last_error);
    show_progress(consumer);
    return 0;
}

/* What is written to a file that has lost its name is lost with it: nothing to wait for. */
static int tell_runner(watch *self)
{
    busbar_error error;
    int code = busbar_runner_error(self->runner, &error);
    if (code == self->runner_code_told)
        return EXIT_DONE;
    if (code != BUSBAR_OK)
        database_fail_with(self->db.path, code, &error);
    else
        out_note("%s: works again", self->db.path);
    self->runner_code_told = code;
    return code == BUSBAR_EMOVED ? EXIT_FAILED : EXIT_DONE;
}

/* Returns EXIT_DONE also when the database cannot be read for a moment. */
static int look(watch *self)
{
    self->found = false;
    self->empty = false;
    int code = busbar_consumer_list(self->db.bus, look_at, self);
    if (tell_runner(self) != EXIT_DONE)
        return EXIT_FAILED;
    if (code == BUSBAR_OK && !self->found) {
        out_error("%s: the consumer %s was removed", self->db.path, self->name);
        return EXIT_FAILED;
    }
    if (code == BUSBAR_OK)
        tell_dead(self);
    return code == BUSBAR_OK || code == BUSBAR_ELOCKED ? EXIT_DONE : database_fail(&self->db, code);
}

/* ---- Waiting --------------------------------------------------------------------------------------------------------- */

static int watch_until_end(watch *self, bool drain)
{
    struct pollfd fd = {.fd = stop_fd(), .events = POLLIN};
    while (!stop_requested()) {
        int exit_code = look(self);
        if (exit_code != EXIT_DONE)
            return exit_code;
        if (drain && self->empty)
            return EXIT_DONE;
        poll(&fd, 1, drain || out_shows_progress() ? LOOK_SOON_MS : LOOK_LATE_MS);
    }
    if (!drain)
        return EXIT_DONE;
    out_note("%s: stopped before everything was sent", self->name);
    return EXIT_FAILED;
}

int relay_watch(const char *path, const char *name, busbar_runner *runner, bool drain)
{
    watch self = {.name = name, .runner = runner};
    int exit_code = database_open_reading(&self.db, path);
    if (exit_code != EXIT_DONE)
        return exit_code;
    const busbar_port *port = busbar_linux_port();
    if (port->worker_id(port->ctx, self.own_worker) != 0)
        self.own_worker[0] = '\0';
    exit_code = watch_until_end(&self, drain);
    out_progress_clear();
    database_close(&self.db);
    return exit_code;
}
