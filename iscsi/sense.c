/* iscsi/sense.c - bytes of sense data, and the one table from enum err.
 * Knows no command.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/sense.h"

#include "base/endian.h"

static const struct {
    uint8_t key, asc, ascq;
} sense_codes[SENSE_COUNT] = {
#define X(code, key, asc, ascq) {key, asc, ascq},
    SENSE_LIST(X)
#undef X
};

/* SPC-4 4.5.2.4.2: the field pointer of ILLEGAL REQUEST. */
static void encode_field(const struct sense *s, uint8_t *buf)
{
    buf[0] = (uint8_t)(0x80 | (s->field_in_cdb ? 0x40 : 0));
    if (s->field_bit >= 0)
        buf[0] |= (uint8_t)(0x08 | (s->field_bit & 7));
    be16_store(buf + 1, s->field_byte);
}

static size_t encode_fixed(const struct sense *s, uint8_t *buf)
{
    memset(buf, 0, SENSE_FIXED_BYTES);
    buf[0] = 0x70;
    buf[2] = sense_codes[s->code].key;
    buf[7] = SENSE_FIXED_BYTES - 8;
    buf[12] = sense_codes[s->code].asc;
    buf[13] = sense_codes[s->code].ascq;
    /* SPC-4 4.5.3: VALID only if the value fits four bytes. */
    if (s->has_information && s->information <= UINT32_MAX) {
        buf[0] |= 0x80;
        be32_store(buf + 3, (uint32_t)s->information);
    }
    if (s->has_field)
        encode_field(s, buf + 15);
    return SENSE_FIXED_BYTES;
}

static size_t encode_descriptor(const struct sense *s, uint8_t *buf)
{
    uint8_t *at = buf + 8;

    memset(buf, 0, SENSE_DESCRIPTOR_BYTES_MAX);
    buf[0] = 0x72;
    buf[1] = sense_codes[s->code].key;
    buf[2] = sense_codes[s->code].asc;
    buf[3] = sense_codes[s->code].ascq;
    if (s->has_information) {
        at[0] = 0x00;
        at[1] = 10;
        at[2] = 0x80;
        be64_store(at + 4, s->information);
        at += 12;
    }
    if (s->has_field) {
        at[0] = 0x02;
        at[1] = 6;
        encode_field(s, at + 4);
        at += 8;
    }
    buf[7] = (uint8_t)(at - buf - 8);
    return (size_t)(at - buf);
}

size_t sense_encode(const struct sense *s, bool descriptor, uint8_t *buf)
{
    return descriptor ? encode_descriptor(s, buf) : encode_fixed(s, buf);
}

/* What gives false is a status, not sense: a conflict, or BUSY, which guests
 * repeat. */
bool sense_from_err(enum err e, bool writing, enum sense_code *ret_code)
{
    switch (e) {
    case E_RESERVED:
    case E_NOMEM:
    case E_BUSY:
    case E_AGAIN:
    case E_TRY_LATER:
    case E_REDIRECT:
    case E_INTERRUPTED:
    case E_LUN_BUSY:
    case E_EPOCH:
    case E_NO_QUORUM:
    case E_NOLCK:
    case E_DEADLOCK: return false;
    case E_RANGE:
    case E_NXIO: *ret_code = SENSE_LBA_RANGE; return true;
    case E_ALIGN:
    case E_INVAL:
    case E_UNSUPPORTED: *ret_code = SENSE_INVALID_CDB_FIELD; return true;
    case E_CANCELED: *ret_code = SENSE_ABORTED; return true;
    case E_TIMEOUT: *ret_code = SENSE_TIME_OUT; return true;
    case E_READ_ONLY:
    case E_ACCESS:
    case E_PERM: *ret_code = SENSE_WRITE_PROTECTED; return true;
    case E_VOL_FULL:
    case E_LUN_SMALL:
    case E_TOO_BIG: *ret_code = SENSE_SPACE_EXHAUSTED; return true;

    /* The way to the data is lost; nothing the guest could do helps. */
    case E_LUN_GONE:
    case E_VOL_OFFLINE:
    case E_FENCED:
    case E_HANDLE_HELD:
    case E_STALE:
    case E_NOENT:
    case E_CLOSED: *ret_code = SENSE_NOT_READY_MANUAL; return true;

    /* The data or what describes it is bad. */
    case E_IO:
    case E_CORRUPT:
    case E_CHECKSUM:
    case E_NODATA:
    case E_VHD_FOOTER:
    case E_VHD_HEADER:
    case E_VHD_BAT:
    case E_VHD_PARENT:
        *ret_code = writing ? SENSE_WRITE_ERROR : SENSE_READ_ERROR;
        return true;
    /* No store should say these: our own failure. */
    case E_OK:
    case E_EXIST:
    case E_NOTDIR:
    case E_ISDIR:
    case E_NOTEMPTY:
    case E_NAME_TOO_LONG:
    case E_LINKS:
    case E_CROSS_VOLUME:
    case E_XATTR_SIZE:
    case E_URL:
    case E_NOT_VOLUME:
    case E_IS_VOLUME:
    case E_VERSION:
    case E_VHD_TYPE:
    case E_PROTOCOL:
    case E_CONFIG:
    case ERR_COUNT: break;
    }
    *ret_code = SENSE_TARGET_FAILURE;
    return true;
}
