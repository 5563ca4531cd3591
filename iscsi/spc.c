/* iscsi/spc.c - commands of every SCSI device: who are you, what can you do.
 * Touches no medium.  SPC-4 clauses are cited where they decide something.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

void spc_test_unit_ready(struct scsi_cmd *cmd)
{
    scsi_good(cmd);
}

/* SPC-4 6.39: a pending unit attention is returned, and cleared. */
void spc_request_sense(struct scsi_cmd *cmd)
{
    struct sense s = {.code = SENSE_NONE};
    uint8_t buf[SENSE_DESCRIPTOR_BYTES_MAX];
    size_t len;

    if (!cmd->lu)
        s.code = cmd->lun == SCSI_WLUN_REPORT_LUNS ? SENSE_NONE
                                                   : SENSE_LU_NOT_SUPPORTED;
    else
        (void)scsi_ua_take(cmd->nexus, cmd->lun, &s.code);
    len = sense_encode(&s, cmd->cdb[1] & 1, buf);
    scsi_reply(cmd, buf, len, cmd->cdb[4]);
}

/* A text field: left-aligned, filled up with blanks. */
static void put_text(uint8_t *at, size_t room, const char *text)
{
    size_t len = strnlen(text, room);

    memset(at, ' ', room);
    memcpy(at, text, len);
}

enum { INQUIRY_BYTES = 74 };

/* SPC-4 6.6.2.  Where no unit is attached the answer says so, and initiators
 * go on to REPORT LUNS with it (qualifier 011b, type 1Fh). */
static void inquiry_standard(const struct scsi_cmd *cmd, uint8_t *buf)
{
    static const uint16_t versions[] = {
        0x00a0, /* SAM-5 */
        0x0460, /* SPC-4 */
        0x04c0, /* SBC-3 */
    };
    const struct scsi_lu *lu = cmd->lu;
    uint8_t type = 0x00;

    if (!lu)
        type = cmd->lun == SCSI_WLUN_REPORT_LUNS ? 0x1e : 0x7f;
    buf[0] = type;
    buf[2] = 0x06; /* SPC-4 */
    buf[3] = 0x12; /* HISUP, response data format 2 */
    buf[4] = INQUIRY_BYTES - 5;
    buf[7] = 0x02; /* CMDQUE */
    put_text(buf + 8, 8, lu ? lu->vendor : "LUNAR");
    put_text(buf + 16, 16, lu ? lu->product : "CONTROLLER");
    put_text(buf + 32, 4, lu ? lu->revision : "1");
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        be16_store(buf + 58 + 2 * i, versions[i]);
}

void spc_inquiry(struct scsi_cmd *cmd)
{
    uint8_t buf[INQUIRY_BYTES] = {0};

    if (cmd->cdb[1] & 0x01) {
        vpd_inquiry(cmd);
        return;
    }
    if (cmd->cdb[2]) { /* a page code without EVPD */
        scsi_fail_cdb(cmd, 2, -1);
        return;
    }
    inquiry_standard(cmd, buf);
    scsi_reply(cmd, buf, sizeof buf, be16_load(cmd->cdb + 3));
}

/* SPC-4 6.33: answered by LUN 0 and the well-known unit, attached or not; a
 * pending REPORTED LUNS DATA HAS CHANGED is cleared by it. */
void spc_report_luns(struct scsi_cmd *cmd)
{
    uint32_t allocation = be32_load(cmd->cdb + 6);
    uint8_t select = cmd->cdb[2];
    uint8_t buf[8 + 8 * SCSI_LUNS_MAX] = {0};
    uint8_t *at = buf + 8;

    if (cmd->lun && !cmd->lu && cmd->lun != SCSI_WLUN_REPORT_LUNS) {
        scsi_fail(cmd, SENSE_LU_NOT_SUPPORTED);
        return;
    }
    if (select > 2) {
        scsi_fail_cdb(cmd, 2, -1);
        return;
    }
    if (allocation < 16) {
        scsi_fail_cdb(cmd, 6, -1);
        return;
    }
    cmd->nexus->luns_changed = false;
    for (unsigned lun = 0; select != 1 && lun < SCSI_LUNS_MAX; lun++) {
        if (!cmd->bus->slots[lun].lu)
            continue;
        at[1] = (uint8_t)lun; /* peripheral device addressing */
        at += 8;
    }
    be32_store(buf, (uint32_t)(at - buf) - 8);
    scsi_reply(cmd, buf, (size_t)(at - buf), allocation);
}

/* -- REPORT SUPPORTED OPERATION CODES (SPC-4 6.35) ------------------------- */

/* Command time-outs descriptor. */
static size_t put_timeouts(uint8_t *at)
{
    memset(at, 0, 12);
    be16_store(at, 10);
    be32_store(at + 4, SCSI_TIMEOUT_S);
    be32_store(at + 8, SCSI_TIMEOUT_S);
    return 12;
}

static size_t put_descriptor(uint8_t *at, const struct scsi_op *op,
                             bool timeouts)
{
    memset(at, 0, 8);
    at[0] = op->opcode;
    if (op->flags & OP_HAS_ACTION) {
        be16_store(at + 2, op->action);
        at[5] = 0x01;
    }
    if (timeouts)
        at[5] |= 0x02;
    be16_store(at + 6, op->cdb_bytes);
    return 8 + (timeouts ? put_timeouts(at + 8) : 0);
}

enum { OPS_MAX = 96 }; /* rows that fit the answer; a test counts them */

static void report_all(struct scsi_cmd *cmd, bool timeouts)
{
    uint8_t buf[4 + OPS_MAX * 20];
    uint8_t *at = buf + 4;
    const struct scsi_op *op;

    for (size_t i = 0; i < OPS_MAX && (op = scsi_op_at(i)); i++)
        if (scsi_op_supported(op, cmd->lu))
            at += put_descriptor(at, op, timeouts);
    be32_store(buf, (uint32_t)(at - buf) - 4);
    scsi_reply(cmd, buf, (size_t)(at - buf), be32_load(cmd->cdb + 6));
}

static void report_one(struct scsi_cmd *cmd, const struct scsi_op *op,
                       bool timeouts)
{
    uint8_t buf[4 + SCSI_CDB_BYTES_MAX + 12] = {0};
    size_t len = 4;

    buf[1] = op ? 3 : 1;
    if (op) {
        buf[1] |= timeouts ? 0x80 : 0;
        be16_store(buf + 2, op->cdb_bytes);
        buf[4] = op->opcode;
        memcpy(buf + 5, op->usage, op->cdb_bytes - 1U);
        if (op->flags & OP_HAS_ACTION)
            buf[5] = (uint8_t)((buf[5] & 0xe0) | op->action);
        len += op->cdb_bytes;
        if (timeouts)
            len += put_timeouts(buf + len);
    }
    scsi_reply(cmd, buf, len, be32_load(cmd->cdb + 6));
}

void spc_report_opcodes(struct scsi_cmd *cmd)
{
    enum { ALL, OPCODE, ACTION, EITHER } option = cmd->cdb[2] & 7;
    bool timeouts = cmd->cdb[2] & 0x80, known;
    uint8_t want[2] = {cmd->cdb[3], cmd->cdb[5] & 0x1f};
    uint16_t action = be16_load(cmd->cdb + 4);
    const struct scsi_op *op = scsi_op_find(cmd->lu, want, &known);
    bool has_action = op ? op->flags & OP_HAS_ACTION : known;

    if (option == ALL) {
        report_all(cmd, timeouts);
        return;
    }
    if (option > EITHER || (option == OPCODE && has_action) ||
        (option == ACTION && op && !has_action)) {
        scsi_fail_cdb(cmd, 2, 2);
        return;
    }
    if (action > 0x1f || (option == EITHER && !has_action && action))
        op = NULL;
    report_one(cmd, op, timeouts);
}

/* SPC-4 6.36: ABORT TASK (SET), CLEAR TASK SET, LOGICAL UNIT RESET, QUERY
 * TASK (SET), I_T NEXUS RESET. */
void spc_report_tmfs(struct scsi_cmd *cmd)
{
    bool extended = cmd->cdb[2] & 0x80;
    uint8_t buf[16] = {0xd9, 0x03};

    buf[3] = extended ? 12 : 0;
    if (be32_load(cmd->cdb + 6) < 4) {
        scsi_fail_cdb(cmd, 6, -1);
        return;
    }
    scsi_reply(cmd, buf, extended ? 16 : 4, be32_load(cmd->cdb + 6));
}
