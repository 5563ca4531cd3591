/* iscsi/iov.h - shortening a vector in place.
 * Moves no data.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_IOV_H
#define LUNAR_ISCSI_IOV_H

#include "base/base.h"

#include <string.h>
#include <sys/uio.h>

/* Make the vector describe no more than len_bytes. */
static inline void iov_trim(struct iovec *iov, uint32_t *count,
                            uint64_t len_bytes)
{
    uint32_t i;

    for (i = 0; i < *count && len_bytes; i++) {
        iov[i].iov_len = min_u64(iov[i].iov_len, len_bytes);
        len_bytes -= iov[i].iov_len;
    }
    *count = i;
}

/* Make it begin len_bytes later. */
static inline void iov_skip(struct iovec *iov, uint32_t *count,
                            uint64_t len_bytes)
{
    uint32_t i = 0;

    while (i < *count && iov[i].iov_len <= len_bytes)
        len_bytes -= iov[i++].iov_len;
    *count -= i;
    memmove(iov, iov + i, *count * sizeof *iov);
    if (*count) {
        iov[0].iov_base = (uint8_t *)iov[0].iov_base + len_bytes;
        iov[0].iov_len -= len_bytes;
    }
}

#endif
