/* SPDX-License-Identifier: MIT */
#include "cuts.h"

#include <stdio.h>
#include <string.h>

#define SECOND_EVERY 8 /* so many cuts have one that is cut again */

#define ONE(journal, synchronous, page)                                                                                \
    {                                                                                                                  \
        journal "/" synchronous "/" #page, journal, synchronous, page, false, 0, 0                                     \
    }
#define PRUNING(journal, synchronous, page)                                                                            \
    {                                                                                                                  \
        journal "/" synchronous "/" #page "/pruning", journal, synchronous, page, true, 0, 0                           \
    }
#define BOUNDED(journal, synchronous, page)                                                                            \
    {                                                                                                                  \
        journal "/" synchronous "/" #page "/bounded", journal, synchronous, page, false, 7, 50                         \
    }
#define TWO(journal, synchronous) ONE(journal, synchronous, 1024), ONE(journal, synchronous, 4096)

/*
 * Not here: persist/normal. SQLite overwrites the old journal in place and syncs it once, so the header may be new and a
 * page half old; the journal's checksums look at every 200th byte only. Such a file can be damaged by a power cut with or
 * without Busbar.
 */
const setting cuts_settings[] = {
    TWO("wal", "normal"),
    TWO("wal", "full"),
    TWO("wal", "extra"),
    TWO("delete", "normal"),
    TWO("delete", "full"),
    TWO("delete", "extra"),
    TWO("truncate", "normal"),
    TWO("truncate", "full"),
    TWO("truncate", "extra"),
    TWO("persist", "full"),
    TWO("persist", "extra"),
    PRUNING("wal", "normal", 1024),
    PRUNING("wal", "full", 4096),
    PRUNING("delete", "full", 4096),
    BOUNDED("wal", "normal", 4096),
    BOUNDED("delete", "full", 4096),
};
const size_t cuts_setting_count = sizeof cuts_settings / sizeof *cuts_settings;

const setting *cuts_find_setting(const char *name, size_t length)
{
    for (size_t i = 0; i < cuts_setting_count; i++)
        if (strlen(cuts_settings[i].name) == length && strncmp(cuts_settings[i].name, name, length) == 0)
            return &cuts_settings[i];
    return NULL;
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

void recording_make(recording *r, const setting *s, control c)
{
    memset(r, 0, sizeof *r);
    r->disk = busbar_sim_disk_new(1);
    if (!r->disk) {
        snprintf(r->failure, sizeof r->failure, "out of memory");
        return;
    }
    busbar_sim_disk_repeatable(r->disk, 1);
    /* SQLite promises a rollback journal with NORMAL to file systems that append in order only. */
    if (!is(s->journal, "wal") && is(s->synchronous, "normal"))
        busbar_sim_disk_model_set(r->disk, BUSBAR_SIM_DISK_ORDERED_APPEND);
    machine_prepare(r->disk, s);
    machine m = {.setting = s,
                 .disk = r->disk,
                 .history = &r->history,
                 .lies_in_steps = c.lies_in_steps,
                 .journal_in_memory = c.journal_in_memory};
    if (machine_start(&m, 0, false))
        machine_workload(&m);
    machine_stop(&m);
    memcpy(r->failure, m.failure, sizeof r->failure);
    r->run = (run){.setting = s, .disk = r->disk, .history = &r->history};
}

void recording_free(recording *r)
{
    busbar_sim_disk_free(r->disk);
}

bool bench_open(bench *b)
{
    memset(b, 0, sizeof *b);
    b->survivor = busbar_sim_disk_new(2);
    b->second = busbar_sim_disk_new(3);
    return b->survivor && b->second;
}

void bench_close(bench *b)
{
    busbar_sim_disk_free(b->survivor);
    busbar_sim_disk_free(b->second);
}

/* ---- Cutting ----------------------------------------------------------------------------------------------------- */

static void note_failure(tally *t, const recording *r, point p, uint64_t second_op, const verdict *v)
{
    char op[BUSBAR_SIM_DISK_OP_SIZE] = "the end";
    char second[64] = "";
    (void)busbar_sim_disk_op(r->disk, p.op, op);
    if (second_op != UINT64_MAX)
        snprintf(second, sizeof second, ", and again at its operation %llu", (unsigned long long)second_op);
    if (t->failures == 0) {
        snprintf(t->first, sizeof t->first, "%s broken: %s\n  cut at operation %llu (%s)%s", survivor_names(v->broken),
                 v->text, (unsigned long long)p.op, op, second);
        snprintf(t->replay, sizeof t->replay, "%s:%llu:%llu%s", r->run.setting->name, (unsigned long long)p.op,
                 (unsigned long long)p.seed, second_op != UINT64_MAX ? ":twice" : "");
    }
    t->failures++;
    t->broken |= v->broken;
    for (unsigned i = 0; i < BROKEN_KINDS; i++)
        t->by_kind[i] += (v->broken & 1u << i) != 0;
}

static void cut_again(bench *b, const recording *r, point p, tally *t)
{
    run second = {.setting = r->run.setting, .disk = b->survivor, .history = &b->after, .boots = 1};
    uint64_t count = busbar_sim_disk_op_count(b->survivor);
    uint64_t op = (p.op * 7919 + p.seed * 104729) % (count + 1);
    busbar_sim_disk_model_set(b->survivor, BUSBAR_SIM_DISK_ANY_ORDER);
    if (!is(second.setting->journal, "wal") && is(second.setting->synchronous, "normal"))
        busbar_sim_disk_model_set(b->survivor, BUSBAR_SIM_DISK_ORDERED_APPEND);
    verdict v = survivor_check(&second, op, p.seed, b->second, &b->after_second);
    t->second_cuts++;
    if (v.broken != 0)
        note_failure(t, r, p, op, &v);
}

void cuts_at(bench *b, const recording *r, point p, tally *t)
{
    verdict v = survivor_check(&r->run, p.op, p.seed, b->survivor, &b->after);
    t->cuts++;
    if (v.broken != 0)
        note_failure(t, r, p, UINT64_MAX, &v);
    else if (p.twice)
        cut_again(b, r, p, t);
}

void cuts_everywhere(bench *b, const recording *r, plan p, tally *t)
{
    uint64_t count = busbar_sim_disk_op_count(r->disk);
    for (uint64_t op = p.first_seed % p.stride; op <= count; op += p.stride)
        for (uint64_t i = 0; i < p.seed_count; i++)
            cuts_at(b, r, (point){.op = op, .seed = p.first_seed + i, .twice = (op / p.stride + i) % SECOND_EVERY == 0},
                    t);
}

uint64_t cuts_planned(const recording *r, plan p)
{
    uint64_t count = busbar_sim_disk_op_count(r->disk);
    return (count - p.first_seed % p.stride) / p.stride * p.seed_count + p.seed_count;
}
