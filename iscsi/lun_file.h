/* iscsi/lun_file.h - what the two halves of a file LUN share.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_LUN_FILE_H
#define LUNAR_ISCSI_LUN_FILE_H

#include "base/list.h"
#include "iscsi/lun_private.h"

enum {
    BOUNCE_BYTES = 128 << 10, /* one piece of a misaligned io */
    BOUNCES = 16              /* 2 MiB per LUN, touched only when used */
};

struct bounce {
    struct list link;
    uint8_t *bytes;
};

/* An io that waits for a bounce buffer. */
struct bounce_wait {
    struct list link;
    struct loop *loop;
    struct task task;
};

struct lun_file {
    struct lun lun;
    int fd;
    bool is_block, direct;
    uint32_t memory_align; /* what O_DIRECT wants of an address */
    struct workers *workers, *own_workers;

    uint8_t *bounce_bytes; /* BOUNCES * BOUNCE_BYTES */
    pthread_mutex_t bounce_mutex;
    /* lock: bounce_mutex */
    struct bounce bounces[BOUNCES];
    struct list bounce_free, bounce_waits;
};

static inline struct lun_file *lun_file_of(struct lun *lun)
{
    return container_of(lun, struct lun_file, lun);
}

extern const struct store_ops lun_file_store_ops;

#endif
