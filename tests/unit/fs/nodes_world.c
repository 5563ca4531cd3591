/* tests/unit/fs/nodes_world.c - see nodes_world.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/nodes_world.h"

#include <string.h>

/* -- the world ------------------------------------------------------------- */

struct fs_sender cluster_run_of(uint32_t node)
{
    return (struct fs_sender){node, 100 + node};
}

static void note_failure(struct task *task)
{
    container_of(task, struct cluster, failed)->failures++;
}

static void node_start(struct cluster *c, uint32_t number)
{
    const struct fs_sender self = cluster_run_of(number);
    struct node *n = &c->nodes[number];
    struct fs_client_args args = {.loop = c->v.world.loop, .redirect = true};

    CHECK_OK_FATAL(store_fault_new(c->v.lun, &n->lun));
    CHECK_OK_FATAL(fs_net_new(c->v.world.loop, &self, &n->net));
    CHECK_OK_FATAL(transport_hub_join(c->hub, number, self.incarnation,
                                      c->v.world.loop, fs_net_ear(n->net),
                                      &n->transport));
    fs_net_attach(n->net, n->transport);
    CHECK_OK_FATAL(fs_net_reach(n->net, c->super.uuid, 0, &n->link));
    args.lun = n->lun;
    args.link = n->link;
    CHECK_OK_FATAL(fs_client_new(&args, &n->client));
}

void cluster_init(struct cluster *c)
{
    const struct store_mem_args mem = {.size_bytes = 256 * MIB};
    const struct fs_format_args format = {.name = "vol", .discard = true};

    memset(c, 0, sizeof *c);
    c->seed = 1;
    c->failed.run = note_failure;
    world_init(&c->v.world);
    CHECK_OK_FATAL(store_mem_new(&mem, &c->v.lun));
    CHECK_OK_FATAL(fs_format(c->v.lun, &format, NULL));
    CHECK_OK_FATAL(super_load(c->v.lun, &c->super, NULL, NULL));
    CHECK_OK_FATAL(transport_hub_new(&c->hub));
    for (uint32_t i = 1; i <= NODES; i++)
        node_start(c, i);
    cluster_takeover(c, 1);
}

struct flag_task {
    struct task task;
    bool done;
};

static void set_flag(struct task *task)
{
    container_of(task, struct flag_task, task)->done = true;
}

void cluster_leave(struct cluster *c)
{
    struct flag_task left = {.task.run = set_flag};

    fs_net_leave(c->nodes[c->coordinator].net, c->super.uuid, &left.task);
    world_run_until(&c->v.world, &left.done);
    fs_coord_stop(TAKE(c->v.coord));
    c->coordinator = 0;
}

void cluster_claim(struct cluster *c, uint32_t node)
{
    const struct claim_args args = {.node = node,
                                    .host = "h",
                                    .incarnation =
                                        cluster_run_of(node).incarnation,
                                    .sole = true};

    CHECK_OK_FATAL(super_load(c->v.lun, &c->super, NULL, NULL));
    CHECK_OK_FATAL(claim_take(c->v.lun, &c->super, &args, NULL));
    CHECK_OK_FATAL(super_save(c->v.lun, &c->super, NULL));
}

void cluster_takeover(struct cluster *c, uint32_t node)
{
    struct fs_sender runs[NODES];
    const struct fs_coord_args args = {.node = node,
                                       .host = "h",
                                       .incarnation =
                                           cluster_run_of(node).incarnation,
                                       .discard = true,
                                       .others = runs,
                                       .other_count = NODES,
                                       .epoch = c->super.epoch + 1,
                                       .failed = &c->failed,
                                       .loop = c->v.world.loop};

    for (uint32_t i = 0; i < NODES; i++)
        runs[i] = cluster_run_of(i + 1);
    cluster_claim(c, node);
    CHECK_OK_FATAL(
        fs_coord_start(c->nodes[node].lun, &args, NULL, &c->v.coord));
    CHECK_OK_FATAL(fs_net_serve(c->nodes[node].net, c->super.uuid, c->v.coord));
    c->coordinator = node;
    for (uint32_t i = 1; i <= NODES; i++)
        fs_net_aim(c->nodes[i].link, node);
}

void cluster_path(struct cluster *c, uint32_t node, bool path)
{
    if (path)
        cluster_path_fails(c, node, 0, 0, E_OK);
    else
        cluster_path_fails(c, node, UINT32_MAX, 1, E_LUN_GONE);
    fs_client_set_path(c->nodes[node].client, path);
}

void cluster_path_fails(struct cluster *c, uint32_t node, uint32_t ops,
                        uint64_t nth, enum err e)
{
    const struct store_fault_args args = {
        .ops = ops, .nth = nth, .sticky = true, .result = e};

    store_fault_arm(c->nodes[node].lun, &args);
}

void cluster_fini(struct cluster *c)
{
    for (uint32_t i = 1; i <= NODES; i++)
        fs_client_free(c->nodes[i].client);
    for (uint32_t i = 1; i <= NODES; i++)
        fs_net_forget(c->nodes[i].link);
    if (c->coordinator)
        cluster_leave(c);
    for (uint32_t i = 1; i <= NODES; i++)
        transport_close(c->nodes[i].transport);
    loop_run_ready(c->v.world.loop);
    transport_hub_free(c->hub);
    for (uint32_t i = 1; i <= NODES; i++) {
        fs_net_free(c->nodes[i].net);
        store_close(c->nodes[i].lun);
    }
    loop_run_ready(c->v.world.loop);
    volume_check_clean(&c->v);
    store_close(c->v.lun);
    world_fini(&c->v.world);
}

uint32_t cluster_random(struct cluster *c, uint32_t n)
{
    c->seed = c->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(c->seed >> 33) % n;
}

/* -- one file, open on every node ------------------------------------------ */

void cluster_open(struct cluster *c, const char *name)
{
    fs_attr attr;

    for (uint32_t i = 1; i <= NODES; i++)
        CHECK_OK_FATAL(fs_path_open(c->nodes[i].client, name,
                                    i == 1 ? &cw_create : &cw_reopen,
                                    &c->nodes[i].file, &attr));
}

void cluster_close(struct cluster *c)
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

void cluster_submit(struct cluster *c, uint32_t node, struct waited_io *w)
{
    (void)c;
    w->done = false;
    w->io.file = c->nodes[node].file;
    w->io.done = io_done;
    fs_io_submit(c->nodes[node].client, &w->io);
}

enum err cluster_run(struct cluster *c, uint32_t node, struct waited_io *w)
{
    cluster_submit(c, node, w);
    world_run_until(&c->v.world, &w->done);
    return w->result;
}

void cluster_io(struct waited_io *w, enum fs_io_op op, uint64_t off, void *buf,
                uint64_t len)
{
    *w = (struct waited_io){
        .iov = {.iov_base = buf, .iov_len = len}
    };
    w->io = (struct fs_io){.op = op,
                           .off_bytes = off,
                           .len_bytes = len,
                           .iov = &w->iov,
                           .iov_count = 1};
}

enum err cluster_data(struct cluster *c, uint32_t node, enum fs_io_op op,
                      uint64_t off, void *buf, uint64_t len,
                      uint64_t *ret_count)
{
    struct waited_io w;
    enum err e;

    cluster_io(&w, op, off, buf, len);
    e = cluster_run(c, node, &w);
    if (ret_count)
        *ret_count = w.io.count_bytes;
    return e;
}

/* -- random histories against a model -------------------------------------- */

static void model_size(struct model *m, uint64_t size)
{
    if (size < m->size)
        memset(m->bytes + size, 0, m->size - size);
    m->size = size;
}

static void step_write(struct cluster *c, struct model *m, uint32_t node)
{
    uint64_t off = cluster_random(c, MODEL_BYTES - 1);
    uint64_t len =
        1 + cluster_random(c, (uint32_t)min_u64(MODEL_BYTES - off, 20000));

    memset(m->bytes + off, (int)(1 + cluster_random(c, 255)), len);
    m->size = max_u64(m->size, off + len);
    CHECK_OK(
        cluster_data(c, node, FS_IO_WRITE, off, m->bytes + off, len, NULL));
}

static void step_read(struct cluster *c, const struct model *m, uint32_t node)
{
    static uint8_t buf[MODEL_BYTES];
    uint64_t off = cluster_random(c, MODEL_BYTES), count;
    uint64_t len = MODEL_BYTES - off;

    CHECK_OK(cluster_data(c, node, FS_IO_READ, off, buf, len, &count));
    CHECK_EQ(count, m->size > off ? m->size - off : 0);
    CHECK_EQ(memcmp(buf, m->bytes + off, count), 0);
}

static void step_truncate(struct cluster *c, struct model *m, uint32_t node)
{
    struct waited_io w = {.done = false};

    model_size(m, cluster_random(c, MODEL_BYTES));
    w.io = (struct fs_io){
        .op = FS_IO_SETATTR,
        .setattr = {.mask = FS_SET_SIZE, .size_bytes = m->size}
    };
    CHECK_OK(cluster_run(c, node, &w));
    CHECK_EQ(w.io.attr.size_bytes, m->size);
}

static void step_punch(struct cluster *c, struct model *m, uint32_t node)
{
    uint64_t off = cluster_random(c, MODEL_BYTES - 1);
    uint64_t len = 1 + cluster_random(c, (uint32_t)(MODEL_BYTES - off));
    struct waited_io w = {.done = false};

    if (off < m->size)
        memset(m->bytes + off, 0, min_u64(len, m->size - off));
    w.io = (struct fs_io){.op = FS_IO_ALLOCATE,
                          .mode = FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE,
                          .off_bytes = off,
                          .len_bytes = len};
    CHECK_OK(cluster_run(c, node, &w));
}

static void step_sync(struct cluster *c, uint32_t node)
{
    struct waited_io w = {.io = {.op = FS_IO_SYNC}};

    CHECK_OK(cluster_run(c, node, &w));
}

static void step_stat(struct cluster *c, const struct model *m, uint32_t node)
{
    fs_attr attr;

    CHECK_OK(fs_path_stat(c->nodes[node].client, "file", &attr));
    CHECK_EQ(attr.size_bytes, m->size);
}

void cluster_step(struct cluster *c, struct model *m)
{
    uint32_t node = 1 + cluster_random(c, NODES);

    switch (cluster_random(c, 8)) {
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
