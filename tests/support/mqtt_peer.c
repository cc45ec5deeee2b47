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

void mqtt_peer_hang_up(mqtt_peer *peer, bool reset)
{
    if (peer->connection >= 0) {
        struct linger at_once = {.l_onoff = reset ? 1 : 0, .l_linger = 0};
        setsockopt(peer->connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(peer->connection);
        peer->connection = -1;
    }
}

static void describe(mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH && (packet->flags & 0x06) != 0 && packet->size >= 2) {
        size_t at = 2u + ((size_t)packet->body[0] << 8) + packet->body[1];
        if (at + 2 <= packet->size) {
            packet->mid = (uint16_t)((packet->body[at] << 8) | packet->body[at + 1]);
        }
    }
    if (packet->type == MQTT_PEER_CONNECT && packet->size > 6) {
        packet->version = packet->body[6];
    }
}

/* Length of the packet at the start of the buffer; 0: not all of it is there. */
static size_t parse(const mqtt_peer *peer, mqtt_peer_packet *packet)
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
    describe(packet);
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
        mqtt_peer_packet packet = {.connection = atomic_fetch_add(&peer->count, 1) + 1, .type = MQTT_PEER_ACCEPTED};
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
        if (poll(fds, 2, -1) < 0) {
            continue;
        }
        if (fds[0].revents != 0) {
            mqtt_peer_hang_up(peer, false);
            return NULL;
        }
        if (connected) {
            read_connection(peer);
        } else {
            accept_connection(peer);
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
