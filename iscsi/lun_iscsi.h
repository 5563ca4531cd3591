/* iscsi/lun_iscsi.h - the inside of an iSCSI LUN; for lun_iscsi*.c only.
 *
 *   lun_iscsi.c          open, close; which session takes an io
 *   lun_iscsi_probe.c    what the target says of the LUN   (blocks)
 *   lun_iscsi_session.c  one connection: log in, lose, come back
 *   lun_iscsi_command.c  an io as SCSI commands, and their outcomes
 *   lun_iscsi_abort.c    ABORT TASK, for what may never be answered
 *   lun_iscsi_pr.c       single commands: persistent reservations, blocks
 *   lun_iscsi_share.c    what waits for whoever admits this host; its ear
 *
 * A session belongs to its loop: everything in it is touched there only.  An
 * io of another loop is posted to the session's and its end posted back.
 *
 * I13: a write of unknown outcome is sent again only after LOGICAL UNIT RESET
 * or ABORT TASK was answered.  So a session that lost its connection with a
 * write in flight resets the LUN after the next login, before any command.
 * If it gives up first, the io fails, but the write is still at large: until
 * that reset is answered no session writes (`unsettled`).
 *
 * Nothing waits for ever: what had no answer in the give-up time, however often
 * it was sent, fails.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_LUN_ISCSI_H
#define LUNAR_ISCSI_LUN_ISCSI_H

#include "base/list.h"
#include "iscsi/lun_private.h"
#include "iscsi/lun_vpd.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <stdatomic.h>

enum {
    SLOTS = 128,                 /* commands in flight per session */
    SLOT_IOVS = 1024,            /* IOV_MAX */
    COMMAND_BYTES_MAX = 1 << 20, /* one READ or WRITE */
    ZEROES_BYTES_MAX = 16 << 20, /* one WRITE SAME: targets work it off */
    PORTALS_MAX = 8,             /* addresses of a host name */
    PORTAL_BYTES = 64,
    LOGIN_MS = 10000,
    COMMAND_MS_MAX = 20000, /* unanswered so long, or two thirds of */
    COMMAND_MS_MIN = 2000,  /* the give-up time: ABORT TASK */
    ABORT_MS = 5000,        /* and that unanswered: the session is lost */
    SUSPECT_MS = 500,       /* to answer after a reset what is not lost */
    PROBE_MS = 1000,        /* unanswered so long on a shared LUN: why? */
    QUIET_MS = 5000,        /* nothing heard: NOP-Out, again so long: lost */
    TICK_MS = 500,
    BUSY_MS = 100,           /* BUSY, TASK SET FULL: try again after */
    RECONNECT_MS_MAX = 2000, /* between attempts, from 100 up */
    UNIT_ATTENTIONS_MAX = 32,
    LOSSES_MAX = 8, /* a command that breaks each connection is given up */
    REDIRECTS_MAX = 3
};

struct session;

/* In io->room. */
struct iscsi_io {
    struct list link; /* session's queue */
    struct task task; /* to the session's loop, and back */
    struct session *session;
    struct loop *from;
    uint64_t next_bytes;  /* handed to slots so far */
    unsigned outstanding; /* slots at work on it */
    enum err result;
    bool flushing; /* FUA without the target's help: at the flush */
};
static_assert(sizeof(struct iscsi_io) <= STORE_ROOM_BYTES, "lives in room");

/* One SCSI command. */
struct slot {
    struct list link; /* free, in_flight or redo */
    struct session *session;
    struct store_io *io;
    struct scsi_task task;
    uint64_t off_bytes, len_bytes;
    uint32_t iov_count;
    struct iovec *iov;   /* SLOT_IOVS of them */
    uint64_t started_ns; /* first; so long after it we give up */
    uint64_t issued_ns;  /* last */
    uint64_t due_ns;     /* when to abort; 0: an answer is expected */
    uint64_t abort_ns;   /* when ABORT TASK was sent */
    unsigned attentions, losses;
    bool aborting, aborted; /* as issued last */
    bool abort_out;         /* ABORT TASK, maybe of an earlier issue */
    uint8_t param[24];      /* UNMAP */
};

enum session_state {
    SESSION_DOWN,      /* waiting to try again */
    SESSION_LOGIN,     /* connecting, logging in */
    SESSION_RESETTING, /* LOGICAL UNIT RESET is on its way */
    SESSION_PROVING,   /* shared: TEST UNIT READY is on its way */
    SESSION_READY,
    SESSION_LOGOUT,
    SESSION_CLOSED
};

/* Of a shared LUN; any other carries. */
enum gate { GATE_CARRIES, GATE_HELD, GATE_FAILS };

/* A call from another thread that waits for its end. */
struct control {
    struct task task;
    struct session *session;
    struct loop *from;
    bool done;
    enum err result;
    struct diag *why;
};

struct session {
    struct lun_iscsi *lun;
    struct loop *loop;
    unsigned index;

    enum session_state state;
    uint64_t state_since_ns;
    struct iscsi_context *ctx;
    struct loop_fd fd;
    char redirect[PORTAL_BYTES]; /* where the target sends us; "": nowhere */
    unsigned redirects;          /* in a row */
    bool lost;                   /* to be torn down when libiscsi returns */
    char reason[160];
    struct timer tick, busy;
    struct task kick; /* write to the socket at the end of the turn */
    bool kicked;
    uint64_t heard_ns, nop_ns; /* nop_ns 0: none on its way */

    uint64_t lost_since_ns; /* 0: connected */
    unsigned attempts;
    bool needs_reset; /* a write is at large */
    bool gone;        /* given up; tries on */
    bool unsettled;   /* counted in lun->unsettled */
    bool overdue;     /* there are slots to abort, or aborted */

    enum gate gate;
    enum err gate_error; /* FAILS */
    bool is_up;          /* the ear knows of this session */
    bool told_conflict;  /* since it carries, or is up */
    unsigned proof_attentions;
    uint64_t probe_ns; /* last TEST UNIT READY */

    struct list free, in_flight, redo; /* of slots */
    struct list queue;                 /* of ios */
    struct list prs;                   /* of struct lun_pr */
    struct lun_pr *pr;                 /* at work */
    struct scsi_task *pr_task;         /* NULL: task management */
    uint64_t pr_since_ns;
    unsigned pr_attentions;
    uint64_t pr_due_ns; /* this, and the next ones: as in slot */
    bool pr_aborting, pr_aborted, pr_abort_out;
    uint8_t pr_param[24]; /* SPC-4 table 204 */
    struct scsi_iovec pr_iov;
    struct control *opener, *closer;
    struct slot slots[SLOTS];
};

struct lun_iscsi {
    struct lun lun;
    struct lun_url url;
    char initiator[LUN_URL_TARGET_BYTES];
    struct lun_ear *ear; /* shared; NULL: not */
    bool own_nexus;      /* fixed ISIDs */
    int lock_fd;  /* exclusive: keeps others of this host out; -1: none */
    int scsi_lun; /* as libiscsi puts it on the wire */
    char portals[PORTALS_MAX][PORTAL_BYTES];
    unsigned portal_count;
    uint64_t give_up_ns, command_ns;

    struct lun_limits limits;
    atomic_bool no_write_same; /* any thread: the target refused it */
    atomic_uint unsettled;     /* any thread: sessions with a write at large */

    unsigned session_count;
    struct session *sessions[LUN_SESSIONS_MAX];
    struct iovec *iovs; /* of all slots */
    size_t iovs_bytes;
};

static inline struct lun_iscsi *lun_iscsi_of(struct lun *lun)
{
    return container_of(lun, struct lun_iscsi, lun);
}

static inline struct iscsi_io *iio_of(struct store_io *io)
{
    return (struct iscsi_io *)(void *)io->room;
}

static inline struct store_io *io_of(struct iscsi_io *iio)
{
    return container_of((uint8_t(*)[STORE_ROOM_BYTES])(void *)iio,
                        struct store_io, room);
}

static inline uint64_t session_now(struct session *s)
{
    return clock_now_ns(loop_clock(s->loop));
}

/* -- lun_iscsi_probe.c ----------------------------------------------------- */

/* A context with names, CHAP and ISID set, that never reconnects by itself.
 * NULL: no memory.  `index` >= LUN_SESSIONS_MAX: a random ISID. */
struct iscsi_context *iscsi_new_context(struct lun_iscsi *li, unsigned index);
/* Fill limits and identity.  Blocks. */
MUST_CHECK enum err iscsi_probe(struct lun_iscsi *li, struct lun_limits *limits,
                                struct lun_identity *id, struct diag *why);

/* -- lun_iscsi_session.c --------------------------------------------------- */

MUST_CHECK enum err session_new(struct lun_iscsi *li, struct loop *loop,
                                unsigned index);
void session_free(struct session *s);
/* On the session's loop: log in; the opener hears how it went.  Without one
 * what fails is tried again. */
void session_open(struct session *s, struct control *opener);
/* All that a login owes was answered. */
void session_ready(struct session *s);
/* Everything that was queued is on its way to the target. */
bool session_is_written(struct session *s);
void session_close(struct session *s, struct control *closer);
/* The connection is of no use any more.  Safe inside of callbacks. */
void session_lose(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Write what was queued, at the end of this turn. */
void session_kick(struct session *s);
/* A write failed that may still land: nobody writes until it cannot. */
void session_unsettle(struct session *s);

/* -- lun_iscsi_command.c --------------------------------------------------- */

extern const struct store_ops iscsi_store_ops;
/* Start what is queued, as far as slots go. */
void commands_dispatch(struct session *s);
/* Send again what came back without an answer, or with BUSY; then the queue. */
void commands_resume(struct session *s);
/* Fail everything that waits. */
void commands_fail(struct session *s, enum err e);
/* No answer, or always "later", for as long as we wait for a connection. */
bool command_is_too_old(const struct slot *slot);

/* -- lun_iscsi_abort.c ----------------------------------------------------- */

/* A unit attention was met by what was sent then: if it says that commands of
 * before were swallowed without an answer (SAM-5 5.14), do not wait long. */
void commands_suspect(struct session *s, int ascq, uint64_t sent_ns);
/* ABORT TASK for what is due, as soon as it can be sent; and take back what
 * was aborted. */
void commands_abort(struct session *s);
/* Find what is due. */
void commands_check_deadlines(struct session *s, uint64_t now_ns);

/* -- lun_iscsi_pr.c -------------------------------------------------------- */

enum err iscsi_pr_submit(struct lun *lun, struct lun_pr *pr);
void iscsi_pr_cancel(struct lun *lun, struct lun_pr *pr);
void prs_dispatch(struct session *s);
void prs_fail(struct session *s, enum err e);
/* A registration is under way, or waits to be: nothing else is sent. */
bool prs_want_silence(const struct session *s);
/* ABORT TASK for the one at work, if it is due; take it back. */
void prs_abort(struct session *s, uint64_t now_ns);

/* -- lun_iscsi_share.c ----------------------------------------------------- */

/* Ask with TEST UNIT READY whether the LUN is there; session_ready() then. */
void share_prove(struct session *s);
/* Something is unanswered for long: is there a unit attention to explain it?
 * Others' LOGICAL UNIT RESET may end commands without a word. */
void share_probe(struct session *s, uint64_t now_ns);
void share_up(struct session *s);
/* The connection is gone: hold.  And when all came back: tell. */
void share_stop(struct session *s);
void share_lost(struct session *s);
/* An io met it. */
void share_conflict(struct session *s);
/* An io, or any other command, met it. */
void share_attention(struct session *s, int ascq);

#endif
