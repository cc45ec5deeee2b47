/* SPDX-License-Identifier: MIT */
/* Numbers as people read them. */
#ifndef HUMAN_H
#define HUMAN_H

#include <busbar/busbar.h>
#include <stdint.h>

#define HUMAN_SIZE 40

typedef struct human {
    char text[HUMAN_SIZE];
} human;

human human_time(int64_t time_ms); /* 2026-05-01T12:00:00.000Z */
/* When it was published: ~2026-05-01T12:00:00.000Z by a clock that was not trusted, "-" if that is not known. */
human human_event_time(const busbar_record *event);
human human_duration(int64_t duration_ms); /* 90 ms, 4.2 s, 3m 05s, 2h 10m, 5d 3h */
human human_eta(int64_t eta_s);            /* "-" if negative: not known; < 1 s, 51 s, 3m 05s */
human human_bytes(int64_t size_bytes);     /* 812 B, 3.4 MiB */
human human_count(int64_t count);          /* 1,250,000 */

#endif
