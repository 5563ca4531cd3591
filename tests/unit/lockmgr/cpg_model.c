/* tests/unit/lockmgr/cpg_model.c - partitions, orders, inboxes and checks.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/cpg_model_private.h"

#include <stdio.h>
#include <string.h>

uint64_t model_random(struct model *m, uint64_t below)
{
    m->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = m->random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

void model_fail(struct model *m, const struct process *p, const char *what)
{
    AUTO(buf_fini) struct buf view = {0};

    member_view_to_text(&view, &p->core->view);
    printf("  seed %llu, event %u: process %u.%llu: %s: %s\n",
           (unsigned long long)m->seed, p->taken, p->p.node,
           (unsigned long long)p->incarnation, what, buf_text(&view));
    m->failed = true;
}

bool model_failed(const struct model *m)
{
    return m->failed;
}

/* -- boxes ----------------------------------------------------------------- */

static bool box_empty(const struct box *b)
{
    return b->head == b->tail;
}

static void box_put(struct box *b, struct entry *e)
{
    e->references++;
    b->slots[b->tail++ % ARRAY_LEN(b->slots)] = e;
    ASSERT(b->tail - b->head < ARRAY_LEN(b->slots));
}

static void entry_put(struct entry *e)
{
    if (--e->references == 0)
        free(e);
}

static struct entry *box_take(struct box *b)
{
    return b->slots[b->head++ % ARRAY_LEN(b->slots)];
}

static void box_clear(struct box *b)
{
    while (!box_empty(b))
        entry_put(box_take(b));
}

static struct entry *entry_new(enum member_event_type type, const void *bytes,
                               size_t count)
{
    struct entry *e = calloc(1, sizeof *e + count);

    ASSERT(e);
    e->type = type;
    e->bytes_count = count;
    if (count)
        memcpy(e->bytes, bytes, count);
    return e;
}

/* -- a core takes a step --------------------------------------------------- */

struct process *model_find(const struct model *m, uint32_t node,
                           uint64_t incarnation, unsigned *ret_at)
{
    for (unsigned i = 0; i < m->process_count; i++)
        if (m->processes[i]->p.node == node &&
            m->processes[i]->incarnation == incarnation) {
            *ret_at = i;
            return m->processes[i];
        }
    return NULL;
}

const struct member_gone *model_gone(const struct member_view *v,
                                     const struct member_id *id)
{
    for (unsigned i = 0; i < v->gone_count; i++)
        if (v->gone[i].id.node == id->node &&
            v->gone[i].id.incarnation == id->incarnation)
            return &v->gone[i];
    return NULL;
}

bool model_same_view(const struct member_view *a, const struct member_view *b)
{
    if (a->number != b->number || a->member_count != b->member_count ||
        a->gone_count != b->gone_count)
        return false;
    for (unsigned i = 0; i < a->member_count; i++)
        if (memcmp(&a->members[i], &b->members[i], sizeof a->members[i]) != 0)
            return false;
    for (unsigned i = 0; i < a->gone_count; i++)
        if (a->gone[i].state != b->gone[i].state ||
            memcmp(&a->gone[i].id, &b->gone[i].id, sizeof a->gone[i].id) != 0)
            return false;
    return true;
}

/* Everybody who is in a view after this event has the same one. */
static void check_agreement(struct model *m, struct process *p)
{
    struct member_view **seen = &m->views[p->taken];

    if (p->core->state != CORE_IN || m->two_node)
        return;
    if (!*seen) {
        *seen = malloc(sizeof **seen);
        ASSERT(*seen);
        **seen = p->core->view;
    } else if (!model_same_view(*seen, &p->core->view)) {
        AUTO(buf_fini) struct buf b = {0};

        member_view_to_text(&b, *seen);
        printf("  another has: %s\n", buf_text(&b));
        model_fail(m, p, "the views differ");
    }
}

static void check_memory(struct model *m, struct process *p,
                         const struct member_view *before)
{
    const struct member_view *now = &p->core->view;
    unsigned at = 0;

    if (now->number < before->number)
        model_fail(m, p, "the number went back");
    if (now->quorate && !before->quorate && now->number == before->number)
        model_fail(m, p, "quorum came back under the same number");
    for (unsigned i = 0; i < before->gone_count; i++) {
        const struct member_gone *g = &before->gone[i];

        model_find(m, g->id.node, g->id.incarnation, &at);
        if (g->state == MEMBER_MISSING && !model_gone(now, &g->id) &&
            !m->fenced[at])
            model_fail(m, p, "a missing incarnation was forgotten");
    }
    for (unsigned i = 0; i < now->gone_count; i++) {
        model_find(m, now->gone[i].id.node, now->gone[i].id.incarnation, &at);
        p->missing[at] |= now->gone[i].state == MEMBER_MISSING;
    }
    for (unsigned i = 0; now->joined && i < now->member_count; i++) {
        model_find(m, now->members[i].node, now->members[i].incarnation, &at);
        p->ever[at] = true;
        if (p->missing[at])
            model_fail(m, p, "a missing incarnation is back");
    }
}

static void note_end(struct model *m, struct process *p)
{
    snprintf(p->why, sizeof p->why, "%s", m->fx.why.text);
}

static void step(struct model *m, struct process *p,
                 const struct member_event *event)
{
    static struct member_view before;

    before = p->core->view;
    member_step(p->core, event, &m->fx);
    for (unsigned i = 0; i < m->fx.send_count; i++) {
        struct entry *e = entry_new(EVENT_MESSAGE, m->fx.sends[i].bytes,
                                    m->fx.sends[i].count);

        e->from = p->p;
        box_put(&p->outbox, e);
    }
    if (m->fx.garbage)
        model_fail(m, p, m->fx.why.text);
    if (m->fx.deliver && !member_view_find(&p->core->view, m->fx.from.node))
        model_fail(m, p, "a message of someone outside");
    if (m->fx.deliver) {
        size_t used = strlen(p->heard);

        snprintf(p->heard + used, sizeof p->heard - used, "%.*s ",
                 (int)m->fx.data_count, (const char *)m->fx.data);
    }
    if (m->fx.ended)
        note_end(m, p);
    check_memory(m, p, &before);
}

/* -- partitions ------------------------------------------------------------ */

static bool listens(const struct process *p)
{
    return p->listed && !p->ghost;
}

/* The next event in the order of the partition `part`. */
static void order(struct model *m, unsigned part, struct entry *e)
{
    e->number = ++m->events;
    ASSERT(m->events < EVENTS_MAX);
    e->references++;
    for (unsigned i = 0; i < m->process_count; i++) {
        struct process *p = m->processes[i];

        if (listens(p) && m->part[p->p.node] == part)
            box_put(&p->inbox, e);
    }
    entry_put(e);
}

static void list_processes(const struct model *m, unsigned part,
                           struct entry *e)
{
    for (unsigned i = 0; i < m->process_count; i++)
        if (m->processes[i]->listed && m->part[m->processes[i]->p.node] == part)
            e->list[e->count++] = m->processes[i]->p;
}

/* A process came, or `stopped` went, and the ring is as it was. */
static void order_confchg(struct model *m, unsigned part,
                          const struct member_process *stopped)
{
    struct entry *e = entry_new(EVENT_CONFCHG, NULL, 0);

    list_processes(m, part, e);
    if (stopped)
        e->stopped[e->stopped_count++] = *stopped;
    order(m, part, e);
}

static void tell_quorum(struct model *m, struct process *p)
{
    struct entry *e = entry_new(EVENT_QUORUM, NULL, 0);
    unsigned count = 0;

    for (uint32_t host = 1; host <= m->hosts; host++)
        count += m->part[host] == m->part[p->p.node];
    e->ring = m->ring[p->p.node];
    e->quorate = m->two_node || 2 * count > m->hosts;
    box_put(&p->quorum, e);
}

static void tell_ring(struct model *m, struct process *p)
{
    struct entry *e = entry_new(EVENT_RING, NULL, 0);

    e->number = ++m->events;
    e->ring = m->ring[p->p.node];
    box_put(&p->inbox, e);
}

static bool is_sender_in(const struct model *m, const struct entry *e,
                         const unsigned *part_now, unsigned part)
{
    return m->part[e->from.node] && part_now[e->from.node] == part;
}

/* Those who stay together may miss the last messages of the others, if none
 * of them took one. */
static void lose_tail(struct model *m, unsigned old, const unsigned *part_now,
                      unsigned part)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < m->process_count; i++) {
        const struct process *p = m->processes[i];

        if (listens(p) && m->part[p->p.node] == old &&
            part_now[p->p.node] == part && p->taken > taken)
            taken = p->taken;
    }
    for (unsigned i = 0; i < m->process_count; i++) {
        struct process *p = m->processes[i];
        struct box *b = &p->inbox;

        while (listens(p) && m->part[p->p.node] == old &&
               part_now[p->p.node] == part && !box_empty(b)) {
            struct entry *e = b->slots[(b->tail - 1) % ARRAY_LEN(b->slots)];

            if (e->type != EVENT_MESSAGE || e->number <= taken ||
                is_sender_in(m, e, part_now, part))
                break;
            b->tail--;
            entry_put(e);
        }
    }
}

/* Those of the partition `old` who stay together hear who is gone. */
static void order_left(struct model *m, unsigned old, const unsigned *part_now,
                       unsigned part)
{
    struct entry *e = entry_new(EVENT_CONFCHG, NULL, 0);
    bool someone_left = false;

    e->number = ++m->events;
    e->references++;
    for (unsigned i = 0; i < m->process_count; i++) {
        const struct process *p = m->processes[i];

        if (!p->listed || m->part[p->p.node] != old)
            continue;
        if (part_now[p->p.node] == part)
            e->list[e->count++] = p->p;
        else
            someone_left = true;
    }
    for (unsigned i = 0; someone_left && i < m->process_count; i++) {
        struct process *p = m->processes[i];

        if (listens(p) && m->part[p->p.node] == old &&
            part_now[p->p.node] == part)
            box_put(&p->inbox, e);
    }
    entry_put(e);
}

static bool is_partition_as_it_was(const struct model *m,
                                   const unsigned *part_now, unsigned part)
{
    unsigned old = 0;

    for (uint32_t host = 1; host <= m->hosts; host++)
        if (part_now[host] == part)
            old = m->part[host];
    for (uint32_t host = 1; host <= m->hosts; host++)
        if ((part_now[host] == part) != (m->part[host] == old))
            return false;
    return old != 0;
}

/* All who are in `part_now` == part form a ring. */
static void form(struct model *m, const unsigned *part_now, unsigned part)
{
    unsigned groups = 0;

    for (unsigned old = 1; old <= m->parts; old++) {
        bool any = false;

        for (uint32_t host = 1; host <= m->hosts; host++)
            any |= m->part[host] == old && part_now[host] == part;
        if (!any)
            continue;
        groups++;
        if (model_random(m, 2))
            lose_tail(m, old, part_now, part);
        order_left(m, old, part_now, part);
    }
    m->ring_seq += 4;
    for (uint32_t host = m->hosts; host > 0; host--)
        if (part_now[host] == part)
            m->ring[host] = (struct member_ring){1, m->ring_seq};
    if (groups > 1) {
        unsigned *mine = m->part;
        unsigned before[MODEL_HOSTS_MAX + 1];

        memcpy(before, mine, sizeof before);
        memcpy(mine, part_now, sizeof before);
        order_confchg(m, part, NULL);
        memcpy(mine, before, sizeof before);
    }
}

static void reform(struct model *m, const unsigned *part_now)
{
    unsigned parts = m->parts;

    for (uint32_t host = 1; host <= m->hosts; host++)
        parts = part_now[host] > parts ? part_now[host] : parts;
    for (unsigned part = m->parts + 1; part <= parts; part++)
        form(m, part_now, part);
    memcpy(m->part, part_now, sizeof m->part);
    for (unsigned i = 0; i < m->process_count; i++) {
        struct process *p = m->processes[i];

        if (listens(p) && m->part[p->p.node] > m->parts) {
            tell_ring(m, p);
            tell_quorum(m, p);
        }
    }
    m->parts = parts;
}

void model_partition(struct model *m, const unsigned *side)
{
    unsigned now[MODEL_HOSTS_MAX + 1] = {0};
    unsigned next = m->parts;

    for (uint32_t host = 1; host <= m->hosts; host++) {
        if (!m->part[host] || now[host])
            continue;
        next++;
        for (uint32_t other = host; other <= m->hosts; other++)
            if (m->part[other] && side[other - 1] == side[host - 1])
                now[other] = next;
    }
    for (uint32_t host = 1; host <= m->hosts; host++)
        if (m->part[host] && is_partition_as_it_was(m, now, now[host])) {
            unsigned same = now[host];

            for (uint32_t other = 1; other <= m->hosts; other++)
                if (now[other] == same)
                    now[other] = m->part[other];
        }
    reform(m, now);
}

void model_heal(struct model *m)
{
    static const unsigned all[MODEL_HOSTS_MAX];

    model_partition(m, all);
}

/* -- hosts and processes --------------------------------------------------- */

struct process *model_running(const struct model *m, uint32_t host)
{
    for (unsigned i = m->process_count; i-- > 0;)
        if (m->processes[i]->p.node == host && m->processes[i]->running)
            return m->processes[i];
    return NULL;
}

/* The one that the test knows to run there. */
static struct process *runs(const struct model *m, uint32_t host)
{
    struct process *p = model_running(m, host);

    ASSERT(p);
    return p;
}

/* The last one that ran there. */
struct process *model_latest(const struct model *m, uint32_t host)
{
    struct process *p = NULL;

    for (unsigned i = 0; i < m->process_count; i++)
        if (m->processes[i]->p.node == host && !m->processes[i]->ghost)
            p = m->processes[i];
    ASSERT(p);
    return p;
}

static void join(struct model *m, struct process *p)
{
    p->listed = true;
    order_confchg(m, m->part[p->p.node], NULL);
    if (p->ghost)
        return;
    tell_ring(m, p);
    tell_quorum(m, p);
}

static struct process *process_new(struct model *m, uint32_t host)
{
    struct process *p = calloc(1, sizeof *p);

    ASSERT(p && m->process_count < PROCESSES_MAX);
    m->processes[m->process_count++] = p;
    p->p = (struct member_process){host, 1000 + m->process_count};
    return p;
}

void model_set_key(struct model *m, uint64_t key)
{
    m->key = key;
}

void model_start_as(struct model *m, uint32_t host, uint64_t incarnation,
                    uint8_t installation)
{
    struct process *p = process_new(m, host);
    struct member_core_args args = {
        .me = {.node = host,
               .incarnation = incarnation,
               .version_min = 1,
               .version_max = 1,
               .key = m->key},
        .pid = p->p.pid,
        .suspect_ticks = MODEL_SUSPECT_TICKS,
    };

    p->incarnation = incarnation;
    p->running = true;
    args.me.host[0] = installation;
    snprintf(args.me.name, sizeof args.me.name, "h%u", host);
    p->core = malloc(sizeof *p->core);
    ASSERT(p->core);
    member_core_init(p->core, &args);
    if (m->part[host])
        join(m, p);
}

void model_start(struct model *m, uint32_t host)
{
    model_start_as(m, host, ++m->incarnations, (uint8_t)host);
}

static void leave_cpg(struct model *m, struct process *p)
{
    box_clear(&p->inbox);
    box_clear(&p->outbox);
    box_clear(&p->quorum);
    if (!p->listed)
        return;
    p->listed = false;
    if (m->part[p->p.node])
        order_confchg(m, m->part[p->p.node], &p->p);
}

void model_kill(struct model *m, uint32_t host)
{
    struct process *p = runs(m, host);

    p->running = false;
    leave_cpg(m, p);
}

void model_stop(struct model *m, uint32_t host)
{
    runs(m, host)->stopped = true;
}

void model_continue(struct model *m, uint32_t host)
{
    runs(m, host)->stopped = false;
}

void model_cut(struct model *m, uint32_t host)
{
    unsigned now[MODEL_HOSTS_MAX + 1];
    unsigned next = m->parts + 1, old = m->part[host];

    memcpy(now, m->part, sizeof now);
    for (uint32_t other = 1; other <= m->hosts; other++)
        if (m->part[other] == old)
            now[other] = other == host ? 0 : next;
    reform(m, now);
    for (unsigned i = 0; i < m->process_count; i++) {
        struct process *p = m->processes[i];

        if (p->p.node != host || !p->listed)
            continue;
        leave_cpg(m, p);
        if (!p->ghost)
            step(m, p, &(struct member_event){.type = EVENT_CUT});
    }
}

void model_uncut(struct model *m, uint32_t host)
{
    unsigned now[MODEL_HOSTS_MAX + 1];
    struct process *p = model_running(m, host);
    unsigned old = 0;

    memcpy(now, m->part, sizeof now);
    for (uint32_t other = 1; other <= m->hosts; other++)
        old = m->part[other] ? m->part[other] : old;
    now[host] = m->parts + 1;
    for (uint32_t other = 1; other <= m->hosts; other++)
        if (old && m->part[other] == old)
            now[other] = m->parts + 1;
    reform(m, now);
    if (p)
        join(m, p);
}

void model_ghost(struct model *m, uint32_t host)
{
    struct process *p = process_new(m, host);

    p->ghost = true;
    join(m, p);
}

void model_ask(struct model *m, uint32_t host, enum member_event_type what,
               uint32_t about, uint64_t incarnation)
{
    struct process *p = runs(m, host);
    unsigned at;

    if (what == EVENT_FENCED && model_find(m, about, incarnation, &at))
        m->fenced[at] = true;
    if (what == EVENT_LEAVE && model_find(m, host, p->incarnation, &at))
        m->goodbye[at] = true;
    step(m, p,
         &(struct member_event){
             .type = what, .who = {about, incarnation}
    });
}

void model_send(struct model *m, uint32_t host, const char *text)
{
    step(m, runs(m, host),
         &(struct member_event){
             .type = EVENT_SEND, .bytes = text, .count = strlen(text)});
}

/* -- running --------------------------------------------------------------- */

static bool send_one(struct model *m, struct process *p)
{
    struct entry *e;

    if (!p->listed || box_empty(&p->outbox) || !m->part[p->p.node])
        return false;
    e = box_take(&p->outbox);
    order(m, m->part[p->p.node], e);
    entry_put(e);
    return true;
}

static bool take_one(struct model *m, struct process *p, struct box *from)
{
    struct member_event event = {0};
    struct entry *e;

    if (!p->listed || p->stopped || box_empty(from))
        return false;
    e = box_take(from);
    event.type = e->type;
    event.processes = e->list;
    event.process_count = e->count;
    event.stopped = e->stopped;
    event.stopped_count = e->stopped_count;
    event.ring = e->ring;
    event.quorate = e->quorate;
    event.from = e->from;
    event.bytes = e->bytes;
    event.count = e->bytes_count;
    if (from == &p->inbox)
        p->taken = e->number;
    step(m, p, &event);
    if (from == &p->inbox && e->type != EVENT_RING)
        check_agreement(m, p);
    entry_put(e);
    return true;
}

bool model_step(struct model *m)
{
    unsigned first = (unsigned)model_random(m, m->process_count * 3);

    for (unsigned i = 0; i < m->process_count * 3; i++) {
        unsigned at = (first + i) % (m->process_count * 3);
        struct process *p = m->processes[at / 3];

        if (at % 3 == 0 ? send_one(m, p)
                        : take_one(m, p, at % 3 == 1 ? &p->inbox : &p->quorum))
            return true;
    }
    return false;
}

void model_settle(struct model *m)
{
    unsigned steps = 0;

    while (model_step(m))
        ASSERT(++steps < 1000000);
}

void model_tick(struct model *m)
{
    for (unsigned i = 0; i < m->process_count; i++)
        if (m->processes[i]->running && !m->processes[i]->stopped)
            step(m, m->processes[i],
                 &(struct member_event){.type = EVENT_TICK});
}

void model_beats(struct model *m, unsigned count)
{
    while (count--) {
        model_tick(m);
        model_settle(m);
    }
}

/* -- a model ----------------------------------------------------------------
 */

struct model *model_new(unsigned hosts, uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);

    ASSERT(m && hosts <= MODEL_HOSTS_MAX);
    m->hosts = hosts;
    m->seed = m->random = seed;
    m->incarnations = 100;
    m->parts = 1;
    m->ring_seq = 4;
    for (uint32_t host = 1; host <= hosts; host++) {
        m->part[host] = 1;
        m->ring[host] = (struct member_ring){1, 4};
    }
    return m;
}

void model_two_node(struct model *m)
{
    m->two_node = true;
}

void model_free(struct model *m)
{
    for (unsigned i = 0; i < m->process_count; i++) {
        box_clear(&m->processes[i]->inbox);
        box_clear(&m->processes[i]->outbox);
        box_clear(&m->processes[i]->quorum);
        free(m->processes[i]->core);
        free(m->processes[i]);
    }
    for (unsigned i = 0; i < EVENTS_MAX; i++)
        free(m->views[i]);
    free(m);
}
