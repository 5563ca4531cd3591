/* lunard/cluster_private.h - the inside of a cluster; cluster*.c, seat.c only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_CLUSTER_PRIVATE_H
#define LUNAR_LUNARD_CLUSTER_PRIVATE_H

#include "lunard/cluster.h"
#include "lunard/errand.h"
#include "lunard/seat.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    CLUSTER_SUSPECT_MS = 5000, /* an answer may be owed so long */
    /* A LUN may be silent so long: longer than a target is busy, and two of it
     * are less than guests wait (30 s). */
    CLUSTER_IO_SUSPECT_MS = 5000,
    COLD_THREADS = 4, /* as many databases are opened at once */
    COLD_AIO_DEPTH = 64,
    QUIT_MS = 10000,  /* at an ordered end, for files to be closed */
    ADMIN_WAIT_S = 15 /* an order that has not happened by then is told so */
};

/* What goes over the wire begins with four bytes that say for whom. */
enum channel { CHANNEL_FS = 1, CHANNEL_GUARD = 2, CHANNEL_ERRAND = 3 };

/* The volumes' messages as a transport of their own. */
struct fs_channel {
    struct transport transport;
    struct cluster *cluster;
};

struct cluster {
    struct cluster_args args;
    struct cluster_key key;
    uint32_t tag; /* of the cluster's name, in reservation keys */
    struct workers *cold;
    struct timer beat, quit;

    struct member *member;
    struct member_ear member_ear;
    struct member_view view;
    uint64_t place; /* notices of paths in this view */
    struct lm_run me;
    atomic_bool joined;
    /* Who is drained: as delivered, by node, and those who are, as bits; and
     * what this host has to say of itself. */
    drain_mark drain[LM_NODES_MAX + 1];
    uint64_t barred;
    drain_mark my_drain;
    bool drain_owed;
    uint64_t full_members; /* of the last view in which nobody was missing */

    struct transport *transport;
    struct transport_ear wire;
    uint64_t connected[LM_NODES_MAX + 1]; /* incarnation; 0: not */
    struct fs_channel fs_channel;
    struct fs_net *net;
    struct errands *errands;
    uint64_t garbage; /* messages that were none */

    struct workers *agents;
    atomic_bool agents_stop;
    struct {
        bool running;
        uint64_t not_before_ns; /* one that failed is not tried at once */
    } agent[LM_NODES_MAX + 1];

    struct list seats;
    unsigned told; /* of the table, in this view: table_say_known()'s cursor */
    bool telling;

    /* What cold threads wait for: changes are made on the loop, under it. */
    pthread_mutex_t mutex;
    pthread_mutex_t ordering; /* one order at a time */
    pthread_cond_t changed;
    struct table table;
    struct { /* one at a time: a change of the table that is waited for */
        struct table_entry entry;
        bool decided;
        enum table_verdict verdict;
    } order;
};

/* A volume as the others have it; the rest is seat.c's. */
struct seat_peers {
    uint64_t paths;                /* bit (node - 1): it reaches the LUN */
    uint64_t full_paths;           /* in the last full view */
    uint64_t fenced[LM_NODES_MAX]; /* incarnations; [node - 1] */
};

struct seat {
    struct list node; /* cluster.seats */
    struct cluster *cluster;
    uint8_t uuid[16];
    struct fs_link *link;
    struct fs_client *client; /* NULL: none */
    bool may_cache;           /* it may use what it has cached (I14) */
    bool path;                /* … and send to the LUN itself (I13) */
    struct seat_state state;
    bool doubted; /* it looked Paused at the last beat */
    struct seat_peers peers;

    /* What was said last: a new guard begins with that.  [word] */
    struct seat_heard {
        struct lm_run from;
        struct guard_message message;
    } heard[WORD_PATH_FENCED + 1];

    /* lock: cluster.mutex to read from elsewhere, changed on the loop */
    struct guard *guard;
    struct lun *lun;
    char alarm[256];

    /* The coordinator, and what is to be done with it, one by one. */
    struct list jobs; /* the first one is at work */
    struct fs_coord *coord;
    unsigned coord_users; /* lock: cluster.mutex */
    struct task coord_failed;
};

/* -- on the loop ----------------------------------------------------------- */

/* NULL: not in, or no memory. */
struct seat *cluster_seat(struct cluster *c, const uint8_t uuid[16]);
const char *cluster_host_name(struct cluster *c, uint32_t node,
                              char buf[MEMBER_NAME_BYTES]);

/* -- cluster.c ------------------------------------------------------------- */

/* On the loop; wakes who waits for what changed. */
void cluster_lock(struct cluster *c);
void cluster_unlock(struct cluster *c);
/* Wait up to ADMIN_WAIT_S until `is` says so.  Not on the loop. */
bool cluster_wait(struct cluster *c, bool (*is)(void *arg), void *arg);
/* To a node that is connected; else it is lost, and guards say it again. */
void cluster_send(struct cluster *c, uint32_t node,
                  const struct guard_message *m);
/* Errors: E_AGAIN - later; E_NO_QUORUM - nobody would hear it. */
enum err cluster_announce(struct cluster *c, const notice *n);
/* This host has its number: listen, under it. */
MUST_CHECK enum err cluster_start_wire(struct cluster *c, struct diag *why);
/* This run ends, now (I11). */
void cluster_end(struct cluster *c, const char *why) __attribute__((noreturn));

/* -- cluster_view.c -------------------------------------------------------- */

void cluster_on_member_view(struct member_ear *ear,
                            const struct member_view *view);
void cluster_on_notice(struct member_ear *ear, uint32_t node,
                       uint64_t incarnation, const void *bytes, size_t count);
/* Go on telling the table, as far as there is room. */
void cluster_tell_table(struct cluster *c);
/* Tell that this host is drained, if that is owed and there is room. */
void cluster_tell_drain(struct cluster *c);
/* The view as the guard of that seat is to see it. */
void cluster_tell_view(struct cluster *c, struct seat *s);

/* -- cluster_agent.c ------------------------------------------------------- */

/* Switch the host of that run off, by the fence agent: all guards hear
 * guard_on_agent().  False: there is none, or this is not the time: no quorum,
 * it is a member still, or the agent has just failed. */
bool cluster_run_agent(struct cluster *c, struct lm_run run, const char *host);
MUST_CHECK enum err cluster_agents_start(struct cluster *c);
/* What runs is killed.  Context: blocks; not the loop. */
void cluster_agents_stop(struct cluster *c);

/* -- seat.c ---------------------------------------------------------------- */
void seat_on_beat(struct seat *s);

/* -- seat_state.c ---------------------------------------------------------- */
void seat_state_beat(struct seat *s);

#endif
