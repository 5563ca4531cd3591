/* fs/fuse_notify.c - telling the kernel what was changed behind its back: a
 * VM writes its disk's file while somebody has it mapped or cached.
 * Drops pages and attributes of whole files, soon, not at once; tells nothing
 * of names.
 *
 * On a worker, because dropping pages waits for READs of that file which the
 * kernel has sent to us (docs/posix.md): the loop goes on answering them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse.h"

static struct fs_file *changed_pop(struct fs_fuse *fuse)
{
    struct list *first;

    pthread_mutex_lock(&fuse->changed_mutex);
    first = list_pop_front(&fuse->changed);
    pthread_mutex_unlock(&fuse->changed_mutex);
    return first ? container_of(first, struct fs_file, changed_link) : NULL;
}

/* On the worker.  A file whose pages could not be dropped is not known to the
 * kernel, or the mount is gone: both are as good. */
static void tell(struct work *work)
{
    struct fs_fuse *fuse = container_of(work, struct fs_fuse, changed_work);
    struct fs_file *f;

    while ((f = changed_pop(fuse))) {
        const struct fuse_volume *v = f->client->changed_arg;

        fuse_lowlevel_notify_inval_inode(fuse->session, node_of(v, f->ino), 0,
                                         0);
        fs_file_put(f);
    }
}

/* On the mount's loop: anything new since the worker looked? */
static void told(struct work *work)
{
    struct fs_fuse *fuse = container_of(work, struct fs_fuse, changed_work);
    bool more;

    pthread_mutex_lock(&fuse->changed_mutex);
    more = !list_empty(&fuse->changed);
    fuse->changed_busy = more;
    pthread_mutex_unlock(&fuse->changed_mutex);
    if (more)
        work_submit(fuse->workers, work);
    else
        fuse->busy--;
    fuse_check_drained(fuse);
}

static void start(struct task *task)
{
    struct fs_fuse *fuse = container_of(task, struct fs_fuse, changed_task);

    fuse->busy++;
    work_submit(fuse->workers, &fuse->changed_work);
}

void fuse_file_changed(void *volume, struct fs_file *file)
{
    struct fuse_volume *v = volume;
    struct fs_fuse *fuse = v->fuse;
    bool queue, post;

    pthread_mutex_lock(&fuse->changed_mutex);
    queue = !list_linked(&file->changed_link);
    if (queue) {
        fs_file_get(file);
        list_push_back(&fuse->changed, &file->changed_link);
    }
    post = queue && !fuse->changed_busy;
    fuse->changed_busy |= queue;
    pthread_mutex_unlock(&fuse->changed_mutex);
    if (post)
        loop_post(fuse->loop, &fuse->changed_task);
}

enum err fuse_notify_start(struct fs_fuse *fuse)
{
    const struct workers_args args = {.name = "fuse-notify", .threads = 1};

    pthread_mutex_init(&fuse->changed_mutex, NULL);
    list_init(&fuse->changed);
    fuse->changed_work.run = tell;
    fuse->changed_work.done = told;
    fuse->changed_task.run = start;
    return workers_start(&args, &fuse->workers);
}

void fuse_notify_stop(struct fs_fuse *fuse)
{
    workers_stop(fuse->workers);
    pthread_mutex_destroy(&fuse->changed_mutex);
}
