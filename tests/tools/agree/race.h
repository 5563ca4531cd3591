/* tests/tools/agree/race.h - what hosts do at once, and how it is judged.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_TOOLS_AGREE_RACE_H
#define LUNAR_TESTS_TOOLS_AGREE_RACE_H

#include "tests/tools/agree/agree.h"
#include "tests/tools/agree/history.h"

/* Registers: each holds one value, and whoever reads gets the last one. */
enum { BLOCKS = 4, NAMES = STATE_WORDS };
enum object {
    OBJECT_SIZE = BLOCKS, /* below: blocks of a file */
    OBJECT_TIME,
    OBJECT_XATTR,
    OBJECT_TARGET, /* of a link that is replaced */
    REGISTERS,
    OBJECT_NAMES = REGISTERS, /* a directory with a few names */
    OBJECTS
};

enum event_kind {
    SET, /* of a register */
    GET,
    CREATE, /* NAMES; value: the inode */
    MKDIR,
    UNLINK,
    RMDIR,
    RENAME, /* other: flags */
    LINK,   /* value: the inode that gets the name b */
    LOOK    /* value: the inode, IS_DIR */
};
#define IS_DIR UINT64_C(1)

enum lock { LOCK_FLOCK, LOCK_OFD, LOCK_POSIX, LOCKS };

struct record { /* of the file that all append to */
    uint64_t host, number;
};

/* Of a host; shared with its process. */
struct racer {
    volatile unsigned long done; /* operations */
    uint64_t records, counted[LOCKS];
    size_t event_count;
    struct event events[];
};

/* Prints what is wrong; returns how much. */
int judge(const struct run *run, struct racer *const *racers);

#endif
