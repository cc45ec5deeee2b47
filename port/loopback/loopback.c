/* SPDX-License-Identifier: MIT */
/*
 * The in-process transport. Owns two queues of tokens, unsettled and settled, and a script. Pure C11: no operating system,
 * no thread, no clock.
 */
#include <busbar/loopback.h>

#include <stdlib.h>
#include <string.h>

#define WINDOW_DEFAULT 100

typedef struct outcome {
    uint64_t token;
    bool refused;
    bool unmatched;
    busbar_refusal verdict;
    busbar_reason reason;
} outcome;

typedef struct rule {
    struct rule *next;
    char *topic; /* NULL: any */
    uint32_t left;
    bool endless;
    busbar_refusal verdict;
    busbar_reason reason;
} rule;

typedef struct loopback {
    busbar_loopback_fn *receive;
    void *receive_context;
    uint32_t window;
    size_t max_message_bytes;
    bool manual_ack;
    bool unmatched;
    bool link_up;
    bool started;
    bool closed;
    bool told_up; /* what the host knows: send() follows this and link_up */
    uint32_t drop_after;
    rule *rules;
    /* Not yet reported, in the order outcomes, down, up. */
    bool down;
    bool up;
    uint64_t *unsettled; /* `window` long, as is settled: together they never hold more */
    size_t unsettled_count;
    outcome *settled;
    size_t settled_count;
} loopback;

/* `reason` may be NULL. */
static void set_reason(busbar_reason *reason, int32_t code, const char *text)
{
    size_t length = strlen(text);

    if (reason == NULL) {
        return;
    }
    if (length >= sizeof reason->text) {
        length = sizeof reason->text - 1;
    }
    while (length > 0 && text[length] != '\0' && ((unsigned char)text[length] & 0xc0) == 0x80) {
        length--; /* never in the middle of a character */
    }
    memcpy(reason->text, text, length);
    reason->text[length] = '\0';
    reason->code = code;
}

/* ---- The script ----------------------------------------------------------------------------------------------------- */

static void settle(loopback *self, uint64_t token, const rule *refusal)
{
    outcome *slot = &self->settled[self->settled_count++];

    memset(slot, 0, sizeof *slot);
    slot->token = token;
    slot->unmatched = refusal == NULL && self->unmatched;
    if (refusal != NULL) {
        slot->refused = true;
        slot->verdict = refusal->verdict;
        slot->reason = refusal->reason;
    }
}

static void cut(loopback *self)
{
    self->link_up = false;
    self->unsettled_count = 0;
    self->up = false;
    self->down = self->started;
}

void busbar_loopback_link(busbar_transport transport, bool up)
{
    loopback *self = transport.ctx;

    if (self->closed || self->link_up == up) {
        return;
    }
    if (!up) {
        cut(self);
        return;
    }
    self->link_up = true;
    self->up = self->started;
}

void busbar_loopback_drop_after(busbar_transport transport, uint32_t message_count)
{
    loopback *self = transport.ctx;
    self->drop_after = message_count;
}

void busbar_loopback_unmatched(busbar_transport transport, bool unmatched)
{
    loopback *self = transport.ctx;
    self->unmatched = unmatched;
}

static void settle_at(loopback *self, size_t index)
{
    settle(self, self->unsettled[index], NULL);
    self->unsettled_count--;
    memmove(&self->unsettled[index], &self->unsettled[index + 1],
            (self->unsettled_count - index) * sizeof self->unsettled[0]);
}

size_t busbar_loopback_ack(busbar_transport transport, size_t count)
{
    loopback *self = transport.ctx;
    size_t done = 0;

    while (done < count && self->unsettled_count > 0) {
        settle_at(self, 0);
        done++;
    }
    return done;
}

bool busbar_loopback_ack_token(busbar_transport transport, uint64_t token)
{
    loopback *self = transport.ctx;

    for (size_t i = 0; i < self->unsettled_count; i++) {
        if (self->unsettled[i] == token) {
            settle_at(self, i);
            return true;
        }
    }
    return false;
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);

    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

static void free_rule(rule *one)
{
    free(one->topic);
    free(one);
}

int busbar_loopback_refuse(busbar_transport transport, const busbar_loopback_refusal *refusal)
{
    loopback *self = transport.ctx;

    if (refusal == NULL || refusal->size != sizeof *refusal) {
        return BUSBAR_EINVAL;
    }
    rule *added = calloc(1, sizeof *added);
    if (added == NULL) {
        return BUSBAR_ENOMEM;
    }
    if (refusal->topic != NULL) {
        added->topic = copy_text(refusal->topic);
        if (added->topic == NULL) {
            free_rule(added);
            return BUSBAR_ENOMEM;
        }
    }
    added->left = refusal->count;
    added->endless = refusal->count == 0;
    added->verdict = refusal->verdict;
    set_reason(&added->reason, refusal->code, refusal->text != NULL ? refusal->text : "refused");
    rule **end = &self->rules;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = added;
    return BUSBAR_OK;
}

void busbar_loopback_accept(busbar_transport transport)
{
    loopback *self = transport.ctx;

    while (self->rules != NULL) {
        rule *first = self->rules;
        self->rules = first->next;
        free_rule(first);
    }
}

/* True if a rule refused the message; its outcome is then settled. */
static bool refuse_by_rule(loopback *self, const busbar_message *message)
{
    for (rule **at = &self->rules; *at != NULL; at = &(*at)->next) {
        rule *one = *at;
        if (one->topic != NULL && strcmp(one->topic, message->topic) != 0) {
            continue;
        }
        settle(self, message->token, one);
        if (!one->endless && --one->left == 0) {
            *at = one->next;
            free_rule(one);
        }
        return true;
    }
    return false;
}

/* ---- The transport's functions -------------------------------------------------------------------------------------- */

static int loopback_start(void *context, busbar_reason *out_reason)
{
    loopback *self = context;

    if (self->started || self->closed) {
        set_reason(out_reason, 0, "the transport was started or closed before; make a new one");
        return -1;
    }
    self->started = true;
    self->up = self->link_up;
    self->down = !self->link_up;
    return 0;
}

/* NULL when the message can be sent, else why it never can. */
static const char *find_fault(const loopback *self, const busbar_message *message)
{
    size_t topic_length = message->topic != NULL ? strlen(message->topic) : 0;

    if (topic_length == 0) {
        return "the topic is empty";
    }
    if (strpbrk(message->topic, "+#") != NULL) {
        return "the topic has a wildcard (+ or #)";
    }
    if (self->max_message_bytes != 0 && (topic_length > self->max_message_bytes ||
                                         message->payload_size_bytes > self->max_message_bytes - topic_length)) {
        return "topic and payload are larger than the peer takes";
    }
    return NULL;
}

/* The receiver comes last, when everything is as after the call: it may use the script functions. */
static void take(loopback *self, const busbar_message *message)
{
    if (refuse_by_rule(self, message)) {
        return;
    }
    bool drop = self->drop_after != 0 && --self->drop_after == 0;
    if (drop) {
        cut(self);
    } else if (self->manual_ack) {
        self->unsettled[self->unsettled_count++] = message->token;
    } else {
        settle(self, message->token, NULL);
    }
    if (self->receive != NULL) {
        self->receive(message, self->receive_context);
    }
}

static busbar_send_result loopback_send(void *context, const busbar_message *message, busbar_reason *out_reason)
{
    loopback *self = context;

    /* A change of the link that the host has not seen is as good as no link. */
    bool ready = self->link_up && self->told_up && !self->down && !self->up;
    if (self->closed || !ready || self->unsettled_count + self->settled_count >= self->window) {
        return BUSBAR_SEND_NOT_NOW;
    }
    const char *fault = find_fault(self, message);
    if (fault != NULL) {
        set_reason(out_reason, 0, fault);
        return BUSBAR_SEND_DEAD;
    }
    take(self, message);
    return BUSBAR_SEND_ACCEPTED;
}

static busbar_transport_event new_event(busbar_transport_event_type type)
{
    busbar_transport_event event;
    memset(&event, 0, sizeof event);
    event.size = sizeof event;
    event.type = type;
    return event;
}

/* Off the queue before the callback: it may send. */
static void report_oldest(loopback *self, busbar_transport_event_fn *fn, void *fn_context)
{
    const outcome *oldest = &self->settled[0];
    busbar_transport_event event = new_event(oldest->refused ? BUSBAR_TRANSPORT_REFUSED : BUSBAR_TRANSPORT_ACKED);

    event.token = oldest->token;
    event.unmatched = oldest->unmatched;
    event.verdict = oldest->verdict;
    event.reason = oldest->reason;
    self->settled_count--;
    memmove(&self->settled[0], &self->settled[1], self->settled_count * sizeof self->settled[0]);
    fn(&event, fn_context);
}

static void report_down(loopback *self, busbar_transport_event_fn *fn, void *fn_context)
{
    busbar_transport_event event = new_event(BUSBAR_TRANSPORT_DOWN);

    self->down = false;
    self->told_up = false;
    set_reason(&event.reason, 0, "the link is down");
    fn(&event, fn_context);
}

static void report_up(loopback *self, busbar_transport_event_fn *fn, void *fn_context)
{
    busbar_transport_event event = new_event(BUSBAR_TRANSPORT_UP);

    self->up = false;
    self->told_up = true;
    event.window = self->window;
    event.max_message_bytes = self->max_message_bytes;
    fn(&event, fn_context);
}

/*
 * What the callback brings about by sending is left for the next poll: a callback that sends on every acknowledgement
 * would otherwise never come to an end.
 */
static void loopback_poll(void *context, busbar_transport_event_fn *fn, void *fn_context)
{
    loopback *self = context;
    bool was_down = self->down;
    bool was_up = self->up;

    if (self->closed) {
        return;
    }
    for (size_t left = self->settled_count; left > 0; left--) {
        report_oldest(self, fn, fn_context);
    }
    if (was_down && self->down) {
        report_down(self, fn, fn_context);
    }
    if (was_up && self->up) {
        report_up(self, fn, fn_context);
    }
}

static void loopback_close(void *context)
{
    loopback *self = context;

    self->closed = true;
    self->link_up = false;
    self->unsettled_count = 0;
    self->settled_count = 0;
}

static void loopback_stop(void *context)
{
    loopback *self = context;
    busbar_transport transport = {.api = NULL, .ctx = self};

    busbar_loopback_accept(transport);
    free(self->unsettled);
    free(self->settled);
    free(self);
}

static const busbar_transport_api loopback_api = {
    .version = BUSBAR_TRANSPORT_VERSION,
    .name = "loopback",
    .start = loopback_start,
    .send = loopback_send,
    .poll = loopback_poll,
    .close = loopback_close,
    .stop = loopback_stop,
    .fd = NULL,
};

static bool allocate_queues(loopback *self)
{
    self->unsettled = calloc(self->window, sizeof self->unsettled[0]);
    self->settled = calloc(self->window, sizeof self->settled[0]);
    return self->unsettled != NULL && self->settled != NULL;
}

int busbar_loopback_new(const busbar_loopback_options *options, busbar_transport *out_transport)
{
    static const busbar_loopback_options defaults = {.size = sizeof defaults};
    const busbar_loopback_options *given = options != NULL ? options : &defaults;

    if (out_transport == NULL || given->size != sizeof *given) {
        return BUSBAR_EINVAL;
    }
    loopback *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return BUSBAR_ENOMEM;
    }
    self->receive = given->receive;
    self->receive_context = given->ctx;
    self->window = given->window != 0 ? given->window : WINDOW_DEFAULT;
    self->max_message_bytes = given->max_message_bytes;
    self->manual_ack = given->manual_ack;
    self->link_up = !given->link_down;
    if (!allocate_queues(self)) {
        loopback_stop(self);
        return BUSBAR_ENOMEM;
    }
    out_transport->api = &loopback_api;
    out_transport->ctx = self;
    return BUSBAR_OK;
}
