/* iscsi/sense.h - sense data: what went wrong, in SCSI's words.
 * Builds bytes; decides nothing but the one translation from enum err.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_SENSE_H
#define LUNAR_ISCSI_SENSE_H

#include "base/err.h"

/* Every condition that is reported: code, key, ASC, ASCQ (SPC-4 annex E). */
/* clang-format off */
#define SENSE_LIST(X)                                                          \
    X(SENSE_NONE,                0x0, 0x00, 0x00) /* also: pass on as BUSY */  \
    X(SENSE_NOT_READY_MANUAL,    0x2, 0x04, 0x03)                              \
    X(SENSE_WRITE_ERROR,         0x3, 0x0c, 0x00)                              \
    X(SENSE_READ_ERROR,          0x3, 0x11, 0x00)                              \
    X(SENSE_TARGET_FAILURE,      0x4, 0x44, 0x00)                              \
    X(SENSE_PARAMETER_LENGTH,    0x5, 0x1a, 0x00)                              \
    X(SENSE_INVALID_OPCODE,      0x5, 0x20, 0x00)                              \
    X(SENSE_LBA_RANGE,           0x5, 0x21, 0x00)                              \
    X(SENSE_INVALID_CDB_FIELD,   0x5, 0x24, 0x00)                              \
    X(SENSE_LU_NOT_SUPPORTED,    0x5, 0x25, 0x00)                              \
    X(SENSE_INVALID_PARAMETER,   0x5, 0x26, 0x00)                              \
    X(SENSE_INVALID_RELEASE,     0x5, 0x26, 0x04)                              \
    X(SENSE_SAVING_UNSUPPORTED,  0x5, 0x39, 0x00)                              \
    X(SENSE_REGISTRATIONS_FULL,  0x5, 0x55, 0x04)                              \
    X(SENSE_POWER_ON,            0x6, 0x29, 0x00)                              \
    X(SENSE_RESET,               0x6, 0x29, 0x03)                              \
    X(SENSE_NEXUS_LOSS,          0x6, 0x29, 0x07)                              \
    X(SENSE_MODE_CHANGED,        0x6, 0x2a, 0x01)                              \
    X(SENSE_RES_PREEMPTED,       0x6, 0x2a, 0x03)                              \
    X(SENSE_RES_RELEASED,        0x6, 0x2a, 0x04)                              \
    X(SENSE_REG_PREEMPTED,       0x6, 0x2a, 0x05)                              \
    X(SENSE_CAPACITY_CHANGED,    0x6, 0x2a, 0x09)                              \
    X(SENSE_LUNS_CHANGED,        0x6, 0x3f, 0x0e)                              \
    X(SENSE_WRITE_PROTECTED,     0x7, 0x27, 0x00)                              \
    X(SENSE_SPACE_EXHAUSTED,     0x7, 0x27, 0x07)                              \
    X(SENSE_ABORTED,             0xb, 0x00, 0x00)                              \
    X(SENSE_TIME_OUT,            0xb, 0x08, 0x01)                              \
    X(SENSE_MISCOMPARE,          0xe, 0x1d, 0x00)
/* clang-format on */

enum sense_code {
#define X(code, key, asc, ascq) code,
    SENSE_LIST(X)
#undef X
        SENSE_COUNT
};

enum { SENSE_FIXED_BYTES = 18, SENSE_DESCRIPTOR_BYTES_MAX = 28 };

struct sense {
    enum sense_code code;
    bool has_information; /* INFORMATION: an LBA or a byte offset */
    uint64_t information;
    bool has_field; /* SENSE KEY SPECIFIC: points at a field */
    bool field_in_cdb;
    uint16_t field_byte;
    int8_t field_bit; /* negative: the whole byte */
};

/* Write it in fixed or descriptor format (SPC-4 4.5); returns the bytes. */
size_t sense_encode(const struct sense *s, bool descriptor, uint8_t *buf);

/* How a failed store operation is told to the guest: false = as status BUSY
 * (try again), E_RESERVED as RESERVATION CONFLICT; true = with this code. */
bool sense_from_err(enum err e, bool writing, enum sense_code *ret_code);

#endif
