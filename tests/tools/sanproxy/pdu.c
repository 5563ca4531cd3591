/* tests/tools/sanproxy/pdu.c - where an iSCSI PDU ends, and which SCSI command
 * is in it: tables, and bounds for what comes from outside.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/sanproxy/pdu.h"

#include <string.h>

enum { LENGTHS_BYTES = 8 };

static const char *const class_names[] = {
    [PDU_OTHER] = "other", [PDU_READ] = "read", [PDU_WRITE] = "write",
    [PDU_FLUSH] = "flush", [PDU_PR] = "pr",     [PDU_PREEMPT] = "preempt",
    [PDU_TMF] = "tmf",
};

const char *pdu_class_name(enum pdu_class c)
{
    return (unsigned)c < ARRAY_LEN(class_names) ? class_names[c] : NULL;
}

/* -- framing --------------------------------------------------------------- */

static bool is_sent_by(enum pdu_from from, uint8_t opcode)
{
    static const uint8_t initiator[] = {
        PDU_NOP_OUT, PDU_COMMAND,  PDU_TASK_MANAGEMENT, PDU_LOGIN,
        PDU_TEXT,    PDU_DATA_OUT, PDU_LOGOUT,          PDU_SNACK};
    static const uint8_t target[] = {
        PDU_NOP_IN,          PDU_RESPONSE,      PDU_TASK_MANAGEMENT_RESPONSE,
        PDU_LOGIN_RESPONSE,  PDU_TEXT_RESPONSE, PDU_DATA_IN,
        PDU_LOGOUT_RESPONSE, PDU_R2T,           PDU_ASYNC,
        PDU_REJECT};

    return from == PDU_FROM_INITIATOR
               ? memchr(initiator, opcode, sizeof initiator) != NULL
               : memchr(target, opcode, sizeof target) != NULL;
}

enum err pdu_length(const uint8_t *bytes, size_t count, enum pdu_from from,
                    size_t *ret_bytes, struct diag *why)
{
    const char *who = from == PDU_FROM_INITIATOR ? "initiator" : "target";
    size_t data;

    *ret_bytes = 0;
    if (!count)
        return E_OK;
    if (!is_sent_by(from, (uint8_t)pdu_opcode(bytes)))
        return diag_fail(why, E_PROTOCOL,
                         "opcode 0x%02x: no PDU that an %s sends",
                         pdu_opcode(bytes), who);
    if (count < LENGTHS_BYTES)
        return E_OK;
    data = be32_load(bytes + 4) & 0xffffff;
    if (data > PDU_DATA_MAX_BYTES)
        return diag_fail(why, E_PROTOCOL,
                         "DataSegmentLength %zu of opcode 0x%02x: more than %d",
                         data, pdu_opcode(bytes), PDU_DATA_MAX_BYTES);
    *ret_bytes = PDU_HEADER_BYTES + bytes[4] * (size_t)4 + align_up(data, 4);
    return E_OK;
}

/* The data segment is "key=value" texts, each with a NUL behind it. */
enum err pdu_check_login(const uint8_t *bytes, size_t count, struct diag *why)
{
    size_t at = PDU_HEADER_BYTES + bytes[4] * (size_t)4;
    size_t end = at + (be32_load(bytes + 4) & 0xffffff);

    ASSERT(end <= count);
    while (at < end) {
        const char *text = (const char *)bytes + at;
        size_t len = strnlen(text, end - at);

        if ((memmem(text, len, "HeaderDigest=", 13) ||
             memmem(text, len, "DataDigest=", 11)) &&
            memmem(text, len, "CRC32C", 6))
            return diag_fail(why, E_PROTOCOL,
                             "login response, offset %zu: \"%.*s\": digests "
                             "are not understood here",
                             at, (int)min_u64(len, 64), text);
        at += len + 1;
    }
    return E_OK;
}

bool pdu_has_cmdsn(const uint8_t *header)
{
    return pdu_opcode(header) != PDU_DATA_OUT &&
           pdu_opcode(header) != PDU_SNACK;
}

bool pdu_ends_task(const uint8_t *header, uint8_t *ret_status)
{
    enum pdu_opcode opcode = pdu_opcode(header);

    if (opcode == PDU_TASK_MANAGEMENT_RESPONSE) {
        *ret_status = header[2];
        return true;
    }
    *ret_status = header[3];
    return opcode == PDU_RESPONSE || (opcode == PDU_DATA_IN && header[1] & 1);
}

/* -- commands -------------------------------------------------------------- */

/* Where LBA and count are in a CDB. */
enum range { NO_RANGE, CDB6, CDB10, CDB12, CDB16, CAW16 };

static const struct row {
    uint8_t opcode;
    enum pdu_class class;
    enum range range;
    const char *name;
} rows[] = {
    {0x00, PDU_OTHER, NO_RANGE, "TEST_UNIT_READY"      },
    {0x04, PDU_WRITE, NO_RANGE, "FORMAT_UNIT"          },
    {0x08, PDU_READ,  CDB6,     "READ(6)"              },
    {0x0a, PDU_WRITE, CDB6,     "WRITE(6)"             },
    {0x12, PDU_OTHER, NO_RANGE, "INQUIRY"              },
    {0x15, PDU_OTHER, NO_RANGE, "MODE_SELECT(6)"       },
    {0x16, PDU_PR,    NO_RANGE, "RESERVE(6)"           },
    {0x17, PDU_PR,    NO_RANGE, "RELEASE(6)"           },
    {0x1a, PDU_OTHER, NO_RANGE, "MODE_SENSE(6)"        },
    {0x25, PDU_OTHER, NO_RANGE, "READ_CAPACITY(10)"    },
    {0x28, PDU_READ,  CDB10,    "READ(10)"             },
    {0x2a, PDU_WRITE, CDB10,    "WRITE(10)"            },
    {0x2e, PDU_WRITE, CDB10,    "WRITE_AND_VERIFY(10)" },
    {0x35, PDU_FLUSH, CDB10,    "SYNCHRONIZE_CACHE(10)"},
    {0x41, PDU_WRITE, CDB10,    "WRITE_SAME(10)"       },
    {0x42, PDU_WRITE, NO_RANGE, "UNMAP"                },
    {0x5e, PDU_OTHER, NO_RANGE, "PERSISTENT_RESERVE_IN"},
    {0x88, PDU_READ,  CDB16,    "READ(16)"             },
    {0x89, PDU_WRITE, CAW16,    "COMPARE_AND_WRITE"    },
    {0x8a, PDU_WRITE, CDB16,    "WRITE(16)"            },
    {0x8b, PDU_WRITE, CDB16,    "ORWRITE(16)"          },
    {0x8e, PDU_WRITE, CDB16,    "WRITE_AND_VERIFY(16)" },
    {0x91, PDU_FLUSH, CDB16,    "SYNCHRONIZE_CACHE(16)"},
    {0x93, PDU_WRITE, CDB16,    "WRITE_SAME(16)"       },
    {0x9e, PDU_OTHER, NO_RANGE, "SERVICE_ACTION_IN(16)"},
    {0xa0, PDU_OTHER, NO_RANGE, "REPORT_LUNS"          },
    {0xa8, PDU_READ,  CDB12,    "READ(12)"             },
    {0xaa, PDU_WRITE, CDB12,    "WRITE(12)"            },
    {0xae, PDU_WRITE, CDB12,    "WRITE_AND_VERIFY(12)" },
};

enum { PERSISTENT_RESERVE_OUT = 0x5f, PREEMPT = 4, PREEMPT_AND_ABORT = 5 };

static const char *pr_out_name(uint8_t action)
{
    static const char *const names[] = {"PR_REGISTER",
                                        "PR_RESERVE",
                                        "PR_RELEASE",
                                        "PR_CLEAR",
                                        "PR_PREEMPT",
                                        "PR_PREEMPT_AND_ABORT",
                                        "PR_REGISTER_AND_IGNORE",
                                        "PR_REGISTER_AND_MOVE"};

    return action < ARRAY_LEN(names) ? names[action] : "PERSISTENT_RESERVE_OUT";
}

static const char *function_name(uint8_t function)
{
    static const char *const names[] = {
        "FUNCTION",          "ABORT_TASK",        "ABORT_TASK_SET",
        "CLEAR_ACA",         "CLEAR_TASK_SET",    "LOGICAL_UNIT_RESET",
        "TARGET_WARM_RESET", "TARGET_COLD_RESET", "TASK_REASSIGN"};

    return names[function < ARRAY_LEN(names) ? function : 0];
}

static void find_range(const uint8_t *cdb, enum range range,
                       struct pdu_task *task)
{
    task->has_range = range != NO_RANGE;
    switch (range) {
    case NO_RANGE: break;
    case CDB6:
        task->lba = be32_load(cdb) & 0x1fffff;
        task->blocks = cdb[4] ? cdb[4] : 256;
        break;
    case CDB10:
        task->lba = be32_load(cdb + 2);
        task->blocks = be16_load(cdb + 7);
        break;
    case CDB12:
        task->lba = be32_load(cdb + 2);
        task->blocks = be32_load(cdb + 6);
        break;
    case CDB16:
        task->lba = be64_load(cdb + 2);
        task->blocks = be32_load(cdb + 10);
        break;
    case CAW16:
        task->lba = be64_load(cdb + 2);
        task->blocks = cdb[13];
        break;
    }
}

struct pdu_task pdu_task(const uint8_t *header)
{
    const uint8_t *cdb = header + PDU_AT_CDB;
    struct pdu_task task = {.name = "COMMAND", .opcode = cdb[0]};

    if (pdu_opcode(header) == PDU_TASK_MANAGEMENT) {
        task.opcode = header[1] & 0x7f;
        task.class = PDU_TMF;
        task.name = function_name(task.opcode);
    } else if (cdb[0] == PERSISTENT_RESERVE_OUT) {
        uint8_t action = cdb[1] & 0x1f;

        task.class = action == PREEMPT || action == PREEMPT_AND_ABORT
                         ? PDU_PREEMPT
                         : PDU_PR;
        task.name = pr_out_name(action);
    }
    for (size_t i = 0; task.class != PDU_TMF && i < ARRAY_LEN(rows); i++) {
        if (rows[i].opcode != cdb[0])
            continue;
        task.class = rows[i].class;
        task.name = rows[i].name;
        find_range(cdb, rows[i].range, &task);
    }
    return task;
}
