/* tests/sim/target_private.h - what the parts of the target share.
 * Seen by target*.c only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_SIM_TARGET_PRIVATE_H
#define LUNAR_TESTS_SIM_TARGET_PRIVATE_H

#include "tests/sim/target.h"

enum { FENCED_MAX = 256, ATTENTIONS_MAX = 8 };

struct it_nexus {
    uint32_t host, index;
    bool is_up; /* has a session */
    bool registered;
    uint64_t key;
    uint32_t attentions[ATTENTIONS_MAX], attention_count;
};

enum task_state { TASK_ON_ITS_WAY, TASK_QUEUED, TASK_RUNNING, TASK_ENDED };

struct task {
    struct sim_event arrival, turn, answer;
    struct list node; /* of the target, until it ends */
    struct sim_target *target;
    struct sim_session *session;
    struct it_nexus *nexus;
    enum task_state state;
    uint32_t read_first;        /* blocks that a READ has seen */
    bool held, due;             /* its turn came while it was held */
    struct task *awaited_by;    /* a PREEMPT AND ABORT */
    struct sim_command command; /* a copy: the run that asked may be gone */
    struct sim_command *asked;  /* NULL: nobody waits for the answer */
};

struct sim_session {
    struct sim_target *target;
    uint32_t host, index;
    bool up;
    struct it_nexus *nexus;
};

struct media_block {
    struct sim_landing last;
    bool written;
    const void *bytes;
    size_t length;
    uint64_t promised; /* version */
    /* a volatile cache holds the above; below is what power loss leaves */
    bool dirty, was_written;
    struct sim_landing durable;
    const void *durable_bytes;
    size_t durable_length;
};

struct fenced {
    uint32_t host;
    uint64_t incarnation;
};

struct sim_target {
    struct sim *sim;
    uint32_t lun;
    struct sim_target_options options;
    struct it_nexus nexus[SIM_NEXUSES_MAX];
    uint32_t nexus_count;
    struct sim_session *session[SIM_SENDERS][SIM_SESSIONS];
    struct list tasks;
    uint32_t held;    /* bit per host */
    uint32_t no_path; /* bit per host */
    uint32_t resets;  /* LOGICAL UNIT RESETs that wait */
    struct task *now; /* whose turn it is */
    /* the persistent reservation */
    uint32_t generation, type; /* 0: none */
    struct it_nexus *holder;   /* types 1, 3, 5, 6 */
    bool dangling;             /* M4 */
    struct media_block block[SIM_BLOCKS];
    struct fenced fenced[FENCED_MAX];
    uint32_t fenced_count;
};

/* target_pr.c */
void pr_run(struct sim_target *t, struct it_nexus *n, struct sim_command *c);
bool pr_allows(const struct sim_target *t, const struct it_nexus *n,
               enum sim_op op);
void pr_restart(struct sim_target *t);
void attention(struct it_nexus *n, uint32_t code);
/* PREEMPT AND ABORT: what is queued ends, what runs is waited for. */
void target_abort_nexus(struct sim_target *t, struct it_nexus *n);

/* target_media.c */
void media_land(struct sim_target *t, const struct sim_command *c,
                uint32_t first, uint32_t count, bool torn);
void media_read(struct sim_target *t, struct sim_command *c, uint32_t first,
                uint32_t count);
void media_sync(struct sim_target *t);
void media_power_fails(struct sim_target *t);

#endif
