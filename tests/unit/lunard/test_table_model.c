/* tests/unit/lunard/test_table_model.c - hosts that share a table of volumes,
 * in a model of the group messages: they split, meet, restart, lose the end of
 * what was said, and add, change and remove meanwhile.
 *
 * After each message that all of a group have heard: all are whole or none, and
 * those that are have the same table; of volumes in use no two collide; no
 * change of one volume puts another out of use.  In the end all meet, and all
 * are equal. SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/table.h"

#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

enum {
    HOSTS = 5,
    VOLUMES = 9, /* UUIDs, with fewer names and LUNs */
    NAMES = 6,
    QUEUE = 256,
    RUNS = 150 / TEST_ONE_IN,
    STEPS = 400
};

struct message {
    uint32_t node;
    size_t count;
    uint8_t *bytes;
};

/* The hosts of one view; what they sent, in its order. */
struct group {
    uint64_t nodes; /* 0: there is no such group */
    struct message queue[QUEUE];
    unsigned head, tail;
};

static struct model {
    struct table tables[HOSTS];
    unsigned said[HOSTS]; /* of table_say_known() */
    struct group groups[HOSTS], *group_of[HOSTS];
    uint64_t view;
    uint64_t random;
    unsigned decided, added, refused;
} m;

static unsigned pick(unsigned below)
{
    m.random ^= m.random << 13;
    m.random ^= m.random >> 7;
    m.random ^= m.random << 17;
    return (unsigned)(m.random % below);
}

static bool is_in(const struct group *g, unsigned host)
{
    return g->nodes & table_node(host + 1);
}

/* -- what must be so ------------------------------------------------------- */

static bool collide(const struct table_record *a, const struct table_record *b)
{
    return a->used && b->used &&
           (!strcmp(a->entry.name, b->entry.name) ||
            !strcmp(a->entry.url, b->entry.url) ||
            a->entry.number == b->entry.number);
}

static void check_used(const struct table *t)
{
    for (unsigned i = 0; i < t->count; i++)
        for (unsigned j = 0; j < i; j++)
            if (collide(&t->records[i], &t->records[j]))
                CU_FAIL("two volumes in use collide");
}

/* All that another part of the daemon can see of a table. */
static void check_same(const struct table *a, const struct table *b)
{
    CHECK_EQ(a->epoch, b->epoch);
    CHECK_EQ(a->count, b->count);
    for (unsigned i = 0; i < a->count && i < b->count; i++) {
        CHECK_MEM(&a->records[i].entry, &b->records[i].entry,
                  sizeof a->records[i].entry);
        CHECK_EQ(a->records[i].used, b->records[i].used);
        if (!a->records[i].used && !a->records[i].entry.removed)
            CHECK_EQ(a->records[i].out, b->records[i].out);
    }
}

static void check_group(const struct group *g)
{
    const struct table *first = NULL;

    for (unsigned h = 0; h < HOSTS; h++) {
        const struct table *t = &m.tables[h];

        if (!is_in(g, h))
            continue;
        if (first)
            CHECK_EQ(table_whole(t), table_whole(first));
        if (first && table_whole(t))
            check_same(first, t);
        if (table_whole(t))
            check_used(t);
        first = t;
    }
}

/* -- messages -------------------------------------------------------------- */

static void send(struct group *g, uint32_t node, const void *bytes,
                 size_t count)
{
    struct message *msg = &g->queue[g->tail++ % QUEUE];

    ASSERT(g->tail - g->head <= QUEUE);
    *msg = (struct message){node, count, malloc(count)};
    ASSERT(msg->bytes);
    memcpy(msg->bytes, bytes, count);
}

static unsigned count_used(const struct table *t)
{
    unsigned used = 0;

    for (unsigned i = 0; i < t->count; i++)
        used += t->records[i].used;
    return used;
}

static void deliver_to(unsigned host, const struct message *msg,
                       struct table_news *ret_news)
{
    struct table *t = &m.tables[host];
    unsigned used = count_used(t);
    struct diag why;

    CHECK_OK(
        table_deliver(t, msg->node, msg->bytes, msg->count, ret_news, &why));
    if (ret_news->decided)
        CU_ASSERT_TRUE(count_used(t) + (ret_news->verdict == TABLE_REMOVED) >=
                       used);
}

/* The next message to all of the group; `but` of them do not hear it. */
static void deliver(struct group *g, uint64_t but)
{
    struct message msg = g->queue[g->head++ % QUEUE];
    struct table_news news, first = {.decided = false};

    for (unsigned h = 0; h < HOSTS; h++) {
        if (!is_in(g, h) || but & table_node(h + 1))
            continue;
        deliver_to(h, &msg, &news);
        if (first.decided)
            CHECK_EQ(news.verdict, first.verdict);
        first = news;
    }
    m.decided += first.decided;
    m.added += first.decided && first.verdict == TABLE_ADDED;
    m.refused += first.decided && first.verdict > TABLE_REMOVED;
    free(msg.bytes);
    if (!but)
        check_group(g);
}

/* -- what happens ---------------------------------------------------------- */

/* A host says the next of what it has to tell, if it has. */
static void tell(unsigned host)
{
    static uint8_t bytes[TABLE_MESSAGE_BYTES];
    size_t count = table_say_known(&m.tables[host], &m.said[host], bytes);

    if (count)
        send(m.group_of[host], host + 1, bytes, count);
}

/* The end of what was said in a group is heard by some only. */
static void break_up(struct group *g)
{
    unsigned heard = pick(4);
    uint64_t but = pick(1u << HOSTS);

    for (; g->head != g->tail; heard -= heard > 0) {
        if (heard)
            deliver(g, but);
        else
            free(g->queue[g->head++ % QUEUE].bytes);
    }
    g->nodes = 0;
}

static void restart(unsigned host)
{
    struct table *t = &m.tables[host];
    json_t *json = table_to_json(t);
    struct diag why;

    table_fini(t);
    ASSERT(!table_init(t));
    CHECK_OK(table_from_json(t, json, &why));
    json_decref(json);
}

/* All views end, and hosts meet in others; now and then one was restarted. */
static void new_views(unsigned groups)
{
    for (unsigned i = 0; i < HOSTS; i++)
        break_up(&m.groups[i]);
    if (!pick(3))
        restart(pick(HOSTS));
    for (unsigned h = 0; h < HOSTS; h++) {
        m.group_of[h] = &m.groups[pick(groups)];
        m.group_of[h]->nodes |= table_node(h + 1);
        m.said[h] = 0;
    }
    for (unsigned h = 0; h < HOSTS; h++) {
        const struct group *g = m.group_of[h];

        table_view(&m.tables[h], m.view + (uint64_t)(g - m.groups), g->nodes,
                   __builtin_popcountll(g->nodes) > HOSTS / 2);
    }
    m.view += HOSTS;
}

/* The first that only lacks a number. */
static const struct table_record *needs_number(const struct table *t)
{
    for (unsigned i = 0; i < t->count; i++) {
        const struct table_record *r = &t->records[i];

        if (!r->entry.removed && !r->used && r->out == TABLE_REFUSED_NUMBER)
            return r;
    }
    return NULL;
}

static void propose(unsigned host)
{
    struct table_entry e = {
        .uuid = {0, 7, [15] = (uint8_t)pick(VOLUMES)}
    };
    const struct table_record *r = needs_number(&m.tables[host]);
    static uint8_t bytes[TABLE_MESSAGE_BYTES];
    struct diag why;

    snprintf(e.name, sizeof e.name, "vol%u", pick(NAMES));
    snprintf(e.url, sizeof e.url, "/dev/%u", pick(NAMES));
    e.removed = !pick(3);
    if (r && pick(2))
        e = r->entry;
    if (table_propose(&m.tables[host], host + 1, &e, &why))
        return;
    send(m.group_of[host], host + 1, bytes, table_say_new(&e, bytes));
}

static void step(void)
{
    unsigned host = pick(HOSTS), what = pick(100);
    struct group *g = m.group_of[host];

    if (what < 3) {
        new_views(1 + pick(3));
    } else if (what < 30) {
        tell(host);
    } else if (what < 60) {
        propose(host);
    } else if (g->head != g->tail) {
        deliver(g, 0);
    }
}

/* All meet and tell; whoever lacks a number gets one. */
static void all_meet(void)
{
    struct group *g;

    new_views(1);
    g = m.group_of[0];
    for (unsigned h = 0; h < HOSTS; h++)
        tell(h);
    while (g->head != g->tail)
        deliver(g, 0);
    for (unsigned i = 0; i < VOLUMES; i++) {
        const struct table_record *r = needs_number(&m.tables[0]);
        static uint8_t bytes[TABLE_MESSAGE_BYTES];
        struct table_entry e;

        if (!r)
            break;
        e = r->entry;
        CHECK_OK(table_propose(&m.tables[0], 1, &e, NULL));
        send(g, 1, bytes, table_say_new(&e, bytes));
        deliver(g, 0);
    }
    CU_ASSERT_PTR_NULL(needs_number(&m.tables[0]));
    for (unsigned h = 0; h < HOSTS; h++)
        CHECK_EQ(table_whole(&m.tables[h]), true);
    check_group(g);
}

static void run(uint64_t seed)
{
    m.random = seed * 0x9e3779b97f4a7c15u | 1;
    for (unsigned h = 0; h < HOSTS; h++)
        ASSERT(!table_init(&m.tables[h]));
    new_views(HOSTS); /* pasts of their own */
    for (unsigned i = 0; i < STEPS; i++)
        step();
    all_meet();
    break_up(m.group_of[0]);
    for (unsigned h = 0; h < HOSTS; h++)
        table_fini(&m.tables[h]);
}

static void hosts_that_meet_have_one_table(void)
{
    m.decided = m.added = m.refused = 0;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        unsigned failures = CU_get_number_of_failures();

        run(seed);
        if (CU_get_number_of_failures() != failures) {
            printf("seed %llu\n", (unsigned long long)seed);
            return;
        }
    }
    /* it was no idle talk */
    CU_ASSERT_TRUE(m.added > 5 * RUNS);
    CU_ASSERT_TRUE(m.refused > RUNS);
}

static const struct test tests[] = {
    TEST(hosts_that_meet_have_one_table),
};
TEST_SUITE("lunard/table model", tests);
