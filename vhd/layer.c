/* vhd/layer.c - one file of a chain: load its footers, header, table and
 * locators; put its ends in order.  Looks for no other file.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/layer.h"

#include "vhd/locator.h"

#include <string.h>

/* -- footers --------------------------------------------------------------- */

/* Virtual PC before 2004 wrote footers of 511 bytes. */
enum { SHORT_FOOTER_BYTES = VHD_FOOTER_BYTES - 1 };

static enum err read_tail(struct store *file, uint8_t sector[VHD_FOOTER_BYTES],
                          uint64_t *ret_off)
{
    uint64_t bytes = file->size_bytes % VHD_SECTOR_BYTES == SHORT_FOOTER_BYTES
                         ? SHORT_FOOTER_BYTES
                         : VHD_FOOTER_BYTES;

    memset(sector, 0, VHD_FOOTER_BYTES);
    *ret_off = file->size_bytes - bytes;
    return store_read_sync(file, *ret_off, sector, bytes);
}

enum err vhd_footers_read(struct store *file, struct vhd_footers *ret_footers)
{
    struct vhd_footers *f = ret_footers;
    uint8_t sector[VHD_FOOTER_BYTES];
    uint64_t off;
    enum err e;

    *f = (struct vhd_footers){.tail_error = E_VHD_FOOTER,
                              .copy_error = E_VHD_FOOTER};
    if (file->size_bytes < VHD_FOOTER_BYTES) {
        (void)diag_fail(&f->tail_why, E_VHD_FOOTER,
                        "the file has %llu bytes: too few for a footer",
                        (unsigned long long)file->size_bytes);
        f->copy_why = f->tail_why;
        return E_OK;
    }
    e = read_tail(file, sector, &off);
    if (e)
        return e;
    f->tail_error = vhd_footer_decode(sector, off, &f->tail_why, &f->tail);
    e = store_read_sync(file, 0, sector, sizeof sector);
    if (e)
        return e;
    f->copy_error = vhd_footer_decode(sector, 0, &f->copy_why, &f->copy);
    if (!f->copy_error && f->copy.type == VHD_FIXED)
        f->copy_error = diag_fail(&f->copy_why, E_VHD_FOOTER,
                                  "footer at 0: a fixed disk has none there");
    return E_OK;
}

enum err vhd_footers_choose(const struct vhd_footers *footers, struct diag *why,
                            struct vhd_footer *ret_footer)
{
    if (footers->tail_error && footers->copy_error)
        return diag_fail(why, footers->tail_error,
                         "%s; nor is there a copy: %s", footers->tail_why.text,
                         footers->copy_why.text);
    *ret_footer = footers->tail_error ? footers->copy : footers->tail;
    return E_OK;
}

/* -- header ---------------------------------------------------------------- */

static uint64_t table_bytes(uint64_t entries)
{
    return align_up(entries * VHD_ENTRY_BYTES, VHD_SECTOR_BYTES);
}

static enum err check_table_place(const struct vhd_layer *l, struct diag *why)
{
    const struct vhd_header *h = &l->header;
    uint64_t needed = div_round_up(l->size_bytes, h->block_bytes);

    if (needed > h->max_entries)
        return diag_fail(why, E_VHD_HEADER,
                         "dynamic header at %llu: %u table entries of %u bytes "
                         "do not cover a disk of %llu bytes",
                         (unsigned long long)l->footer.data_offset,
                         h->max_entries, h->block_bytes,
                         (unsigned long long)l->size_bytes);
    if (needed > VHD_ENTRIES_MAX)
        return diag_fail(why, E_UNSUPPORTED,
                         "the disk has %llu blocks, more than the %u that are "
                         "handled",
                         (unsigned long long)needed, VHD_ENTRIES_MAX);
    if (!range_ok(h->table_off_bytes, table_bytes(h->max_entries),
                  vhd_layer_limit_bytes(l)) ||
        h->table_off_bytes < VHD_FOOTER_BYTES)
        return diag_fail(why, E_VHD_HEADER,
                         "dynamic header at %llu: the block table at %llu with "
                         "%u entries is outside of the file",
                         (unsigned long long)l->footer.data_offset,
                         (unsigned long long)h->table_off_bytes,
                         h->max_entries);
    return E_OK;
}

enum err vhd_layer_read_header(struct vhd_layer *layer, struct diag *why)
{
    uint64_t at = layer->footer.data_offset;
    uint8_t bytes[VHD_HEADER_BYTES];
    enum err e;

    if (!range_ok(at, sizeof bytes, layer->file->size_bytes) ||
        at < VHD_FOOTER_BYTES || !is_aligned(at, VHD_SECTOR_BYTES))
        return diag_fail(why, E_VHD_HEADER,
                         "footer: the dynamic header at %llu is outside of "
                         "the file",
                         (unsigned long long)at);
    e = store_read_sync(layer->file, at, bytes, sizeof bytes);
    if (e)
        return diag_fail(why, e, "reading the dynamic header at %llu: %s",
                         (unsigned long long)at, err_text(e));
    e = vhd_header_decode(bytes, at, why, &layer->header);
    return e ? e : check_table_place(layer, why);
}

/* -- table ----------------------------------------------------------------- */

enum { TABLE_CHUNK_BYTES = 1 << 18 }; /* read at a time */

enum err vhd_layer_read_table(struct vhd_layer *layer, bool writable,
                              struct diag *why)
{
    const struct vhd_header *h = &layer->header;
    uint32_t count = (uint32_t)div_round_up(layer->size_bytes, h->block_bytes);
    AUTO(freep) uint8_t *chunk = malloc(TABLE_CHUNK_BYTES);
    uint32_t n;
    enum err e;

    if (!chunk)
        return E_NOMEM;
    e = vhd_table_init(&layer->table, count, h->block_bytes, writable);
    if (e)
        return e;
    for (uint32_t first = 0; first < count; first += n) {
        uint64_t off = h->table_off_bytes + (uint64_t)first * VHD_ENTRY_BYTES;

        n = (uint32_t)min_u64(count - first,
                              TABLE_CHUNK_BYTES / VHD_ENTRY_BYTES);
        e = store_read_sync(layer->file, off, chunk, table_bytes(n));
        if (e)
            return diag_fail(why, e, "reading the block table at %llu: %s",
                             (unsigned long long)off, err_text(e));
        vhd_table_decode(&layer->table, first, n, chunk);
    }
    return E_OK;
}

/* -- what is where --------------------------------------------------------- */

enum { BATMAP_HEADER_BYTES = 512 };

/* A locator whose text lies in the file. */
static bool locator_ok(const struct vhd_layer *layer,
                       const struct vhd_locator *locator)
{
    return locator->code && locator->length_bytes &&
           locator->length_bytes <= VHD_LOCATOR_TEXT_BYTES &&
           locator->length_bytes <= vhd_locator_space_bytes(locator->space) &&
           is_aligned(locator->off_bytes, VHD_SECTOR_BYTES) &&
           range_ok(locator->off_bytes,
                    align_up(locator->length_bytes, VHD_SECTOR_BYTES),
                    layer->file->size_bytes);
}

static const char locator_text[] = "parent locator";

size_t vhd_layer_extents(const struct vhd_layer *layer,
                         struct vhd_extent out[VHD_EXTENTS_MAX])
{
    const struct vhd_header *h = &layer->header;
    size_t n = 0;

    out[n++] = (struct vhd_extent){0, VHD_FOOTER_BYTES, "copy of the footer"};
    out[n++] = (struct vhd_extent){layer->footer.data_offset, VHD_HEADER_BYTES,
                                   "dynamic header"};
    out[n++] = (struct vhd_extent){h->table_off_bytes,
                                   table_bytes(h->max_entries), "block table"};
    for (size_t i = 0; i < VHD_LOCATORS; i++)
        if (layer->footer.type == VHD_DIFFERENCING &&
            locator_ok(layer, &h->locators[i]))
            out[n++] = (struct vhd_extent){
                h->locators[i].off_bytes,
                align_up(h->locators[i].length_bytes, VHD_SECTOR_BYTES),
                locator_text};
    if (layer->batmap.valid) {
        out[n++] = (struct vhd_extent){layer->batmap.off_bytes,
                                       BATMAP_HEADER_BYTES, "batmap"};
        out[n++] = (struct vhd_extent){layer->batmap.map_off_bytes,
                                       layer->batmap.map_bytes, "batmap"};
    }
    return n;
}

static bool is_locator(const struct vhd_extent *x)
{
    return x->what == locator_text;
}

/* Two locators may share a text: nobody writes it. */
static bool extents_collide(const struct vhd_extent *a,
                            const struct vhd_extent *b)
{
    return a->off_bytes < b->off_bytes + b->len_bytes &&
           b->off_bytes < a->off_bytes + a->len_bytes &&
           !(is_locator(a) && is_locator(b));
}

enum err vhd_extents_check(const struct vhd_extent *extents, size_t count,
                           struct diag *why)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (extents_collide(&extents[i], &extents[j]))
                return diag_fail(
                    why, E_VHD_HEADER, "the %s at %llu lies on the %s at %llu",
                    extents[i].what, (unsigned long long)extents[i].off_bytes,
                    extents[j].what, (unsigned long long)extents[j].off_bytes);
    return E_OK;
}

uint64_t vhd_layer_limit_bytes(const struct vhd_layer *layer)
{
    return layer->file->size_bytes - (layer->has_tail ? VHD_FOOTER_BYTES : 0);
}

enum err vhd_layer_locator(const struct vhd_layer *layer, size_t slot,
                           char ret_path[VHD_PATH_BYTES])
{
    const struct vhd_locator *locator = &layer->header.locators[slot];
    uint8_t text[VHD_LOCATOR_TEXT_BYTES];
    enum err e;

    if (!locator_ok(layer, locator))
        return E_VHD_PARENT;
    e = store_read_sync(layer->file, locator->off_bytes, text,
                        align_up(locator->length_bytes, VHD_SECTOR_BYTES));
    if (e)
        return e;
    return vhd_locator_decode(locator->code, text, locator->length_bytes,
                              ret_path);
}

/* -- batmap ---------------------------------------------------------------- */

/* XenServer's libvhd.  The map's checksum is that of its bytes alone. */
struct batmap_disk_header {
    char cookie[8]; /* "tdbatmap" */
    be64 offset;
    be32 sectors;
    be32 version;
    be32 checksum;
    uint8_t marker;
    uint8_t rest[483];
};
static_assert(sizeof(struct batmap_disk_header) == BATMAP_HEADER_BYTES,
              "one sector");

enum {
    BATMAP_CREATOR_VERSION = 0x00010002, /* the first "tap" that has one */
    BATMAP_VERSION = 0x00010002, /* whose checksum is of unsigned bytes */
    BATMAP_BYTES_MAX = VHD_ENTRIES_MAX / 8
};

/* Where the batmap's header would be; 0 if this writer makes none. */
static uint64_t batmap_place(const struct vhd_layer *layer)
{
    uint64_t off = align_up(layer->header.table_off_bytes +
                                table_bytes(layer->header.max_entries),
                            VHD_SECTOR_BYTES);

    if (memcmp(layer->footer.creator, "tap", 4) != 0 ||
        layer->footer.creator_version < BATMAP_CREATOR_VERSION ||
        !range_ok(off, BATMAP_HEADER_BYTES, layer->file->size_bytes))
        return 0;
    return off;
}

static enum err read_map(const struct vhd_layer *layer,
                         const struct batmap_disk_header *d,
                         struct vhd_batmap *batmap)
{
    AUTO(freep) uint8_t *map = NULL;
    enum err e;

    if (!range_ok(batmap->map_off_bytes, batmap->map_bytes,
                  layer->file->size_bytes) ||
        !is_aligned(batmap->map_off_bytes, VHD_SECTOR_BYTES) ||
        batmap->map_bytes > BATMAP_BYTES_MAX)
        return E_OK;
    map = malloc(batmap->map_bytes + 1);
    if (!map)
        return E_NOMEM;
    e = store_read_sync(layer->file, batmap->map_off_bytes, map,
                        batmap->map_bytes);
    if (e)
        return e;
    for (uint64_t i = 0; i < batmap->map_bytes; i++)
        batmap->any_set |= map[i] != 0;
    batmap->valid =
        be32_get(d->version) == BATMAP_VERSION &&
        be32_get(d->checksum) == vhd_checksum(map, batmap->map_bytes, SIZE_MAX);
    return E_OK;
}

enum err vhd_layer_read_batmap(struct vhd_layer *layer)
{
    uint64_t off = batmap_place(layer);
    struct batmap_disk_header d;
    enum err e;

    if (!off)
        return E_OK;
    e = store_read_sync(layer->file, off, &d, sizeof d);
    if (e || memcmp(d.cookie, "tdbatmap", sizeof d.cookie) != 0)
        return e;
    layer->batmap = (struct vhd_batmap){
        .off_bytes = off,
        .map_off_bytes = be64_get(d.offset),
        .map_bytes = (uint64_t)be32_get(d.sectors) * VHD_SECTOR_BYTES};
    return read_map(layer, &d, &layer->batmap);
}

enum err vhd_batmap_clear(struct vhd_layer *layer)
{
    struct vhd_batmap *batmap = &layer->batmap;
    struct batmap_disk_header d;
    enum err e;

    if (!batmap->valid || !batmap->any_set)
        return E_OK;
    e = store_read_sync(layer->file, batmap->off_bytes, &d, sizeof d);
    if (e)
        return e;
    d.checksum = be32_make(UINT32_MAX); /* ~0: of no byte set */
    e = store_range_sync(layer->file, STORE_WRITE_ZEROES, batmap->map_off_bytes,
                         batmap->map_bytes);
    if (!e)
        e = store_write_sync(layer->file, batmap->off_bytes, &d, sizeof d);
    if (!e)
        e = store_flush_sync(layer->file);
    if (!e)
        batmap->any_set = false;
    return e;
}

/* -- the ends of the file -------------------------------------------------- */

/* The footer follows at once: QEMU takes what comes after its sector for
 * zeros when it appends a block. */
uint64_t vhd_trimmed_bytes(uint64_t end_bytes)
{
    return align_up(end_bytes, VHD_SECTOR_BYTES) + VHD_FOOTER_BYTES;
}

enum err vhd_layer_trim(struct vhd_layer *layer, uint64_t end_bytes)
{
    struct store *file = layer->file;
    uint64_t target = vhd_trimmed_bytes(end_bytes);
    struct vhd_disk_footer disk;
    enum err e = E_OK;

    if (file->size_bytes < target)
        e = store_range_sync(file, STORE_RESIZE, target, 0);
    vhd_footer_encode(&layer->footer, &disk);
    if (!e)
        e = store_write_sync(file, target - sizeof disk, &disk, sizeof disk);
    if (!e)
        e = store_flush_sync(file);
    if (e || file->size_bytes == target)
        return e;
    e = store_range_sync(file, STORE_RESIZE, target, 0);
    return e ? e : store_flush_sync(file);
}

enum err vhd_layer_write_copy(struct vhd_layer *layer)
{
    struct vhd_disk_footer disk;
    enum err e;

    vhd_footer_encode(&layer->footer, &disk);
    e = store_write_sync(layer->file, 0, &disk, sizeof disk);
    return e ? e : store_flush_sync(layer->file);
}

/* -- all of it ------------------------------------------------------------- */

static enum err load_fixed(struct vhd_layer *l, struct diag *why)
{
    if (l->size_bytes > vhd_layer_limit_bytes(l))
        return diag_fail(why, E_VHD_FOOTER,
                         "footer at %llu: the disk has %llu bytes, more than "
                         "lie before the footer",
                         (unsigned long long)vhd_layer_limit_bytes(l),
                         (unsigned long long)l->size_bytes);
    return E_OK;
}

static enum err load_sparse(struct vhd_layer *l, bool writable,
                            struct diag *why)
{
    struct vhd_extent extents[VHD_EXTENTS_MAX];
    size_t count;
    enum err e;

    e = vhd_layer_read_header(l, why);
    if (!e)
        e = vhd_layer_read_batmap(l);
    if (e)
        return e;
    count = vhd_layer_extents(l, extents);
    e = vhd_extents_check(extents, count, why);
    if (!e)
        e = vhd_layer_read_table(l, writable, why);
    if (e)
        return e;
    return vhd_table_check(&l->table, extents, count, vhd_layer_limit_bytes(l),
                           NULL, NULL, why, &l->layout);
}

enum err vhd_layer_load(struct vhd_layer *layer, struct store *file,
                        enum vhd_size_rule rule, bool writable,
                        struct diag *why)
{
    struct vhd_footers footers;
    enum err e;

    *layer = (struct vhd_layer){.file = file};
    if (VHD_SECTOR_BYTES % file->block_bytes)
        return diag_fail(why, E_UNSUPPORTED,
                         "the file has blocks of %u bytes, a VHD needs 512",
                         file->block_bytes);
    e = vhd_footers_read(file, &footers);
    if (e)
        return diag_fail(why, e, "reading the footer: %s", err_text(e));
    e = vhd_footers_choose(&footers, why, &layer->footer);
    if (e)
        return e;
    layer->has_tail = !footers.tail_error;
    layer->size_bytes = vhd_size_by_rule(&layer->footer, rule);
    if (!layer->size_bytes)
        return diag_fail(why, E_VHD_FOOTER, "footer: the geometry is zero");
    if (layer->footer.type == VHD_FIXED)
        return load_fixed(layer, why);
    e = load_sparse(layer, writable, why);
    if (e)
        vhd_layer_fini(layer);
    return e;
}

void vhd_layer_fini(struct vhd_layer *layer)
{
    vhd_table_fini(&layer->table);
}
