/* iscsi/lun_vpd.c - decodes INQUIRY, its pages, READ CAPACITY, MODE SENSE.
 * Checks every length against what came; believes nothing else.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_vpd.h"

#include "base/endian.h"

#include <stdio.h>
#include <string.h>

enum {
    BLOCK_BYTES_MIN = 512,
    BLOCK_BYTES_MAX = 65536,
    VPD_HEADER_BYTES = 4,
    DESIGNATOR_HEADER_BYTES = 4
};

/* Copy a field of blank-padded ASCII; what is not printable becomes '?'. */
static void copy_ascii(const uint8_t *from, size_t bytes, char *to, size_t room)
{
    while (bytes && (from[bytes - 1] == ' ' || from[bytes - 1] == '\0'))
        bytes--;
    while (bytes && *from == ' ') {
        from++;
        bytes--;
    }
    bytes = min_u64(bytes, room - 1);
    for (size_t i = 0; i < bytes; i++)
        to[i] = from[i] >= ' ' && from[i] < 0x7f ? (char)from[i] : '?';
    to[bytes] = '\0';
}

enum err lun_vpd_inquiry(struct lun_answer answer, struct lun_identity *id)
{
    const uint8_t *b = answer.bytes;

    if (answer.count < 36)
        return E_PROTOCOL;
    if (b[0] >> 5) /* peripheral qualifier: nothing connected */
        return E_NOENT;
    if (b[0] & 0x1f) /* not a direct access block device */
        return E_UNSUPPORTED;
    copy_ascii(b + 8, 8, id->vendor, sizeof id->vendor);
    copy_ascii(b + 16, 16, id->product, sizeof id->product);
    copy_ascii(b + 32, 4, id->revision, sizeof id->revision);
    return E_OK;
}

enum err lun_vpd_capacity(struct lun_answer answer, struct lun_limits *limits)
{
    const uint8_t *b = answer.bytes;
    uint64_t last;
    uint32_t block;

    if (answer.count < 16)
        return E_PROTOCOL;
    last = be64_load(b);
    block = be32_load(b + 8);
    if (block < BLOCK_BYTES_MIN || block > BLOCK_BYTES_MAX ||
        !is_power_of_two(block))
        return E_UNSUPPORTED;
    if (last >= INT64_MAX / block)
        return E_PROTOCOL;
    limits->blocks = last + 1;
    limits->block_bytes = block;
    /* The exponent is four bits; no disk has physical blocks over 1 MiB. */
    limits->physical_bytes =
        (uint32_t)min_u64((uint64_t)block << (b[13] & 0x0f), 1 << 20);
    limits->thin = b[14] & 0x80;
    limits->unmapped_reads_zeros = b[14] & 0x40;
    return E_OK;
}

/* The part of a VPD page after its header; empty if it is another page. */
static struct lun_answer page_body(struct lun_answer page, uint8_t code)
{
    struct lun_answer none = {NULL, 0};
    size_t said;

    if (page.count < VPD_HEADER_BYTES || page.bytes[1] != code)
        return none;
    said = be16_load(page.bytes + 2);
    return (struct lun_answer){page.bytes + VPD_HEADER_BYTES,
                               min_u64(said, page.count - VPD_HEADER_BYTES)};
}

void lun_vpd_serial(struct lun_answer page_80, struct lun_identity *id)
{
    struct lun_answer body = page_body(page_80, 0x80);

    if (body.count)
        copy_ascii(body.bytes, body.count, id->serial, sizeof id->serial);
}

/* -- device identification, SPC-4 7.8.6 ------------------------------------ */

enum { CODE_BINARY = 1, CODE_ASCII = 2, CODE_UTF8 = 3 };

/* Worth of a designator type as a name of the LUN, as Linux ranks them. */
static int designator_rank(uint8_t type)
{
    static const uint8_t best_last[] = {1 /* T10 */, 8 /* SCSI name */,
                                        2 /* EUI-64 */, 3 /* NAA */};

    for (size_t i = 0; i < ARRAY_LEN(best_last); i++)
        if (best_last[i] == type)
            return (int)i + 1;
    return 0;
}

static void designator_to_text(uint8_t type, uint8_t code, const uint8_t *bytes,
                               size_t count, char *out, size_t room)
{
    const char *prefix = type == 3 ? "naa." : type == 2 ? "eui." : "";
    size_t used =
        (size_t)snprintf(out, room, "%s", type == 1 ? "t10." : prefix);

    if (code != CODE_BINARY) {
        copy_ascii(bytes, count, out + used, room - used);
        return;
    }
    for (size_t i = 0; i < count && used + 3 <= room; i++, used += 2)
        snprintf(out + used, room - used, "%02x", bytes[i]);
}

void lun_vpd_wwid(struct lun_answer page_83, struct lun_identity *id)
{
    struct lun_answer rest = page_body(page_83, 0x83);
    int best = 0;

    while (rest.count >= DESIGNATOR_HEADER_BYTES) {
        const uint8_t *b = rest.bytes;
        size_t bytes = (size_t)b[3] + DESIGNATOR_HEADER_BYTES;
        int rank = designator_rank(b[1] & 0x0f);

        if (bytes > rest.count)
            return;
        /* association 0: the logical unit, not its port */
        if ((b[1] & 0x30) == 0 && rank > best && b[3]) {
            best = rank;
            designator_to_text(b[1] & 0x0f, b[0] & 0x0f,
                               b + DESIGNATOR_HEADER_BYTES, b[3], id->wwid,
                               sizeof id->wwid);
        }
        rest.bytes += bytes;
        rest.count -= bytes;
    }
}

/* -- limits ---------------------------------------------------------------- */

/* SBC-3 6.5.3 */
void lun_vpd_block_limits(struct lun_answer page_b0, struct lun_limits *limits)
{
    struct lun_answer body = page_body(page_b0, 0xb0);

    if (body.count >= 8)
        limits->transfer_max_blocks = be32_load(body.bytes + 4);
    /* A maximum of descriptors of 0 says: no UNMAP. */
    if (body.count >= 24 && be32_load(body.bytes + 20))
        limits->unmap_max_blocks = be32_load(body.bytes + 16);
    if (body.count >= 40)
        limits->same_max_blocks = be64_load(body.bytes + 32);
}

/* SBC-3 6.5.4 */
void lun_vpd_provisioning(struct lun_answer page_b2, struct lun_limits *limits)
{
    struct lun_answer body = page_body(page_b2, 0xb2);

    if (body.count < 2)
        return;
    if (!(body.bytes[1] & 0x80)) /* LBPU */
        limits->unmap_max_blocks = 0;
    limits->same_unmaps = body.bytes[1] & 0x40; /* LBPWS */
}

/* SPC-4 7.5.1, SBC-3 6.4.5 */
void lun_vpd_caching(struct lun_answer answer, struct lun_limits *limits)
{
    const uint8_t *b = answer.bytes;
    size_t page;

    if (answer.count < 4)
        return;
    limits->write_protected = b[2] & 0x80;
    limits->fua = b[2] & 0x10;
    page = 4 + (size_t)b[3];
    if (range_ok(page, 3, answer.count) && (b[page] & 0x3f) == 0x08)
        limits->write_cache = b[page + 2] & 0x04;
}
