/* vhd/layer.h - one file of a chain: what is in it, checked and in RAM.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_VHD_LAYER_H
#define LUNAR_VHD_LAYER_H

#include "vhd/format.h"
#include "vhd/table.h"

enum {
    VHD_EXTENTS_MAX = 3 + VHD_LOCATORS + 2 /* copy, header, table, batmap */
};

/* A bit for each block whose bitmap is all ones, and a header before it. */
struct vhd_batmap {
    uint64_t off_bytes; /* of the header; 0: there is no batmap */
    uint64_t map_off_bytes, map_bytes;
    bool valid; /* place and checksum */
    bool any_set;
};

struct vhd_layer {
    struct store *file;
    struct vhd_footer footer;
    struct vhd_header header;  /* not for fixed */
    uint64_t size_bytes;       /* of the disk, by the rule */
    bool has_tail;             /* a valid footer ends the file */
    struct vhd_layout layout;  /* not for fixed */
    struct vhd_table table;    /* not for fixed */
    struct vhd_batmap batmap;  /* of XenServer */
    char path[VHD_PATH_BYTES]; /* absolute, resolved; "" if not known */
};

/* Both footers of a file: the one that ends it counts, the copy at 0 stands
 * in for it; a fixed disk has no copy. */
struct vhd_footers {
    struct vhd_footer tail, copy;
    enum err tail_error, copy_error; /* E_OK: the footer is valid */
    struct diag tail_why, copy_why;
};

/* Errors: those of the store only.  Context: all of these block. */
MUST_CHECK enum err vhd_footers_read(struct store *file,
                                     struct vhd_footers *ret_footers);
/* The footer to go by.  Errors: E_VHD_FOOTER, E_VHD_TYPE. */
MUST_CHECK enum err vhd_footers_choose(const struct vhd_footers *footers,
                                       struct diag *why,
                                       struct vhd_footer *ret_footer);

/* The dynamic header, its table's place checked against file and disk size.
 * Errors: E_VHD_HEADER, E_UNSUPPORTED, the store's. */
MUST_CHECK enum err vhd_layer_read_header(struct vhd_layer *layer,
                                          struct diag *why);
/* The block table, entries not yet checked.  Errors: E_NOMEM, the store's. */
MUST_CHECK enum err vhd_layer_read_table(struct vhd_layer *layer, bool writable,
                                         struct diag *why);
/* What the file uses besides blocks; returns how many.  After the header. */
size_t vhd_layer_extents(const struct vhd_layer *layer,
                         struct vhd_extent out[VHD_EXTENTS_MAX]);
/* None of them lies on another.  Errors: E_VHD_HEADER. */
MUST_CHECK enum err vhd_extents_check(const struct vhd_extent *extents,
                                      size_t count, struct diag *why);
/* Where blocks, and the table, must end. */
uint64_t vhd_layer_limit_bytes(const struct vhd_layer *layer);

/* How long a file is whose contents end there. */
uint64_t vhd_trimmed_bytes(uint64_t end_bytes);
/* Make the file that long, its footer at the end, durably.  At every
 * moment the copy at 0 or a footer at the end is valid.  Not for fixed. */
MUST_CHECK enum err vhd_layer_trim(struct vhd_layer *layer, uint64_t end_bytes);
/* Write the copy of the footer, durably.  Not for fixed. */
MUST_CHECK enum err vhd_layer_write_copy(struct vhd_layer *layer);

/* All of the above.  Errors: as vhd_open(). */
MUST_CHECK enum err vhd_layer_load(struct vhd_layer *layer, struct store *file,
                                   enum vhd_size_rule rule, bool writable,
                                   struct diag *why);
void vhd_layer_fini(struct vhd_layer *layer);

/* The text of locator `slot` as a path.  Errors: E_VHD_PARENT - the slot is
 * empty or makes no sense; the store's. */
MUST_CHECK enum err vhd_layer_locator(const struct vhd_layer *layer,
                                      size_t slot,
                                      char ret_path[VHD_PATH_BYTES]);

/* Find the batmap, if there is one.  After the header.
 * Errors: the store's, E_NOMEM. */
MUST_CHECK enum err vhd_layer_read_batmap(struct vhd_layer *layer);
/* Clear all bits of the batmap ("look at the bitmap"), which is always true.
 * Errors: the store's.  Context: blocks. */
MUST_CHECK enum err vhd_batmap_clear(struct vhd_layer *layer);

#endif
