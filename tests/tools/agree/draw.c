/* tests/tools/agree/draw.c - operations by chance.  The same seed gives the
 * same operations, whatever their results are.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/agree.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/xattr.h>

enum { PAGE = 4096, SIZE_MAX_BYTES = 200000, LOCK_BYTES = 8, LONG_NAME = 255 };

uint64_t draw(uint64_t *seed, uint64_t below)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (*seed >> 33) % below;
}

static const struct {
    enum op_kind kind;
    unsigned weight;
} weights[] = {
    {OP_OPEN,        12},
    {OP_CLOSE,       1 },
    {OP_STAT,        6 },
    {OP_FSTAT,       4 },
    {OP_MKDIR,       4 },
    {OP_RMDIR,       2 },
    {OP_UNLINK,      4 },
    {OP_RENAME,      8 },
    {OP_LINK,        4 },
    {OP_SYMLINK,     3 },
    {OP_READLINK,    2 },
    {OP_READDIR,     3 },
    {OP_CHMOD,       2 },
    {OP_UTIMENS,     3 },
    {OP_TRUNCATE,    3 },
    {OP_FTRUNCATE,   4 },
    {OP_PREAD,       14},
    {OP_PWRITE,      16},
    {OP_FALLOCATE,   8 },
    {OP_COPY,        3 },
    {OP_FSYNC,       3 },
    {OP_MAP_READ,    5 },
    {OP_MAP_WRITE,   5 },
    {OP_MAP_KEPT,    5 },
    {OP_SEEK,        3 },
    {OP_SETXATTR,    4 },
    {OP_GETXATTR,    4 },
    {OP_REMOVEXATTR, 2 },
    {OP_FLOCK,       3 },
    {OP_SETLK,       5 },
    {OP_OFD_SETLK,   4 },
    {OP_GETLK,       3 },
};

static enum op_kind draw_kind(uint64_t *seed)
{
    unsigned sum = 0, at;

    for (size_t i = 0; i < ARRAY_LEN(weights); i++)
        sum += weights[i].weight;
    at = (unsigned)draw(seed, sum);
    for (size_t i = 0;; i++) {
        if (at < weights[i].weight)
            return weights[i].kind;
        at -= weights[i].weight;
    }
}

/* One to three of a few names; rarely one that is as long as can be, or
 * longer. */
static void draw_path(uint64_t *seed, char *path)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    unsigned parts = 1 + (draw(seed, 4) == 0) + (draw(seed, 8) == 0);
    size_t at = 0;

    if (draw(seed, 60) == 0) {
        at = LONG_NAME + (draw(seed, 3) == 0);
        memset(path, 'x', at);
        path[at] = '\0';
        return;
    }
    while (parts--)
        at += (size_t)snprintf(path + at, PATH_BYTES - at, "%s%s",
                               names[draw(seed, ARRAY_LEN(names))],
                               parts ? "/" : "");
}

/* A link's target: never above the tree, wherever the link is moved to. */
static void draw_target(uint64_t *seed, char *path)
{
    static const char *const targets[] = {"a", "b", "b/c", "c/d", "none"};

    snprintf(path, PATH_BYTES, "%s", targets[draw(seed, ARRAY_LEN(targets))]);
}

static int64_t draw_place(uint64_t *seed)
{
    uint64_t near = draw(seed, 4) ? 5 * PAGE : SIZE_MAX_BYTES;
    uint64_t at = draw(seed, near);

    return (int64_t)(draw(seed, 2) ? at : at / PAGE * PAGE);
}

static int64_t draw_length(uint64_t *seed)
{
    switch (draw(seed, 4)) {
    case 0: return 1 + (int64_t)draw(seed, 100);
    case 1: return PAGE;
    case 2: return PAGE * (1 + (int64_t)draw(seed, 12));
    default: return 1 + (int64_t)draw(seed, 10000);
    }
}

static int draw_open(uint64_t *seed)
{
    static const int how[] = {O_RDONLY, O_RDWR, O_RDWR, O_RDWR, O_WRONLY};
    int flags = how[draw(seed, ARRAY_LEN(how))];

    if (draw(seed, 8))
        flags |= O_CREAT;
    if (draw(seed, 20) == 0)
        flags |= O_EXCL;
    if (draw(seed, 10) == 0)
        flags |= O_TRUNC;
    switch (draw(seed, 6)) {
    case 0: return flags | O_DIRECT;
    case 1: return flags | O_APPEND;
    default: return flags;
    }
}

static int draw_flags(uint64_t *seed, enum op_kind kind)
{
    static const unsigned renames[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    static const int space[] = {
        0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    static const int locks[] = {F_RDLCK, F_WRLCK, F_UNLCK};
    static const int xattrs[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};

    switch ((unsigned)kind) {
    case OP_OPEN: return draw_open(seed);
    case OP_RENAME: return (int)renames[draw(seed, ARRAY_LEN(renames))];
    case OP_FALLOCATE: return space[draw(seed, ARRAY_LEN(space))];
    case OP_FLOCK:
    case OP_SETLK:
    case OP_OFD_SETLK: return locks[draw(seed, ARRAY_LEN(locks))];
    case OP_GETLK: return locks[draw(seed, 2)];
    case OP_SETXATTR: return xattrs[draw(seed, ARRAY_LEN(xattrs))];
    case OP_CHMOD: return (int)(draw(seed, 8) << 6 | draw(seed, 64));
    case OP_FSYNC: return (int)draw(seed, 2);
    default: return 0;
    }
}

void draw_op(uint64_t *seed, bool maps, struct op *ret_op)
{
    enum op_kind drawn = draw_kind(seed);
    enum op_kind kind = drawn == OP_MAP_KEPT && !maps ? OP_MAP_READ : drawn;
    bool locks = kind >= OP_FLOCK && kind <= OP_GETLK;

    memset(ret_op, 0, sizeof *ret_op);
    ret_op->kind = kind;
    /* Slot 0 has most of it, so that hosts meet in few files. */
    ret_op->slot = draw(seed, 3) ? 0 : (unsigned)draw(seed, SLOTS);
    ret_op->other_slot = draw(seed, 2) ? 0 : (unsigned)draw(seed, SLOTS);
    ret_op->flags = draw_flags(seed, kind);
    ret_op->off = draw_place(seed);
    ret_op->off2 = draw_place(seed);
    ret_op->len = draw_length(seed);
    ret_op->stamp = draw(seed, UINT32_MAX);
    draw_path(seed, ret_op->path);
    draw_path(seed, ret_op->path2);
    if (kind == OP_READDIR && draw(seed, 2))
        snprintf(ret_op->path, PATH_BYTES, ".");
    if (kind == OP_SYMLINK)
        draw_target(seed, ret_op->path2);
    if (kind >= OP_SETXATTR && kind <= OP_REMOVEXATTR)
        snprintf(ret_op->path2, PATH_BYTES, "user.%u", (unsigned)draw(seed, 2));
    if (kind == OP_UTIMENS) /* of another century: see turns.c */
        ret_op->len = (int64_t)draw(seed, 900000000);
    if (locks) {
        ret_op->off = (int64_t)draw(seed, LOCK_BYTES);
        ret_op->len = (int64_t)draw(seed, LOCK_BYTES);
    }
}
