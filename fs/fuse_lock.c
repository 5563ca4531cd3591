/* fs/fuse_lock.c - fcntl(2) and flock(2) on files that other hosts lock, too:
 * between the kernel and the client's locks.  Decides nothing.
 *
 * The kernel names the owner of a lock by a number: of a process, which closes
 * a file with FLUSH, whereupon all its locks of the file end (POSIX); or of an
 * open file (OFD, flock), whose locks end with RELEASE.  It does not say which.
 * But a process has FLUSHed before the last of its opens is RELEASEd: so what
 * an open still has then belongs to it.
 *
 * A request that waits holds none of the mount's ops: there may be any number.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse.h"

#include "base/log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

/* A request of the kernel. */
struct fuse_lock {
    struct list link;
    struct fs_fuse *fuse;
    struct fuse_volume *volume;
    fuse_req_t req;
    struct fs_lock_call call;
    struct fuse_file *file; /* open until the request is answered */
    bool submitted, interrupted;
};

/* -- owners ---------------------------------------------------------------- */

static struct fuse_locker *locker_of(struct list *node)
{
    return container_of(node, struct fuse_locker, in_file);
}

static struct fuse_locker *find_locker(const struct fuse_file *f,
                                       enum lm_range_kind kind, uint64_t owner)
{
    list_for_each (node, &f->lockers) {
        struct fuse_locker *l = locker_of(node);

        if (l->kind == kind && l->owner == owner)
            return l;
    }
    return NULL;
}

struct fuse_locker *fuse_locker_get(struct fuse_file *f,
                                    enum lm_range_kind kind, uint64_t owner,
                                    uint64_t fh)
{
    struct fuse_locker *l = find_locker(f, kind, owner);

    if (!l) {
        l = calloc(1, sizeof *l);
        if (!l)
            return NULL;
        l->kind = kind;
        l->owner = owner;
        list_push_back(&f->lockers, &l->in_file);
    }
    l->fh = fh;
    return l;
}

bool fuse_locker_keeps(struct fuse_locker *l, uint32_t at)
{
    enum { ROOM_MIN = 8 };
    size_t room = l->kept_room ? 2 * l->kept_room : ROOM_MIN;
    uint32_t *more;

    if (l->kept_count == l->kept_room) {
        more = reallocarray(l->kept, room, sizeof *more);
        if (!more)
            return false;
        l->kept = more;
        l->kept_room = room;
    }
    l->kept[l->kept_count++] = at;
    return true;
}

/* The first `count` of what is kept are no longer held. */
static void keep_no_longer(struct fuse_kept *k, struct fuse_locker *l,
                           size_t count)
{
    for (size_t i = 0; i < count; i++)
        fuse_kept_unlock(k, l->kept[i]);
    l->kept_count -= count;
    memmove(l->kept, l->kept + count, l->kept_count * sizeof *l->kept);
}

static void drop_locker(const struct fuse_file *f, struct fuse_locker *l)
{
    if (l->kept_count)
        keep_no_longer(f->volume->fuse->kept, l, l->kept_count);
    list_remove(&l->in_file);
    free(l->kept);
    free(l);
}

/* -- what a successor must know -------------------------------------------- */

struct keeping {
    struct fuse_kept *kept;
    const struct fuse_file *file;
    struct fuse_locker *locker;
    bool failed;
};

static void keep_piece(void *arg, const struct lm_range *r)
{
    struct keeping *k = arg;
    const struct fuse_locker *l = k->locker;
    const struct fuse_kept_lock lock = {.node = k->file->node,
                                        .fh = l->fh,
                                        .owner = l->owner,
                                        .first = r->first,
                                        .last = r->last,
                                        .pid = r->pid,
                                        .kind = (uint16_t)l->kind,
                                        .type = (uint16_t)r->type};
    uint32_t at;

    if (r->owner.kind != l->kind || r->owner.key != l->owner || k->failed)
        return;
    if (fuse_kept_lock(k->kept, &lock, &at)) {
        k->failed = true;
    } else if (!fuse_locker_keeps(k->locker, at)) {
        fuse_kept_unlock(k->kept, at);
        k->failed = true;
    }
}

/* The new pieces are there before the old ones go: a process that is killed in
 * between leaves both, and the request that changed them, which is resent. */
static void keep(struct fuse_file *f, struct fuse_locker *l)
{
    struct keeping k = {.kept = f->volume->fuse->kept, .file = f, .locker = l};
    size_t before = l->kept_count;

    fs_locks_each(f->volume->client->locks, ino_of(f->node), keep_piece, &k);
    if (before)
        keep_no_longer(k.kept, l, before);
    if (k.failed)
        log_warning("volume %s: too many locks: some are lost when lunard is "
                    "started again",
                    f->volume->name);
}

/* -- a request ------------------------------------------------------------- */

/* NULL: the request is answered. */
static struct fuse_lock *lock_begin(fuse_req_t req, struct fuse_file *f)
{
    struct fuse_volume *v = f->volume;
    struct fuse_lock *l = calloc(1, sizeof *l);

    if (!l) {
        fuse_reply_err(req, ENOLCK);
        return NULL;
    }
    l->fuse = v->fuse;
    l->volume = v;
    l->req = req;
    l->file = f;
    l->call.core.range.file = ino_of(f->node);
    l->fuse->busy++;
    v->busy++;
    list_push_back(&l->fuse->locks, &l->link);
    return l;
}

static void lock_end(struct fuse_lock *l)
{
    struct fs_fuse *fuse = l->fuse;

    l->volume->busy--;
    fuse->busy--;
    list_remove(&l->link);
    free(l);
    fuse_check_drained(fuse);
}

/* Who waits when the mount goes is told what its other users are. */
static int errno_of(const struct fuse_lock *l)
{
    if (l->call.error != E_CANCELED)
        return err_errno(l->call.error);
    return l->fuse->drained ? ENOTCONN : EINTR;
}

static void lock_done(struct fs_lock_call *call)
{
    struct fuse_lock *l = container_of(call, struct fuse_lock, call);
    const struct lm_range_owner *owner = &call->core.range.owner;
    struct fuse_locker *locker = find_locker(l->file, owner->kind, owner->key);

    if (locker && (!call->error || owner->kind == LM_FLOCK))
        keep(l->file, locker);
    fuse_reply_err(l->req, errno_of(l));
    lock_end(l);
}

static void lock_submit(struct fuse_lock *l)
{
    l->submitted = true;
    fs_locks_submit(l->volume->client->locks, &l->call);
}

/* -- fcntl(2) -------------------------------------------------------------- */

static enum lm_range_type type_of(int fcntl_type)
{
    return fcntl_type == F_RDLCK   ? LM_RDLCK
           : fcntl_type == F_WRLCK ? LM_WRLCK
                                   : LM_UNLCK;
}

static void range_fill(struct lm_range *r, uint64_t owner,
                       const struct flock *lock)
{
    r->owner.kind = LM_POSIX;
    r->owner.key = owner;
    r->type = type_of(lock->l_type);
    r->first = (uint64_t)lock->l_start;
    r->last = lock->l_len ? (uint64_t)lock->l_start + (uint64_t)lock->l_len - 1
                          : LM_RANGE_LAST;
    r->pid = (uint32_t)lock->l_pid;
}

static struct fuse_lock *begin(fuse_req_t req, fuse_ino_t node)
{
    struct fuse_file *f = fuse_file_find(fuse_req_userdata(req), node);

    if (f)
        return lock_begin(req, f);
    fuse_reply_err(req, ESTALE);
    return NULL;
}

static void interrupted(fuse_req_t req, void *lock)
{
    struct fuse_lock *l = lock;

    (void)req;
    if (l->submitted)
        fs_locks_cancel(l->volume->client->locks, &l->call);
    else
        l->interrupted = true;
}

static void fail(struct fuse_lock *l, int error)
{
    fuse_reply_err(l->req, error);
    lock_end(l);
}

static void set(struct fuse_lock *l, uint64_t fh, bool sleep)
{
    const struct lm_range *r = &l->call.core.range;

    if (lm_range_check(r, NULL)) {
        fail(l, EINVAL);
        return;
    }
    if (r->type != LM_UNLCK &&
        !fuse_locker_get(l->file, r->owner.kind, r->owner.key, fh)) {
        fail(l, ENOLCK);
        return;
    }
    l->call.core.op = LM_RANGE_CALL_SET;
    l->call.core.waits = sleep && r->type != LM_UNLCK;
    l->call.done = lock_done;
    if (l->call.core.waits)
        fuse_req_interrupt_func(l->req, interrupted, l);
    if (l->interrupted)
        fail(l, EINTR);
    else
        lock_submit(l);
}

static void handle_setlk(fuse_req_t req, fuse_ino_t node,
                         struct fuse_file_info *fi, struct flock *lock,
                         int sleep)
{
    struct fuse_lock *l = begin(req, node);

    if (!l)
        return;
    range_fill(&l->call.core.range, fi->lock_owner, lock);
    set(l, fi->fh, sleep);
}

/* A process of another host has no number here: l_pid is 0. */
static void tested(struct fs_lock_call *call)
{
    struct fuse_lock *l = container_of(call, struct fuse_lock, call);
    const struct lm_range *other = &call->other;
    struct flock lock = {.l_type = F_UNLCK};

    if (call->error || other->type == LM_UNLCK) {
        if (call->error)
            fuse_reply_err(l->req, err_errno(call->error));
        else
            fuse_reply_lock(l->req, &lock);
        lock_end(l);
        return;
    }
    lock.l_type = other->type == LM_RDLCK ? F_RDLCK : F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = (off_t)other->first;
    if (other->last < LM_RANGE_LAST)
        lock.l_len = (off_t)(other->last - other->first + 1);
    if (fs_locks_is_own(l->volume->client->locks, &other->owner.peer))
        lock.l_pid = (pid_t)other->pid;
    fuse_reply_lock(l->req, &lock);
    lock_end(l);
}

static void handle_getlk(fuse_req_t req, fuse_ino_t node,
                         struct fuse_file_info *fi, struct flock *lock)
{
    struct fuse_lock *l = begin(req, node);

    if (!l)
        return;
    range_fill(&l->call.core.range, fi->lock_owner, lock);
    if (lm_range_check(&l->call.core.range, NULL)) {
        fail(l, EINVAL);
        return;
    }
    l->call.core.op = LM_RANGE_CALL_TEST;
    l->call.done = tested;
    lock_submit(l);
}

/* -- flock(2) -------------------------------------------------------------- */

static void handle_flock(fuse_req_t req, fuse_ino_t node,
                         struct fuse_file_info *fi, int op)
{
    const int type = op & ~LOCK_NB;
    struct fuse_lock *l = begin(req, node);

    if (!l)
        return;
    l->call.core.range.owner.kind = LM_FLOCK;
    l->call.core.range.owner.key = fi->lock_owner;
    l->call.core.range.type = type == LOCK_SH   ? LM_RDLCK
                              : type == LOCK_EX ? LM_WRLCK
                                                : LM_UNLCK;
    l->call.core.range.last = LM_RANGE_LAST;
    set(l, fi->fh, !(op & LOCK_NB));
}

/* -- the end of locks ------------------------------------------------------ */

static void unlock_fill(struct fs_lock_call *call, const struct fuse_file *f,
                        const struct fuse_locker *of)
{
    call->core.op = LM_RANGE_CALL_SET;
    call->core.range = (struct lm_range){
        .file = ino_of(f->node),
        .owner = {.kind = of->kind, .key = of->owner},
        .type = LM_UNLCK,
        .last = LM_RANGE_LAST
    };
}

static void unlocked(struct fs_lock_call *call)
{
    free(call);
}

/* Everything that the owner has of the file; nobody waits for it. */
static void unlock(const struct fuse_file *f, struct fuse_locker *of)
{
    struct fs_lock_call *call = calloc(1, sizeof *call);

    ASSERT(call != NULL);
    unlock_fill(call, f, of);
    call->done = unlocked;
    drop_locker(f, of);
    fs_locks_submit(f->volume->client->locks, call);
}

/* A process closes the file: by POSIX its locks of it end, whichever open they
 * were made through. */
static void handle_flush(fuse_req_t req, fuse_ino_t node,
                         struct fuse_file_info *fi)
{
    struct fuse_file *f = fuse_file_find(fuse_req_userdata(req), node);
    struct fuse_locker *locker =
        f ? find_locker(f, LM_POSIX, fi->lock_owner) : NULL;
    struct fuse_lock *l;

    if (!locker) {
        fuse_reply_err(req, 0);
        return;
    }
    l = lock_begin(req, f);
    if (!l)
        return; /* RELEASE finds it */
    unlock_fill(&l->call, f, locker);
    drop_locker(f, locker);
    l->call.done = lock_done;
    lock_submit(l);
}

void fuse_locks_release(struct fuse_file *f, uint64_t fh)
{
    list_for_each (node, &f->lockers)
        if (locker_of(node)->fh == fh)
            unlock(f, locker_of(node));
}

void fuse_locks_forget(struct fuse_file *f)
{
    list_for_each (node, &f->lockers)
        unlock(f, locker_of(node));
    fs_locks_forget(f->volume->client->locks, ino_of(f->node));
}

static struct fuse_lock *find_waiting(struct fs_fuse *fuse)
{
    list_for_each (node, &fuse->locks) {
        struct fuse_lock *l = container_of(node, struct fuse_lock, link);

        if (l->call.core.waits && !l->interrupted)
            return l;
    }
    return NULL;
}

/* One that ends may end others. */
void fuse_locks_stop(struct fs_fuse *fuse)
{
    struct fuse_lock *l;

    fuse->busy++;
    while ((l = find_waiting(fuse))) {
        l->interrupted = true;
        fs_locks_cancel(l->volume->client->locks, &l->call);
    }
    fuse->busy--;
}

void fuse_lock_handlers(struct fuse_lowlevel_ops *ops)
{
    ops->getlk = handle_getlk;
    ops->setlk = handle_setlk;
    ops->flock = handle_flock;
    ops->flush = handle_flush;
}
