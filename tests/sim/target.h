/* tests/sim/target.h - one LUN of a SAN target, as its initiators can see it
 * and, for the checks, as nobody can.
 *
 *   submit -> network -> QUEUED -> (PR checked) -> RUNNING -> landed -> answer
 *
 * Tasks run in any order.  A write that RUNS lands later, whatever happens to
 * its session; one that is QUEUED is checked against the reservation when its
 * turn comes.  A session that breaks takes its answers with it, not its tasks.
 * A task may be held at either place until it is let go, or for ever.
 *
 * Reservations: SPC-4, 5.12 and 6.15, with what real targets do (M1 … M5:
 * tests/sim/target_pr.c).  Content: a block knows who wrote it and when.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_SIM_TARGET_H
#define LUNAR_TESTS_SIM_TARGET_H

#include "tests/sim/sim.h"

enum {
    SIM_BLOCK_BYTES = 4096,
    SIM_BLOCKS = 1024, /* of a LUN; beyond the node blocks is room for data */
    SIM_SESSIONS = 2,  /* of a host to a LUN */
    SIM_NEXUSES_MAX = 512, /* of a LUN in a run: logins, where each is new */
    SIM_KEYS_MAX = 128,
};

enum sim_op {
    SIM_READ,
    SIM_WRITE,
    SIM_SYNC_CACHE,
    SIM_TEST_UNIT_READY,
    SIM_READ_KEYS,
    SIM_READ_RESERVATION,
    SIM_REGISTER,
    SIM_REGISTER_IGNORE, /* REGISTER AND IGNORE EXISTING KEY */
    SIM_RESERVE,
    SIM_RELEASE,
    SIM_CLEAR,
    SIM_PREEMPT,
    SIM_PREEMPT_ABORT, /* PREEMPT AND ABORT */
    SIM_LU_RESET,      /* LOGICAL UNIT RESET, a task management function */
    SIM_OPS
};

enum sim_status {
    SIM_GOOD,
    SIM_CONFLICT,  /* RESERVATION CONFLICT */
    SIM_ATTENTION, /* CHECK CONDITION, UNIT ATTENTION; .attention says which */
    SIM_ABORTED,   /* TASK ABORTED, by another nexus */
    SIM_ILLEGAL,   /* CHECK CONDITION, ILLEGAL REQUEST */
    SIM_NO_ANSWER, /* the session broke: nobody knows */
};

/* Unit attentions: ASC and ASCQ. */
enum {
    SIM_UA_RESET = 0x2900,
    SIM_UA_NEXUS_LOSS = 0x2907,
    SIM_UA_PREEMPTED = 0x2a03,    /* RESERVATIONS PREEMPTED: by CLEAR */
    SIM_UA_RELEASED = 0x2a04,     /* RESERVATIONS RELEASED */
    SIM_UA_UNREGISTERED = 0x2a05, /* REGISTRATIONS PREEMPTED */
};

struct sim_target_options {
    bool new_nexus_each_login; /* M1: a registration dies with its session */
    bool preempt_abort;        /* tgt has none */
    bool aptpl;                /* reservations outlive a restart */
    bool volatile_cache;
    bool frees_holder; /* M4: types 7 and 8, holder preempted: dangling */
    uint64_t usual_ns, long_ns; /* how long a task waits and runs */
    uint32_t long_permille;
};

/* Who wrote: what every write carries, seen by checks only. */
struct sim_author {
    uint32_t host;
    uint64_t incarnation;
    uint64_t id;      /* of the logical write; the same when it is repeated */
    uint64_t version; /* of the block: grows with each new write to it */
};

/* What a block had; NULL: it was never written. */
struct sim_read {
    const void *bytes;
    size_t length;
};

struct sim_command;
typedef void sim_done_fn(struct sim_command *c);

/* The caller's, until done() has run. */
struct sim_command {
    enum sim_op op;
    uint32_t block, count; /* write: `bytes` in each */
    const void *bytes;     /* a write's, SIM_BLOCK_BYTES or less each */
    size_t length;
    struct sim_author author;
    uint64_t key, service_key; /* PR OUT */
    uint32_t type;
    sim_done_fn *done;
    void *arg;
    /* the answer */
    enum sim_status status;
    uint32_t attention;
    uint64_t keys[SIM_KEYS_MAX]; /* READ KEYS; READ RESERVATION: the first */
    uint32_t key_count;          /* all, also those beyond SIM_KEYS_MAX */
    uint32_t generation;
    uint32_t reserved_type; /* READ RESERVATION: 0 is none */
    struct sim_read *read;  /* READ: one for each block */
};

struct sim_session;

/* -- the target ------------------------------------------------------------ */

void sim_target_init(struct sim *s, uint32_t lun,
                     const struct sim_target_options *options);
/* Log in.  A session of this host, LUN and index that is up breaks first:
 * its nexus is the same one, or never comes back (options). */
struct sim_session *sim_login(struct sim_host *h, uint32_t lun, uint32_t index);
bool sim_session_is_up(const struct sim_session *session);
/* Context: done() runs once, later, in this run of the host; if the session is
 * or goes down, with SIM_NO_ANSWER. */
void sim_submit(struct sim_session *session, struct sim_command *c);

/* -- what befalls it ------------------------------------------------------- */

/* A connection breaks; tasks that arrived stay. */
void sim_session_break(struct sim *s, uint32_t lun, uint32_t host,
                       uint32_t index);
void sim_target_host_down(struct sim *s, uint32_t host);
/* No way to the LUN, until it is given back. */
void sim_target_path(struct sim *s, uint32_t lun, uint32_t host, bool there);
/* Whatever the host submits hangs, at its turn and before it lands. */
void sim_target_hang(struct sim *s, uint32_t lun, uint32_t host, bool hang);
/* Hold the writes of the host that are in the target now; let all go. */
uint32_t sim_target_hold_writes(struct sim *s, uint32_t lun, uint32_t host);
void sim_target_let_go(struct sim *s, uint32_t lun);
/* Power fails: tasks are gone (running writes may be torn), and what a
 * volatile cache had, and reservations without APTPL. */
void sim_target_restart(struct sim *s, uint32_t lun);

/* -- what nobody can see --------------------------------------------------- */

struct sim_landing {
    struct sim_author author;
    uint64_t at_ns;
    bool torn;
};

/* Who wrote the block last; NULL: nobody. */
const struct sim_landing *sim_block_writer(const struct sim *s, uint32_t lun,
                                           uint32_t block);
const void *sim_block_bytes(const struct sim *s, uint32_t lun, uint32_t block,
                            size_t *ret_length);
/* Some try of this write is on its way, queued or running, and not refused. */
bool sim_can_land(const struct sim *s, uint32_t lun, uint32_t host,
                  uint64_t id);
/* A READ of the host has seen a part of its blocks. */
bool sim_is_reading(const struct sim *s, uint32_t lun, uint32_t host);
bool sim_has_key(const struct sim *s, uint32_t lun, uint64_t key);
uint32_t sim_reserved_type(const struct sim *s, uint32_t lun);

/* The host's incarnation was reported fenced on this LUN: no write of it
 * lands from now on (I11).  Its tasks may exist, if they will be refused. */
void sim_expect_fenced(struct sim *s, uint32_t lun, uint32_t host,
                       uint64_t incarnation);
bool sim_is_fenced(const struct sim *s, uint32_t lun, uint32_t host,
                   uint64_t incarnation);
/* … or its process has ended, and no write of it is anywhere. */
bool sim_is_gone(const struct sim *s, uint32_t lun, uint32_t host,
                 uint64_t incarnation);
/* Somebody was promised this version of the block: no older one lands. */
void sim_expect_version(struct sim *s, uint32_t lun, uint32_t block,
                        uint64_t version);

const char *sim_op_name(enum sim_op op);
const char *sim_status_name(enum sim_status status);

#endif
