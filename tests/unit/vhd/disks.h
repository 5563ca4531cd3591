/* tests/unit/vhd/disks.h - files in memory with names, and VHDs in them.
 * Each helper stops the program if it cannot do its work.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_VHD_DISKS_H
#define LUNAR_TESTS_UNIT_VHD_DISKS_H

#include "base/stores.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"
#include "vhd/vhd.h"

enum { DISKS_FILES = 8, DISKS_NOW_S = 1700000000 };

struct disks_file {
    const char *path;
    struct store *file;
};

struct disks {
    struct world world;
    struct vhd_opener opener; /* of the files below */
    struct disks_file files[DISKS_FILES];
    size_t count;
};

void disks_init(struct disks *d);
void disks_fini(struct disks *d);

/* A new, empty file.  Ownership: the disks'. */
struct store *disks_file(struct disks *d, const char *path);
struct store *disks_find(struct disks *d, const char *path);

struct disks_spec {
    enum vhd_type type;
    uint64_t size_bytes;
    uint32_t block_bytes;
    uint64_t max_size_bytes; /* the table ends there; 0: whole pages */
    const char *parent;      /* its path */
};
/* A new VHD in a new file. */
struct store *disks_create(struct disks *d, const char *path,
                           const struct disks_spec *spec);
/* Open the VHD in a file, for writing. */
struct vhd *disks_open(struct disks *d, const char *path, struct store *file);
/* … with small extensions, so that there are many, and a short queue, so that
 * requests wait for it. */
enum { DISKS_AHEAD_BYTES = 64 << 10, DISKS_QUEUE_DEPTH = 6 };

/* All bytes of the guest's disk; caller frees. */
uint8_t *disks_read_all(struct store *disk);
/* Is the file sound?  Problems other than leftovers fail the test. */
void disks_check_clean(struct store *file);

/* A store that hands ios down in random order, some later than others. */
struct store *shuffle_new(struct store *below, uint64_t seed);

/* Random numbers that a seed repeats. */
struct dice {
    uint64_t state;
};
uint64_t dice_roll(struct dice *dice, uint64_t sides); /* 0 … sides-1 */

#endif
