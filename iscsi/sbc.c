/* iscsi/sbc.c - commands of a block device that are one store operation.
 * Guest memory goes to the store as it is; nothing is copied here.  What has
 * to look at data is in sbc_multi.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

/* LBA and length sit by the group of the operation code (SPC-4 4.2.5.1). */
static void decode_range(const uint8_t *cdb, uint64_t *ret_lba,
                         uint64_t *ret_blocks)
{
    switch (cdb[0] >> 5) {
    case 0:
        *ret_lba = be32_load(cdb) & 0x1fffff;
        *ret_blocks = cdb[4] ? cdb[4] : 256;
        break;
    case 1:
    case 2:
        *ret_lba = be32_load(cdb + 2);
        *ret_blocks = be16_load(cdb + 7);
        break;
    case 5:
        *ret_lba = be32_load(cdb + 2);
        *ret_blocks = be32_load(cdb + 6);
        break;
    case 4:
        *ret_lba = be64_load(cdb + 2);
        *ret_blocks = be32_load(cdb + 10);
        break;
    }
}

bool sbc_range(struct scsi_cmd *cmd)
{
    uint64_t lba = 0, blocks = 0;

    decode_range(cmd->cdb, &lba, &blocks);
    if (!range_ok(lba, blocks, scsi_lu_blocks(cmd->lu))) {
        scsi_fail(cmd, SENSE_LBA_RANGE);
        return false;
    }
    cmd->lba = lba;
    cmd->blocks = blocks;
    return true;
}

/* Protection information is not kept: RDPROTECT, WRPROTECT, VRPROTECT must be
 * zero (SBC-3 table 75 for PROT_EN = 0). */
bool sbc_unprotected(struct scsi_cmd *cmd)
{
    if (cmd->op->cdb_bytes == 6 || !(cmd->cdb[1] & 0xe0))
        return true;
    scsi_fail_cdb(cmd, 1, 7);
    return false;
}

uint64_t sbc_offset(const struct scsi_cmd *cmd)
{
    return cmd->lba * cmd->lu->store->block_bytes;
}

uint32_t sbc_write_flags(const struct scsi_cmd *cmd)
{
    bool fua = cmd->op->cdb_bytes > 6 && (cmd->cdb[1] & 0x08);

    return fua || !cmd->lu->write_cache ? STORE_FUA : 0;
}

/* -- READ ------------------------------------------------------------------ */

static void read_done(struct scsi_cmd *cmd, enum err e)
{
    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    cmd->moved_bytes = cmd->end_bytes;
    cmd->lu->stats.read_bytes += cmd->end_bytes;
    scsi_good(cmd);
}

static void read_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    cmd->lu->stats.reads++;
    scsi_io(cmd, STORE_READ, 0, sbc_offset(cmd), cmd->end_bytes, cmd->in,
            cmd->in_count, read_done);
}

void sbc_read(struct scsi_cmd *cmd)
{
    uint32_t block = cmd->lu->store->block_bytes;

    if (!sbc_unprotected(cmd) || !sbc_range(cmd))
        return;
    cmd->asked_bytes = cmd->blocks * block;
    cmd->end_bytes = min_u64(cmd->asked_bytes, cmd->in_bytes);
    if (!cmd->end_bytes) {
        scsi_good(cmd);
    } else if (cmd->end_bytes % block) { /* the buffer ends inside a block */
        scsi_start(cmd, sbc_read_short);
    } else {
        iov_trim(cmd->in, &cmd->in_count, cmd->end_bytes);
        scsi_start(cmd, read_start);
    }
}

/* -- WRITE ----------------------------------------------------------------- */

static void write_done(struct scsi_cmd *cmd, enum err e)
{
    if (e) {
        scsi_fail_err(cmd, e);
        return;
    }
    cmd->moved_bytes = cmd->end_bytes;
    cmd->lu->stats.write_bytes += cmd->end_bytes;
    scsi_good(cmd);
}

static void write_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    cmd->lu->stats.writes++;
    scsi_io(cmd, STORE_WRITE, sbc_write_flags(cmd), sbc_offset(cmd),
            cmd->end_bytes, cmd->out, cmd->out_count, write_done);
}

/* Whole blocks that came are written, also if the CDB names more. */
void sbc_write(struct scsi_cmd *cmd)
{
    uint32_t block = cmd->lu->store->block_bytes;

    if (!sbc_unprotected(cmd) || !sbc_range(cmd))
        return;
    cmd->asked_bytes = cmd->blocks * block;
    cmd->end_bytes =
        align_down(min_u64(cmd->asked_bytes, cmd->out_bytes), block);
    if (!cmd->end_bytes) {
        scsi_good(cmd);
        return;
    }
    iov_trim(cmd->out, &cmd->out_count, cmd->end_bytes);
    scsi_start(cmd, write_start);
}

/* -- the medium ------------------------------------------------------------ */

/* SBC-3 5.10: without PMI the LBA field must be zero. */
void sbc_read_capacity10(struct scsi_cmd *cmd)
{
    uint64_t last = scsi_lu_blocks(cmd->lu) - 1;
    uint8_t buf[8];

    if (!(cmd->cdb[8] & 1) && be32_load(cmd->cdb + 2)) {
        scsi_fail_cdb(cmd, 2, -1);
        return;
    }
    be32_store(buf, (uint32_t)min_u64(last, UINT32_MAX));
    be32_store(buf + 4, cmd->lu->store->block_bytes);
    scsi_reply(cmd, buf, sizeof buf, sizeof buf);
}

void sbc_read_capacity16(struct scsi_cmd *cmd)
{
    const struct store *store = cmd->lu->store;
    uint8_t buf[32] = {0};
    uint64_t ratio = store->physical_bytes / store->block_bytes;

    be64_store(buf, scsi_lu_blocks(cmd->lu) - 1);
    be32_store(buf + 8, store->block_bytes);
    if (ratio > 1 && is_power_of_two(ratio))
        buf[13] = (uint8_t)__builtin_ctzll(ratio);
    if (cmd->lu->thin) {
        buf[14] = 0x80; /* LBPME */
        if (store->caps & STORE_DISCARD_ZEROES)
            buf[14] |= 0x40; /* LBPRZ */
    }
    scsi_reply(cmd, buf, sizeof buf, be32_load(cmd->cdb + 10));
}

static void flush_done(struct scsi_cmd *cmd, enum err e)
{
    if (e)
        scsi_fail_err(cmd, e);
    else
        scsi_good(cmd);
}

static void flush_start(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    cmd->lu->stats.flushes++;
    scsi_io(cmd, STORE_FLUSH, 0, 0, 0, NULL, 0, flush_done);
}

static void flush(struct scsi_cmd *cmd)
{
    cmd->blocks = 0; /* it waits for nobody: only what ended before counts */
    if (cmd->lu->read_only)
        scsi_good(cmd);
    else
        scsi_start(cmd, flush_start);
}

/* The range is checked and everything flushed; IMMED is answered when it is
 * done, which is never too early. */
void sbc_synchronize_cache(struct scsi_cmd *cmd)
{
    if (sbc_range(cmd))
        flush(cmd);
}

/* There is no motor: STOP makes the data safe, the unit stays ready. */
void sbc_start_stop(struct scsi_cmd *cmd)
{
    bool start = cmd->cdb[4] & 0x01;
    bool keeps_cache = cmd->cdb[4] & 0x04; /* NO_FLUSH */

    if (start || keeps_cache)
        scsi_good(cmd);
    else if (pr_conflicts(cmd->lu, cmd->nexus, ACCESS_WRITE))
        scsi_finish(cmd, SCSI_RESERVATION_CONFLICT);
    else
        flush(cmd);
}

/* The medium is not removable: nothing to prevent, nothing refused. */
void sbc_prevent_allow(struct scsi_cmd *cmd)
{
    scsi_good(cmd);
}

/* SBC-3 5.8: GOOD = the cache has no room for all of it; true of none. */
void sbc_prefetch(struct scsi_cmd *cmd)
{
    if (sbc_range(cmd))
        scsi_good(cmd);
}
