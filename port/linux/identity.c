/* SPDX-License-Identifier: MIT */
/* Who this machine is, and which run of it this is. */
#include "identity.h"

#include "digest.h"
#include "textfile.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BOOT_ID_LENGTH    36
#define MACHINE_ID_LENGTH 32
#define DEVICE_BYTES      16
#define LINE_SIZE         256

/*
 * What the hash is made for, so that it equals that of no other program. Fixed for ever: it is in every device
 * identity.
 */
static const char purpose[] = "busbar device identity 1";

int bb_linux_identity_boot(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    (void)ctx;
    char line[LINE_SIZE];
    if (bb_linux_textfile_line("/proc/sys/kernel/random/boot_id", line, sizeof line) != 0)
        return -1;
    if (strlen(line) != BOOT_ID_LENGTH || strspn(line, "0123456789abcdef-") != BOOT_ID_LENGTH)
        return -1;
    memcpy(out, line, BOOT_ID_LENGTH + 1);
    return 0;
}

static void hash_into(const char *prefix, const char *text, char out[BUSBAR_IDENTITY_SIZE])
{
    uint8_t digest[BB_LINUX_DIGEST_SIZE];
    char hex[2 * DEVICE_BYTES + 1];
    bb_linux_digest_hmac(text, strlen(text), purpose, sizeof purpose - 1, digest);
    for (unsigned i = 0; i < DEVICE_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(out, BUSBAR_IDENTITY_SIZE, "%s%s", prefix, hex);
}

/* machine-id(5): the id is confidential and must not leave the machine; what is derived with a keyed hash may. */
int bb_linux_identity_of_machine(const char *machine_id, char out[BUSBAR_IDENTITY_SIZE])
{
    if (strlen(machine_id) != MACHINE_ID_LENGTH || strspn(machine_id, "0123456789abcdef") != MACHINE_ID_LENGTH)
        return -1;
    if (strspn(machine_id, "0") == MACHINE_ID_LENGTH)
        return -1;
    hash_into("device-", machine_id, out);
    return 0;
}

int bb_linux_identity_of_host(const char *host_name, char out[BUSBAR_IDENTITY_SIZE])
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t length = strlen(host_name);
    if (length == 0 || length > BB_LINUX_DIGEST_BLOCK)
        return -1;
    if (strcmp(host_name, "localhost") == 0 || strcmp(host_name, "(none)") == 0)
        return -1;
    if (strspn(host_name, legal) == length && length + sizeof "host-" <= BUSBAR_IDENTITY_SIZE)
        snprintf(out, BUSBAR_IDENTITY_SIZE, "host-%s", host_name);
    else
        hash_into("host-", host_name, out);
    return 0;
}

int bb_linux_identity_device(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    (void)ctx;
    char line[LINE_SIZE];
    if (bb_linux_textfile_line("/etc/machine-id", line, sizeof line) == 0 &&
        bb_linux_identity_of_machine(line, out) == 0)
        return 0;
    /* Where there is D-Bus without systemd. */
    if (bb_linux_textfile_line("/var/lib/dbus/machine-id", line, sizeof line) == 0 &&
        bb_linux_identity_of_machine(line, out) == 0)
        return 0;
    if (gethostname(line, sizeof line) != 0)
        return -1;
    line[sizeof line - 1] = '\0';
    return bb_linux_identity_of_host(line, out);
}
