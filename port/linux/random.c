/* SPDX-License-Identifier: MIT */
/* Unpredictable bytes from the kernel. */
#include "random.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

/* Early in the boot of a device the kernel may have no entropy for minutes: an error then, never a wait. */
int bb_linux_random_fill(void *ctx, void *out, size_t size_bytes)
{
    (void)ctx;
    unsigned char *next = out;
    while (size_bytes > 0) {
        ssize_t count = getrandom(next, size_bytes, GRND_NONBLOCK);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return -1;
        next += count;
        size_bytes -= (size_t)count;
    }
    return 0;
}
