/* tests/tools/crashload/crashload.h - a load that knows what a crash may leave.
 *
 * Several threads work in directories of their own below one mount.  For every
 * file they keep what a crash may leave: for each 512-byte sector the oldest
 * and newest version it may hold, for the size a range, for mode and attribute
 * two values, for a name whether it may be here or there.  Before an operation
 * the expectation is loosened, after its answer tightened: metadata as soon as
 * it is acknowledged, data by fsync.  When the file system under it dies the
 * threads stop; after its return crash_verify() compares, and adopts what it
 * finds: all that is on the disk now is durable.
 * Under a file system that survives its own crashes ("firm") threads meet no
 * error and every answered write counts as synced.
 *
 *   main.c    commands on stdin, threads
 *   ops.c     one operation at a time: loosen, do, tighten
 *   check.c   what is there against what may be there
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_TOOLS_CRASHLOAD_CRASHLOAD_H
#define LUNAR_TESTS_TOOLS_CRASHLOAD_CRASHLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CRASH_SECTOR_BYTES = 512,
    CRASH_SECTORS = 1024, /* 512 KiB: several 64 KiB writes, many 4 KiB */
    CRASH_FILES = 24,     /* per thread */
    CRASH_IO_SECTORS = 128,
    CRASH_NAME_BYTES = 24
};
#define CRASH_FILE_BYTES ((uint64_t)CRASH_SECTORS * CRASH_SECTOR_BYTES)

/* A sector holds version v if min <= v <= max, or zeros if zero_ok. */
struct crash_sector {
    uint32_t min, max;
    bool zero_ok;
};

struct crash_file {
    bool exists;
    bool may_be_absent; /* create or unlink without an answer */
    uint32_t serial;    /* tells the files of a thread apart, in each sector */
    char name[CRASH_NAME_BYTES];
    char name_to[CRASH_NAME_BYTES]; /* rename without an answer; or "" */
    int fd;
    uint32_t version; /* of the last write */
    uint64_t size_min, size_max;
    uint32_t mode[2], note[2]; /* either of the two */
    struct crash_sector sectors[CRASH_SECTORS];
};

struct crash_thread {
    unsigned index;
    uint64_t random;
    int dir_fd; /* -1 while the mount is dead */
    uint32_t next_serial;
    uint64_t ops;
    bool firm; /* data is there once its write is answered */
    struct crash_file files[CRASH_FILES];
    uint8_t *buf; /* CRASH_FILE_BYTES, aligned */
};

/* What every sector of version > 0 is filled with, 16 times over. */
struct crash_stamp {
    uint64_t magic;
    uint32_t thread, serial, sector, version;
    uint64_t sum;
};
#define CRASH_MAGIC UINT64_C(0x6c756e6172637261)
struct crash_stamp crash_stamp_make(const struct crash_thread *t,
                                    const struct crash_file *f, uint32_t sector,
                                    uint32_t version);

uint64_t crash_random(struct crash_thread *t, uint64_t below);

/* One random operation.  0, or the errno that it ended with. */
int crash_step(struct crash_thread *t);
/* Close what is open; the mount may be dead. */
void crash_close(struct crash_thread *t);
/* Compare, print each difference, adopt what is there.  Returns the number of
 * differences. */
unsigned crash_verify(struct crash_thread *t);

#endif
