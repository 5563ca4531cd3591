/* tests/unit/lockmgr/test_range.c - byte-range locks: each rule, and long
 * random histories beside a map of bytes that knows nothing of ranges.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

enum { BYTES = 20, OWNERS = 6, FILES = 2, WAITERS = 8, STEPS = 200000 };

static struct lm_range range(uint64_t owner, enum lm_range_kind kind,
                             enum lm_range_type type, uint64_t first,
                             uint64_t last)
{
    return (struct lm_range){
        .file = 1,
        .owner = {.kind = kind,
                  .peer = {(uint32_t)(1 + owner % 3), 100},
                  .key = owner},
        .type = type,
        .first = first,
        .last = last,
        .pid = (uint32_t)(1000 + owner),
    };
}

static enum err set(struct lm_ranges *t, uint64_t owner,
                    enum lm_range_type type, uint64_t first, uint64_t last)
{
    const struct lm_range r = range(owner, LM_POSIX, type, first, last);

    return lm_ranges_set(t, &r);
}

static void add_text(void *arg, const struct lm_range *r)
{
    char *text = arg;
    size_t used = strlen(text);

    snprintf(text + used, 256 - used, "%llu%c%llu-%llu ",
             (unsigned long long)r->owner.key, r->type == LM_WRLCK ? 'w' : 'r',
             (unsigned long long)r->first, (unsigned long long)r->last);
}

/* "1r0-9 2w10-19 " */
static const char *text(const struct lm_ranges *t)
{
    static char buf[256];

    buf[0] = 0;
    lm_ranges_each(t, 1, add_text, buf);
    return buf;
}

static void locks_split_merge_and_change_their_type(void)
{
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    CHECK_OK(set(t, 1, LM_RDLCK, 0, 99));
    CHECK_OK(set(t, 1, LM_WRLCK, 40, 49));
    CHECK_STR(text(t), "1r0-39 1w40-49 1r50-99 ");
    CHECK_OK(set(t, 1, LM_UNLCK, 45, 60));
    CHECK_STR(text(t), "1r0-39 1w40-44 1r61-99 ");
    CHECK_OK(set(t, 1, LM_RDLCK, 40, 60));
    CHECK_STR(text(t), "1r0-99 ");
    CHECK_OK(set(t, 1, LM_UNLCK, 0, LM_RANGE_LAST));
    CHECK_STR(text(t), "");
    CU_ASSERT_TRUE(lm_ranges_is_free(t, 1));
    lm_ranges_free(t);
}

static void a_refused_upgrade_changes_nothing(void)
{
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    CHECK_OK(set(t, 1, LM_RDLCK, 0, 9));
    CHECK_OK(set(t, 2, LM_RDLCK, 5, 14));
    CHECK_ERR(set(t, 1, LM_WRLCK, 0, 9), E_AGAIN);
    CHECK_STR(text(t), "1r0-9 2r5-14 ");
    CHECK_OK(set(t, 1, LM_WRLCK, 0, 4));
    lm_ranges_free(t);
}

static void getlk_names_the_one_in_the_way(void)
{
    const struct lm_range want = range(2, LM_POSIX, LM_WRLCK, 0, 99);
    struct lm_range other = {0};
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    CU_ASSERT_FALSE(lm_ranges_test(t, &want, &other));
    CHECK_OK(set(t, 1, LM_RDLCK, 7, 8));
    CU_ASSERT_TRUE(lm_ranges_test(t, &want, &other));
    CHECK_EQ(other.owner.peer.node, 2);
    CHECK_EQ(other.pid, 1001);
    CHECK_EQ(other.type, LM_RDLCK);
    CHECK_EQ(other.first, 7);
    CHECK_EQ(other.last, 8);
    lm_ranges_free(t);
}

static void ofd_and_posix_exclude_each_other_flock_does_not(void)
{
    const struct lm_range ofd = range(2, LM_OFD, LM_WRLCK, 5, 5);
    const struct lm_range flock =
        range(3, LM_FLOCK, LM_WRLCK, 0, LM_RANGE_LAST);
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    CHECK_OK(set(t, 1, LM_WRLCK, 0, 9));
    CHECK_ERR(lm_ranges_set(t, &ofd), E_AGAIN);
    CHECK_OK(lm_ranges_set(t, &flock));
    lm_ranges_free(t);
}

static void a_refused_flock_conversion_loses_what_was_held(void)
{
    struct lm_range a = range(1, LM_FLOCK, LM_RDLCK, 0, LM_RANGE_LAST);
    const struct lm_range b = range(2, LM_FLOCK, LM_RDLCK, 0, LM_RANGE_LAST);
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    CHECK_OK(lm_ranges_set(t, &a));
    CHECK_OK(lm_ranges_set(t, &b));
    a.type = LM_WRLCK;
    CHECK_ERR(lm_ranges_set(t, &a), E_AGAIN);
    CHECK_STR(text(t), "2r0-9223372036854775807 ");
    lm_ranges_free(t);
}

static void who_waits_is_served_in_order(void)
{
    const struct lm_range w2 = range(2, LM_POSIX, LM_WRLCK, 0, 9);
    const struct lm_range r3 = range(3, LM_POSIX, LM_RDLCK, 0, 9);
    const struct lm_range r4 = range(4, LM_POSIX, LM_RDLCK, 20, 29);
    struct lm_ranges *t;
    struct lm_peer peer;
    uint64_t id;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    CHECK_OK(set(t, 1, LM_WRLCK, 0, 29));
    CHECK_OK(lm_ranges_wait(t, &w2, 12));
    CHECK_OK(lm_ranges_wait(t, &r3, 13));
    CHECK_OK(lm_ranges_wait(t, &r4, 14));
    CU_ASSERT_FALSE(lm_ranges_serve(t, 1, &peer, &id));
    CHECK_OK(set(t, 1, LM_UNLCK, 0, 29));
    CU_ASSERT_TRUE(lm_ranges_serve(t, 1, &peer, &id));
    CHECK_EQ(id, 12);
    CU_ASSERT_TRUE(lm_ranges_serve(t, 1, &peer, &id));
    CHECK_EQ(id, 14); /* 13 must wait for 12, not 14 for 13 */
    CU_ASSERT_FALSE(lm_ranges_serve(t, 1, &peer, &id));
    CU_ASSERT_TRUE(lm_ranges_cancel(t, &r3.owner.peer, 13));
    CU_ASSERT_FALSE(lm_ranges_cancel(t, &r3.owner.peer, 13));
    lm_ranges_free(t);
}

static void a_circle_across_files_and_nodes_is_a_deadlock(void)
{
    struct lm_range want = range(2, LM_POSIX, LM_WRLCK, 0, 9);
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    for (uint64_t owner = 1; owner <= 3; owner++) {
        struct lm_range r = range(owner, LM_POSIX, LM_WRLCK, 0, 9);

        r.file = owner;
        CHECK_OK(lm_ranges_set(t, &r));
    }
    want.file = 1; /* 2 waits for 1 */
    CHECK_OK(lm_ranges_wait(t, &want, 1));
    want = range(3, LM_POSIX, LM_RDLCK, 5, 5);
    want.file = 2; /* 3 waits for 2 */
    CHECK_OK(lm_ranges_wait(t, &want, 2));
    want = range(1, LM_POSIX, LM_RDLCK, 9, 9);
    want.file = 3;
    CHECK_ERR(lm_ranges_wait(t, &want, 3), E_DEADLOCK);
    want.first = want.last = 10;
    CHECK_OK(lm_ranges_set(t, &want));
    lm_ranges_free(t);
}

static void ofd_locks_wait_in_circles_as_on_linux(void)
{
    const struct lm_range a = range(1, LM_OFD, LM_WRLCK, 0, 0);
    const struct lm_range b = range(2, LM_OFD, LM_WRLCK, 1, 1);
    const struct lm_range a_wants = range(1, LM_OFD, LM_WRLCK, 1, 1);
    const struct lm_range b_wants = range(2, LM_OFD, LM_WRLCK, 0, 0);
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    CHECK_OK(lm_ranges_set(t, &a));
    CHECK_OK(lm_ranges_set(t, &b));
    CHECK_OK(lm_ranges_wait(t, &a_wants, 1));
    CHECK_OK(lm_ranges_wait(t, &b_wants, 2));
    lm_ranges_free(t);
}

static void a_peer_beyond_its_bound_gets_no_more_locks(void)
{
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(10, &t));
    for (uint64_t i = 0; i < 9; i++)
        CHECK_OK(set(t, 1, LM_RDLCK, i * 10, i * 10));
    CHECK_ERR(set(t, 1, LM_RDLCK, 500, 500), E_NOLCK);
    CHECK_OK(set(t, 2, LM_RDLCK, 500, 500)); /* another peer */
    CHECK_OK(set(t, 1, LM_UNLCK, 0, 50));
    CHECK_OK(set(t, 1, LM_RDLCK, 500, 500));
    lm_ranges_free(t);
}

static void all_of_a_fenced_peer_is_dropped(void)
{
    const struct lm_range want = range(2, LM_POSIX, LM_WRLCK, 0, 9);
    const struct lm_peer first = {2, 100}; /* of owner 1 */
    struct lm_ranges *t;
    struct lm_peer peer;
    uint64_t id;

    CHECK_OK_FATAL(lm_ranges_new(100, &t));
    CHECK_OK(set(t, 1, LM_WRLCK, 0, 9));
    CHECK_OK(lm_ranges_wait(t, &want, 5));
    lm_ranges_drop(t, &first);
    CU_ASSERT_TRUE(lm_ranges_serve(t, 0, &peer, &id));
    CHECK_EQ(id, 5);
    lm_ranges_free(t);
}

static void what_is_no_lock_is_refused(void)
{
    struct lm_range r = range(1, LM_POSIX, LM_WRLCK, 5, 4);
    struct diag why;

    CHECK_ERR(lm_range_check(&r, &why), E_INVAL);
    CHECK_CONTAINS(why.text, "bytes 5 to 4");
    r = range(1, LM_POSIX, LM_WRLCK, 0, LM_RANGE_LAST + 1);
    CHECK_ERR(lm_range_check(&r, &why), E_INVAL);
    r = range(1, LM_FLOCK, LM_WRLCK, 0, 9);
    CHECK_ERR(lm_range_check(&r, &why), E_INVAL);
    r = range(1, (enum lm_range_kind)7, LM_WRLCK, 0, 9);
    CHECK_ERR(lm_range_check(&r, &why), E_INVAL);
    r = range(1, LM_POSIX, (enum lm_range_type)7, 0, 9);
    CHECK_ERR(lm_range_check(&r, &why), E_INVAL);
    r = range(1, LM_POSIX, LM_WRLCK, 0, LM_RANGE_LAST);
    CHECK_OK(lm_range_check(&r, &why));
}

/* -- the map of bytes ------------------------------------------------------ */

struct naive_waiter {
    bool is_used;
    struct lm_range range;
    uint64_t id;
};

struct naive {
    uint8_t type[FILES + 1][OWNERS][BYTES]; /* enum lm_range_type */
    struct naive_waiter waiters[WAITERS];   /* in order of id */
    uint64_t seed;
};

/* Owners 0 to 3 are processes, 4 and 5 are open files. */
static enum lm_range_kind kind_of(uint64_t owner)
{
    return owner < 4 ? LM_POSIX : LM_OFD;
}

static bool naive_blocks(const struct naive *n, const struct lm_range *r,
                         uint64_t by)
{
    if (by == r->owner.key || r->type == LM_UNLCK)
        return false;
    for (uint64_t i = r->first; i <= r->last; i++) {
        uint8_t has = n->type[r->file][by][i];

        if (has == LM_WRLCK || (has == LM_RDLCK && r->type == LM_WRLCK))
            return true;
    }
    return false;
}

static bool naive_conflict(const struct naive *n, const struct lm_range *r)
{
    for (uint64_t by = 0; by < OWNERS; by++)
        if (naive_blocks(n, r, by))
            return true;
    return false;
}

static void naive_set(struct naive *n, const struct lm_range *r)
{
    for (uint64_t i = r->first; i <= r->last; i++)
        n->type[r->file][r->owner.key][i] = (uint8_t)r->type;
}

/* Does somebody in the way wait, at any number of hands, for who asks? */
static bool naive_deadlock(const struct naive *n, const struct lm_range *r)
{
    bool waits[OWNERS][OWNERS] = {0};

    if (r->owner.kind != LM_POSIX)
        return false;
    for (uint64_t by = 0; by < 4; by++) {
        waits[by][by] = true;
        for (unsigned w = 0; w < WAITERS; w++)
            if (n->waiters[w].is_used)
                waits[n->waiters[w].range.owner.key][by] |=
                    naive_blocks(n, &n->waiters[w].range, by);
    }
    for (unsigned k = 0; k < 4; k++)
        for (unsigned a = 0; a < 4; a++)
            for (unsigned b = 0; b < 4; b++)
                waits[a][b] |= waits[a][k] && waits[k][b];
    for (uint64_t by = 0; by < 4; by++)
        if (naive_blocks(n, r, by) && waits[by][r->owner.key])
            return true;
    return false;
}

static uint64_t below(struct naive *n, uint64_t limit)
{
    n->seed ^= n->seed << 13;
    n->seed ^= n->seed >> 7;
    n->seed ^= n->seed << 17;
    return (n->seed >> 11) % limit;
}

static struct lm_range some_range(struct naive *n)
{
    uint64_t owner = below(n, OWNERS), first = below(n, BYTES);
    struct lm_range r =
        range(owner, kind_of(owner), (enum lm_range_type)below(n, 3), first,
              first + below(n, BYTES - first));

    r.file = 1 + below(n, FILES);
    return r;
}

static void paint(void *arg, const struct lm_range *r)
{
    struct naive *n = arg;

    for (uint64_t i = r->first; i <= r->last; i++) {
        CHECK_EQ(n->type[r->file][r->owner.key][i], LM_UNLCK); /* disjoint */
        n->type[r->file][r->owner.key][i] = (uint8_t)r->type;
    }
}

static void serve_both(struct naive *n, struct lm_ranges *t)
{
    struct lm_peer peer;
    uint64_t id;

    for (unsigned w = 0; w < WAITERS; w++) {
        struct naive_waiter *x = &n->waiters[w];

        if (!x->is_used || naive_conflict(n, &x->range))
            continue;
        naive_set(n, &x->range);
        x->is_used = false;
        if (!lm_ranges_serve(t, 0, &peer, &id))
            id = 0;
        CHECK_EQ(id, x->id);
        w = (unsigned)-1; /* an unlock by a downgrade: from the start */
    }
    CU_ASSERT_FALSE(lm_ranges_serve(t, 0, &peer, &id));
}

static void wait_both(struct naive *n, struct lm_ranges *t,
                      const struct lm_range *r, uint64_t id)
{
    unsigned w = WAITERS;

    if (naive_deadlock(n, r)) {
        CHECK_ERR(lm_ranges_wait(t, r, id), E_DEADLOCK);
        return;
    }
    while (w > 0 && !n->waiters[w - 1].is_used)
        w--;
    if (w == WAITERS)
        return; /* no room at the end of the line */
    n->waiters[w] = (struct naive_waiter){true, *r, id};
    CHECK_OK(lm_ranges_wait(t, r, id));
}

static void one_step(struct naive *n, struct lm_ranges *t, uint64_t id)
{
    struct lm_range r = some_range(n), other;
    struct naive_waiter *w = &n->waiters[below(n, WAITERS)];

    if (below(n, 4) == 0) {
        CHECK_EQ(lm_ranges_test(t, &r, &other), naive_conflict(n, &r));
    } else if (below(n, 8) == 0) {
        CHECK_EQ(lm_ranges_cancel(t, &w->range.owner.peer, w->id), w->is_used);
        w->is_used = false;
    } else if (naive_conflict(n, &r)) {
        CHECK_ERR(lm_ranges_set(t, &r), E_AGAIN);
        if (below(n, 2))
            wait_both(n, t, &r, id);
    } else {
        CHECK_OK(lm_ranges_set(t, &r));
        naive_set(n, &r);
        serve_both(n, t);
    }
}

static void random_histories_agree_with_a_map_of_bytes(void)
{
    struct naive n = {.seed = 1};
    struct lm_ranges *t;

    CHECK_OK_FATAL(lm_ranges_new(10000, &t));
    for (uint64_t i = 1; i <= STEPS / TEST_ONE_IN; i++) {
        struct naive seen = {0};

        one_step(&n, t, i);
        lm_ranges_each(t, 0, paint, &seen);
        if (!CHECK_EQ(memcmp(seen.type, n.type, sizeof n.type), 0))
            break;
    }
    lm_ranges_free(t);
}

static const struct test tests[] = {
    TEST(locks_split_merge_and_change_their_type),
    TEST(a_refused_upgrade_changes_nothing),
    TEST(getlk_names_the_one_in_the_way),
    TEST(ofd_and_posix_exclude_each_other_flock_does_not),
    TEST(a_refused_flock_conversion_loses_what_was_held),
    TEST(who_waits_is_served_in_order),
    TEST(a_circle_across_files_and_nodes_is_a_deadlock),
    TEST(ofd_locks_wait_in_circles_as_on_linux),
    TEST(a_peer_beyond_its_bound_gets_no_more_locks),
    TEST(all_of_a_fenced_peer_is_dropped),
    TEST(what_is_no_lock_is_refused),
    TEST(random_histories_agree_with_a_map_of_bytes),
};
TEST_SUITE("lockmgr/range", tests);
