/* tests/sim/node.h - a host of the simulator that runs Lunar's cores.
 *
 *   node.c           runs, views (stands in for membership), messages
 *   node_lun.c       sessions, commands, the one writer of a node block
 *   node_fence.c     shell of lockmgr's fence
 *   node_takeover.c  shell of lockmgr's takeover, and of its metadata
 *   work.c           disks that are written, handed on; what all must keep
 *   redirect.c       writes by way of the coordinator; the path to a LUN
 *
 * Shells do what effects say and nothing else: where a shell could hide a
 * mistake of a core it is as stupid as it can be.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_SIM_NODE_H
#define LUNAR_TESTS_SIM_NODE_H

#include "lockmgr/lockmgr.h"
#include "tests/sim/target.h"

enum {
    NODE_CLUSTER = 7,
    NODE_FENCES_MAX = 32,      /* at once, of a LUN */
    NODE_OPERATOR_S = 5,       /* until an alarm is answered by confirm-dead */
    NODE_TRIES_MAX = 30,       /* of a command that meets unit attentions */
    NODE_SUSPECT_MS = 4000,    /* an answer is owed too long */
    NODE_IO_SUSPECT_MS = 3000, /* … by a LUN */
    NODE_HINT_MS = 1000,       /* for others to lose it, too */
    NODE_PROOF_MS = 500,       /* a path that is back */
    NODE_BEAT_MS = 500,        /* heartbeats of reactor 0, by cpg */
    /* blocks of a LUN */
    NODE_BLOCKS_AT = 0, /* of host h: h, and its second copy 16 + h */
    NODE_SUPER_AT = 34, /* two copies */
    NODE_META_AT = 40,
    NODE_DISKS_AT = 64,
    NODE_DISKS = 4, /* of a LUN */
    NODE_DISK_BLOCKS = 2,
};

enum node_message_kind {
    MSG_ANNOUNCED,
    MSG_RESIGNED,
    MSG_REPORTED,
    MSG_CONFIRM,
    MSG_CONFIRMED,
    MSG_CONSENT_ASKED,
    MSG_CONSENTED,
    MSG_RESERVED,
    MSG_ARBITER_WON,
    MSG_UNRESERVED,
    MSG_LAST_REPEATED = MSG_UNRESERVED, /* after a connection broke */
    MSG_FENCED,                         /* .run is */
    MSG_FENCE_ASKED,                    /* .run gave its key of .turn up */
    MSG_PATH_FENCED,                    /* .run's keys up to .turn are */
    MSG_WRITE,                          /* redirected: .disk, .block, .id … */
    MSG_WRITTEN,                        /* it is, .disk, .id */
    MSG_GRANT,                          /* of a disk, to .run */
    /* by cpg */
    MSG_BEAT,
    MSG_TABLE, /* .accused: what I know of who is out */
    MSG_ACCUSED,
    MSG_PATH,
};
struct node_message {
    enum node_message_kind kind;
    uint32_t lun;
    struct lm_run from;
    struct lm_run run; /* of whom it speaks */
    uint64_t epoch, view_id, key;
    uint32_t turn, to;
    uint32_t disk, disks; /* GRANT; REPORTED: bit per disk that is held */
    uint32_t block;       /* WRITE */
    uint64_t id, version; /* WRITE, WRITTEN */
    bool opened, yes;
    uint64_t base; /* TABLE, ACCUSED: node.base of the sender */
    uint64_t accused[SIM_SENDERS];
};
struct node;
struct volume;
struct ask;
typedef void answered_fn(struct ask *a, enum lun_answer answer);

/* As fs/node.c writes it: in turn to two copies. */
struct node_copy {
    uint64_t sequence; /* even: the first one */
    struct node_block block;
    uint64_t sum;
};

/* A question to a LUN, and who hears the answer. */
struct ask {
    struct list node; /* of volume.pending */
    struct sim_command command;
    struct volume *volume;
    uint32_t ticket, tries;
    bool own;    /* the nexus asks: also before it is admitted */
    bool once;   /* a write under layouts: not sent again behind its back */
    bool reread; /* a copy of a node block was being written */
    answered_fn *answered;
    void *arg;
};

/* A change of this node's block: they are written one after the other. */
struct block_change {
    struct list node;
    void (*apply)(struct block_change *change, struct node_block *own);
    bool own; /* the nexus' */
    const struct node_fenced *fenced;
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
    struct volume *volume;
    struct fence core;
    struct sim_event timer; /* the operator, or the agent */
    uint32_t ticket;
    bool used;
};

/* Takeover's timer, and the operator's. */
struct suspicion {
    struct sim_event event;
    struct volume *volume;
    uint32_t life;
    struct lm_run run; /* is it off? */
};

/* A disk is written: one write after the other, each until it is answered. */
struct work_write {
    struct sim_event event; /* the next one */
    struct list node;       /* of volume.waiting: not sent, or not answered */
    struct volume *volume;
    uint32_t disk, block;
    uint64_t id, version;
    bool tried;
};

/* A LUN as one run of a host has it. */
struct volume {
    struct node *node;
    uint32_t lun;
    struct sim_session *session;
    uint32_t session_life; /* grows with each login */
    bool drained, owes_drain, alarmed;
    bool path;     /* there is a way to the LUN */
    bool admitted; /* the nexus was, once in this run */
    bool told_path;
    uint64_t told_ns, heard_ns, up_ns;
    bool redirected;      /* nexus.h: NEXUS_DO_REDIRECT */
    struct list away;     /* writes that the coordinator has; work_write.node */
    struct list carried;  /* of others, at the coordinator */
    uint32_t carried_out; /* … and not done */
    uint64_t refused[SIM_SENDERS]; /* of these incarnations nothing is taken */
    struct sim_event login;
    uint32_t in_flight;      /* on this session */
    struct ask *registering; /* REGISTER, for when nothing is */
    struct nexus nexus;
    struct takeover takeover;
    struct lm_view view;
    struct fence_job *fence[NODE_FENCES_MAX];
    struct node_block own;
    bool own_known;
    struct node_message sent[SIM_SENDERS][MSG_LAST_REPEATED + 1];
    struct list pending; /* questions, for when the nexus is admitted */
    struct list changes; /* the first one is being written */
    bool writing;
    struct ask *block_ask; /* the question that writes it */
    uint64_t sequence;     /* of the last node block that is durable */
    struct node_copy copy;
    /* coordinator */
    bool open;
    uint32_t meta_out; /* metadata writes in flight */
    uint64_t meta_version;
    struct ask *meta_waiting; /* not answered: for an open nexus */
    uint32_t close_ticket;
    bool closing;
    uint32_t timer_life;
    uint64_t idle_ns; /* since then nobody coordinates */
    uint32_t room;    /* for keys, as takeover asked */
    /* workload */
    struct list waiting;
    uint32_t holds;               /* bit per disk: granted to this run */
    uint64_t fenced[SIM_SENDERS]; /* incarnations that this node fenced */
};

struct node {
    struct sim_host *host;
    struct lm_run me;
    struct sim_view cpg; /* as delivered */
    bool quorate;
    struct lm_view view;
    /* The same at all who are in one place of the order of their ring. */
    uint64_t base;   /* the place where last somebody joined */
    uint64_t heard;  /* bit (host - 1): its TABLE of this base came */
    uint64_t silent; /* … it is not waited for */
    bool primary;    /* the view was made where there is quorum */
    bool was_in;     /* once in a view with quorum */
    uint64_t accused[SIM_SENDERS]; /* incarnations up to this are out */
    uint64_t heard_ns[SIM_SENDERS];
    uint64_t paths[SIM_LUNS_MAX]; /* bit (host - 1): it was admitted there */
    uint64_t blind[SIM_LUNS_MAX]; /* it says that it has lost the LUN */
    uint64_t full_paths[SIM_LUNS_MAX], full_members; /* last full view */
    uint64_t missing[SIM_SENDERS]; /* incarnations that left: for I14 */
    uint32_t lost; /* bit per host: a connection broke since the last beat */
    bool over;     /* fenced: this run ends (I11) */
    struct volume volume[SIM_LUNS_MAX];
    struct sim_event beat, end;
};

/* What a scenario asks for. */
struct world_options {
    uint32_t hosts, luns;
    struct sim_target_options target;
    struct sim_cpg_options cpg;
    struct sim_net_options net;
    bool work; /* disks are written */
    /* A run registers before membership has it: the others take it for a
     * stranger and may fence it.  It costs a run, no promise. */
    bool eager;
};

/* Hosts up, LUNs reserved by whom takes them over first, disks written. */
void world_init(struct sim *s, const struct world_options *o);
/* End all faults; then everybody must get on within `limit_ns`: one serves
 * each LUN, all know it, each nexus carries, each disk is written. */
void world_settle(struct sim *s, uint64_t limit_ns);
/* The same for some (bit host - 1), while faults go on. */
void world_expect(struct sim *s, uint64_t members, uint64_t limit_ns);
/* That one serves LUN 0 within `limit_ns`, and each disk of it is written,
 * while faults go on. */
void world_serves(struct sim *s, uint32_t host, uint64_t limit_ns);
struct node *world_node(struct sim *s, uint32_t host); /* NULL: down */
/* Down, and about to begin a new run by itself? */
bool world_ends(const struct sim *s, uint32_t host);
/* Host and path, back or gone: membership is told. */
void world_path(struct sim *s, uint32_t lun, uint32_t host, bool there);

/* -- node.c ---------------------------------------------------------------- */
void node_send(struct volume *v, uint32_t to, struct node_message m);
void node_send_all(struct volume *v, struct node_message m); /* not to itself */
/* Tell all whether this node reaches the LUN. */
void node_path(struct volume *v);
void node_accuse(struct node *n, struct lm_run run);
/* It is fenced: it is in no view any more (I11). */
void node_declare_fenced(struct node *n, struct lm_run run);
/* The run is over: it ends, and a new one begins after a while. */
void node_end(struct node *n, const char *why);
/* node_takeover.c takes what came. */
void shell_lost(struct sim_host *h, uint32_t peer);
void shell_repeat(struct volume *v); /* to those whose connection broke */
void shell_message(struct volume *v, const struct node_message *m);

/* -- node_lun.c ------------------------------------------------------------ */
void lun_start(struct volume *v);
void lun_login(struct volume *v); /* the first time */
/* Now and then: a session that broke is made anew. */
void lun_beat(struct volume *v);
void lun_ask(struct volume *v, struct ask *a); /* allocated by the caller */
struct ask *lun_ask_new(struct volume *v, enum sim_op op, uint32_t ticket,
                        answered_fn *answered, void *arg);
void lun_change_block(struct volume *v, const struct block_change *change);
void lun_nexus(struct volume *v, const struct nexus_event *event);
void lun_look(struct volume *v); /* READ KEYS, and be admitted anew */
void lun_drop(struct volume *v); /* end the session */
struct node_blocks *lun_blocks(struct ask *a); /* of an answered SIM_READ */
/* False: torn, or never written. */
bool lun_copy(const void *bytes, size_t length, struct node_copy *ret_copy);
struct lm_keys lun_keys(const struct ask *a, uint32_t room);

/* -- node_fence.c ---------------------------------------------------------- */
void fence_begin(struct volume *v, const struct lm_target *target);
void fence_beat(struct volume *v);
void fence_tell(struct volume *v, enum fence_event_kind kind); /* to all jobs */
/* -- node_takeover.c ------------------------------------------------------- */
void shell_start(struct volume *v);
void shell_open(struct volume *v); /* the nexus carries */
void shell_beat(struct volume *v); /* metadata is written */
void shell_takeover(struct volume *v, const struct takeover_event *event);

/* -- redirect.c ------------------------------------------------------------ */
void redirect_start(struct volume *v);
/* The path to the LUN, asked and told of; what was not answered, again. */
void redirect_beat(struct volume *v);
bool redirect_has_path(const struct volume *v);
void redirect_ask_fence(struct volume *v);
/* By way of the coordinator, until it is answered. */
void redirect_write(struct work_write *w);
void redirect_message(struct volume *v, const struct node_message *m);
void redirect_open(struct volume *v); /* the nexus carries: what waits */
/* Nothing of others that is not at the LUN gets there: returns how many. */
uint32_t redirect_drop(struct volume *v);
/* F4: of that run nothing is taken any more.  True: and nothing is out. */
bool redirect_refuse(struct volume *v, struct lm_run run);
void shell_idle(struct volume *v);        /* node_takeover.c: may it close? */
void work_answered(struct work_write *w); /* work.c: is durable */

/* -- work.c ---------------------------------------------------------------- */
void work_init(struct sim *s, const struct world_options *o);
void work_start(struct volume *v);
void work_open(struct volume *v); /* the nexus carries: send what waits */
void work_beat(struct volume *v); /* the coordinator gives disks away */
void work_granted(struct volume *v, const struct node_message *m);
void work_reported(struct volume *v, const struct node_message *m);
void work_opens(struct volume *v, uint64_t epoch); /* the database (I4) */
void work_serves(struct volume *v);
void work_release(struct volume *v, const struct lm_target *target);
void work_check(struct sim *s);
uint64_t work_grants(struct sim *s); /* sent so far */
const struct world_options *work_options(const struct sim *s);
/* NULL: each disk of the LUN was written since; else which was not. */
const char *work_unwritten(struct sim *s, uint32_t lun, uint64_t since_ns);
/* Do all of `members` (bit host - 1) carry, know one coordinator, and is each
 * disk written? */
bool work_gets_on(struct sim *s, uint64_t members, uint64_t since_ns,
                  const char **ret_why);

#endif
