/* tests/lib/kernel_locks.h - what Linux decides about locks: a process per
 * "host" that locks a file of a local file system as it is told.  To compare
 * with; knows nothing of Lunar's own locks but their words.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_LIB_KERNEL_LOCKS_H
#define LUNAR_TESTS_LIB_KERNEL_LOCKS_H

#include "lockmgr/lockmgr.h"

#include <fcntl.h>

/* Of a process's descriptors the first is for POSIX locks, the next two are for
 * OFD locks, the last two are for flock. */
enum { KERNEL_FDS = 5 };
enum lm_range_kind kernel_kind_of(unsigned fd);

struct kernel_child {
    pid_t pid;
    int socket;
};
void kernel_child_start(struct kernel_child *child, const char *path);
void kernel_child_stop(struct kernel_child *child);

struct kernel_verdict {
    int error;         /* an errno; -1: the child does not answer */
    struct flock lock; /* of a test */
};
/* Set r, or test for it, without waiting. */
struct kernel_verdict kernel_ask(const struct kernel_child *child, unsigned fd,
                                 bool is_test, const struct lm_range *r);
/* Does what a test found agree with `other`?  `pid`: as F_GETLK has it. */
bool kernel_agrees(const struct kernel_verdict *v,
                   const struct lm_range *other);

/* Any of what may be asked for, in the first `bytes` of the file mostly. */
struct lm_range kernel_some_range(uint64_t *seed, unsigned fd, uint64_t bytes);
uint64_t kernel_below(uint64_t *seed, uint64_t limit);

#endif
