/* tests/unit/fs/test_meta.c - exactly once: a request that comes again (I7).
 * Below the coordinator's link, which never sends one twice.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/meta.h"
#include "tests/unit/fs/volume.h"

#include <string.h>
#include <sys/stat.h>

struct tables {
    struct volume v;
    struct super super;
    struct vfs *vfs;
    struct db *db;
    struct meta *m;
};

static void tables_init(struct tables *t)
{
    struct meta_args args = {
        .clock = clock_system(), .node = 1, .incarnation = 9};

    volume_init(&t->v, 64 * MIB);
    volume_stop(&t->v);
    CHECK_OK_FATAL(super_load(t->v.lun, &t->super, NULL, NULL));
    CHECK_OK_FATAL(vfs_new(t->v.lun, &t->super, NULL, &t->vfs));
    CHECK_OK_FATAL(db_open(t->vfs, NULL, &t->db));
    args.db = t->db;
    args.super = &t->super;
    CHECK_OK_FATAL(meta_new(&args, NULL, &t->m));
}

static void tables_fini(struct tables *t)
{
    meta_free(t->m);
    db_close(t->db);
    vfs_free(t->vfs);
    store_close(t->v.lun);
    world_fini(&t->v.world);
}

/* Send the call as `seq` of slot 0, in a transaction of its own. */
static enum err run(struct tables *t, struct fs_call *call, uint64_t seq)
{
    enum meta_then then;

    call->sender = (struct fs_sender){1, 9};
    call->request.epoch = t->super.epoch;
    call->request.node = 1;
    call->request.incarnation = 9;
    call->request.seq = seq;
    fs_call_fini(call);
    CHECK_OK(db_run(t->db, SQL_BEGIN));
    CHECK_OK(meta_run(t->m, call, &then));
    CHECK_OK(db_run(t->db, SQL_COMMIT));
    CHECK_EQ(then, META_ANSWER);
    return (enum err)call->reply.error;
}

static void a_create_that_comes_again_gives_the_same_file(void)
{
    char name[] = "f";
    struct fs_call call;
    struct tables t;
    fs_ino ino;

    tables_init(&t);
    fs_call_init(&call, FS_OP_CREATE);
    call.request.args.fs_args_u.create =
        (fs_create_args){.parent = ROOT, .name = name, .mode = S_IFREG | 0600};
    CHECK_OK(run(&t, &call, 5));
    ino = call.reply.result.fs_result_u.create.ino;
    CU_ASSERT_FALSE(call.reply.stored);
    CHECK_OK(run(&t, &call, 5));
    CU_ASSERT_TRUE(call.reply.stored);
    CHECK_EQ(call.reply.result.fs_result_u.create.ino, ino);
    CHECK_EQ(t.m->counts.inodes, 2);
    /* The same as a new request is another matter. */
    CHECK_ERR(run(&t, &call, 6), E_EXIST);
    CHECK_ERR(run(&t, &call, 4), E_PROTOCOL);
    fs_call_fini(&call);
    tables_fini(&t);
}

static void a_failed_operation_leaves_no_trace(void)
{
    char name[] = "d";
    struct fs_call call;
    struct tables t;
    struct meta_counts before;

    tables_init(&t);
    before = t.m->counts;
    fs_call_init(&call, FS_OP_CREATE);
    call.request.args.fs_args_u.create =
        (fs_create_args){.parent = 77, .name = name, .mode = S_IFDIR | 0700};
    CHECK_ERR(run(&t, &call, 1), E_STALE);
    CHECK_EQ(memcmp(&before, &t.m->counts, sizeof before), 0);
    fs_call_fini(&call);
    tables_fini(&t);
}

static void a_message_of_another_epoch_is_refused(void)
{
    struct fs_call call;
    struct tables t;
    enum meta_then then;

    tables_init(&t);
    fs_call_init(&call, FS_OP_STATFS);
    call.sender = (struct fs_sender){1, 9};
    call.request.epoch = t.super.epoch + 1;
    CHECK_OK(db_run(t.db, SQL_BEGIN));
    CHECK_OK(meta_run(t.m, &call, &then));
    CHECK_ERR((enum err)call.reply.error, E_EPOCH);
    call.request.proto_version = 99;
    CHECK_OK(meta_run(t.m, &call, &then));
    CHECK_ERR((enum err)call.reply.error, E_VERSION);
    CHECK_OK(db_run(t.db, SQL_COMMIT));
    fs_call_fini(&call);
    tables_fini(&t);
}

static const struct test tests[] = {
    TEST(a_create_that_comes_again_gives_the_same_file),
    TEST(a_failed_operation_leaves_no_trace),
    TEST(a_message_of_another_epoch_is_refused),
};
TEST_SUITE("fs/meta", tests);
