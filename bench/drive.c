/* bench/drive.c - the load of `qemu-img bench` on a store: a LUN as it is, or
 * a VHD in it.  Prints requests per second; writes no pattern, checks nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/loop.h"
#include "iscsi/iscsi.h"
#include "vhd/vhd.h"

#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 256, SPIN_US = 50 };

struct load {
    struct store *store;
    enum store_op op;
    uint64_t bytes, step, offset, left;
    unsigned inflight;
    enum err error;
    bool ended;
};

struct request {
    struct load *load;
    struct iovec iov;
    struct store_io io;
};

static void fail(const char *what, const struct diag *why, enum err e)
{
    fprintf(stderr, "drive: %s: %s\n", what, diag_text(why, e));
    exit(1);
}

static void request_done(struct store_io *io, enum err e);

static void request_next(struct request *r)
{
    struct load *l = r->load;
    enum err e;

    if (!l->left || l->error) {
        l->ended = !l->inflight;
        return;
    }
    l->left--;
    r->io = (struct store_io){
        .op = l->op,
        .off_bytes = l->offset,
        .len_bytes = l->bytes,
        .iov = &r->iov,
        .iov_count = 1,
        .done = request_done,
    };
    l->offset = (l->offset + l->step) % store_size(l->store);
    e = store_submit(l->store, &r->io);
    if (e) {
        l->error = e;
        l->ended = !l->inflight;
        return;
    }
    l->inflight++;
}

static void request_done(struct store_io *io, enum err e)
{
    struct request *r = container_of(io, struct request, io);

    r->load->inflight--;
    if (e)
        r->load->error = e;
    request_next(r);
}

/* Returns requests per second; the last flush is in the time. */
static double run(struct load *l, unsigned depth)
{
    static struct request requests[DEPTH_MAX];
    struct diag none = {0};
    uint64_t count = l->left, start = clock_now_ns(clock_system());
    enum err e;

    for (unsigned i = 0; i < depth; i++) {
        struct request *r = &requests[i];

        r->load = l;
        r->iov.iov_len = l->bytes;
        r->iov.iov_base = aligned_alloc(4096, align_up(l->bytes, 4096));
        if (!r->iov.iov_base)
            fail("buffers", &none, E_NOMEM);
        memset(r->iov.iov_base, 0x5a, l->bytes);
        request_next(r);
    }
    loop_run_until(loop_self(), &l->ended);
    if (!l->error && l->op == STORE_WRITE)
        l->error = store_flush_sync(l->store);
    e = l->error;
    if (e)
        fail("a request", &none, e);
    for (unsigned i = 0; i < depth; i++)
        free(requests[i].iov.iov_base);
    return (double)count * 1e9 / (double)(clock_now_ns(clock_system()) - start);
}

static double drive(const char *format, const char *file, struct load *l,
                    unsigned depth)
{
    struct lun_args lun_args = {.exclusive = true};
    struct vhd_open_args vhd_args = {0};
    struct diag why = {0};
    struct lun *lun;
    struct vhd *vhd = NULL;
    char url[4096];
    double rate;
    enum err e;

    snprintf(url, sizeof url, "file:%s", file);
    e = lun_open(url, &lun_args, &why, &lun);
    if (e)
        fail(file, &why, e);
    l->store = lun_store(lun);
    if (!strcmp(format, "vhd")) {
        e = vhd_open(lun_store(lun), &vhd_args, &why, &vhd);
        if (e)
            fail(file, &why, e);
        l->store = vhd_store(vhd);
    }
    rate = run(l, depth);
    e = vhd ? vhd_close(vhd) : E_OK;
    if (e)
        fail(file, &why, e);
    lun_close(lun);
    return rate;
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
    struct loop_args args = {
        .name = "drive", .spin_us = SPIN_US, .aio_depth = DEPTH_MAX};
    struct load load;
    struct loop *loop;
    unsigned depth;

    if (argc != 9) {
        fputs("usage: drive raw|vhd -r|-w BYTES STEP COUNT OFFSET DEPTH FILE\n",
              stderr);
        return 2;
    }
    load = (struct load){
        .op = strcmp(argv[2], "-w") ? STORE_READ : STORE_WRITE,
        .bytes = number(argv[3]),
        .step = number(argv[4]),
        .left = number(argv[5]),
        .offset = number(argv[6]),
    };
    depth = (unsigned)number(argv[7]);
    if (depth < 1 || depth > DEPTH_MAX || loop_new(&args, &loop))
        return 1;
    loop_adopt(loop);
    printf("%.0f\n", drive(argv[1], argv[8], &load, depth));
    loop_adopt(NULL);
    loop_free(loop);
    return 0;
}
