/* tests/unit/lockmgr/takeover_world.c - a takeover that hears what it asked
 * for, of a LUN and nodes that are as the test says.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/takeover_world.h"

#include <string.h>

struct takeover t;
struct takeover_effects fx;
struct node_blocks blocks;
struct lm_view view;
uint64_t listed[8];
uint32_t listed_count;
enum lm_reservation type;
uint64_t super_epoch;

struct lm_run run_of(uint32_t node)
{
    return (struct lm_run){node, 100 + node};
}

uint64_t key_of(uint32_t node)
{
    return lm_key_make(CLUSTER, run_of(node), 0);
}

static void joins(uint32_t node)
{
    struct node_block *own = &blocks.node[node - 1];

    node_block_join(own, &(struct node_fenced){{0}}, run_of(node),
                    key_of(node));
    listed[listed_count++] = key_of(node);
}

/* An event with all that could be asked of it. */
struct takeover_event about(enum takeover_event_kind kind, uint32_t node)
{
    return (struct takeover_event){
        .kind = kind,
        .ticket = t.ticket,
        .view = &view,
        .blocks = &blocks,
        .super_epoch = super_epoch,
        .keys = {listed, listed_count,  listed_count},
        .type = type,
        .key = kind == TAKEOVER_EV_KEYS_READ ? key_of(ME) : key_of(node),
        .run = run_of(node),
        .target = {.run = run_of(node),      .turn = LM_TURN_ALL},
        .epoch = t.epoch,
        .view_id = view.id,
    };
}

void hear_of(enum takeover_event_kind kind, uint32_t node)
{
    struct takeover_event ev = about(kind, node);

    takeover_step(&t, &ev, &fx);
}

void hear(enum takeover_event_kind kind)
{
    hear_of(kind, ME);
}

void sees(uint64_t members)
{
    view.id++;
    view.quorate = true;
    view.members = view.paths = members;
    for (uint32_t node = 1; node <= 4; node++)
        view.incarnation[node - 1] = run_of(node).incarnation;
    hear(TAKEOVER_EV_VIEW);
}

const struct takeover_effect *does(enum takeover_effect_kind kind)
{
    for (uint32_t i = 0; i < fx.count; i++)
        if (fx.list[i].kind == kind)
            return &fx.list[i];
    return NULL;
}

/* The effect that must be there. */
struct takeover_effect the(enum takeover_effect_kind kind)
{
    struct takeover_effect effect = {0};
    bool is_there = false;

    for (uint32_t i = 0; i < fx.count && !is_there; i++) {
        is_there = fx.list[i].kind == kind;
        if (is_there)
            effect = fx.list[i];
    }
    CU_ASSERT_TRUE(is_there);
    return effect;
}

void is_in(enum takeover_state state)
{
    CHECK_STR(takeover_state_name(t.state), takeover_state_name(state));
}

/* Nodes 1 to 3 have the LUN open; node 1 is elected whenever it is there. */
void setup_as(uint32_t node)
{
    struct takeover_args args = {.me = run_of(node),
                                 .cluster = CLUSTER,
                                 .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS};
    const struct lm_view all = {.members = 0xf, .paths = 0xf};

    memset(&blocks, 0, sizeof blocks);
    memset(&view, 0, sizeof view);
    view.arbiter = true;
    listed_count = 0;
    super_epoch = 0;
    type = LM_EXCLUSIVE_ACCESS_REGISTRANTS;
    for (uint32_t i = 1; i <= 3; i++)
        joins(i);
    while (takeover_elect(&all, args.volume, 0) != ME)
        args.volume[0]++;
    takeover_init(&t, &args);
}

void setup(void)
{
    setup_as(ME);
}

void hear_all(const enum takeover_event_kind *kinds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hear(kinds[i]);
}

void claim_epoch(void)
{
    static const enum takeover_event_kind kinds[] = {TAKEOVER_EV_BLOCKS_READ,
                                                     TAKEOVER_EV_BLOCK_WRITTEN};

    is_in(TAKEOVER_CLAIM_READ);
    hear_all(kinds, ARRAY_LEN(kinds));
    node_block_claim(&blocks.node[ME - 1], CLAIM_HELD, t.epoch);
    is_in(TAKEOVER_CLAIM_CHECK);
}

void come_to_reports(void)
{
    static const enum takeover_event_kind kinds[] = {
        TAKEOVER_EV_BLOCKS_READ, TAKEOVER_EV_RESERVATION_READ,
        TAKEOVER_EV_KEYS_READ, TAKEOVER_EV_SUPER_WRITTEN, TAKEOVER_EV_OPENED};

    claim_epoch();
    hear_all(kinds, ARRAY_LEN(kinds));
    is_in(TAKEOVER_REPORTING);
}

void serve_three(void)
{
    setup();
    sees(7);
    come_to_reports();
    hear_of(TAKEOVER_EV_REPORTED, 2);
    hear_of(TAKEOVER_EV_REPORTED, 3);
    hear(TAKEOVER_EV_KEYS_READ);
    is_in(TAKEOVER_SERVING);
}

/* Another node says something of an epoch. */
void hear_epoch(enum takeover_event_kind kind, uint32_t node, uint64_t epoch,
                bool opened)
{
    struct takeover_event ev = about(kind, node);

    ev.epoch = epoch;
    ev.opened = opened;
    takeover_step(&t, &ev, &fx);
}
