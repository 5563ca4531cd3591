/* tests/unit/vhd/disks.c - files in memory with names, and VHDs in them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/disks.h"

#include "vhd/format.h"

#include <stdio.h>
#include <string.h>

static void must(enum err e, const struct diag *why, const char *what)
{
    if (!e)
        return;
    fprintf(stderr, "%s: %s\n", what, diag_text(why, e));
    abort();
}

/* -- files ----------------------------------------------------------------- */

struct store *disks_find(struct disks *d, const char *path)
{
    for (size_t i = 0; i < d->count; i++)
        if (!strcmp(d->files[i].path, path))
            return d->files[i].file;
    return NULL;
}

/* Lent, not given: closing the decorator leaves the file. */
static enum err open_parent(struct vhd_opener *opener, const char *path,
                            struct diag *why, struct store **ret_file)
{
    struct disks *d = container_of(opener, struct disks, opener);
    struct store *file = disks_find(d, path);

    if (!file)
        return diag_fail(why, E_NOENT, "%s: no such file", path);
    return store_fault_new(file, ret_file);
}

void disks_init(struct disks *d)
{
    *d = (struct disks){.opener = {open_parent}};
    world_init(&d->world);
}

void disks_fini(struct disks *d)
{
    for (size_t i = 0; i < d->count; i++)
        store_close(d->files[i].file);
    world_fini(&d->world);
}

struct store *disks_file(struct disks *d, const char *path)
{
    struct store *file = NULL;

    must(store_mem_new(&(struct store_mem_args){.size_bytes = 0}, &file), NULL,
         path);
    ASSERT(d->count < DISKS_FILES);
    d->files[d->count++] = (struct disks_file){path, file};
    return file;
}

/* -- disks ----------------------------------------------------------------- */

/* Let the table have room for this size only: new ones have whole pages. */
static void limit_table(struct store *file, uint64_t max_size_bytes)
{
    uint8_t bytes[VHD_HEADER_BYTES];
    struct vhd_disk_header disk;
    struct vhd_header header;
    struct diag why;

    store_mem_peek(file, VHD_FOOTER_BYTES, bytes, sizeof bytes);
    must(vhd_header_decode(bytes, VHD_FOOTER_BYTES, &why, &header), &why,
         "header");
    header.max_entries =
        (uint32_t)div_round_up(max_size_bytes, header.block_bytes);
    vhd_header_encode(&header, &disk);
    store_mem_poke(file, VHD_FOOTER_BYTES, &disk, sizeof disk);
}

/* Another one for another path: its identity. */
static uint64_t path_number(const char *path)
{
    uint64_t n = 0;

    for (; *path; path++)
        n = n * 31 + (uint8_t)*path;
    return n;
}

struct store *disks_create(struct disks *d, const char *path,
                           const struct disks_spec *spec)
{
    struct store *file = disks_file(d, path);
    struct vhd_info parent;
    struct vhd_create_args args = {
        .type = spec->type,
        .size_bytes = spec->size_bytes,
        .block_bytes = spec->block_bytes,
        .max_size_bytes = spec->max_size_bytes,
        .now_s = DISKS_NOW_S,
        .path = path,
        .parent_path = spec->parent,
    };
    struct diag why;

    pattern_fill(args.uuid, sizeof args.uuid, path_number(path), 0);
    if (spec->parent) {
        must(vhd_probe(disks_find(d, spec->parent), &why, &parent), &why,
             spec->parent);
        args.parent = &parent;
    }
    must(vhd_create(file, &args, &why), &why, path);
    if (spec->max_size_bytes && spec->type != VHD_FIXED)
        limit_table(file, spec->max_size_bytes);
    return file;
}

struct vhd *disks_open(struct disks *d, const char *path, struct store *file)
{
    struct vhd *vhd = NULL;
    struct diag why;

    must(vhd_open(file,
                  &(struct vhd_open_args){.path = path,
                                          .opener = &d->opener,
                                          .queue_depth = DISKS_QUEUE_DEPTH,
                                          .ahead_bytes = DISKS_AHEAD_BYTES},
                  &why, &vhd),
         &why, path);
    return vhd;
}

uint8_t *disks_read_all(struct store *disk)
{
    uint8_t *bytes = malloc(disk->size_bytes);

    ASSERT(bytes);
    must(store_read_sync(disk, 0, bytes, disk->size_bytes), NULL, "read all");
    return bytes;
}

static void show_problem(void *arg, const struct vhd_problem *problem)
{
    (void)arg;
    if (problem->damage != VHD_LEFTOVER)
        fprintf(stderr, "check: %s\n", problem->text);
}

void disks_check_clean(struct store *file)
{
    struct vhd_check_result result;
    struct diag why;

    CHECK_OK(vhd_check(file, &(struct vhd_check_args){.report = show_problem},
                       &why, &result));
    CHECK_EQ(result.repairable + result.lost, 0);
}

/* -- random ---------------------------------------------------------------- */

/* xorshift64*. */
uint64_t dice_roll(struct dice *dice, uint64_t sides)
{
    uint64_t x = dice->state ? dice->state : 1;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    dice->state = x;
    return (x * UINT64_C(0x2545f4914f6cdd1d) >> 11) % sides;
}

/* -- shuffle --------------------------------------------------------------- */

struct shuffle {
    struct store base;
    struct store *below;
    struct dice dice;
    struct list queue;
    struct task task;
    bool posted;
    struct store_io resize; /* for `resized`: the size follows */
    struct store_io *resized;
};

struct shuffled {
    struct list link;
    struct store_io *io;
};

static void shuffle_post(struct shuffle *s)
{
    if (s->posted)
        return;
    s->posted = true;
    loop_post(loop_self(), &s->task);
}

static void shuffle_resized(struct store_io *io, enum err e)
{
    struct shuffle *s = container_of(io, struct shuffle, resize);
    struct store_io *resized = s->resized;

    s->base.size_bytes = s->below->size_bytes;
    s->resized = NULL;
    resized->done(resized, e);
}

static void shuffle_down(struct shuffle *s, struct store_io *io)
{
    enum err e;

    if (io->op == STORE_RESIZE) {
        ASSERT(!s->resized);
        s->resized = io;
        s->resize = *io;
        s->resize.done = shuffle_resized;
        io = &s->resize;
    }
    e = store_submit(s->below, io);
    if (e)
        io->done(io, e);
}

/* One at a time, so that those submitted meanwhile mix with the older ones. */
static void shuffle_run(struct task *task)
{
    struct shuffle *s = container_of(task, struct shuffle, task);
    struct list *node = s->queue.next;
    size_t count = 0;
    struct store_io *io;

    s->posted = false;
    list_for_each (n, &s->queue)
        count++;
    for (uint64_t skip = dice_roll(&s->dice, count); skip; skip--)
        node = node->next;
    io = container_of(node, struct shuffled, link)->io;
    list_remove(node);
    if (!list_empty(&s->queue))
        shuffle_post(s);
    shuffle_down(s, io);
}

static enum err shuffle_submit(struct store *base, struct store_io *io)
{
    struct shuffle *s = container_of(base, struct shuffle, base);
    struct shuffled *room = (struct shuffled *)(void *)io->room;

    *room = (struct shuffled){.io = io};
    list_push_back(&s->queue, &room->link);
    shuffle_post(s);
    return E_OK;
}

static void shuffle_close(struct store *base)
{
    free(container_of(base, struct shuffle, base));
}

static const struct store_ops shuffle_ops = {"shuffle", shuffle_submit,
                                             shuffle_close};

struct store *shuffle_new(struct store *below, uint64_t seed)
{
    struct shuffle *s = calloc(1, sizeof *s);

    ASSERT(s);
    s->base = *below;
    s->base.ops = &shuffle_ops;
    s->below = below;
    s->dice.state = seed;
    s->task.run = shuffle_run;
    list_init(&s->queue);
    return &s->base;
}
