/* fs - a volume: a file system of many hosts on one shared LUN.
 *
 *   FUSE, VHD ──> client ── direct I/O under layouts ─────────────┐
 *                   │ fs_call (call.h, proto.x)                   │
 *                   ▼                                             ▼
 *   coord.c ── one metadata thread: batches, group commit    struct store:
 *     meta_*.c  what each operation does to the tables          the LUN
 *     coord_locks.c  byte-range locks of all nodes, in memory
 *     space.c   free space, pending_free, metadata chunks         ▲
 *     db.c ──> SQLite ──> vfs.c  CRC per page, one flush/commit ──┘
 *   super.c   superblock and its copies      node.c   node blocks: the epoch
 *   format.c  a fresh volume                 check.c  is it sound; repair
 *
 * Start reading at coord.c, coord_batch().  On-disk format: docs/format.md;
 * invariants I1…: docs/invariants.md.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_FS_H
#define LUNAR_FS_FS_H

#include "base/clock.h"
#include "base/store.h"
#include "fs/call.h"

enum {
    FS_BLOCK_BYTES = 4096,
    FS_VOLUME_NAME_MAX = 63,  /* bytes; a directory under /ClusterStorage */
    FS_CLUSTER_NAME_MAX = 63, /* bytes */
    FS_HOST_NAME_MAX = 63,    /* bytes; what node blocks say of a host */
    FS_NODES_MAX = 64,        /* node numbers are 1 … 64 */
    FS_SUPER_COPIES = 3,
    FS_NODE_COPIES = 2,        /* of each node block, written in turn */
    FS_NODE_AREA_AT = 2 << 20, /* bytes from the start of the LUN */
    FS_NODE_AREA_BYTES = FS_NODE_COPIES * FS_NODES_MAX * FS_BLOCK_BYTES
};
#define FS_LUN_BYTES_MIN (UINT64_C(64) << 20) /* room for all the fixtures */

/* == the volume on the LUN: format, probe, check ========================== */

struct fs_format_args {
    const char *name;    /* fs_volume_name_check() */
    const char *cluster; /* NULL: none */
    bool force;          /* write over a volume that is there */
    bool discard;        /* discard the data area first, if the LUN can */
    struct clock *clock; /* NULL: the system's */
};

/* Make an empty volume.
 * Errors: E_INVAL (name), E_LUN_SMALL, E_IS_VOLUME (without force), E_ALIGN
 * (LUN blocks above 4 KiB), or the LUN's own.
 * Context: a thread with a loop (store_*_sync); blocks. */
MUST_CHECK enum err fs_format(struct store *lun,
                              const struct fs_format_args *args,
                              struct diag *why);

/* May a volume have that name, which becomes a directory and is told in JSON: 1
 * to FS_VOLUME_NAME_MAX bytes of UTF-8, no '/', no control character, not "."
 * or ".."?  Errors: E_INVAL. */
MUST_CHECK enum err fs_volume_name_check(const char *name, struct diag *why);

/* What the superblock says. */
struct fs_super_info {
    char name[FS_VOLUME_NAME_MAX + 1];
    char cluster[FS_CLUSTER_NAME_MAX + 1];
    uint8_t uuid[16];
    uint64_t size_bytes; /* of the LUN that the volume uses */
    uint64_t epoch;
};

/* Is there a volume, and which?  Reads the superblock copies only.
 * Errors: E_NOT_VOLUME, E_VERSION (incompatible feature), E_LUN_SMALL (LUN
 * shorter than the volume), E_CORRUPT, or the LUN's own.
 * Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_super_probe(struct store *lun,
                                   struct fs_super_info *ret_info,
                                   struct diag *why);

/* -- as bytes, for who reads and writes them with a nexus of its own ---------
 * What follows is pure: any thread, no I/O, no allocation. */

struct node_block;  /* lockmgr/node_block.h */
struct node_blocks; /* lockmgr/node_block.h */

/* Of each node block, which copy counted; [node - 1]. */
struct fs_node_copies {
    uint64_t sequence[FS_NODES_MAX];
    uint64_t torn; /* bit (node - 1): the other copy is not valid */
};

/* All node blocks, out of the FS_NODE_AREA_BYTES at FS_NODE_AREA_AT.
 *
 * If ret_copies->torn is not 0, or with E_CHECKSUM or E_CORRUPT: read the area
 * once more, and judge by that.  A copy that was being written while it was
 * read may hide that the other one is not the last but one any more.
 * Errors: E_CHECKSUM, E_CORRUPT, E_NOT_VOLUME: a node has no valid copy, named
 * in `why`; ret_copies is filled all the same. */
MUST_CHECK enum err fs_nodes_decode(const void *area, const uint8_t uuid[16],
                                    struct node_blocks *ret_blocks,
                                    struct fs_node_copies *ret_copies,
                                    struct diag *why);

/* One's own block, FS_BLOCK_BYTES to be written and flushed; returns where, in
 * bytes from the start of the LUN.  `sequence`: 1 more than that of the last
 * write that was answered, and its flush: who does not know what became of a
 * write repeats its sequence, and so its place.  Before its first write a run
 * takes it from fs_nodes_decode(), and then flushes once: what it read may not
 * be durable yet. */
uint64_t fs_node_encode(const struct node_block *own, const uint8_t uuid[16],
                        uint64_t sequence, void *ret_block);

/* Where the copies of the superblock of a volume of this size are, in bytes
 * from the start of the LUN. */
void fs_super_places(uint64_t size_bytes, uint64_t ret_at[FS_SUPER_COPIES]);

/* The copy that counts, of those of the volume that were read; NULL: could not
 * be.  Errors: E_NOT_VOLUME, E_CHECKSUM, E_VERSION, E_CORRUPT: none is valid.
 */
MUST_CHECK enum err fs_super_newest(const void *const copies[FS_SUPER_COPIES],
                                    const uint8_t uuid[16],
                                    struct fs_super_info *ret_info,
                                    struct diag *why);

/* What is to follow it, of a new epoch: FS_BLOCK_BYTES, the same for each copy;
 * to be written one copy after the other, with a flush after each.  `copies`
 * are read when all others are fenced: they may have changed until then.
 * Errors: as fs_super_newest(). */
MUST_CHECK enum err fs_super_next(const void *const copies[FS_SUPER_COPIES],
                                  const uint8_t uuid[16], uint64_t epoch,
                                  void *ret_block, struct diag *why);

struct fs_check_args {
    bool repair; /* mend what can be mended without losing data */
    /* One finding, one line; mended tells whether it was put right. */
    void (*report)(void *arg, const char *text, bool mended);
    void *arg;
};
struct fs_check_result {
    uint64_t found, mended;
    uint64_t inodes, files, dirs, extents;
    uint64_t used_blocks, free_blocks;
};

/* Verify a volume that nobody uses.  E_OK says that the check ran to its end;
 * ret_result->found - ret_result->mended says what is wrong.
 * Errors: as fs_super_probe(); E_CORRUPT if there is nothing to go by.
 * Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_check(struct store *lun,
                             const struct fs_check_args *args,
                             struct fs_check_result *ret_result,
                             struct diag *why);

/* Gather database and WAL into PATH and PATH-wal, which sqlite3 can read.
 * Works on damaged volumes as long as one superblock copy is valid.
 * Errors: as fs_super_probe(); E_IO … of the file.
 * Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_metadata_export(struct store *lun, const char *path,
                                       struct diag *why);

/* == the coordinator: the one who reads and writes the metadata =========== */

struct fs_coord;

struct fs_coord_args {
    uint32_t node;        /* 1 … FS_NODES_MAX */
    const char *host;     /* its name, for node blocks and messages */
    uint64_t incarnation; /* of this run; never used before by this node */
    /* The caller keeps every other host out (file lock, reservation): claims
     * that others have not released count as fenced.  Without it such a claim
     * is E_LUN_BUSY; another process of this host the caller keeps out in any
     * case. */
    bool sole;
    /* A process of this host crashed and its users live on: until
     * fs_coord_settle() nothing is reclaimed that they may still use, and
     * what they resend is recognized (docs/holder.md). */
    bool adopt;
    bool discard;        /* tell the LUN what is free */
    struct clock *clock; /* NULL: the system's */
    /* Takeover: runs of other nodes that used the volume before and live on.
     * Nothing is granted or reclaimed before each of them has reported, or was
     * forgotten; what others had is nobody's any more (I10). */
    const struct fs_sender *others; /* this very run among them, if it lives */
    unsigned other_count;           /* ≤ FS_NODES_MAX */
    /* Not 0: the caller has claimed this epoch, durably, in node block and
     * superblock; he releases it, too (lockmgr/takeover.h).  The coordinator
     * neither reads nor writes a node block then, and `sole` says nothing. */
    uint64_t epoch;
    /* A metadata write failed, or the LUN is gone: nobody is told anything any
     * more.  Posted to `loop`, once at most, between the return of
     * fs_coord_start() and fs_coord_stop(), behind whose return it may yet
     * run.  Who gets it stops the coordinator and gives up the epoch.
     * NULL: fs_coord_info() says it, too. */
    struct task *failed;
    /* Redirected I/O is carried out here, best on the net's; it runs until
     * fs_coord_stop() has returned.  NULL: there is none (E_UNSUPPORTED). */
    struct loop *loop;
    /* The metadata thread is whichever runs this loop, for a simulator: all of
     * a world on one thread.  Whatever may block is then called on that thread
     * and outside of the loop's tasks, and runs the loop meanwhile; the loop
     * outlives the coordinator.  NULL: a thread of its own. */
    struct loop *metadata;
};

/* Claim the volume (I4), recover it, and serve: starts the metadata thread.
 * Ownership: the LUN stays the caller's and outlives the coordinator.
 * Errors: as fs_super_probe(); E_LUN_BUSY, E_CHECKSUM, E_CORRUPT, E_NOMEM;
 * E_EPOCH - the superblock does not have the epoch that was claimed.
 * Context: any thread that may block; needs no loop. */
MUST_CHECK enum err fs_coord_start(struct store *lun,
                                   const struct fs_coord_args *args,
                                   struct diag *why,
                                   struct fs_coord **ret_coord);

/* Whoever used the volume before is back and has opened what he had open.
 * Context: any thread that may block. */
void fs_coord_settle(struct fs_coord *coord);

/* I14.  While it is held nothing is granted and nobody is told anything from
 * memory: calls wait, and answers that are not out yet are kept back.  But for
 * what gives up (coord_hold.c).  Release: what was kept goes out.
 * Context: any thread, for nodes' calls best the net's: behind the return none
 * of their answers leaves; does not block. */
void fs_coord_hold(struct fs_coord *coord, bool held);

/* Where to send calls: from any loop, until fs_coord_stop().  Every call that
 * was sent is answered.  For a volume of one host: a node of several sends to
 * itself as to others (fs_net_reach), so that the coordinator may move. */
struct fs_link *fs_coord_link(struct fs_coord *coord);

/* The end here of another node's link: its calls come with headers of its own.
 * Any thread; does not block.  Errors: E_NOMEM. */
MUST_CHECK enum err fs_coord_join(struct fs_coord *coord,
                                  const struct fs_sender *who,
                                  struct fs_link **ret_link);
/* Its calls come back soon, whatever they wait for, and all that follow: as
 * they were answered, or with E_VOL_OFFLINE.  Any thread; does not block. */
void fs_coord_cut(struct fs_link *link);
/* All its calls are answered, and it makes no more; what it has of files it
 * goes on having: it may come again (I10).  Any thread; does not block. */
void fs_coord_leave(struct fs_link *link);
/* That run of a node is fenced, or has left and says so itself: nothing is its
 * any more, and of its redirected I/O nothing reaches the LUN from here on.
 * Errors: E_VOL_OFFLINE.  Context: any thread that may block, with args.loop's
 * running. */
MUST_CHECK enum err fs_coord_forget(struct fs_coord *coord,
                                    const struct fs_sender *who);

/* Answer what was sent, reclaim, checkpoint, release the claim (unless it is
 * the caller's: args.epoch); NULL is fine.  No client sends any more, and nodes
 * have left (fs_net_leave).  After a failed write, or when the LUN fails what
 * is asked of it, it ends without.  Context: any thread that may block, and
 * that the LUN does not need. */
void fs_coord_stop(struct fs_coord *coord);

struct fs_coord_info {
    struct fs_super_info super;
    uint64_t size_blocks, free_blocks, available_blocks;
    uint64_t inodes, opens, calls, commits;
    bool offline;       /* a metadata write failed: nobody is answered */
    struct diag reason; /* why it is offline */
};
/* A recent snapshot.  Any thread; does not block. */
void fs_coord_info(struct fs_coord *coord, struct fs_coord_info *ret_info);

/* Take into use what the LUN has grown by (lun->size_bytes says).
 * Errors: E_INVAL (it did not grow), E_VOL_OFFLINE, or the LUN's own.
 * Context: any thread that may block. */
MUST_CHECK enum err fs_coord_grow(struct fs_coord *coord, struct diag *why);

/* fs_check() of a live volume: reads a snapshot beside the running writer,
 * repairs nothing.  Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_coord_check(struct fs_coord *coord,
                                   const struct fs_check_args *args,
                                   struct fs_check_result *ret_result,
                                   struct diag *why);

/* == between hosts: calls and recalls as messages ======================== */

/* The volumes' messages on one transport.  A volume is served here, reached
 * over there, or both: what a node sends to itself takes the same way but for
 * the transport.  Everything in this part runs on the net's loop, and does not
 * block, unless it says otherwise. */
struct fs_net;
struct transport;
struct transport_ear;

/* `self`: who we are.  Errors: E_NOMEM.  Any thread. */
MUST_CHECK enum err fs_net_new(struct loop *loop, const struct fs_sender *self,
                               struct fs_net **ret_net);
/* What to give the transport, and the transport to send by; it outlives the
 * net's last message. */
struct transport_ear *fs_net_ear(struct fs_net *net);
void fs_net_attach(struct fs_net *net, struct transport *transport);
/* Context: nothing is served or reached any more; the loop's next turn frees
 * the rest. */
void fs_net_free(struct fs_net *net);

/* Carry out here what nodes ask of the volume.  A call that the coordinator
 * cannot answer any more (E_VOL_OFFLINE) is dropped: its sender sends it again
 * to whoever coordinates next (I7).  Errors: E_EXIST, E_NOMEM. */
MUST_CHECK enum err fs_net_serve(struct fs_net *net, const uint8_t uuid[16],
                                 struct fs_coord *coord);
/* Nothing new is taken on, what waits is dropped (fs_coord_cut()); `done` when
 * all that ran has ended. */
void fs_net_leave(struct fs_net *net, const uint8_t uuid[16],
                  struct task *done);

/* A link to the volume's coordinator, here or on another node; 0: nowhere yet.
 * Calls are kept, and sent again with their tags, until they are answered: over
 * lost connections and changes of the coordinator (I7).  The link itself may be
 * used from any thread with a loop.  Errors: E_EXIST, E_NOMEM. */
MUST_CHECK enum err fs_net_reach(struct fs_net *net, const uint8_t uuid[16],
                                 uint32_t node, struct fs_link **ret_link);
/* The coordinator is there now; 0: nowhere, calls wait.  To be said at each
 * new epoch, of the same node, too. */
void fs_net_aim(struct fs_link *link, uint32_t node);
/* For good: every call that waits is answered with `e`, and all that come.
 * E_FENCED: this run is over (I11).  E_VOL_OFFLINE: the volume goes from this
 * host while no coordinator is there, so nobody will commit what was written;
 * then fs_client_free(), fs_fuse_remove_volume() and fs_fuse_stop() end soon,
 * who had files open gets EIO, and a ledger keeps what no commit has made
 * durable.  Nobody does this because time has passed, but an operator.  What
 * waits for the path of a client that redirects ends after
 * fs_client_set_path(client, false). */
void fs_net_cut(struct fs_link *link, enum err e);
/* All its calls are answered. */
void fs_net_forget(struct fs_link *link);

/* == the client: open files, layouts, direct I/O ========================== */

/* One mounted volume as seen from one host.  Data goes straight to the LUN
 * under layouts; everything else is a call over the link.
 *
 * Rules for what follows: any thread with a loop may submit; `done` runs
 * exactly once, later, on the loop that submitted; nothing here blocks
 * unless it says so. */
struct fs_client;
struct fs_file;

/* Memory that outlives the process, for what users were told is written and
 * no commit has made durable yet (fs/ledger.h).  Of fd, or a fresh one if it
 * is negative.  Ownership: takes fd, also on errors.
 * Errors: E_NOMEM, E_VERSION (another version's). */
struct fs_ledger;
MUST_CHECK enum err fs_ledger_new(int fd, struct fs_ledger **ret_ledger);
void fs_ledger_free(struct fs_ledger *ledger); /* NULL is fine */
int fs_ledger_fd(const struct fs_ledger *ledger);

struct fs_client_args {
    struct store *lun;    /* outlives the client */
    struct fs_link *link; /* to the coordinator; outlives the client */
    struct loop *loop;    /* commits in the background what nobody synced */
    struct clock *clock;  /* NULL: the system's */
    unsigned pieces;      /* parts of split or ragged I/O in flight; 0: 256 */
    unsigned commit_ms;   /* written data waits so long for its commit;
                             0: 5000, as long as Linux lets pages wait */
    struct fs_ledger *ledger; /* NULL: none; outlives the client */
    /* One node of several: without a path to the LUN, or while hosts take
     * turns with a file, I/O goes by way of the coordinator.  What fails with
     * E_LUN_GONE or E_RESERVED waits for fs_client_set_path(). */
    bool redirect;
};
/* Errors: E_NOMEM, E_ALIGN (the LUN's blocks are larger than 4 KiB). */
MUST_CHECK enum err fs_client_new(const struct fs_client_args *args,
                                  struct fs_client **ret_client);
/* All files are closed; NULL is fine.  Context: args.loop's own thread, or
 * one that may block while that loop runs. */
void fs_client_free(struct fs_client *client);

struct fs_link *fs_client_link(struct fs_client *client);

/* Membership is in doubt: nothing is decided here from what was cached, until
 * `held` is false again and the coordinator has confirmed that it knows of us
 * (I14).  Any thread that has a loop. */
void fs_client_hold(struct fs_client *client, bool held);

/* For clients that redirect.  No path: nothing that this node has sent to the
 * LUN can land any more, as its key there was preempted (I13, the path fence);
 * what has failed meanwhile, and all that comes, is redirected.  Path: it is
 * good (again), under a key that was registered since; layouts are asked for
 * anew.  To say the same once more has what has failed tried again.  A new
 * client has a path.  Context: any thread; does not block. */
void fs_client_set_path(struct fs_client *client, bool path);

struct fs_client_info {
    bool redirected;    /* all of it, or a file */
    const char *reason; /* static; "" */
    uint64_t since_ns;  /* wall clock: of the way that it goes now */
    uint64_t direct_ios, direct_bytes; /* reads and writes of files */
    uint64_t redirected_ios, redirected_bytes;
    uint64_t metadata_ops; /* all other calls to the coordinator */
};
/* Any thread; does not block. */
void fs_client_info(struct fs_client *client, struct fs_client_info *ret_info);

/* Commit what the ledger of a process that is no more says, before anything
 * else is asked of the client.  Files that are gone are passed over.
 * Errors: the LUN's, the coordinator's; the ledger is as before.
 * Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_client_recover(struct fs_client *client,
                                      struct diag *why);

/* Attributes from the coordinator, with what is only known here: the size and
 * time of writes that are not committed yet.  Any thread. */
void fs_client_overlay(struct fs_client *client, struct fs_attr *attr);

enum fs_io_op {
    FS_IO_OPEN,     /* ino, write -> file, attr */
    FS_IO_ADOPT,    /* ino, attr: of CREATE with `open`, to write -> file */
    FS_IO_CLOSE,    /* file, write: as it was opened.  Commits if last */
    FS_IO_READ,     /* -> count_bytes, short at the end of the file */
    FS_IO_WRITE,    /* grows the file as needed */
    FS_IO_SYNC,     /* I6; data_only: times may stay uncommitted */
    FS_IO_SETATTR,  /* setattr -> attr.  Truncates, too */
    FS_IO_ALLOCATE, /* mode: bits of fallocate(2), off, len */
    FS_IO_SEEK,     /* off, hole -> off */
    FS_IO_RECALL,   /* the client's own: gives up a layout */
    FS_IO_OP_COUNT
};

/* Zero it, fill in what the op names, submit.
 * Ownership: the caller's until submit, then the client's until `done`. */
struct fs_io {
    enum fs_io_op op;
    struct fs_file *file;
    uint64_t off_bytes, len_bytes;
    const struct iovec *iov; /* READ, WRITE: holds len_bytes in all */
    uint32_t iov_count;
    uint32_t mode;  /* ALLOCATE */
    bool write;     /* OPEN, CLOSE: E_HANDLE_HELD while one is held */
    bool append;    /* WRITE: at the end of the file, which is off_bytes then */
    bool data_only; /* SYNC */
    bool hole;      /* SEEK */
    bool from_kernel; /* the kernel's page cache knows of it (FUSE) */
    fs_ino ino;       /* OPEN, ADOPT */
    fs_setattr_args setattr;
    fs_attr attr;
    uint64_t count_bytes;
    void (*done)(struct fs_io *io, enum err e);
    /* The coordinator's (redirect.h): asked before each step to the LUN, whose
     * refusal is E_FENCED; zero the edges, and no more. */
    bool (*may)(struct fs_io *io);
    bool edges_only;
    /* private to the client */
    struct fs_client *client;
    struct loop *loop;
    struct task task;
    void (*next)(struct fs_io *io);  /* when the task runs */
    void (*then)(struct fs_io *io);  /* when transfer or commit is through */
    void (*asked)(struct fs_io *io); /* when a layout has come */
    struct list link;                /* of the one queue it waits in */
    struct fs_range {
        struct list link, granted;
        uint64_t first, end; /* bytes */
        uint8_t mode;
        bool held;
    } range;
    enum err error;
    uint8_t transfer;  /* what goes on between pos and end */
    fs_iomode wants;   /* the layout that is asked for */
    uint64_t pos, end; /* bytes in the file */
    uint64_t cursor;   /* SYNC: a block; ALLOCATE: an edge */
    uint32_t inflight, batch, path_turn;
    struct list path_link;
    struct fs_redirected *redirected; /* its call */
    bool submitting, turn, stalled, queued, ask, modify, fresh;
    bool flushed, took_size, took_time, background;
    struct store_io direct; /* the one LUN request that most need */
};
void fs_io_submit(struct fs_client *client, struct fs_io *io);

/* -- a file as a store, for VHD and raw disks ------------------------------
 * Blocks of 512 bytes; RESIZE is truncation, DISCARD punches, FLUSH is I6.
 * Closing it leaves the file open.  `ios` bounds what is in flight; more
 * waits in line; 0: 256.
 * Errors: E_NOMEM.  Context: any thread. */
MUST_CHECK enum err fs_file_store(struct fs_file *file, unsigned ios,
                                  struct store **ret_store);
/* The file is the disk of a VM that holds it under the handle of this
 * generation: the store may resize it.  Context: before any request. */
void fs_file_store_handle(struct store *s, uint64_t generation);
fs_ino fs_file_ino(const struct fs_file *file);

/* -- by path, for cold threads ---------------------------------------------
 * Paths start at the root of the volume; symbolic links are not followed.
 * Context: a thread with a loop that nothing depends on; these block. */
struct fs_open_how {
    bool write;    /* refused while a handle is held; not for its holder */
    bool create;   /* E_EXIST if it is there */
    uint32_t mode; /* of a created file */
};
MUST_CHECK enum err fs_path_open(struct fs_client *client, const char *path,
                                 const struct fs_open_how *how,
                                 struct fs_file **ret_file, fs_attr *ret_attr);
MUST_CHECK enum err fs_path_stat(struct fs_client *client, const char *path,
                                 fs_attr *ret_attr);
MUST_CHECK enum err fs_path_unlink(struct fs_client *client, const char *path);
/* `how` as it was opened.  Errors: of the last commit; it is closed anyway. */
MUST_CHECK enum err fs_file_close(struct fs_file *file,
                                  const struct fs_open_how *how);

/* == the one mount ======================================================== */

struct fs_fuse;

struct fs_fuse_args {
    struct loop *loop;      /* serves the requests; is running */
    const char *mountpoint; /* must exist */
    uint64_t incarnation;   /* of this run; never used before */
    /* Taking over from a process that is no more: its fs_fuse_fd(), still
     * mounted, and its fs_fuse_kept_fd().  fd -1: mount; kept_fd -1: begin.
     * Ownership: taken, also on errors. */
    int fd, kept_fd;
    /* The kernel may cache names and attributes for so long.  Right while
     * this host is the only one: each change passes the kernel, or is told
     * to it (docs/posix.md).  0: it asks each time. */
    unsigned cache_s;
    /* fcntl(2) and flock(2) are seen by all hosts.  Not where this one is
     * alone: the kernel has locks of its own, and they cost nothing. */
    bool locks;
};

/* Mount and serve; or take over, and serve from fs_fuse_resume() on.  A dead
 * mount of an earlier run is cleared.
 * Errors: E_NOENT, E_NOTDIR (mount point), E_BUSY (something else is mounted
 * there), E_PERM, E_IO.  Context: blocks; not args.loop's thread. */
MUST_CHECK enum err fs_fuse_start(const struct fs_fuse_args *args,
                                  struct diag *why, struct fs_fuse **ret_fuse);
/* After taking over, when the volumes are there again: have the kernel send
 * again what nobody answered, and serve.
 * Errors: E_UNSUPPORTED - before Linux 6.9 it cannot, and those who wait go on
 * waiting; it serves all the same.  Context: as fs_fuse_start(). */
MUST_CHECK enum err fs_fuse_resume(struct fs_fuse *fuse);
/* Unmount (lazily if it is busy: users get ENOTCONN), close what is open.
 * Context: blocks; not args.loop's thread. */
void fs_fuse_stop(struct fs_fuse *fuse);

/* A volume appears as, or disappears from, MOUNTPOINT/name.  `number` is its
 * 16 bits of st_ino, not 0.  It may appear before there is a coordinator:
 * what asks for it waits.  But not when taking over with files open, which are
 * opened anew here; and to leave, a file's last commit and close wait for a
 * coordinator, or for fs_net_cut().
 * Errors: E_EXIST, E_INVAL; remove: E_NOENT, E_BUSY (files are open).
 * Context: block; not the mount's own loop's thread. */
MUST_CHECK enum err fs_fuse_add_volume(struct fs_fuse *fuse, const char *name,
                                       uint16_t number,
                                       struct fs_client *client);
MUST_CHECK enum err fs_fuse_remove_volume(struct fs_fuse *fuse,
                                          uint16_t number);

/* What a successor needs.  Valid until fs_fuse_stop(). */
int fs_fuse_fd(const struct fs_fuse *fuse);
int fs_fuse_kept_fd(const struct fs_fuse *fuse);

#endif
