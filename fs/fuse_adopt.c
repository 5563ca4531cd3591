/* fs/fuse_adopt.c - the mount of a process that was killed: its files are
 * opened again, then the kernel sends again what nobody answered.
 * Serves nothing before that.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse.h"

#include "base/log.h"

#include <string.h>
#include <unistd.h>

/* Of the kernel's ABI since 7.40, Linux 6.9; this header may be older. */
enum { NOTIFY_RESEND = 7 };

/* -- files ----------------------------------------------------------------- */

struct reopening {
    struct task task;
    struct fs_io io;
    struct fuse_volume *volume;
    struct fuse_handle handle;
    uint32_t at;
    sem_t done;
};

static void reopen_next(struct reopening *r);

/* Whoever uses it will see ESTALE. */
static void lost(struct reopening *r, enum err e)
{
    bool write;

    log_error("volume %s: inode %llu cannot be opened again: %s",
              r->volume->name, (unsigned long long)ino_of(r->handle.node),
              err_text(e));
    fuse_kept_close(r->volume->fuse->kept, r->handle.fh, &write);
}

static void reopened(struct fs_io *io, enum err e)
{
    struct reopening *r = container_of(io, struct reopening, io);

    if (!e)
        e = fuse_file_enter(r->volume, r->handle.node, io->file, io->attr.mode,
                            r->handle.write);
    if (e)
        lost(r, e);
    reopen_next(r);
}

static void reopen_next(struct reopening *r)
{
    struct fuse_volume *v = r->volume;

    do {
        if (!fuse_kept_next(v->fuse->kept, &r->at, &r->handle)) {
            sem_post(&r->done);
            return;
        }
    } while (r->handle.node >> FUSE_INO_BITS != v->number);
    r->io = (struct fs_io){.op = FS_IO_OPEN,
                           .ino = ino_of(r->handle.node),
                           .write = r->handle.write,
                           .done = reopened};
    fs_io_submit(v->client, &r->io);
}

static void reopen_start(struct task *task)
{
    reopen_next(container_of(task, struct reopening, task));
}

static void wait_on_loop(struct fs_fuse *fuse, struct task *start, sem_t *done)
{
    sem_init(done, 0, 0);
    loop_post(fuse->loop, start);
    while (sem_wait(done))
        ASSERT(errno == EINTR);
    sem_destroy(done);
}

/* -- locks -----------------------------------------------------------------
 * Our predecessor's are not ours (I10): they are free when it is fenced.  We
 * wait for that, and for nobody else: what another host has by then is lost. */

enum { PREDECESSOR_MS = 100 }; /* it is looked whether it is gone */

struct relocking {
    struct task task;
    struct timer again;
    struct fs_lock_call call;
    struct fuse_volume *volume;
    struct fuse_file *file;
    struct fuse_kept_lock lock;
    uint32_t at; /* one behind the lock's */
    sem_t done;
};

static void relock_next(struct task *task);

/* Whatever ended may have ended at once. */
static void relock_go_on(struct relocking *r)
{
    r->task.run = relock_next;
    loop_post(r->volume->fuse->loop, &r->task);
}

static void lock_lost(struct relocking *r, const char *why)
{
    log_error("volume %s: the lock of process %u on inode %llu, bytes %llu to "
              "%llu, is lost: %s",
              r->volume->name, r->lock.pid,
              (unsigned long long)ino_of(r->lock.node),
              (unsigned long long)r->lock.first,
              (unsigned long long)r->lock.last, why);
    fuse_kept_unlock(r->volume->fuse->kept, r->at - 1);
    relock_go_on(r);
}

static void relock(struct relocking *r, enum lm_range_call_op op,
                   void (*done)(struct fs_lock_call *call))
{
    r->call = (struct fs_lock_call){.done = done};
    r->call.core.op = op;
    r->call.core.range = (struct lm_range){
        .file = ino_of(r->lock.node),
        .owner = {.kind = (enum lm_range_kind)r->lock.kind,
                  .key = r->lock.owner},
        .type = (enum lm_range_type)r->lock.type,
        .first = r->lock.first,
        .last = r->lock.last,
        .pid = r->lock.pid
    };
    fs_locks_submit(r->volume->client->locks, &r->call);
}

static void relocked(struct fs_lock_call *call);

static void relock_again(struct timer *t)
{
    relock(container_of(t, struct relocking, again), LM_RANGE_CALL_SET,
           relocked);
}

static void relock_refused(struct fs_lock_call *call)
{
    struct relocking *r = container_of(call, struct relocking, call);
    const struct lm_range *other = &call->other;

    if (call->error) {
        lock_lost(r, err_text(call->error));
    } else if (other->type == LM_UNLCK ||
               other->owner.peer.node ==
                   fs_client_link(r->volume->client)->self.node) {
        r->again.fire = relock_again;
        loop_timer_set(r->volume->fuse->loop, &r->again, PREDECESSOR_MS);
    } else {
        lock_lost(r, "another host has one");
    }
}

static void relocked(struct fs_lock_call *call)
{
    struct relocking *r = container_of(call, struct relocking, call);
    struct fuse_locker *l;

    if (call->error == E_AGAIN) {
        relock(r, LM_RANGE_CALL_TEST, relock_refused);
        return;
    }
    if (call->error) {
        lock_lost(r, err_text(call->error));
        return;
    }
    l = fuse_locker_get(r->file, (enum lm_range_kind)r->lock.kind,
                        r->lock.owner, r->lock.fh);
    if (l && fuse_locker_keeps(l, r->at - 1))
        relock_go_on(r);
    else
        lock_lost(r, err_text(E_NOMEM));
}

static void relock_next(struct task *task)
{
    struct relocking *r = container_of(task, struct relocking, task);
    struct fuse_volume *v = r->volume;

    do {
        if (!fuse_kept_next_lock(v->fuse->kept, &r->at, &r->lock)) {
            sem_post(&r->done);
            return;
        }
    } while (r->lock.node >> FUSE_INO_BITS != v->number);
    r->file = fuse_file_find(v->fuse, r->lock.node);
    if (r->file)
        relock(r, LM_RANGE_CALL_SET, relocked);
    else
        lock_lost(r, err_text(E_STALE));
}

void fuse_reopen(struct fuse_volume *v)
{
    struct reopening r = {.task.run = reopen_start, .volume = v};
    struct relocking locks = {.task.run = relock_next, .volume = v};

    if (v->fuse->serving)
        return;
    wait_on_loop(v->fuse, &r.task, &r.done);
    wait_on_loop(v->fuse, &locks.task, &locks.done);
}

/* -- requests -------------------------------------------------------------- */

static enum err resend(struct fs_fuse *fuse)
{
    struct fuse_out_header out = {.len = sizeof out, .error = NOTIFY_RESEND};

    if (write(fuse->fd, &out, sizeof out) == (ssize_t)sizeof out)
        return E_OK;
    return errno == EINVAL ? E_UNSUPPORTED : err_from_errno(errno);
}

/* Before any is read: what we have read would be sent again, too. */
static enum err resume(struct fs_fuse *fuse, void *arg)
{
    enum err resent = resend(fuse), e = fuse_serve(fuse, arg);

    return e ? e : resent;
}

enum err fs_fuse_resume(struct fs_fuse *fuse)
{
    return fuse_on_loop(fuse, resume, NULL);
}
