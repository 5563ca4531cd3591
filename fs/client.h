/* fs/client.h - the inside of a volume's client.
 *
 *   client.c         the table of open files, open and close, attributes
 *   client_io.c      reads and writes: lock a range, then transfer
 *   client_transfer.c   from positions in a file to requests on the LUN
 *   client_commit.c  flush and tell the coordinator (I6), in the background too
 *   client_space.c   truncate, allocate, punch, zero, seek
 *   client_layout.c  getting layouts, and giving them up on recall (I5)
 *   client_redirect.c   by way of the coordinator instead
 *   client_store.c   a file as a store     client_path.c  by path, blocking
 *   client_locks.c   byte-range locks
 *   client_map.c     where blocks are      client_range.c  who is busy where
 *   client_recover.c    what a killed predecessor promised (ledger.h)
 *
 * An fs_io runs on its submitter's loop only; what files and the client share
 * is under mutexes that nobody holds over I/O.  It may wait for, always in
 * this order (hence no deadlock):
 *   its range of the file -> the file's turn -> the flush gate, or a piece
 * The turn is one conversation at a time with the coordinator about one file:
 * what a reply teaches is in place before the next question is put.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_CLIENT_H
#define LUNAR_FS_CLIENT_H

#include "fs/client_locks.h"
#include "fs/client_map.h"
#include "fs/client_range.h"
#include "fs/fs.h"
#include "fs/ledger.h"

#include <pthread.h>
#include <stdatomic.h>

static_assert((int)MAP_BLOCK_BYTES == (int)FS_BLOCK_BYTES, "one block size");

enum {
    FILE_BUCKETS = 1024, /* open files by number; a power of two */
    PIECE_IOVS = 64,     /* more entries than that go through the bounce */
    PIECES_DEFAULT = 256,
    COMMIT_MS_DEFAULT = 5000,
    /* A commit is due early when that much waits for it: 256 MiB, or as many
     * ranges as four messages hold. */
    DIRTY_BLOCKS_MAX = 65536,
    DIRTY_WRITES_MAX = 4 * FS_EXTENTS_MAX
};
/* The bits of fs_fallocate_args.mode. */
enum {
    FS_FALLOC_KEEP_SIZE = 1,
    FS_FALLOC_PUNCH_HOLE = 2,
    FS_FALLOC_ZERO_RANGE = 16
};
/* Ahead of a sequential writer: doubles from the first to the second. */
#define AHEAD_BYTES_MIN (UINT64_C(64) << 10)
#define AHEAD_BYTES_MAX (UINT64_C(64) << 20)
#define FILE_BYTES_MAX  (MAP_BLOCKS_MAX * MAP_BLOCK_BYTES)

/* A part of an io that needs an array of its own, or a bounce buffer. */
struct fs_piece {
    struct store_io io;
    struct fs_io *owner;
    struct list link;
    struct iovec iov[PIECE_IOVS];
    uint8_t *bounce; /* one block */
    bool fresh;      /* WRITE: the blocks were INVALID_DATA */
    uint64_t block, blocks;
    uint64_t skip;      /* into the owner's iov, for what is bounced */
    uint32_t low, high; /* of the bounced block, bytes */
};

struct fs_client {
    struct store *lun;
    struct fs_link *link;
    struct loop *loop;
    struct clock *clock;
    uint64_t commit_ms;
    struct fs_ledger *ledger; /* NULL: none */
    struct fs_locks *locks;
    struct timer commit_timer; /* loop's thread */
    struct task commit_task, urgent_task;
    unsigned backgrounds;  /* commits under way; loop's thread */
    struct task *farewell; /* waits for them to end; loop's thread */
    /* Set before use: tell the kernel what it may not have seen. */
    void (*changed)(void *arg, struct fs_file *file);
    void *changed_arg;

    pthread_mutex_t files_mutex;
    struct list files[FILE_BUCKETS]; /* lock: files_mutex */
    size_t file_count;               /* lock: files_mutex */
    struct list dirty;               /* lock: files_mutex */
    bool commit_due;                 /* lock: files_mutex; task or timer set */
    bool commit_urgent;              /* lock: files_mutex; task posted */

    pthread_mutex_t pieces_mutex;
    struct list pieces, pieces_waiting; /* lock: pieces_mutex */
    struct fs_piece *piece_memory;
    uint8_t *bounce_memory;

    bool redirects;
    atomic_bool path; /* there is one to the LUN */
    atomic_uint_least64_t direct_ios, direct_bytes;
    atomic_uint_least64_t redirected_ios, redirected_bytes;
    pthread_mutex_t path_mutex; /* of all below, down to the gate */
    uint32_t path_turn;         /* how often we were told of the path */
    uint64_t path_since_ns;     /* wall clock */
    uint64_t turns_until_ns, turns_since_ns; /* a file: monotonic; wall */
    struct list stranded;                    /* ios whose path is in doubt */
    struct list calls_waiting; /* ios, while too many calls are in flight */
    unsigned calls_busy;

    pthread_mutex_t gate_mutex;
    bool gate_busy;                         /* lock: gate_mutex */
    struct list gate_waiting, gate_flushed; /* lock: gate_mutex */
};

struct fs_file {
    struct fs_client *client;
    fs_ino ino;
    struct list link;       /* lock: client->files_mutex */
    struct list dirty_link; /* lock: client->files_mutex */
    unsigned refs;          /* lock: client->files_mutex */
    bool background_busy;   /* lock: client->files_mutex */
    atomic_bool dirty_listed;
    struct fs_io background;
    /* The mount's: its queue of news, and how often the kernel has it open. */
    struct list changed_link;
    atomic_uint kernel_opens;
    /* Somebody writes it past the kernel: it may not cache. */
    atomic_bool foreign;
    /* Hosts take turns with it; some of it was written redirected. */
    atomic_uint_least64_t redirect_until_ns;
    atomic_bool redirect_unsynced;

    pthread_mutex_t mutex; /* of all below; never held over I/O */
    struct fs_map map;
    struct range_locks ranges;
    unsigned opens, writers; /* here; the coordinator knows whether any */
    uint64_t size_bytes;
    fs_time mtime;
    uint64_t junk_end; /* where writes that failed beyond the end ended */
    bool size_dirty, time_dirty;
    struct ledger_file ledger;
    unsigned dirty_writes;
    uint64_t run_end, run_bytes; /* the last sequential writer */
    uint64_t grant;              /* 0: no layout */
    fs_iomode layout;            /* what it allows; NONE: nothing is known */
    bool fresh;                  /* made here, never written: no blocks */
    enum err lost;               /* of a background commit; told once */
    bool turn_busy;
    struct list turn_waiting;
    /* The recall that is to be answered. */
    struct task recall_task;
    struct fs_io recall;
    uint64_t recall_grant;
    fs_iomode recall_keep;
    bool recall_busy, recall_again;
    /* of the holder of the turn */
    struct fs_io *talking;
    struct fs_call call;
    fs_extent *written; /* FS_EXTENTS_MAX of them; NULL until needed */
};

/* -- client.c -------------------------------------------------------------- */

/* The open file, with a reference; NULL if it is not open. */
struct fs_file *fs_file_find(struct fs_client *client, fs_ino ino);
void fs_file_get(struct fs_file *file);
void fs_file_put(struct fs_file *file);
void fs_io_open(struct fs_io *io);
void fs_io_close(struct fs_io *io);

/* Begin anew: what it was to do has not happened, or may happen again. */
void fs_io_again(struct fs_io *io);
/* Run io->next on its loop, from any thread. */
void fs_io_wake(struct fs_io *io);
/* Give up range and turn, if held, and call done. */
void fs_io_finish(struct fs_io *io, enum err e);
/* Take the file's turn, then go on with `next`. */
void fs_io_turn(struct fs_io *io, void (*next)(struct fs_io *io));
void fs_io_turn_end(struct fs_io *io);
/* Lock [first, end) bytes, rounded to blocks, then go on with `next`. */
void fs_io_lock(struct fs_io *io, enum range_mode mode, uint64_t first,
                uint64_t end, void (*next)(struct fs_io *io));
void fs_io_unlock(struct fs_io *io);
/* Start a call under the turn; fill in its arguments and send.  `next` finds
 * the reply in file->call and calls fs_call_fini(). */
struct fs_call *fs_io_call(struct fs_io *io, fs_op op);
void fs_io_send(struct fs_io *io, void (*next)(struct fs_io *io));

/* -- client_io.c ----------------------------------------------------------- */

void fs_io_read(struct fs_io *io);
void fs_io_write(struct fs_io *io);
/* Bytes from the file's end up to here may be other than zeros.
 * lock: f->mutex */
uint64_t fs_file_junk_end(const struct fs_file *f);
/* Data changed, and not by the kernel: tell it if it may have pages. */
void fs_file_tell(struct fs_file *file);

/* -- client_transfer.c ----------------------------------------------------- */

enum { TRANSFER_READ, TRANSFER_WRITE, TRANSFER_ZERO };
/* Move [io->pos, io->end) under the range that is held, then go on with
 * `then`; io->error tells.  ZERO leaves alone what reads zeros anyway. */
void fs_io_transfer(struct fs_io *io, uint8_t what, uint64_t pos, uint64_t end,
                    void (*then)(struct fs_io *io));
enum err fs_pieces_init(struct fs_client *client, unsigned pieces);
void fs_pieces_fini(struct fs_client *client);

/* -- client_layout.c ------------------------------------------------------- */

/* Does the file's layout allow as much?  It goes on doing so while the io has
 * a range: a recall takes all of the file. */
bool fs_io_may(const struct fs_io *io, fs_iomode mode);
/* Under a range: get such a layout, then go on with `next`; or begin anew when
 * one is being recalled. */
void fs_io_acquire(struct fs_io *io, fs_iomode mode,
                   void (*next)(struct fs_io *io));
/* Under a range and a layout: find out what is at io->pos, have holes up to
 * io->end allocated if it is to be written; then transfer again. */
void fs_io_learn(struct fs_io *io, void (*next)(struct fs_io *io));
void fs_io_recall(struct fs_io *io);
/* fs_link.recall of the client's link. */
void fs_client_recalled(struct fs_link *link, const fs_recall *recall);
/* fs_link.report of the same. */
enum err fs_client_report(struct fs_link *link, uint64_t epoch,
                          uint64_t *cursor, fs_report_args *report);

/* -- client_redirect.c ----------------------------------------------------- */

bool fs_client_has_path(struct fs_client *c);
/* Looked at where an io begins: then it has no range yet. */
bool fs_io_goes_redirected(struct fs_io *io);
/* The coordinator has said so of the file. */
void fs_file_redirect(struct fs_file *file);
/* READ, WRITE, to their end. */
void fs_redirect_data(struct fs_io *io);
/* Then `next`, io->error tells.  Flush: ino 0 is the LUN's cache alone. */
void fs_redirect_edges(struct fs_io *io, void (*next)(struct fs_io *io));
void fs_redirect_flush(struct fs_io *io, fs_ino ino,
                       void (*next)(struct fs_io *io));
/* Does the error say that the path is lost, not the data? */
bool fs_client_lost_path(const struct fs_client *c, enum err e);
/* Go on with `next` when the owner has said which way, since sets_out(). */
void fs_io_sets_out(struct fs_io *io);
void fs_io_strand(struct fs_io *io, void (*next)(struct fs_io *io));
/* At the end of an io: it is none, for it begins anew when that is said. */
bool fs_io_is_stranded(struct fs_io *io, enum err e);
void fs_io_count_direct(struct fs_io *io);
void fs_client_path_init(struct fs_client *c, bool redirects);
void fs_client_path_fini(struct fs_client *c);

/* -- client_commit.c ------------------------------------------------------- */

void fs_io_sync(struct fs_io *io);
/* Under the turn: flush, commit what is dirty; then `then`. */
void fs_io_commit(struct fs_io *io, void (*then)(struct fs_io *io));
/* It has something to commit: see to it in the background.
 * lock: file->mutex is not held. */
void fs_file_dirty(struct fs_file *file);
bool fs_file_needs_commit(const struct fs_file *file, bool times);
/* The coordinator knows of all that was written, but perhaps for times. */
bool fs_file_is_committed(struct fs_file *file);
/* With a ledger: commit first if there is anything to commit, so that no entry
 * speaks of what is about to be taken away; then `then`, io->error tells.
 * Under the turn. */
void fs_io_commit_kept(struct fs_io *io, void (*then)(struct fs_io *io));
/* Have the ledger say of size and time what the file does.
 * lock: file->mutex; no commit of the file runs. */
void fs_file_settle(struct fs_file *file);
/* The commit timer and what hangs on it.  client->loop's thread. */
void fs_commit_start(struct task *task);
void fs_commit_urgent(struct task *task);
void fs_commit_timer(struct timer *timer);

/* -- client_space.c -------------------------------------------------------- */

void fs_io_setattr(struct fs_io *io);
void fs_io_allocate(struct fs_io *io);
void fs_io_seek(struct fs_io *io);

#endif
