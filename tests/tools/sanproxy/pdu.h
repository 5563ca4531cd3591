/* tests/tools/sanproxy/pdu.h - where an iSCSI PDU ends, and which SCSI command
 * is in it.  Pure: knows nothing of connections, clocks or files.
 *
 * Source: RFC 7143 11.2 (Basic Header Segment), 11.3 to 11.19; SBC-4, SPC-5.
 * Digests must be off; what says otherwise is refused.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_TOOLS_SANPROXY_PDU_H
#define LUNAR_TESTS_TOOLS_SANPROXY_PDU_H

#include "base/endian.h"
#include "base/err.h"

enum {
    PDU_HEADER_BYTES = 48,
    /* Of a data segment: four times what libiscsi and tgt agree on. */
    PDU_DATA_MAX_BYTES = 1 << 20
};

/* Who sends it. */
enum pdu_from { PDU_FROM_INITIATOR, PDU_FROM_TARGET };

/* Opcodes (11.2.1.2), without the I bit. */
enum pdu_opcode {
    PDU_NOP_OUT = 0x00,
    PDU_COMMAND = 0x01,
    PDU_TASK_MANAGEMENT = 0x02,
    PDU_LOGIN = 0x03,
    PDU_TEXT = 0x04,
    PDU_DATA_OUT = 0x05,
    PDU_LOGOUT = 0x06,
    PDU_SNACK = 0x10,
    PDU_NOP_IN = 0x20,
    PDU_RESPONSE = 0x21,
    PDU_TASK_MANAGEMENT_RESPONSE = 0x22,
    PDU_LOGIN_RESPONSE = 0x23,
    PDU_TEXT_RESPONSE = 0x24,
    PDU_DATA_IN = 0x25,
    PDU_LOGOUT_RESPONSE = 0x26,
    PDU_R2T = 0x31,
    PDU_ASYNC = 0x32,
    PDU_REJECT = 0x3f
};

/* What rules choose by. */
enum pdu_class {
    PDU_OTHER, /* INQUIRY, PERSISTENT RESERVE IN, … */
    PDU_READ,
    PDU_WRITE, /* all that changes the medium */
    PDU_FLUSH,
    PDU_PR,      /* PERSISTENT RESERVE OUT, RESERVE, RELEASE */
    PDU_PREEMPT, /* … of it PREEMPT, PREEMPT AND ABORT */
    PDU_TMF,
    PDU_CLASSES
};

/* "write"; a class that is none: NULL. */
const char *pdu_class_name(enum pdu_class c);

/* A task: a SCSI command or a task management function. */
struct pdu_task {
    enum pdu_class class;
    const char *name; /* one word: "WRITE(16)", "LOGICAL_UNIT_RESET" */
    uint8_t opcode;   /* of the CDB, or the function */
    bool has_range;   /* the next two mean something */
    uint64_t lba;
    uint32_t blocks;
};

/* How long is the PDU that starts at `bytes`?  Gives 0 while `count` is too
 * little to say.  A result is at most header, 255 words of AHS, data.
 * Errors: E_PROTOCOL (an opcode that this side does not send, too much data);
 * `why` names the field. */
MUST_CHECK enum err pdu_length(const uint8_t *bytes, size_t count,
                               enum pdu_from from, size_t *ret_bytes,
                               struct diag *why);

/* A login response may switch digests on: look, in a whole PDU of that kind.
 * Errors: E_PROTOCOL. */
MUST_CHECK enum err pdu_check_login(const uint8_t *bytes, size_t count,
                                    struct diag *why);

static inline enum pdu_opcode pdu_opcode(const uint8_t *header)
{
    return (enum pdu_opcode)(header[0] & 0x3f);
}

/* Delivered at once, without a CmdSN of its own (4.2.2.1). */
static inline bool pdu_immediate(const uint8_t *header)
{
    return header[0] & 0x40;
}

/* PDU_COMMAND or PDU_TASK_MANAGEMENT: what it asks for. */
struct pdu_task pdu_task(const uint8_t *header);

/* 32-bit fields of a header, by their offset. */
enum { PDU_AT_ITT = 16, PDU_AT_CMDSN = 24, PDU_AT_CDB = 32 };
enum { PDU_AT_REF_ITT = 20, PDU_AT_REF_CMDSN = 32 }; /* of a function */
enum { PDU_AT_EXPCMDSN = 28, PDU_AT_MAXCMDSN = 32 }; /* from a target */

/* Add to such a field, modulo 2^32: serial numbers (RFC 1982). */
static inline void pdu_add32(uint8_t *header, unsigned at, uint32_t delta)
{
    be32_store(header + at, be32_load(header + at) + delta);
}

/* From an initiator: has the header a CmdSN?  (From a target: all have
 * ExpCmdSN and MaxCmdSN.) */
bool pdu_has_cmdsn(const uint8_t *header);

/* From a target: does it end a task, and with which status?  (A response, or
 * the last data with the status in it; a function's response code.) */
bool pdu_ends_task(const uint8_t *header, uint8_t *ret_status);

#endif
