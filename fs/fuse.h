/* fs/fuse.h - the inside of the one mount.
 *
 *   fuse.c        mounting, the session, fetching requests, volumes
 *   fuse_op.c     a request from its arrival to its answer; attributes
 *   fuse_name.c   names: lookup, create, rename, links, attributes, xattrs
 *   fuse_dir.c    directories; the root, which lists volumes; statfs
 *   fuse_file.c   open files: read, write, fsync, fallocate, seek, copy
 *   fuse_lock.c   byte-range locks and flock, shared with other hosts
 *   fuse_notify.c   telling the kernel what changed behind its back
 *   fuse_adopt.c    the mount of a process that was killed (docs/holder.md)
 *   fuse_kept.c     what such a process leaves behind
 *
 * Node ids are numbers: st_ino, 16 bits of volume and 48 of inode, never used
 * twice.  So nothing is kept per name that the kernel knows, FORGET has
 * nothing to do, and a successor understands what it is asked.
 *
 * All requests are served on one loop (facts: one thread that drains the
 * descriptor until EAGAIN serves twice as much as several), so nothing here
 * needs a lock; only fuse_notify.c is met by other threads.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_FUSE_H
#define LUNAR_FS_FUSE_H

#define FUSE_USE_VERSION 314

#include "base/worker.h"
#include "fs/client.h"
#include "fs/fuse_kept.h"

#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <semaphore.h>

enum {
    FUSE_OPS = 192,            /* requests at a time; then the kernel waits */
    FUSE_BACKGROUND_MAX = 160, /* of these, read-ahead and asynchronous I/O */
    FUSE_DATA_BYTES = 1 << 20, /* of one READ or WRITE */
    FUSE_PAGE = 4096,
    /* A WRITE's payload follows its headers: so it begins a page. */
    FUSE_WRITE_HEADERS =
        sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in),
    /* libfuse takes 256 pages and one for the headers; one page before. */
    FUSE_BUFFER_BYTES = FUSE_DATA_BYTES + 3 * FUSE_PAGE,
    FUSE_FILE_BUCKETS = 1024
};
static_assert((int)FUSE_OPS == (int)FUSE_KEPT_REQUESTS, "one note per op");
#define FUSE_INO_BITS 48
#define FUSE_INO_MASK ((UINT64_C(1) << FUSE_INO_BITS) - 1)

struct fuse_volume {
    struct list link;
    char name[FS_VOLUME_NAME_MAX + 1];
    uint16_t number;
    struct fs_client *client;
    struct fs_fuse *fuse;
    unsigned busy; /* requests being served */
    unsigned files;
    sem_t *leaving;
};

/* A file that the kernel has open. */
struct fuse_file {
    struct list link;
    struct fuse_volume *volume;
    uint64_t node;
    struct fs_file *file;
    unsigned readers, writers; /* opens, as the coordinator counts them */
    unsigned holds;            /* requests by name that work on it … */
    struct list releases;      /* … and RELEASEs that wait for their end */
    struct list lockers;       /* owners of locks: struct fuse_locker */
    uint32_t mode;             /* may have bits that a write clears */
};

/* A request on its way, with the memory it came in.  READ puts its data
 * there too: `data` is page-aligned. */
struct fuse_op {
    struct list link;
    struct fs_fuse *fuse;
    struct fuse_volume *volume;
    fuse_req_t req;
    uint8_t *request, *data;
    struct fuse_file *file;
    struct fuse_file *dropping; /* its set-id bits are being cleared … */
    void (*dropped)(struct fuse_op *op); /* … then this */
    struct fs_call call;
    struct fs_io io;
    struct iovec iov;
    uint64_t node;
    uint32_t flags; /* of open(2); mode of fallocate(2) */
    size_t size;    /* of the answer that the kernel has room for */
    uint32_t dots;  /* READDIR: how many of . and .. it has already */
    bool plus;      /* READDIRPLUS */
    bool write;     /* RELEASE: as it was opened */
    enum err error;
    struct fuse_copy {
        struct fuse_file *to;
        uint64_t from_off, to_off, len, done;
    } copy;
};

struct fs_fuse {
    struct loop *loop;
    char *mountpoint;
    struct fuse_session *session;
    int fd;
    bool dead, mounted, replaying, init_answered, serving;
    struct fuse_kept *kept;
    double cache_s;
    int64_t since_s; /* the root's times */
    struct poller poller;
    struct loop_fd events;
    struct fuse_op *ops, *current;
    struct list idle;
    struct list locks; /* requests for locks under way: struct fuse_lock */
    bool shares_locks; /* the kernel is to send them */
    unsigned busy;
    uint8_t *buffers;
    struct list volumes;
    struct fuse_volume *last_volume; /* the one found last */
    struct fuse_volume *leaving;     /* somebody waits for its busy == 0 */
    struct list files[FUSE_FILE_BUCKETS];
    sem_t *drained; /* somebody waits for busy == 0 and no open file */

    pthread_mutex_t changed_mutex;
    struct list changed; /* lock: changed_mutex; fs_file.changed_link */
    bool changed_busy;   /* lock: changed_mutex */
    struct work changed_work;
    struct task changed_task;
    struct workers *workers;
};

/* -- fuse_op.c ------------------------------------------------------------- */

static inline uint64_t node_of(const struct fuse_volume *v, fs_ino ino)
{
    return (uint64_t)v->number << FUSE_INO_BITS | ino;
}

static inline fs_ino ino_of(uint64_t node)
{
    return node & FUSE_INO_MASK;
}

/* Keep the request that is being dispatched until it is answered; NULL: it
 * was, as its volume is gone. */
struct fuse_op *fuse_op_begin(fuse_req_t req, uint64_t node);
/* The same for what concerns an open file. */
struct fuse_op *fuse_op_begin_file(fuse_req_t req, uint64_t node);
void fuse_op_end(struct fuse_op *op);
void fuse_op_error(struct fuse_op *op, enum err e); /* E_OK too; ends it */

/* Start a call of the request's volume, then `done`, which finds the reply in
 * op->call and need not free it. */
fs_args *fuse_op_call(struct fuse_op *op, fs_op what);
void fuse_op_send(struct fuse_op *op, void (*done)(struct fs_call *call));
/* The same for what must not be done twice when it is resent (I7). */
void fuse_op_send_once(struct fuse_op *op, void (*done)(struct fs_call *call));
/* The kernel's number of the request, with FUSE_RESENT. */
uint64_t fuse_op_unique(const struct fuse_op *op);
struct fuse_op *fuse_op_of_call(struct fs_call *call);
/* Start an io on `file`. */
struct fs_io *fuse_op_io(struct fuse_op *op, enum fs_io_op what,
                         struct fs_file *file);
void fuse_op_submit(struct fuse_op *op,
                    void (*done)(struct fs_io *io, enum err e));
struct fuse_op *fuse_op_of_io(struct fs_io *io);

/* Answers; each ends the op. */
void fuse_op_entry(struct fuse_op *op, fs_attr *attr);
void fuse_op_attr(struct fuse_op *op, fs_attr *attr);
/* Puts in what the client knows better. */
void fuse_entry_fill(struct fuse_volume *v, fs_attr *attr,
                     struct fuse_entry_param *ret_entry);
void fuse_stat_fill(const struct fuse_volume *v, const fs_attr *attr,
                    struct stat *ret_stat);

/* -- fuse.c ---------------------------------------------------------------- */

struct fuse_volume *fuse_volume_find(struct fs_fuse *fuse, uint64_t node);
/* Run it on the mount's loop and wait; not on that loop's thread. */
enum err fuse_on_loop(struct fs_fuse *fuse,
                      enum err (*run)(struct fs_fuse *fuse, void *arg),
                      void *arg);
/* Begin to fetch requests.  The mount's loop. */
enum err fuse_serve(struct fs_fuse *fuse, void *arg);
struct fuse_volume *fuse_volume_named(struct fs_fuse *fuse, const char *name);
/* A request or a file less: somebody may wait for it. */
void fuse_check_drained(struct fs_fuse *fuse);

/* -- fuse_file.c ----------------------------------------------------------- */

struct fuse_file *fuse_file_find(struct fs_fuse *fuse, uint64_t node);
/* The kernel has it open once more.  Errors: E_NOMEM. */
MUST_CHECK enum err fuse_file_enter(struct fuse_volume *v, uint64_t node,
                                    struct fs_file *file, uint32_t mode,
                                    bool write);
/* A request that names the file, instead of an open of it, needs it to stay
 * open: nothing else keeps the kernel from closing it meanwhile. */
void fuse_file_hold(struct fuse_file *f);
void fuse_file_unhold(struct fuse_file *f);
/* Close everything that the kernel has open.  False: there is nothing; else
 * fuse_check_drained() tells.  No request is under way. */
bool fuse_files_close(struct fs_fuse *fuse);
/* A file was created with an open reference: answer CREATE. */
void fuse_create_reply(struct fuse_op *op);
/* Answer a CREATE that was executed before, if its file is open since. */
bool fuse_create_again(struct fuse_op *op);

/* -- fuse_lock.c ----------------------------------------------------------- */

/* An owner who has asked for locks of a file. */
struct fuse_locker {
    struct list in_file;
    enum lm_range_kind kind;
    uint64_t owner;
    uint64_t fh;    /* the open through which it asked last */
    uint32_t *kept; /* what the kernel knows that it holds: in fuse_kept */
    size_t kept_count, kept_room;
};
/* Such an owner of the file; made if there is none.  NULL: no memory. */
struct fuse_locker *fuse_locker_get(struct fuse_file *f,
                                    enum lm_range_kind kind, uint64_t owner,
                                    uint64_t fh);
/* A piece of what it holds is kept there. */
MUST_CHECK bool fuse_locker_keeps(struct fuse_locker *l, uint32_t at);
/* This open of the file ends, and the locks that belong to it. */
void fuse_locks_release(struct fuse_file *f, uint64_t fh);
/* The kernel has the file open no more. */
void fuse_locks_forget(struct fuse_file *f);
/* The mount goes: who waits for a lock is told. */
void fuse_locks_stop(struct fs_fuse *fuse);

/* -- fuse_adopt.c ---------------------------------------------------------- */

/* Open what the kernel has open of this volume, for a process that is no more.
 * Context: blocks; not the mount's loop's thread. */
void fuse_reopen(struct fuse_volume *v);

/* -- fuse_notify.c --------------------------------------------------------- */

MUST_CHECK enum err fuse_notify_start(struct fs_fuse *fuse);
void fuse_notify_stop(struct fs_fuse *fuse);
/* A volume's client calls it.  Any thread. */
void fuse_file_changed(void *volume, struct fs_file *file);

/* -- request handlers: each file puts in its own --------------------------- */

void fuse_name_handlers(struct fuse_lowlevel_ops *ops);
void fuse_dir_handlers(struct fuse_lowlevel_ops *ops);
void fuse_file_handlers(struct fuse_lowlevel_ops *ops);
void fuse_lock_handlers(struct fuse_lowlevel_ops *ops);

#endif
