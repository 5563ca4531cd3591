/* fs/coord_redirect.c - the coordinator's side of redirected I/O: the session
 * of the proxy (redirect.h), and what becomes of it at the end.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"

static bool gives_up(fs_op op)
{
    return op == FS_OP_LAYOUTCOMMIT || op == FS_OP_LAYOUTRETURN ||
           op == FS_OP_CLOSE;
}

/* The proxy commits and closes to the end. */
bool coord_is_cut(const struct fs_call *call)
{
    const struct coord_session *s = coord_session_of(call);

    return s->cut && !(s->proxy && gives_up(call->request.args.op));
}

void coord_proxy_cut(struct fs_coord *c)
{
    if (!c->proxy.proxy)
        return;
    pthread_mutex_lock(&c->lock);
    c->proxy.cut = true;
    pthread_mutex_unlock(&c->lock);
    coord_refuse_all(c, &c->proxy.link);
}

static void answer(void *arg, struct fs_call *call)
{
    coord_answer(arg, call);
}

static void take_offline(struct task *task)
{
    struct fs_coord *c = container_of(task, struct fs_coord, lun_failed_task);

    coord_fail(c, c->lun_error, "redirected I/O");
    coord_wake(c); /* who waits is refused */
}

/* On args.loop. */
static void lun_failed(void *arg, enum err e)
{
    struct fs_coord *c = arg;

    if (c->lun_failed)
        return;
    c->lun_failed = true;
    c->lun_error = e;
    c->lun_failed_task.run = take_offline;
    loop_post(c->loop, &c->lun_failed_task);
}

enum err coord_proxy_start(struct fs_coord *c)
{
    const struct redirect_args args = {.lun = c->lun,
                                       .link = &c->proxy.link,
                                       .loop = c->args.loop,
                                       .clock = c->args.clock,
                                       .answer = answer,
                                       .lun_failed = lun_failed,
                                       .arg = c};

    if (!args.loop)
        return E_OK;
    c->proxy.local = c->proxy.proxy = true;
    coord_session_enter(c, &c->proxy, &FS_SENDER_PROXY);
    return redirect_new(&args, &c->redirect);
}

void coord_proxy_stop(struct fs_coord *c)
{
    redirect_free(c->redirect);
}
