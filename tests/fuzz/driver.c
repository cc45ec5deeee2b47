/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target without libFuzzer: fuzz_<name> [iterations] [seed]. The same numbers give the same inputs everywhere.
 * Each input is handed over in an allocation of its own size, so that a sanitizer sees a read beyond its end.
 */
#include "fuzz.h"

#include <string.h>

#define INPUT_MAX         2048
#define ITERATIONS        1000000
#define SEED              1
#define MUTATIONS_AT_MOST 6

typedef struct input {
    unsigned char bytes[INPUT_MAX];
    size_t size;
} input;

/* A small generator with 64 bits of state; plenty for choosing mutations. */
static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint64_t x = *state ^ *state >> 29;
    x *= UINT64_C(0x9fb21c651e98df25);
    return x ^ x >> 32;
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit > 0 ? (size_t)(next_random(state) % limit) : 0;
}

static size_t count_texts(const char *const *texts)
{
    size_t count = 0;
    while (texts[count])
        count++;
    return count;
}

/* Puts `size` bytes in place of `removed` ones; does nothing if there is no room. */
static void splice(input *in, size_t at, size_t removed, const void *bytes, size_t size)
{
    if (removed > in->size - at)
        removed = in->size - at;
    if (in->size - removed + size > INPUT_MAX)
        return;
    memmove(in->bytes + at + size, in->bytes + at + removed, in->size - at - removed);
    memcpy(in->bytes + at, bytes, size);
    in->size = in->size - removed + size;
}

static void mutate(input *in, uint64_t *state)
{
    unsigned char copy[16];
    size_t at = below(state, in->size + 1);
    size_t length = 1 + below(state, sizeof copy);
    const char *piece = fuzz_pieces[below(state, count_texts(fuzz_pieces))];
    unsigned char byte = (unsigned char)next_random(state);
    switch (below(state, 7)) {
    case 0: /* another byte */
        splice(in, at, 1, &byte, 1);
        break;
    case 1: /* one bit */
        if (at < in->size)
            in->bytes[at] ^= (unsigned char)(1u << byte % 8);
        break;
    case 2: /* one byte more */
        splice(in, at, 0, &byte, 1);
        break;
    case 3: /* some less */
        splice(in, at, length, "", 0);
        break;
    case 4: /* a piece of the language */
        splice(in, at, below(state, 2) * length, piece, strlen(piece));
        break;
    case 5: /* something again, elsewhere */
        if (length > in->size - at)
            length = in->size - at;
        memcpy(copy, in->bytes + at, length);
        splice(in, below(state, in->size + 1), 0, copy, length);
        break;
    default: /* an end */
        if (byte < 64)
            in->size = at;
        break;
    }
}

static void run(const input *in)
{
    uint8_t *data = malloc(in->size > 0 ? in->size : 1);
    if (!data)
        abort();
    memcpy(data, in->bytes, in->size);
    LLVMFuzzerTestOneInput(data, in->size);
    free(data);
}

static void load_sample(input *in, const char *sample)
{
    in->size = strlen(sample);
    if (in->size > INPUT_MAX)
        abort();
    memcpy(in->bytes, sample, in->size);
}

int main(int argc, char **argv)
{
    unsigned long long iterations = argc > 1 ? strtoull(argv[1], NULL, 10) : ITERATIONS;
    unsigned long long seed = argc > 2 ? strtoull(argv[2], NULL, 10) : SEED;
    printf("%llu iterations, seed %llu\n", iterations, seed);
    fflush(stdout);
    static input in;
    uint64_t state = seed;
    size_t samples = count_texts(fuzz_samples);
    for (size_t i = 0; i < samples; i++) {
        load_sample(&in, fuzz_samples[i]);
        run(&in);
    }
    for (unsigned long long i = 0; i < iterations; i++) {
        load_sample(&in, fuzz_samples[below(&state, samples)]);
        for (size_t mutations = 1 + below(&state, MUTATIONS_AT_MOST); mutations > 0; mutations--)
            mutate(&in, &state);
        run(&in);
    }
    return 0;
}
