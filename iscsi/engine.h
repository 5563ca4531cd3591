/* iscsi/engine.h - what the files of the SCSI engine share.
 * Not for other folders: they include iscsi/iscsi.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_ENGINE_H
#define LUNAR_ISCSI_ENGINE_H

#include "base/endian.h"
#include "iscsi/iov.h"
#include "iscsi/iscsi.h"
#include "iscsi/sense.h"

/* Buffers for commands that must look at data (VERIFY, COMPARE AND WRITE …):
 * a few per bus; further commands wait in line. */
enum { SCSI_SCRATCH_BYTES = 256 * 1024, SCSI_SCRATCHES = 4 };

/* -- unit attentions: one bit each, reported in this order ----------------- */
enum scsi_ua {
    UA_POWER_ON,
    UA_RESET,
    UA_NEXUS_LOSS,
    UA_MODE_CHANGED,
    UA_RESERVATION_PREEMPTED,
    UA_RESERVATION_RELEASED,
    UA_REGISTRATION_PREEMPTED,
    UA_CAPACITY,
    UA_LUNS_CHANGED, /* of the nexus, reported by any of its LUNs */
    UA_COUNT
};

struct scsi_nexus {
    struct scsi_bus *bus;
    struct list link;
    char name[SCSI_NEXUS_NAME_MAX + 1];
    enum scsi_heard (*event)(void *arg, enum scsi_event ev, unsigned lun);
    void *arg;
    unsigned outstanding; /* commands and TMFs */
    bool luns_changed;
    uint16_t ua[SCSI_LUNS_MAX]; /* 1 << enum scsi_ua */
    bool asked[SCSI_LUNS_MAX];  /* REMOVED sent, not yet let go */
};

/* -- persistent reservations of one unit ----------------------------------- */
enum { PR_REGISTRATIONS_MAX = SCSI_NEXUSES_MAX };

enum pr_type {
    PR_TYPE_NONE = 0,
    PR_WRITE_EXCLUSIVE = 1,
    PR_EXCLUSIVE = 3,
    PR_WRITE_EXCLUSIVE_REGISTRANTS = 5,
    PR_EXCLUSIVE_REGISTRANTS = 6,
    PR_WRITE_EXCLUSIVE_ALL = 7,
    PR_EXCLUSIVE_ALL = 8
};

struct pr_registration {
    uint64_t key; /* 0: this entry is free */
    char name[SCSI_NEXUS_NAME_MAX + 1];
};

struct pr_state {
    uint32_t generation;
    enum pr_type type;
    unsigned holder; /* index in registrations; not for the ALL types */
    struct pr_registration registrations[PR_REGISTRATIONS_MAX];
};

/* -- the objects ----------------------------------------------------------- */
struct scsi_lu {
    struct store *store;
    uint8_t uuid[16];
    char serial[65], vendor[9], product[17], revision[5];
    bool read_only, thin;
    /* mode parameters */
    bool write_cache, descriptor_sense, software_write_protect;
    struct list active;  /* commands that run, in order of their start */
    struct list waiting; /* … that wait for one of those */
    unsigned exclusives; /* of both lists: 0 makes the fast path */
    struct list freed;   /* on the bus's */
    struct pr_state pr;
    struct scsi_lu_stats stats;
};

struct scsi_slot {
    struct scsi_lu *lu;
    struct scsi_detach *detach;
    uint64_t last_ns; /* when the last command came */
    unsigned outstanding;
    bool refusing; /* a detach is past asking */
    bool kept;     /* empty, but a guest still believes in it */
};

struct scsi_bus {
    struct loop *loop;
    uint64_t seq;
    struct list nexuses;
    unsigned nexus_count;
    struct list tmfs;
    struct list finished; /* commands whose `done` is due */
    struct list answered; /* TMFs whose `done` is due */
    struct task finish;
    bool finish_posted;
    bool inside;       /* in the engine: done functions wait */
    struct list freed; /* units whose waiting commands may start */
    struct list scratch_line;
    unsigned scratch_count;
    uint8_t *scratch_free[SCSI_SCRATCHES];
    uint8_t *scratch_memory;
    struct scsi_slot slots[SCSI_LUNS_MAX];
};

/* -- one row per command (ops.c) ------------------------------------------- */
enum scsi_access { /* what a reservation of another nexus forbids it */
                   ACCESS_ANY,   /* always allowed */
                   ACCESS_READ,  /* reads the medium or its state */
                   ACCESS_WRITE, /* changes it */
                   ACCESS_PR     /* PERSISTENT RESERVE OUT checks for itself */
};

enum scsi_op_flags {
    OP_NO_UA = 1,      /* runs although a unit attention is pending */
    OP_NO_LU = 2,      /* runs where nothing is attached, too */
    OP_MODIFIES = 4,   /* refused by a write-protected unit */
    OP_THIN = 8,       /* exists on thin units only */
    OP_HAS_ACTION = 16 /* told apart by the SERVICE ACTION field */
};

enum { SCSI_TIMEOUT_S = 30 }; /* told to those who ask for a time-out */

struct scsi_op {
    uint8_t opcode, action, cdb_bytes;
    enum scsi_access access;
    unsigned flags; /* enum scsi_op_flags */
    const char *name;
    void (*run)(struct scsi_cmd *cmd);
    /* CDB USAGE DATA after the operation code: which bits are looked at */
    uint8_t usage[15];
};

/* The row of this CDB for the unit (NULL: none there); NULL: not supported.
 * *ret_known: the operation code is, just not this service action. */
const struct scsi_op *scsi_op_find(const struct scsi_lu *lu, const uint8_t *cdb,
                                   bool *ret_known);
const struct scsi_op *scsi_op_at(size_t i); /* NULL after the last */
bool scsi_op_supported(const struct scsi_op *op, const struct scsi_lu *lu);

/* -- for the commands (engine.c) ------------------------------------------- */
/* End the command. */
void scsi_finish(struct scsi_cmd *cmd, enum scsi_status status);
void scsi_good(struct scsi_cmd *cmd);
void scsi_fail(struct scsi_cmd *cmd, enum sense_code code);
/* INVALID FIELD IN CDB, pointing at a byte (and bit, if not negative). */
void scsi_fail_cdb(struct scsi_cmd *cmd, unsigned byte, int bit);
/* INVALID FIELD IN PARAMETER LIST, the same way. */
void scsi_fail_parameter(struct scsi_cmd *cmd, unsigned byte);
void scsi_fail_information(struct scsi_cmd *cmd, enum sense_code code,
                           uint64_t information);
void scsi_fail_err(struct scsi_cmd *cmd, enum err e);
/* Send at most `allocation` of these bytes to the initiator and end. */
void scsi_reply(struct scsi_cmd *cmd, const void *data, size_t len_bytes,
                size_t allocation);
/* Fetch exactly `want` bytes of data-out; false: there is less, and the
 * command has ended with PARAMETER LIST LENGTH ERROR. */
bool scsi_fetch(struct scsi_cmd *cmd, void *buf, size_t want);

/* Run `start` when no command in conflict runs.  lba, blocks, exclusive say
 * what it touches. */
void scsi_start(struct scsi_cmd *cmd,
                void (*start)(struct scsi_cmd *cmd, enum err e));
/* Start `start` once the command has a scratch buffer (freed at its end). */
void scsi_with_scratch(struct scsi_cmd *cmd,
                       void (*start)(struct scsi_cmd *cmd, enum err e));
/* One store operation as a step; then next().  Ends an aborted command. */
void scsi_io(struct scsi_cmd *cmd, enum store_op op, uint32_t flags,
             uint64_t off_bytes, uint64_t len_bytes, const struct iovec *iov,
             uint32_t iov_count,
             void (*next)(struct scsi_cmd *cmd, enum err e));
/* The same with the first len_bytes of the scratch buffer. */
void scsi_scratch_io(struct scsi_cmd *cmd, enum store_op op, uint32_t flags,
                     uint64_t off_bytes, uint64_t len_bytes,
                     void (*next)(struct scsi_cmd *cmd, enum err e));
/* Abort what this initiator has outstanding there (PREEMPT AND ABORT). */
void scsi_abort_nexus(struct scsi_lu *lu, const char *nexus_name);

void scsi_ua_set(struct scsi_nexus *nexus, unsigned lun, enum scsi_ua ua);
/* On every nexus but `except` (NULL: on every one). */
void scsi_ua_set_others(struct scsi_bus *bus, unsigned lun, enum scsi_ua ua,
                        const struct scsi_nexus *except);
/* Take the most urgent one; false: none is pending. */
bool scsi_ua_take(struct scsi_nexus *nexus, unsigned lun,
                  enum sense_code *ret_code);

static inline uint64_t scsi_lu_blocks(const struct scsi_lu *lu)
{
    return store_size(lu->store) / lu->store->block_bytes;
}

static inline bool scsi_lu_protected(const struct scsi_lu *lu)
{
    return lu->read_only || lu->software_write_protect;
}

/* Called by bus.c and engine.c of one another. */
struct scsi_nexus *scsi_bus_nexus_named(struct scsi_bus *bus, const char *name);
void scsi_slot_command_ended(struct scsi_bus *bus, unsigned lun);
void scsi_engine_init(struct scsi_bus *bus);
/* scsi_nexus_give_up() for every initiator of one unit. */
void scsi_unit_give_up(struct scsi_bus *bus, unsigned lun);

/* -- persistent reservations (pr.c) ---------------------------------------- */
/* Does a reservation of somebody else forbid this command? */
bool pr_conflicts(const struct scsi_lu *lu, const struct scsi_nexus *nexus,
                  enum scsi_access access);

/* -- the commands ---------------------------------------------------------- */
void spc_test_unit_ready(struct scsi_cmd *cmd);
void spc_request_sense(struct scsi_cmd *cmd);
void spc_inquiry(struct scsi_cmd *cmd);
void spc_report_luns(struct scsi_cmd *cmd);
void spc_report_opcodes(struct scsi_cmd *cmd);
void spc_report_tmfs(struct scsi_cmd *cmd);
void vpd_inquiry(struct scsi_cmd *cmd);
void mode_sense(struct scsi_cmd *cmd);
void mode_select(struct scsi_cmd *cmd);
void pr_in_read_keys(struct scsi_cmd *cmd);
void pr_in_read_reservation(struct scsi_cmd *cmd);
void pr_in_report_capabilities(struct scsi_cmd *cmd);
void pr_in_read_full_status(struct scsi_cmd *cmd);
void pr_out(struct scsi_cmd *cmd);
void sbc_read(struct scsi_cmd *cmd);
void sbc_write(struct scsi_cmd *cmd);
void sbc_read_capacity10(struct scsi_cmd *cmd);
void sbc_read_capacity16(struct scsi_cmd *cmd);
void sbc_synchronize_cache(struct scsi_cmd *cmd);
void sbc_start_stop(struct scsi_cmd *cmd);
void sbc_prevent_allow(struct scsi_cmd *cmd);
void sbc_prefetch(struct scsi_cmd *cmd);
void sbc_unmap(struct scsi_cmd *cmd);
void sbc_verify(struct scsi_cmd *cmd);
void sbc_write_verify(struct scsi_cmd *cmd);
void sbc_compare_and_write(struct scsi_cmd *cmd);
void sbc_orwrite(struct scsi_cmd *cmd);
void sbc_write_same(struct scsi_cmd *cmd);

/* -- what sbc.c and sbc_multi.c share -------------------------------------- */
enum {
    /* Longer ranges are split by the guest (VPD B0), so that one command does
     * not keep a LUN busy for long. */
    SBC_UNMAP_BYTES_MAX = 1 << 30,
    SBC_WRITE_SAME_BYTES_MAX = 256 << 20,
    SBC_UNMAP_ENTRIES_MAX = 256
};
/* LBA and TRANSFER LENGTH of a CDB, by the group of its operation code; false:
 * outside the medium, and the command has ended. */
bool sbc_range(struct scsi_cmd *cmd);
/* No protection information asked for; false: it was, the command ended. */
bool sbc_unprotected(struct scsi_cmd *cmd);
uint64_t sbc_offset(const struct scsi_cmd *cmd);
uint32_t sbc_write_flags(const struct scsi_cmd *cmd);
/* READ into a buffer that ends inside a block. */
void sbc_read_short(struct scsi_cmd *cmd, enum err e);

#endif
