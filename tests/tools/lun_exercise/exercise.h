/* tests/tools/lun_exercise/exercise.h - the parts of the tool:
 *
 *   main.c    options, the commands that end by themselves
 *   churn.c   a load that knows what it must read
 *   share.c   a LUN that many hosts use, by orders on stdin
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_TOOLS_LUN_EXERCISE_EXERCISE_H
#define LUNAR_TESTS_TOOLS_LUN_EXERCISE_EXERCISE_H

#include "iscsi/lun.h"

#include <stdatomic.h>

enum { DEPTH_MAX = 128, REACTORS_MAX = 8, KEYS_MAX = 64 };

/* Print and exit. */
_Noreturn void die(const char *what, enum err e, const struct diag *why);

/* -- churn.c --------------------------------------------------------------- */

/* Bytes that tell their place and a seed; seed 0: zeros. */
void pattern_fill(uint8_t *buf, size_t bytes, uint64_t seed, uint64_t off);
bool pattern_matches(const uint8_t *buf, size_t bytes, uint64_t seed,
                     uint64_t off);

struct region;
struct churn {
    struct lun *lun;
    bool may_fail; /* with E_LUN_GONE, and nothing is said */
    struct loop *home;
    struct region *regions;
    unsigned count, running;
    bool all_ended;
    atomic_bool stop;      /* any thread */
    atomic_uint ios_ended; /* any thread */
    /* when it has ended */
    uint64_t ios, failed, bad, longest_ns;
};

/* Keep `depth` ios in flight on each loop.  Context: a thread with a loop, also
 * for the others. */
void churn_start(struct churn *churn, struct loop *const *loops, unsigned count,
                 unsigned depth);
/* Start no more, wait for those in flight, add up. */
void churn_finish(struct churn *churn);

/* -- main.c ---------------------------------------------------------------- */

/* OPERATION[,KEY[,NEW-KEY[,TYPE]]]; keys has room for KEYS_MAX. */
bool pr_parse(char *words, struct lun_pr *ret_pr, const char **ret_name);
void pr_print(const struct lun_pr *pr, const char *name, enum err e);

/* -- share.c --------------------------------------------------------------- */

/* Context: a thread with a loop; args has loops of reactors. */
int share(const char *url, const struct lun_args *args, unsigned depth);

#endif
