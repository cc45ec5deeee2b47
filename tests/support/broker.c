/* SPDX-License-Identifier: MIT */
/* Brokers and subscribers for tests. */
#define _DEFAULT_SOURCE /* mkdtemp, strdup */

#include "test.h"

#include "broker.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 20000
#define RETRY_MS 2

/* ---- Directories, files and programs -------------------------------------------------------------------------------- */

void broker_directory_make(char out[BROKER_PATH_SIZE])
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(out, BROKER_PATH_SIZE, "%s/busbar-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(out));
}

void broker_directory_remove(const char *directory)
{
    char path[BROKER_PATH_SIZE];
    DIR *listing = opendir(directory);

    assert_non_null(listing);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        if (entry->d_name[0] != '.') {
            broker_file_path(directory, entry->d_name, path);
            unlink(path);
        }
    }
    closedir(listing);
    assert_int_equal(rmdir(directory), 0);
}

void broker_file_path(const char *directory, const char *name, char out[BROKER_PATH_SIZE])
{
    int length = snprintf(out, BROKER_PATH_SIZE, "%s/%s", directory, name);
    assert_in_range(length, 1, BROKER_PATH_SIZE - 1);
}

void broker_file_write(const char *directory, const char *name, const char *content)
{
    char path[BROKER_PATH_SIZE];

    broker_file_path(directory, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* The child of a fork: never returns. */
static void become(const char *const *arguments, const char *directory, const char *log)
{
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || (directory != NULL && chdir(directory) != 0)) {
        _exit(126);
    }
    execvp(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(127);
}

static int wait_for_exit(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void broker_run(const char *directory, const char *const *arguments)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        become(arguments, directory, "/dev/null");
    }
    assert_int_equal(wait_for_exit(pid), 0);
}

uint64_t broker_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct sockaddr_in loopback_address(unsigned port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

unsigned broker_free_port(void)
{
    struct sockaddr_in address = loopback_address(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* ---- The broker ----------------------------------------------------------------------------------------------------- */

struct broker {
    pid_t pid; /* 0: not running */
    unsigned port;
    bool paused;
    char directory[BROKER_PATH_SIZE];
};

/* Distributions put it where only the administrator's PATH leads. */
static const char *const broker_programs[] = {"/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto",
                                              "/usr/local/bin/mosquitto"};

static const char *broker_program(void)
{
    for (size_t i = 0; i < sizeof broker_programs / sizeof broker_programs[0]; i++) {
        if (access(broker_programs[i], X_OK) == 0) {
            return broker_programs[i];
        }
    }
    return NULL;
}

bool broker_available(void)
{
    return broker_program() != NULL;
}

static bool accepts_connections(unsigned port)
{
    struct sockaddr_in address = loopback_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    bool accepted = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return accepted;
}

/* False if the process ended, which it does when another program took the port meanwhile. */
static bool launch(broker *it)
{
    char config[BROKER_PATH_SIZE];
    char log[BROKER_PATH_SIZE];
    const char *const arguments[] = {broker_program(), "-c", config, NULL};
    uint64_t deadline_ms = broker_now_ms() + START_MS;

    broker_file_path(it->directory, "mosquitto.conf", config);
    broker_file_path(it->directory, "mosquitto.log", log);
    it->pid = fork();
    assert_true(it->pid >= 0);
    if (it->pid == 0) {
        become(arguments, NULL, log);
    }
    while (!accepts_connections(it->port)) {
        if (waitpid(it->pid, NULL, WNOHANG) == it->pid) {
            it->pid = 0;
            return false;
        }
        assert_true(broker_now_ms() < deadline_ms);
        poll(NULL, 0, RETRY_MS); /* a refused connect gives nothing to wait for */
    }
    return true;
}

static void write_config(const broker *it, const char *config)
{
    char text[4096];
    int length = snprintf(text, sizeof text,
                          "user root\npersistence false\nlog_type error\nlog_type warning\nlistener %u %s\n%s\n",
                          it->port, BROKER_HOST, config != NULL ? config : "allow_anonymous true");

    assert_in_range(length, 1, sizeof text - 1);
    broker_file_write(it->directory, "mosquitto.conf", text);
}

broker *broker_start_on(unsigned port, const char *config)
{
    broker *it = calloc(1, sizeof *it);

    assert_non_null(it);
    it->port = port;
    broker_directory_make(it->directory);
    write_config(it, config);
    assert_true(launch(it));
    return it;
}

broker *broker_start(const char *config)
{
    broker *it = calloc(1, sizeof *it);

    assert_non_null(it);
    broker_directory_make(it->directory);
    for (int attempt = 0; attempt < 5; attempt++) {
        it->port = broker_free_port();
        write_config(it, config);
        if (launch(it)) {
            return it;
        }
    }
    fail_msg("mosquitto does not start; see %s/mosquitto.log", it->directory);
    return NULL;
}

unsigned broker_port(const broker *it)
{
    return it->port;
}

int broker_pid(const broker *it)
{
    return it->pid;
}

static void end_process(broker *it, int signal_number)
{
    if (it->pid > 0) {
        kill(it->pid, signal_number);
        broker_resume(it); /* a stopped process ends by SIGKILL only, and then without another instruction */
        wait_for_exit(it->pid);
        it->pid = 0;
    }
}

void broker_stop(broker *it)
{
    end_process(it, SIGTERM);
}

void broker_kill(broker *it)
{
    end_process(it, SIGKILL);
}

void broker_restart(broker *it)
{
    broker_kill(it);
    assert_true(launch(it));
}

void broker_pause(broker *it)
{
    int status;

    kill(it->pid, SIGSTOP);
    assert_int_equal(waitpid(it->pid, &status, WUNTRACED), it->pid);
    assert_true(WIFSTOPPED(status));
    it->paused = true;
}

void broker_resume(broker *it)
{
    if (it->paused) {
        kill(it->pid, SIGCONT);
        it->paused = false;
    }
}

void broker_free(broker *it)
{
    if (it != NULL) {
        broker_kill(it);
        broker_directory_remove(it->directory);
        free(it);
    }
}

/* ---- The subscriber ------------------------------------------------------------------------------------------------- */

struct subscriber {
    struct mosquitto *handle;
    subscriber_message *messages;
    size_t count;
    size_t capacity;
    const char *filter;
    bool subscribed;
};

static void on_connect(struct mosquitto *handle, void *context, int code)
{
    subscriber *it = context;

    assert_int_equal(code, 0);
    assert_int_equal(mosquitto_subscribe(handle, NULL, it->filter, 2), MOSQ_ERR_SUCCESS);
}

static void on_subscribe(struct mosquitto *handle, void *context, int mid, int count, const int *granted)
{
    subscriber *it = context;
    (void)handle;
    (void)mid;
    (void)count;

    assert_true(granted[0] < 0x80);
    it->subscribed = true;
}

static void on_message(struct mosquitto *handle, void *context, const struct mosquitto_message *message,
                       const mosquitto_property *properties)
{
    subscriber *it = context;
    uint8_t format = 0;
    (void)handle;

    if (it->count == it->capacity) {
        it->capacity = it->capacity * 2 + 16;
        it->messages = realloc(it->messages, it->capacity * sizeof it->messages[0]);
        assert_non_null(it->messages);
    }
    subscriber_message *added = &it->messages[it->count++];
    memset(added, 0, sizeof *added);
    added->topic = strdup(message->topic);
    added->payload_size = (size_t)message->payloadlen;
    added->payload = calloc(1, added->payload_size + 1);
    assert_true(added->topic != NULL && added->payload != NULL);
    if (added->payload_size > 0) {
        memcpy(added->payload, message->payload, added->payload_size);
    }
    mosquitto_property_read_string(properties, MQTT_PROP_CONTENT_TYPE, &added->content_type, false);
    mosquitto_property_read_int32(properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, &added->expiry_s, false);
    mosquitto_property_read_byte(properties, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, &format, false);
    added->is_utf8 = format == 1;
}

subscriber *subscriber_start(unsigned port, const char *filter)
{
    subscriber *it = calloc(1, sizeof *it);
    uint64_t deadline_ms = broker_now_ms() + START_MS;

    assert_non_null(it);
    mosquitto_lib_init();
    it->filter = filter;
    it->handle = mosquitto_new(NULL, true, it);
    assert_non_null(it->handle);
    mosquitto_int_option(it->handle, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(it->handle, MOSQ_OPT_RECEIVE_MAXIMUM, 1000);
    mosquitto_connect_callback_set(it->handle, on_connect);
    mosquitto_subscribe_callback_set(it->handle, on_subscribe);
    mosquitto_message_v5_callback_set(it->handle, on_message);
    assert_int_equal(mosquitto_connect(it->handle, BROKER_HOST, (int)port, 60), MOSQ_ERR_SUCCESS);
    while (!it->subscribed) {
        assert_int_equal(mosquitto_loop(it->handle, 100, 1), MOSQ_ERR_SUCCESS);
        assert_true(broker_now_ms() < deadline_ms);
    }
    return it;
}

size_t subscriber_wait(subscriber *it, size_t count, unsigned timeout_ms)
{
    uint64_t deadline_ms = broker_now_ms() + timeout_ms;

    while (it->count < count && broker_now_ms() < deadline_ms) {
        if (mosquitto_loop(it->handle, 20, 1) != MOSQ_ERR_SUCCESS) {
            break; /* the broker is gone: nothing more comes */
        }
    }
    return it->count;
}

const subscriber_message *subscriber_at(const subscriber *it, size_t index)
{
    assert_true(index < it->count);
    return &it->messages[index];
}

void subscriber_free(subscriber *it)
{
    if (it == NULL) {
        return;
    }
    for (size_t i = 0; i < it->count; i++) {
        free(it->messages[i].topic);
        free(it->messages[i].payload);
        free(it->messages[i].content_type);
    }
    free(it->messages);
    mosquitto_destroy(it->handle);
    mosquitto_lib_cleanup();
    free(it);
}
