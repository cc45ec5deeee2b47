/* SPDX-License-Identifier: MIT */
/* What a fuzz target is made of. A target includes this, defines the samples and the function, and calls FUZZ_CHECK. */
#ifndef BUSBAR_FUZZ_H
#define BUSBAR_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Inputs to begin from, and pieces worth putting into them. Both end with NULL. */
extern const char *const fuzz_samples[];
extern const char *const fuzz_pieces[];

/* The target, as libFuzzer knows it. Returns 0; ends the process when a property does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that every input must keep. Prints the input, so that it can become a test, and ends the process. */
#define FUZZ_CHECK(condition, data, size)                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fuzz_fail(__FILE__, __LINE__, #condition, data, size);                                                     \
    } while (0)

static inline void fuzz_fail(const char *file, int line, const char *condition, const void *data, size_t size)
{
    fprintf(stderr, "%s:%d: does not hold: %s\ninput of %zu bytes: \"", file, line, condition, size);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = ((const unsigned char *)data)[i];
        fprintf(stderr, c >= 0x20 && c < 0x7f && c != '"' && c != '\\' ? "%c" : "\\%03o", c);
    }
    fprintf(stderr, "\"\n");
    abort();
}

#endif
