/* tests/unit/lockmgr/cpg_model.h - cpg, libquorum and hosts, as far as
 * membership can tell: many cores in one process, no time, no threads.
 *
 * A host is up or down; hosts that reach each other are a partition with a
 * ring.  What a process sends waits in its outbox until the partition orders
 * it: then it is in the inbox of each process there.  Processes take what is
 * in their inboxes at their own pace.  When a partition breaks, a side may
 * miss the last messages that nobody on it has taken.  Quorum comes by another
 * way and has no place in the order.
 *
 * After each event the views of all that are in one are compared, and nothing
 * missing may be forgotten unless it was declared fenced.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_LOCKMGR_CPG_MODEL_H
#define LUNAR_TESTS_UNIT_LOCKMGR_CPG_MODEL_H

#include "lockmgr/member_core.h"

enum { MODEL_HOSTS_MAX = 7, MODEL_SUSPECT_TICKS = 4 };

struct model;

struct model *model_new(unsigned hosts, uint64_t seed);
void model_free(struct model *m);
bool model_failed(const struct model *m); /* it has said why */
uint64_t model_random(struct model *m, uint64_t below);
/* Both halves of two hosts have quorum. */
void model_two_node(struct model *m);

/* -- the world; hosts are 1… ----------------------------------------------- */
void model_start(struct model *m, uint32_t host);  /* a new incarnation */
void model_set_key(struct model *m, uint64_t key); /* of who starts next */
void model_start_as(struct model *m, uint32_t host, uint64_t incarnation,
                    uint8_t installation);
void model_kill(struct model *m, uint32_t host);
void model_stop(struct model *m, uint32_t host); /* SIGSTOP */
void model_continue(struct model *m, uint32_t host);
/* corosync of that host dies; its process is told, and comes back with it. */
void model_cut(struct model *m, uint32_t host);
void model_uncut(struct model *m, uint32_t host);
/* Hosts with equal numbers in `side` reach each other; [0] is host 1. */
void model_partition(struct model *m, const unsigned *side);
void model_heal(struct model *m);
/* A process that cpg lists and that never says anything. */
void model_ghost(struct model *m, uint32_t host);
void model_ask(struct model *m, uint32_t host, enum member_event_type what,
               uint32_t about, uint64_t incarnation);
void model_send(struct model *m, uint32_t host, const char *text);

/* -- its running ----------------------------------------------------------- */
bool model_step(struct model *m);   /* one event somewhere; false: all quiet */
void model_tick(struct model *m);   /* for everybody */
void model_settle(struct model *m); /* until all is quiet */
/* That many heartbeats, with all that comes of each. */
void model_beats(struct model *m, unsigned count);

/* -- what can be seen ------------------------------------------------------ */
bool model_is_running(const struct model *m, uint32_t host);
const struct member_core *model_core(const struct model *m, uint32_t host);
uint64_t model_incarnation(const struct model *m, uint32_t host);
/* All that `host` was delivered, each text and a space. */
const char *model_heard(const struct model *m, uint32_t host);
/* The reason with which it ended. */
const char *model_why(const struct model *m, uint32_t host);
/* "1 2 | lost 3 | missing 4", for whoever has a view. */
const char *model_view(struct model *m, uint32_t host);
/* All running ones that have not ended are in one view, and in it only they;
 * whoever they had in a view is accounted for. */
void model_check_converged(struct model *m);

#endif
