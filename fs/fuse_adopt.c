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

void fuse_reopen(struct fuse_volume *v)
{
    struct reopening r = {.task.run = reopen_start, .volume = v};

    if (v->fuse->serving)
        return;
    sem_init(&r.done, 0, 0);
    loop_post(v->fuse->loop, &r.task);
    while (sem_wait(&r.done))
        ASSERT(errno == EINTR);
    sem_destroy(&r.done);
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
