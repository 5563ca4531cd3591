/* iscsi - everything SCSI: disks that guests see, and the LUNs below us.
 *
 *   guest ── vring ──> vhost_*.c ──┐                     (front ends)
 *   initiator ── iSCSI PDU ────────┤ scsi_submit(), scsi_tmf()
 *                                  ▼
 *   bus.c     one virtual controller: 256 LUNs, nexuses, attach, detach
 *   engine.c  a command's life: checks, order, run, done; task management
 *   ops.c     one row per command ──> spc.c vpd.c mode.c pr.c
 *                                     sbc.c sbc_multi.c ──> struct store
 *   sense.c   the one table from enum err to sense data
 *   lun.h, lun*.c  the other direction: a LUN of the SAN as a struct store
 *
 * A bus, what is on it and its front ends live on one loop: every call below
 * is made on that loop's thread, or before it runs.  docs/scsi.md explains.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_ISCSI_H
#define LUNAR_ISCSI_ISCSI_H

#include "base/keep.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/store.h"
#include "iscsi/lun.h"

/* -- logical unit: one disk as a SCSI device ------------------------------- */
struct scsi_lu;

struct scsi_lu_args {
    struct store *store;  /* not owned; outlives the unit */
    uint8_t uuid[16];     /* of the disk, not of the host: VPD 83 is made
                             of it, so that it moves with the disk */
    const char *serial;   /* VPD 80; NULL: the uuid as hex digits */
    const char *vendor;   /* ≤ 8 bytes;  NULL: "LUNAR" */
    const char *product;  /* ≤ 16 bytes; NULL: "VIRTUAL DISK" */
    const char *revision; /* ≤ 4 bytes;  NULL: "1" */
    bool read_only;       /* also if the store is */
    bool thin;            /* UNMAP frees space; needs STORE_CAN_DISCARD */
};

/* Make a logical unit of a store.
 * Ownership: the strings are copied.  Context: any thread, does not block.
 * Errors: E_NOMEM, E_UNSUPPORTED (block size not 512 … 64 KiB, or
 * not one block there). */
MUST_CHECK enum err scsi_lu_new(const struct scsi_lu_args *args,
                                struct scsi_lu **ret_lu);
/* Context: not attached to any bus.  NULL is fine. */
void scsi_lu_free(struct scsi_lu *lu);
struct store *scsi_lu_store(struct scsi_lu *lu);

struct scsi_lu_stats {
    uint64_t reads, writes, read_bytes, write_bytes, flushes, errors;
};
struct scsi_lu_stats scsi_lu_stats(const struct scsi_lu *lu);

/* -- bus: one virtual controller ------------------------------------------- */
enum { SCSI_LUNS_MAX = 256 }; /* 64 disks as Hyper-V has, four times over */
enum {
    SCSI_NEXUSES_MAX = 64
}; /* initiators at once; a VM's is the only one
      of a vhost controller */
struct scsi_bus;

MUST_CHECK enum err scsi_bus_new(struct loop *loop, struct scsi_bus **ret_bus);
/* Context: no nexus open, nothing attached.  NULL is fine. */
void scsi_bus_free(struct scsi_bus *bus);

/* Put `lu` on the bus and announce it to the guests.
 * Ownership: the bus borrows lu until it is detached.
 * Errors: E_RANGE, E_EXIST (LUN in use), E_BUSY (the guest has not let go of
 * the disk that was there before). */
MUST_CHECK enum err scsi_bus_attach(struct scsi_bus *bus, unsigned lun,
                                    struct scsi_lu *lu);
/* The lowest LUN that scsi_bus_attach() would take and that kept[lun] does not
 * keep for another disk (NULL: none is kept).  E_BUSY: there is none. */
MUST_CHECK enum err scsi_bus_free_lun(struct scsi_bus *bus, const bool *kept,
                                      unsigned *ret_lun);
struct scsi_lu *scsi_bus_lu(struct scsi_bus *bus, unsigned lun);

/* Take a LUN off the bus.  The guest is told, while the LUN still answers;
 * it has let go when the event's buffer came back and no command for the LUN
 * was outstanding or came for 1 s.  Then what was written is flushed, the LUN
 * is gone and `done` gets E_OK.  Where no guest runs, that is at once.
 * E_TIMEOUT: no answer in `timeout_ms`; E_CANCELED: scsi_bus_detach_cancel();
 * another error: the flush failed.  After these the disk stays attached and
 * works (and a guest that had let go finds it again).  Force: do not ask;
 * commands outstanding end (of many steps: after the present one), the flush
 * is tried, `done` gets its result, and the LUN is gone in any case; its number
 * stays taken till the guest saw it. */
struct scsi_detach {
    bool force;
    uint32_t timeout_ms; /* 0: SCSI_DETACH_TIMEOUT_MS */
    void (*done)(struct scsi_detach *, enum err e);
    /* private */
    struct scsi_bus *bus;
    unsigned lun;
    enum scsi_detach_state {
        SCSI_DETACH_ASKED,
        SCSI_DETACH_QUIET, /* the guest let go; waiting for 1 s of silence */
        SCSI_DETACH_DRAIN, /* no new commands; outstanding ones end */
        SCSI_DETACH_FLUSH,
    } state;
    enum err result;
    struct timer timer, deadline;
    struct store_io flush;
    struct task finish;
};
enum { SCSI_DETACH_TIMEOUT_MS = 10000, SCSI_DETACH_QUIET_MS = 1000 };
/* Ownership: `d` is the bus's until done ran, which is never inside the call.
 * Errors: E_RANGE, E_NOENT (nothing there), E_BUSY (a detach is running). */
MUST_CHECK enum err scsi_bus_detach(struct scsi_bus *bus, unsigned lun,
                                    struct scsi_detach *d);
/* Turn a detach that runs into a forced one. */
void scsi_bus_detach_force(struct scsi_bus *bus, unsigned lun);
void scsi_bus_detach_cancel(struct scsi_detach *d);

/* The store of this LUN changed its size: tell the guests. */
void scsi_bus_capacity_changed(struct scsi_bus *bus, unsigned lun);

/* -- nexus: one initiator at one bus --------------------------------------- */
enum scsi_event { SCSI_EVENT_ADDED, SCSI_EVENT_REMOVED, SCSI_EVENT_CAPACITY };

enum scsi_heard {
    SCSI_NO_GUEST,  /* nobody there who knew the LUN */
    SCSI_NOT_HEARD, /* a guest without events: it gets a unit attention */
    SCSI_WILL_HEAR, /* queued; for REMOVED scsi_nexus_let_go() follows */
};

enum { SCSI_NEXUS_NAME_MAX = 223 }; /* bytes, as of an iSCSI name */

struct scsi_nexus;
struct scsi_nexus_args {
    /* Names the initiator for persistent reservations, so it must be the same
     * wherever the VM runs: "vm-uuid,controller"; ≤ SCSI_NEXUS_NAME_MAX. */
    const char *name;
    /* A LUN came, should go, or changed.  NULL: SCSI_NOT_HEARD. */
    enum scsi_heard (*event)(void *arg, enum scsi_event ev, unsigned lun);
    void *arg;
    bool known; /* it knows the LUNs: no power-on attentions */
};
/* A new nexus owes every LUN its power-on unit attention.
 * Errors: E_NOMEM, E_BUSY (SCSI_NEXUSES_MAX), E_NAME_TOO_LONG. */
MUST_CHECK enum err scsi_nexus_open(struct scsi_bus *bus,
                                    const struct scsi_nexus_args *args,
                                    struct scsi_nexus **ret_nexus);
/* Context: no command or TMF of it is outstanding.  Registrations stay. */
void scsi_nexus_close(struct scsi_nexus *nexus);
/* The guest gave the buffer of this LUN's REMOVED event back. */
void scsi_nexus_let_go(struct scsi_nexus *nexus, unsigned lun);
/* The guest behind the nexus is gone or was reset: it holds nothing. */
void scsi_nexus_let_go_all(struct scsi_nexus *nexus);
/* Nobody waits for its commands any more: those that take many steps (VERIFY of
 * a whole disk …) are aborted at the end of the present one. */
void scsi_nexus_give_up(struct scsi_nexus *nexus);

/* -- commands -------------------------------------------------------------- */
enum { SCSI_CDB_BYTES_MAX = 32, SCSI_SENSE_BYTES_MAX = 96 };

enum scsi_status {
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
    SCSI_CONDITION_MET = 0x04,
    SCSI_BUSY = 0x08,
    SCSI_RESERVATION_CONFLICT = 0x18,
    SCSI_TASK_SET_FULL = 0x28,
    SCSI_TASK_ABORTED = 0x40
};

enum scsi_attr { /* the order a task asks for */
                 SCSI_SIMPLE,
                 SCSI_ORDERED,
                 SCSI_HEAD_OF_QUEUE,
                 SCSI_ACA
};

struct scsi_op;

struct scsi_cmd {
    /* set by the front end */
    struct scsi_nexus *nexus;
    uint32_t lun; /* decoded; ≥ SCSI_LUNS_MAX: no such LUN, or the W-LUN */
    uint64_t tag;
    enum scsi_attr attr;
    uint8_t cdb[SCSI_CDB_BYTES_MAX];
    uint8_t cdb_bytes;
    /* Data buffers; handed to the store as they are.  The vectors may be
     * shortened by the engine, the memory is the front end's. */
    struct iovec *out, *in;
    uint32_t out_count, in_count;
    size_t out_bytes, in_bytes;
    void (*done)(struct scsi_cmd *cmd);

    /* the answer */
    enum scsi_status status;
    bool aborted;        /* by task management: status means nothing */
    uint8_t sense_bytes; /* 0 unless CHECK CONDITION */
    uint8_t sense[SCSI_SENSE_BYTES_MAX];
    size_t moved_bytes;   /* data moved, in or out */
    uint64_t asked_bytes; /* data that the CDB asked for: moved ≠ asked or
                             moved ≠ buffer makes a residual */

    /* private to the engine */
    const struct scsi_op *op;
    struct scsi_bus *bus;
    struct scsi_lu *lu;           /* NULL: nothing attached there */
    struct list link;             /* on its unit, or among the finished */
    struct list scratch_link;     /* in line for a buffer */
    uint64_t seq;                 /* order of arrival on the bus */
    uint64_t lba, blocks;         /* what it touches; 0 blocks: nothing */
    bool exclusive;               /* nobody else touches that meanwhile */
    bool waiting;                 /* … so it waits for its turn */
    uint64_t at_bytes, end_bytes; /* progress of a command of many steps */
    uint64_t detail;              /* its command's own number */
    uint8_t *scratch;             /* its buffer, while it has one */
    void (*next)(struct scsi_cmd *cmd, enum err e);
    struct iovec one;
    struct store_io io;
};

enum { SCSI_WLUN_REPORT_LUNS = 0xc101 }; /* SAM-5 4.6.11 */

/* Execute a command.  `done` runs exactly once, later, on the bus's loop,
 * never inside the call; every failure is in the answer.
 * Ownership: cmd and its buffers are the bus's until then. */
void scsi_submit(struct scsi_bus *bus, struct scsi_cmd *cmd);

/* -- task management ------------------------------------------------------- */
enum scsi_tmf_kind {
    SCSI_ABORT_TASK,
    SCSI_ABORT_TASK_SET,
    SCSI_CLEAR_TASK_SET,
    SCSI_LU_RESET,
    SCSI_NEXUS_RESET,
    SCSI_QUERY_TASK,
    SCSI_QUERY_TASK_SET
};
enum scsi_tmf_answer {
    SCSI_TMF_COMPLETE,
    SCSI_TMF_SUCCEEDED, /* a query found the task */
    SCSI_TMF_BAD_LUN
};
struct scsi_tmf {
    struct scsi_nexus *nexus;
    enum scsi_tmf_kind kind;
    uint32_t lun;
    uint64_t tag;
    void (*done)(struct scsi_tmf *tmf);
    enum scsi_tmf_answer answer;
    /* private */
    struct list link;
    uint64_t seq;
};
/* `done` runs exactly once, later, when no command it names can touch the
 * disk or the guest's memory any more (those end first, as aborted). */
void scsi_tmf(struct scsi_bus *bus, struct scsi_tmf *tmf);

/* -- vhost-user-scsi: the door for QEMU ------------------------------------ */
struct vhost_scsi;

struct vhost_scsi_args {
    struct loop *loop;       /* the bus's too */
    struct scsi_bus *bus;    /* not owned */
    const char *socket_path; /* made here; a stale one is replaced */
    const char *name;        /* of the nexus: see struct scsi_nexus_args */
    const char *label;       /* in the log; NULL: the name */
    unsigned queues_max;     /* request queues; 0: VHOST_QUEUES_DEFAULT */
    /* Where the connection outlives this process, under "vhost/NAME"; NULL:
     * nowhere.  If it holds one, that VMM is served again: attach what it had
     * on the bus before. */
    struct keep *keep;
};
enum { VHOST_QUEUES_DEFAULT = 8, VHOST_QUEUES_MAX = 64 };

/* Listen on the socket for one VMM at a time.
 * Errors: E_NOMEM, E_BUSY (another process listens there), E_IO; `why` says.
 * Context: the loop's thread, or before it runs. */
MUST_CHECK enum err vhost_scsi_new(const struct vhost_scsi_args *args,
                                   struct diag *why,
                                   struct vhost_scsi **ret_vhost);
/* Stop serving, let outstanding I/O end, give everything up, also what is kept
 * for a successor (which takes over from a process that ends without this);
 * then `done`, at which point the bus has no nexus of it any more.  `done`
 * never runs inside the call. */
void vhost_scsi_close(struct vhost_scsi *v, void (*done)(void *arg), void *arg);

struct vhost_scsi_status {
    bool connected; /* a VMM is there */
    bool running;   /* its rings are served */
    bool hotplug;   /* the guest's driver listens to events */
    bool logging;   /* a migration is under way */
    unsigned request_queues;
    uint64_t requests, kicks, calls, events, events_waiting, connections;
    uint64_t inflight;
    char fault[DIAG_TEXT_BYTES]; /* why it is not served; "" = it is fine */
};
void vhost_scsi_status(const struct vhost_scsi *v,
                       struct vhost_scsi_status *ret_status);

#endif
