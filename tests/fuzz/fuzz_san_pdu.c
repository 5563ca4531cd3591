/* tests/fuzz/fuzz_san_pdu.c - what the proxy of the lab reads of a connection,
 * from either side.  The first byte says from which.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/sanproxy/pdu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Frames are at least a header and at most what the limits allow; the same
 * bytes give the same answer however many of them have come. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum pdu_from from;

    if (!size)
        return 0;
    from = *data & 1 ? PDU_FROM_TARGET : PDU_FROM_INITIATOR;
    data++;
    size--;
    while (size) {
        struct diag why = {0};
        size_t bytes, later;
        uint8_t status;

        if (pdu_length(data, size, from, &bytes, &why)) {
            ASSERT(why.text[0]);
            return 0;
        }
        if (bytes && size > 8) {
            ASSERT(pdu_length(data, 8, from, &later, &why) == E_OK);
            ASSERT(later == bytes);
        }
        if (!bytes || bytes > size)
            return 0;
        ASSERT(bytes >= PDU_HEADER_BYTES);
        ASSERT(bytes <= PDU_HEADER_BYTES + 255 * 4 + PDU_DATA_MAX_BYTES);
        if (pdu_opcode(data) == PDU_LOGIN_RESPONSE)
            (void)!pdu_check_login(data, bytes, &why);
        ASSERT(pdu_task(data).name && pdu_class_name(pdu_task(data).class));
        (void)pdu_ends_task(data, &status);
        data += bytes;
        size -= bytes;
    }
    return 0;
}
