/* lockmgr/member_settle.h - between member_core.c and member_settle.c: who is
 * who in the core's state, and sending.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MEMBER_SETTLE_H
#define LUNAR_LOCKMGR_MEMBER_SETTLE_H

#include "lockmgr/member_core.h"

bool core_ring_same(struct member_ring a, struct member_ring b);
bool core_is_me(const struct member_core *core, const struct member_id *id);
struct member_record *core_my_record(struct member_core *core);
struct member_core_process *core_find_process(struct member_core *core,
                                              uint32_t node, uint32_t pid);
/* The record of what a process announced; NULL: it has not. */
struct member_record *core_record_of(struct member_core *core,
                                     const struct member_core_process *p);
/* Its process has gone; if it is there again it may still announce itself. */
bool core_is_gone(struct member_core *core, const struct member_record *r);
/* Was in a view, and left without a word. */
bool core_is_lost(struct member_core *core, const struct member_record *r);
bool core_is_dead(const struct member_record *r);
/* A process that is to be heard: not of our view, and not done with. */
bool core_is_foreign(struct member_core *core,
                     const struct member_core_process *p);
bool core_any_foreign(struct member_core *core);
/* corosync says so of the very ring that cpg is in. */
bool core_has_quorum_here(const struct member_core *core);
/* May this node decide about others now? */
bool core_may_condemn(const struct member_core *core);
/* core->out with its header filled in. */
struct member_message *core_message(struct member_core *core,
                                    enum member_message_type type);
void core_emit(struct member_effects *fx, const struct member_message *m);
void core_end(struct member_core *core, struct member_effects *fx,
              enum member_end how, const char *why);
/* What was sent may not have counted: the ring or the view was another one. */
void core_condemn_again(struct member_core *core);
/* What every event may have made necessary. */
void core_settle(struct member_core *core, struct member_effects *fx);

#endif
