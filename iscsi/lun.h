/* iscsi/lun.h - the host's end of a LUN: a URL becomes a store.
 *
 *   lun_url.c    URL -> struct lun_url             (pure)
 *   lun.c        lun_open(): which kind, and what all kinds share
 *   lun_file.c   regular file, block device: libaio, workers
 *   lun_iscsi.c  LUN of a target: libiscsi sessions, reconnect (I13)
 *   lun_iscsi_share.c  one that many hosts use: held, carried, told of
 *
 * Does not know what is on the LUN and fences nobody by itself: persistent
 * reservations are carried out as asked, reported as answered.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_LUN_H
#define LUNAR_ISCSI_LUN_H

#include "base/list.h"
#include "base/loop.h"
#include "base/store.h"
#include "base/worker.h"

struct lun_ear;

/* URL: file:PATH
 *      /dev/NAME
 *      iscsi://[user[%password]@]host[:port]/target-name/lun
 *              [?target_user=NAME&target_password=SECRET]   mutual CHAP
 * An IPv6 host is written in brackets. */
struct lun_args {
    bool read_only;
    /* Keep other processes out, or be kept out: on this host, of a file on
     * every host (lun_is_sole()).  What a predecessor that crashed had in
     * flight has landed, or never will, when lun_open() returns (I13). */
    bool exclusive;
    /* Not NULL: the LUN is shared with other hosts, see lun_start().  Owned by
     * the caller, until lun_close().  iSCSI only. */
    struct lun_ear *ear;
    uint64_t create_bytes;   /* file: make it, all holes; 0: it is there */
    struct workers *workers; /* for blocking calls; NULL: one of its own */

    /* iSCSI only, from here on */
    const char *initiator; /* this host's iSCSI name; NULL: from host name */
    const char *password;  /* for a user without one in the URL */
    /* Where the sessions live, one on each of the first
     * LUN_SESSIONS_MAX (of a shared LUN: on the first).  None: one, on the
     * opener's loop. */
    struct loop *const *loops;
    unsigned loop_count;
    unsigned give_up_ms; /* no connection for so long: E_LUN_GONE, until it
                            is back; 0: LUN_GIVE_UP_MS */
};
enum {
    LUN_SESSIONS_MAX = 4,  /* each is a registration in the target's table */
    LUN_GIVE_UP_MS = 30000 /* below a Linux guest's SCSI time-out, twice */
};

struct lun;

/* Open a LUN.
 * Ownership: args and what it names are used until the return only, workers
 * and loops until lun_close().
 * Errors: E_URL, E_NOENT, E_ACCESS, E_LUN_BUSY (and who has it, when known),
 * E_EXIST, E_ALIGN (size is no multiple of the block), E_LUN_GONE, E_IO,
 * E_UNSUPPORTED (an ear, and the LUN is none of a target).
 * Context: blocks; a thread with a loop that has libaio, not a reactor. */
MUST_CHECK enum err lun_open(const char *url, const struct lun_args *args,
                             struct diag *why, struct lun **ret_lun);
/* Context: as lun_open(); no io in flight (of a shared LUN: lun_fail() it
 * first), its lun_pr end with E_LUN_GONE.  NULL is fine. */
void lun_close(struct lun *lun);

/* The bytes.  Owned by the lun, never store_close()d; usable from every loop
 * that has libaio. */
struct store *lun_store(struct lun *lun);
/* The URL without secrets. */
const char *lun_name(const struct lun *lun);
/* Opened exclusive, and that keeps every other host out, too. */
bool lun_is_sole(const struct lun *lun);
/* The last failure in words; "" if there was none.  Any thread. */
void lun_trouble(struct lun *lun, struct diag *ret_why);

/* Look at the size again, after the LUN was grown elsewhere; the store then
 * has it.  A LUN that shrank is E_LUN_SMALL and keeps its size here.
 * Context: as lun_open(). */
MUST_CHECK enum err lun_rescan(struct lun *lun, struct diag *why);

/* Who the LUN says it is, for pass-through: the same on every host. */
enum { LUN_WWID_BYTES = 260, LUN_SERIAL_BYTES = 256 };
struct lun_identity {
    char vendor[8 + 1], product[16 + 1], revision[4 + 1];
    char serial[LUN_SERIAL_BYTES]; /* VPD 80 */
    char wwid[LUN_WWID_BYTES];     /* VPD 83 as Linux writes it: naa.6… */
    uint8_t uuid[16];              /* made of the wwid */
};
const struct lun_identity *lun_identity(const struct lun *lun);

/* -- a LUN that many hosts use at once -------------------------------------
 * Its I/O waits for somebody who decides whether this host may send any: the
 * shell of lockmgr/nexus.h.  There is one session, for each is an I_T nexus of
 * its own, with a key to register, to be admitted and to be fenced.
 *
 * The LUN is held, it carries, or it fails:
 *
 *   held     no io of the store is sent; it is kept, without end, and fails
 *            neither of age nor because the target is away.  At the beginning,
 *            and from the moment that the ear hears anything but `up`.
 *   carries  what waits is sent, then what comes
 *   fails    what waits and what comes fails; what is out ends as it may
 *
 * A write that was out is sent again only when the first can no longer land:
 * its ABORT TASK was answered, or a LOGICAL UNIT RESET after it (I13). */

/* What befell the session.  Embedded in its owner.  Called on the session's
 * loop, never inside of a call of lun_*(); may call those of this section, and
 * lun_pr_*(). */
struct lun_ear {
    /* Logged in; and nothing that an earlier session, or an earlier process of
     * this host, had in flight can land any more (I13). */
    void (*up)(struct lun_ear *ear);
    /* The session is gone, outcomes are unknown.  Another `up` follows. */
    void (*lost)(struct lun_ear *ear);
    /* An io met RESERVATION CONFLICT.  Once for all that were out. */
    void (*conflict)(struct lun_ear *ear);
    /* Unit attention 29/xx (reset) or 2A/xx (reservations, registrations): met
     * by an io or any other command, held or not.  A lun_pr's `done` follows.
     */
    void (*attention)(struct lun_ear *ear);
};

/* All of these: of a shared LUN, on its session's loop. */

/* Log in for the first time: the ear hears nothing before. */
void lun_start(struct lun *lun);
void lun_hold(struct lun *lun);
/* Nothing, if there is no session: what follows `lost` is `up`. */
void lun_carry(struct lun *lun);
/* With this error, until it is held or carries again. */
void lun_fail(struct lun *lun, enum err e);
/* End the session, if there is one: what is out has no answer, `lost` follows,
 * and another is tried for.  To be held or to fail first. */
void lun_drop(struct lun *lun);
/* How long the target has owed a word, while there is a session: nothing that
 * was asked is answered, nor anything else heard.  0: it owes none. */
uint64_t lun_silent_ms(struct lun *lun);

/* -- single commands, among them persistent reservations (SPC-4 5.13) ------ */
enum lun_pr_op {
    LUN_PR_READ_KEYS,        /* -> keys, key_count, generation */
    LUN_PR_READ_RESERVATION, /* -> key, type (0: none), generation */
    LUN_PR_REGISTER,         /* key (0: none yet) -> new_key (0: leave) */
    LUN_PR_REGISTER_IGNORE,  /* whatever was -> new_key */
    LUN_PR_RESERVE,
    LUN_PR_RELEASE,
    LUN_PR_CLEAR,
    LUN_PR_PREEMPT,       /* new_key: whose */
    LUN_PR_PREEMPT_ABORT, /* new_key: whose */
    LUN_PR_RESET,         /* LOGICAL UNIT RESET */
    LUN_PR_READ,          /* off_bytes, bytes -> buf */
    LUN_PR_WRITE,         /* off_bytes, bytes, buf; durable by FLUSH */
    LUN_PR_FLUSH,
    LUN_PR_OP_COUNT
};

enum { LUN_PR_BYTES_MAX = 1 << 20 };

struct lun_pr {
    enum lun_pr_op op;
    uint8_t type; /* 1, 3, 5 … 8: SPC-4 table 64 */
    bool aptpl;   /* REGISTER: survive power loss; else E_UNSUPPORTED */
    uint64_t key; /* ours, as registered */
    uint64_t new_key;
    uint64_t *keys; /* READ_KEYS: room for keys_max */
    unsigned keys_max;
    uint64_t off_bytes; /* READ, WRITE: multiples of the store's block */
    uint32_t bytes;     /* at most LUN_PR_BYTES_MAX */
    void *buf;          /* WRITE: only read */
    void (*done)(struct lun_pr *pr, enum err e);
    void *user; /* of done */
    /* the answer */
    unsigned key_count; /* may exceed keys_max: then ask again with room */
    uint32_t generation;
    /* private */
    struct list link;
    struct loop *from;
    struct lun *lun;
    unsigned session;
    uint64_t arrived_ns;
    enum err result;
    struct task task;
};

/* Carry out one operation, on every session for REGISTER, else on the first;
 * one after the other, in order.
 * On a shared LUN also while it is held, and each is sent once; REGISTER waits
 * until nothing else is out, and nothing goes out until it was answered: for
 * what was sent under one key must not run under the next (I13).  RESET waits
 * for that, too, but not for long.
 * E_OK: `done` runs exactly once, later, on this thread's loop.
 * Errors: E_UNSUPPORTED (file, or the target cannot), E_RESERVED (conflict:
 * proof of nothing, look at the keys), E_LUN_GONE (no session, or lost before
 * the answer: outcome unknown), E_AGAIN (a unit attention on a shared LUN, an
 * abort by another nexus, BUSY, NOT READY: not carried out, or a write in part,
 * and it lands no more), E_CANCELED; READ, WRITE: E_ALIGN, E_RANGE,
 * E_READ_ONLY. */
MUST_CHECK enum err lun_pr_submit(struct lun *lun, struct lun_pr *pr);
/* If it was not sent yet it is not any more: E_CANCELED.  If it was, or is
 * done: nothing.  Context: the session's loop, which submitted it. */
void lun_pr_cancel(struct lun *lun, struct lun_pr *pr);
/* The same, blocking.  Context: as lun_open(). */
MUST_CHECK enum err lun_pr_sync(struct lun *lun, struct lun_pr *pr);

#endif
