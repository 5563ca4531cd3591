/* tests/tools/vhdtool.c - VHDs in plain files, for tests against other
 * programs: make, show, check, grow, fill and empty them.
 * Not a tool for people: `lunar disk` is.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/loop.h"
#include "base/uuid.h"
#include "iscsi/lun.h"
#include "vhd/vhd.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 20, AIO_DEPTH = 128 };

static const char usage_text[] =
    "usage: vhdtool create FILE TYPE SIZE [PARENT]   SIZE 0: the parent's\n"
    "       vhdtool info|check|repair FILE\n"
    "       vhdtool export FILE [OFFSET LENGTH]      to stdout\n"
    "       vhdtool resize FILE SIZE\n"
    "       vhdtool import FILE                      from stdin, no zeros\n"
    "       vhdtool write FILE OFFSET LENGTH SEED    bytes of a pattern\n"
    "       vhdtool discard|zero FILE OFFSET LENGTH\n";

static struct diag why;

NORETURN static void fail(const char *what, enum err e)
{
    fprintf(stderr, "vhdtool: %s: %s\n", what, diag_text(&why, e));
    exit(1);
}

static void must(const char *what, enum err e)
{
    if (e)
        fail(what, e);
}

/* -- files ----------------------------------------------------------------- */

/* A LUN as a store that closes it. */
struct lun_file_store {
    struct store base;
    struct lun *lun;
};

static enum err file_submit(struct store *s, struct store_io *io)
{
    return store_submit(
        lun_store(container_of(s, struct lun_file_store, base)->lun), io);
}

static void file_close(struct store *s)
{
    struct lun_file_store *f = container_of(s, struct lun_file_store, base);

    lun_close(f->lun);
    free(f);
}

static const struct store_ops file_ops = {"file", file_submit, file_close};

static struct lun *open_lun(const char *path, bool read_only, enum err *ret)
{
    struct lun *lun = NULL;
    char url[PATH_MAX + 8];

    snprintf(url, sizeof url, "file:%s", path);
    *ret =
        lun_open(url, &(struct lun_args){.read_only = read_only}, &why, &lun);
    return lun;
}

static enum err open_parent(struct vhd_opener *opener, const char *path,
                            struct diag *d, struct store **ret_file)
{
    struct lun_file_store *f = calloc(1, sizeof *f);
    enum err e;

    (void)opener;
    (void)d;
    f->lun = open_lun(path, true, &e);
    if (e) {
        free(f);
        return e;
    }
    f->base = *lun_store(f->lun);
    f->base.ops = &file_ops;
    *ret_file = &f->base;
    return E_OK;
}

static struct vhd_opener opener = {open_parent};

/* A VHD in a file, and its file. */
struct disk {
    struct lun *lun;
    struct vhd *vhd;
    struct store *store;
};

static void open_file(struct disk *d, const char *path, bool read_only)
{
    enum err e;

    *d = (struct disk){.lun = open_lun(path, read_only, &e)};
    must(path, e);
}

static void open_disk(struct disk *d, const char *path, bool read_only)
{
    char absolute[PATH_MAX];

    open_file(d, path, read_only);
    if (!realpath(path, absolute))
        fail(path, E_NOENT);
    must(path, vhd_open(lun_store(d->lun),
                        &(struct vhd_open_args){.path = absolute,
                                                .opener = &opener,
                                                .read_only = read_only},
                        &why, &d->vhd));
    d->store = vhd_store(d->vhd);
}

static void close_disk(struct disk *d)
{
    if (d->vhd)
        must("closing", vhd_close(d->vhd));
    lun_close(d->lun);
}

/* -- commands -------------------------------------------------------------- */

static void probe(const char *path, struct vhd_info *info)
{
    struct disk d;

    open_file(&d, path, true);
    must(path, vhd_probe(lun_store(d.lun), &why, info));
    close_disk(&d);
}

static void create(char **argv, int argc)
{
    char child[PATH_MAX], parent[PATH_MAX];
    struct vhd_create_args args = {.now_s = clock_wall_ns(clock_system()) /
                                            NS_PER_S};
    struct vhd_info info;
    struct disk d;
    FILE *f = fopen(argv[0], "wxe");

    if (!f || fclose(f))
        fail(argv[0], E_EXIST);
    must(argv[1], vhd_type_from_name(argv[1], &args.type));
    args.size_bytes = strtoull(argv[2], NULL, 0);
    must("uuid", uuid_random(args.uuid));
    if (argc > 3) {
        if (!realpath(argv[0], child) || !realpath(argv[3], parent))
            fail(argv[3], E_NOENT);
        probe(argv[3], &info);
        args.parent = &info;
        args.path = child;
        args.parent_path = parent;
    }
    open_file(&d, argv[0], false);
    must(argv[0], vhd_create(lun_store(d.lun), &args, &why));
    close_disk(&d);
}

static void info(char **argv, int argc)
{
    struct vhd_info i;
    struct disk d;

    (void)argc;
    open_disk(&d, argv[0], true);
    vhd_info(d.vhd, &i);
    printf("type %s\nsize %" PRIu64 "\nmax %" PRIu64 "\nfile %" PRIu64
           "\nblocks %u of %u\nchain %u\ncreator %s\nparent %s\n",
           vhd_type_name(i.type), i.size_bytes, i.max_size_bytes, i.file_bytes,
           i.blocks_allocated, i.blocks, i.chain_files, i.creator, i.parent);
    close_disk(&d);
}

static void print_problem(void *arg, const struct vhd_problem *p)
{
    (void)arg;
    printf("%s%s\n", p->text, p->repaired ? " (repaired)" : "");
}

static void check_file(const char *path, bool repair)
{
    struct vhd_check_result result;
    struct disk d;

    open_file(&d, path, !repair);
    must(path, vhd_check(lun_store(d.lun),
                         &(struct vhd_check_args){.repair = repair,
                                                  .report = print_problem},
                         &why, &result));
    close_disk(&d);
}

static void check(char **argv, int argc)
{
    (void)argc;
    check_file(argv[0], false);
}

static void repair(char **argv, int argc)
{
    (void)argc;
    check_file(argv[0], true);
}

static void resize(char **argv, int argc)
{
    struct disk d;

    (void)argc;
    open_disk(&d, argv[0], false);
    must(argv[0], store_range_sync(d.store, STORE_RESIZE,
                                   strtoull(argv[1], NULL, 0), 0));
    close_disk(&d);
}

static void export(char **argv, int argc)
{
    static uint8_t chunk[CHUNK_BYTES];
    uint64_t at = argc > 1 ? strtoull(argv[1], NULL, 0) : 0, end;
    struct disk d;

    open_disk(&d, argv[0], true);
    end = argc > 2 ? at + strtoull(argv[2], NULL, 0) : d.store->size_bytes;
    for (; at < end; at += CHUNK_BYTES) {
        size_t n = min_u64(CHUNK_BYTES, end - at);

        must(argv[0], store_read_sync(d.store, at, chunk, n));
        if (fwrite(chunk, 1, n, stdout) != n)
            fail("stdout", E_IO);
    }
    close_disk(&d);
}

static void import(char **argv, int argc)
{
    static uint8_t chunk[CHUNK_BYTES], zeros[CHUNK_BYTES];
    struct disk d;
    uint64_t at = 0;
    size_t n;

    (void)argc;
    open_disk(&d, argv[0], false);
    while ((n = fread(chunk, 1, sizeof chunk, stdin))) {
        if (memcmp(chunk, zeros, n) != 0)
            must(argv[0], store_write_sync(d.store, at, chunk, n));
        at += n;
    }
    close_disk(&d);
}

/* Every 8 bytes: seed and offset. */
static void write_pattern(char **argv, int argc)
{
    uint64_t off = strtoull(argv[1], NULL, 0), len = strtoull(argv[2], NULL, 0);
    uint64_t seed = strtoull(argv[3], NULL, 0);
    uint64_t *buf = malloc(len);
    struct disk d;

    (void)argc;
    for (uint64_t i = 0; i < len / 8; i++)
        buf[i] = seed << 48 ^ (off + i * 8);
    open_disk(&d, argv[0], false);
    must(argv[0], store_write_sync(d.store, off, buf, len));
    close_disk(&d);
    free(buf);
}

static void range(char **argv, enum store_op op)
{
    struct disk d;

    open_disk(&d, argv[0], false);
    must(argv[0], store_range_sync(d.store, op, strtoull(argv[1], NULL, 0),
                                   strtoull(argv[2], NULL, 0)));
    close_disk(&d);
}

static void discard(char **argv, int argc)
{
    (void)argc;
    range(argv, STORE_DISCARD);
}

static void zero(char **argv, int argc)
{
    (void)argc;
    range(argv, STORE_WRITE_ZEROES);
}

/* clang-format off */
static const struct command {
    const char *name;
    int args_min, args_max; /* the file included */
    void (*run)(char **argv, int argc);
} commands[] = {
    {"create",  3, 4, create},
    {"info",    1, 1, info},
    {"check",   1, 1, check},
    {"repair",  1, 1, repair},
    {"resize",  2, 2, resize},
    {"export",  1, 3, export},
    {"import",  1, 1, import},
    {"write",   4, 4, write_pattern},
    {"discard", 3, 3, discard},
    {"zero",    3, 3, zero},
};
/* clang-format on */

int main(int argc, char **argv)
{
    struct loop *loop;

    for (size_t i = 0; argc > 2 && i < ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];

        if (strcmp(c->name, argv[1]) != 0 || argc - 2 < c->args_min ||
            argc - 2 > c->args_max)
            continue;
        must("loop", loop_new(&(struct loop_args){.name = "vhdtool",
                                                  .aio_depth = AIO_DEPTH},
                              &loop));
        loop_adopt(loop);
        c->run(argv + 2, argc - 2);
        loop_adopt(NULL);
        loop_free(loop);
        return 0;
    }
    fputs(usage_text, stderr);
    return 2;
}
