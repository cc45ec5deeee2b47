/* SPDX-License-Identifier: MIT */
/* A program of somebody else's: publishes one event into a database, and reads it back. Usage: consumer DATABASE */
#include <busbar/busbar.h>
#include <busbar/linux.h>
#include <stdio.h>

static int count_one(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)event;
    (void)standing;
    ++*(int *)ctx;
    return 0;
}

static int publish_and_count(busbar *bus)
{
    const busbar_event event = {.size = sizeof event, .type = "consumer.started"};
    int count = 0;
    const busbar_query everything = {.size = sizeof everything};
    int result = busbar_publish(bus, &event, NULL);
    if (result == BUSBAR_OK)
        result = busbar_list(bus, &everything, count_one, &count);
    printf("published %d\n", count);
    return result;
}

int main(int argc, char **argv)
{
    busbar_error error = {0};
    busbar_linux_database *database = NULL;
    busbar *bus = NULL;
    const busbar_linux_database_options create = {.size = sizeof create, .mode = BUSBAR_LINUX_CREATE};
    const busbar_options options = {.size = sizeof options, .port = busbar_linux_port(), .source = "/consumer"};
    int result = busbar_linux_database_open(&database, argc > 1 ? argv[1] : "", &create, &error);
    if (result == BUSBAR_OK)
        result = busbar_open(&bus, busbar_linux_database_handle(database), &options, &error);
    if (result == BUSBAR_OK)
        result = publish_and_count(bus);
    if (result != BUSBAR_OK)
        fprintf(stderr, "consumer: %s: %s\n", busbar_error_name(result), error.text);
    busbar_close(bus);
    busbar_linux_database_close(database);
    return result == BUSBAR_OK ? 0 : 1;
}
