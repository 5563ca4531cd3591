/* lunard/guard_private.h - the inside of a guard; for guard*.c only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_GUARD_PRIVATE_H
#define LUNAR_LUNARD_GUARD_PRIVATE_H

#include "lunard/guard.h"

#include "base/list.h"

enum {
    GUARD_TRIES_AT_ONCE = 8, /* of a question that meets unit attentions */
    GUARD_TRIES_MAX = 30,    /* … or BUSY */
    GUARD_AGAIN_MS = 50,
    GUARD_WORDS = WORD_PATH_FENCED + 1,
    GUARD_PROOF_MS = 1000,      /* a session is up: a path that is back */
    GUARD_PROOF_MAX_MS = 60000, /* … of one that comes and goes: doubled */
    GUARD_LASTED_MS = 60000,    /* carried for so long, it is a good one */
    GUARD_HINT_MS = 1000,  /* for others to say that they have lost it, too */
    GUARD_RETELL_MS = 3000 /* told, and not delivered by then: again */
};

struct ask;
typedef void answered_fn(struct ask *a, enum lun_answer answer);

/* A question to the LUN, and who hears the answer, in any case.  Asked once
 * more after a unit attention; freed after `answered`. */
struct ask {
    struct list node; /* guard.pending */
    struct task task; /* to answer later what cannot be sent */
    struct timer again;
    struct lun_pr pr;
    struct guard *guard;
    uint32_t ticket, tries;
    bool own; /* the nexus asks: also before it is admitted */
    enum lun_answer answer;
    answered_fn *answered;
    void *arg;
    uint64_t *keys; /* READ KEYS */
    uint8_t *bytes; /* READ, WRITE */
};

/* A change of this node's block: they are written one after the other. */
struct block_change {
    struct list node;
    void (*apply)(const struct block_change *change, struct node_block *own);
    bool own; /* the nexus' */
    struct lm_run run;
    uint64_t key, epoch;
    enum claim claim;
    struct lm_target target;
    enum fencing_state fencing;
    uint32_t ticket;
    answered_fn *answered;
    void *arg;
};

struct fence_job {
    struct list node; /* guard.fences */
    struct guard *guard;
    struct fence core;
    struct task task; /* an answer that needs no LUN */
    uint32_t ticket;
    bool agent_asked;
};

/* The last message of its kind, and to which run of the node. */
struct guard_said {
    struct guard_message message;
    uint64_t incarnation;
};

struct guard {
    struct guard_args args;
    struct lun_ear ear;
    struct lun *lun;  /* NULL: not started */
    bool session;     /* there is one, and nothing older is in flight */
    uint64_t up_ns;   /* since then */
    uint64_t down_ns; /* since then the LUN owes a word; 0: it does not */
    bool told_path;   /* what the others know of it */
    uint64_t told_ns; /* since then */
    uint64_t open_ns; /* since then it carries, under this key */
    unsigned proof_ms;
    bool leaving;  /* this host gives the volume up */
    bool no_aptpl; /* the target has none */
    bool over;
    bool dying;    /* freed with its last question */
    unsigned asks; /* that were not answered yet */
    struct nexus nexus;
    struct takeover takeover;
    struct lm_view view;
    struct list pending; /* questions, for when the nexus is admitted */
    struct list fences;
    struct task over_task;
    const char *over_why;
    char trouble[160];

    /* guard_block.c */
    struct node_block own;
    bool own_known, flush_owed;
    uint64_t sequence;   /* of the copy of my block that counts */
    struct list changes; /* the first one is being written, if `writing` */
    bool writing;
    struct ask *block_ask; /* the question that writes it */

    /* takeover */
    struct timer suspect;
    bool was_in;      /* this run was in a view with quorum */
    bool admitted;    /* the nexus was, once in this run */
    uint64_t idle_ns; /* since then nobody coordinates */
    struct guard_said said[LM_NODES_MAX + 1][GUARD_WORDS];
    bool alarmed;         /* an operator was called, and all is not well yet */
    struct lm_run undead; /* AWAIT_DEAD: who is asked for */
    char hosts[LM_NODES_MAX][LM_HOST_NAME_MAX + 1]; /* as blocks say */
};

/* -- guard_lun.c ----------------------------------------------------------- */
/* Ask; the answer comes later.  NULL: no memory, and the answer is GONE. */
struct ask *guard_ask_new(struct guard *g, enum lun_pr_op op, uint32_t ticket,
                          answered_fn *answered, void *arg);
/* READ_KEYS, with room for so many. */
struct ask *guard_ask_keys(struct guard *g, uint32_t room, uint32_t ticket,
                           answered_fn *answered, void *arg);
/* READ, WRITE; up to bytes, which the ask has room for. */
struct ask *guard_ask_bytes(struct guard *g, enum lun_pr_op op,
                            uint64_t off_bytes, uint32_t bytes,
                            answered_fn *answered, void *arg);
void guard_ask(struct guard *g, struct ask *a);
/* Take back what was not sent yet; false: it was. */
bool guard_ask_cancel(struct ask *a);
struct lm_keys guard_keys(const struct ask *a);
void guard_lun_init(struct guard *g);
void guard_nexus(struct guard *g, const struct nexus_event *event);
void guard_look(struct guard *g); /* READ KEYS, and be admitted anew */
void guard_ask_consent(struct guard *g);
void guard_ask_fence(struct guard *g);
/* Nothing is asked any more: what waits is answered with GONE. */
void guard_lun_end(struct guard *g);

/* -- guard_block.c --------------------------------------------------------- */
typedef void blocks_fn(struct guard *g, uint32_t ticket, enum lun_answer answer,
                       const struct node_blocks *blocks, uint64_t super_epoch);
void guard_read_blocks(struct guard *g, bool own, uint32_t ticket,
                       blocks_fn *answered);
void guard_change_block(struct guard *g, const struct block_change *change);
/* Superblock: copy by copy, a flush after each. */
typedef void super_fn(struct guard *g, uint32_t ticket, enum lun_answer answer);
void guard_write_super(struct guard *g, uint64_t epoch, uint32_t ticket,
                       super_fn *answered);

/* -- guard_fence.c --------------------------------------------------------- */
void guard_fence_begin(struct guard *g, const struct lm_target *target);
void guard_fence_tell(struct guard *g, enum fence_event_kind kind);
void guard_fence_confirm_dead(struct guard *g, struct lm_run run);
void guard_fence_beat(struct guard *g);
void guard_fence_on_agent(struct guard *g, struct lm_run run, bool off);
void guard_fences_end(struct guard *g);

/* -- guard_path.c ---------------------------------------------------------- */
uint64_t guard_now_ns(const struct guard *g);
/* Does this host reach the LUN, as it tells the others? */
bool guard_has_path(const struct guard *g);
void guard_path_beat(struct guard *g);
void guard_path_opens(struct guard *g);
/* The LUN has been silent for so long. */
bool guard_is_silent(const struct guard *g, uint64_t ms);

/* -- guard.c --------------------------------------------------------------- */
void guard_takeover(struct guard *g, const struct takeover_event *event);
void guard_send(struct guard *g, uint32_t to, const struct guard_message *m);
/* To all others, and to ourselves. */
void guard_send_all(struct guard *g, const struct guard_message *m);
void guard_end_run(struct guard *g, const char *why);

#endif
