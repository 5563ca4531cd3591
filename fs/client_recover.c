/* fs/client_recover.c - commit what a killed predecessor had promised: its
 * ledger, file by file, before anything is served.  Its writes have ended.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

#include <inttypes.h>

/* One call, waited for. */
struct recover_call {
    struct fs_call call;
    bool done;
};

static void answered(struct fs_call *call)
{
    container_of(call, struct recover_call, call)->done = true;
}

static enum err ask(struct fs_client *c, struct recover_call *r)
{
    r->done = false;
    r->call.done = answered;
    fs_link_send(c->link, &r->call);
    loop_run_until(loop_self(), &r->done);
    return r->call.reply.error;
}

static enum err ask_open(struct fs_client *c, fs_ino ino, fs_op op)
{
    struct recover_call r;
    enum err e;

    fs_call_init(&r.call, op);
    if (op == FS_OP_OPEN)
        r.call.request.args.fs_args_u.open.ino = ino;
    else
        r.call.request.args.fs_args_u.close.ino = ino;
    e = ask(c, &r);
    fs_call_fini(&r.call);
    return e;
}

/* A layout to commit under; CLOSE returns it. */
static enum err ask_grant(struct fs_client *c, fs_ino ino, uint64_t *ret_grant)
{
    struct recover_call r;
    enum err e;

    fs_call_init(&r.call, FS_OP_LAYOUTGET);
    r.call.request.args.fs_args_u.layoutget =
        (fs_layoutget_args){.ino = ino,
                            .iomode = FS_IOMODE_RW,
                            .len_bytes = FS_BLOCK_BYTES,
                            .min_bytes = FS_BLOCK_BYTES};
    e = ask(c, &r);
    if (!e)
        *ret_grant = r.call.reply.result.fs_result_u.layoutget.grant;
    fs_call_fini(&r.call);
    return e;
}

/* One LAYOUTCOMMIT of at most FS_EXTENTS_MAX entries of one file. */
static enum err commit_some(struct fs_client *c, uint64_t grant,
                            const struct ledger_entry *list, size_t count)
{
    fs_extent written[FS_EXTENTS_MAX];
    struct recover_call r;
    fs_layoutcommit_args *a = &r.call.request.args.fs_args_u.layoutcommit;
    enum err e;

    fs_call_init(&r.call, FS_OP_LAYOUTCOMMIT);
    a->ino = list->ino;
    a->grant = grant;
    a->written.written_val = written;
    for (size_t i = 0; i < count; i++) {
        const struct ledger_entry *x = &list[i];

        if (x->count)
            written[a->written.written_len++] =
                (fs_extent){.file_block = x->file_block,
                            .lun_block = x->lun_block,
                            .count = x->count,
                            .state = FS_READ_WRITE_DATA};
        a->size_bytes = max_u64(a->size_bytes, x->size_bytes);
        if (x->mtime_ns) {
            a->set_mtime = true;
            a->mtime.s = x->mtime_ns / (int64_t)NS_PER_S;
            a->mtime.ns = (uint32_t)(x->mtime_ns % (int64_t)NS_PER_S);
        }
    }
    e = ask(c, &r);
    a->written.written_val = NULL;
    fs_call_fini(&r.call);
    return e;
}

static enum err commit_opened(struct fs_client *c,
                              const struct ledger_entry *list, size_t count)
{
    uint64_t grant;
    enum err e = ask_grant(c, list->ino, &grant);

    for (size_t at = 0; at < count && !e; at += FS_EXTENTS_MAX)
        e = commit_some(c, grant, list + at,
                        min_u64(count - at, FS_EXTENTS_MAX));
    return e;
}

static enum err commit_file(struct fs_client *c,
                            const struct ledger_entry *list, size_t count)
{
    enum err e = ask_open(c, list->ino, FS_OP_OPEN), closed;

    if (e)
        return e == E_STALE ? E_OK : e;
    e = commit_opened(c, list, count);
    closed = ask_open(c, list->ino, FS_OP_CLOSE);
    return e ? e : closed;
}

static enum err commit_all(struct fs_client *c, const struct ledger_entry *list,
                           size_t count, struct diag *why)
{
    for (size_t i = 0, n; i < count; i += n) {
        enum err e;

        for (n = 1; i + n < count && list[i + n].ino == list[i].ino;)
            n++;
        e = commit_file(c, list + i, n);
        if (e)
            return diag_fail(why, e,
                             "committing what was written to inode %" PRIu64
                             " before the crash: %s",
                             (uint64_t)list[i].ino, err_text(e));
    }
    return E_OK;
}

enum err fs_client_recover(struct fs_client *client, struct diag *why)
{
    AUTO(freep) struct ledger_entry *list = NULL;
    size_t count = 0;
    enum err e = ledger_list(client->ledger, &list, &count);

    if (e)
        return diag_fail(why, e, "reading the ledger: %s", err_text(e));
    if (!count)
        return E_OK;
    e = store_flush_sync(client->lun); /* I6, I3 */
    if (e)
        return diag_fail(why, e, "flushing the LUN: %s", err_text(e));
    e = commit_all(client, list, count, why);
    if (!e)
        ledger_clear(client->ledger);
    return e;
}
