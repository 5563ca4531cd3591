/* tests/unit/fs/test_nodes.c - one volume, three nodes: one coordinates, the
 * others reach it over a network that breaks.  All see one file.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport.h"
#include "tests/unit/fs/client_world.h"

#include <stdio.h>
#include <string.h>

enum { NODES = 3, MODEL_BYTES = 96 << 10, STEPS = 600 };

struct node {
    struct fs_net *net;
    struct transport *transport;
    struct fs_link *link;
    struct fs_client *client;
    struct fs_file *file;
};

struct cluster {
    struct volume v;
    struct transport_hub *hub;
    struct node nodes[NODES + 1]; /* from 1 on; 1 coordinates */
    struct fs_super_info super;
    uint64_t seed;
};

/* -- the world ------------------------------------------------------------- */

static void client_start(struct cluster *c, struct node *n)
{
    const struct fs_client_args args = {
        .lun = c->v.lun, .link = n->link, .loop = c->v.world.loop};

    CHECK_OK_FATAL(fs_client_new(&args, &n->client));
}

static void cluster_init(struct cluster *c)
{
    memset(c, 0, sizeof *c);
    c->seed = 1;
    volume_init(&c->v, 256 * MIB);
    CHECK_OK_FATAL(fs_super_probe(c->v.lun, &c->super, NULL));
    CHECK_OK_FATAL(transport_hub_new(&c->hub));
    for (uint32_t i = 1; i <= NODES; i++) {
        struct node *n = &c->nodes[i];
        const struct fs_sender self = {i, 100 + i};

        CHECK_OK_FATAL(fs_net_new(c->v.world.loop, &self, &n->net));
        CHECK_OK_FATAL(transport_hub_join(c->hub, i, self.incarnation,
                                          c->v.world.loop, fs_net_ear(n->net),
                                          &n->transport));
        fs_net_attach(n->net, n->transport);
    }
    CHECK_OK_FATAL(fs_net_serve(c->nodes[1].net, c->super.uuid, c->v.coord));
    c->nodes[1].link = c->v.link;
    for (uint32_t i = 2; i <= NODES; i++)
        CHECK_OK_FATAL(
            fs_net_reach(c->nodes[i].net, c->super.uuid, 1, &c->nodes[i].link));
    for (uint32_t i = 1; i <= NODES; i++)
        client_start(c, &c->nodes[i]);
}

struct flag_task {
    struct task task;
    bool done;
};

static void set_flag(struct task *task)
{
    container_of(task, struct flag_task, task)->done = true;
}

static void leave(struct cluster *c)
{
    struct flag_task left = {.task.run = set_flag};

    fs_net_leave(c->nodes[1].net, c->super.uuid, &left.task);
    world_run_until(&c->v.world, &left.done);
}

static void cluster_fini(struct cluster *c)
{
    for (uint32_t i = 1; i <= NODES; i++)
        fs_client_free(c->nodes[i].client);
    for (uint32_t i = 2; i <= NODES; i++)
        fs_net_forget(c->nodes[i].link);
    leave(c);
    for (uint32_t i = 1; i <= NODES; i++)
        transport_close(c->nodes[i].transport);
    loop_run_ready(c->v.world.loop);
    transport_hub_free(c->hub);
    for (uint32_t i = 1; i <= NODES; i++)
        fs_net_free(c->nodes[i].net);
    volume_stop(&c->v);
    volume_check_clean(&c->v);
    store_close(c->v.lun);
    world_fini(&c->v.world);
}

static uint32_t random_below(struct cluster *c, uint32_t n)
{
    c->seed = c->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(c->seed >> 33) % n;
}

/* -- one file, open on every node ------------------------------------------ */

static void open_everywhere(struct cluster *c, const char *name)
{
    fs_attr attr;

    for (uint32_t i = 1; i <= NODES; i++)
        CHECK_OK_FATAL(fs_path_open(c->nodes[i].client, name,
                                    i == 1 ? &cw_create : &cw_reopen,
                                    &c->nodes[i].file, &attr));
}

static void close_everywhere(struct cluster *c)
{
    for (uint32_t i = 1; i <= NODES; i++)
        CHECK_OK(
            fs_file_close(c->nodes[i].file, i == 1 ? &cw_create : &cw_reopen));
}

static void io_done(struct fs_io *io, enum err e)
{
    struct waited_io *w = container_of(io, struct waited_io, io);

    w->done = true;
    w->result = e;
}

static void submit(struct cluster *c, uint32_t node, struct waited_io *w)
{
    (void)c;
    w->done = false;
    w->io.file = c->nodes[node].file;
    w->io.done = io_done;
    fs_io_submit(c->nodes[node].client, &w->io);
}

static enum err run(struct cluster *c, uint32_t node, struct waited_io *w)
{
    submit(c, node, w);
    world_run_until(&c->v.world, &w->done);
    return w->result;
}

static enum err data(struct cluster *c, uint32_t node, enum fs_io_op op,
                     uint64_t off, void *buf, uint64_t len, uint64_t *ret_count)
{
    struct waited_io w = {
        .iov = {.iov_base = buf, .iov_len = len}
    };
    enum err e;

    w.io = (struct fs_io){.op = op,
                          .off_bytes = off,
                          .len_bytes = len,
                          .iov = &w.iov,
                          .iov_count = 1};
    e = run(c, node, &w);
    if (ret_count)
        *ret_count = w.io.count_bytes;
    return e;
}

static void what_one_writes_the_others_read_at_once(void)
{
    char text[] = "the quick brown fox", buf[sizeof text] = "";
    struct cluster c;
    uint64_t count;
    fs_attr attr;

    cluster_init(&c);
    open_everywhere(&c, "file");
    for (uint32_t writer = 1; writer <= NODES; writer++) {
        text[0] = (char)('0' + writer);
        CHECK_OK(data(&c, writer, FS_IO_WRITE, 5000 * writer, text, sizeof text,
                      NULL));
        for (uint32_t i = 1; i <= NODES; i++) {
            CHECK_OK(fs_path_stat(c.nodes[i].client, "file", &attr));
            CHECK_EQ(attr.size_bytes, 5000 * writer + sizeof text);
            CHECK_OK(data(&c, i, FS_IO_READ, 5000 * writer, buf, sizeof buf,
                          &count));
            CHECK_EQ(count, sizeof buf);
            CHECK_EQ(memcmp(buf, text, sizeof buf), 0);
        }
    }
    close_everywhere(&c);
    cluster_fini(&c);
}

/* -- random histories against a model -------------------------------------- */

struct model {
    uint8_t bytes[MODEL_BYTES];
    uint64_t size;
};

static void model_size(struct model *m, uint64_t size)
{
    if (size < m->size)
        memset(m->bytes + size, 0, m->size - size);
    m->size = size;
}

static void step_write(struct cluster *c, struct model *m, uint32_t node)
{
    uint64_t off = random_below(c, MODEL_BYTES - 1);
    uint64_t len =
        1 + random_below(c, (uint32_t)min_u64(MODEL_BYTES - off, 20000));

    memset(m->bytes + off, (int)(1 + random_below(c, 255)), len);
    m->size = max_u64(m->size, off + len);
    CHECK_OK(data(c, node, FS_IO_WRITE, off, m->bytes + off, len, NULL));
}

static void step_read(struct cluster *c, const struct model *m, uint32_t node)
{
    static uint8_t buf[MODEL_BYTES];
    uint64_t off = random_below(c, MODEL_BYTES), count;
    uint64_t len = MODEL_BYTES - off;

    CHECK_OK(data(c, node, FS_IO_READ, off, buf, len, &count));
    CHECK_EQ(count, m->size > off ? m->size - off : 0);
    CHECK_EQ(memcmp(buf, m->bytes + off, count), 0);
}

static void step_truncate(struct cluster *c, struct model *m, uint32_t node)
{
    struct waited_io w = {.done = false};

    model_size(m, random_below(c, MODEL_BYTES));
    w.io = (struct fs_io){
        .op = FS_IO_SETATTR,
        .setattr = {.mask = FS_SET_SIZE, .size_bytes = m->size}
    };
    CHECK_OK(run(c, node, &w));
    CHECK_EQ(w.io.attr.size_bytes, m->size);
}

static void step_punch(struct cluster *c, struct model *m, uint32_t node)
{
    uint64_t off = random_below(c, MODEL_BYTES - 1);
    uint64_t len = 1 + random_below(c, (uint32_t)(MODEL_BYTES - off));
    struct waited_io w = {.done = false};

    if (off < m->size)
        memset(m->bytes + off, 0, min_u64(len, m->size - off));
    w.io = (struct fs_io){.op = FS_IO_ALLOCATE,
                          .mode = FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE,
                          .off_bytes = off,
                          .len_bytes = len};
    CHECK_OK(run(c, node, &w));
}

static void step_sync(struct cluster *c, uint32_t node)
{
    struct waited_io w = {.io = {.op = FS_IO_SYNC}};

    CHECK_OK(run(c, node, &w));
}

static void step_stat(struct cluster *c, const struct model *m, uint32_t node)
{
    fs_attr attr;

    CHECK_OK(fs_path_stat(c->nodes[node].client, "file", &attr));
    CHECK_EQ(attr.size_bytes, m->size);
}

static void step(struct cluster *c, struct model *m)
{
    uint32_t node = 1 + random_below(c, NODES);

    switch (random_below(c, 8)) {
    case 0:
    case 1:
    case 2: step_write(c, m, node); break;
    case 3:
    case 4: step_read(c, m, node); break;
    case 5: step_truncate(c, m, node); break;
    case 6: step_punch(c, m, node); break;
    default: step_stat(c, m, node); step_sync(c, node);
    }
}

static void all_nodes_agree_with_the_model(void)
{
    static struct model m;
    struct cluster c;

    m = (struct model){.size = 0};
    cluster_init(&c);
    open_everywhere(&c, "file");
    for (int i = 0; i < STEPS; i++)
        step(&c, &m);
    close_everywhere(&c);
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
    open_everywhere(&c, "file");
    for (int i = 0; i < STEPS; i++) {
        uint32_t node = 2 + random_below(&c, NODES - 1);

        if (i % 3 == 0) {
            transport_hub_cut(c.hub, 1, node);
            transport_hub_heal(c.hub, 1, node);
        }
        step(&c, &m);
    }
    close_everywhere(&c);
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
    open_everywhere(&c, "file");
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
        submit(&c, 1 + i % NODES, &w[i]);
    }
    for (uint32_t i = 0; i < WRITERS; i++) {
        world_run_until(&c.v.world, &w[i].done);
        CHECK_OK(w[i].result);
    }
    CHECK_OK(data(&c, 2, FS_IO_READ, 0, buf, sizeof buf, &count));
    CHECK_EQ(count, sizeof buf);
    CHECK_EQ(memcmp(buf, bytes, sizeof buf), 0);
    close_everywhere(&c);
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
    open_everywhere(&c, "file");
    for (uint32_t i = 0; i < IOS; i++) {
        memset(bytes[i], (int)i, PIECE);
        w[i] = (struct waited_io){
            .iov = {.iov_base = bytes[i], .iov_len = PIECE}
        };
        w[i].io =
            (struct fs_io){.op = random_below(&c, 2) ? FS_IO_WRITE : FS_IO_READ,
                           .off_bytes = random_below(&c, MODEL_BYTES),
                           .len_bytes = PIECE,
                           .iov = &w[i].iov,
                           .iov_count = 1};
        submit(&c, 1 + random_below(&c, NODES), &w[i]);
        if (random_below(&c, 4) == 0)
            loop_run_ready(c.v.world.loop);
    }
    for (uint32_t i = 0; i < IOS; i++) {
        world_run_until(&c.v.world, &w[i].done);
        CHECK_OK(w[i].result);
    }
    close_everywhere(&c);
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

/* A node that could not be told gives up its layout when it is back. */
static void a_recall_waits_for_who_is_away(void)
{
    char text[] = "written by two", buf[sizeof text] = "";
    struct waited_io w = {
        .iov = {.iov_base = buf, .iov_len = sizeof buf}
    };
    struct cluster c;

    cluster_init(&c);
    open_everywhere(&c, "file");
    CHECK_OK(data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    transport_hub_cut(c.hub, 1, 2);
    w.io = (struct fs_io){.op = FS_IO_READ,
                          .len_bytes = sizeof buf,
                          .iov = &w.iov,
                          .iov_count = 1};
    submit(&c, 3, &w);
    for (int i = 0; i < 1000; i++)
        loop_run_ready(c.v.world.loop);
    CHECK_EQ(w.done, false); /* nothing is released because time passed */
    transport_hub_heal(c.hub, 1, 2);
    world_run_until(&c.v.world, &w.done);
    CHECK_OK(w.result);
    CHECK_EQ(memcmp(buf, text, sizeof buf), 0);
    close_everywhere(&c);
    cluster_fini(&c);
}

/* -- another coordinator --------------------------------------------------- */

/* Node 1 ends and comes back as a new run with a new epoch; it knows only what
 * is on the LUN, and that the others live. */
static void coordinator_restart(struct cluster *c)
{
    const struct fs_sender others[] = {
        {2, 102},
        {3, 103}
    };
    const struct fs_coord_args args = {.node = 1,
                                       .host = "h1",
                                       .incarnation = ++c->v.incarnation,
                                       .sole = true,
                                       .discard = true,
                                       .others = others,
                                       .other_count = ARRAY_LEN(others)};

    leave(c);
    fs_coord_stop(c->v.coord);
    CHECK_OK_FATAL(fs_coord_start(c->v.lun, &args, NULL, &c->v.coord));
    c->v.link = c->nodes[1].link = fs_coord_link(c->v.coord);
    CHECK_OK_FATAL(fs_net_serve(c->nodes[1].net, c->super.uuid, c->v.coord));
    for (uint32_t i = 2; i <= NODES; i++)
        fs_net_aim(c->nodes[i].link, 1); /* they have heard of it */
}

static void step_of_others(struct cluster *c, struct model *m)
{
    uint32_t node = 2 + random_below(c, NODES - 1);

    switch (random_below(c, 6)) {
    case 0:
    case 1:
    case 2: step_write(c, m, node); break;
    case 3: step_read(c, m, node); break;
    case 4: step_truncate(c, m, node); break;
    default: step_stat(c, m, node);
    }
}

static void a_new_coordinator_learns_what_is_held(void)
{
    const struct fs_open_how *how[] = {NULL, NULL, &cw_create, &cw_reopen};
    static struct model m;
    struct cluster c;
    fs_attr attr;

    m = (struct model){.size = 0};
    cluster_init(&c);
    c.seed = 5;
    fs_client_free(TAKE(c.nodes[1].client));
    for (uint32_t i = 2; i <= NODES; i++)
        CHECK_OK_FATAL(fs_path_open(c.nodes[i].client, "file", how[i],
                                    &c.nodes[i].file, &attr));
    for (int i = 0; i < STEPS; i++) {
        step_of_others(&c, &m);
        if (i % 10 == 9)
            coordinator_restart(&c);
    }
    for (uint32_t i = 2; i <= NODES; i++)
        CHECK_OK(fs_file_close(c.nodes[i].file, how[i]));
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
    CHECK_OK(data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    CHECK_OK(fs_path_unlink(c.nodes[3].client, "file"));
    coordinator_restart(&c);
    CHECK_OK(data(&c, 2, FS_IO_READ, 0, buf, sizeof buf, NULL));
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
    open_everywhere(&c, "file");
    CHECK_OK(data(&c, 2, FS_IO_WRITE, 0, text, sizeof text, NULL));
    transport_hub_cut(c.hub, 1, 2);
    w.io = (struct fs_io){.op = FS_IO_READ,
                          .len_bytes = sizeof buf,
                          .iov = &w.iov,
                          .iov_count = 1};
    submit(&c, 3, &w);
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
    TEST(a_lost_answer_is_given_again),
    TEST(a_recall_waits_for_who_is_away),
    TEST(a_new_coordinator_learns_what_is_held),
    TEST(an_unlinked_file_outlives_a_takeover),
    TEST(a_forgotten_node_is_in_nobodys_way),
};
TEST_SUITE("fs/nodes", tests);
