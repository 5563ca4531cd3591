/* tests/unit/fs/test_nodes.c - one volume, three nodes: one coordinates, the
 * others reach it over a network that breaks.  All see one file.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/nodes_world.h"

#include <stdio.h>
#include <string.h>

static void what_one_writes_the_others_read_at_once(void)
{
    char text[] = "the quick brown fox", buf[sizeof text] = "";
    struct cluster c;
    uint64_t count;
    fs_attr attr;

    cluster_init(&c);
    cluster_open(&c, "file");
    for (uint32_t writer = 1; writer <= NODES; writer++) {
        text[0] = (char)('0' + writer);
        CHECK_OK(cluster_data(&c, writer, FS_IO_WRITE, 5000 * writer, text,
                              sizeof text, NULL));
        for (uint32_t i = 1; i <= NODES; i++) {
            CHECK_OK(fs_path_stat(c.nodes[i].client, "file", &attr));
            CHECK_EQ(attr.size_bytes, 5000 * writer + sizeof text);
            CHECK_OK(cluster_data(&c, i, FS_IO_READ, 5000 * writer, buf,
                                  sizeof buf, &count));
            CHECK_EQ(count, sizeof buf);
            CHECK_EQ(memcmp(buf, text, sizeof buf), 0);
        }
    }
    cluster_close(&c);
    cluster_fini(&c);
}

enum { STEPS = 600 };

/* -- random histories against a model -------------------------------------- */

static void all_nodes_agree_with_the_model(void)
{
    static struct model m;
    struct cluster c;

    m = (struct model){.size = 0};
    cluster_init(&c);
    cluster_open(&c, "file");
    for (int i = 0; i < STEPS; i++)
        cluster_step(&c, &m);
    cluster_close(&c);
    cluster_fini(&c);
}

/* The connection breaks under what is on its way. */
static void a_broken_connection_changes_nothing(void)
{
    static struct model m;
    struct cluster c;

    m = (struct model){.size = 0};
    cluster_init(&c);
    c.seed = 77;
    cluster_open(&c, "file");
    for (int i = 0; i < STEPS; i++) {
        uint32_t node = 2 + cluster_random(&c, NODES - 1);

        if (i % 3 == 0) {
            transport_hub_cut(c.hub, 1, node);
            transport_hub_heal(c.hub, 1, node);
        }
        cluster_step(&c, &m);
    }
    cluster_close(&c);
    cluster_fini(&c);
}

/* -- many at once ---------------------------------------------------------- */

enum { WRITERS = 48, PIECE = 6000 };

/* Each its own part; parts share blocks. */
static void writers_of_all_nodes_lose_nothing(void)
{
    static uint8_t bytes[WRITERS][PIECE], buf[WRITERS * PIECE];
    static struct waited_io w[WRITERS];
    struct cluster c;
    uint64_t count;

    cluster_init(&c);
    cluster_open(&c, "file");
    for (uint32_t i = 0; i < WRITERS; i++) {
        memset(bytes[i], (int)i + 1, PIECE);
        w[i] = (struct waited_io){
            .iov = {.iov_base = bytes[i], .iov_len = PIECE}
        };
        w[i].io = (struct fs_io){.op = FS_IO_WRITE,
                                 .off_bytes = (uint64_t)i * PIECE,
                                 .len_bytes = PIECE,
                                 .iov = &w[i].iov,
                                 .iov_count = 1};
        cluster_submit(&c, 1 + i % NODES, &w[i]);
    }
    for (uint32_t i = 0; i < WRITERS; i++) {
        world_run_until(&c.v.world, &w[i].done);
        CHECK_OK(w[i].result);
    }
    CHECK_OK(cluster_data(&c, 2, FS_IO_READ, 0, buf, sizeof buf, &count));
    CHECK_EQ(count, sizeof buf);
    CHECK_EQ(memcmp(buf, bytes, sizeof buf), 0);
    cluster_close(&c);
    cluster_fini(&c);
}

/* Recalls to READ and to nothing cross each other and the answers to them. */
static void readers_and_writers_of_all_nodes_get_on(void)
{
    enum { IOS = 300 };
    static uint8_t bytes[IOS][PIECE];
    static struct waited_io w[IOS];
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    for (uint32_t i = 0; i < IOS; i++) {
        memset(bytes[i], (int)i, PIECE);
        w[i] = (struct waited_io){
            .iov = {.iov_base = bytes[i], .iov_len = PIECE}
        };
        w[i].io = (struct fs_io){.op = cluster_random(&c, 2) ? FS_IO_WRITE
                                                             : FS_IO_READ,
                                 .off_bytes = cluster_random(&c, MODEL_BYTES),
                                 .len_bytes = PIECE,
                                 .iov = &w[i].iov,
                                 .iov_count = 1};
        cluster_submit(&c, 1 + cluster_random(&c, NODES), &w[i]);
        if (cluster_random(&c, 4) == 0)
            loop_run_ready(c.v.world.loop);
    }
    for (uint32_t i = 0; i < IOS; i++) {
        world_run_until(&c.v.world, &w[i].done);
        CHECK_OK(w[i].result);
    }
    cluster_close(&c);
    cluster_fini(&c);
}

/* Whatever each believes the end to be: also while the file is redirected. */
static void what_is_appended_is_at_the_end(void)
{
    enum { RECORDS = 60 };
    uint32_t record, buf[RECORDS];
    struct waited_io w;
    struct cluster c;
    uint64_t count;

    cluster_init(&c);
    cluster_open(&c, "file");
    for (record = 0; record < RECORDS; record++) {
        cluster_io(&w, FS_IO_WRITE, 0, &record, sizeof record);
        w.io.append = true;
        CHECK_OK(cluster_run(&c, 1 + record % NODES, &w));
        CHECK_EQ(w.io.off_bytes, record * sizeof record);
    }
    CHECK_OK(cluster_data(&c, 2, FS_IO_READ, 0, buf, sizeof buf, &count));
    CHECK_EQ(count, sizeof buf);
    for (record = 0; record < RECORDS; record++)
        CHECK_EQ(buf[record], record);
    cluster_close(&c);
    cluster_fini(&c);
}

/* -- exactly once (I7) ----------------------------------------------------- */

/* Each create succeeds, once, however often its answer is lost. */
static void a_lost_answer_is_given_again(void)
{
    struct cluster c;
    struct fs_file *file;
    char name[32];
    fs_attr attr;

    cluster_init(&c);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "file%d", i);
        if (i % 2) {
            transport_hub_cut(c.hub, 1, 2);
            transport_hub_heal(c.hub, 1, 2);
        }
        CHECK_OK(
            fs_path_open(c.nodes[2].client, name, &cw_create, &file, &attr));
        CHECK_OK(fs_file_close(file, &cw_create));
        CHECK_OK(fs_path_unlink(c.nodes[2].client, name));
        CHECK_ERR(fs_path_stat(c.nodes[3].client, name, &attr), E_NOENT);
    }
    cluster_fini(&c);
}

/* It cannot be sent at all, and nothing behind it waits for it. */
static void a_name_that_is_too_long_is_refused_everywhere(void)
{
    char name[FS_NAME_MAX + 2];
    struct cluster c;
    fs_attr attr;

    cluster_init(&c);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (uint32_t node = 1; node <= NODES; node++) {
        c.v.link = c.nodes[node].link;
        CHECK_ERR(v_lookup(&c.v, ROOT, name, &attr), E_NAME_TOO_LONG);
        CHECK_ERR(v_lookup(&c.v, ROOT, name + 1, &attr), E_NOENT);
    }
    c.v.link = NULL;
    cluster_fini(&c);
}

/* A node that could not be told gives up its layout when it is back. */
static void a_recall_waits_for_who_is_away(void)
{
    char text[] = "written by two", buf[sizeof text] = "";
    struct waited_io w = {
        .iov = {.iov_base = buf, .iov_len = sizeof buf}
    };
    struct cluster c;

    cluster_init(&c);
    cluster_open(&c, "file");
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    transport_hub_cut(c.hub, 1, 2);
    w.io = (struct fs_io){.op = FS_IO_READ,
                          .len_bytes = sizeof buf,
                          .iov = &w.iov,
                          .iov_count = 1};
    cluster_submit(&c, 3, &w);
    for (int i = 0; i < 1000; i++)
        loop_run_ready(c.v.world.loop);
    CHECK_EQ(w.done, false); /* nothing is released because time passed */
    transport_hub_heal(c.hub, 1, 2);
    world_run_until(&c.v.world, &w.done);
    CHECK_OK(w.result);
    CHECK_EQ(memcmp(buf, text, sizeof buf), 0);
    cluster_close(&c);
    cluster_fini(&c);
}

/* -- another coordinator --------------------------------------------------- */

static void a_new_coordinator_learns_what_is_held(void)
{
    static struct model m;
    struct cluster c;

    m = (struct model){.size = 0};
    cluster_init(&c);
    c.seed = 5;
    cluster_open(&c, "file");
    for (int i = 0; i < STEPS; i++) {
        cluster_step(&c, &m);
        if (i % 10 == 9) {
            cluster_leave(&c);
            cluster_takeover(&c, 1 + cluster_random(&c, NODES));
        }
    }
    cluster_close(&c);
    cluster_fini(&c);
}

/* A file without a name lives on while somebody has it open, also over a
 * takeover. */
static void an_unlinked_file_outlives_a_takeover(void)
{
    char text[] = "still here", buf[sizeof text] = "";
    struct cluster c;
    fs_attr attr;

    cluster_init(&c);
    fs_client_free(TAKE(c.nodes[1].client));
    CHECK_OK_FATAL(fs_path_open(c.nodes[2].client, "file", &cw_create,
                                &c.nodes[2].file, &attr));
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    CHECK_OK(fs_path_unlink(c.nodes[3].client, "file"));
    cluster_leave(&c);
    cluster_takeover(&c, 3);
    CHECK_OK(cluster_data(&c, 2, FS_IO_READ, 0, buf, sizeof buf, NULL));
    CHECK_EQ(memcmp(buf, text, sizeof buf), 0);
    CHECK_OK(fs_file_close(c.nodes[2].file, &cw_create));
    cluster_fini(&c);
}

/* A node that was given up for dead has nothing any more: what it had open
 * unlinked is freed, and its layout is in nobody's way. */
static void a_forgotten_node_is_in_nobodys_way(void)
{
    char text[] = "by three", buf[sizeof text] = "";
    const struct fs_sender two = {2, 102};
    struct waited_io w = {
        .iov = {.iov_base = buf, .iov_len = sizeof buf}
    };
    struct cluster c;
    fs_attr attr;

    cluster_init(&c);
    cluster_open(&c, "file");
    CHECK_OK(cluster_data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    transport_hub_cut(c.hub, 1, 2);
    w.io = (struct fs_io){.op = FS_IO_READ,
                          .len_bytes = sizeof buf,
                          .iov = &w.iov,
                          .iov_count = 1};
    cluster_submit(&c, 3, &w);
    loop_run_ready(c.v.world.loop);
    CHECK_EQ(w.done, false);
    CHECK_OK(fs_coord_forget(c.v.coord, &two));
    world_run_until(&c.v.world, &w.done);
    CHECK_OK(w.result);
    CHECK_EQ(w.io.count_bytes, 0); /* it had committed nothing */
    transport_hub_heal(c.hub, 1, 2);
    CHECK_ERR(fs_path_stat(c.nodes[2].client, "file", &attr), E_FENCED);
    CHECK_ERR(fs_file_close(c.nodes[2].file, &cw_reopen), E_FENCED);
    CHECK_OK(fs_file_close(c.nodes[1].file, &cw_create));
    CHECK_OK(fs_file_close(c.nodes[3].file, &cw_reopen));
    cluster_fini(&c);
}

static const struct test tests[] = {
    TEST(what_one_writes_the_others_read_at_once),
    TEST(all_nodes_agree_with_the_model),
    TEST(a_broken_connection_changes_nothing),
    TEST(writers_of_all_nodes_lose_nothing),
    TEST(readers_and_writers_of_all_nodes_get_on),
    TEST(what_is_appended_is_at_the_end),
    TEST(a_lost_answer_is_given_again),
    TEST(a_name_that_is_too_long_is_refused_everywhere),
    TEST(a_recall_waits_for_who_is_away),
    TEST(a_new_coordinator_learns_what_is_held),
    TEST(an_unlinked_file_outlives_a_takeover),
    TEST(a_forgotten_node_is_in_nobodys_way),
};
TEST_SUITE("fs/nodes", tests);
