/* tests/unit/lockmgr/cpg_model_private.h - what a model is made of.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_LOCKMGR_CPG_MODEL_PRIVATE_H
#define LUNAR_TESTS_UNIT_LOCKMGR_CPG_MODEL_PRIVATE_H

#include "tests/unit/lockmgr/cpg_model.h"

enum {
    PROCESSES_MAX = 400, /* over a model's life */
    EVENTS_MAX = 1 << 18,
    TEXT_BYTES = 512
};

/* What the order holds: a message, or a change of processes and ring. */
struct entry {
    struct entry *next;
    unsigned number; /* the same event has the same one everywhere */
    unsigned references;
    enum member_event_type type;
    struct member_process list[MEMBER_PROCESSES_MAX], stopped[1];
    unsigned count, stopped_count;
    struct member_ring ring;
    bool quorate;
    struct member_process from;
    size_t bytes_count;
    uint8_t bytes[];
};

struct box {
    struct entry *slots[2048];
    unsigned head, tail;
};

struct process {
    struct member_process p;
    uint64_t incarnation;
    bool running, ghost, stopped;
    bool listed; /* by cpg */
    struct member_core *core;
    struct box inbox, outbox, quorum;
    unsigned taken; /* number of the last event */
    char heard[TEXT_BYTES], why[DIAG_TEXT_BYTES], view[TEXT_BYTES];
    bool ever[PROCESSES_MAX];    /* had in a view */
    bool missing[PROCESSES_MAX]; /* had as missing */
};

struct model {
    unsigned hosts;
    uint64_t seed, random;
    bool two_node, failed;
    unsigned part[MODEL_HOSTS_MAX + 1]; /* its partition; 0: down */
    unsigned parts;
    struct member_ring ring[MODEL_HOSTS_MAX + 1];
    uint64_t ring_seq, incarnations;
    uint64_t key; /* of who starts from now on */
    unsigned events;
    struct process *processes[PROCESSES_MAX];
    unsigned process_count;
    bool fenced[PROCESSES_MAX], goodbye[PROCESSES_MAX];
    struct member_view *views[EVENTS_MAX]; /* after each event */
    struct member_effects fx;
};

void model_fail(struct model *m, const struct process *p, const char *what);
struct process *model_find(const struct model *m, uint32_t node,
                           uint64_t incarnation, unsigned *ret_at);
/* NULL: none runs there. */
struct process *model_running(const struct model *m, uint32_t host);
/* The last one that ran there. */
struct process *model_latest(const struct model *m, uint32_t host);
const struct member_gone *model_gone(const struct member_view *v,
                                     const struct member_id *id);
bool model_same_view(const struct member_view *a, const struct member_view *b);

#endif
