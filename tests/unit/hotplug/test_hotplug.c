/* tests/unit/hotplug/test_hotplug.c - VMs and disks without a guest: who owns
 * what, what is remembered, what is given back.  Files are memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hotplug/hotplug.h"

#include "base/jsonfile.h"
#include "base/stores.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"
#include "vhd/vhd.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- a host with a directory of memory files ------------------------------- */

enum { FILES_MAX = 4, FILE_BYTES = 1 << 20 };

struct file {
    const char *path;
    struct store *store;
    unsigned opens;
    bool last_read_only;
};

struct host {
    struct world world;
    struct reactor *reactor;
    struct loop *loop;
    struct hotplug_files files;
    struct file file[FILES_MAX];
    unsigned count;
    enum err open_fails; /* E_OK: it does not */
    /* Somebody else acts while a file is being opened or closed. */
    void (*on_open)(struct host *t);
    void (*on_close)(struct host *t);
    struct hotplug *h;
    struct diag why;
};

static struct file *find_file(struct host *t, const char *path)
{
    for (unsigned i = 0; i < t->count; i++)
        if (!strcmp(t->file[i].path, path))
            return &t->file[i];
    return NULL;
}

static enum err open_file(struct hotplug_files *files, const char *path,
                          bool read_only, const char *vm,
                          struct hotplug_file *ret_file, struct diag *why)
{
    struct host *t = container_of(files, struct host, files);
    struct file *f = find_file(t, path);

    (void)vm;
    if (t->on_open)
        t->on_open(t);
    if (t->open_fails)
        return diag_fail(why, t->open_fails, "%s: away", path);
    if (!f)
        return diag_fail(why, E_NOENT, "%s: not there", path);
    f->opens++;
    f->last_read_only = read_only;
    *ret_file = (struct hotplug_file){.store = f->store, .opened = f};
    ret_file->id[0] = (uint8_t)(f - t->file);
    return E_OK;
}

static enum err close_file(struct hotplug_files *files,
                           struct hotplug_file *file)
{
    struct host *t = container_of(files, struct host, files);
    struct file *f = file->opened;

    if (t->on_close)
        t->on_close(t);
    f->opens--;
    return E_OK;
}

static void host_open(struct host *t)
{
    char run[WORLD_PATH_BYTES + 8], state[WORLD_PATH_BYTES + 16];
    struct hotplug_args args = {
        .loops = &t->loop,
        .loop_count = 1,
        .root = "/root",
        .run_dir = run,
        .socket_group = "",
        .state_path = state,
        .files = &t->files,
    };

    snprintf(run, sizeof run, "%s", t->world.dir);
    snprintf(state, sizeof state, "%s/vms.json", t->world.dir);
    CHECK_OK_FATAL(hotplug_open(&args, &t->h, &t->why));
}

static void host_init(struct host *t)
{
    memset(t, 0, sizeof *t);
    world_init(&t->world);
    CHECK_OK_FATAL(
        reactor_start(&(struct loop_args){.name = "test"}, &t->reactor));
    t->loop = reactor_loop(t->reactor);
    t->files = (struct hotplug_files){.open = open_file, .close = close_file};
    host_open(t);
}

static void host_close(struct host *t)
{
    CHECK_OK(hotplug_close(t->h, &t->why));
    for (unsigned i = 0; i < t->count; i++)
        CHECK_EQ(t->file[i].opens, 0);
}

static void host_fini(struct host *t)
{
    host_close(t);
    reactor_stop(t->reactor);
    for (unsigned i = 0; i < t->count; i++)
        store_close(t->file[i].store);
    world_fini(&t->world);
}

static struct file *host_file(struct host *t, const char *path)
{
    struct file *f = &t->file[t->count++];

    f->path = path;
    CHECK_OK_FATAL(store_mem_new(
        &(struct store_mem_args){.size_bytes = FILE_BYTES}, &f->store));
    return f;
}

static void host_vm(struct host *t, const char *name)
{
    CHECK_OK_FATAL(
        hotplug_vm_add(t->h, &(struct hotplug_vm_args){.name = name}, &t->why));
}

static enum err attach(struct host *t, const char *vm, const char *disk,
                       unsigned *ret_lun)
{
    return hotplug_attach(t->h,
                          &(struct hotplug_attach_args){
                              .vm = vm, .disk = disk, .lun = HOTPLUG_LUN_ANY},
                          ret_lun, &t->why);
}

static enum err detach(struct host *t, const char *vm, unsigned lun)
{
    return hotplug_detach(
        t->h, &(struct hotplug_detach_args){.vm = vm, .lun = lun}, &t->why);
}

/* What the first disk in the list is said to be. */
static void check_disk(struct host *t, const char *key, const char *value)
{
    json_t *disks = hotplug_disks_to_json(t->h);
    const char *is =
        json_string_value(json_object_get(json_array_get(disks, 0), key));

    CHECK_STR(is ? is : "", value);
    json_decref(disks);
}

static size_t disk_count(struct host *t)
{
    json_t *disks = hotplug_disks_to_json(t->h);
    size_t count = json_array_size(disks);

    json_decref(disks);
    return count;
}

/* -- attach and detach ----------------------------------------------------- */

static void a_disk_gets_the_lowest_lun_and_its_file_is_closed_after(void)
{
    struct host t;
    struct file *f;
    unsigned lun = 99;

    host_init(&t);
    f = host_file(&t, "/root/v/a.raw");
    host_file(&t, "/root/v/b.raw");
    host_vm(&t, "web");
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    CHECK_EQ(lun, 0);
    CHECK_OK(attach(&t, "web", "/root/v/b.raw", &lun));
    CHECK_EQ(lun, 1);
    CHECK_EQ(f->opens, 1);
    check_disk(&t, "kind", "raw");
    CHECK_OK(detach(&t, "web", 0));
    CHECK_EQ(f->opens, 0);
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    CHECK_EQ(lun, 0);
    host_fini(&t);
}

static void attaching_again_changes_nothing_unless_it_asks_for_more(void)
{
    struct host t;
    unsigned lun = 99;
    struct hotplug_attach_args args = {
        .vm = "web", .disk = "/root/v/a.raw", .lun = 5};

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    CHECK_OK(hotplug_attach(t.h, &args, &lun, &t.why));
    CHECK_OK(attach(&t, "web", "/root//v/./a.raw", &lun));
    CHECK_EQ(lun, 5);
    CHECK_EQ(t.file[0].opens, 1);
    args.lun = 6;
    CHECK_ERR(hotplug_attach(t.h, &args, &lun, &t.why), E_EXIST);
    args.lun = 5;
    args.read_only = true;
    CHECK_ERR(hotplug_attach(t.h, &args, &lun, &t.why), E_EXIST);
    CHECK_CONTAINS(t.why.text, "detach it first");
    host_fini(&t);
}

static void a_disk_has_one_owner_who_is_named_but_many_readers(void)
{
    struct host t;
    unsigned lun;
    struct hotplug_attach_args reader = {.vm = "web",
                                         .disk = "/root/v/a.raw",
                                         .lun = HOTPLUG_LUN_ANY,
                                         .read_only = true};

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    host_vm(&t, "other");
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    CHECK_ERR(attach(&t, "other", "/root/v/a.raw", &lun), E_HANDLE_HELD);
    CHECK_CONTAINS(t.why.text, "held by vm web (controller 0, LUN 0");
    CHECK_OK(detach(&t, "web", 0));
    CHECK_OK(hotplug_attach(t.h, &reader, &lun, &t.why));
    CHECK_EQ(t.file[0].last_read_only, true);
    reader.vm = "other";
    CHECK_OK(hotplug_attach(t.h, &reader, &lun, &t.why));
    CHECK_EQ(t.file[0].opens, 2);
    host_fini(&t);
}

static void a_failed_attach_leaves_nothing(void)
{
    struct host t;
    unsigned lun;
    struct hotplug_attach_args args = {
        .vm = "web", .disk = "/root/v/b.raw", .lun = 0};

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_file(&t, "/root/v/b.raw");
    host_vm(&t, "web");
    CHECK_ERR(attach(&t, "web", "/root/v/none", &lun), E_NOENT);
    CHECK_ERR(attach(&t, "none", "/root/v/a.raw", &lun), E_NOENT);
    CHECK_EQ(disk_count(&t), 0);
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    CHECK_ERR(hotplug_attach(t.h, &args, &lun, &t.why), E_EXIST);
    CHECK_CONTAINS(t.why.text, "in use by /root/v/a.raw");
    CHECK_EQ(disk_count(&t), 1);
    CHECK_EQ(t.file[1].opens, 0);
    CHECK_ERR(detach(&t, "web", 1), E_NOENT);
    host_fini(&t);
}

static void paths_that_lead_out_of_the_root_are_refused(void)
{
    static const char *const bad[] = {"/etc/passwd", "/root/v/../../etc/passwd",
                                      "/rootv/a", "a.raw", ""};
    struct host t;
    unsigned lun;

    host_init(&t);
    host_vm(&t, "web");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_ERR(attach(&t, "web", bad[i], &lun), E_INVAL);
    host_fini(&t);
}

/* -- what is in a file ----------------------------------------------------- */

static void make_vhd(struct file *f, enum vhd_type type)
{
    struct vhd_info parent = {.type = VHD_FIXED, .size_bytes = FILE_BYTES};
    struct vhd_create_args args = {
        .type = type,
        .size_bytes = FILE_BYTES,
        .uuid = {1, 2, 3},
        .path = f->path,
    };

    if (type == VHD_DIFFERENCING) {
        args.parent = &parent;
        args.parent_path = "/root/v/secret.vhd";
    }
    CHECK_OK_FATAL(vhd_create(f->store, &args, NULL));
}

static void the_name_decides_and_then_the_content(void)
{
    struct host t;
    unsigned lun;

    host_init(&t);
    make_vhd(host_file(&t, "/root/v/a"), VHD_DYNAMIC);
    make_vhd(host_file(&t, "/root/v/b.raw"), VHD_DYNAMIC);
    host_file(&t, "/root/v/c.vhd");
    host_vm(&t, "web");
    CHECK_OK(attach(&t, "web", "/root/v/a", &lun));
    check_disk(&t, "kind", "vhd");
    CHECK_OK(detach(&t, "web", 0));
    CHECK_OK(attach(&t, "web", "/root/v/b.raw", &lun));
    check_disk(&t, "kind", "raw");
    CHECK_OK(detach(&t, "web", 0));
    CHECK_ERR(attach(&t, "web", "/root/v/c.vhd", &lun), E_VHD_FOOTER);
    host_fini(&t);
}

/* A guest writes what it likes into its raw disk. */
static void a_footer_in_a_raw_disk_opens_no_other_file(void)
{
    struct host t;
    unsigned lun;

    host_init(&t);
    make_vhd(host_file(&t, "/root/v/disk"), VHD_DIFFERENCING);
    make_vhd(host_file(&t, "/root/v/secret.vhd"), VHD_FIXED);
    host_vm(&t, "web");
    CHECK_ERR(attach(&t, "web", "/root/v/disk", &lun), E_VHD_TYPE);
    CHECK_CONTAINS(t.why.text, "must be named");
    CHECK_EQ(t.file[1].opens, 0);
    host_fini(&t);
}

/* -- resize ---------------------------------------------------------------- */

static void an_attached_disk_grows_but_does_not_shrink(void)
{
    struct host t;
    unsigned lun;

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    CHECK_ERR(hotplug_resize(t.h, "/root/v/a.raw", FILE_BYTES * 2, &t.why),
              E_NOENT);
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    CHECK_OK(hotplug_resize(t.h, "/root/v/a.raw", FILE_BYTES * 2, &t.why));
    CHECK_EQ(t.file[0].store->size_bytes, FILE_BYTES * 2);
    CHECK_ERR(hotplug_resize(t.h, "/root/v/a.raw", FILE_BYTES, &t.why),
              E_INVAL);
    host_fini(&t);
}

/* -- VMs, and what is remembered ------------------------------------------- */

static void a_vm_with_disks_stays_and_names_are_checked(void)
{
    struct host t;
    unsigned lun;
    struct hotplug_vm_args args = {.name = "web", .controllers = 2};

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    CHECK_ERR(hotplug_vm_add(t.h, &args, &t.why), E_EXIST);
    args.name = "../web";
    CHECK_ERR(hotplug_vm_add(t.h, &args, &t.why), E_INVAL);
    args = (struct hotplug_vm_args){.name = "x", .controllers = 99};
    CHECK_ERR(hotplug_vm_add(t.h, &args, &t.why), E_INVAL);
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    CHECK_ERR(hotplug_vm_remove(t.h, "web", &t.why), E_BUSY);
    CHECK_OK(detach(&t, "web", 0));
    CHECK_OK(hotplug_vm_remove(t.h, "web", &t.why));
    CHECK_ERR(hotplug_vm_remove(t.h, "web", &t.why), E_NOENT);
    host_fini(&t);
}

static void a_restart_finds_vms_and_disks_and_a_volume_may_come_later(void)
{
    struct host t;
    unsigned lun;

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    host_close(&t);
    host_open(&t);
    check_disk(&t, "state", "attached");
    host_close(&t);

    t.open_fails = E_VOL_OFFLINE;
    host_open(&t);
    check_disk(&t, "state", "failed");
    check_disk(&t, "reason", "/root/v/a.raw: away");
    CHECK_ERR(attach(&t, "web", "/root/v/a.raw", &lun), E_VOL_OFFLINE);
    check_disk(&t, "state", "failed");
    t.open_fails = E_OK;
    hotplug_retry(t.h);
    check_disk(&t, "state", "attached");
    check_disk(&t, "reason", "");
    host_fini(&t);
}

static void a_failed_disk_can_be_forgotten(void)
{
    struct host t;
    unsigned lun;

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    host_close(&t);
    t.open_fails = E_NOENT;
    host_open(&t);
    CHECK_OK(detach(&t, "web", 0));
    CHECK_EQ(disk_count(&t), 0);
    host_fini(&t);
}

static void a_failed_disk_comes_back_to_its_own_lun(void)
{
    struct host t;
    unsigned lun;
    struct hotplug_attach_args args = {
        .vm = "web", .disk = "/root/v/b.raw", .lun = 0};

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_file(&t, "/root/v/b.raw");
    host_vm(&t, "web");
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    host_close(&t);
    t.open_fails = E_VOL_OFFLINE;
    host_open(&t);
    t.open_fails = E_OK;
    CHECK_ERR(hotplug_attach(t.h, &args, &lun, &t.why), E_EXIST);
    CHECK_CONTAINS(t.why.text, "in use by /root/v/a.raw (failed)");
    CHECK_OK(attach(&t, "web", "/root/v/b.raw", &lun));
    CHECK_EQ(lun, 1);
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    CHECK_EQ(lun, 0);
    host_fini(&t);
}

static void a_restart_gives_no_guest_another_file_of_that_name(void)
{
    struct host t;
    unsigned lun;

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    host_close(&t);
    t.file[0].path = "/root/v/moved";
    host_file(&t, "/root/v/a.raw");
    host_open(&t);
    check_disk(&t, "state", "failed");
    host_close(&t); /* the refusal forgets nothing */
    host_open(&t);
    check_disk(&t, "state", "failed");
    check_disk(&t, "reason",
               "/root/v/a.raw: is another disk than the one that was "
               "attached: put that one back and resume the volume, or attach "
               "this one with \"lunar attach\"");
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    CHECK_EQ(lun, 0);
    host_close(&t);
    host_open(&t);
    check_disk(&t, "state", "attached");
    host_fini(&t);
}

static void remember_something(struct host *t)
{
    t->on_open = NULL;
    host_vm(t, "other");
}

static void a_disk_stays_remembered_while_it_is_opened_again(void)
{
    char path[WORLD_PATH_BYTES + 16], *text;
    json_t *state = NULL;
    struct host t;
    unsigned lun;

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    host_close(&t);
    t.open_fails = E_VOL_OFFLINE;
    host_open(&t);
    t.open_fails = E_OK;
    t.on_open = remember_something;
    hotplug_retry(t.h);
    check_disk(&t, "state", "attached");
    snprintf(path, sizeof path, "%s/vms.json", t.world.dir);
    CHECK_OK_FATAL(jsonfile_load(path, &state, &t.why));
    text = json_dumps(state, 0);
    CHECK_CONTAINS(text, "/root/v/a.raw");
    CHECK_CONTAINS(text, "other");
    free(text);
    json_decref(state);
    host_fini(&t);
}

/* Others look at the disk, and take hold of it, while it is put away. */
static void meddle(struct host *t)
{
    struct hotplug_detach_args again = {.vm = "web", .force = true};
    unsigned lun;

    t->on_close = NULL;
    check_disk(t, "state", "closing");
    CHECK_ERR(hotplug_detach(t->h, &again, &t->why), E_BUSY);
    CHECK_ERR(attach(t, "web", "/root/v/a.vhd", &lun), E_BUSY);
    CHECK_ERR(hotplug_resize(t->h, "/root/v/a.vhd", FILE_BYTES * 2, &t->why),
              E_BUSY);
}

static void a_disk_that_is_closing_is_let_alone(void)
{
    struct host t;
    unsigned lun;

    host_init(&t);
    make_vhd(host_file(&t, "/root/v/a.vhd"), VHD_DYNAMIC);
    host_vm(&t, "web");
    CHECK_OK(attach(&t, "web", "/root/v/a.vhd", &lun));
    t.on_close = meddle;
    CHECK_OK(detach(&t, "web", 0));
    CHECK_EQ(t.on_close == NULL, true);
    CHECK_EQ(disk_count(&t), 0);
    host_fini(&t);
}

static void what_cannot_be_remembered_is_not_attached(void)
{
    struct host t;
    unsigned lun;
    char path[WORLD_PATH_BYTES + 16];

    host_init(&t);
    host_file(&t, "/root/v/a.raw");
    host_vm(&t, "web");
    snprintf(path, sizeof path, "%s/vms.json.new", t.world.dir);
    CHECK_EQ(mkdir(path, 0700), 0); /* in the way of the new file */
    CHECK_ERR(attach(&t, "web", "/root/v/a.raw", &lun), E_ISDIR);
    CHECK_EQ(disk_count(&t), 0);
    CHECK_EQ(t.file[0].opens, 0);
    CHECK_EQ(rmdir(path), 0);
    CHECK_OK(attach(&t, "web", "/root/v/a.raw", &lun));
    host_fini(&t);
}

static const struct test tests[] = {
    TEST(a_disk_gets_the_lowest_lun_and_its_file_is_closed_after),
    TEST(attaching_again_changes_nothing_unless_it_asks_for_more),
    TEST(a_disk_has_one_owner_who_is_named_but_many_readers),
    TEST(a_failed_attach_leaves_nothing),
    TEST(paths_that_lead_out_of_the_root_are_refused),
    TEST(the_name_decides_and_then_the_content),
    TEST(a_footer_in_a_raw_disk_opens_no_other_file),
    TEST(an_attached_disk_grows_but_does_not_shrink),
    TEST(a_vm_with_disks_stays_and_names_are_checked),
    TEST(a_restart_finds_vms_and_disks_and_a_volume_may_come_later),
    TEST(a_failed_disk_can_be_forgotten),
    TEST(a_failed_disk_comes_back_to_its_own_lun),
    TEST(a_restart_gives_no_guest_another_file_of_that_name),
    TEST(a_disk_stays_remembered_while_it_is_opened_again),
    TEST(a_disk_that_is_closing_is_let_alone),
    TEST(what_cannot_be_remembered_is_not_attached),
};
TEST_SUITE("hotplug/hotplug", tests);
