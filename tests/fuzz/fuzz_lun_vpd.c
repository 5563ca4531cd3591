/* tests/fuzz/fuzz_lun_vpd.c - any answer of a target: no wild read, texts end.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_vpd.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lun_answer answer = {data, size};
    struct lun_identity id = {.wwid = ""};
    struct lun_limits limits = {.blocks = 0};

    if (lun_vpd_inquiry(answer, &id) == E_OK)
        ASSERT(strlen(id.product) < sizeof id.product);
    if (lun_vpd_capacity(answer, &limits) == E_OK) {
        ASSERT(limits.blocks > 0);
        ASSERT(limits.blocks <= INT64_MAX / limits.block_bytes);
    }
    lun_vpd_serial(answer, &id);
    ASSERT(memchr(id.serial, 0, sizeof id.serial));
    lun_vpd_wwid(answer, &id);
    ASSERT(memchr(id.wwid, 0, sizeof id.wwid));
    lun_vpd_block_limits(answer, &limits);
    lun_vpd_provisioning(answer, &limits);
    lun_vpd_caching(answer, &limits);
    return 0;
}
