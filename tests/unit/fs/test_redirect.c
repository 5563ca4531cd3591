/* tests/unit/fs/test_redirect.c - nodes without a path to the LUN, and nodes
 * that write one file in turns: their I/O goes by way of the coordinator, and
 * nobody can tell but by the time it takes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/nodes_world.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 6000, STEPS = 600 };

static struct fs_client_info info_of(struct cluster *c, uint32_t node)
{
    struct fs_client_info info;

    fs_client_info(c->nodes[node].client, &info);
    return info;
}

static void run_a_while(struct cluster *c)
{
    for (int i = 0; i < 300; i++) {
        loop_run_ready(c->v.world.loop);
        sched_yield();
    }
}

static void check_reads(struct cluster *c, uint32_t node, uint64_t off,
                        const char *text, size_t len)
{
    char buf[64] = "";
    uint64_t count;

    CHECK_OK(cluster_data(c, node, FS_IO_READ, off, buf, len, &count));
    CHECK_EQ(count, len);
    CHECK_EQ(memcmp(buf, text, len), 0);
}

/* -- no path --------------------------------------------------------------- */

static void without_a_path_all_goes_on(void)
{
    char text[] = "by way of one";
    struct waited_io sync = {.io.op = FS_IO_SYNC};
    struct fs_client_info info;
    struct cluster c;
    fs_attr attr;

    cluster_init(&c);
    cluster_open(&c, "file");
    cluster_path(&c, 2, false);
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 5000, text, sizeof text, NULL));
    CHECK_OK(cluster_run(&c, 2, &sync));
    for (uint32_t i = 1; i <= NODES; i++) {
        check_reads(&c, i, 5000, text, sizeof text);
        CHECK_OK(fs_path_stat(c.nodes[i].client, "file", &attr));
        CHECK_EQ(attr.size_bytes, 5000 + sizeof text);
        CU_ASSERT_TRUE(attr.mtime.s > 0);
    }
    info = info_of(&c, 2);
    CHECK_EQ(info.redirected, true);
    CHECK_CONTAINS(info.reason, "no path");
    CU_ASSERT_TRUE(info.since_ns > 0);
    CHECK_EQ(info.redirected_ios, 2);
    CHECK_EQ(info.redirected_bytes, 2 * sizeof text);
    CHECK_EQ(info.direct_ios, 0);
    CHECK_EQ(info_of(&c, 3).redirected, false);
    CHECK_EQ(info_of(&c, 3).redirected_ios, 0);
    CHECK_EQ(info_of(&c, 3).direct_bytes, sizeof text);
    cluster_close(&c);
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

static void with_a_path_again_it_is_direct(void)
{
    char text[] = "direct again";
    struct fs_client_info info;
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    cluster_path(&c, 2, false);
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    cluster_path(&c, 2, true);
    text[0] = 'D';
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    info = info_of(&c, 2);
    CHECK_EQ(info.redirected, false);
    CHECK_EQ(info.redirected_ios, 1);
    CHECK_EQ(info.direct_ios, 1);
    check_reads(&c, 3, 0, text, sizeof text);
    cluster_close(&c);
    cluster_fini(&c);
}

/* What it has written and not committed when the path goes is committed by way
 * of the coordinator, too. */
static void what_was_not_committed_is_not_lost(void)
{
    char text[] = "written, and then the cable was pulled";
    struct waited_io sync = {.io.op = FS_IO_SYNC};
    struct cluster c;

    for (int synced = 0; synced < 2; synced++) {
        cluster_init(&c);
        cluster_open(&c, "file");
        CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
        cluster_path(&c, 2, false);
        if (synced)
            CHECK_OK(cluster_run(&c, 2, &sync));
        check_reads(&c, 2, 0, text, sizeof text);
        check_reads(&c, 3, 0, text, sizeof text);
        cluster_close(&c);
        cluster_path(&c, 2, true);
        cluster_fini(&c);
    }
}

/* More at once than there are calls: they wait for what is not committed here,
 * and that does not wait behind them. */
static void many_at_once_do_not_wait_for_each_other(void)
{
    enum { IOS = 40 };
    static uint8_t bytes[IOS][PIECE], buf[IOS * PIECE];
    static struct waited_io w[IOS];
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, buf, sizeof buf, NULL));
    cluster_path(&c, 2, false);
    for (uint32_t i = 0; i < IOS; i++) {
        memset(bytes[i], (int)i + 1, PIECE);
        cluster_io(&w[i], FS_IO_WRITE, (uint64_t)i * PIECE, bytes[i], PIECE);
        cluster_submit(&c, 2, &w[i]);
    }
    for (uint32_t i = 0; i < IOS; i++) {
        world_run_until(&c.v.world, &w[i].done);
        CHECK_OK(w[i].result);
    }
    CHECK_OK(cluster_data(&c, 3, FS_IO_READ, 0, buf, sizeof buf, NULL));
    CHECK_EQ(memcmp(buf, bytes, sizeof buf), 0);
    cluster_close(&c);
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

/* I13: what failed with the path is not sent another way before the owner has
 * said that it cannot land any more. */
static void what_failed_waits_for_the_fence(void)
{
    char text[] = "once", old[sizeof text] = "";
    struct waited_io w, sync = {.io.op = FS_IO_SYNC};
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, old, sizeof old, NULL));
    cluster_path_fails(&c, 2, UINT32_MAX, 1, E_LUN_GONE);
    cluster_io(&w, FS_IO_WRITE, 0, text, sizeof text);
    cluster_submit(&c, 2, &w);
    cluster_submit(&c, 2, &sync);
    run_a_while(&c);
    CHECK_EQ(w.done || sync.done, false);
    CHECK_EQ(info_of(&c, 2).redirected, false);
    fs_client_set_path(c.nodes[2].client, false);
    world_run_until(&c.v.world, &w.done);
    world_run_until(&c.v.world, &sync.done);
    CHECK_OK(w.result);
    CHECK_OK(sync.result);
    CHECK_EQ(info_of(&c, 2).redirected_ios, 1);
    check_reads(&c, 3, 0, text, sizeof text);
    cluster_close(&c);
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

static void or_for_the_path(void)
{
    char text[] = "once";
    struct waited_io w;
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    cluster_path_fails(&c, 2, UINT32_MAX, 1, E_RESERVED);
    cluster_io(&w, FS_IO_WRITE, 0, text, sizeof text);
    cluster_submit(&c, 2, &w);
    run_a_while(&c);
    CHECK_EQ(w.done, false);
    cluster_path(&c, 2, true);
    world_run_until(&c.v.world, &w.done);
    CHECK_OK(w.result);
    CHECK_EQ(info_of(&c, 2).redirected_ios, 0);
    cluster_close(&c);
    cluster_fini(&c);
}

/* More than a message holds, in an array of more pieces than one has. */
static void large_ones_are_cut(void)
{
    enum { COUNT = 40, EACH = 70001 };
    static uint8_t bytes[COUNT * EACH], buf[sizeof bytes + 10];
    struct iovec iov[COUNT];
    struct waited_io w;
    struct cluster c;
    uint64_t count;

    pattern_fill(bytes, sizeof bytes, 3, 0);
    for (size_t i = 0; i < COUNT; i++)
        iov[i] = (struct iovec){bytes + i * EACH, EACH};
    cluster_init(&c);
    cluster_open(&c, "file");
    cluster_path(&c, 3, false);
    cluster_io(&w, FS_IO_WRITE, 77, NULL, sizeof bytes);
    w.io.iov = iov;
    w.io.iov_count = COUNT;
    CHECK_OK(cluster_run(&c, 3, &w));
    CHECK_EQ(w.io.count_bytes, sizeof bytes);
    CHECK_OK(cluster_data(&c, 3, FS_IO_READ, 77, buf, sizeof buf, &count));
    CHECK_EQ(count, sizeof bytes);
    CHECK_EQ(memcmp(buf, bytes, sizeof bytes), 0);
    CHECK_OK(cluster_data(&c, 2, FS_IO_READ, 77, buf, sizeof buf, &count));
    CHECK_EQ(count, sizeof bytes);
    CHECK_EQ(memcmp(buf, bytes, sizeof bytes), 0);
    cluster_close(&c);
    cluster_path(&c, 3, true);
    cluster_fini(&c);
}

/* -- random histories ------------------------------------------------------ */

/* Paths come and go, connections break, coordinators move; the coordinator
 * itself has a path. */
static void change_the_world(struct cluster *c)
{
    uint32_t node = 1 + cluster_random(c, NODES), was;

    switch (cluster_random(c, 7)) {
    case 0:
    case 1:
        if (node != c->coordinator)
            cluster_path(c, node, false);
        break;
    case 2:
    case 3: cluster_path(c, node, true); break;
    case 4:
        if (node == c->coordinator)
            break;
        transport_hub_cut(c->hub, node, c->coordinator);
        transport_hub_heal(c->hub, node, c->coordinator);
        break;
    case 5: /* it dies: what it had not committed is lost */
        cluster_path_fails(c, c->coordinator, UINT32_MAX, 1, E_LUN_GONE);
        was = c->coordinator;
        cluster_leave(c);
        cluster_path(c, was, true);
        cluster_path(c, node, true);
        cluster_takeover(c, node);
        break;
    default:
        cluster_leave(c);
        cluster_path(c, node, true);
        cluster_takeover(c, node);
    }
}

static void all_paths_back(struct cluster *c)
{
    for (uint32_t i = 1; i <= NODES; i++)
        cluster_path(c, i, true);
}

static void nodes_agree_whatever_the_way(void)
{
    static struct model m;
    struct cluster c;
    uint64_t redirected = 0;

    for (uint64_t seed = 1; seed <= 3; seed++) {
        m = (struct model){.size = 0};
        cluster_init(&c);
        c.seed = seed * 7919;
        cluster_open(&c, "file");
        for (int i = 0; i < STEPS; i++) {
            if (i % 5 == 0)
                change_the_world(&c);
            cluster_step(&c, &m);
        }
        for (uint32_t i = 1; i <= NODES; i++)
            redirected += info_of(&c, i).redirected_ios;
        cluster_close(&c);
        all_paths_back(&c);
        cluster_fini(&c);
    }
    CU_ASSERT_TRUE(redirected > STEPS / 4);
}

/* Many in flight, while the world changes under them.  Each writes its own
 * part; parts share blocks. */
static void nothing_in_flight_is_lost(void)
{
    enum { IOS = 120, ROUNDS = 6 };
    static uint8_t bytes[IOS][PIECE], buf[IOS * PIECE];
    static struct waited_io w[IOS];
    struct cluster c;
    uint64_t count;

    cluster_init(&c);
    c.seed = 4711;
    cluster_open(&c, "file");
    for (int round = 1; round <= ROUNDS; round++) {
        for (uint32_t i = 0; i < IOS; i++) {
            memset(bytes[i], (int)(i * 7 + (unsigned)round), PIECE);
            cluster_io(&w[i], FS_IO_WRITE, (uint64_t)i * PIECE, bytes[i],
                       PIECE);
            cluster_submit(&c, 1 + cluster_random(&c, NODES), &w[i]);
            if (cluster_random(&c, 8) == 0)
                change_the_world(&c);
            if (cluster_random(&c, 4) == 0)
                loop_run_ready(c.v.world.loop);
        }
        for (uint32_t i = 0; i < IOS; i++) {
            world_run_until(&c.v.world, &w[i].done);
            CHECK_OK(w[i].result);
        }
        CHECK_OK(cluster_data(&c, 1 + cluster_random(&c, NODES), FS_IO_READ, 0,
                              buf, sizeof buf, &count));
        CHECK_EQ(count, sizeof buf);
        CHECK_EQ(memcmp(buf, bytes, sizeof buf), 0);
    }
    cluster_close(&c);
    all_paths_back(&c);
    cluster_fini(&c);
}

/* -- a full connection ----------------------------------------------------- */

/* A transport without room now and then; it says when there is some. */
struct narrow {
    struct transport base;
    struct transport *below;
    struct cluster *c;
    struct transport_ear *ear;
    struct task task;
    bool posted;
    unsigned refused;
};

static void has_room(struct task *task)
{
    struct narrow *n = container_of(task, struct narrow, task);

    n->posted = false;
    n->ear->writable(n->ear, n->c->coordinator);
}

static enum err narrow_send(struct transport *t, uint32_t host,
                            const struct iovec *iov, int iov_count,
                            size_t count)
{
    struct narrow *n = container_of(t, struct narrow, base);

    (void)count;
    if (host != n->c->coordinator || cluster_random(n->c, 3))
        return transport_sendv(n->below, host, iov, iov_count);
    n->refused++;
    if (!n->posted)
        loop_post(n->c->v.world.loop, &n->task);
    n->posted = true;
    return E_AGAIN;
}

static const struct transport_ops narrow_ops = {narrow_send, NULL};

static void a_full_connection_is_waited_for(void)
{
    static struct model m;
    struct narrow n = {.base.ops = &narrow_ops, .task.run = has_room};
    struct cluster c;

    m = (struct model){.size = 0};
    cluster_init(&c);
    cluster_open(&c, "file");
    n.below = c.nodes[2].transport;
    n.c = &c;
    n.ear = fs_net_ear(c.nodes[2].net);
    fs_net_attach(c.nodes[2].net, &n.base);
    cluster_path(&c, 2, false);
    for (int i = 0; i < STEPS / 2; i++)
        cluster_step(&c, &m);
    CU_ASSERT_TRUE(n.refused > 20);
    loop_run_ready(c.v.world.loop);
    fs_net_attach(c.nodes[2].net, n.below);
    cluster_close(&c);
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

/* -- resends --------------------------------------------------------------- */

/* A write whose answer is lost is sent again, while another node has written
 * the same place since: the later one stays. */
static void a_late_twin_changes_nothing(void)
{
    char first[] = "first -", second[] = "second-", buf[sizeof first] = "";
    struct waited_io w;
    struct cluster c;
    int twins = 0;

    cluster_init(&c);
    cluster_open(&c, "file");
    cluster_path(&c, 2, false);
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, first, sizeof first, NULL));
    for (int i = 0; i < 60; i++) {
        bool carried_out;

        first[6] = second[6] = (char)('0' + i);
        cluster_io(&w, FS_IO_WRITE, 0, first, sizeof first);
        cluster_submit(&c, 2, &w);
        for (int turns = 0; turns < i; turns++)
            loop_run_ready(c.v.world.loop);
        transport_hub_cut(c.hub, 1, 2);
        run_a_while(&c);
        CHECK_OK(cluster_data(&c, 3, FS_IO_READ, 0, buf, sizeof buf, NULL));
        carried_out = memcmp(buf, first, sizeof buf) == 0;
        twins += carried_out && !w.done;
        CHECK_OK(
            cluster_data(&c, 3, FS_IO_WRITE, 0, second, sizeof second, NULL));
        transport_hub_heal(c.hub, 1, 2);
        world_run_until(&c.v.world, &w.done);
        CHECK_OK(w.result);
        CHECK_OK(cluster_data(&c, 3, FS_IO_READ, 0, buf, sizeof buf, NULL));
        /* One that was not there may have come before the second or after. */
        CU_ASSERT_TRUE(memcmp(buf, second, sizeof buf) == 0 ||
                       (!carried_out && memcmp(buf, first, sizeof buf) == 0));
    }
    CU_ASSERT_TRUE(twins > 0);
    cluster_close(&c);
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

/* -- fences ---------------------------------------------------------------- */

/* Redirected I/O of a node that waits for what another has never reaches the
 * LUN once the node is forgotten, and does not keep forgetting waiting. */
static void a_forgotten_author_writes_nothing(void)
{
    char late[] = "too late", text[] = "in time.";
    const struct fs_sender two = cluster_run_of(2), three = cluster_run_of(3);
    struct waited_io w;
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    CHECK_OK(cluster_data(&c, 1, FS_IO_WRITE, 0, text, sizeof text, NULL));
    CHECK_OK(cluster_data(&c, 3, FS_IO_WRITE, 9000, late, sizeof late, NULL));
    cluster_path(&c, 2, false);
    transport_hub_cut(c.hub, 1, 3); /* it will not answer the recall */
    cluster_io(&w, FS_IO_WRITE, 0, late, sizeof late);
    cluster_submit(&c, 2, &w);
    run_a_while(&c);
    CHECK_EQ(w.done, false);
    CHECK_OK(fs_coord_forget(c.v.coord, &two));
    CHECK_OK(fs_coord_forget(c.v.coord, &three));
    world_run_until(&c.v.world, &w.done);
    CHECK_ERR(w.result, E_FENCED);
    run_a_while(&c);
    check_reads(&c, 1, 0, text, sizeof text);
    transport_hub_heal(c.hub, 1, 3);
    CHECK_ERR(fs_file_close(c.nodes[2].file, &cw_reopen), E_FENCED);
    CHECK_ERR(fs_file_close(c.nodes[3].file, &cw_reopen), E_FENCED);
    CHECK_OK(fs_file_close(c.nodes[1].file, &cw_create));
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

/* A LUN whose writes of the test's own loop wait to be let go. */
struct slow {
    struct store base;
    struct store *below;
    struct store_io *held[8];
    unsigned count, landed;
    struct loop *let_go_loop;
    struct timer let_go;
};

static enum err slow_submit(struct store *base, struct store_io *io)
{
    struct slow *s = container_of(base, struct slow, base);

    if (io->op != STORE_WRITE || loop_self() != s->let_go_loop ||
        s->count == ARRAY_LEN(s->held))
        return store_submit(s->below, io);
    s->held[s->count++] = io;
    return E_OK;
}

static const struct store_ops slow_ops = {"slow", slow_submit, NULL};

static void let_go(struct timer *t)
{
    struct slow *s = container_of(t, struct slow, let_go);

    while (s->landed < s->count)
        CHECK_OK(store_submit(s->below, s->held[s->landed++]));
}

/* What of it is on its way to the LUN when it is forgotten has landed before
 * anything of it is another's. */
static void forgetting_waits_for_what_is_on_its_way(void)
{
    char late[] = "on its way";
    const struct fs_sender two = cluster_run_of(2);
    struct slow slow = {.let_go.fire = let_go};
    struct waited_io w;
    struct cluster c;

    cluster_init(&c);
    cluster_leave(&c);
    slow.base = *c.nodes[1].lun;
    slow.base.ops = &slow_ops;
    slow.below = c.nodes[1].lun;
    slow.let_go_loop = c.v.world.loop;
    c.nodes[1].lun = &slow.base;
    cluster_takeover(&c, 1);
    c.nodes[1].lun = slow.below;
    cluster_open(&c, "file");
    cluster_path(&c, 2, false);
    cluster_io(&w, FS_IO_WRITE, 0, late, sizeof late);
    cluster_submit(&c, 2, &w);
    while (!slow.count)
        loop_run_ready(c.v.world.loop);
    loop_timer_set(c.v.world.loop, &slow.let_go, 20);
    CHECK_OK(fs_coord_forget(c.v.coord, &two));
    CHECK_EQ(slow.landed, slow.count);
    world_run_until(&c.v.world, &w.done);
    CHECK_ERR(w.result, E_FENCED);
    CHECK_ERR(fs_file_close(c.nodes[2].file, &cw_reopen), E_FENCED);
    CHECK_OK(fs_file_close(c.nodes[1].file, &cw_create));
    CHECK_OK(fs_file_close(c.nodes[3].file, &cw_reopen));
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

/* -- I14, and death -------------------------------------------------------- */

static void nothing_is_read_for_others_while_held(void)
{
    char text[] = "held", buf[sizeof text] = "";
    struct waited_io w;
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    cluster_path(&c, 2, false);
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    fs_coord_hold(c.v.coord, true);
    cluster_io(&w, FS_IO_READ, 0, buf, sizeof buf);
    cluster_submit(&c, 2, &w);
    run_a_while(&c);
    CHECK_EQ(w.done, false);
    cluster_leave(&c); /* which ends, though the hold does not */
    cluster_takeover(&c, 3);
    world_run_until(&c.v.world, &w.done);
    CHECK_OK(w.result);
    CHECK_EQ(memcmp(buf, text, sizeof buf), 0);
    cluster_close(&c);
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

/* The author has no copy of what it was told is written. */
static void what_was_answered_outlives_the_coordinator(void)
{
    char text[64];
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    cluster_path(&c, 2, false);
    for (uint64_t i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "written in epoch %u", (unsigned)i);
        CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, i * 3000, text, sizeof text,
                              NULL));
        cluster_path_fails(&c, c.coordinator, UINT32_MAX, 1, E_LUN_GONE);
        cluster_leave(&c);
        cluster_path(&c, 1, true);
        cluster_path(&c, 3, true);
        cluster_takeover(&c, i % 2 ? 1 : 3);
        check_reads(&c, 2, i * 3000, text, sizeof text);
    }
    cluster_close(&c);
    cluster_path(&c, 2, true);
    cluster_fini(&c);
}

/* -- turns ----------------------------------------------------------------- */

static bool in_turns(struct cluster *c)
{
    return info_of(c, 1).redirected && info_of(c, 2).redirected;
}

/* Two hosts that write in turns are redirected, both, and when only one goes
 * on it is direct again.  No clock is waited for but by writing. */
static void hosts_that_take_turns_are_redirected(void)
{
    char text[16];
    struct cluster c;
    uint64_t before;
    int turns = 0;

    cluster_init(&c);
    cluster_open(&c, "file");
    for (; turns < 1000 && !in_turns(&c); turns++) {
        snprintf(text, sizeof text, "turn %d", turns);
        CHECK_OK(cluster_data(&c, 1 + (uint32_t)turns % 2, FS_IO_WRITE, 0, text,
                              sizeof text, NULL));
        check_reads(&c, 1 + (uint32_t)(turns + 1) % 2, 0, text, sizeof text);
    }
    CHECK_EQ(in_turns(&c), true);
    CHECK_CONTAINS(info_of(&c, 1).reason, "turns");
    before = info_of(&c, 1).direct_ios;
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "redirect %d", i);
        CHECK_OK(cluster_data(&c, 1 + (uint32_t)i % 2, FS_IO_WRITE, 0, text,
                              sizeof text, NULL));
        check_reads(&c, 3, 0, text, sizeof text);
    }
    CHECK_EQ(info_of(&c, 1).direct_ios, before);
    while (info_of(&c, 1).direct_ios == before)
        CHECK_OK(cluster_data(&c, 1, FS_IO_WRITE, 0, text, sizeof text, NULL));
    CHECK_EQ(info_of(&c, 1).redirected, false);
    check_reads(&c, 2, 0, text, sizeof text);
    cluster_close(&c);
    cluster_fini(&c);
}

static const struct test tests[] = {
    TEST(without_a_path_all_goes_on),
    TEST(with_a_path_again_it_is_direct),
    TEST(what_was_not_committed_is_not_lost),
    TEST(many_at_once_do_not_wait_for_each_other),
    TEST(what_failed_waits_for_the_fence),
    TEST(or_for_the_path),
    TEST(large_ones_are_cut),
    TEST(nodes_agree_whatever_the_way),
    TEST(nothing_in_flight_is_lost),
    TEST(a_full_connection_is_waited_for),
    TEST(a_late_twin_changes_nothing),
    TEST(a_forgotten_author_writes_nothing),
    TEST(forgetting_waits_for_what_is_on_its_way),
    TEST(nothing_is_read_for_others_while_held),
    TEST(what_was_answered_outlives_the_coordinator),
    TEST(hosts_that_take_turns_are_redirected),
};
TEST_SUITE("fs/redirect", tests);
