/* SPDX-License-Identifier: MIT */
/* A scripted end of MQTT connections. */
#define _DEFAULT_SOURCE

#include "test.h"

#include "mqtt_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE (1024 * 1024)

struct mqtt_peer {
    mqtt_peer_script *script;
    void *context;
    pthread_t thread;
    int listener;
    int stop_fd;
    int connection; /* -1: none */
    unsigned port;
    unsigned version; /* of the connection; 0: not known yet */
    uint64_t call_ms; /* when the script wants to be called; 0: not */
    atomic_uint count;
    size_t filled;
    uint8_t buffer[BUFFER_SIZE];
};

void mqtt_peer_send(mqtt_peer *peer, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    while (peer->connection >= 0 && size > 0) {
        ssize_t sent = send(peer->connection, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            mqtt_peer_hang_up(peer, false);
            return;
        }
        at += sent;
        size -= (size_t)sent;
    }
}

void mqtt_peer_connack(mqtt_peer *peer, unsigned code, const void *properties, size_t size)
{
    uint8_t packet[128] = {0x20, (uint8_t)(3 + size), 0, (uint8_t)code, (uint8_t)size};

    if (size > sizeof packet - 5) {
        abort(); /* not an assertion: this is not the test's thread */
    }
    if (size > 0) {
        memcpy(packet + 5, properties, size);
    }
    mqtt_peer_send(peer, packet, 5 + size);
}

void mqtt_peer_connack_v311(mqtt_peer *peer, unsigned code)
{
    const uint8_t packet[] = {0x20, 2, 0, (uint8_t)code};
    mqtt_peer_send(peer, packet, sizeof packet);
}

void mqtt_peer_puback(mqtt_peer *peer, uint16_t mid, unsigned code)
{
    const uint8_t packet[] = {0x40, 3, (uint8_t)(mid >> 8), (uint8_t)mid, (uint8_t)code};
    mqtt_peer_send(peer, packet, sizeof packet);
}

void mqtt_peer_acknowledge(mqtt_peer *peer, unsigned type, uint16_t mid, unsigned code)
{
    const bool with_code = peer->version == 5;
    const uint8_t packet[] = {(uint8_t)type, with_code ? 3 : 2, (uint8_t)(mid >> 8), (uint8_t)mid, (uint8_t)code};
    mqtt_peer_send(peer, packet, with_code ? 5 : 4);
}

void mqtt_peer_accept(mqtt_peer *peer)
{
    if (peer->version == 5) {
        mqtt_peer_connack(peer, 0, NULL, 0);
    } else {
        mqtt_peer_connack_v311(peer, 0);
    }
}

void mqtt_peer_pong(mqtt_peer *peer)
{
    static const uint8_t packet[] = {0xd0, 0};
    mqtt_peer_send(peer, packet, sizeof packet);
}

void mqtt_peer_disconnect(mqtt_peer *peer, unsigned code)
{
    const uint8_t packet[] = {MQTT_PEER_DISCONNECT, 1, (uint8_t)code};
    mqtt_peer_send(peer, packet, sizeof packet);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void mqtt_peer_call_in(mqtt_peer *peer, unsigned time_ms)
{
    peer->call_ms = now_ms() + time_ms;
}

void mqtt_peer_hang_up(mqtt_peer *peer, bool reset)
{
    peer->call_ms = 0;
    if (peer->connection >= 0) {
        struct linger at_once = {.l_onoff = reset ? 1 : 0, .l_linger = 0};
        setsockopt(peer->connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(peer->connection);
        peer->connection = -1;
    }
}

/* Where the payload of a PUBLISH begins, behind topic, packet identifier and properties of less than 128 bytes. */
static size_t payload_at(const mqtt_peer_packet *packet, size_t at)
{
    if (packet->version == 5 && at < packet->size) {
        at += 1u + packet->body[at];
    }
    return at < packet->size ? at : packet->size;
}

static void describe_publish(mqtt_peer_packet *packet)
{
    size_t at = 2u + ((size_t)packet->body[0] << 8) + packet->body[1];

    if ((packet->flags & 0x06) != 0 && at + 2 <= packet->size) {
        packet->mid = (uint16_t)((packet->body[at] << 8) | packet->body[at + 1]);
        at += 2;
    }
    at = payload_at(packet, at);
    packet->payload = packet->body + at;
    packet->payload_size = packet->size - at;
}

static void describe(mqtt_peer *peer, mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_CONNECT && packet->size > 6) {
        peer->version = packet->body[6];
    }
    packet->version = peer->version;
    if (packet->type == MQTT_PEER_PUBLISH && packet->size >= 2) {
        describe_publish(packet);
    } else if (packet->type == MQTT_PEER_PUBREL && packet->size >= 2) {
        packet->mid = (uint16_t)((packet->body[0] << 8) | packet->body[1]);
    }
}

/* Length of the packet at the start of the buffer; 0: not all of it is there. */
static size_t parse(mqtt_peer *peer, mqtt_peer_packet *packet)
{
    size_t length = 0;
    size_t at = 1;

    for (unsigned shift = 0; shift < 28; shift += 7) {
        if (at >= peer->filled) {
            return 0;
        }
        uint8_t byte = peer->buffer[at++];
        length |= (size_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            break;
        }
    }
    if (at + length > peer->filled) {
        return 0;
    }
    packet->type = peer->buffer[0] & 0xf0u;
    packet->flags = peer->buffer[0] & 0x0fu;
    packet->body = peer->buffer + at;
    packet->size = length;
    packet->wire_size = at + length;
    describe(peer, packet);
    return at + length;
}

static void handle_packets(mqtt_peer *peer)
{
    while (peer->connection >= 0 && peer->filled > 0) {
        mqtt_peer_packet packet = {.connection = atomic_load(&peer->count)};
        size_t used = parse(peer, &packet);
        if (used == 0) {
            return;
        }
        peer->script(peer, &packet, peer->context);
        peer->filled -= used;
        memmove(peer->buffer, peer->buffer + used, peer->filled);
    }
}

static void read_connection(mqtt_peer *peer)
{
    ssize_t got = recv(peer->connection, peer->buffer + peer->filled, BUFFER_SIZE - peer->filled, 0);

    if (got <= 0) {
        mqtt_peer_hang_up(peer, false);
        return;
    }
    peer->filled += (size_t)got;
    handle_packets(peer);
}

static void accept_connection(mqtt_peer *peer)
{
    peer->connection = accept(peer->listener, NULL, NULL);
    if (peer->connection >= 0) {
        peer->filled = 0;
        peer->version = 0;
        mqtt_peer_packet packet = {.connection = atomic_fetch_add(&peer->count, 1) + 1, .type = MQTT_PEER_ACCEPTED};
        peer->script(peer, &packet, peer->context);
    }
}

static int patience_ms(const mqtt_peer *peer)
{
    uint64_t now = now_ms();

    if (peer->call_ms == 0) {
        return -1;
    }
    return peer->call_ms > now ? (int)(peer->call_ms - now) : 0;
}

static void call_back(mqtt_peer *peer)
{
    const mqtt_peer_packet packet = {
        .connection = atomic_load(&peer->count), .type = MQTT_PEER_CALLED, .version = peer->version};

    if (peer->call_ms != 0 && now_ms() >= peer->call_ms) {
        peer->call_ms = 0;
        peer->script(peer, &packet, peer->context);
    }
}

static void *serve(void *context)
{
    mqtt_peer *peer = context;

    for (;;) {
        bool connected = peer->connection >= 0;
        struct pollfd fds[] = {
            {.fd = peer->stop_fd, .events = POLLIN},
            {.fd = connected ? peer->connection : peer->listener, .events = POLLIN},
        };
        if (poll(fds, 2, patience_ms(peer)) < 0) {
            continue;
        }
        call_back(peer);
        if (fds[0].revents != 0) {
            mqtt_peer_hang_up(peer, false);
            return NULL;
        }
        if (fds[1].revents == 0) {
            continue;
        }
        if (!connected) {
            accept_connection(peer);
        } else if (peer->connection >= 0) { /* the call may have ended it */
            read_connection(peer);
        }
    }
}

mqtt_peer *mqtt_peer_start(mqtt_peer_script *script, void *ctx)
{
    mqtt_peer *peer = calloc(1, sizeof *peer);
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    assert_non_null(peer);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->script = script;
    peer->context = ctx;
    peer->connection = -1;
    peer->stop_fd = eventfd(0, EFD_CLOEXEC);
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(peer->stop_fd >= 0 && peer->listener >= 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(peer->listener, 8), 0);
    assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&address, &size), 0);
    peer->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
    return peer;
}

unsigned mqtt_peer_port(const mqtt_peer *peer)
{
    return peer->port;
}

unsigned mqtt_peer_connections(mqtt_peer *peer)
{
    return atomic_load(&peer->count);
}

void mqtt_peer_stop(mqtt_peer *peer)
{
    const uint64_t one = 1;

    assert_int_equal(write(peer->stop_fd, &one, sizeof one), sizeof one);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
    close(peer->stop_fd);
    free(peer);
}
