/* vhd/check.c - verify one file, and repair what can be without loss.
 * Invents nothing: a damaged header or table entry is reported, not guessed.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/layer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct check {
    struct vhd_layer layer;
    const struct vhd_check_args *args;
    struct vhd_check_result result;
    uint32_t left; /* problems other than leftovers that are still there */
};

/* -- reporting ------------------------------------------------------------- */

/* A problem, after `fix` (may be NULL) had its chance.
 * Errors: of the fix. */
typedef enum err fix_fn(struct check *c);

static void count(struct vhd_check_result *r, enum vhd_damage damage)
{
    switch (damage) {
    case VHD_LEFTOVER: r->leftovers++; return;
    case VHD_REPAIRABLE: r->repairable++; return;
    case VHD_LOST: r->lost++; return;
    }
}

static enum err found(struct check *c, enum vhd_damage damage, uint64_t off,
                      fix_fn *fix, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
static enum err found(struct check *c, enum vhd_damage damage, uint64_t off,
                      fix_fn *fix, const char *fmt, ...)
{
    struct vhd_problem p = {.damage = damage, .off_bytes = off};
    enum err e = E_OK;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p.text, sizeof p.text, fmt, ap);
    va_end(ap);
    if (c->args->repair && fix) {
        e = fix(c);
        p.repaired = !e;
    }
    count(&c->result, damage);
    c->result.repaired += p.repaired;
    c->left += damage != VHD_LEFTOVER && !p.repaired;
    if (c->args->report)
        c->args->report(c->args->arg, &p);
    return e;
}

/* -- a fixed disk whose footer is not at the end --------------------------- */

enum { SCAN_BYTES = 1 << 20 };

/* The last sector in buf that is not all zeros; false: there is none. */
static bool last_used_sector(const uint8_t *buf, size_t bytes, size_t *ret_off)
{
    static const uint8_t zeros[VHD_SECTOR_BYTES];

    for (size_t off = bytes; off >= VHD_SECTOR_BYTES; off -= VHD_SECTOR_BYTES)
        if (memcmp(buf + off - VHD_SECTOR_BYTES, zeros, sizeof zeros) != 0) {
            *ret_off = off - VHD_SECTOR_BYTES;
            return true;
        }
    return false;
}

/* A resize that was cut short leaves zeros behind the footer of before. */
static enum err scan_for_footer(struct check *c, struct diag *why,
                                uint64_t *ret_off)
{
    struct store *file = c->layer.file;
    uint64_t end = align_down(file->size_bytes, VHD_SECTOR_BYTES);
    AUTO(freep) uint8_t *buf = malloc(SCAN_BYTES);

    if (!buf)
        return E_NOMEM;
    while (end) {
        size_t bytes = min_u64(SCAN_BYTES, end), off;
        enum err e = store_read_sync(file, end - bytes, buf, bytes);

        if (e)
            return e;
        end -= bytes;
        if (!last_used_sector(buf, bytes, &off))
            continue;
        *ret_off = end + off;
        return vhd_footer_decode(buf + off, end + off, why, &c->layer.footer);
    }
    return diag_fail(why, E_VHD_FOOTER, "the file holds nothing but zeros");
}

static enum err fix_cut_after_footer(struct check *c)
{
    struct store *file = c->layer.file;
    enum err e = store_range_sync(file, STORE_RESIZE,
                                  c->layer.size_bytes + VHD_FOOTER_BYTES, 0);

    return e ? e : store_flush_sync(file);
}

static enum err check_lost_footer(struct check *c,
                                  const struct vhd_footers *footers,
                                  struct diag *why)
{
    struct diag ignored;
    uint64_t off = 0;
    enum err e = scan_for_footer(c, &ignored, &off);

    if (e || c->layer.footer.type != VHD_FIXED ||
        c->layer.footer.current_bytes != off)
        return diag_fail(why, footers->tail_error, "%s",
                         footers->tail_why.text);
    c->layer.size_bytes = off;
    return found(c, VHD_REPAIRABLE, off, fix_cut_after_footer,
                 "the footer is at %llu and zeros follow it: a resize was cut "
                 "short",
                 (unsigned long long)off);
}

/* -- footers --------------------------------------------------------------- */

static enum err fix_copy(struct check *c)
{
    return vhd_layer_write_copy(&c->layer);
}

static enum err fix_tail(struct check *c)
{
    enum err e = vhd_layer_trim(&c->layer, c->layer.layout.end_bytes);

    if (!e)
        c->layer.has_tail = true;
    return e;
}

static enum err check_copy(struct check *c, const struct vhd_footers *footers)
{
    if (footers->copy_error)
        return found(c, VHD_REPAIRABLE, 0, fix_copy, "%.180s",
                     footers->copy_why.text);
    if (!footers->tail_error &&
        !vhd_footer_equal(&footers->copy, &footers->tail))
        return found(c, VHD_REPAIRABLE, 0, fix_copy,
                     "footer at 0: differs from the one that ends the file");
    return E_OK;
}

/* After the table: where the footer belongs is known only then, and a file
 * with bad entries must not be cut. */
static enum err check_tail(struct check *c, const struct vhd_footers *footers)
{
    const struct vhd_layer *l = &c->layer;
    uint64_t size = l->file->size_bytes;
    fix_fn *fix = c->result.lost ? NULL : fix_tail;

    if (footers->tail_error)
        return found(c, VHD_REPAIRABLE, size, fix, "%.180s",
                     footers->tail_why.text);
    if (size > vhd_trimmed_bytes(l->layout.end_bytes) + l->header.block_bytes)
        return found(c, VHD_LEFTOVER, l->layout.end_bytes, fix,
                     "%llu bytes behind the last block belong to nothing",
                     (unsigned long long)(size - l->layout.end_bytes));
    return E_OK;
}

/* -- the sparse part ------------------------------------------------------- */

static void bad_entry(void *arg, uint32_t block, const char *text)
{
    struct check *c = arg;

    (void)found(c, VHD_LOST,
                c->layer.header.table_off_bytes +
                    (uint64_t)block * VHD_ENTRY_BYTES,
                NULL, "%s", text);
}

static enum err check_locators(struct check *c)
{
    bool any = false;
    enum err e = E_OK;

    for (size_t i = 0; i < VHD_LOCATORS && !e; i++) {
        const struct vhd_locator *l = &c->layer.header.locators[i];
        char path[VHD_PATH_BYTES];

        if (!l->code)
            continue;
        e = vhd_layer_locator(&c->layer, i, path);
        any |= !e;
        if (e == E_VHD_PARENT)
            e = found(c, VHD_LEFTOVER, l->off_bytes, NULL,
                      "parent locator %zu (0x%08x, %u bytes at %llu) says "
                      "nothing that is understood",
                      i, l->code, l->length_bytes,
                      (unsigned long long)l->off_bytes);
    }
    if (!e && !any)
        e = found(c, VHD_LEFTOVER, c->layer.footer.data_offset, NULL,
                  "no parent locator is usable: the parent must be beside "
                  "this file");
    return e;
}

static enum err check_table(struct check *c, struct diag *why)
{
    struct vhd_layer *l = &c->layer;
    struct vhd_extent extents[VHD_EXTENTS_MAX];
    size_t n;
    enum err e;

    e = vhd_layer_read_batmap(l);
    if (!e && l->batmap.off_bytes && !l->batmap.valid)
        e = found(c, VHD_LEFTOVER, l->batmap.off_bytes, NULL,
                  "batmap at %llu: does not match its checksum; it is not used",
                  (unsigned long long)l->batmap.off_bytes);
    if (e)
        return e;
    n = vhd_layer_extents(l, extents);
    e = vhd_extents_check(extents, n, why);
    if (!e)
        e = vhd_layer_read_table(l, false, why);
    if (e)
        return e;
    return vhd_table_check(&l->table, extents, n, vhd_layer_limit_bytes(l),
                           bad_entry, c, why, &l->layout);
}

static enum err check_sparse(struct check *c, const struct vhd_footers *footers,
                             struct diag *why)
{
    enum err e = vhd_layer_read_header(&c->layer, why);

    if (!e)
        e = check_copy(c, footers);
    if (!e && c->layer.footer.type == VHD_DIFFERENCING)
        e = check_locators(c);
    if (!e)
        e = check_table(c, why);
    return e ? e : check_tail(c, footers);
}

static enum err check_fixed(struct check *c)
{
    uint64_t limit = vhd_layer_limit_bytes(&c->layer);

    if (c->layer.size_bytes <= limit)
        return E_OK;
    return found(c, VHD_LOST, limit, NULL,
                 "the disk has %llu bytes but only %llu are before the footer",
                 (unsigned long long)c->layer.size_bytes,
                 (unsigned long long)limit);
}

static enum err check_file(struct check *c, struct diag *why)
{
    struct vhd_footers footers;
    enum err e = vhd_footers_read(c->layer.file, &footers);

    if (e)
        return e;
    if (footers.tail_error && footers.copy_error)
        return check_lost_footer(c, &footers, why);
    e = vhd_footers_choose(&footers, why, &c->layer.footer);
    if (e)
        return e;
    c->layer.has_tail = !footers.tail_error;
    c->layer.size_bytes =
        vhd_size_by_rule(&c->layer.footer, VHD_SIZE_BY_CREATOR);
    return c->layer.footer.type == VHD_FIXED ? check_fixed(c)
                                             : check_sparse(c, &footers, why);
}

enum err vhd_check(struct store *file, const struct vhd_check_args *args,
                   struct diag *why, struct vhd_check_result *ret_result)
{
    struct check c = {.layer = {.file = file}, .args = args};
    enum err e;

    if (why)
        why->text[0] = '\0';
    e = check_file(&c, why);
    vhd_layer_fini(&c.layer);
    *ret_result = c.result;
    if (e && why && !why->text[0])
        return diag_fail(why, e, "checking the disk: %s", err_text(e));
    if (e)
        return e;
    if (c.left)
        return diag_fail(why, E_CORRUPT, "%u problems are left", c.left);
    return E_OK;
}
