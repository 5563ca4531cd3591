/* iscsi/ops.c - the commands we know, one row each.
 * The table is what is dispatched, what REPORT SUPPORTED OPERATION CODES
 * tells, and the documentation.  Runs nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

#define ANY   0xff
#define LBA32 ANY, ANY, ANY, ANY
#define LBA64 LBA32, LBA32
#define LEN16 ANY, ANY
#define LEN32 ANY, ANY, ANY, ANY

enum { WRITES = OP_MODIFIES, ANYTIME = OP_NO_UA | OP_NO_LU };

/* Sorted by operation code, then service action. */
/* clang-format off */
static const struct scsi_op scsi_ops[] = {
    /* opcode, action, length, reservation, flags, name, run,
     *     usage of the bytes from 1 on */
    {0x00, 0, 6, ACCESS_ANY, 0, "TEST UNIT READY", spc_test_unit_ready,
        {0, 0, 0, 0, 4}},
    {0x03, 0, 6, ACCESS_ANY, ANYTIME, "REQUEST SENSE", spc_request_sense,
        {1, 0, 0, ANY, 4}},
    {0x08, 0, 6, ACCESS_READ, 0, "READ(6)", sbc_read,
        {0x1f, ANY, ANY, ANY, 4}},
    {0x0a, 0, 6, ACCESS_WRITE, WRITES, "WRITE(6)", sbc_write,
        {0x1f, ANY, ANY, ANY, 4}},
    {0x12, 0, 6, ACCESS_ANY, ANYTIME, "INQUIRY", spc_inquiry,
        {1, ANY, LEN16, 4}},
    {0x15, 0, 6, ACCESS_WRITE, 0, "MODE SELECT(6)", mode_select,
        {0x11, 0, 0, ANY, 4}},
    {0x1a, 0, 6, ACCESS_READ, 0, "MODE SENSE(6)", mode_sense,
        {8, ANY, ANY, ANY, 4}},
    {0x1b, 0, 6, ACCESS_ANY, 0, "START STOP UNIT", sbc_start_stop,
        {1, 0, 0, 0xf7, 4}},
    {0x1e, 0, 6, ACCESS_ANY, 0, "PREVENT ALLOW MEDIUM REMOVAL",
        sbc_prevent_allow, {0, 0, 0, 3, 4}},
    {0x25, 0, 10, ACCESS_ANY, 0, "READ CAPACITY(10)",
        sbc_read_capacity10, {1, LBA32, 0, 0, 1, 4}},
    {0x28, 0, 10, ACCESS_READ, 0, "READ(10)", sbc_read,
        {0xf8, LBA32, 0, LEN16, 4}},
    {0x2a, 0, 10, ACCESS_WRITE, WRITES, "WRITE(10)", sbc_write,
        {0xf8, LBA32, 0, LEN16, 4}},
    {0x2e, 0, 10, ACCESS_WRITE, WRITES, "WRITE AND VERIFY(10)",
        sbc_write_verify, {0xf6, LBA32, 0, LEN16, 4}},
    {0x2f, 0, 10, ACCESS_READ, 0, "VERIFY(10)", sbc_verify,
        {0xf6, LBA32, 0, LEN16, 4}},
    {0x34, 0, 10, ACCESS_READ, 0, "PRE-FETCH(10)", sbc_prefetch,
        {2, LBA32, 0, LEN16, 4}},
    {0x35, 0, 10, ACCESS_WRITE, 0, "SYNCHRONIZE CACHE(10)",
        sbc_synchronize_cache, {2, LBA32, 0, LEN16, 4}},
    {0x41, 0, 10, ACCESS_WRITE, WRITES, "WRITE SAME(10)", sbc_write_same,
        {0xf8, LBA32, 0, LEN16, 4}},
    {0x42, 0, 10, ACCESS_WRITE, WRITES | OP_THIN, "UNMAP", sbc_unmap,
        {1, 0, 0, 0, 0, 0, LEN16, 4}},
    {0x55, 0, 10, ACCESS_WRITE, 0, "MODE SELECT(10)", mode_select,
        {0x11, 0, 0, 0, 0, 0, LEN16, 4}},
    {0x5a, 0, 10, ACCESS_READ, 0, "MODE SENSE(10)", mode_sense,
        {0x18, ANY, ANY, 0, 0, 0, LEN16, 4}},
    {0x5e, 0, 10, ACCESS_ANY, OP_HAS_ACTION,
        "PERSISTENT RESERVE IN (READ KEYS)", pr_in_read_keys,
        {0x1f, 0, 0, 0, 0, 0, LEN16, 4}},
    {0x5e, 1, 10, ACCESS_ANY, OP_HAS_ACTION,
        "PERSISTENT RESERVE IN (READ RESERVATION)", pr_in_read_reservation,
        {0x1f, 0, 0, 0, 0, 0, LEN16, 4}},
    {0x5e, 2, 10, ACCESS_ANY, OP_HAS_ACTION,
        "PERSISTENT RESERVE IN (REPORT CAPABILITIES)",
        pr_in_report_capabilities, {0x1f, 0, 0, 0, 0, 0, LEN16, 4}},
    {0x5e, 3, 10, ACCESS_ANY, OP_HAS_ACTION,
        "PERSISTENT RESERVE IN (READ FULL STATUS)", pr_in_read_full_status,
        {0x1f, 0, 0, 0, 0, 0, LEN16, 4}},
    {0x5f, 0, 10, ACCESS_PR, OP_HAS_ACTION,
        "PERSISTENT RESERVE OUT (REGISTER)", pr_out,
        {0x1f, ANY, 0, 0, LEN32, 4}},
    {0x5f, 1, 10, ACCESS_PR, OP_HAS_ACTION,
        "PERSISTENT RESERVE OUT (RESERVE)", pr_out,
        {0x1f, ANY, 0, 0, LEN32, 4}},
    {0x5f, 2, 10, ACCESS_PR, OP_HAS_ACTION,
        "PERSISTENT RESERVE OUT (RELEASE)", pr_out,
        {0x1f, ANY, 0, 0, LEN32, 4}},
    {0x5f, 3, 10, ACCESS_PR, OP_HAS_ACTION,
        "PERSISTENT RESERVE OUT (CLEAR)", pr_out,
        {0x1f, ANY, 0, 0, LEN32, 4}},
    {0x5f, 4, 10, ACCESS_PR, OP_HAS_ACTION,
        "PERSISTENT RESERVE OUT (PREEMPT)", pr_out,
        {0x1f, ANY, 0, 0, LEN32, 4}},
    {0x5f, 5, 10, ACCESS_PR, OP_HAS_ACTION,
        "PERSISTENT RESERVE OUT (PREEMPT AND ABORT)", pr_out,
        {0x1f, ANY, 0, 0, LEN32, 4}},
    {0x5f, 6, 10, ACCESS_PR, OP_HAS_ACTION,
        "PERSISTENT RESERVE OUT (REGISTER AND IGNORE EXISTING KEY)", pr_out,
        {0x1f, ANY, 0, 0, LEN32, 4}},
    {0x88, 0, 16, ACCESS_READ, 0, "READ(16)", sbc_read,
        {0xf8, LBA64, LEN32, 0, 4}},
    {0x89, 0, 16, ACCESS_WRITE, WRITES, "COMPARE AND WRITE",
        sbc_compare_and_write, {0xf8, LBA64, 0, 0, 0, ANY, 0, 4}},
    {0x8a, 0, 16, ACCESS_WRITE, WRITES, "WRITE(16)", sbc_write,
        {0xf8, LBA64, LEN32, 0, 4}},
    {0x8b, 0, 16, ACCESS_WRITE, WRITES, "ORWRITE(16)", sbc_orwrite,
        {0xf8, LBA64, LEN32, 0, 4}},
    {0x8e, 0, 16, ACCESS_WRITE, WRITES, "WRITE AND VERIFY(16)",
        sbc_write_verify, {0xf6, LBA64, LEN32, 0, 4}},
    {0x8f, 0, 16, ACCESS_READ, 0, "VERIFY(16)", sbc_verify,
        {0xf6, LBA64, LEN32, 0, 4}},
    {0x90, 0, 16, ACCESS_READ, 0, "PRE-FETCH(16)", sbc_prefetch,
        {2, LBA64, LEN32, 0, 4}},
    {0x91, 0, 16, ACCESS_WRITE, 0, "SYNCHRONIZE CACHE(16)",
        sbc_synchronize_cache, {2, LBA64, LEN32, 0, 4}},
    {0x93, 0, 16, ACCESS_WRITE, WRITES, "WRITE SAME(16)", sbc_write_same,
        {0xf9, LBA64, LEN32, 0, 4}},
    {0x9e, 0x10, 16, ACCESS_ANY, OP_HAS_ACTION, "READ CAPACITY(16)",
        sbc_read_capacity16, {0x1f, LBA64, LEN32, 1, 4}},
    {0xa0, 0, 12, ACCESS_ANY, ANYTIME, "REPORT LUNS", spc_report_luns,
        {0, ANY, 0, 0, 0, LEN32, 0, 4}},
    {0xa3, 0x0c, 12, ACCESS_ANY, OP_HAS_ACTION,
        "REPORT SUPPORTED OPERATION CODES", spc_report_opcodes,
        {0x1f, 0x87, ANY, LEN16, LEN32, 0, 4}},
    {0xa3, 0x0d, 12, ACCESS_ANY, OP_HAS_ACTION,
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", spc_report_tmfs,
        {0x1f, 0x80, 0, 0, 0, LEN32, 0, 4}},
    {0xa8, 0, 12, ACCESS_READ, 0, "READ(12)", sbc_read,
        {0xf8, LBA32, LEN32, 0, 4}},
    {0xaa, 0, 12, ACCESS_WRITE, WRITES, "WRITE(12)", sbc_write,
        {0xf8, LBA32, LEN32, 0, 4}},
    {0xae, 0, 12, ACCESS_WRITE, WRITES, "WRITE AND VERIFY(12)",
        sbc_write_verify, {0xf6, LBA32, LEN32, 0, 4}},
    {0xaf, 0, 12, ACCESS_READ, 0, "VERIFY(12)", sbc_verify,
        {0xf6, LBA32, LEN32, 0, 4}},
};
/* clang-format on */

const struct scsi_op *scsi_op_at(size_t i)
{
    return i < ARRAY_LEN(scsi_ops) ? &scsi_ops[i] : NULL;
}

bool scsi_op_supported(const struct scsi_op *op, const struct scsi_lu *lu)
{
    return !(op->flags & OP_THIN) || (lu && lu->thin);
}

/* The first row of this operation code; NULL: none. */
static const struct scsi_op *first_row(uint8_t opcode)
{
    size_t low = 0, high = ARRAY_LEN(scsi_ops);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (scsi_ops[middle].opcode < opcode)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == ARRAY_LEN(scsi_ops) || scsi_ops[low].opcode != opcode)
        return NULL;
    return &scsi_ops[low];
}

const struct scsi_op *scsi_op_find(const struct scsi_lu *lu, const uint8_t *cdb,
                                   bool *ret_known)
{
    const struct scsi_op *op = first_row(cdb[0]);
    const struct scsi_op *end = scsi_ops + ARRAY_LEN(scsi_ops);

    *ret_known = op && scsi_op_supported(op, lu);
    if (!*ret_known)
        return NULL;
    if (!(op->flags & OP_HAS_ACTION))
        return op;
    for (; op < end && op->opcode == cdb[0]; op++)
        if (op->action == (cdb[1] & 0x1f))
            return op;
    return NULL;
}
