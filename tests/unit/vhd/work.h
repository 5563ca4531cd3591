/* tests/unit/vhd/work.h - random work on a disk, remembered well enough to
 * say of any sector, later, whether it may be there.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_VHD_WORK_H
#define LUNAR_TESTS_UNIT_VHD_WORK_H

#include "tests/unit/vhd/disks.h"

enum {
    SECTOR = VHD_SECTOR_BYTES,
    BLOCK = 8 << 10,
    SIZE = 14 * BLOCK + 5 * SECTOR,
    GROWTH = 9 * BLOCK,
    OPS_MAX = 400,
    NEVER = INT32_MAX
};

/* One request of the guest, and from which moment on it must survive. */
struct op {
    struct store_io io;
    struct iovec iov;
    struct work *work;
    uint8_t *buf;
    enum store_op kind;
    uint64_t off, len;
    size_t durable_from; /* a moment: entries of the record */
    size_t covers;       /* FLUSH: the ops done when it was submitted */
    bool done;
    enum err result;
};

struct work {
    struct disks d;
    struct dice dice;
    enum vhd_type type;
    struct store *file;   /* of "/disk.vhd" */
    struct vhd *vhd;      /* what the work is done on */
    struct store *record; /* below it; its count is the clock; or NULL: 0 */
    struct op ops[OPS_MAX];
    size_t count;
    size_t round_start; /* the ops before this one are done */
};

/* An empty disk, with a parent if it is a differencing one. */
struct work *work_new(enum vhd_type type, uint64_t seed);
void work_free(struct work *w);
/* Requests in rounds; FLUSH, FUA and RESIZE among them.  What fails is
 * remembered as such. */
void work_do(struct work *w, int rounds);

/* After a crash at `moment`: may this be the disk?  Counts what may not. */
unsigned work_wrong_after(struct work *w, size_t moment, struct store *disk);
/* Without a crash: what succeeded must be seen. */
unsigned work_wrong_now(struct work *w, struct store *disk);

#endif
