/* tests/unit/fs/client_world.h - a volume in memory with a client and one open
 * file, "file"; ios that are waited for.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_FS_CLIENT_WORLD_H
#define LUNAR_TESTS_UNIT_FS_CLIENT_WORLD_H

#include "fs/client.h"
#include "tests/unit/fs/volume.h"

/* A LUN that carries out what is in flight in any order. */
enum { SHUFFLE_MAX = 256 };

struct shuffle {
    struct store base;
    struct store *below;
    struct store_io *queue[SHUFFLE_MAX];
    size_t count;
    struct task task;
    bool posted;
    uint64_t seed;
};

struct fixture {
    struct volume v;
    struct store *fault;
    struct shuffle shuffle;
    bool shuffled;
    struct fs_client *client;
    struct fs_file *file;
};

extern const struct fs_open_how cw_create, cw_reopen;

struct waited_io {
    struct fs_io io;
    struct iovec iov;
    bool done;
    enum err result;
};

void cw_init_with_blocks(struct fixture *f, uint32_t block_bytes);
void cw_init(struct fixture *f);
void cw_fini(struct fixture *f);
void cw_restart(struct fixture *f);
void cw_submit(struct fixture *f, struct waited_io *w);
enum err cw_run(struct fixture *f, struct waited_io *w);
enum err cw_data(struct fixture *f, enum fs_io_op op, uint64_t off, void *buf,
                 uint64_t len);
enum err cw_write_pattern(struct fixture *f, uint64_t off, uint64_t len);
uint64_t cw_read_pattern(struct fixture *f, uint64_t off, uint64_t len);
uint64_t cw_read_zeros(struct fixture *f, uint64_t off, uint64_t len);
/* How many bytes a READ says there are. */
uint64_t cw_read_bytes(struct fixture *f, uint64_t off, uint64_t len);
enum err cw_sync_file(struct fixture *f);
enum err cw_truncate_file(struct fixture *f, uint64_t size);
enum err cw_allocate(struct fixture *f, uint32_t mode, uint64_t off,
                     uint64_t len);
uint64_t cw_file_size(struct fixture *f);
void shuffle_init(struct shuffle *s, struct store *below);

#endif
