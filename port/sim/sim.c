/* SPDX-License-Identifier: MIT */
/* The scripted platform: a machine that is a few numbers. Knows nothing of the machine that it runs on. */
#include <busbar/sim.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CALL_COUNT    4
#define CONSTANT_BYTE 0xa5
#define START_MIN_US  UINT64_C(1000000)
#define START_SPAN_US UINT64_C(59000000)

/* What an unset wall clock tells. Neither zero nor plausible. */
#define NONSENSE_MS INT64_C(-4242424242424242)

typedef struct identity {
    char text[BUSBAR_IDENTITY_SIZE];
} identity;

struct busbar_sim {
    busbar_port port;
    uint64_t seed;
    uint64_t random_state; /* of the bytes that the port gives */
    uint64_t script_state; /* of what the sim itself decides; apart, so that no test disturbs it */
    busbar_sim_random random_mode;

    uint64_t mono_us;
    uint64_t told_us; /* the latest reading in this boot */
    uint32_t resolution_us;
    uint32_t tick_us;
    int64_t wall_set_ms;
    uint64_t wall_since_us; /* passed since it was set */
    busbar_clock_quality quality;

    uint64_t boot_count;
    identity device;
    identity worker;
    identity *gone; /* workers that have ended */
    size_t gone_count;

    uint32_t failures[CALL_COUNT];
    uint64_t calls[CALL_COUNT];
};

/* ---- Numbers and texts ------------------------------------------------------------------------------------------- */

/* SplitMix64, as documented in busbar/sim.h. */
static uint64_t next_word(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void append(identity *text, const char *string)
{
    size_t length = strlen(text->text);
    size_t more = strlen(string);
    assert(length + more < sizeof text->text);
    memcpy(text->text + length, string, more + 1);
}

static void append_hex(identity *text, uint64_t value)
{
    char digits[17] = {0};
    for (unsigned i = 0; i < 16; i++)
        digits[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    append(text, digits);
}

static bool is_identity(const char *text)
{
    if (text == NULL || text[0] == '\0' || strlen(text) >= BUSBAR_IDENTITY_SIZE)
        return false;
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~' || *text == '"' || *text == '\'' || *text == '\\')
            return false;
    return true;
}

/* Counts the call. True if the script wants it to fail. */
static bool is_failing(busbar_sim *sim, busbar_sim_call call)
{
    sim->calls[call]++;
    if (sim->failures[call] == 0)
        return false;
    if (sim->failures[call] != BUSBAR_SIM_ALWAYS)
        sim->failures[call]--;
    return true;
}

/* ---- The port ---------------------------------------------------------------------------------------------------- */

static uint64_t port_mono_us(void *ctx)
{
    busbar_sim *sim = ctx;
    uint64_t told_us = sim->mono_us - sim->mono_us % sim->resolution_us;
    if (told_us > sim->told_us)
        sim->told_us = told_us;
    busbar_sim_advance(sim, sim->tick_us);
    return sim->told_us;
}

static busbar_clock_quality port_wall_ms(void *ctx, int64_t *out_ms)
{
    const busbar_sim *sim = ctx;
    *out_ms = NONSENSE_MS;
    if (sim->quality != BUSBAR_CLOCK_UNKNOWN)
        *out_ms = (int64_t)((uint64_t)sim->wall_set_ms + sim->wall_since_us / 1000);
    return sim->quality;
}

static int port_boot_id(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    busbar_sim *sim = ctx;
    if (is_failing(sim, BUSBAR_SIM_CALL_BOOT_ID))
        return -1;
    identity id = {"boot-"};
    append_hex(&id, sim->seed);
    append(&id, "-");
    append_hex(&id, sim->boot_count);
    memcpy(out, id.text, sizeof id.text);
    return 0;
}

static int port_device_id(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    busbar_sim *sim = ctx;
    if (is_failing(sim, BUSBAR_SIM_CALL_DEVICE_ID))
        return -1;
    memcpy(out, sim->device.text, sizeof sim->device.text);
    return 0;
}

static int port_random(void *ctx, void *out, size_t size_bytes)
{
    busbar_sim *sim = ctx;
    unsigned char *bytes = out;
    if (is_failing(sim, BUSBAR_SIM_CALL_RANDOM))
        return -1;
    uint64_t word = 0;
    for (size_t i = 0; i < size_bytes; i++) {
        if (i % 8 == 0)
            word = next_word(&sim->random_state);
        bytes[i] =
            (unsigned char)(sim->random_mode == BUSBAR_SIM_RANDOM_CONSTANT ? CONSTANT_BYTE : word >> 8 * (i % 8));
    }
    return 0;
}

static int port_worker_id(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    busbar_sim *sim = ctx;
    if (is_failing(sim, BUSBAR_SIM_CALL_WORKER_ID))
        return -1;
    memcpy(out, sim->worker.text, sizeof sim->worker.text);
    return 0;
}

static bool port_worker_gone(void *ctx, const char *worker_id)
{
    const busbar_sim *sim = ctx;
    for (size_t i = 0; i < sim->gone_count; i++)
        if (strcmp(sim->gone[i].text, worker_id) == 0)
            return true;
    return false;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void start_machine(busbar_sim *sim)
{
    sim->boot_count++;
    sim->mono_us = START_MIN_US + next_word(&sim->script_state) % START_SPAN_US;
    sim->told_us = 0;
}

static void fill_port(busbar_sim *sim)
{
    sim->port = (busbar_port){
        .version = BUSBAR_PORT_VERSION,
        .ctx = sim,
        .mono_us = port_mono_us,
        .wall_ms = port_wall_ms,
        .boot_id = port_boot_id,
        .device_id = port_device_id,
        .random = port_random,
        .worker_id = port_worker_id,
        .worker_gone = port_worker_gone,
        .wake = NULL,
    };
}

busbar_sim *busbar_sim_new(uint64_t seed)
{
    busbar_sim *sim = calloc(1, sizeof *sim);
    if (sim == NULL)
        return NULL;
    fill_port(sim);
    sim->seed = seed;
    sim->random_state = seed;
    sim->script_state = ~seed;
    sim->resolution_us = 1;
    sim->wall_set_ms = BUSBAR_SIM_WALL_MS;
    sim->quality = BUSBAR_CLOCK_TRUSTED;
    append(&sim->device, "device-");
    append_hex(&sim->device, seed);
    append(&sim->worker, "worker-1");
    start_machine(sim);
    return sim;
}

void busbar_sim_free(busbar_sim *sim)
{
    if (sim == NULL)
        return;
    free(sim->gone);
    free(sim);
}

const busbar_port *busbar_sim_port(busbar_sim *sim)
{
    return &sim->port;
}

void busbar_sim_reboot(busbar_sim *sim)
{
    start_machine(sim);
    if (sim->quality == BUSBAR_CLOCK_TRUSTED)
        sim->quality = BUSBAR_CLOCK_ESTIMATED;
    if (sim->random_mode == BUSBAR_SIM_RANDOM_REPEATED)
        sim->random_state = sim->seed;
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

void busbar_sim_advance(busbar_sim *sim, uint64_t time_us)
{
    sim->mono_us += time_us;
    sim->wall_since_us += time_us;
}

void busbar_sim_suspend(busbar_sim *sim, uint64_t time_us)
{
    busbar_sim_advance(sim, time_us);
    if (sim->quality == BUSBAR_CLOCK_TRUSTED)
        sim->quality = BUSBAR_CLOCK_ESTIMATED;
}

void busbar_sim_resolution(busbar_sim *sim, uint32_t step_us)
{
    sim->resolution_us = step_us > 0 ? step_us : 1;
}

void busbar_sim_tick(busbar_sim *sim, uint32_t time_us)
{
    sim->tick_us = time_us;
}

void busbar_sim_wall_set(busbar_sim *sim, int64_t wall_ms, busbar_clock_quality quality)
{
    sim->wall_set_ms = wall_ms;
    sim->wall_since_us = 0;
    sim->quality = quality;
}

void busbar_sim_wall_step(busbar_sim *sim, int64_t delta_ms)
{
    sim->wall_set_ms = (int64_t)((uint64_t)sim->wall_set_ms + (uint64_t)delta_ms);
}

void busbar_sim_wall_quality(busbar_sim *sim, busbar_clock_quality quality)
{
    sim->quality = quality;
}

/* ---- Identity, random bytes, failures ---------------------------------------------------------------------------- */

static int set_identity(identity *out, const char *text)
{
    if (!is_identity(text))
        return BUSBAR_EINVAL;
    memset(out, 0, sizeof *out);
    append(out, text);
    return BUSBAR_OK;
}

int busbar_sim_device_set(busbar_sim *sim, const char *device_id)
{
    return set_identity(&sim->device, device_id);
}

int busbar_sim_worker_set(busbar_sim *sim, const char *worker_id)
{
    return set_identity(&sim->worker, worker_id);
}

int busbar_sim_worker_gone(busbar_sim *sim, const char *worker_id)
{
    identity gone;
    if (set_identity(&gone, worker_id) != BUSBAR_OK)
        return BUSBAR_EINVAL;
    identity *grown = realloc(sim->gone, (sim->gone_count + 1) * sizeof *grown);
    if (grown == NULL)
        return BUSBAR_ENOMEM;
    sim->gone = grown;
    sim->gone[sim->gone_count++] = gone;
    return BUSBAR_OK;
}

void busbar_sim_random_mode(busbar_sim *sim, busbar_sim_random mode)
{
    sim->random_mode = mode;
    if (mode == BUSBAR_SIM_RANDOM_REPEATED)
        sim->random_state = sim->seed;
}

void busbar_sim_fail(busbar_sim *sim, busbar_sim_call call, uint32_t count)
{
    sim->failures[call] = count;
}

uint64_t busbar_sim_calls(const busbar_sim *sim, busbar_sim_call call)
{
    return sim->calls[call];
}
