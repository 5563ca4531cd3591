/* lunard/cli_disk.c - VHD files by path: create, info, check, resize.
 * Works on any file that it can open, through the mount or elsewhere; only
 * the resize of an attached disk is the daemon's business.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli_lun.h"

#include "base/clock.h"
#include "base/jsontext.h"
#include "base/uuid.h"
#include "vhd/vhd.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { HOLDER_TEXT_BYTES = 256 };

/* -- files ----------------------------------------------------------------- */

/* Absolute, without symbolic links in its directory; the file itself need not
 * be there. */
static enum err absolute_path(const char *path, char ret_path[PATH_MAX],
                              struct diag *why)
{
    char directory[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int n;

    if (strlen(path) >= sizeof directory)
        return diag_fail(why, E_NAME_TOO_LONG, "%.60s…: too long", path);
    if (!*name)
        return diag_fail(why, E_ISDIR, "%s: is a directory", path);
    snprintf(directory, sizeof directory, "%.*s",
             slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (!realpath(directory, real))
        return diag_fail(why, err_from_errno(errno), "%s: %s", directory,
                         strerror(errno));
    n = snprintf(ret_path, PATH_MAX, "%s/%s", strcmp(real, "/") ? real : "",
                 name);
    return n < PATH_MAX ? E_OK
                        : diag_fail(why, E_NAME_TOO_LONG, "%s: too long", path);
}

static enum err open_path(const char *path, const struct lun_args *args,
                          struct diag *why, struct lun **ret_lun)
{
    char url[PATH_MAX + 8];

    snprintf(url, sizeof url, "file:%s", path);
    return lun_open(url, args, why, ret_lun);
}

/* A parent's file as a store that its VHD closes. */
struct parent {
    struct store base;
    struct lun *lun;
};

static enum err parent_submit(struct store *s, struct store_io *io)
{
    return store_submit(lun_store(container_of(s, struct parent, base)->lun),
                        io);
}

static void parent_close(struct store *s)
{
    struct parent *p = container_of(s, struct parent, base);

    lun_close(p->lun);
    free(p);
}

static const struct store_ops parent_ops = {
    .name = "parent", .submit = parent_submit, .close = parent_close};

static enum err parent_open(struct vhd_opener *opener, const char *path,
                            struct diag *why, struct store **ret_file)
{
    struct lun_args args = {.read_only = true};
    struct parent *p = calloc(1, sizeof *p);
    enum err e;

    (void)opener;
    if (!p)
        return diag_fail(why, E_NOMEM, "out of memory");
    e = open_path(path, &args, why, &p->lun);
    if (e) {
        free(p);
        return e;
    }
    p->base = *lun_store(p->lun);
    p->base.ops = &parent_ops;
    *ret_file = &p->base;
    return E_OK;
}

static struct vhd_opener parent_opener = {.open = parent_open};

/* Open the VHD in `lun`, chain and all. */
static enum err open_vhd(struct lun *lun, const char *path, bool read_only,
                         struct vhd **ret_vhd, struct diag *why)
{
    struct vhd_open_args args = {
        .path = path, .opener = &parent_opener, .read_only = read_only};
    enum err e = vhd_open(lun_store(lun), &args, why, ret_vhd);

    return e ? diag_prefix(why, e, "%s", path) : E_OK;
}

/* -- create ---------------------------------------------------------------- */

/* Do the words fit together?  Complains itself, as cli_parse(). */
static int create_type(struct cli *cli, enum vhd_type *ret_type)
{
    const char *type = cli_text(cli, "--type");
    const char *parent = cli_text(cli, "--parent");
    const char *format = cli_text(cli, "--format");

    *ret_type = parent ? VHD_DIFFERENCING : VHD_DYNAMIC;
    if (format && strcmp(format, "vhd"))
        return cli_usage("--format %s: only vhd is made", format);
    if (type && vhd_type_from_name(type, ret_type))
        return cli_usage("--type %s: fixed, dynamic or differencing", type);
    if (parent && *ret_type != VHD_DIFFERENCING)
        return cli_usage("--parent is for a differencing disk");
    if (!parent && *ret_type == VHD_DIFFERENCING)
        return cli_usage("a differencing disk needs --parent PATH");
    if (!parent && !cli_text(cli, "--size"))
        return cli_usage("--size is missing");
    return -1;
}

static enum err probe_parent(const char *path, struct vhd_info *ret_info,
                             struct diag *why)
{
    struct lun_args args = {.read_only = true};
    struct lun *lun;
    enum err e = open_path(path, &args, why, &lun);

    if (e)
        return e;
    e = vhd_probe(lun_store(lun), why, ret_info);
    lun_close(lun);
    return e ? diag_prefix(why, e, "parent %s", path) : E_OK;
}

static enum err create_file(const char *path,
                            const struct vhd_create_args *args,
                            struct diag *why)
{
    enum { EMPTY_BYTES = 4096 }; /* a file LUN has a block; create resizes */
    struct lun_args lun_args = {.exclusive = true, .create_bytes = EMPTY_BYTES};
    struct lun *lun;
    enum err e = open_path(path, &lun_args, why, &lun);

    if (e)
        return e;
    e = vhd_create(lun_store(lun), args, why);
    lun_close(lun);
    if (!e)
        return E_OK;
    unlink(path);
    return diag_prefix(why, e, "%s", path);
}

static enum err disk_create(struct cli *cli, struct diag *why)
{
    char path[PATH_MAX], parent_path[PATH_MAX];
    struct vhd_info parent;
    struct vhd_create_args args = {
        .size_bytes = cli_number(cli, "--size", 0),
        .block_bytes =
            (uint32_t)min_u64(cli_number(cli, "--block", 0), UINT32_MAX),
        .now_s = clock_wall_ns(clock_system()) / NS_PER_S,
        .path = path,
    };
    enum err e = absolute_path(cli_text(cli, "PATH"), path, why);

    ASSERT(create_type(cli, &args.type) < 0);
    if (!e && args.type == VHD_DIFFERENCING) {
        e = absolute_path(cli_text(cli, "--parent"), parent_path, why);
        if (!e)
            e = probe_parent(parent_path, &parent, why);
        args.parent = &parent;
        args.parent_path = parent_path;
    }
    if (e)
        return e;
    e = uuid_random(args.uuid);
    if (e)
        return e;
    cli_progress("creating …");
    e = create_file(path, &args, why);
    cli_progress(NULL);
    return e;
}

int cli_disk_create(struct cli *cli)
{
    enum vhd_type type;
    int status = create_type(cli, &type);

    return status < 0 ? cli_with_loop(cli, disk_create) : status;
}

/* -- info ------------------------------------------------------------------ */

/* Who has it, as the volume says; "": nobody, or it is on no volume. */
static void read_holder(const char *path, char ret_text[HOLDER_TEXT_BYTES])
{
    ssize_t n =
        getxattr(path, "user.lunar.handle", ret_text, HOLDER_TEXT_BYTES - 1);

    ret_text[n < 0 ? 0 : n] = '\0';
}

static json_t *info_to_json(const char *path, const struct vhd_info *info,
                            const char *holder)
{
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:b, s:i}", "path", path,
        "format", "vhd", "type", vhd_type_name(info->type), "size",
        (json_int_t)info->size_bytes, "original_size",
        (json_int_t)info->original_size_bytes, "max_size",
        (json_int_t)info->max_size_bytes, "file_size",
        (json_int_t)info->file_bytes, "creator", info->creator, "created",
        (json_int_t)info->created_s, "saved_state", info->saved_state,
        "chain_files", (int)info->chain_files);

    if (info->block_bytes) {
        json_object_set_new(json, "block_size",
                            json_integer(info->block_bytes));
        json_object_set_new(json, "blocks", json_integer(info->blocks));
        json_object_set_new(json, "blocks_allocated",
                            json_integer(info->blocks_allocated));
    }
    if (*info->parent)
        json_object_set_new(json, "parent", json_string(info->parent));
    if (*holder)
        json_object_set_new(json, "handle", json_string(holder));
    return json;
}

static void print_info(const char *path, const struct vhd_info *info,
                       const char *holder)
{
    char size[SIZE_TEXT_BYTES], file[SIZE_TEXT_BYTES];

    size_to_text(info->size_bytes, size);
    size_to_text(info->file_bytes, file);
    printf("%s\n", path);
    printf("  type       %s VHD, creator \"%s\"%s\n", vhd_type_name(info->type),
           info->creator, info->saved_state ? ", in saved state" : "");
    printf("  size       %s (%llu bytes)\n", size,
           (unsigned long long)info->size_bytes);
    printf("  file       %s (%llu bytes)\n", file,
           (unsigned long long)info->file_bytes);
    if (info->block_bytes)
        printf("  blocks     %u of %u, %u KiB each\n", info->blocks_allocated,
               info->blocks, info->block_bytes / 1024);
    if (*info->parent)
        printf("  parent     %s (%u files in the chain)\n", info->parent,
               info->chain_files);
    if (*holder)
        printf("  held by    %s\n", holder);
}

static enum err disk_info(struct cli *cli, struct diag *why)
{
    char path[PATH_MAX];
    char holder[HOLDER_TEXT_BYTES];
    struct lun_args args = {.read_only = true};
    struct vhd_info info;
    struct vhd *vhd = NULL;
    struct lun *lun;
    enum err e = absolute_path(cli_text(cli, "PATH"), path, why);

    if (!e)
        e = open_path(path, &args, why, &lun);
    if (e)
        return e;
    e = open_vhd(lun, path, true, &vhd, why);
    if (!e) {
        vhd_info(vhd, &info);
        vhd_abandon(vhd);
    }
    lun_close(lun);
    if (e)
        return e;
    read_holder(path, holder);
    if (cli->json) {
        json_t *json = info_to_json(path, &info, holder);

        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(json);
    } else {
        print_info(path, &info, holder);
    }
    return E_OK;
}

int cli_disk_info(struct cli *cli)
{
    return cli_with_loop(cli, disk_info);
}

/* -- check ----------------------------------------------------------------- */

enum { PROBLEMS_MAX = 1000 }; /* in JSON; the counts go on */

static const char *const damage_names[] = {"left over", "repairable", "lost"};

static void print_problem(void *arg, const struct vhd_problem *p)
{
    (void)arg;
    printf("%s: %s%s\n", damage_names[p->damage], p->text,
           p->repaired ? " (repaired)" : "");
}

static void keep_problem(void *arg, const struct vhd_problem *p)
{
    json_t *problems = arg;

    if (json_array_size(problems) < PROBLEMS_MAX)
        json_array_append_new(
            problems,
            json_pack("{s:s, s:I, s:o, s:b}", "damage", damage_names[p->damage],
                      "offset", (json_int_t)p->off_bytes, "text",
                      json_text(p->text), "repaired", p->repaired));
}

/* Takes `problems`. */
static void print_check(const struct cli *cli, const char *path, enum err e,
                        const struct vhd_check_result *r, json_t *problems)
{
    json_t *json;

    if (!cli->json && !e)
        printf("%s: sound\n", path);
    if (!cli->json || (e && e != E_CORRUPT)) {
        json_decref(problems);
        return;
    }
    json =
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:o}", "path", path, "sound",
                  !e, "leftovers", (json_int_t)r->leftovers, "repairable",
                  (json_int_t)r->repairable, "lost", (json_int_t)r->lost,
                  "repaired", (json_int_t)r->repaired, "problems", problems);
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

static enum err explain_damage(const char *path, bool repair,
                               const struct vhd_check_result *r,
                               struct diag *why)
{
    return diag_fail(why, E_CORRUPT,
                     "%s: damaged: %u repairable, %u lost, %u repaired%s", path,
                     r->repairable, r->lost, r->repaired,
                     r->lost  ? ": what is lost only a backup has"
                     : repair ? ""
                              : ": use --repair");
}

static enum err disk_check(struct cli *cli, struct diag *why)
{
    char path[PATH_MAX];
    bool repair = cli_flag(cli, "--repair");
    struct lun_args lun_args = {.read_only = !repair, .exclusive = repair};
    struct vhd_check_args args = {.repair = repair, .report = print_problem};
    json_t *problems;
    struct vhd_check_result r = {0};
    struct lun *lun;
    enum err e = absolute_path(cli_text(cli, "PATH"), path, why);

    if (!e)
        e = open_path(path, &lun_args, why, &lun);
    if (e)
        return e;
    problems = json_array();
    if (cli->json) {
        args.report = keep_problem;
        args.arg = problems;
    }
    cli_progress("checking …");
    e = vhd_check(lun_store(lun), &args, why, &r);
    cli_progress(NULL);
    lun_close(lun);
    print_check(cli, path, e, &r, problems);
    if (e == E_CORRUPT)
        return explain_damage(path, repair, &r, why);
    return e ? diag_prefix(why, e, "%s", path) : E_OK;
}

int cli_disk_check(struct cli *cli)
{
    return cli_with_loop(cli, disk_check);
}

/* -- resize ---------------------------------------------------------------- */

static enum err resize_vhd(struct vhd *vhd, const char *path,
                           uint64_t size_bytes, struct diag *why)
{
    enum err e = vhd_resize_check(vhd, size_bytes, why);

    if (e)
        return diag_prefix(why, e, "%s: cannot be resized", path);
    e = store_range_sync(vhd_store(vhd), STORE_RESIZE, size_bytes, 0);
    return e ? diag_fail(why, e, "%s: cannot become %llu bytes long: %s", path,
                         (unsigned long long)size_bytes, err_text(e))
             : E_OK;
}

static enum err resize_file(const char *path, uint64_t size_bytes,
                            struct diag *why)
{
    struct lun_args args = {.exclusive = true};
    struct vhd *vhd;
    struct lun *lun;
    enum err e = open_path(path, &args, why, &lun), e_close;

    if (e)
        return e;
    e = open_vhd(lun, path, false, &vhd, why);
    if (!e) {
        e = resize_vhd(vhd, path, size_bytes, why);
        e_close = vhd_close(vhd);
        if (!e && e_close)
            e = diag_fail(why, e_close, "%s: %s", path, err_text(e_close));
    }
    lun_close(lun);
    return e;
}

static enum err disk_resize(struct cli *cli, struct diag *why)
{
    char path[PATH_MAX];
    uint64_t size_bytes = cli_number(cli, "--size", 0);
    json_t *result = NULL;
    enum err e = absolute_path(cli_text(cli, "PATH"), path, why);

    if (e)
        return e;
    e = cli_request(
        cli, "disk resize",
        json_pack("{s:s, s:I}", "path", path, "size", (json_int_t)size_bytes),
        &result, why);
    json_decref(result);
    /* Not attached, or no daemon: it is just a file. */
    if (e == E_NOENT || e == E_CLOSED)
        return resize_file(path, size_bytes, why);
    return e;
}

int cli_disk_resize(struct cli *cli)
{
    return cli_with_loop(cli, disk_resize);
}
