/* fs/fuse.c - the one mount: mounting, the session, fetching requests, and
 * which volumes are there.  Knows no request but INIT.
 *
 * The descriptor is non-blocking.  The loop calls fetch() on each of its
 * turns, so that while there is traffic no request waits for a wake-up; when
 * there is none, epoll does.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse.h"

#include "base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
    /* After so much, completions and timers have their turn.  Copying a large
     * request takes as long as many small ones, and while a finished one waits
     * for its answer its warm buffer is not used again. */
    REQUESTS_PER_TURN = 64,
    BYTES_PER_TURN = 256 << 10,
    MAX_READAHEAD_BYTES = FUSE_DATA_BYTES,
    CONGESTION_PERCENT = 75
};

/* Flags of the INIT reply that libfuse 3.14 has no words for: a shared mapping
 * of a file that is open with O_DIRECT; and set-id bits are ours to clear,
 * without which each cached write asks for "security.capability" first. */
#define INIT_FLAGS_MORE                                                        \
    ((UINT64_C(1) << 28) /* FUSE_HANDLE_KILLPRIV_V2 */ |                       \
     (UINT64_C(1) << 30) /* FUSE_INIT_EXT: flags2 counts */ |                  \
     (UINT64_C(1) << 36) /* FUSE_DIRECT_IO_ALLOW_MMAP */)

/* -- volumes --------------------------------------------------------------- */

struct fuse_volume *fuse_volume_find(struct fs_fuse *fuse, uint64_t node)
{
    uint16_t number = (uint16_t)(node >> FUSE_INO_BITS);

    if (fuse->last_volume && fuse->last_volume->number == number)
        return fuse->last_volume;
    list_for_each (at, &fuse->volumes) {
        struct fuse_volume *v = container_of(at, struct fuse_volume, link);

        if (v->number == number) {
            fuse->last_volume = v;
            return v;
        }
    }
    return NULL;
}

struct fuse_volume *fuse_volume_named(struct fs_fuse *fuse, const char *name)
{
    list_for_each (at, &fuse->volumes) {
        struct fuse_volume *v = container_of(at, struct fuse_volume, link);

        if (!strcmp(v->name, name))
            return v;
    }
    return NULL;
}

void fuse_check_drained(struct fs_fuse *fuse)
{
    bool changed_busy;

    if (!fuse->drained && !fuse->leaving)
        return;
    pthread_mutex_lock(&fuse->changed_mutex);
    changed_busy = fuse->changed_busy;
    pthread_mutex_unlock(&fuse->changed_mutex);
    if (changed_busy)
        return;
    if (fuse->leaving && !fuse->leaving->busy) {
        sem_t *waits = fuse->leaving->leaving;

        fuse->leaving = NULL;
        sem_post(waits);
    }
    /* requests first: they use the files */
    if (fuse->drained && !fuse->busy && !fuse_files_close(fuse)) {
        sem_t *waits = fuse->drained;

        fuse->drained = NULL;
        sem_post(waits);
    }
}

/* -- doing something on the mount's loop, and waiting for it --------------- */

struct errand {
    struct task task;
    struct fs_fuse *fuse;
    enum err (*run)(struct fs_fuse *fuse, void *arg);
    void *arg;
    enum err result;
    sem_t done;
};

static void sem_wait_all(sem_t *sem)
{
    while (sem_wait(sem))
        ASSERT(errno == EINTR);
}

static void errand_run(struct task *task)
{
    struct errand *errand = container_of(task, struct errand, task);

    errand->result = errand->run(errand->fuse, errand->arg);
    sem_post(&errand->done);
}

enum err fuse_on_loop(struct fs_fuse *fuse,
                      enum err (*run)(struct fs_fuse *fuse, void *arg),
                      void *arg)
{
    struct errand errand = {
        .task.run = errand_run, .fuse = fuse, .run = run, .arg = arg};

    ASSERT(loop_self() != fuse->loop);
    sem_init(&errand.done, 0, 0);
    loop_post(fuse->loop, &errand.task);
    sem_wait_all(&errand.done);
    sem_destroy(&errand.done);
    return errand.result;
}

/* -- volumes come and go --------------------------------------------------- */

static enum err volume_enter(struct fs_fuse *fuse, void *arg)
{
    struct fuse_volume *v = arg;
    struct list *after = &fuse->volumes;

    if (fuse_volume_named(fuse, v->name))
        return E_EXIST;
    list_for_each (at, &fuse->volumes) {
        struct fuse_volume *other = container_of(at, struct fuse_volume, link);

        if (other->number == v->number)
            return E_EXIST;
        if (other->number < v->number)
            after = at;
    }
    list_insert_after(after, &v->link);
    v->client->changed_arg = v;
    v->client->changed = fuse_file_changed;
    return E_OK;
}

/* The kernel keeps the root's attributes, as each path begins there; the
 * number of links tells of the volumes. */
static void root_changed(struct fs_fuse *fuse)
{
    fuse_lowlevel_notify_inval_inode(fuse->session, FUSE_ROOT_ID, -1, 0);
}

enum err fs_fuse_add_volume(struct fs_fuse *fuse, const char *name,
                            uint16_t number, struct fs_client *client)
{
    AUTO(freep) struct fuse_volume *v = calloc(1, sizeof *v);
    enum err e;

    if (!v)
        return E_NOMEM;
    if (!number || !*name || strchr(name, '/') ||
        strlen(name) >= sizeof v->name)
        return E_INVAL;
    snprintf(v->name, sizeof v->name, "%s", name);
    v->number = number;
    v->client = client;
    v->fuse = fuse;
    e = fuse_on_loop(fuse, volume_enter, v);
    if (e)
        return e;
    fuse_reopen(TAKE(v));
    root_changed(fuse);
    return E_OK;
}

struct departure {
    uint16_t number;
    struct fuse_volume *volume;
    sem_t done;
};

static enum err volume_leave(struct fs_fuse *fuse, void *arg)
{
    struct departure *d = arg;
    struct fuse_volume *v =
        fuse_volume_find(fuse, (uint64_t)d->number << FUSE_INO_BITS);

    if (!v)
        return E_NOENT;
    if (v->files || fuse->leaving)
        return E_BUSY;
    list_remove(&v->link);
    fuse->last_volume = NULL;
    d->volume = v;
    v->leaving = &d->done;
    fuse->leaving = v;
    fuse_check_drained(fuse);
    return E_OK;
}

enum err fs_fuse_remove_volume(struct fs_fuse *fuse, uint16_t number)
{
    struct departure d = {.number = number};
    enum err e;

    sem_init(&d.done, 0, 0);
    e = fuse_on_loop(fuse, volume_leave, &d);
    if (!e) {
        sem_wait_all(&d.done);
        d.volume->client->changed = NULL;
        /* the kernel may have cached the name, and all below it */
        fuse_lowlevel_notify_inval_entry(fuse->session, FUSE_ROOT_ID,
                                         d.volume->name,
                                         strlen(d.volume->name));
        root_changed(fuse);
        free(d.volume);
    }
    sem_destroy(&d.done);
    return e;
}

/* -- the session ----------------------------------------------------------- */

static void handle_init(void *userdata, struct fuse_conn_info *conn)
{
    const unsigned wanted =
        FUSE_CAP_ASYNC_READ | FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_ACL |
        FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO | FUSE_CAP_READDIRPLUS |
        FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_EXPLICIT_INVAL_DATA |
        FUSE_CAP_CACHE_SYMLINKS;
    const struct fs_fuse *fuse = userdata;

    conn->want = conn->capable & wanted;
    if (fuse->shares_locks)
        conn->want |= FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;
    conn->max_write = FUSE_DATA_BYTES;
    conn->max_readahead = MAX_READAHEAD_BYTES;
    conn->max_background = FUSE_BACKGROUND_MAX;
    conn->congestion_threshold = FUSE_BACKGROUND_MAX * CONGESTION_PERCENT / 100;
    conn->time_gran = 1;
}

/* The first answer is INIT's: put in what libfuse cannot say, and keep it from
 * the kernel if it has had one, from an earlier process. */
static ssize_t init_writev(struct fs_fuse *fuse, const struct iovec *iov,
                           int count)
{
    struct iovec copy[2];
    struct fuse_init_out init;
    uint64_t flags;

    fuse->init_answered = true;
    if (count != 2 || iov[1].iov_len > sizeof init)
        return writev(fuse->fd, iov, count);
    memcpy(&init, iov[1].iov_base, iov[1].iov_len);
    flags = init.flags | INIT_FLAGS_MORE;
    init.flags = (uint32_t)flags;
    init.flags2 |= (uint32_t)(flags >> 32);
    copy[0] = iov[0];
    copy[1] = (struct iovec){.iov_base = &init, .iov_len = iov[1].iov_len};
    if (fuse->replaying)
        return (ssize_t)(copy[0].iov_len + copy[1].iov_len);
    return writev(fuse->fd, copy, count);
}

static ssize_t session_writev(int fd, struct iovec *iov, int count,
                              void *userdata)
{
    struct fs_fuse *fuse = userdata;

    if (!fuse->init_answered)
        return init_writev(fuse, iov, count);
    return writev(fd, iov, count);
}

/* libfuse wants one; fetch() reads by itself. */
static ssize_t session_read(int fd, void *buf, size_t bytes, void *userdata)
{
    (void)userdata;
    return read(fd, buf, bytes);
}

static enum err session_start(struct fs_fuse *fuse)
{
    static const struct fuse_custom_io io = {.writev = session_writev,
                                             .read = session_read};
    char program[] = "lunar";
    char *argv[] = {program, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_lowlevel_ops ops = {.init = handle_init};

    fuse_name_handlers(&ops);
    fuse_dir_handlers(&ops);
    fuse_file_handlers(&ops);
    if (fuse->shares_locks)
        fuse_lock_handlers(&ops);
    fuse->session = fuse_session_new(&args, &ops, sizeof ops, fuse);
    fuse_opt_free_args(&args); /* it made copies of our words */
    if (!fuse->session || fuse_session_custom_io(fuse->session, &io, fuse->fd))
        return E_NOMEM;
    return E_OK;
}

/* -- fetching requests ----------------------------------------------------- */

static void process(struct fs_fuse *fuse, void *request, size_t bytes)
{
    struct fuse_buf buf = {.size = bytes, .mem = request};
    const struct fuse_in_header *in = request;

    if (in->opcode == FUSE_INIT)
        fuse_kept_set_init(fuse->kept, request, bytes);
    fuse_session_process_buf(fuse->session, &buf);
}

static void gone(struct fs_fuse *fuse)
{
    fuse->dead = true;
    loop_fd_remove(fuse->loop, &fuse->events);
}

/* One request, adding its length to *bytes.  False: there is none. */
static bool fetch_one(struct fs_fuse *fuse, size_t *bytes)
{
    struct list *first = list_pop_front(&fuse->idle);
    struct fuse_op *op;
    ssize_t n;

    if (!first)
        return false;
    op = container_of(first, struct fuse_op, link);
    n = read(fuse->fd, op->request, FUSE_DATA_BYTES + FUSE_PAGE);
    if (n > 0) {
        *bytes += (size_t)n;
        fuse->current = op;
        process(fuse, op->request, (size_t)n);
    }
    if (n <= 0 || fuse->current)
        list_push_front(&fuse->idle, &op->link);
    fuse->current = NULL;
    if (n < 0 && errno == ENODEV)
        gone(fuse);
    /* ENOENT: the request was interrupted before we had it */
    return n > 0 || (n < 0 && (errno == ENOENT || errno == EINTR));
}

static bool fetch(struct fs_fuse *fuse)
{
    size_t bytes = 0;
    int n = 0;

    while (!fuse->dead && n < REQUESTS_PER_TURN && bytes < BYTES_PER_TURN &&
           fetch_one(fuse, &bytes))
        n++;
    return n > 0;
}

static bool poll_requests(struct poller *p)
{
    return fetch(container_of(p, struct fs_fuse, poller));
}

/* Before the loop sleeps: with all ops taken epoll would only wake us for what
 * we cannot serve. */
static bool arm_requests(struct poller *p)
{
    struct fs_fuse *fuse = container_of(p, struct fs_fuse, poller);

    if (!fuse->dead)
        loop_fd_set(fuse->loop, &fuse->events,
                    list_empty(&fuse->idle) ? 0 : EPOLLIN);
    return false;
}

static void requests_ready(struct loop_fd *f, uint32_t events)
{
    (void)events;
    fetch(container_of(f, struct fs_fuse, events));
}

/* -- memory ---------------------------------------------------------------- */

static enum err ops_init(struct fs_fuse *fuse)
{
    size_t bytes = (size_t)FUSE_OPS * FUSE_BUFFER_BYTES;

    fuse->ops = calloc(FUSE_OPS, sizeof *fuse->ops);
    if (!fuse->ops)
        return E_NOMEM;
    /* Only what is used becomes memory: the last op used is the next. */
    fuse->buffers = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fuse->buffers == MAP_FAILED) {
        fuse->buffers = NULL;
        return E_NOMEM;
    }
    for (size_t i = 0; i < FUSE_OPS; i++) {
        uint8_t *page = fuse->buffers + i * FUSE_BUFFER_BYTES;

        fuse->ops[i].fuse = fuse;
        fuse->ops[i].data = page + FUSE_PAGE;
        fuse->ops[i].request = page + FUSE_PAGE - FUSE_WRITE_HEADERS;
        list_push_back(&fuse->idle, &fuse->ops[i].link);
    }
    return E_OK;
}

static void fuse_freep(struct fs_fuse **at)
{
    struct fs_fuse *fuse = *at;

    if (!fuse)
        return;
    if (fuse->session)
        fuse_session_destroy(fuse->session); /* closes fd */
    else if (fuse->fd >= 0)
        close(fuse->fd);
    if (fuse->buffers)
        munmap(fuse->buffers, (size_t)FUSE_OPS * FUSE_BUFFER_BYTES);
    free(fuse->ops);
    fuse_kept_free(fuse->kept);
    free(fuse->mountpoint);
    free(fuse);
}

/* -- mounting -------------------------------------------------------------- */

/* A daemon that was killed leaves a mount that answers ENOTCONN. */
static enum err clear_mountpoint(const char *path, struct diag *why)
{
    char above[PATH_MAX];
    struct stat st, parent;
    struct statfs sfs;

    /* Not stat(): the kernel may still know the root's attributes. */
    if (statfs(path, &sfs) && errno == ENOTCONN) {
        log_warning("%s: clearing the dead mount of an earlier run", path);
        if (umount2(path, MNT_DETACH))
            return diag_fail(why, err_from_errno(errno), "%s: umount: %s", path,
                             strerror(errno));
    }
    if (stat(path, &st))
        return diag_fail(why, err_from_errno(errno),
                         "mount point %s: %s; create it", path,
                         strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return diag_fail(why, E_NOTDIR, "mount point %s is not a directory",
                         path);
    snprintf(above, sizeof above, "%s/..", path);
    if (stat(above, &parent) == 0 && parent.st_dev != st.st_dev)
        return diag_fail(why, E_BUSY,
                         "%s: something is mounted there already; is another "
                         "lunard running?",
                         path);
    return E_OK;
}

static enum err mount_it(struct fs_fuse *fuse, struct diag *why)
{
    char options[128];
    enum err e = clear_mountpoint(fuse->mountpoint, why);

    if (e)
        return e;
    fuse->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fuse->fd < 0)
        return diag_fail(why, err_from_errno(errno),
                         "/dev/fuse: %s; is the fuse module loaded?",
                         strerror(errno));
    snprintf(options, sizeof options,
             "fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,"
             "allow_other",
             fuse->fd, (unsigned)S_IFDIR);
    if (mount("lunar", fuse->mountpoint, "fuse.lunar", MS_NOATIME, options))
        return diag_fail(why, err_from_errno(errno), "mount on %s: %s",
                         fuse->mountpoint, strerror(errno));
    fuse->mounted = true;
    return E_OK;
}

/* Take over from an earlier process: the kernel's INIT is processed again, so
 * that libfuse knows what was agreed, and the answer goes nowhere. */
static enum err adopt(struct fs_fuse *fuse, struct diag *why)
{
    struct fuse_op *op = container_of(fuse->idle.next, struct fuse_op, link);
    size_t bytes;
    const void *init = fuse_kept_init(fuse->kept, &bytes);

    if (!init || bytes < sizeof(struct fuse_in_header))
        return diag_fail(why, E_INVAL,
                         "the FUSE connection handed over came "
                         "without its INIT request");
    memcpy(op->request, init, bytes);
    fuse->replaying = true;
    process(fuse, op->request, bytes);
    fuse->replaying = false;
    if (!fuse->init_answered)
        return diag_fail(why, E_INVAL,
                         "what was handed over with the FUSE "
                         "connection is no INIT request");
    return E_OK;
}

enum err fuse_serve(struct fs_fuse *fuse, void *arg)
{
    enum err e;

    (void)arg;
    fuse->events = (struct loop_fd){
        .fd = fuse->fd, .events = EPOLLIN, .ready = requests_ready};
    fuse->poller = (struct poller){.poll = poll_requests, .arm = arm_requests};
    e = loop_fd_add(fuse->loop, &fuse->events);
    if (e)
        return e;
    loop_poller_add(fuse->loop, &fuse->poller);
    fuse->serving = true;
    return E_OK;
}

static enum err serve_no_more(struct fs_fuse *fuse, void *arg)
{
    if (fuse->serving)
        loop_poller_remove(fuse->loop, &fuse->poller);
    if (fuse->serving && !fuse->dead)
        loop_fd_remove(fuse->loop, &fuse->events);
    fuse->dead = true;
    fuse->drained = arg;
    fuse_locks_stop(fuse);
    fuse_check_drained(fuse);
    return E_OK;
}

static enum err fuse_new(const struct fs_fuse_args *args,
                         struct fs_fuse **ret_fuse)
{
    AUTO(fuse_freep) struct fs_fuse *fuse = calloc(1, sizeof *fuse);
    enum err e;

    if (!fuse)
        return E_NOMEM;
    fuse->fd = args->fd;
    e = fuse_kept_new(args->kept_fd, args->incarnation, &fuse->kept);
    if (e)
        return e;
    fuse->loop = args->loop;
    fuse->cache_s = args->cache_s;
    fuse->since_s = (int64_t)(clock_wall_ns(clock_system()) / NS_PER_S);
    fuse->shares_locks = args->locks;
    list_init(&fuse->idle);
    list_init(&fuse->locks);
    list_init(&fuse->volumes);
    for (size_t i = 0; i < FUSE_FILE_BUCKETS; i++)
        list_init(&fuse->files[i]);
    fuse->mountpoint = strdup(args->mountpoint);
    if (!fuse->mountpoint)
        return E_NOMEM;
    e = ops_init(fuse);
    if (e)
        return e;
    *ret_fuse = TAKE(fuse);
    return E_OK;
}

static enum err start(struct fs_fuse *fuse, const struct fs_fuse_args *args,
                      struct diag *why)
{
    enum err e;

    if (args->fd < 0) {
        e = mount_it(fuse, why);
        if (e)
            return e;
    }
    e = session_start(fuse);
    if (!e && args->fd >= 0)
        e = adopt(fuse, why);
    if (!e)
        e = fuse_notify_start(fuse);
    if (e || args->fd >= 0)
        return e; /* fs_fuse_resume() begins to serve */
    e = fuse_on_loop(fuse, fuse_serve, NULL);
    if (e)
        fuse_notify_stop(fuse);
    return e;
}

enum err fs_fuse_start(const struct fs_fuse_args *args, struct diag *why,
                       struct fs_fuse **ret_fuse)
{
    AUTO(fuse_freep) struct fs_fuse *fuse = NULL;
    enum err e = fuse_new(args, &fuse);

    if (e)
        return e;
    e = start(fuse, args, why);
    if (e && fuse->mounted)
        umount2(fuse->mountpoint, MNT_DETACH);
    if (!e)
        *ret_fuse = TAKE(fuse);
    return e;
}

static void unmount(struct fs_fuse *fuse)
{
    if (!umount2(fuse->mountpoint, UMOUNT_NOFOLLOW))
        return;
    if (errno != EBUSY) {
        log_warning("umount %s: %s", fuse->mountpoint, strerror(errno));
        return;
    }
    log_warning("%s is in use: its users get ENOTCONN from now on",
                fuse->mountpoint);
    umount2(fuse->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
}

void fs_fuse_stop(struct fs_fuse *fuse)
{
    sem_t drained;
    struct list *first;

    if (!fuse)
        return;
    unmount(fuse);
    sem_init(&drained, 0, 0);
    (void)!fuse_on_loop(fuse, serve_no_more, &drained);
    sem_wait_all(&drained);
    sem_destroy(&drained);
    fuse_notify_stop(fuse);
    while ((first = list_pop_front(&fuse->volumes))) {
        struct fuse_volume *v = container_of(first, struct fuse_volume, link);

        v->client->changed = NULL;
        free(v);
    }
    fuse_freep(&fuse);
}

/* -- for a successor ------------------------------------------------------- */

int fs_fuse_fd(const struct fs_fuse *fuse)
{
    return fuse->fd;
}

int fs_fuse_kept_fd(const struct fs_fuse *fuse)
{
    return fuse_kept_fd(fuse->kept);
}
