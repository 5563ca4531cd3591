/* iscsi/vpd.c - vital product data: identity and limits of a unit.
 * The identity is the disk's and moves with it; nothing here names a host.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

enum {
    VPD_HEADER_BYTES = 4,
    VPD_BYTES_MAX = 256,
    COMPARE_BLOCKS_MAX = 255, /* the field has eight bits */
};

static size_t put_pages(const struct scsi_lu *lu, uint8_t *at);

static size_t put_serial(const struct scsi_lu *lu, uint8_t *at)
{
    size_t len = strlen(lu->serial);

    memcpy(at, lu->serial, len);
    return len;
}

/* One designation descriptor (SPC-4 7.8.5): code set, type, bytes. */
static size_t put_designator(uint8_t *at, uint8_t code_set, uint8_t type,
                             const void *bytes, size_t len)
{
    at[0] = code_set;
    at[1] = type;
    at[2] = 0;
    at[3] = (uint8_t)len;
    memcpy(at + 4, bytes, len);
    return 4 + len;
}

/* NAA type 6 wants a company's OUI; we have none, so the locally assigned
 * type 3 carries 60 bits of the uuid, and a T10 designator all of them. */
static size_t put_designators(const struct scsi_lu *lu, uint8_t *at)
{
    uint8_t naa[8], t10[8 + sizeof lu->serial];
    size_t text = strlen(lu->serial), len;

    memcpy(naa, lu->uuid + 8, sizeof naa);
    naa[0] = (uint8_t)(0x30 | (naa[0] & 0x0f));
    memset(t10, ' ', 8);
    memcpy(t10, lu->vendor, strlen(lu->vendor));
    memcpy(t10 + 8, lu->serial, text);
    len = put_designator(at, 1, 0x03, naa, sizeof naa);
    return len + put_designator(at + len, 2, 0x01, t10, 8 + text);
}

/* SBC-3 6.6.3 */
static size_t put_block_limits(const struct scsi_lu *lu, uint8_t *at)
{
    uint32_t block = lu->store->block_bytes;
    uint32_t physical = (uint32_t)max_u64(lu->store->physical_bytes, block);
    uint8_t *page = at - VPD_HEADER_BYTES;

    page[4] = 0x01; /* WSNZ: WRITE SAME of 0 blocks is refused */
    page[5] = (uint8_t)min_u64(COMPARE_BLOCKS_MAX, SCSI_SCRATCH_BYTES / block);
    be16_store(page + 6, (uint16_t)min_u64(physical / block, UINT16_MAX));
    if (lu->thin) {
        be32_store(page + 20, SBC_UNMAP_BYTES_MAX / block);
        be32_store(page + 24, SBC_UNMAP_ENTRIES_MAX);
        be32_store(page + 28, physical / block);
        be32_store(page + 32, 0x80000000U); /* UGAVALID, alignment 0 */
    }
    be64_store(page + 36, SBC_WRITE_SAME_BYTES_MAX / block);
    return 60;
}

/* SBC-3 6.6.2: medium rotation rate 1 = non-rotating. */
static size_t put_characteristics(const struct scsi_lu *lu, uint8_t *at)
{
    (void)lu;
    be16_store(at, 1);
    return 60;
}

/* SBC-3 6.6.4 */
static size_t put_provisioning(const struct scsi_lu *lu, uint8_t *at)
{
    if (lu->thin) {
        at[1] = 0xe0; /* LBPU, LBPWS, LBPWS10 */
        at[2] = 0x02; /* thin */
        if (lu->store->caps & STORE_DISCARD_ZEROES)
            at[1] |= 0x04; /* LBPRZ */
    }
    return 4;
}

static const struct {
    uint8_t code;
    size_t (*put)(const struct scsi_lu *lu, uint8_t *at);
} vpd_pages[] = {
    {0x00, put_pages          },
    {0x80, put_serial         },
    {0x83, put_designators    },
    {0xb0, put_block_limits   },
    {0xb1, put_characteristics},
    {0xb2, put_provisioning   },
};

static size_t put_pages(const struct scsi_lu *lu, uint8_t *at)
{
    (void)lu;
    for (size_t i = 0; i < ARRAY_LEN(vpd_pages); i++)
        at[i] = vpd_pages[i].code;
    return ARRAY_LEN(vpd_pages);
}

void vpd_inquiry(struct scsi_cmd *cmd)
{
    uint8_t buf[VPD_BYTES_MAX] = {0};
    size_t len;

    if (!cmd->lu) {
        scsi_fail(cmd, SENSE_LU_NOT_SUPPORTED);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(vpd_pages); i++) {
        if (vpd_pages[i].code != cmd->cdb[2])
            continue;
        len = vpd_pages[i].put(cmd->lu, buf + VPD_HEADER_BYTES);
        buf[1] = cmd->cdb[2];
        be16_store(buf + 2, (uint16_t)len);
        scsi_reply(cmd, buf, VPD_HEADER_BYTES + len, be16_load(cmd->cdb + 3));
        return;
    }
    scsi_fail_cdb(cmd, 2, -1);
}
