/* tests/sim/sim.h - many hosts in one process, on virtual time, from a seed.
 *
 *   main.c       the command: scenarios, seeds, replay, figures
 *   sim.c        virtual time: the queue of events; chance; trace and verdict
 *   host.c       runs of hosts: crash, pause, continue, restart
 *   net.c        messages: connections that stall, break, are partitioned
 *   cpg.c        membership as corosync gives it: total order, views, quorum
 *   target.h     the SAN: target.c queues and sessions, target_pr.c persistent
 *                reservations as in SPC-4, target_media.c who wrote what when
 *   node.h       hosts that run lockmgr's cores: node.c views and messages,
 *                node_lun.c, node_fence.c, node_takeover.c the shells, work.c
 *                disks that are written, and what must hold
 *   scenarios.h  what is tried: scenarios_fence.c
 *   mutants.txt  rules broken on purpose: mutants.sh wants each one found
 *
 * One thread, and every choice is drawn from the seed: a run is repeated by
 * its scenario and its number.  What is under test are the pure cores of
 * lockmgr; the shells here turn their effects into commands and messages.
 * What they promise is judged by checks that see everything (the word of no
 * host is believed), after every event.
 *
 * Everything that a run allocates is sim_alloc()'s and goes with the run.
 * Start reading at struct sim_event, then target.h, then a scenario.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_SIM_SIM_H
#define LUNAR_TESTS_SIM_SIM_H

#include "base/clock.h"
#include "base/list.h"

#include <string.h>

enum {
    SIM_HOSTS_MAX = 16,     /* as many as a cluster has; numbered from 1 */
    SIM_LUNS_MAX = 4,       /* volumes; numbered from 0 */
    SIM_TRACE_LINE = 160,   /* bytes of a line of the trace */
    SIM_STEPS_MAX = 400000, /* a run that takes more does not end */
    SIM_SENDERS = SIM_HOSTS_MAX + 1,
};

#define SIM_US NS_PER_US
#define SIM_MS NS_PER_MS
#define SIM_S  NS_PER_S

struct sim;
struct sim_host;

/* Something that will happen.  The first member of what it is about; fire()
 * finds that with container_of().  With a host it happens in that host's run:
 * not after a crash, and not while it is paused. */
struct sim_event {
    struct list node; /* while its host is paused */
    struct sim *sim;
    uint64_t at_ns, order;
    uint32_t host; /* 0: in nobody's process */
    uint32_t run;
    void (*fire)(struct sim_event *event);
};

/* A configuration of cpg: processes, by host and run. */
struct sim_view {
    uint32_t members;          /* bit per host */
    uint32_t run[SIM_SENDERS]; /* of each member */
    uint32_t joined, left;     /* against the last one; bit per host */
};

/* What a host does; any of them may be NULL. */
struct sim_host_ops {
    /* A new run begins: make the state, all of the last one is lost. */
    void (*start)(struct sim_host *h);
    /* Its process is gone, by a crash; looked at by nobody but checks. */
    void (*crashed)(struct sim_host *h);
    void (*receive)(struct sim_host *h, uint32_t from, const void *bytes,
                    size_t count);
    void (*lost)(struct sim_host *h, uint32_t peer);
    /* cpg and quorum: see struct sim_view. */
    void (*confchg)(struct sim_host *h, const struct sim_view *view);
    void (*deliver)(struct sim_host *h, uint32_t from, const void *bytes,
                    size_t count);
    void (*quorum)(struct sim_host *h, bool quorate, bool tie);
};

struct sim_host {
    struct sim *sim;
    const struct sim_host_ops *ops;
    uint32_t number;
    uint32_t run; /* of its process: grows with each start */
    bool up, paused;
    struct list held; /* events that a paused run has not seen */
    uint64_t place;   /* in cpg's order, of what is being delivered */
    void *state;      /* of this run */
    void *disk;       /* outlives runs */
};

struct sim_verdict {
    bool failed;
    char invariant[16]; /* "I11", "progress" … */
    char why[512];
    uint64_t step, at_ns;
};

struct sim_chunk;
struct sim_net;
struct sim_cpg;
struct sim_target;

struct sim {
    uint64_t seed;
    uint64_t chance[2];
    struct clock_manual clock;
    uint64_t step, order;
    struct sim_event **heap;
    size_t heap_count, heap_max;
    struct sim_chunk *chunks;
    size_t chunk_used;
    struct sim_host host[SIM_SENDERS]; /* [0] is nobody */
    uint32_t host_count;
    struct sim_net *net;
    struct sim_cpg *cpg;
    struct sim_target *target[SIM_LUNS_MAX];
    void *world; /* the scenario's */
    /* A block has this content from now on; may be NULL. */
    void (*landed)(struct sim *, uint32_t lun, uint32_t block,
                   const void *bytes, size_t length);
    void (*check)(struct sim *); /* after every event; may be NULL */
    struct sim_verdict verdict;
    bool tracing, loud;
    bool detail;                   /* trace every write and read, too */
    size_t trace_count, trace_max; /* a ring of lines */
    char (*trace)[SIM_TRACE_LINE];
};

/* -- a run (sim.c) --------------------------------------------------------- */

void sim_init(struct sim *s, uint64_t seed);
void sim_fini(struct sim *s);
/* Keep the last `lines` lines of the trace; print each at once if `loud`. */
void sim_trace_on(struct sim *s, size_t lines, bool loud);
/* Events until none is left, virtual time `until_ns`, or a broken promise. */
void sim_run_until(struct sim *s, uint64_t until_ns);
void sim_trace_print(const struct sim *s);

void *sim_alloc(struct sim *s, size_t bytes); /* zeroed */
void *sim_copy(struct sim *s, const void *bytes, size_t count);
static inline uint64_t sim_now(const struct sim *s)
{
    return s->clock.at_ns;
}

/* Let `event` fire in `delay_ns`, in this run of `host` (0: in no host). */
void sim_post(struct sim *s, struct sim_event *event, uint64_t delay_ns,
              uint32_t host, void (*fire)(struct sim_event *));

/* What was due while its host was paused is due now, in its old order. */
void sim_repost(struct sim *s, struct sim_event *event);

/* Chance: the only source of it. */
uint64_t sim_random(struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t limit); /* [0, limit) */
uint64_t sim_between(struct sim *s, uint64_t low, uint64_t high); /* [ , ] */
bool sim_chance(struct sim *s, uint32_t permille);
/* A delay: mostly short, now and then up to `long_ns`. */
uint64_t sim_delay(struct sim *s, uint64_t usual_ns, uint64_t long_ns,
                   uint32_t long_permille);

/* A line of the trace; `host` 0 is the world. */
void sim_trace(struct sim *s, uint32_t host, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* A promise is broken: the run ends here.  The first one counts. */
void sim_fail(struct sim *s, const char *invariant, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* -- hosts (host.c) -------------------------------------------------------- */

/* Hosts 1 … count, all down. */
void sim_hosts_init(struct sim *s, uint32_t count,
                    const struct sim_host_ops *ops);
void sim_host_start(struct sim_host *h);
/* The process is gone at once.  With `power` its host is too: nobody is told,
 * others find out by time-outs. */
void sim_host_crash(struct sim_host *h, bool power);
/* SIGSTOP and SIGCONT: corosync and the kernel's connections live on. */
void sim_host_pause(struct sim_host *h);
void sim_host_continue(struct sim_host *h);

/* -- messages (net.c) ------------------------------------------------------ */

struct sim_net_options {
    uint64_t delay_ns, long_delay_ns;
    uint32_t long_permille;
    uint32_t reset_permille; /* a message breaks its connection instead */
    uint64_t stall_limit_ns; /* a connection that stalls longer breaks */
    /* Datagrams instead of connections: lost, doubled, out of order. */
    bool datagrams;
    uint32_t drop_permille, double_permille;
};

void sim_net_init(struct sim *s, const struct sim_net_options *options);
/* A copy of the bytes; as base/transport.h promises, or as datagrams. */
void sim_send(struct sim_host *from, uint32_t to, const void *bytes,
              size_t count);
/* Nothing gets from `from` to `to`, one way; what was sent waits or is lost.
 * corosync sees the same network. */
void sim_net_cut(struct sim *s, uint32_t from, uint32_t to);
void sim_net_heal(struct sim *s, uint32_t from, uint32_t to);
void sim_net_heal_all(struct sim *s);
/* Two halves: hosts of the mask and the others. */
void sim_net_split(struct sim *s, uint32_t mask);
void sim_net_reset(struct sim *s, uint32_t a, uint32_t b);
bool sim_net_reaches(const struct sim *s, uint32_t from, uint32_t to);
void sim_net_host_down(struct sim *s, uint32_t host, bool power);
void sim_net_host_up(struct sim *s, uint32_t host);

/* -- membership (cpg.c) ---------------------------------------------------- */

struct sim_cpg_options {
    bool two_node;           /* one of two is quorate, once both were there */
    uint32_t ghost_permille; /* a dead member stays listed (corosync #828) */
    uint64_t token_ns;       /* until a silent host is missed */
};

void sim_cpg_init(struct sim *s, const struct sim_cpg_options *options);
/* Called by a host's start(): its process joins the group. */
void sim_cpg_join(struct sim_host *h);
void sim_cpg_leave(struct sim_host *h);
/* AGREED: in one order at all who are in the sender's configuration. */
void sim_cpg_send(struct sim_host *h, const void *bytes, size_t count);
/* The network or a host changed: rings form anew after the token time. */
void sim_cpg_changed(struct sim *s);
void sim_cpg_host_down(struct sim *s, uint32_t host, bool power);
/* Is corosync of this host in a quorate ring now? */
bool sim_cpg_quorate(const struct sim *s, uint32_t host);

#endif
