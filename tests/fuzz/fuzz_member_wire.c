/* tests/fuzz/fuzz_member_wire.c - any bytes as a message of membership: what
 * is accepted is encoded again to the same bytes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_wire.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct member_message message;
    static uint8_t again[MEMBER_WIRE_BYTES_MAX];
    struct diag why = {0};

    if (member_decode(data, size, &message, &why) != E_OK) {
        ASSERT(why.text[0]);
        return 0;
    }
    ASSERT(member_encode(&message, again) == size);
    ASSERT(memcmp(again, data, size) == 0);
    return 0;
}
