/* tests/unit/fs/test_takeover.c - a coordinator as lunard's cluster uses it:
 * its epoch is claimed by another, it is held, it dies with its path to the
 * LUN, it is not there.  Nobody is told an error for it, and everything is
 * carried out exactly once (I4, I7, I14).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/nodes_world.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { WRITES = 1u << STORE_WRITE | 1u << STORE_FLUSH, ALL = UINT32_MAX };

/* -- calls in flight ------------------------------------------------------- */

struct in_flight {
    struct fs_call call;
    char name[16];
    bool done;
    enum err result;
};

static void call_done(struct fs_call *call)
{
    struct in_flight *f = container_of(call, struct in_flight, call);

    CHECK_EQ(f->done, false);
    f->done = true;
    f->result = (enum err)call->reply.error;
    fs_call_fini(call);
}

static void ask(struct cluster *c, uint32_t node, struct in_flight *f, fs_op op)
{
    static char target[] = "";

    f->done = false;
    fs_call_init(&f->call, op);
    f->call.done = call_done;
    if (op == FS_OP_CREATE)
        f->call.request.args.fs_args_u.create =
            (fs_create_args){.parent = ROOT,
                             .name = f->name,
                             .mode = S_IFREG | 0600,
                             .target = target};
    else
        f->call.request.args.fs_args_u.lookup = (fs_name_args){ROOT, f->name};
    fs_link_send(c->nodes[node].link, &f->call);
}

static enum err answer_to(struct cluster *c, struct in_flight *f)
{
    world_run_until(&c->v.world, &f->done);
    return f->result;
}

/* Long enough for anything that nothing keeps back. */
static void run_a_while(struct cluster *c)
{
    struct fs_coord_info info;

    for (int i = 0; i < 200; i++) {
        loop_run_ready(c->v.world.loop);
        if (c->v.coord)
            fs_coord_info(c->v.coord, &info);
        sched_yield();
    }
}

/* -- the epoch is another's ------------------------------------------------ */

static void read_claims(struct cluster *c, uint8_t *buf)
{
    store_mem_peek(c->v.lun, NODE_BLOCKS_AT, buf,
                   (size_t)FS_NODES_MAX * FS_BLOCK_BYTES);
}

static void an_epoch_is_its_owners(void)
{
    static uint8_t before[FS_NODES_MAX * FS_BLOCK_BYTES], after[sizeof before];
    struct cluster c;
    struct super super;

    cluster_init(&c);
    read_claims(&c, before);
    CHECK_EQ(c.super.epoch, 1);
    cluster_leave(&c);
    read_claims(&c, after);
    CHECK_EQ(memcmp(before, after, sizeof before), 0);
    CHECK_OK(super_load(c.v.lun, &super, NULL, NULL));
    CHECK_EQ(super.epoch, 1);
    cluster_fini(&c);
}

static void an_epoch_that_is_not_the_last_is_refused(void)
{
    struct fs_coord_args args = {.node = 2, .host = "h", .incarnation = 102};
    struct fs_coord *coord;
    struct diag why = {{0}};
    struct cluster c;

    cluster_init(&c);
    cluster_leave(&c);
    cluster_claim(&c, 2);
    args.epoch = c.super.epoch - 1;
    CHECK_ERR(fs_coord_start(c.v.lun, &args, &why, &coord), E_EPOCH);
    CHECK_CONTAINS(why.text, "claimed");
    args.epoch = c.super.epoch;
    args.node = 0;
    CHECK_ERR(fs_coord_start(c.v.lun, &args, NULL, &coord), E_INVAL);
    args.node = 2;
    CHECK_OK_FATAL(fs_coord_start(c.v.lun, &args, NULL, &coord));
    fs_coord_stop(coord);
    cluster_fini(&c);
}

/* -- held (I14) ------------------------------------------------------------ */

static void what_comes_while_held_waits(void)
{
    struct in_flight f = {.name = "file"};
    struct fs_coord_info before, after;
    struct cluster c;

    cluster_init(&c);
    for (uint32_t node = 1; node <= NODES; node++) {
        fs_coord_hold(c.v.coord, true);
        fs_coord_info(c.v.coord, &before);
        snprintf(f.name, sizeof f.name, "file%u", node);
        ask(&c, node, &f, FS_OP_CREATE);
        run_a_while(&c);
        CHECK_EQ(f.done, false);
        fs_coord_info(c.v.coord, &after);
        CHECK_EQ(after.inodes, before.inodes); /* nothing is changed, either */
        fs_coord_hold(c.v.coord, false);
        CHECK_OK(answer_to(&c, &f));
    }
    cluster_fini(&c);
}

static uint64_t commits(struct cluster *c)
{
    struct fs_coord_info info;

    fs_coord_info(c->v.coord, &info);
    return info.commits;
}

/* Send a create, and hold when it is committed and its answer on its way; true
 * if that was so, and not too late. */
static bool hold_behind_commit(struct cluster *c, struct in_flight *f)
{
    uint64_t before = commits(c);

    ask(c, 2, f, FS_OP_CREATE);
    while (commits(c) == before) {
        loop_run_ready(c->v.world.loop);
        for (int i = 0; i < 1000 && commits(c) == before; i++)
            sched_yield();
    }
    fs_coord_hold(c->v.coord, true);
    return !f->done;
}

static void an_answer_that_is_not_out_is_kept_back(void)
{
    struct in_flight f;
    struct cluster c;
    int kept = 0;

    cluster_init(&c);
    /* Whether the hold comes between commit and answer is chance. */
    for (int i = 0; kept < 3 && i < 500; i++) {
        snprintf(f.name, sizeof f.name, "file%d", i);
        if (hold_behind_commit(&c, &f)) {
            run_a_while(&c);
            CHECK_EQ(f.done, false);
            kept++;
        }
        fs_coord_hold(c.v.coord, false);
        CHECK_OK(answer_to(&c, &f));
    }
    CU_ASSERT_TRUE(kept > 0);
    cluster_fini(&c);
}

/* Nobody is accused of a recall because we are held; but what it makes room
 * for is not granted. */
static void a_recall_is_answered_while_held(void)
{
    static struct in_flight many[300]; /* more than fit the link */
    char text[] = "written by two", buf[sizeof text] = "";
    struct waited_io w;
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    transport_hub_cut(c.hub, 1, 2);
    cluster_io(&w, FS_IO_READ, 0, buf, sizeof buf);
    cluster_submit(&c, 3, &w);
    run_a_while(&c); /* the recall is made, and not told */
    fs_coord_hold(c.v.coord, true);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        snprintf(many[i].name, sizeof many[i].name, "none%zu", i);
        ask(&c, 2, &many[i], FS_OP_LOOKUP);
    }
    transport_hub_heal(c.hub, 1, 2);
    for (int i = 0; i < 1000 && c.nodes[2].file->layout == FS_IOMODE_RW; i++)
        run_a_while(&c);
    CHECK_EQ(c.nodes[2].file->layout, FS_IOMODE_READ);
    run_a_while(&c);
    CHECK_EQ(w.done, false);
    fs_coord_hold(c.v.coord, false);
    world_run_until(&c.v.world, &w.done);
    CHECK_OK(w.result);
    CHECK_EQ(memcmp(buf, text, sizeof buf), 0);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        CHECK_ERR(answer_to(&c, &many[i]), E_NOENT);
    cluster_close(&c);
    cluster_fini(&c);
}

static void a_takeover_ends_while_held(void)
{
    struct in_flight f = {.name = "file"};
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    cluster_leave(&c);
    cluster_takeover(&c, 2);
    fs_coord_hold(c.v.coord, true);
    ask(&c, 3, &f, FS_OP_LOOKUP);
    run_a_while(&c);
    CHECK_EQ(f.done, false);
    fs_coord_hold(c.v.coord, false);
    CHECK_OK(answer_to(&c, &f));
    cluster_close(&c);
    cluster_fini(&c);
}

/* -- the end of one -------------------------------------------------------- */

/* What waits for a node that is away, or for the end of a hold, is dropped, and
 * the next coordinator answers it. */
static void what_waits_goes_on_elsewhere(void)
{
    char text[] = "written by two", buf[sizeof text] = "";
    struct in_flight held = {.name = "new"};
    struct waited_io w;
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    transport_hub_cut(c.hub, 1, 2);
    cluster_io(&w, FS_IO_READ, 0, buf, sizeof buf);
    cluster_submit(&c, 3, &w);
    run_a_while(&c);
    fs_coord_hold(c.v.coord, true);
    ask(&c, 1, &held, FS_OP_CREATE);
    run_a_while(&c);
    cluster_leave(&c);
    run_a_while(&c);
    CHECK_EQ(w.done || held.done, false);
    cluster_takeover(&c, 3);
    world_run_until(&c.v.world, &w.done);
    CHECK_OK(w.result);
    CHECK_EQ(memcmp(buf, text, sizeof buf), 0);
    CHECK_OK(answer_to(&c, &held));
    cluster_close(&c);
    cluster_fini(&c);
}

enum { CREATES = 24 };

static void check_names(struct cluster *c)
{
    for (uint32_t i = 0; i < CREATES; i++) {
        struct in_flight f;

        snprintf(f.name, sizeof f.name, "file%u", i);
        ask(c, 1 + (i + 1) % NODES, &f, FS_OP_LOOKUP);
        CHECK_OK(answer_to(c, &f));
    }
}

static bool all_are_answered(const struct in_flight *f)
{
    for (uint32_t i = 0; i < CREATES; i++)
        if (!f[i].done)
            return false;
    return true;
}

/* The LUN is gone for the coordinator from its nth operation on, amid batches
 * of all nodes' calls.  Returns whether that happened. */
static bool killed_at(uint64_t nth, uint32_t ops, enum err e)
{
    static struct in_flight f[CREATES];
    struct cluster c;
    bool struck;

    cluster_init(&c);
    cluster_path_fails(&c, 1, ops, nth, e);
    for (uint32_t i = 0; i < CREATES; i++) {
        snprintf(f[i].name, sizeof f[i].name, "file%u", i);
        ask(&c, 1 + i % NODES, &f[i], FS_OP_CREATE);
        if (i % 5 == 0)
            run_a_while(&c);
    }
    while (!c.failures && !all_are_answered(f))
        run_a_while(&c);
    cluster_leave(&c); /* ends, though nothing can be written */
    struck = c.failures > 0;
    CU_ASSERT_TRUE(c.failures <= 1);
    cluster_takeover(&c, 2);
    for (uint32_t i = 0; i < CREATES; i++)
        CHECK_OK(answer_to(&c, &f[i])); /* twice would be E_EXIST */
    check_names(&c);
    cluster_path_fails(&c, 1, 0, 0, E_OK);
    cluster_fini(&c);
    return struck;
}

static void a_coordinator_that_dies_is_not_noticed(void)
{
    for (uint64_t nth = 1; killed_at(nth, WRITES, E_FENCED); nth++)
        ;
}

static void one_that_is_fenced_while_it_reads_is_not_either(void)
{
    struct in_flight f = {.name = "nothing"};
    struct cluster c;

    CU_ASSERT_TRUE(killed_at(1, ALL, E_LUN_GONE));
    cluster_init(&c);
    cluster_leave(&c);
    cluster_takeover(&c, 1); /* with a cold cache */
    run_a_while(&c);
    cluster_path_fails(&c, 1, ALL, 1, E_FENCED);
    ask(&c, 3, &f, FS_OP_LOOKUP);
    run_a_while(&c);
    cluster_leave(&c);
    cluster_takeover(&c, 2);
    CHECK_ERR(answer_to(&c, &f), E_NOENT);
    cluster_path_fails(&c, 1, 0, 0, E_OK);
    cluster_fini(&c);
}

/* -- nobody coordinates, for good ------------------------------------------ */

static void a_link_that_is_cut_lets_everything_end(void)
{
    char text[] = "never committed";
    struct in_flight f = {.name = "file"};
    struct waited_io w;
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    cluster_leave(&c);
    for (uint32_t i = 1; i <= NODES; i++)
        fs_net_aim(c.nodes[i].link, 0);
    ask(&c, 2, &f, FS_OP_LOOKUP);
    w = (struct waited_io){.io.op = FS_IO_SYNC};
    cluster_submit(&c, 2, &w);
    run_a_while(&c);
    CHECK_EQ(f.done || w.done, false);
    fs_net_cut(c.nodes[2].link, E_VOL_OFFLINE);
    CHECK_ERR(answer_to(&c, &f), E_VOL_OFFLINE);
    world_run_until(&c.v.world, &w.done);
    CHECK_ERR(w.result, E_VOL_OFFLINE);
    CHECK_ERR(fs_file_close(c.nodes[2].file, &cw_reopen), E_VOL_OFFLINE);
    fs_client_free(TAKE(c.nodes[2].client));
    cluster_takeover(&c, 1);
    CHECK_OK(fs_coord_forget(c.v.coord, &(struct fs_sender){2, 102}));
    CHECK_OK(fs_file_close(c.nodes[1].file, &cw_create));
    CHECK_OK(fs_file_close(c.nodes[3].file, &cw_reopen));
    cluster_fini(&c);
}

static const struct test tests[] = {
    TEST(an_epoch_is_its_owners),
    TEST(an_epoch_that_is_not_the_last_is_refused),
    TEST(what_comes_while_held_waits),
    TEST(an_answer_that_is_not_out_is_kept_back),
    TEST(a_recall_is_answered_while_held),
    TEST(a_takeover_ends_while_held),
    TEST(what_waits_goes_on_elsewhere),
    TEST(a_coordinator_that_dies_is_not_noticed),
    TEST(one_that_is_fenced_while_it_reads_is_not_either),
    TEST(a_link_that_is_cut_lets_everything_end),
};
TEST_SUITE("fs/takeover", tests);
