/* tests/tools/agree/agree.h - are several directories, each seen through
 * another host, one file system?  Where to start: main.c.
 *
 *   op.c       one operation, as a worker carries it out in its directory
 *   draw.c     operations by chance, from a seed
 *   survey.c   all of a tree as text
 *   worker.c   a process per directory
 *   turns.c    one operation at a time, beside a local file system
 *   race.c     all at once; judge.c says what is wrong
 *   history.c  could these results come from one host?
 *
 * Knows nothing of what is mounted, and nothing of Lunar.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_TOOLS_AGREE_AGREE_H
#define LUNAR_TESTS_TOOLS_AGREE_AGREE_H

#include "base/base.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

enum {
    SLOTS = 4,           /* files that a worker has open */
    PATH_BYTES = 1024,   /* of a path or a link's target */
    DATA_BYTES = 1 << 19 /* of an answer */
};

/* What an answer must have in common with the local file system's. */
enum {
    SAME_DATA = 1, /* its bytes */
    SAME_STAT = 2, /* of its status what file systems do alike */
    SAME_LATER = 4 /* ... or soon: what others mapped is told after the fact */
};

#define OP_KINDS(X)                                                            \
    X(OPEN, 0)                                                                 \
    X(CLOSE, 0)                                                                \
    X(STAT, SAME_STAT)                                                         \
    X(FSTAT, SAME_STAT)                                                        \
    X(MKDIR, 0)                                                                \
    X(RMDIR, 0)                                                                \
    X(UNLINK, 0)                                                               \
    X(RENAME, 0)                                                               \
    X(LINK, 0)                                                                 \
    X(SYMLINK, 0)                                                              \
    X(READLINK, SAME_DATA)                                                     \
    X(READDIR, SAME_DATA)                                                      \
    X(CHMOD, 0)                                                                \
    X(UTIMENS, 0)                                                              \
    X(TRUNCATE, 0)                                                             \
    X(FTRUNCATE, 0)                                                            \
    X(PREAD, SAME_DATA)                                                        \
    X(PWRITE, 0)                                                               \
    X(FALLOCATE, 0)                                                            \
    X(COPY, 0)                                                                 \
    X(FSYNC, 0)                                                                \
    X(MAP_READ, SAME_DATA)                                                     \
    X(MAP_WRITE, 0)                                                            \
    X(MAP_KEPT, SAME_DATA | SAME_LATER)                                        \
    X(SEEK, 0)                                                                 \
    X(SETXATTR, 0)                                                             \
    X(GETXATTR, SAME_DATA)                                                     \
    X(REMOVEXATTR, 0)                                                          \
    X(FLOCK, 0)                                                                \
    X(SETLK, 0)                                                                \
    X(OFD_SETLK, 0)                                                            \
    X(GETLK, 0)                                                                \
    X(SURVEY, SAME_DATA)

enum op_kind {
#define X(name, same) OP_##name,
    OP_KINDS(X)
#undef X
        OP_KIND_COUNT
};

struct op {
    enum op_kind kind;
    unsigned slot, other_slot;
    int flags;    /* of open, rename, fallocate; a lock's type; a mode */
    int64_t off;  /* bytes */
    int64_t len;  /* bytes; seconds of UTIMENS */
    int64_t off2; /* of a copy's source */
    uint64_t stamp;
    char path[PATH_BYTES], path2[PATH_BYTES];
};

struct answer {
    int64_t rc;
    int error; /* errno where rc is -1 */
    bool has_status;
    struct stat status;
    size_t data_bytes;
    size_t own_bytes; /* what only hosts have in common: times, inodes */
    uint8_t data[DATA_BYTES];
    char own[DATA_BYTES];
};

/* -- op.c ------------------------------------------------------------------ */

/* The files of a process. */
struct hands {
    int fd[SLOTS];
    uint8_t *map[SLOTS]; /* of MAP_KEPT: the first MAP_BYTES of the file */
    uint8_t *buf;        /* BUF_BYTES, aligned */
};
enum { MAP_BYTES = 1 << 18, BUF_BYTES = 1 << 18 };

void hands_init(struct hands *h);
/* In the working directory. */
void op_do(struct hands *h, const struct op *op, struct answer *a);
void op_print(FILE *to, const struct op *op);
unsigned op_same(enum op_kind kind);
/* Bytes that tell their stamp and place. */
void fill(uint8_t *buf, size_t bytes, uint64_t stamp);

/* -- draw.c ---------------------------------------------------------------- */

uint64_t draw(uint64_t *seed, uint64_t below);
void draw_op(uint64_t *seed, bool maps, struct op *ret_op);

/* -- survey.c -------------------------------------------------------------- */

void survey(struct answer *a);

/* -- worker.c -------------------------------------------------------------- */

struct worker {
    const char *dir;
    pid_t pid;
    int fd;                /* to it */
    struct op *op;         /* shared with it */
    struct answer *answer; /* the same */
};

void worker_start(struct worker *w, const char *dir);
/* Carry it out, wait for it: w->answer. */
void worker_ask(struct worker *w, const struct op *op);
void worker_end(struct worker *w);

/* -- turns.c, race.c: 0 if all is well ------------------------------------- */

struct run {
    uint64_t seed;
    unsigned long ops;
    unsigned hosts;
    char **dirs;
    const char *local; /* directory of a local file system */
    bool maps;         /* mappings stay while others change the file */
    bool firm;         /* each write is synced: hosts may die meanwhile */
};

int turns(const struct run *run);
int race(const struct run *run);

#endif
