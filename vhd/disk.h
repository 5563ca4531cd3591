/* vhd/disk.h - an open disk: what request, write, space, flush and resize
 * share.  Everything here belongs to one loop.
 *
 *   request.c   a guest's io -> runs in the files of the chain -> fragments
 *   write.c     the first write into a block: space, bitmap, data, publish
 *   space.c     new space at the end of the file, ahead of demand
 *   flush.c     rounds: flush - bitmaps and table - flush
 *   resize.c    steps of a live grow
 *
 * A request that cannot go on (no fragment, no space, a block that is being
 * filled or whose bitmap is being read) waits in a list and starts its step
 * again when it is woken.  Nothing here allocates after vhd_open(), but for
 * the longer table of a grown disk.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_VHD_DISK_H
#define LUNAR_VHD_DISK_H

#include "base/list.h"
#include "vhd/layer.h"

enum {
    VHD_QUEUE_DEPTH = 128, /* fragments; more than a guest's queue */
    VHD_WAIT_BUCKETS = 64, /* requests wait by block, a power of two */
    VHD_META_WRITES = 16,  /* of table and bitmaps at a time in a round */
    VHD_PAD_BYTES = VHD_PAGE_BYTES - VHD_BITMAP_BYTES /* before a bitmap */
};

/* Of a guest's io, in its room. */
struct vhd_request {
    struct list link; /* in the list it waits in */
    struct store_io *io;
    struct vhd *vhd;
    uint64_t at_bytes, end_bytes; /* of the guest's disk, still to start */
    uint32_t pending;             /* fragments in flight, + 1 while it runs */
    enum err error;               /* the first one */
    uint32_t wait_layer, wait_block;
};
static_assert(sizeof(struct vhd_request) <= STORE_ROOM_BYTES, "lives in room");

/* One request to a file below. */
struct vhd_fragment {
    struct store_io io;
    struct store_io mark; /* the bitmap of a new block, beside its data */
    struct list link;     /* among the idle ones */
    struct vhd *vhd;
    struct vhd_request *request;
    uint64_t at_bytes; /* of the guest's disk */
    uint32_t layer, block;
    uint32_t first, count; /* sectors in the block */
    uint32_t entry;        /* of a block being filled */
    uint32_t pending;      /* of a fill: data and mark in flight */
    enum err error;
    struct iovec mark_iov;
    struct iovec *iov; /* VHD_FRAGMENT_IOVS */
    uint8_t *bitmap;   /* VHD_BITMAP_BYTES */
};

/* Memory of a fragment that few of them ever touch. */
enum { VHD_FRAGMENT_IOVS = VHD_IOV_MAX + 1 }; /* the bitmap's page first */
struct vhd_fragment_room {
    _Alignas(VHD_BITMAP_BYTES) uint8_t bitmap[VHD_BITMAP_BYTES];
    struct iovec iov[VHD_FRAGMENT_IOVS];
};

/* Space for blocks: sectors [next, end), zeros, a stride per block. */
struct vhd_area {
    uint64_t next, end;
};

struct vhd_space {
    struct vhd_area now, ahead;
    uint32_t stride_sectors; /* page with the bitmap, data */
    uint32_t batch_blocks;   /* of the next extension */
    uint32_t batch_max;
    uint32_t filling;   /* blocks being filled */
    uint64_t end_bytes; /* behind all that is in use */
    uint32_t *spare;    /* entries whose fill failed: not zeros */
    uint32_t spare_count, spare_max;
    bool extending;
    bool extended; /* the file is not as it came */
    bool held;     /* a resize runs: no extension starts */
    uint64_t new_bytes;
    uint32_t new_blocks;
    uint64_t unclosed_bytes; /* the file as an extension without a footer left
                              * it; 0: there was none */
    struct list waiters;
    struct store_io io;
    struct iovec iov;
    struct vhd_disk_footer tail;
};

enum vhd_flush_step {
    VHD_FLUSH_IDLE,
    VHD_FLUSH_DATA,   /* flush of the file: data, bitmaps of new blocks */
    VHD_FLUSH_META,   /* writes of dirty bitmaps and table */
    VHD_FLUSH_COMMIT, /* flush of the file again */
    VHD_FLUSH_SPACE   /* done but for an extension that still runs */
};

struct vhd_meta_write {
    struct store_io io;
    struct vhd *vhd;
    struct iovec iov[2];
    bool busy;
};

struct vhd_flush {
    enum vhd_flush_step step;
    struct list waiting; /* requests for the next round */
    struct list joined;  /* requests of this one */
    bool wrote;          /* something since the last round began */
    bool held;           /* a resize runs: no round starts */
    bool header_owed;    /* a resize failed: the one on disk is not known */
    bool header_due;     /* … and this round has not yet written it */
    enum err error;
    uint32_t writes; /* in flight */
    struct store_io io;
    struct vhd_meta_write meta[VHD_META_WRITES];
    uint8_t header[VHD_SECTOR_BYTES];
};

typedef bool vhd_resize_step(struct vhd *vhd); /* true: an io is in flight */

struct vhd_resize {
    struct vhd_request *request; /* NULL: none runs */
    vhd_resize_step *const *next;
    bool running;
    bool footers_owed; /* one failed: those on disk may differ */
    enum err error;
    uint64_t old_bytes, new_bytes; /* of the disk */
    uint64_t old_end_bytes;        /* of the file */
    struct vhd_footer footer;
    struct vhd_header header;
    bool moves_table;
    struct store_io io;
    struct iovec iov[VHD_IOV_MAX];
    uint8_t page[VHD_PAGE_BYTES];
};

struct vhd {
    struct store store;                      /* the guest's disk */
    struct vhd_layer *layers[VHD_CHAIN_MAX]; /* 0: the child, written */
    uint32_t layer_count;
    bool read_only;
    bool firm;       /* struct vhd_open_args */
    bool submitting; /* inside of store_submit() */
    struct list idle_fragments, fragment_waiters;
    struct list block_waiters[VHD_WAIT_BUCKETS];
    struct vhd_fragment *fragments;
    struct vhd_fragment_room *rooms;
    size_t rooms_bytes; /* of the mapping */
    struct vhd_space space;
    struct vhd_flush flush;
    struct vhd_resize resize;
};

/* Constants to write from: aligned, so that O_DIRECT takes them, and the
 * guest's bytes beside them, as they are. */
extern uint8_t vhd_ones[VHD_PAGE_BYTES];  /* pad, bitmap of a dynamic block */
extern uint8_t vhd_zeros[VHD_PAGE_BYTES]; /* pad of a bitmap */

static inline struct vhd_layer *vhd_top(const struct vhd *v)
{
    return v->layers[0];
}

static inline bool vhd_is_fixed(const struct vhd *v)
{
    return vhd_top(v)->footer.type == VHD_FIXED;
}

/* -- chain.c: parents.  Blocks. -------------------------------------------- */
MUST_CHECK enum err vhd_chain_open(struct vhd *v, struct vhd_opener *opener,
                                   enum vhd_size_rule rule, struct diag *why);

/* -- request.c ------------------------------------------------------------- */

/* Where bytes of the guest's disk are. */
enum vhd_run_kind { VHD_RUN_ZERO, VHD_RUN_DATA, VHD_RUN_UNREAD };
struct vhd_run {
    enum vhd_run_kind kind;
    uint64_t len_bytes;
    uint32_t layer, block; /* UNREAD: whose bitmap has to be read */
    uint64_t off_bytes;    /* DATA: in the layer's file */
};
/* The run at `at`, no longer than `len`, seen from layer `from` down. */
struct vhd_run vhd_map(const struct vhd *v, uint32_t from, uint64_t at_bytes,
                       uint64_t len_bytes);

enum err vhd_submit(struct store *s, struct store_io *io);

/* A fragment for the request, or NULL: the request waits for one. */
struct vhd_fragment *vhd_fragment_take(struct vhd_request *r);
/* Back to the idle ones, without being used. */
void vhd_fragment_return(struct vhd_fragment *f);
/* Make f->io the request's op on the layer's file for `len` bytes of the
 * guest's disk from f->at_bytes on, after `prefix` entries of f->iov that are
 * there already. */
void vhd_fragment_aim(struct vhd_fragment *f, uint64_t off_bytes,
                      uint64_t len_bytes, uint32_t prefix);
/* Hand f->io down; a refusal goes to `done` as an error, at once. */
void vhd_fragment_start(struct vhd_fragment *f,
                        void (*done)(struct store_io *, enum err));
/* All of it is done: tell the request, wake who waits for a fragment. */
void vhd_fragment_end(struct vhd_fragment *f, enum err e);

/* The request's step cannot go on: it will be run again by vhd_wake(). */
void vhd_wait(struct list *waiters, struct vhd_request *r);
void vhd_wait_block(struct vhd_request *r, uint32_t layer, uint32_t block);
/* Run again all that wait; with an error they end with it. */
void vhd_wake(struct list *waiters, enum err e);
void vhd_wake_block(struct vhd *v, uint32_t layer, uint32_t block, enum err e);
/* Read the bitmap of a block, or wait for it; true: try again now. */
bool vhd_need_bitmap(struct vhd_request *r, uint32_t layer, uint32_t block);
/* Give the guest its answer. */
void vhd_answer(struct vhd_request *r, enum err e);

/* -- write.c: one step of WRITE, WRITE_ZEROES, DISCARD; false: it waits ---- */
bool vhd_write_step(struct vhd_request *r);

/* -- space.c --------------------------------------------------------------- */
MUST_CHECK enum err vhd_space_init(struct vhd *v,
                                   const struct vhd_open_args *args);
void vhd_space_fini(struct vhd *v);
/* Space for one block.  Errors: E_AGAIN - wait in v->space.waiters. */
MUST_CHECK enum err vhd_space_take(struct vhd *v, uint32_t *ret_entry,
                                   bool *ret_zeros);
/* The fill failed: what the space holds now is not known. */
void vhd_space_put(struct vhd *v, uint32_t entry);
/* A resize begins and ends: no extension in between. */
void vhd_space_release(struct vhd *v);
/* Where a file of this size goes on: on the page that its footer is in, if it
 * starts that page, for the first seven sectors of a stride are padding. */
uint64_t vhd_space_from(const struct vhd *v);
/* Can each of `count` blocks have space, and a table of that many bytes? */
bool vhd_space_suffices(const struct vhd *v, uint64_t count,
                        uint64_t table_bytes);
/* Does the file end elsewhere than vhd_space_trim() would make it end? */
bool vhd_space_owed(const struct vhd *v);
/* Make the file end right behind what is in use.  Blocks. */
MUST_CHECK enum err vhd_space_trim(struct vhd *v);

/* -- flush.c --------------------------------------------------------------- */
void vhd_flush_init(struct vhd *v);
/* The request is answered when all that was done before is durable. */
void vhd_flush_join(struct vhd_request *r);
/* An extension or a resize has ended: go on with what waits for that. */
void vhd_flush_kick(struct vhd *v);
/* Is anything in RAM that the next round has to write? */
bool vhd_flush_owed(const struct vhd *v);

/* -- resize.c -------------------------------------------------------------- */
/* Errors: E_BUSY, E_UNSUPPORTED, E_TOO_BIG; E_OK: the request is answered. */
MUST_CHECK enum err vhd_resize_submit(struct vhd_request *r);
/* A round or an extension has ended: begin, if one waits for that. */
void vhd_resize_kick(struct vhd *v);

#endif
