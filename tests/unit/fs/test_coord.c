/* tests/unit/fs/test_coord.c - a volume in memory: format, serve, stop, serve.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"
#include "fs/super.h"
#include "tests/unit/fs/volume.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void fresh_volume_has_an_empty_root(void)
{
    struct volume v;
    fs_attr root;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_getattr(&v, ROOT, &root));
    CHECK_EQ(root.mode, S_IFDIR | 0755);
    CHECK_EQ(root.nlink, 2);
    CHECK_ERR(v_lookup(&v, ROOT, "x", NULL), E_NOENT);
    volume_fini(&v);
}

static void what_was_made_is_there_after_a_restart(void)
{
    struct volume v;
    fs_attr made, found;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &made));
    CHECK_OK(v_create(&v, ROOT, "d", S_IFDIR | 0755, NULL));
    volume_stop(&v);
    volume_start(&v);
    CHECK_OK(v_lookup(&v, ROOT, "f", &found));
    CHECK_EQ(found.ino, made.ino);
    CHECK_EQ(found.mode, S_IFREG | 0644);
    CHECK_OK(v_create(&v, ROOT, "g", S_IFREG | 0644, &made));
    CU_ASSERT_NOT_EQUAL(found.ino, made.ino);
    volume_fini(&v);
}

/* lunar volume remove, then add: the daemon's incarnation is the same. */
static void a_run_may_serve_a_volume_twice(void)
{
    struct volume v;
    fs_attr f, g;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    CHECK_OK(v_unlink(&v, ROOT, "f"));
    volume_stop(&v);
    v.incarnation--;
    volume_start(&v);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &g));
    CU_ASSERT_NOT_EQUAL(f.ino, g.ino);
    CHECK_OK(v_lookup(&v, ROOT, "f", &f));
    CHECK_EQ(f.ino, g.ino);
    volume_fini(&v);
}

static void a_layout_for_writing_covers_what_was_asked(void)
{
    struct volume v;
    fs_attr made;
    fs_layout layout;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &made));
    CHECK_OK(v_open(&v, made.ino, true));
    CHECK_OK(v_layout(&v, made.ino, FS_IOMODE_RW, 0, MIB, &layout));
    CHECK_EQ(layout.extents.extents_len, 1);
    CHECK_EQ(layout.extents.extents_val[0].state, FS_INVALID_DATA);
    CU_ASSERT_TRUE(layout.extents.extents_val[0].count >= 256);
    free(layout.extents.extents_val);
    CHECK_OK(v_write(&v, made.ino, 0, MIB));
    CHECK_OK(v_getattr(&v, made.ino, &made));
    CHECK_EQ(made.size_bytes, MIB);
    CHECK_OK(v_close(&v, made.ino));
    CHECK_OK(v_getattr(&v, made.ino, &made));
    CHECK_EQ(made.allocated_bytes, MIB);
    volume_fini(&v);
}

static enum err commit_under(struct volume *v, fs_ino ino, uint64_t grant)
{
    struct fs_call call;
    enum err e;

    fs_call_init(&call, FS_OP_LAYOUTCOMMIT);
    call.request.args.fs_args_u.layoutcommit =
        (fs_layoutcommit_args){.ino = ino, .grant = grant, .size_bytes = MIB};
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

static enum err give_back(struct volume *v, fs_ino ino, uint64_t grant)
{
    struct fs_call call;
    enum err e;

    fs_call_init(&call, FS_OP_LAYOUTRETURN);
    call.request.args.fs_args_u.layoutreturn =
        (fs_layoutreturn_args){.ino = ino, .grant = grant};
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

static void under_a_layout_that_was_returned_nothing_is_committed(void)
{
    fs_layout layout = {0};
    struct volume v;
    fs_attr f;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    for (unsigned by_close = 0; by_close < 2; by_close++) {
        CHECK_OK(v_open(&v, f.ino, true));
        CHECK_OK(v_layout(&v, f.ino, FS_IOMODE_RW, 0, MIB, &layout));
        free(layout.extents.extents_val);
        CHECK_OK(commit_under(&v, f.ino, layout.grant));
        if (by_close)
            CHECK_OK(v_close(&v, f.ino));
        else
            CHECK_OK(give_back(&v, f.ino, layout.grant));
        CHECK_ERR(commit_under(&v, f.ino, layout.grant), E_STALE);
        if (!by_close)
            CHECK_OK(v_close(&v, f.ino));
    }
    volume_fini(&v);
}

static void space_of_a_deleted_file_comes_back(void)
{
    struct volume v;
    fs_attr made;
    fs_statfs before, after;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_statfs(&v, &before));
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &made));
    CHECK_OK(v_open(&v, made.ino, true));
    CHECK_OK(v_write(&v, made.ino, 0, 8 * MIB));
    CHECK_OK(v_unlink(&v, ROOT, "f"));
    CHECK_OK(v_getattr(&v, made.ino, &made));
    CHECK_EQ(made.nlink, 0);
    CHECK_OK(v_close(&v, made.ino));
    volume_stop(&v);
    volume_start(&v);
    CHECK_ERR(v_getattr(&v, made.ino, &made), E_STALE);
    CHECK_OK(v_statfs(&v, &after));
    CHECK_EQ(after.free_blocks, before.free_blocks);
    volume_fini(&v);
}

static void a_full_volume_says_so_and_can_be_emptied(void)
{
    struct volume v;
    fs_attr made;
    fs_statfs s;
    enum err e = E_OK;
    int files = 0;

    volume_init(&v, 64 * MIB);
    for (; !e; files++) {
        char name[16];

        snprintf(name, sizeof name, "f%d", files);
        CHECK_OK_FATAL(v_create(&v, ROOT, name, S_IFREG | 0644, &made));
        CHECK_OK(v_open(&v, made.ino, true));
        e = v_write(&v, made.ino, 0, 4 * MIB);
        CHECK_OK(v_close(&v, made.ino));
    }
    CHECK_ERR(e, E_VOL_FULL);
    CU_ASSERT_TRUE(files > 8);
    while (files--) {
        char name[16];

        snprintf(name, sizeof name, "f%d", files);
        CHECK_OK(v_unlink(&v, ROOT, name));
    }
    /* Space on its way counts: this waits for it, and gets it. */
    CHECK_OK(v_create(&v, ROOT, "g", S_IFREG | 0644, &made));
    CHECK_OK(v_statfs(&v, &s));
    CHECK_OK(v_fallocate(&v, made.ino, 0, 0,
                         s.available_blocks * FS_BLOCK_BYTES, &made));
    volume_fini(&v);
}

static void a_grown_lun_is_taken_into_use(void)
{
    struct diag why = {{0}};
    fs_statfs before, after;
    struct volume v;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_statfs(&v, &before));
    CHECK_ERR(fs_coord_grow(v.coord, &why), E_INVAL);
    CHECK_CONTAINS(why.text, "whole LUN");
    CHECK_OK(store_range_sync(v.lun, STORE_RESIZE, 1 * GIB, 0));
    CHECK_OK(fs_coord_grow(v.coord, &why));
    CHECK_OK(v_statfs(&v, &after));
    CHECK_EQ(after.blocks, GIB / 4096);
    CHECK_EQ(after.free_blocks - before.free_blocks, (GIB - 64 * MIB) / 4096);
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    CHECK_OK(v_statfs(&v, &after));
    CHECK_EQ(after.blocks, GIB / 4096);
    volume_fini(&v);
}

/* Power failed when the superblock was enlarged and the tables were not. */
static void a_half_grown_volume_is_sound(void)
{
    const struct fs_check_args repair = {.repair = true};
    struct fs_check_result r;
    struct super super;
    struct volume v;
    fs_statfs s;

    volume_init(&v, 64 * MIB);
    volume_stop(&v);
    CHECK_OK(store_range_sync(v.lun, STORE_RESIZE, 1 * GIB, 0));
    CHECK_OK_FATAL(super_load(v.lun, &super, NULL, NULL));
    super.size_blocks = GIB / FS_BLOCK_BYTES;
    CHECK_OK(super_save(v.lun, &super, NULL));
    volume_check_clean(&v);
    CHECK_OK(fs_check(v.lun, &repair, &r, NULL));
    CHECK_EQ(r.found, 0);
    volume_start(&v);
    CHECK_OK(v_statfs(&v, &s));
    CHECK_EQ(s.blocks, GIB / 4096);
    CU_ASSERT_TRUE(s.free_blocks > (GIB - 64 * MIB) / 4096);
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
}

struct flight {
    struct fs_call call;
    char name[64];
    struct flight_state {
        int open, full, failed;
        bool landed;
    } * state;
};

static void landed(struct fs_call *call)
{
    struct flight *f = container_of(call, struct flight, call);

    f->state->full += call->reply.error == E_VOL_FULL;
    f->state->failed += call->reply.error && call->reply.error != E_VOL_FULL;
    fs_call_fini(call);
    f->state->landed = --f->state->open == 0;
}

/* Files first … first + count - 1 at once; state->landed says when all are
 * there. */
static struct flight *create_many(struct volume *v, int first, int count,
                                  struct flight_state *state)
{
    struct flight *f = calloc((size_t)count, sizeof *f);

    state->open = count;
    state->landed = false;
    for (int i = 0; i < count; i++) {
        fs_call_init(&f[i].call, FS_OP_CREATE);
        snprintf(f[i].name, sizeof f[i].name, "a-name-that-takes-some-room-%d",
                 first + i);
        f[i].state = state;
        f[i].call.done = landed;
        f[i].call.request.args.fs_args_u.create = (fs_create_args){
            .parent = ROOT, .name = f[i].name, .mode = S_IFREG | 0600};
        fs_link_send(v->link, &f[i].call);
    }
    return f;
}

/* In waves, so that each is within the limit of world_run_until(). */
static struct flight_state create_files(struct volume *v, int count)
{
    enum { WAVE = 1000 };
    struct flight_state state = {0};

    for (int first = 0; first < count; first += WAVE) {
        struct flight *f = create_many(v, first, WAVE, &state);

        world_run_until(&v->world, &state.landed);
        free(f);
    }
    return state;
}

static void the_database_grows_with_its_files(void)
{
    enum { FILES = 30000 }; /* several times what chunk 0 holds */
    struct flight_state state;
    struct fs_coord_info info;
    struct volume v;

    volume_init(&v, 128 * MIB);
    state = create_files(&v, FILES);
    CHECK_EQ(state.failed + state.full, 0);
    fs_coord_info(v.coord, &info);
    CHECK_EQ(info.inodes, FILES + 1);
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    CHECK_OK(v_lookup(&v, ROOT, "a-name-that-takes-some-room-77", NULL));
    volume_fini(&v);
}

static void a_volume_full_of_names_can_be_emptied(void)
{
    enum { FILES = 80000 }; /* more than the reserve holds */
    struct flight_state state;
    struct fs_coord_info info;
    struct volume v;
    fs_attr big;
    fs_statfs s;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "big", S_IFREG | 0600, &big));
    CHECK_OK(v_statfs(&v, &s));
    CHECK_OK(v_fallocate(&v, big.ino, 0, 0, s.available_blocks * FS_BLOCK_BYTES,
                         NULL));
    state = create_files(&v, FILES);
    fs_coord_info(v.coord, &info);
    CHECK_STR(info.reason.text, "");
    CHECK_EQ(state.failed, 0);
    CU_ASSERT_FALSE_FATAL(info.offline);
    CU_ASSERT_TRUE(state.full > 0);
    CU_ASSERT_TRUE(state.full < FILES / 2);
    for (int i = 0; i < 500; i++) {
        char name[64];

        snprintf(name, sizeof name, "a-name-that-takes-some-room-%d", i);
        CHECK_OK(v_unlink(&v, ROOT, name));
    }
    CHECK_OK(v_unlink(&v, ROOT, "big"));
    CHECK_OK(v_create(&v, ROOT, "new", S_IFREG | 0600, NULL));
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
}

static void a_live_check_runs_beside_writers(void)
{
    enum { CALLS = 3000 };
    const struct fs_check_args check = {0};
    struct fs_check_result result;
    struct flight_state state = {0};
    struct diag why = {{0}};
    struct flight *f;
    struct volume v;

    volume_init(&v, 64 * MIB);
    f = create_many(&v, 0, CALLS, &state);
    CHECK_OK(fs_coord_check(v.coord, &check, &result, &why));
    CHECK_EQ(result.found, 0);
    world_run_until(&v.world, &state.landed);
    CHECK_OK(fs_coord_check(v.coord, &check, &result, &why));
    CHECK_EQ(result.found, 0);
    CHECK_EQ(result.inodes, CALLS + 1);
    volume_fini(&v);
    free(f);
}

static void an_export_is_read_by_stock_sqlite(void)
{
    char path[WORLD_PATH_BYTES + 8];
    struct diag why = {{0}};
    sqlite3_stmt *s;
    sqlite3 *db;
    struct volume v;

    volume_init(&v, 64 * MIB);
    for (int i = 0; i < 300; i++) {
        char name[16];

        snprintf(name, sizeof name, "n%d", i);
        CHECK_OK(v_create(&v, ROOT, name, S_IFREG | 0600, NULL));
    }
    snprintf(path, sizeof path, "%s/export", v.world.dir);
    CHECK_OK(fs_metadata_export(v.lun, path, &why)); /* with a log */
    CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_EQ(
        sqlite3_prepare_v2(db, "SELECT count(*) FROM dentry", -1, &s, NULL),
        SQLITE_OK);
    CHECK_EQ(sqlite3_step(s), SQLITE_ROW);
    CHECK_EQ(sqlite3_column_int(s, 0), 300);
    sqlite3_finalize(s);
    CHECK_EQ(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL),
             SQLITE_OK);
    CHECK_EQ(sqlite3_step(s), SQLITE_ROW);
    CHECK_STR((const char *)sqlite3_column_text(s, 0), "ok");
    sqlite3_finalize(s);
    sqlite3_close(db);
    volume_fini(&v);
}

/* What a simulator needs: every choice is one thread's. */
static void a_coordinator_needs_no_thread_of_its_own(void)
{
    struct volume v;
    fs_attr made, found;

    volume_init(&v, 64 * MIB);
    volume_stop(&v);
    v.metadata = v.world.loop;
    volume_start(&v);
    CU_ASSERT_PTR_NULL(v.coord->reactor);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &made));
    CHECK_OK(v_open(&v, made.ino, true));
    CHECK_OK(v_write(&v, made.ino, 0, MIB));
    CHECK_OK(v_close(&v, made.ino));
    CHECK_OK(v_unlink(&v, ROOT, "f"));
    CHECK_OK(v_create(&v, ROOT, "g", S_IFREG | 0644, &made));
    CHECK_OK(fs_coord_forget(v.coord, &(struct fs_sender){9, 9}));
    volume_stop(&v); /* with discards on their way */
    volume_check_clean(&v);
    volume_start(&v);
    CHECK_OK(v_lookup(&v, ROOT, "g", &found));
    CHECK_EQ(found.ino, made.ino);
    volume_fini(&v);
}

static const struct test tests[] = {
    TEST(a_coordinator_needs_no_thread_of_its_own),
    TEST(a_grown_lun_is_taken_into_use),
    TEST(a_half_grown_volume_is_sound),
    TEST(the_database_grows_with_its_files),
    TEST(a_volume_full_of_names_can_be_emptied),
    TEST(a_live_check_runs_beside_writers),
    TEST(an_export_is_read_by_stock_sqlite),
    TEST(fresh_volume_has_an_empty_root),
    TEST(what_was_made_is_there_after_a_restart),
    TEST(a_run_may_serve_a_volume_twice),
    TEST(a_layout_for_writing_covers_what_was_asked),
    TEST(under_a_layout_that_was_returned_nothing_is_committed),
    TEST(space_of_a_deleted_file_comes_back),
    TEST(a_full_volume_says_so_and_can_be_emptied),
};
TEST_SUITE("fs/coord", tests);
