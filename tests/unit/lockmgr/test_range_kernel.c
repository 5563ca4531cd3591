/* tests/unit/lockmgr/test_range_kernel.c - byte-range locks beside the kernel:
 * the same random requests go to a table and, by real processes, to a file.
 * What would wait is not asked for.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/kernel_locks.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

enum { PROCESSES = 3, BYTES = 30, STEPS = 6000 };

static bool step(struct lm_ranges *t, const struct kernel_child *children,
                 uint64_t *seed, bool may_test)
{
    unsigned process = (unsigned)kernel_below(seed, PROCESSES);
    unsigned fd = (unsigned)kernel_below(seed, KERNEL_FDS);
    struct lm_range r = kernel_some_range(seed, fd, BYTES), other;
    bool is_test = may_test && r.owner.kind != LM_FLOCK && r.type != LM_UNLCK;
    struct kernel_verdict v = kernel_ask(&children[process], fd, is_test, &r);

    r.owner.peer = (struct lm_peer){process + 1, 1};
    r.pid = (uint32_t)children[process].pid;
    if (!is_test)
        return CHECK_EQ(err_errno(lm_ranges_set(t, &r)), v.error);
    if (!lm_ranges_test(t, &r, &other))
        other.type = LM_UNLCK;
    return CHECK_EQ(v.error, 0) && kernel_agrees(&v, &other);
}

static void the_kernel_decides_the_same(void)
{
    struct world w;
    struct kernel_child children[PROCESSES];
    char path[WORLD_PATH_BYTES];
    uint64_t seed = 77;
    struct lm_ranges *t;
    bool is_same = true;

    world_init(&w);
    world_file(&w, "locked", 4096, path);
    CHECK_OK_FATAL(lm_ranges_new(10000, &t));
    for (unsigned i = 0; i < PROCESSES; i++)
        kernel_child_start(&children[i], path);
    for (unsigned i = 0; is_same && i < STEPS / TEST_ONE_IN; i++)
        is_same = step(t, children, &seed, i % 3 == 0);
    for (unsigned i = 0; i < PROCESSES; i++)
        kernel_child_stop(&children[i]);
    lm_ranges_free(t);
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(the_kernel_decides_the_same),
};
TEST_SUITE("lockmgr/range_kernel", tests);
