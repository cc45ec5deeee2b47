/* SPDX-License-Identifier: MIT */
/*
 * Drives one connection. libmosquitto's own loops are not used: they end for good on ordinary failures, cannot watch
 * descriptors from 1024 on, and know nothing of our queue. Its functions are called in this order, turn by turn: publish,
 * write, then wait, read, write. The library is told that it is threaded, so that publishing only queues: every byte is
 * written by mosquitto_loop_write(), and no callback runs inside mosquitto_publish_v5().
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime, strdup */

#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "last_words.h"

#define MISC_EVERY_MS      1000 /* how often the library looks at its keepalive */
#define GOODBYE_MS         1000
#define IDLE_WRITES_MAX    3
#define IDLE_WRITE_WAIT_MS 5
#define CONNECT_AGAIN_MS   500
#define INBOUND_PACKET_MAX 65536
/*
 * Packet identifiers are a bare 16-bit counter. A message still unacknowledged after so many later ones would soon share
 * its identifier with a new one, and be settled by that one's acknowledgement.
 */
#define NUMBERS_APART_MAX 50000u

uint64_t bb_mosquitto_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Ends ----------------------------------------------------------------------------------------------------------- */

/* Only the first cause counts; what follows from it would hide it. True if this was the first. */
static bool end(bb_mosquitto_connection *connection)
{
    bool first = !connection->over;
    connection->over = true;
    return first;
}

static void end_lost(bb_mosquitto_connection *connection, int rc, int error)
{
    if (!end(connection)) {
        return;
    }
    int code = connection->socket_copy >= 0 ? bb_mosquitto_last_words_read(connection->socket_copy) : -1;
    if (code >= 0x80) {
        bb_mosquitto_reason_disconnect(&connection->reason, &connection->place, code);
        return;
    }
    /* Until the broker has accepted, everything the library logs as an error is about TLS. */
    if (connection->settings->tls && !connection->accepted && connection->log[0] != '\0') {
        bb_mosquitto_reason_tls(&connection->reason, &connection->place, connection->log);
    } else {
        bb_mosquitto_reason_lost(&connection->reason, &connection->place, connection->accepted, rc, error);
    }
}

/* After every call that may find out that the connection is gone. The library closes the socket before it says so. */
static void check(bb_mosquitto_connection *connection, int rc)
{
    int error = errno;

    if (rc != MOSQ_ERR_SUCCESS || mosquitto_socket(connection->handle) < 0) {
        end_lost(connection, rc, error);
    }
}

/* ---- Callbacks: all on the link's thread, inside mosquitto_loop_read() or mosquitto_loop_write(). -------------------- */

static void on_log(struct mosquitto *handle, void *context, int level, const char *text)
{
    bb_mosquitto_connection *connection = context;
    (void)handle;

    if (level == MOSQ_LOG_ERR && connection->log[0] == '\0') {
        strncpy(connection->log, text, sizeof connection->log - 1);
    }
}

static void read_limits(bb_mosquitto_connection *connection, const mosquitto_property *properties)
{
    bb_mosquitto_limits *limits = &connection->limits;
    uint16_t receive_maximum = UINT16_MAX;
    uint32_t maximum_packet_size = 0;
    uint8_t maximum_qos = 2;

    mosquitto_property_read_int16(properties, MQTT_PROP_RECEIVE_MAXIMUM, &receive_maximum, false);
    mosquitto_property_read_int32(properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, &maximum_packet_size, false);
    mosquitto_property_read_byte(properties, MQTT_PROP_MAXIMUM_QOS, &maximum_qos, false);
    limits->v5 = connection->v5;
    limits->window = connection->settings->window;
    if (receive_maximum != 0 && receive_maximum < limits->window) {
        limits->window = receive_maximum;
    }
    limits->max_packet_bytes = maximum_packet_size;
    limits->max_qos = maximum_qos;
}

static void end_refused(bb_mosquitto_connection *connection, int code, const mosquitto_property *properties)
{
    char *words = NULL;

    connection->refused_version = code == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION;
    if (!end(connection)) {
        return;
    }
    if (mosquitto_property_read_string(properties, MQTT_PROP_REASON_STRING, &words, false) == NULL) {
        mosquitto_property_read_string(properties, MQTT_PROP_SERVER_REFERENCE, &words, false);
    }
    bb_mosquitto_reason_connack(&connection->reason, &connection->place, code, words);
    free(words);
}

static void on_connect(struct mosquitto *handle, void *context, int code, int flags,
                       const mosquitto_property *properties)
{
    bb_mosquitto_connection *connection = context;
    (void)handle;
    (void)flags;

    if (connection->accepted) {
        /* MQTT forbids it. The library now sends everything in flight once more: no further than to its own queue. */
        if (end(connection)) {
            bb_mosquitto_reason_set(&connection->reason, MQTT_RC_PROTOCOL_ERROR,
                                    "%s:%u accepted the connection a second time, which is not MQTT",
                                    connection->place.host, connection->place.port);
        }
        return;
    }
    if (code == 0) {
        read_limits(connection, properties);
        connection->accepted = true;
    } else {
        bool old_code = !connection->v5 && code < 0x80;
        end_refused(connection, old_code ? bb_mosquitto_reason_from_v311(code) : code, properties);
    }
}

/* Called for the broker's DISCONNECT, and a second time for the socket that was closed by then. */
static void on_disconnect(struct mosquitto *handle, void *context, int code, const mosquitto_property *properties)
{
    bb_mosquitto_connection *connection = context;
    (void)handle;
    (void)properties;

    if (code >= 0x80 && end(connection)) {
        bb_mosquitto_reason_disconnect(&connection->reason, &connection->place, code);
    }
}

static bb_mosquitto_slot *find_in_flight(const bb_mosquitto_connection *connection, int mid)
{
    bb_mosquitto_slot *slot = connection->in_flight.first;

    while (slot != NULL && slot->mid != mid) {
        slot = slot->next; /* brokers mostly acknowledge in order: the first one it is */
    }
    return slot;
}

/* The v5 callback, also for MQTT 3.1.1: the plain one cannot tell a refusal from success. */
static void on_publish(struct mosquitto *handle, void *context, int mid, int code, const mosquitto_property *properties)
{
    bb_mosquitto_connection *connection = context;
    bb_mosquitto_slot *slot = find_in_flight(connection, mid);
    (void)handle;

    if (slot == NULL) {
        return;
    }
    slot->code = code;
    slot->outcome = bb_mosquitto_reason_outcome(code);
    if (slot->outcome == BB_MOSQUITTO_RECONNECT) {
        if (end(connection)) {
            bb_mosquitto_reason_message(&connection->reason, slot);
        }
        return;
    }
    if (slot->outcome != BB_MOSQUITTO_ACKED) {
        mosquitto_property_read_string(properties, MQTT_PROP_REASON_STRING, &slot->detail, false);
    }
    if (slot->qos > 0) { /* QoS 0 is settled by having been written, and proves nothing of the broker */
        connection->acked_ms = connection->now_ms;
        if ((int32_t)(slot->number - connection->newest_acked) > 0) {
            connection->newest_acked = slot->number;
        }
    }
    bb_mosquitto_list_remove(&connection->in_flight, slot);
    bb_mosquitto_list_append(&connection->settled, slot);
}

/* ---- Connecting ----------------------------------------------------------------------------------------------------- */

/* The library would ask for the passphrase of an encrypted key on the terminal; answer that there is none. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return 0;
}

static int check_files(bb_mosquitto_connection *connection)
{
    const bb_mosquitto_settings *settings = connection->settings;
    const char *paths[] = {settings->ca_file, settings->ca_path, settings->cert_file, settings->key_file};

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (paths[i] != NULL && access(paths[i], R_OK) != 0) {
            int error = errno;
            if (end(connection)) {
                bb_mosquitto_reason_set(&connection->reason, error, "TLS with %s:%u: cannot read %s: %s",
                                        connection->place.host, connection->place.port, paths[i],
                                        error == ENOENT ? "no such file" : "no permission");
            }
            return -1;
        }
    }
    return 0;
}

static int set_up_tls(bb_mosquitto_connection *connection)
{
    const bb_mosquitto_settings *settings = connection->settings;
    bool os_authorities = settings->ca_file == NULL && settings->ca_path == NULL;
    int rc = MOSQ_ERR_SUCCESS;

    if (os_authorities) {
        rc = mosquitto_int_option(connection->handle, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
    }
    if (rc == MOSQ_ERR_SUCCESS && (!os_authorities || settings->cert_file != NULL)) {
        /* The library takes a client certificate only together with a place for authorities. */
        const char *ca_path = os_authorities ? "/etc/ssl/certs" : settings->ca_path;
        rc = mosquitto_tls_set(connection->handle, settings->ca_file, ca_path, settings->cert_file, settings->key_file,
                               no_passphrase);
    }
    if (rc == MOSQ_ERR_SUCCESS && settings->alpn != NULL) {
        rc = mosquitto_string_option(connection->handle, MOSQ_OPT_TLS_ALPN, settings->alpn);
    }
    return rc;
}

static void set_callbacks(bb_mosquitto_connection *connection)
{
    mosquitto_user_data_set(connection->handle, connection);
    mosquitto_log_callback_set(connection->handle, on_log);
    mosquitto_connect_v5_callback_set(connection->handle, on_connect);
    mosquitto_disconnect_v5_callback_set(connection->handle, on_disconnect);
    mosquitto_publish_v5_callback_set(connection->handle, on_publish);
}

static int set_up(bb_mosquitto_connection *connection)
{
    const bb_mosquitto_settings *settings = connection->settings;
    struct mosquitto *handle = connection->handle;

    set_callbacks(connection);
    int rc = mosquitto_threaded_set(handle, true);
    if (rc == MOSQ_ERR_SUCCESS) {
        rc = mosquitto_int_option(handle, MOSQ_OPT_PROTOCOL_VERSION,
                                  connection->v5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    }
    if (rc == MOSQ_ERR_SUCCESS) {
        rc = mosquitto_int_option(handle, MOSQ_OPT_SEND_MAXIMUM, (int)settings->window);
    }
    if (rc == MOSQ_ERR_SUCCESS && (settings->username != NULL || settings->password != NULL)) {
        rc = mosquitto_username_pw_set(handle, settings->username, settings->password);
    }
    if (rc == MOSQ_ERR_SUCCESS && settings->tls) {
        rc = set_up_tls(connection);
    }
    return rc;
}

/* The library itself would take a packet of 256 MB from the broker. */
static int connect_properties(const bb_mosquitto_connection *connection, mosquitto_property **out_properties)
{
    *out_properties = NULL;
    return connection->v5
               ? mosquitto_property_add_int32(out_properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, INBOUND_PACKET_MAX)
               : MOSQ_ERR_SUCCESS;
}

static void end_unconnected(bb_mosquitto_connection *connection, int rc, int error)
{
    if (!end(connection)) {
        return;
    }
    if (connection->settings->tls && connection->log[0] != '\0') {
        bb_mosquitto_reason_tls(&connection->reason, &connection->place, connection->log);
    } else {
        bb_mosquitto_reason_connect(&connection->reason, &connection->place, rc, error);
    }
}

/*
 * Without waiting, so that news of the network, and the end, are heard meanwhile. The library then takes no properties, but
 * it keeps those of an attempt that it refused.
 */
static int begin_connect(bb_mosquitto_connection *connection, const mosquitto_property *properties)
{
    const bb_mosquitto_settings *settings = connection->settings;

    if (properties != NULL) {
        mosquitto_connect_bind_v5(connection->handle, NULL, settings->port, settings->keepalive_s, NULL, properties);
    }
    return mosquitto_connect_bind_async(connection->handle, settings->host, settings->port, settings->keepalive_s,
                                        connection->bind_address);
}

/* Only one address is tried, and the library does not say which. */
static void note_family(bb_mosquitto_connection *connection)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;

    if (getsockname(mosquitto_socket(connection->handle), (struct sockaddr *)&address, &size) == 0) {
        connection->family = address.ss_family;
    }
}

/* Blocks for as long as resolving takes. */
static void open_connection(bb_mosquitto_connection *connection)
{
    const bb_mosquitto_settings *settings = connection->settings;
    mosquitto_property *properties = NULL;

    if (settings->tls && check_files(connection) != 0) {
        return;
    }
    int rc = set_up(connection);
    if (rc == MOSQ_ERR_SUCCESS) {
        rc = connect_properties(connection, &properties);
    }
    if (rc == MOSQ_ERR_SUCCESS) {
        rc = begin_connect(connection, properties);
    }
    int error = errno;
    mosquitto_property_free_all(&properties);
    if (rc != MOSQ_ERR_SUCCESS) {
        end_unconnected(connection, rc, error);
    } else {
        note_family(connection);
    }
    connection->now_ms = bb_mosquitto_now_ms();
    connection->opened_ms = connection->now_ms;
    connection->misc_ms = connection->now_ms;
}

/* ---- Publishing ----------------------------------------------------------------------------------------------------- */

static void forget_properties(bb_mosquitto_connection *connection)
{
    mosquitto_property_free_all(&connection->properties);
    free(connection->properties_type);
    connection->properties_type = NULL;
}

/* Messages of one route mostly have the same properties: build them once. The library copies them with each message. */
static int properties_for(bb_mosquitto_connection *connection, const bb_mosquitto_slot *slot,
                          const mosquitto_property **out_properties)
{
    if (!connection->v5) {
        *out_properties = NULL;
        return MOSQ_ERR_SUCCESS;
    }
    const char *type = bb_mosquitto_slot_content_type(slot);
    if (connection->properties_type == NULL || connection->properties_expiry_s != slot->expiry_s ||
        strcmp(connection->properties_type, type) != 0) {
        forget_properties(connection);
        int rc = bb_mosquitto_packet_properties(slot, &connection->properties);
        if (rc != MOSQ_ERR_SUCCESS) {
            return rc;
        }
        connection->properties_type = strdup(type);
        connection->properties_expiry_s = slot->expiry_s;
    }
    *out_properties = connection->properties;
    return MOSQ_ERR_SUCCESS;
}

/* Codes after which the library has not kept the message, and never will: it is the message's fault. */
static bool is_message_fault(int rc)
{
    return rc == MOSQ_ERR_INVAL || rc == MOSQ_ERR_MALFORMED_UTF8 || rc == MOSQ_ERR_PAYLOAD_SIZE ||
           rc == MOSQ_ERR_QOS_NOT_SUPPORTED || rc == MOSQ_ERR_OVERSIZE_PACKET || rc == MOSQ_ERR_DUPLICATE_PROPERTY;
}

static int code_of_fault(int rc)
{
    return rc == MOSQ_ERR_OVERSIZE_PACKET     ? MQTT_RC_PACKET_TOO_LARGE
           : rc == MOSQ_ERR_QOS_NOT_SUPPORTED ? MQTT_RC_QOS_NOT_SUPPORTED
                                              : MQTT_RC_TOPIC_NAME_INVALID;
}

static void publish(bb_mosquitto_connection *connection, bb_mosquitto_slot *slot)
{
    const mosquitto_property *properties = NULL;
    int rc = properties_for(connection, slot, &properties);

    if (rc == MOSQ_ERR_SUCCESS) {
        rc =
            mosquitto_publish_v5(connection->handle, &slot->mid, bb_mosquitto_slot_topic(slot), (int)slot->payload_size,
                                 bb_mosquitto_slot_payload(slot), slot->qos, false, properties);
    }
    if (is_message_fault(rc)) {
        slot->outcome = BB_MOSQUITTO_DEAD;
        slot->code = code_of_fault(rc);
        bb_mosquitto_list_append(&connection->settled, slot);
        return;
    }
    slot->number = ++connection->handed_over;
    slot->sent_ms = connection->now_ms;
    bb_mosquitto_list_append(&connection->in_flight, slot);
    if (rc != MOSQ_ERR_SUCCESS && end(connection)) {
        /* Kept or not kept, and nobody can tell: only a new connection makes it certain. */
        bb_mosquitto_reason_set(&connection->reason, 0, "the connection to %s:%u was given up: %s",
                                connection->place.host, connection->place.port, mosquitto_strerror(rc));
    }
}

static bool has_input(const bb_mosquitto_connection *connection)
{
    struct pollfd socket = {.fd = mosquitto_socket(connection->handle), .events = POLLIN};
    return poll(&socket, 1, 0) > 0 && (socket.revents & POLLIN) != 0;
}

/*
 * Reads first: a broker that ends the connection has mostly said why, and a write that finds the connection broken makes
 * the library close the socket with those words unread.
 */
static void write_out(bb_mosquitto_connection *connection)
{
    if (!connection->over && has_input(connection)) {
        errno = 0;
        check(connection, mosquitto_loop_read(connection->handle, 1));
    }
    if (!connection->over && mosquitto_want_write(connection->handle)) {
        errno = 0;
        check(connection, mosquitto_loop_write(connection->handle, 1));
    }
}

/* Returns when the queue was seen empty, which puts the link to sleep as far as the host is concerned. */
static void publish_waiting(bb_mosquitto_connection *connection)
{
    bb_mosquitto_list waiting = {0};

    while (!connection->over && bb_mosquitto_exchange_take(connection->exchange, &waiting)) {
        bb_mosquitto_slot *slot;
        while (!connection->over && (slot = bb_mosquitto_list_pop(&waiting)) != NULL) {
            publish(connection, slot);
        }
        write_out(connection);
    }
    bb_mosquitto_list_move(&connection->in_flight, &waiting);
}

/* ---- Turns ---------------------------------------------------------------------------------------------------------- */

static void announce(bb_mosquitto_connection *connection)
{
    if (connection->accepted && !connection->announced && !connection->over) {
        /* The library formats every packet for a log callback, even one that drops it. */
        mosquitto_log_callback_set(connection->handle, NULL);
        connection->announced = true;
        if (connection->v5 && !connection->settings->tls) {
            connection->socket_copy = fcntl(mosquitto_socket(connection->handle), F_DUPFD_CLOEXEC, 0);
        }
        connection->accepted_ms = connection->now_ms;
        bb_mosquitto_exchange_up(connection->exchange, &connection->limits);
    }
}

/*
 * TLS can want to write what only a read brings on, and the library's wish then stays set: waiting for a writable socket
 * would spin. After a few such turns the wish is ignored for a moment.
 */
static bool is_write_idle(const bb_mosquitto_connection *connection)
{
    return connection->idle_writes >= IDLE_WRITES_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t ack_deadline_ms(const bb_mosquitto_connection *connection)
{
    const bb_mosquitto_slot *oldest = connection->in_flight.first;

    if (oldest == NULL) {
        return UINT64_MAX;
    }
    /* Behind a slow link it may just be its turn: as long as acknowledgements come in order, it has time. */
    bool passed_over = (int32_t)(connection->newest_acked - oldest->number) > 0;
    uint64_t since_ms = oldest->sent_ms;
    if (!passed_over && connection->acked_ms > since_ms) {
        since_ms = connection->acked_ms;
    }
    return since_ms + connection->settings->ack_timeout_ms;
}

/* When to look whether the connection has outlived a change of the network. */
static uint64_t doubt_deadline_ms(const bb_mosquitto_connection *connection)
{
    if (!connection->reached) {
        return connection->retry_syn_ms != 0 ? connection->retry_syn_ms : UINT64_MAX;
    }
    return bb_mosquitto_pulse_due_ms(&connection->pulse);
}

static int poll_timeout_ms(const bb_mosquitto_connection *connection)
{
    const uint64_t now_ms = connection->now_ms;
    uint64_t due_ms = connection->misc_ms + MISC_EVERY_MS;

    if (!connection->accepted) {
        due_ms = earlier(due_ms, connection->opened_ms + connection->settings->connect_timeout_ms);
    }
    due_ms = earlier(due_ms, ack_deadline_ms(connection));
    due_ms = earlier(due_ms, bb_mosquitto_network_due_ms(connection->network, now_ms));
    due_ms = earlier(due_ms, doubt_deadline_ms(connection));
    if (is_write_idle(connection)) {
        due_ms = earlier(due_ms, now_ms + IDLE_WRITE_WAIT_MS);
    }
    return due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
}

/*
 * The library does not report every end: a reset in the TLS handshake counts as "try again", and the socket then polls as
 * ready for ever.
 */
static void check_hang_up(bb_mosquitto_connection *connection)
{
    char byte;
    int error = 0;
    socklen_t size = sizeof error;
    int fd = mosquitto_socket(connection->handle);

    if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
        return; /* there is something left to read before the end */
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    end_lost(connection, error != 0 ? MOSQ_ERR_ERRNO : MOSQ_ERR_CONN_LOST, error);
}

static void read_and_write(bb_mosquitto_connection *connection, short events)
{
    /* In the handshake the library moves on only when it is told to read, whatever it waits for. */
    bool in_handshake = connection->settings->tls && !connection->accepted;

    if ((events & ~POLLOUT) != 0 || in_handshake) {
        errno = 0;
        check(connection, mosquitto_loop_read(connection->handle, 1));
    }
    if (!connection->over && ((events & POLLOUT) != 0 || in_handshake)) {
        errno = 0;
        check(connection, mosquitto_loop_write(connection->handle, 1));
    }
    if (!connection->over && (events & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
        check_hang_up(connection);
    }
    bool idle =
        connection->settings->tls && events == POLLOUT && !connection->over && mosquitto_want_write(connection->handle);
    connection->idle_writes = idle ? connection->idle_writes + 1 : 0;
}

/* How the connect ended is asked for here: the library would report it as the end of a connection. */
static void check_reached(bb_mosquitto_connection *connection)
{
    int error = 0;
    socklen_t size = sizeof error;

    getsockopt(mosquitto_socket(connection->handle), SOL_SOCKET, SO_ERROR, &error, &size);
    connection->reached = error == 0 || error == ECONNRESET; /* a connect that nobody takes is refused, not reset */
    if (error == ECONNRESET) {
        end_lost(connection, MOSQ_ERR_ERRNO, error);
    } else if (error != 0) {
        end_unconnected(connection, MOSQ_ERR_ERRNO, error);
    }
}

static void doubt(bb_mosquitto_connection *connection)
{
    if (connection->reached) {
        bb_mosquitto_pulse_doubt(&connection->pulse, mosquitto_socket(connection->handle), connection->now_ms);
    } else if (connection->retry_syn_ms == 0) {
        /* TCP asks again after a second first, then at growing distances. */
        connection->retry_syn_ms = connection->opened_ms + CONNECT_AGAIN_MS;
    }
}

static short wanted_events(const bb_mosquitto_connection *connection)
{
    if (!connection->reached) {
        return POLLOUT;
    }
    bool wants_write = mosquitto_want_write(connection->handle) && !is_write_idle(connection);
    return wants_write ? POLLIN | POLLOUT : POLLIN;
}

static void wait_and_transfer(bb_mosquitto_connection *connection)
{
    struct pollfd fds[] = {
        {.fd = mosquitto_socket(connection->handle), .events = wanted_events(connection)},
        {.fd = connection->exchange->link_fd, .events = POLLIN},
        {.fd = bb_mosquitto_network_fd(connection->network, connection->now_ms), .events = POLLIN},
    };
    int ready = poll(fds, 3, poll_timeout_ms(connection));

    connection->now_ms = bb_mosquitto_now_ms();
    if (ready <= 0) {
        connection->idle_writes = 0;
        return;
    }
    bool prompted = fds[1].revents != 0 && bb_mosquitto_exchange_wake_seen(connection->exchange);
    bool news = fds[2].revents != 0 && bb_mosquitto_network_news(connection->network, connection->now_ms);
    if (prompted || news) {
        doubt(connection);
    }
    if (fds[0].revents != 0 && !connection->reached) {
        check_reached(connection);
    }
    if (fds[0].revents != 0 && !connection->over) {
        read_and_write(connection, fds[0].revents);
    }
}

static void deliver(bb_mosquitto_connection *connection)
{
    if (connection->settled.first != NULL) {
        bb_mosquitto_exchange_settle(connection->exchange, &connection->settled);
    }
}

static void check_doubt(bb_mosquitto_connection *connection)
{
    if (connection->over || connection->now_ms < doubt_deadline_ms(connection)) {
        return;
    }
    if (connection->reached &&
        bb_mosquitto_pulse_check(&connection->pulse, mosquitto_socket(connection->handle), connection->now_ms)) {
        return;
    }
    connection->early = true;
    if (end(connection)) {
        bb_mosquitto_reason_set(&connection->reason, 0, "the network has changed, and %s:%u does not answer any more",
                                connection->place.host, connection->place.port);
    }
}

static void check_times(bb_mosquitto_connection *connection)
{
    const uint64_t now_ms = connection->now_ms;
    const bb_mosquitto_slot *oldest = connection->in_flight.first;
    const bb_mosquitto_place *place = &connection->place;

    if (!connection->over && now_ms >= connection->misc_ms + MISC_EVERY_MS) {
        connection->misc_ms = now_ms;
        if (connection->accepted) { /* before that, its keepalive would only end the attempt */
            check(connection, mosquitto_loop_misc(connection->handle));
        }
    }
    if (!connection->accepted && now_ms >= connection->opened_ms + connection->settings->connect_timeout_ms &&
        end(connection)) {
        bb_mosquitto_reason_set(&connection->reason, 0, "%s:%u did not answer within %u ms", place->host, place->port,
                                connection->settings->connect_timeout_ms);
    }
    if (now_ms >= ack_deadline_ms(connection) && end(connection)) {
        bb_mosquitto_reason_set(&connection->reason, 0, "%s:%u did not acknowledge a message within %u ms", place->host,
                                place->port, connection->settings->ack_timeout_ms);
    }
    if (oldest != NULL && connection->handed_over - oldest->number >= NUMBERS_APART_MAX && end(connection)) {
        bb_mosquitto_reason_set(&connection->reason, 0, "%s:%u did not acknowledge a message, but %u after it",
                                place->host, place->port, NUMBERS_APART_MAX);
    }
}

/* Tells the broker, so that it does not take the end for a failure; but not for long. */
static void say_goodbye(bb_mosquitto_connection *connection)
{
    uint64_t until_ms = bb_mosquitto_now_ms() + GOODBYE_MS;
    uint64_t now_ms = until_ms - GOODBYE_MS;

    if (!connection->accepted || mosquitto_disconnect_v5(connection->handle, 0, NULL) != MOSQ_ERR_SUCCESS) {
        return;
    }
    while (mosquitto_socket(connection->handle) >= 0 && now_ms < until_ms) {
        struct pollfd socket = {.fd = mosquitto_socket(connection->handle), .events = POLLOUT};
        if (poll(&socket, 1, (int)(until_ms - now_ms)) <= 0 ||
            mosquitto_loop_write(connection->handle, 1) != MOSQ_ERR_SUCCESS) {
            return;
        }
        now_ms = bb_mosquitto_now_ms();
    }
}

void bb_mosquitto_connection_run(bb_mosquitto_connection *connection)
{
    connection->place = (bb_mosquitto_place){
        .host = connection->settings->host, .port = connection->settings->port, .tls = connection->settings->tls};
    bb_mosquitto_reason_set(&connection->reason, 0, "disconnected on request");
    connection->socket_copy = -1;
    open_connection(connection);
    while (!connection->over && !bb_mosquitto_exchange_closing(connection->exchange)) {
        publish_waiting(connection);
        deliver(connection);
        if (!connection->over) {
            wait_and_transfer(connection);
        }
        deliver(connection);
        announce(connection);
        check_times(connection);
        check_doubt(connection);
    }
    if (!connection->over) {
        say_goodbye(connection);
    }
    if (connection->socket_copy >= 0) {
        close(connection->socket_copy);
    }
}

uint64_t bb_mosquitto_connection_served_ms(const bb_mosquitto_connection *connection)
{
    return connection->announced ? bb_mosquitto_now_ms() - connection->accepted_ms : 0;
}

void bb_mosquitto_connection_free(bb_mosquitto_connection *connection)
{
    forget_properties(connection);
}
