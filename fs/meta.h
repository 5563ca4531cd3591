/* fs/meta.h - what each operation does to the tables of a volume.
 *
 *   meta.c        the table of operations; one operation in its savepoint
 *   inode.c       rows of inodes
 *   meta_name.c meta_rename.c meta_dir.c      names
 *   meta_attr.c meta_xattr.c acl.c            attributes
 *   meta_share.c  who has which file open or a layout of it, and who waits
 *   meta_open.c meta_layout.c meta_alloc.c    opens, layouts, fallocate, seek
 *   meta_redirect.c                           who is redirected
 *   meta_handle.c                             ownership of VM disks
 *   extent.c      file block -> LUN block     space.c   free space, reclaiming
 *
 * Runs on the metadata thread inside a transaction that coord.c begins and
 * commits.  Answers nobody: coord.c does, after the commit (I1).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_META_H
#define LUNAR_FS_META_H

#include "fs/acl.h"
#include "fs/db.h"

#define FS_INO_ROOT       UINT64_C(1)
#define FS_FILE_BYTES_MAX ((UINT64_C(1) << 63) - FS_BLOCK_BYTES) /* off_t */

enum {
    META_LINKS_MAX = 65000,   /* of a file, as on ext4 */
    META_SLICE_EXTENTS = 512, /* rows changed before a commit: see WAL */
    META_SLOTS = 256          /* of a node: as many calls as a batch has */
};

/* inode.flags */
enum inode_flags {
    INODE_KEEP = 1 /* space beyond the end was asked for: CLOSE leaves it */
};

/* Numbers that a rolled-back operation must give back. */
struct meta_counts {
    uint64_t free_blocks, pending_blocks; /* sums of the two tables */
    uint64_t inodes;
    uint64_t next_ino, ino_limit; /* next_ino ≤ ino_limit, the stored one */
};

/* What one run of a node has of a file. */
struct hold {
    struct list link;
    struct file *file;
    struct fs_sender who;
    bool open, write;
    uint64_t grant; /* of its layout; 0: none */
    fs_iomode layout;
    bool recalled; /* asked to go down to `keep`, and not there yet */
    fs_iomode keep;
    struct list recall_link; /* not yet told */
};

/* A file that somebody has open or has a layout of. */
struct file {
    struct list link;
    fs_ino ino;
    struct list holds;   /* one of each node at most */
    struct list waiting; /* calls, in the order of their coming */
    bool ahead;          /* has a row in table `ahead` */
    /* meta_redirect.c */
    unsigned turns; /* recalls since turns_since_ns */
    uint64_t turns_since_ns, redirect_until_ns;
    struct fs_sender writer; /* the last one that was redirected … */
    uint64_t written_ns;     /* … and when */
};

enum { FILE_BUCKETS = 4096 };

struct meta {
    struct db *db;
    struct clock *clock;
    uint32_t generation; /* of all inodes: differs from volume to volume */
    uint64_t epoch;
    uint32_t node;
    uint64_t incarnation;
    uint64_t reserve_blocks;
    uint64_t size_blocks;
    struct meta_counts counts;
    uint64_t last_grant;
    uint64_t opens;
    bool reap_wanted; /* an orphan lost its last user */
    bool reap_held;   /* not all users are known yet */
    /* After a takeover: who has not reported yet. */
    struct fs_sender awaited[FS_NODES_MAX];
    unsigned awaited_count;
    struct fs_sender reported[FS_NODES_MAX]; /* who was awaited, and has */
    unsigned reported_count;
    uint64_t forgotten[FS_NODES_MAX + 1]; /* by node: up to this incarnation */
    struct list files[FILE_BUCKETS];
    /* For coord.c, after the commit: what to tell, answer, run again. */
    struct list recalls;   /* of holds */
    struct list sent_back; /* calls, answered E_TRY_LATER */
    struct list ready;     /* calls that waited behind a file */
};

/* Load the counts.  Ownership: db and clock outlive it. */
struct meta_args {
    struct db *db;
    struct clock *clock;
    const struct super *super;
    uint32_t node;
    uint64_t incarnation;
};
MUST_CHECK enum err meta_new(const struct meta_args *args, struct diag *why,
                             struct meta **ret_meta);
void meta_free(struct meta *m);

/* One operation. */
struct op {
    struct meta *m;
    const struct fs_sender *sender;
    const fs_request *request;
    fs_reply *reply;
    int64_t now_ns;
    bool more;  /* commit, then call the handler again: it has done a slice */
    bool carry; /* the metadata thread's part is done */
    /* With E_TRY_LATER: what others have of the file must be `others` first. */
    struct file *behind;
    fs_iomode others;
};
#define OP_ARGS(op, member)   (&(op)->request->args.fs_args_u.member)
#define OP_RESULT(op, member) (&(op)->reply->result.fs_result_u.member)

/* Carry out call->request and fill call->reply.  reply->error is the answer;
 * the return value is E_OK unless the transaction itself is lost. */
enum meta_then {
    META_ANSWER, /* after the commit */
    META_MORE,   /* commit, then run the same call again */
    META_CARRY,  /* redirected I/O, to be carried out */
    META_WAIT    /* the call is not ours any more: it waits behind a file */
};
MUST_CHECK enum err meta_run(struct meta *m, struct fs_call *call,
                             enum meta_then *ret_then);
/* May the operation write?  How many pages of the database must be left for
 * it, so that what gives space back never finds it full? */
bool meta_op_writes(fs_op op);
unsigned meta_op_pages(fs_op op);
const char *meta_op_name(fs_op op);

/* -- inode.c --------------------------------------------------------------- */

struct inode {
    fs_attr attr;
    fs_ino parent; /* of a directory */
    uint32_t flags;
};

/* Errors: E_STALE - there is none. */
MUST_CHECK enum err inode_get(struct meta *m, fs_ino ino,
                              struct inode *ret_inode);
/* As inode_get(), and E_NOTDIR. */
MUST_CHECK enum err inode_get_dir(struct meta *m, fs_ino ino,
                                  struct inode *ret_inode);
MUST_CHECK enum err inode_put(struct meta *m, const struct inode *inode);
/* Give it a number and insert it. */
MUST_CHECK enum err inode_new(struct meta *m, struct inode *inode);
/* Delete the row, its attributes and handles; its extents are gone already. */
MUST_CHECK enum err inode_drop(struct meta *m, fs_ino ino);
/* The row at a statement that selects INODE_COLUMNS. */
void inode_read(struct meta *m, enum sql sql, struct inode *ret_inode);

fs_time time_from_ns(int64_t ns);
int64_t time_to_ns(fs_time t);
/* ctime = now, one more change; and mtime too. */
void inode_changed(const struct op *op, struct inode *inode);
void inode_modified(const struct op *op, struct inode *inode);

static inline bool inode_is(const struct inode *inode, uint32_t type)
{
    enum { TYPE_BITS = 0170000 }; /* S_IFMT */

    return (inode->attr.mode & TYPE_BITS) == type;
}

/* One link less; the last one makes an orphan, or ends it at once. */
MUST_CHECK enum err inode_unlink(const struct op *op, struct inode *inode);

/* -- meta_share.c ---------------------------------------------------------- */

struct file *file_find(struct meta *m, fs_ino ino);
bool file_has_writer(const struct file *file);
/* What the sender has of the file; NULL: nothing. */
struct hold *hold_find(const struct file *file, const struct fs_sender *who);
/* The same, made if need be.  Errors: E_NOMEM. */
MUST_CHECK enum err hold_get(const struct op *op, fs_ino ino,
                             struct file **ret_file, struct hold **ret_hold);
/* Forget hold and file if they are nothing any more. */
void hold_put(struct file *file, struct hold *hold);
/* The sender has it open from now on.  Errors: E_NOMEM. */
MUST_CHECK enum err share_open(struct op *op, fs_ino ino, bool write);
/* Does nobody else have anything of it? */
bool file_is_alone(const struct file *file, const struct hold *hold);
void file_free(struct file *file);

/* For a handler, before it changes anything: E_OK, or E_TRY_LATER until the
 * layouts that others have of the file are no more than `others`. */
MUST_CHECK enum err share_claim(struct op *op, fs_ino ino, fs_iomode others);
/* The same for who wants a layout: in turn with those who wait. */
MUST_CHECK enum err share_claim_layout(struct op *op, fs_ino ino,
                                       fs_iomode mode);
/* Does another node write it, so that the row may not have its size? */
bool share_is_written(struct meta *m, fs_ino ino, const struct fs_sender *who);
/* Have the call wait, and recall what is in its way. */
void share_wait(struct meta *m, struct fs_call *call, struct file *behind,
                fs_iomode others);
/* The layout is given up down to this: those who wait try again. */
void share_lower(struct meta *m, struct file *file, struct hold *hold,
                 fs_iomode layout);
/* Nothing is its any more; its calls that wait go to m->sent_back. */
void share_forget(struct meta *m, const struct fs_sender *who);
/* After a takeover: has it yet to report? */
bool share_is_awaited(const struct meta *m, const struct fs_sender *who);
/* It may not have heard of what is recalled from it: tell it again. */
void share_remind(struct meta *m, const struct fs_sender *who);
/* The next recall that nobody has been told of.  False: none. */
bool share_next_recall(struct meta *m, struct fs_sender *ret_who,
                       fs_recall *ret_recall);
/* All calls that wait, to be answered otherwise: of one link, or (NULL) of
 * all. */
void share_take_waiting(struct meta *m, const struct fs_link *via,
                        struct list *to);

/* -- meta_redirect.c ------------------------------------------------------- */

/* Something was recalled of the file. */
void share_count_turn(struct meta *m, struct file *file);
/* Do hosts take turns with the file, so that the sender, who wants to read or
 * to write, is to do it by way of the coordinator? */
bool share_is_redirected(const struct op *op, fs_ino ino, bool write);

/* -- meta_dir.c ------------------------------------------------------------ */

struct dentry {
    fs_ino ino;
    uint64_t cookie;
};
enum { DENTRY_TWINS = 16 }; /* names of one hash in a directory */
/* The first of the cookies that a name may have. */
uint64_t dentry_cookie(const char *name);
/* Errors: E_NOENT, E_INVAL, E_NAME_TOO_LONG. */
MUST_CHECK enum err dentry_get(struct meta *m, fs_ino parent, const char *name,
                               struct dentry *ret_dentry);
MUST_CHECK enum err dentry_new(struct meta *m, fs_ino parent, const char *name,
                               fs_ino ino);
MUST_CHECK enum err dentry_drop(struct meta *m, fs_ino parent, uint64_t cookie);
/* E_OK: it is empty; E_NOTEMPTY. */
MUST_CHECK enum err dir_empty(struct meta *m, fs_ino ino);

/* -- meta_handle.c --------------------------------------------------------- */

/* May `op` change the file?  Errors: E_HANDLE_HELD, and reply->owner. */
MUST_CHECK enum err handle_allows(const struct op *op, fs_ino ino,
                                  uint64_t under_generation);
/* "vm generation" lines of all holders into buf; E_NODATA: nobody holds it. */
MUST_CHECK enum err handle_text(struct meta *m, fs_ino ino, char *buf,
                                size_t buf_bytes);

/* -- meta_xattr.c ---------------------------------------------------------- */

#define XATTR_ACL_ACCESS  "system.posix_acl_access"
#define XATTR_ACL_DEFAULT "system.posix_acl_default"

/* chmod changes the access ACL too. */
MUST_CHECK enum err acl_chmod(struct meta *m, const struct inode *inode);
/* Give the new inode (not a link) what its directory's default ACL says; the
 * umask applies where there is none. */
MUST_CHECK enum err acl_inherit(struct meta *m, fs_ino parent, uint32_t umask,
                                struct inode *inode);

/* -- handlers, one per operation ------------------------------------------- */

/* clang-format off */
#define OP_HANDLERS(X)                                                         \
    X(hello) X(report) X(confirm) X(lookup) X(getattr) X(setattr) X(create)    \
    X(unlink) X(rmdir) X(rename) X(link) X(readlink) X(readdir) X(statfs)      \
    X(xattr_get) X(xattr_set) X(xattr_list) X(xattr_remove) X(open) X(close)   \
    X(layoutget) X(layoutcommit) X(layoutreturn) X(fallocate) X(seek)          \
    X(handle_get) X(handle_put) X(read) X(write) X(flush) X(edges)
/* clang-format on */
#define X(name) MUST_CHECK enum err op_##name(struct op *op);
OP_HANDLERS(X)
#undef X

#endif
