/* tests/unit/lockmgr/takeover_world.h - a takeover, and what its shell would
 * tell it.  Has one of each, for one test at a time.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_LOCKMGR_TAKEOVER_WORLD_H
#define LUNAR_TESTS_UNIT_LOCKMGR_TAKEOVER_WORLD_H

#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

enum { CLUSTER = 7, ME = 1 };

extern struct takeover t;
extern struct takeover_effects fx; /* of the last event */
extern struct node_blocks blocks;
extern struct lm_view view;
extern uint64_t listed[8]; /* keys */
extern uint32_t listed_count;
extern enum lm_reservation type;
extern uint64_t super_epoch;

struct lm_run run_of(uint32_t node);
uint64_t key_of(uint32_t node);
/* An event with all that could be asked of it. */
struct takeover_event about(enum takeover_event_kind kind, uint32_t node);
void hear_of(enum takeover_event_kind kind, uint32_t node);
void hear(enum takeover_event_kind kind);
void sees(uint64_t members);
const struct takeover_effect *does(enum takeover_effect_kind kind);
/* The effect that must be there. */
struct takeover_effect the(enum takeover_effect_kind kind);
void is_in(enum takeover_state state);
/* Nodes 1 to 3 have the LUN open; node 1 is elected whenever it is there. */
void setup_as(uint32_t node);
void setup(void);
void hear_all(const enum takeover_event_kind *kinds, size_t count);
void claim_epoch(void);
void come_to_reports(void);
void serve_three(void);
/* Another node says something of an epoch. */
void hear_epoch(enum takeover_event_kind kind, uint32_t node, uint64_t epoch,
                bool opened);

#endif
