/* lunard/guard.h - a LUN of many hosts, as this run of this host has it: may it
 * be written, and who coordinates the volume on it?
 * The shell of lockmgr's nexus, fence and takeover: does what their effects
 * say, and tells them what came of it.  Decides nothing, and knows no file.
 *
 *   guard.c        birth and death, views, messages, the shell of takeover
 *   guard_lun.c    questions to the LUN; the session; the shell of nexus
 *   guard_block.c  what is on the LUN: this node's block, all blocks, epochs
 *   guard_fence.c  the shell of fence
 *   guard_path.c   the path to the LUN: lost, redirected, back
 *
 * Context, for all of it: the loop of the LUN's session; nothing blocks.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_GUARD_H
#define LUNAR_LUNARD_GUARD_H

#include "fs/fs.h"
#include "iscsi/iscsi.h"
#include "lockmgr/lockmgr.h"
#include "lunard/wire.h"

#include "base/loop.h"

struct guard;

/* How a host has a volume. */
enum volume_state {
    VOLUME_DIRECT,     /* in use */
    VOLUME_REDIRECTED, /* in use, by way of the coordinator */
    VOLUME_PAUSED,     /* what is asked of it waits; or by an operator */
    VOLUME_OFFLINE,
    VOLUME_MAINTENANCE /* this host is drained */
};
const char *volume_state_name(enum volume_state state);

/* What is around a guard.  `user` is that of guard_args. */
struct guard_ops {
    /* Open the database under an epoch that is claimed; `others`: all runs
     * that may have something of it.  guard_on_opened() with the ticket
     * follows.
     */
    void (*open)(void *user, uint64_t epoch, const struct fs_sender *others,
                 unsigned count, uint32_t ticket);
    /* End what is in flight and close the database, if it is open or being
     * opened.  guard_on_closed() with the ticket follows. */
    void (*close)(void *user, uint32_t ticket);
    /* I14: grant nothing and answer nothing; and as before. */
    void (*hold)(void *user, bool hold);
    /* I14: may what this host has cached be used? */
    void (*cache)(void *user, bool may);
    /* No: nothing that this host has sent to the LUN can land any more, its I/O
     * is to go by way of the coordinator (I13).  Yes: it carries (again). */
    void (*path)(void *user, bool path);
    /* Whoever coordinates is on that node now, and wants a report. */
    void (*follow)(void *user, uint32_t node);
    /* That run is fenced, and recorded as such: nothing is its any more. */
    void (*release)(void *user, struct lm_run run);
    /* To a node, 0: to all others.  Sent again when a connection broke. */
    void (*send)(void *user, uint32_t node, const struct guard_message *m);
    /* To all, ourselves too, in one order. */
    void (*announce)(void *user, const notice *n);
    /* It owes an answer too long, or is fenced: out of the view with it. */
    void (*accuse)(void *user, struct lm_run run);
    /* Those who are missing in that view are fenced here: it is decided for
     * all volumes (F8). */
    void (*won)(void *user, uint64_t view_id);
    /* An operator is needed; *text to be shown until it changes, "": no more.*/
    void (*alarm)(void *user, const char *text);
    /* The LUN cannot keep that run out, or it is not known to be off: have a
     * fence agent switch its host off; `host`: what it is called, "" if that is
     * not known.  guard_on_agent() follows.  False: not now, or never. */
    bool (*agent)(void *user, struct lm_run run, const char *host);
    /* This run is fenced: it ends, at once (I11). */
    void (*over)(void *user, const char *why);
};

struct guard_args {
    const struct guard_ops *ops; /* outlives the guard */
    void *user;
    struct loop *loop;
    struct lm_run me;
    const char *host;       /* outlives the guard */
    uint32_t cluster;       /* made of its name: lm_key_make() */
    uint8_t uuid[16];       /* of the volume */
    unsigned suspect_ms;    /* so long an answer may be owed */
    unsigned io_suspect_ms; /* so long the LUN may be silent */
};

/* Errors: E_NOMEM.  Any thread. */
MUST_CHECK enum err guard_new(const struct guard_args *args,
                              struct guard **ret_guard);
/* For lun_open(). */
struct lun_ear *guard_ear(struct guard *g);
/* The LUN is open, and outlives the guard. */
void guard_start(struct guard *g, struct lun *lun);
/* The host gives the volume up: somebody else is to coordinate.  Until
 * guard_coordinates() says no. */
void guard_leave(struct guard *g);
/* Ask the LUN no more; what is around it hears no more.  A database that it had
 * opened is closed. */
void guard_stop(struct guard *g);
/* Behind guard_stop() and lun_close(), and what that posted.  NULL is fine. */
void guard_free(struct guard *g);

/* -- what happens around it ------------------------------------------------ */

void guard_on_view(struct guard *g, const struct lm_view *view);
void guard_on_message(struct guard *g, struct lm_run from,
                      const struct guard_message *m);
/* There is a connection with that run: what it may not have heard is said
 * again. */
void guard_on_met(struct guard *g, struct lm_run run);
/* Tell the others whether this node reaches the LUN: they are new. */
void guard_tell_path(struct guard *g);
/* Every half second or so. */
void guard_on_beat(struct guard *g);
void guard_on_opened(struct guard *g, uint32_t ticket, enum err e);
void guard_on_closed(struct guard *g, uint32_t ticket);
/* A metadata write failed. */
void guard_on_failed(struct guard *g);
/* The arbiter has decided for the missing of that view. */
void guard_on_won(struct guard *g, uint64_t view_id);
/* Fenced on another volume, or expelled: no I/O from now on. */
void guard_on_fenced(struct guard *g);

/* The fence agent has ended.  Off: as guard_confirm_dead(). */
void guard_on_agent(struct guard *g, struct lm_run run, bool off);

/* -- orders of the administrator ------------------------------------------- */

/* Hand the volume over to that node, 0: to any. */
void guard_move(struct guard *g, uint32_t to);
/* That run is off, says the operator. */
void guard_confirm_dead(struct guard *g, struct lm_run run);

/* -- questions ------------------------------------------------------------- */

/* Whoever coordinates, as far as is known; node 0: nobody. */
struct lm_run guard_coordinator(const struct guard *g);
/* Who must be declared dead, or met, before this host may coordinate, where
 * two hosts have lost each other; node 0: nobody. */
struct lm_run guard_unmet(const struct guard *g);
uint64_t guard_epoch(const struct guard *g);
/* I coordinate, or am about to. */
bool guard_coordinates(const struct guard *g);
/* I/O runs. */
bool guard_carries(const struct guard *g);
/* "" if all is well; else why this host cannot use the LUN now. */
const char *guard_trouble(const struct guard *g);
/* Direct, Redirected or Paused, and why; *ret_reason is static, or the
 * guard's. */
enum volume_state guard_state(const struct guard *g, const char **ret_reason);

#endif
