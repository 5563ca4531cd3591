/* tests/fuzz/fuzz_net.c - any bytes from another node, to a link that waits for
 * its coordinator there and has a READ under way: what comes behind a message
 * is as long as the message says, and goes nowhere but where it was asked to.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport.h"
#include "fs/fs.h"

#include <string.h>

enum { ASKED = 64, COORDINATOR = 1, SELF = 2 };

static enum err nowhere(struct transport *t, uint32_t host,
                        const struct iovec *iov, int iov_count, size_t count)
{
    (void)t;
    (void)host;
    (void)iov;
    (void)iov_count;
    (void)count;
    return E_OK;
}

static void done(struct fs_call *call)
{
    fs_call_fini(call);
}

static struct loop *the_loop(void)
{
    static struct loop *loop;

    if (!loop) {
        ASSERT(loop_new(&(struct loop_args){.name = "fuzz"}, &loop) == E_OK);
        loop_adopt(loop);
    }
    return loop;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct transport_ops ops = {nowhere, NULL};
    static const uint8_t uuid[16] = {0};
    struct transport transport = {.ops = &ops};
    struct loop *loop = the_loop();
    uint8_t memory[ASKED + 1] = {0};
    struct iovec iov = {memory, ASKED};
    struct transport_ear *ear;
    struct fs_link *link;
    struct fs_call call;
    struct fs_net *net;

    ASSERT(fs_net_new(loop, &(struct fs_sender){SELF, 1}, &net) == E_OK);
    fs_net_attach(net, &transport);
    ASSERT(fs_net_reach(net, uuid, COORDINATOR, &link) == E_OK);
    fs_call_init(&call, FS_OP_READ);
    call.request.args.fs_args_u.read.len_bytes = ASKED;
    call.iov = &iov;
    call.iov_count = 1;
    call.done = done;
    fs_link_send(link, &call);
    loop_run_ready(loop);
    ear = fs_net_ear(net);
    /* Two messages: the first may be the answer to HELLO. */
    ear->receive(ear, COORDINATOR, data, size / 2);
    ear->receive(ear, COORDINATOR, data + size / 2, size - size / 2);
    loop_run_ready(loop);
    ASSERT(memory[ASKED] == 0);
    fs_net_cut(link, E_VOL_OFFLINE);
    loop_run_ready(loop);
    fs_net_forget(link);
    fs_net_free(net);
    return 0;
}
