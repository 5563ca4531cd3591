/* tests/fuzz/fuzz_proto.c - any bytes as a request, a reply and a message: what
 * decodes encodes again, to something that decodes to the same.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/base.h"
#include "fs/proto.h"

#include <string.h>

enum { WIRE_MAX = 1 << 20 };

/* Encode, decode, encode: both encodings are the same bytes. */
static void round_trip(xdrproc_t proc, void *message, void *again, size_t bytes)
{
    static char first[WIRE_MAX], second[WIRE_MAX];
    u_int len;
    XDR x;

    xdrmem_create(&x, first, sizeof first, XDR_ENCODE);
    ASSERT(proc(&x, message));
    len = xdr_getpos(&x);
    xdrmem_create(&x, first, len, XDR_DECODE);
    memset(again, 0, bytes);
    ASSERT(proc(&x, again));
    xdrmem_create(&x, second, sizeof second, XDR_ENCODE);
    ASSERT(proc(&x, again));
    ASSERT(xdr_getpos(&x) == len);
    ASSERT(memcmp(first, second, len) == 0);
    xdr_free(proc, again);
}

static void decode(xdrproc_t proc, const uint8_t *data, size_t size,
                   void *message, void *again, size_t bytes)
{
    static char wire[WIRE_MAX];
    XDR x;

    memcpy(wire, data, size);
    memset(message, 0, bytes);
    xdrmem_create(&x, wire, (u_int)size, XDR_DECODE);
    if (proc(&x, message))
        round_trip(proc, message, again, bytes);
    xdr_free(proc, message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fs_request request, request_again;
    static fs_reply reply, reply_again;
    static fs_message net, net_again;

    if (size > WIRE_MAX / 2)
        return 0;
    decode((xdrproc_t)xdr_fs_request, data, size, &request, &request_again,
           sizeof request);
    decode((xdrproc_t)xdr_fs_reply, data, size, &reply, &reply_again,
           sizeof reply);
    decode((xdrproc_t)xdr_fs_message, data, size, &net, &net_again, sizeof net);
    return 0;
}
