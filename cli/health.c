/* SPDX-License-Identifier: MIT */
#include "health.h"

#include "out.h"
#include "value.h"

#include <stdio.h>

typedef enum rule_form { COUNT, DURATION, BYTES } rule_form;

typedef struct rule {
    size_t option;
    uint64_t *member;
    rule_form form;
    uint64_t least;
} rule;

static bool read_value(rule_form form, const char *text, uint64_t *out)
{
    if (form == DURATION)
        return value_duration(text, out);
    return form == BYTES ? value_bytes(text, out) : value_number(text, INT64_MAX, out);
}

static bool read_rule(const arguments *args, const rule *r)
{
    const char *text = args->values[r->option];
    const char *name = args->options[r->option].name;
    uint64_t value = 0;
    if (text == NULL)
        return true;
    if (!read_value(r->form, text, &value) || value < r->least) {
        static const char *const forms[] = {[COUNT] = "a number in range",
                                            [DURATION] = "a duration like 90s, 10m or 1h30m, above 0",
                                            [BYTES] = "a size like 500000, 512K or 64M, above 0"};
        arguments_fail(args, "--%s \"%s\" is not %s", name, text, forms[r->form]);
        return false;
    }
    *r->member = value;
    return true;
}

bool health_rules_read(const arguments *args, busbar_health_rules *out)
{
    busbar_health_rules rules = {.size = sizeof rules};
    const rule all[] = {
        {HEALTH_MAX_PENDING, &rules.max_pending, COUNT, 1},
        {HEALTH_MAX_AGE, &rules.max_oldest_ms, DURATION, 1},
        {HEALTH_MAX_DEAD, &rules.max_dead, COUNT, 0},
        {HEALTH_MAX_FAILING, &rules.max_failing_ms, DURATION, 1},
        {HEALTH_MAX_OFFLINE, &rules.max_offline_ms, DURATION, 1},
        {HEALTH_MAX_UNWORKED, &rules.max_unworked_ms, DURATION, 1},
        {HEALTH_MAX_FILE, &rules.max_file_bytes, BYTES, 1},
        {HEALTH_MAX_WAL, &rules.max_wal_bytes, BYTES, 1},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (!read_rule(args, &all[i]))
            return false;
    rules.allow_stuck = args->values[HEALTH_ALLOW_STUCK] != NULL;
    *out = rules;
    return true;
}

static int keep(const busbar_health_reason *reason, void *ctx)
{
    health_report *report = ctx;
    if (report->count == HEALTH_REASONS_MAX)
        return 0;
    health_reason *kept = &report->reasons[report->count++];
    *kept = (health_reason){.health = reason->health, .value = reason->value, .limit = reason->limit};
    snprintf(kept->rule, sizeof kept->rule, "%s", reason->rule);
    snprintf(kept->consumer, sizeof kept->consumer, "%s", reason->consumer != NULL ? reason->consumer : "");
    snprintf(kept->text, sizeof kept->text, "%s", reason->text);
    return 0;
}

int health_judge(busbar *bus, const busbar_health_rules *rules, health_report *out)
{
    out->count = 0;
    return busbar_health_get(bus, rules, keep, out, &out->health);
}

void health_add_json(const health_report *report, json_writer *json)
{
    json_bool(json, "healthy", report->health != BUSBAR_HEALTH_UNHEALTHY);
    json_text(json, "health", busbar_health_name(report->health));
    json_begin(json, "reasons", '[');
    for (size_t i = 0; i < report->count; i++) {
        const health_reason *reason = &report->reasons[i];
        json_begin(json, NULL, '{');
        json_text(json, "health", busbar_health_name(reason->health));
        json_text(json, "rule", reason->rule);
        json_text(json, "consumer", reason->consumer[0] != '\0' ? reason->consumer : NULL);
        json_int(json, "value", reason->value);
        json_int(json, "limit", reason->limit);
        json_text(json, "text", reason->text);
        json_end(json, '}');
    }
    json_end(json, ']');
}

void health_print(const health_report *report)
{
    static const out_style styles[] = {OUT_GOOD, OUT_WARNING, OUT_BAD};
    out_cell("health", OUT_BOLD, 10);
    out_cell(busbar_health_name(report->health), styles[report->health], 0);
    out_text("\n");
    for (size_t i = 0; i < report->count; i++) {
        out_cell("", OUT_PLAIN, 10);
        out_line("%s", report->reasons[i].text);
    }
}
