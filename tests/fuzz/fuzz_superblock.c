/* tests/fuzz/fuzz_superblock.c - any 4 KiB as superblock and as node block.
 * The checksum is made right first: a fuzzer would never get past it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/super.h"

#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t uuid[16];
    union {
        uint8_t bytes[FS_BLOCK_BYTES];
        struct super_disk super;
        struct node_disk node;
    } block = {{0}}, again;
    struct node_block node;
    uint64_t sequence;
    struct super super;
    struct diag why;

    memcpy(block.bytes, data, size < sizeof block ? size : sizeof block);
    block.super.crc =
        le32_make((uint32_t)crc32(0, block.bytes, FS_BLOCK_BYTES - 4));
    if (super_decode(&block.super, &super, &why) == E_OK) {
        super_encode(&super, &again.super);
        ASSERT(super_decode(&again.super, &super, &why) == E_OK);
        ASSERT(super_chunk_blocks(&super, CHUNK_DB) > 0);
    }
    if (node_decode(&block.node, uuid, &node, &sequence, &why) == E_OK &&
        node.node) {
        node_encode(&node, uuid, sequence, &again.node);
        ASSERT(node_decode(&again.node, uuid, &node, &sequence, &why) == E_OK);
    }
    return 0;
}
