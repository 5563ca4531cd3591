/* tests/unit/iscsi/initiator.h - an initiator for tests of the SCSI engine: a
 * bus with one disk in memory, and commands as one line each.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_ISCSI_INITIATOR_H
#define LUNAR_TESTS_UNIT_ISCSI_INITIATOR_H

#include "base/endian.h"
#include "base/stores.h"
#include "iscsi/iscsi.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

enum {
    DISK_BLOCK = 512,
    DISK_BLOCKS = 4096,
    DISK_BYTES = DISK_BLOCK * DISK_BLOCKS,
    DISK_LUN = 5,
    BUFFER_BYTES = 1 << 20
};

struct events { /* what the bus told an initiator */
    unsigned count;
    enum scsi_event last;
    unsigned lun;
    enum scsi_heard answer; /* what it says to that */
};

struct initiator {
    struct world world;
    struct scsi_bus *bus;
    struct store *memory, *recorder, *fault, *delay; /* stacked like this */
    struct scsi_lu *lu;
    struct scsi_nexus *nexus, *other; /* two initiators */
    struct events events;             /* of the first */
    uint8_t *in, *out;                /* BUFFER_BYTES each */
};

/* With a manual clock.  The disk is attached, the power-on attentions are
 * consumed. */
void initiator_init(struct initiator *t, const struct scsi_lu_args *args);
void initiator_fini(struct initiator *t);
/* Let time pass, and what is due happen. */
void initiator_wait(struct initiator *t, uint64_t ms);

/* A command that is under way or has ended. */
struct sent {
    struct scsi_cmd cmd;
    struct iovec in, out;
    unsigned done;
};

/* Send a CDB with these buffers (of t->in, t->out) and wait for its end. */
struct sent send_cdb(struct initiator *t, struct scsi_nexus *nexus,
                     const uint8_t *cdb, size_t cdb_bytes, size_t out_bytes,
                     size_t in_bytes);
#define CDB(...)                                                               \
    (const uint8_t[]){__VA_ARGS__}, sizeof(uint8_t[])                          \
    {                                                                          \
        __VA_ARGS__                                                            \
    }
#define SEND(t, out_bytes, in_bytes, ...)                                      \
    send_cdb(t, (t)->nexus, CDB(__VA_ARGS__), out_bytes, in_bytes)
#define SEND_AS(t, who, out_bytes, in_bytes, ...)                              \
    send_cdb(t, who, CDB(__VA_ARGS__), out_bytes, in_bytes)

/* Submit without waiting; `s` stays where it is. */
void send_start(struct initiator *t, struct scsi_nexus *nexus, struct sent *s,
                const uint8_t *cdb, size_t cdb_bytes, size_t out_bytes,
                size_t in_bytes);

/* key << 16 | asc << 8 | ascq of fixed sense; 0 for any other end. */
uint32_t sense_of(const struct sent *s);
#define CHECK_GOOD(s)                                                          \
    do {                                                                       \
        CHECK_EQ((s).cmd.status, SCSI_GOOD);                                   \
        CHECK_EQ(sense_of(&(s)), 0);                                           \
    } while (0)

/* The usual ones. */
struct sent read10(struct initiator *t, uint32_t lba, uint16_t blocks);
struct sent write10(struct initiator *t, uint32_t lba, uint16_t blocks);

#endif
