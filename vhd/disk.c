/* vhd/disk.c - open and close a disk; say what it is.  Moves no guest byte.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/disk.h"
#include "vhd/locator.h"

#include "base/loop.h"

#include <ctype.h>
#include <string.h>
#include <sys/mman.h>

static void disk_close(struct store *s)
{
    vhd_abandon(container_of(s, struct vhd, store));
}

static const struct store_ops vhd_store_ops = {"vhd", vhd_submit, disk_close};

struct store *vhd_store(struct vhd *vhd)
{
    return &vhd->store;
}

/* -- opening --------------------------------------------------------------- */

static enum err make_fragments(struct vhd *v, uint32_t n)
{
    v->fragments = calloc(n, sizeof *v->fragments);
    v->rooms_bytes = n * sizeof *v->rooms;
    v->rooms = mmap(NULL, v->rooms_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->rooms == MAP_FAILED)
        v->rooms = NULL;
    if (!v->fragments || !v->rooms)
        return E_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        struct vhd_fragment *f = &v->fragments[i];

        f->vhd = v;
        f->iov = v->rooms[i].iov;
        f->bitmap = v->rooms[i].bitmap;
        list_push_back(&v->idle_fragments, &f->link);
    }
    return E_OK;
}

static uint32_t disk_caps(const struct vhd *v)
{
    const struct vhd_layer *top = vhd_top(v);
    uint32_t caps = STORE_VOLATILE;

    if (v->read_only)
        return STORE_READ_ONLY;
    if (top->file->caps & STORE_CAN_RESIZE)
        caps |= STORE_CAN_RESIZE;
    if (top->file->caps & STORE_CAN_DISCARD)
        caps |= STORE_CAN_DISCARD;
    /* A discarded sector of a child may show its parent's. */
    if (top->footer.type != VHD_DIFFERENCING)
        caps |= STORE_DISCARD_ZEROES;
    return caps;
}

static void fill_store(struct vhd *v)
{
    v->store = (struct store){
        .ops = &vhd_store_ops,
        .size_bytes = vhd_top(v)->size_bytes,
        .block_bytes = VHD_SECTOR_BYTES,
        .physical_bytes = VHD_PAGE_BYTES,
        .caps = disk_caps(v),
    };
}

/* May this file be written, and by us? */
static enum err check_writable(const struct vhd_layer *top, struct diag *why)
{
    if (top->file->caps & STORE_READ_ONLY)
        return diag_fail(why, E_READ_ONLY, "the file is read-only");
    if (top->footer.saved_state)
        return diag_fail(why, E_BUSY,
                         "footer: the disk belongs to the saved state of a "
                         "virtual machine; resume or discard that first");
    if (top->footer.type != VHD_FIXED && !(top->file->caps & STORE_CAN_RESIZE))
        return diag_fail(why, E_UNSUPPORTED,
                         "the file cannot grow: open the disk read-only");
    return E_OK;
}

/* Let the file end behind its last block.  On a full volume there may be no
 * place for the footer there: then that waits for the close. */
static enum err settle_end(struct vhd *v)
{
    const struct vhd_layer *top = vhd_top(v);
    uint64_t end = vhd_trimmed_bytes(v->space.end_bytes) +
                   (uint64_t)v->space.stride_sectors * VHD_SECTOR_BYTES;
    enum err e;

    if (top->has_tail && top->file->size_bytes <= end)
        return E_OK;
    e = vhd_space_trim(v);
    v->space.extended = e == E_VOL_FULL;
    return v->space.extended ? E_OK : e;
}

/* Put the ends of the file in order where a crash, or somebody with other
 * ideas of order, left them. */
static enum err settle(struct vhd *v)
{
    struct vhd_layer *top = vhd_top(v);
    struct vhd_footers footers;
    enum err e;

    if (vhd_is_fixed(v))
        return E_OK;
    e = vhd_batmap_clear(top);
    if (!e)
        e = settle_end(v);
    if (!e)
        e = vhd_footers_read(top->file, &footers);
    if (e ||
        (!footers.copy_error && vhd_footer_equal(&footers.copy, &top->footer)))
        return e;
    return vhd_layer_write_copy(top);
}

static enum err open_layers(struct vhd *v, struct store *file,
                            const struct vhd_open_args *args, struct diag *why)
{
    struct vhd_layer *top = calloc(1, sizeof *top);
    enum err e;

    if (!top)
        return E_NOMEM;
    v->layers[v->layer_count++] = top;
    e = vhd_layer_load(top, file, args->size_rule, !args->read_only, why);
    if (e)
        return e;
    if (args->path &&
        (*args->path != '/' || vhd_path_resolve("/", args->path, top->path)))
        return diag_fail(why, E_INVAL, "%s: not an absolute path", args->path);
    if (!args->read_only)
        e = check_writable(top, why);
    return e ? e : vhd_chain_open(v, args->opener, args->size_rule, why);
}

enum err vhd_open(struct store *file, const struct vhd_open_args *args,
                  struct diag *why, struct vhd **ret_vhd)
{
    AUTO(vhd_abandonp) struct vhd *v = calloc(1, sizeof *v);
    uint32_t depth = args->queue_depth ? args->queue_depth : VHD_QUEUE_DEPTH;
    enum err e;

    if (!v)
        return E_NOMEM;
    v->read_only = args->read_only;
    v->firm = args->firm;
    list_init(&v->idle_fragments);
    list_init(&v->fragment_waiters);
    for (size_t i = 0; i < VHD_WAIT_BUCKETS; i++)
        list_init(&v->block_waiters[i]);
    vhd_flush_init(v);
    e = open_layers(v, file, args, why);
    if (!e)
        e = make_fragments(v, depth);
    if (!e)
        e = vhd_space_init(v, args);
    if (e)
        return e;
    if (!v->read_only)
        e = settle(v);
    if (e)
        return diag_fail(why, e, "putting the ends of the file in order: %s",
                         err_text(e));
    fill_store(v);
    *ret_vhd = TAKE(v);
    return E_OK;
}

/* -- closing --------------------------------------------------------------- */

void vhd_abandon(struct vhd *vhd)
{
    if (!vhd)
        return;
    for (uint32_t i = 0; i < vhd->layer_count; i++) {
        vhd_layer_fini(vhd->layers[i]);
        if (i > 0)
            store_close(vhd->layers[i]->file);
        free(vhd->layers[i]);
    }
    vhd_space_fini(vhd);
    if (vhd->rooms)
        munmap(vhd->rooms, vhd->rooms_bytes);
    free(vhd->fragments);
    free(vhd);
}

/* A resize that failed may have left other footers than the one in RAM. */
static enum err close_footers(struct vhd *v)
{
    struct vhd_layer *top = vhd_top(v);
    struct vhd_disk_footer disk;
    uint64_t tail = top->file->size_bytes - VHD_FOOTER_BYTES;
    enum err e;

    if (!v->resize.footers_owed)
        return E_OK;
    vhd_footer_encode(&top->footer, &disk);
    e = store_write_sync(top->file, tail, &disk, sizeof disk);
    if (!e)
        e = store_flush_sync(top->file);
    return e || vhd_is_fixed(v) ? e : vhd_layer_write_copy(top);
}

enum err vhd_close(struct vhd *vhd)
{
    AUTO(vhd_abandonp) struct vhd *v = vhd;
    enum err e;

    if (v->read_only)
        return E_OK;
    e = store_flush_sync(&v->store);
    ASSERT(!v->space.extending);
    if (!e)
        e = close_footers(v);
    if (e || vhd_is_fixed(v))
        return e;
    return vhd_space_owed(v) ? vhd_space_trim(v) : E_OK;
}

/* -- information ----------------------------------------------------------- */

static void info_of_layer(const struct vhd_layer *l, struct vhd_info *info)
{
    const struct vhd_footer *f = &l->footer;

    *info = (struct vhd_info){
        .type = f->type,
        .size_bytes = l->size_bytes,
        .original_size_bytes = f->original_bytes,
        .max_size_bytes = l->size_bytes,
        .file_bytes = l->file->size_bytes,
        .created_s = vhd_timestamp_unix_s(f->timestamp),
        .creator_version = f->creator_version,
        .saved_state = f->saved_state,
    };
    memcpy(info->uuid, f->uuid, sizeof info->uuid);
    for (size_t i = 0; i < sizeof f->creator && f->creator[i]; i++)
        info->creator[i] =
            isprint((unsigned char)f->creator[i]) ? f->creator[i] : '?';
    if (f->type == VHD_FIXED)
        return;
    info->block_bytes = l->header.block_bytes;
    info->blocks = (uint32_t)div_round_up(l->size_bytes, info->block_bytes);
    info->max_size_bytes =
        min_u64((uint64_t)l->header.max_entries * info->block_bytes,
                max_u64(VHD_SIZE_MAX_BYTES, l->size_bytes));
    if (f->type != VHD_DIFFERENCING)
        return;
    memcpy(info->parent_uuid, l->header.parent_uuid, sizeof info->parent_uuid);
    if (vhd_parent_name_decode(l->header.parent_name, info->parent))
        info->parent[0] = '\0';
}

void vhd_info(const struct vhd *vhd, struct vhd_info *ret_info)
{
    const struct vhd_layer *top = vhd_top(vhd);

    info_of_layer(top, ret_info);
    ret_info->blocks_allocated = top->table.allocated;
    ret_info->chain_files = vhd->layer_count;
    if (vhd->layer_count > 1)
        memcpy(ret_info->parent, vhd->layers[1]->path, VHD_PATH_BYTES);
}

enum err vhd_probe(struct store *file, struct diag *why,
                   struct vhd_info *ret_info)
{
    struct vhd_layer layer = {.file = file};
    struct vhd_footers footers;
    enum err e;

    e = vhd_footers_read(file, &footers);
    if (!e)
        e = vhd_footers_choose(&footers, why, &layer.footer);
    if (e)
        return e;
    layer.size_bytes = vhd_size_by_rule(&layer.footer, VHD_SIZE_BY_CREATOR);
    if (layer.footer.type != VHD_FIXED)
        e = vhd_layer_read_header(&layer, why);
    if (!e)
        info_of_layer(&layer, ret_info);
    return e;
}
