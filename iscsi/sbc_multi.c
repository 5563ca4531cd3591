/* iscsi/sbc_multi.c - commands that look at data or take several steps.
 * They work through one scratch buffer, piece by piece; at_bytes of end_bytes
 * is how far they are.  Plain reads and writes never come here.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

static uint64_t piece_bytes(const struct scsi_cmd *cmd)
{
    return min_u64(cmd->end_bytes - cmd->at_bytes, SCSI_SCRATCH_BYTES);
}

static uint64_t piece_offset(const struct scsi_cmd *cmd)
{
    return sbc_offset(cmd) + cmd->at_bytes;
}

static uint32_t block_bytes(const struct scsi_cmd *cmd)
{
    return cmd->lu->store->block_bytes;
}

/* Is there as much data-out as the CDB says?  false: it has ended. */
static bool data_is_there(struct scsi_cmd *cmd, uint64_t need)
{
    cmd->asked_bytes = need;
    cmd->moved_bytes = min_u64(need, cmd->out_bytes);
    if (cmd->out_bytes >= need)
        return true;
    scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
    return false;
}

/* -- READ into a buffer that ends inside a block --------------------------- */

static void short_step(struct scsi_cmd *cmd, enum err e);

static void short_read(struct scsi_cmd *cmd, enum err e)
{
    uint64_t len = piece_bytes(cmd);

    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    cmd->moved_bytes +=
        iov_from_buf(cmd->in, cmd->in_count, cmd->at_bytes, cmd->scratch, len);
    cmd->at_bytes += len;
    short_step(cmd, E_OK);
}

static void short_step(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    if (cmd->at_bytes == cmd->end_bytes)
        scsi_good(cmd);
    else
        scsi_scratch_io(cmd, STORE_READ, 0, piece_offset(cmd),
                        align_up(piece_bytes(cmd), block_bytes(cmd)),
                        short_read);
}

void sbc_read_short(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    scsi_with_scratch(cmd, short_step);
}

/* -- comparing ------------------------------------------------------------- */

/* Compare `len` bytes of data-out from `skip` on with flat memory; the offset
 * of the first difference, `len` if there is none.  The guest may change its
 * buffer meanwhile, so the search does not trust memcmp to have found one. */
static uint64_t iov_differs_at(const struct iovec *iov, uint32_t count,
                               uint64_t skip, const uint8_t *with, uint64_t len)
{
    uint64_t done = 0;

    for (uint32_t i = 0; i < count && done < len; i++) {
        const uint8_t *base = iov[i].iov_base;
        uint64_t have = iov[i].iov_len, n;

        if (skip >= have) {
            skip -= have;
            continue;
        }
        n = min_u64(have - skip, len - done);
        if (memcmp(base + skip, with + done, n) != 0) {
            uint64_t same = 0;

            while (same < n - 1 && base[skip + same] == with[done + same])
                same++;
            return done + same;
        }
        done += n;
        skip = 0;
    }
    return len;
}

static bool piece_matches(struct scsi_cmd *cmd, uint64_t skip, uint64_t len,
                          uint64_t *ret_at)
{
    *ret_at = iov_differs_at(cmd->out, cmd->out_count, skip, cmd->scratch, len);
    return *ret_at == len;
}

/* -- VERIFY, WRITE AND VERIFY ---------------------------------------------- */

enum bytchk { /* BYTCHK of SBC-3 5.29, in cmd->detail */
              CHECK_MEDIUM = 0,
              CHECK_ALL = 1,
              CHECK_SAME = 3
};

static void verify_step(struct scsi_cmd *cmd, enum err e);

/* BYTCHK 11b: each block against the one that came. */
static bool same_matches(struct scsi_cmd *cmd, uint64_t len, uint64_t *ret_at)
{
    uint32_t block = block_bytes(cmd);

    for (uint64_t at = 0; at < len; at += block) {
        uint64_t differs = iov_differs_at(cmd->out, cmd->out_count, 0,
                                          cmd->scratch + at, block);

        if (differs != block) {
            *ret_at = at + differs;
            return false;
        }
    }
    return true;
}

static void verify_read(struct scsi_cmd *cmd, enum err e)
{
    uint64_t len = piece_bytes(cmd), differs = 0;
    bool same = true;

    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    if (cmd->detail == CHECK_ALL)
        same = piece_matches(cmd, cmd->at_bytes, len, &differs);
    else if (cmd->detail == CHECK_SAME)
        same = same_matches(cmd, len, &differs);
    if (!same) {
        scsi_fail_information(cmd, SENSE_MISCOMPARE, cmd->at_bytes + differs);
        return;
    }
    cmd->at_bytes += len;
    verify_step(cmd, E_OK);
}

static void verify_step(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    if (cmd->at_bytes == cmd->end_bytes)
        scsi_good(cmd);
    else
        scsi_scratch_io(cmd, STORE_READ, 0, piece_offset(cmd), piece_bytes(cmd),
                        verify_read);
}

static void verify_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    scsi_with_scratch(cmd, verify_step);
}

/* BYTCHK of the CDB into detail; false: refused, and it has ended. */
static bool decode_bytchk(struct scsi_cmd *cmd, bool may_be_same)
{
    cmd->detail = (cmd->cdb[1] >> 1) & 3;
    if (cmd->detail <= CHECK_ALL || (cmd->detail == CHECK_SAME && may_be_same))
        return true;
    scsi_fail_cdb(cmd, 1, 2);
    return false;
}

void sbc_verify(struct scsi_cmd *cmd)
{
    uint64_t need = 0;

    if (!sbc_unprotected(cmd) || !decode_bytchk(cmd, true) || !sbc_range(cmd))
        return;
    cmd->end_bytes = cmd->blocks * block_bytes(cmd);
    if (cmd->detail == CHECK_ALL)
        need = cmd->end_bytes;
    else if (cmd->detail == CHECK_SAME && cmd->blocks)
        need = block_bytes(cmd);
    if (data_is_there(cmd, need))
        scsi_start(cmd, verify_start);
}

static void write_verify_written(struct scsi_cmd *cmd, enum err e)
{
    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    cmd->lu->stats.write_bytes += cmd->end_bytes;
    scsi_with_scratch(cmd, verify_step);
}

static void write_verify_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    cmd->lu->stats.writes++;
    scsi_io(cmd, STORE_WRITE, STORE_FUA, sbc_offset(cmd), cmd->end_bytes,
            cmd->out, cmd->out_count, write_verify_written);
}

void sbc_write_verify(struct scsi_cmd *cmd)
{
    if (!sbc_unprotected(cmd) || !decode_bytchk(cmd, false) || !sbc_range(cmd))
        return;
    cmd->end_bytes = cmd->blocks * block_bytes(cmd);
    if (!data_is_there(cmd, cmd->end_bytes))
        return;
    if (!cmd->blocks) {
        scsi_good(cmd);
        return;
    }
    iov_trim(cmd->out, &cmd->out_count, cmd->end_bytes);
    scsi_start(cmd, write_verify_start);
}

/* -- COMPARE AND WRITE (SBC-3 5.3) ----------------------------------------- */

static void compare_written(struct scsi_cmd *cmd, enum err e)
{
    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    cmd->lu->stats.writes++;
    cmd->lu->stats.write_bytes += cmd->end_bytes;
    scsi_good(cmd);
}

static void compare_read(struct scsi_cmd *cmd, enum err e)
{
    uint64_t differs;

    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    if (!piece_matches(cmd, 0, cmd->end_bytes, &differs)) {
        scsi_fail_information(cmd, SENSE_MISCOMPARE, differs);
        return;
    }
    iov_skip(cmd->out, &cmd->out_count, cmd->end_bytes);
    scsi_io(cmd, STORE_WRITE, sbc_write_flags(cmd), sbc_offset(cmd),
            cmd->end_bytes, cmd->out, cmd->out_count, compare_written);
}

static void compare_step(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    scsi_scratch_io(cmd, STORE_READ, 0, sbc_offset(cmd), cmd->end_bytes,
                    compare_read);
}

static void compare_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    scsi_with_scratch(cmd, compare_step);
}

void sbc_compare_and_write(struct scsi_cmd *cmd)
{
    uint32_t block = block_bytes(cmd);

    if (!sbc_unprotected(cmd))
        return;
    cmd->lba = be64_load(cmd->cdb + 2);
    cmd->blocks = cmd->cdb[13];
    if (!range_ok(cmd->lba, cmd->blocks, scsi_lu_blocks(cmd->lu))) {
        scsi_fail(cmd, SENSE_LBA_RANGE);
        return;
    }
    if (cmd->blocks > SCSI_SCRATCH_BYTES / block) { /* VPD B0 says so */
        scsi_fail_cdb(cmd, 13, -1);
        return;
    }
    cmd->end_bytes = cmd->blocks * block;
    if (!data_is_there(cmd, 2 * cmd->end_bytes))
        return;
    if (!cmd->blocks) {
        scsi_good(cmd);
        return;
    }
    iov_trim(cmd->out, &cmd->out_count, 2 * cmd->end_bytes);
    cmd->exclusive = true;
    scsi_start(cmd, compare_start);
}

/* -- ORWRITE --------------------------------------------------------------- */

static void or_step(struct scsi_cmd *cmd, enum err e);

static void or_written(struct scsi_cmd *cmd, enum err e)
{
    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    cmd->at_bytes += piece_bytes(cmd);
    or_step(cmd, E_OK);
}

static void or_read(struct scsi_cmd *cmd, enum err e)
{
    uint64_t skip = cmd->at_bytes, len = piece_bytes(cmd), done = 0;

    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    for (uint32_t i = 0; i < cmd->out_count && done < len; i++) {
        const uint8_t *base = cmd->out[i].iov_base;
        uint64_t have = cmd->out[i].iov_len;

        for (; skip < have && done < len; skip++)
            cmd->scratch[done++] |= base[skip];
        skip -= min_u64(skip, have);
    }
    scsi_scratch_io(cmd, STORE_WRITE, sbc_write_flags(cmd), piece_offset(cmd),
                    len, or_written);
}

static void or_step(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    if (cmd->at_bytes == cmd->end_bytes)
        scsi_good(cmd);
    else
        scsi_scratch_io(cmd, STORE_READ, 0, piece_offset(cmd), piece_bytes(cmd),
                        or_read);
}

static void or_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    cmd->lu->stats.writes++;
    cmd->lu->stats.write_bytes += cmd->end_bytes;
    scsi_with_scratch(cmd, or_step);
}

void sbc_orwrite(struct scsi_cmd *cmd)
{
    if (!sbc_unprotected(cmd) || !sbc_range(cmd))
        return;
    cmd->end_bytes = cmd->blocks * block_bytes(cmd);
    if (!data_is_there(cmd, cmd->end_bytes))
        return;
    cmd->exclusive = true;
    scsi_start(cmd, or_start);
}

/* -- WRITE SAME (SBC-3 5.44) ----------------------------------------------- */

enum same_flags { SAME_UNMAP = 0x08, SAME_ANCHOR = 0x10, SAME_NDOB = 0x01 };

static void same_step(struct scsi_cmd *cmd, enum err e);

static void same_written(struct scsi_cmd *cmd, enum err e)
{
    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    cmd->at_bytes += piece_bytes(cmd);
    same_step(cmd, E_OK);
}

/* Write the pattern that fills the scratch buffer again and again. */
static void same_step(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    if (cmd->at_bytes == cmd->end_bytes)
        scsi_good(cmd);
    else
        scsi_scratch_io(cmd, STORE_WRITE, cmd->lu->write_cache ? 0 : STORE_FUA,
                        piece_offset(cmd), piece_bytes(cmd), same_written);
}

static void same_zeroed(struct scsi_cmd *cmd, enum err e)
{
    if (e == E_UNSUPPORTED) /* the buffer holds zeros: write those */
        same_step(cmd, E_OK);
    else if (e)
        scsi_fail_err(cmd, e);
    else
        scsi_good(cmd);
}

static bool all_zero(const uint8_t *buf, size_t len)
{
    return !buf[0] && memcmp(buf, buf + 1, len - 1) == 0;
}

static void same_with_buffer(struct scsi_cmd *cmd, enum err e)
{
    uint32_t block = block_bytes(cmd), flags = 0;

    (void)e;
    memset(cmd->scratch, 0, block);
    if (!(cmd->detail & SAME_NDOB))
        iov_to_buf(cmd->out, cmd->out_count, 0, cmd->scratch, block);
    for (size_t at = block; at < SCSI_SCRATCH_BYTES; at += block)
        memcpy(cmd->scratch + at, cmd->scratch, block);
    cmd->lu->stats.writes++;
    cmd->lu->stats.write_bytes += cmd->end_bytes;
    if (!all_zero(cmd->scratch, block)) {
        same_step(cmd, E_OK);
        return;
    }
    if (!(cmd->detail & SAME_UNMAP))
        flags |= STORE_NO_UNMAP;
    if (!cmd->lu->write_cache)
        flags |= STORE_FUA;
    scsi_io(cmd, STORE_WRITE_ZEROES, flags, sbc_offset(cmd), cmd->end_bytes,
            NULL, 0, same_zeroed);
}

static void same_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    scsi_with_scratch(cmd, same_with_buffer);
}

void sbc_write_same(struct scsi_cmd *cmd)
{
    uint32_t block = block_bytes(cmd);
    bool sixteen = cmd->cdb[0] == 0x93;

    if (!sbc_unprotected(cmd) || !sbc_range(cmd))
        return;
    cmd->detail = cmd->cdb[1] & (SAME_UNMAP | SAME_ANCHOR);
    if (sixteen)
        cmd->detail |= cmd->cdb[1] & SAME_NDOB;
    if (cmd->detail & SAME_ANCHOR) {
        scsi_fail_cdb(cmd, 1, 4);
        return;
    }
    if ((cmd->detail & SAME_UNMAP) && !cmd->lu->thin) {
        scsi_fail_cdb(cmd, 1, 3);
        return;
    }
    cmd->end_bytes = cmd->blocks * block;
    /* VPD B0: WSNZ, and MAXIMUM WRITE SAME LENGTH */
    if (!cmd->blocks || cmd->end_bytes > SBC_WRITE_SAME_BYTES_MAX) {
        scsi_fail_cdb(cmd, sixteen ? 10 : 7, -1);
        return;
    }
    if (data_is_there(cmd, cmd->detail & SAME_NDOB ? 0 : block))
        scsi_start(cmd, same_start);
}

/* -- UNMAP (SBC-3 5.28) ---------------------------------------------------- */

enum { UNMAP_HEADER_BYTES = 8, UNMAP_ENTRY_BYTES = 16 };

/* The list lies in the scratch buffer; at and end count its bytes. */
static void unmap_step(struct scsi_cmd *cmd, enum err e)
{
    uint64_t block = block_bytes(cmd);

    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    while (cmd->at_bytes < cmd->end_bytes) {
        const uint8_t *entry = cmd->scratch + cmd->at_bytes;
        uint64_t lba = be64_load(entry), blocks = be32_load(entry + 8);

        cmd->at_bytes += UNMAP_ENTRY_BYTES;
        if (!blocks)
            continue;
        scsi_io(cmd, STORE_DISCARD, 0, lba * block, blocks * block, NULL, 0,
                unmap_step);
        return;
    }
    scsi_good(cmd);
}

/* Check the whole list before anything is unmapped; false: it has ended. */
static bool unmap_check(struct scsi_cmd *cmd)
{
    uint64_t capacity = scsi_lu_blocks(cmd->lu), total = 0;

    for (uint64_t at = cmd->at_bytes; at < cmd->end_bytes;
         at += UNMAP_ENTRY_BYTES) {
        uint64_t lba = be64_load(cmd->scratch + at);
        uint32_t blocks = be32_load(cmd->scratch + at + 8);

        if (!range_ok(lba, blocks, capacity)) {
            scsi_fail(cmd, SENSE_LBA_RANGE);
            return false;
        }
        total += blocks;
    }
    if (total > SBC_UNMAP_BYTES_MAX / block_bytes(cmd)) {
        scsi_fail(cmd, SENSE_INVALID_PARAMETER);
        return false;
    }
    return true;
}

static void unmap_with_buffer(struct scsi_cmd *cmd, enum err e)
{
    size_t len = be16_load(cmd->cdb + 7), entries;

    (void)e;
    if (!scsi_fetch(cmd, cmd->scratch, len))
        return;
    entries = be16_load(cmd->scratch + 2) / UNMAP_ENTRY_BYTES;
    entries = min_u64(entries, (len - UNMAP_HEADER_BYTES) / UNMAP_ENTRY_BYTES);
    if (entries > SBC_UNMAP_ENTRIES_MAX) {
        scsi_fail_parameter(cmd, 2);
        return;
    }
    cmd->at_bytes = UNMAP_HEADER_BYTES;
    cmd->end_bytes = UNMAP_HEADER_BYTES + entries * UNMAP_ENTRY_BYTES;
    if (unmap_check(cmd))
        unmap_step(cmd, E_OK);
}

static void unmap_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    scsi_with_scratch(cmd, unmap_with_buffer);
}

void sbc_unmap(struct scsi_cmd *cmd)
{
    size_t len = be16_load(cmd->cdb + 7);

    if (cmd->cdb[1] & 1) { /* ANCHOR */
        scsi_fail_cdb(cmd, 1, 0);
    } else if (!len) {
        scsi_good(cmd);
    } else if (len < UNMAP_HEADER_BYTES) {
        scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
    } else {
        static_assert(UINT16_MAX <= SCSI_SCRATCH_BYTES,
                      "every list fits the buffer");
        /* The list is read once, and only when it is our turn: it touches
         * anything until then. */
        cmd->blocks = scsi_lu_blocks(cmd->lu);
        scsi_start(cmd, unmap_start);
    }
}
