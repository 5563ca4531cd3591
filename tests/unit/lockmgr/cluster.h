/* tests/unit/lockmgr/cluster.h - a LUN and the nodes that fight over it, in one
 * thread: nexus, fences and takeover of each, and a target that carries out
 * their commands when chance says so.
 * Knows no time; what could happen next is chosen by a seed.
 *
 * The target: keys per nexus (M1), reservations checked when a command runs
 * (M5) and lands later, a key that was preempted may be registered again (M2),
 * PREEMPT of a key that is gone conflicts (M3), RESET aborts what has not run,
 * of everybody. SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_LOCKMGR_CLUSTER_H
#define LUNAR_TESTS_UNIT_LOCKMGR_CLUSTER_H

#include "lockmgr/lockmgr.h"

enum {
    CLUSTER_NODES = 4,
    COMMANDS_MAX = 1024,
    MESSAGES_MAX = 1024,
    REGISTRATIONS_MAX = 256,
    FENCES_MAX = 8,
    VIEWS_MAX = 64,
    EPOCHS_MAX = 512,
    TARGETS_MAX = 512
};

enum command_kind {
    COMMAND_REGISTER,
    COMMAND_RECHECK,
    COMMAND_READ_BLOCKS,
    COMMAND_WRITE_BLOCK,
    COMMAND_READ_KEYS,
    COMMAND_READ_RESERVATION,
    COMMAND_RESERVE,
    COMMAND_PREEMPT,
    COMMAND_PREEMPT_ABORT,
    COMMAND_RESET,
    COMMAND_FLUSH,
    COMMAND_WRITE_SUPER,
    COMMAND_OPEN,
    COMMAND_DATA, /* a write of a guest */
    COMMAND_META  /* a write of the coordinator */
};

enum command_state {
    COMMAND_FREE,
    COMMAND_HELD,    /* in the shell, until the nexus is admitted */
    COMMAND_SENT,    /* at the target, or on the way there */
    COMMAND_RUNNING, /* a write: admitted by the target, not yet landed */
    COMMAND_RUN      /* carried out; the answer is on its way back */
};

enum asker { ASKER_NEXUS, ASKER_FENCE, ASKER_TAKEOVER, ASKER_NOBODY };

struct command {
    enum command_kind kind;
    enum command_state state;
    enum asker asker;
    uint32_t fence; /* which, of ASKER_FENCE */
    uint32_t node, life, session;
    uint32_t ticket;
    uint64_t key; /* REGISTER, PREEMPT */
    uint32_t turn;
    uint64_t epoch;
    struct node_block block; /* to be written */
    /* the answer */
    enum lun_answer answer;
    enum lm_reservation type;
    uint64_t keys[REGISTRATIONS_MAX];
    uint32_t key_count;
    struct node_blocks *blocks;
    uint64_t super_epoch;
};

struct registration {
    uint32_t session; /* the I_T nexus; 0: free */
    uint64_t key;
};

struct target {
    struct registration reg[REGISTRATIONS_MAX];
    enum lm_reservation type;
    uint32_t holder; /* session */
    struct node_blocks blocks;
    uint64_t super_epoch;
    bool can_abort, can_preempt;
};

struct message {
    bool used;
    uint64_t number; /* between two nodes they come in the order of sending */
    uint32_t from, to, from_life, to_life;
    enum takeover_event_kind kind; /* what it is to who gets it */
    struct takeover_event event;
    bool to_nexus; /* CONSENTED, RESERVED, … */
    enum nexus_event_kind nexus_kind;
    uint32_t turn;
};

struct node {
    bool alive;
    uint32_t number, life, session; /* session 0: down */
    struct lm_run run;
    struct nexus nexus;
    struct fence fence[FENCES_MAX];
    bool fence_used[FENCES_MAX];
    struct takeover takeover;
    struct node_block own; /* as it was last written or read */
    bool own_known, timer, closing;
    uint32_t closing_ticket;
    struct lm_view views[VIEWS_MAX]; /* to be delivered, in order */
    uint32_t view_count;
};

struct cluster {
    uint64_t random;
    uint32_t node_count, sessions;
    uint64_t messages;
    bool quiet; /* no more faults */
    struct target lun;
    struct node node[CLUSTER_NODES];
    struct command command[COMMANDS_MAX];
    struct message message[MESSAGES_MAX];
    uint64_t view_id;
    uint32_t side[CLUSTER_NODES]; /* who is on one side is connected */
    uint64_t accused; /* bit (node - 1): out of the view until it restarts */
    /* what must never be broken */
    struct lm_target done[TARGETS_MAX]; /* reported as fenced */
    uint32_t done_count;
    struct lm_run opened_by[EPOCHS_MAX];
    uint64_t meta_epoch; /* the highest that was written under */
    uint32_t served, fenced, path_fenced, redirected, data_accepted;
    const char *broken; /* NULL: nothing */
};

void cluster_init(struct cluster *c, uint32_t node_count, uint64_t seed);
void cluster_fini(struct cluster *c);
/* A number below `below`. */
uint32_t cluster_random(struct cluster *c, uint32_t below);

/* Do one of the things that could happen next.  False: nothing could. */
bool cluster_step(struct cluster *c);

void cluster_start(struct cluster *c, uint32_t node);
void cluster_kill(struct cluster *c, uint32_t node);
void cluster_drop_session(struct cluster *c, uint32_t node);
/* Nodes see each other that are on one side; tells everybody. */
void cluster_split(struct cluster *c, const uint32_t side[CLUSTER_NODES]);
void cluster_heal(struct cluster *c);
/* All registrations and the reservation are gone: no APTPL (F12). */
void cluster_restart_target(struct cluster *c);
/* Its session breaks, and it gives its key up, to go redirected. */
void cluster_cut(struct cluster *c, uint32_t node);
/* I13: the coordinator fences the present key of a live node. */
void cluster_path_fence(struct cluster *c, uint32_t node);

/* The node that serves; 0: none, or more than one is not told. */
uint32_t cluster_server(const struct cluster *c);

/* -- inside: cluster_target.c ---------------------------------------------- */
void target_run(struct cluster *c, struct command *cmd);
void target_land(struct cluster *c, struct command *cmd);
void target_abort(struct cluster *c, uint32_t node);

/* -- inside: cluster_nodes.c ----------------------------------------------- */
void nodes_hear(struct cluster *c, struct command *cmd);
void nodes_deliver(struct cluster *c, struct message *m);
void nodes_view(struct cluster *c, struct node *n);
void nodes_attention(struct cluster *c, uint32_t but);
void nodes_nexus_event(struct cluster *c, struct node *n,
                       const struct nexus_event *ev);
void nodes_takeover_event(struct cluster *c, struct node *n,
                          const struct takeover_event *ev);
void nodes_fence_event(struct cluster *c, struct node *n, uint32_t fence,
                       const struct fence_event *ev);
void nodes_fence(struct cluster *c, struct node *n, struct lm_target target);
struct command *nodes_command(struct cluster *c, struct node *n,
                              enum command_kind kind);

#endif
