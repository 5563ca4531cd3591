/* iscsi/lun_vpd.h - what a target says of its LUN, out of bytes that nobody
 * vouches for.  Pure.  SPC-4, SBC-3.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_LUN_VPD_H
#define LUNAR_ISCSI_LUN_VPD_H

#include "iscsi/lun.h"

/* An answer of the target; shorter than asked for is normal. */
struct lun_answer {
    const uint8_t *bytes;
    size_t count;
};

struct lun_limits {
    uint64_t blocks;
    uint32_t block_bytes, physical_bytes;
    uint32_t transfer_max_blocks; /* 0: not said */
    uint32_t unmap_max_blocks;    /* 0: no UNMAP */
    uint64_t same_max_blocks;     /* WRITE SAME; 0: not said */
    bool thin, same_unmaps, unmapped_reads_zeros;
    bool write_protected, fua, write_cache;
};

/* Standard INQUIRY, SPC-4 6.6.2. Errors: E_PROTOCOL - too short; E_NOENT - no
 * LUN there; E_UNSUPPORTED - not a disk. */
MUST_CHECK enum err lun_vpd_inquiry(struct lun_answer answer,
                                    struct lun_identity *id);
/* READ CAPACITY(16), SBC-3 5.16.  Errors: E_PROTOCOL, E_UNSUPPORTED (block
 * size). */
MUST_CHECK enum err lun_vpd_capacity(struct lun_answer answer,
                                     struct lun_limits *limits);
/* These take what is there and leave the rest as it was. */
void lun_vpd_serial(struct lun_answer page_80, struct lun_identity *id);
void lun_vpd_wwid(struct lun_answer page_83, struct lun_identity *id);
void lun_vpd_block_limits(struct lun_answer page_b0, struct lun_limits *limits);
void lun_vpd_provisioning(struct lun_answer page_b2, struct lun_limits *limits);
/* MODE SENSE(6) with the caching page. */
void lun_vpd_caching(struct lun_answer answer, struct lun_limits *limits);

#endif
