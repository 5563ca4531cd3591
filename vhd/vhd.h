/* vhd/vhd.h - virtual hard disks: fixed, dynamic and differencing VHD files.
 *
 *   struct store (the file)  ->  struct vhd  ->  struct store (the guest disk)
 *
 *   pure, no I/O
 *     format.c   footer, header, CHS geometry
 *     locator.c  parent locators, paths    utf16.c  … and their characters
 *     bitmap.c   sector bitmaps
 *     table.c    block table in RAM, free space
 *   shell
 *     layer.c    load one file of a chain
 *     chain.c    find and open the parents
 *     disk.c     open, close, info
 *     create.c   write a new file          check.c  verify, repair
 *     request.c  guest I/O: split, map, wait
 *     write.c    allocate and fill blocks
 *     space.c    make the file longer, in batches
 *     flush.c    what makes writes durable
 *     resize.c   a bigger disk under live I/O
 *
 * Formats, decisions and crash order (I12) are in docs/vhd.md.
 * Start reading at vhd_open(), then request.c.
 *
 * Blocking ("cold") functions - open, close, create, check, probe - run on a
 * thread with a loop of its own (base/store.h, blocking forms).  The guest
 * disk itself is asynchronous and belongs to ONE loop: after vhd_open() all
 * its requests are submitted from the same loop, one reactor's or, for tools,
 * the cold thread's own.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_VHD_VHD_H
#define LUNAR_VHD_VHD_H

#include "base/store.h"

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

enum {
    VHD_UUID_BYTES = 16,
    VHD_SECTOR_BYTES = 512,
    VHD_BLOCK_BYTES = 2 << 20, /* of a new file; the largest handled, too */
    VHD_CHAIN_MAX = 30,        /* files in a chain, the child included */
    VHD_PATH_BYTES = 1024      /* with the NUL */
};

/* Largest dynamic or differencing disk: 2040 GiB, so that its block table
 * entries stay below 2^32 sectors.  A fixed one may be larger. */
#define VHD_SIZE_MAX_BYTES (UINT64_C(2040) << 30)

/* "fixed", "dynamic", "differencing"; NULL for a number that is no type. */
const char *vhd_type_name(enum vhd_type type);
/* The type with that name.  Errors: E_VHD_TYPE. */
MUST_CHECK enum err vhd_type_from_name(const char *name,
                                       enum vhd_type *ret_type);

/* -- opening the files of a chain ------------------------------------------ */

/* How the files of a chain are reached: lunard plugs volumes in, tools plain
 * files.  A parent's name comes out of a file that others wrote: open() is
 * the place to refuse what lies outside of the volumes. */
struct vhd_opener {
    /* Open `path` (absolute, '/', no "." or "..", UTF-8) for reading.
     * Ownership: ret_file is the caller's, it ends with store_close().
     * Errors: E_NOENT lets the search go on, others end it. */
    enum err (*open)(struct vhd_opener *opener, const char *path,
                     struct diag *why, struct store **ret_file);
};

/* Which field of the footer is the size of the disk. */
enum vhd_size_rule {
    VHD_SIZE_BY_CREATOR, /* current size; geometry for "vpc " and "qemu" */
    VHD_SIZE_CURRENT,
    VHD_SIZE_GEOMETRY
};

struct vhd_open_args {
    const char *path;          /* of the file, absolute; differencing only */
    struct vhd_opener *opener; /* of parents; differencing only */
    bool read_only;
    enum vhd_size_rule size_rule;
    /* What is answered outlives this process, also without a flush, because
     * the guest does (base/keep.h): the answer to a write waits until the
     * table and bitmaps that it changed are durable. */
    bool firm;
    uint32_t queue_depth; /* requests below in flight; 0: 128 */
    uint32_t ahead_bytes; /* the file grows by no more at a time; 0: 64 MiB */
};

struct vhd;

/* Open a disk, with its parents if it is a differencing one.  Every byte is
 * checked before it is trusted; a file that was not closed is opened as it
 * is, which loses nothing that was flushed (I12).
 * Ownership: `file` stays the caller's and outlives the vhd; the parents'
 * files are the vhd's.  Parents are only read.
 * Errors: E_VHD_FOOTER, E_VHD_HEADER, E_VHD_BAT, E_VHD_TYPE, E_VHD_PARENT,
 * E_BUSY (saved state, for writing), E_UNSUPPORTED, E_READ_ONLY, E_NOMEM, or
 * the store's; `why` has offset and field.  Context: blocks. */
MUST_CHECK enum err vhd_open(struct store *file,
                             const struct vhd_open_args *args, struct diag *why,
                             struct vhd **ret_vhd);

/* Flush, give back the space that was allocated ahead, write the footer; then
 * free the vhd whatever came of it.  No request is in flight.
 * Errors: of the store; the file is then as after a crash: sound.
 * Context: blocks. */
MUST_CHECK enum err vhd_close(struct vhd *vhd);
/* Free without writing anything: the file is then as after a crash. */
void vhd_abandon(struct vhd *vhd); /* NULL is fine */
static inline void vhd_abandonp(struct vhd **vhd)
{
    vhd_abandon(*vhd);
}

/* The guest's disk: 512-byte logical, 4096-byte physical blocks.  All
 * operations; RESIZE grows it under live I/O.  Requests have no more than
 * VHD_IOV_MAX iovec entries (E_INVAL).  Lives as long as the vhd, and
 * store_close() on it is vhd_abandon(). */
enum { VHD_IOV_MAX = 1024 }; /* what one system call takes */
struct store *vhd_store(struct vhd *vhd);

/* May the disk become that large, as far as can be said before it is tried?
 * The reason is in words; RESIZE of the store says the same in a code.
 * Errors: E_BUSY, E_UNSUPPORTED, E_TOO_BIG, E_ALIGN, E_READ_ONLY.
 * Context: the disk's loop; does not block. */
MUST_CHECK enum err vhd_resize_check(const struct vhd *vhd, uint64_t new_bytes,
                                     struct diag *why);

/* -- what a file is -------------------------------------------------------- */

struct vhd_info {
    enum vhd_type type;
    uint64_t size_bytes;          /* of the disk, by the rule */
    uint64_t original_size_bytes; /* at creation, or since a resize of ours */
    uint64_t max_size_bytes;      /* grows so far without a longer table */
    uint64_t file_bytes;
    uint32_t block_bytes;      /* 0 for fixed */
    uint32_t blocks;           /* of the disk; 0 for fixed */
    uint32_t blocks_allocated; /* only after vhd_open() */
    uint32_t chain_files;      /* 1 without parents; only after vhd_open() */
    uint8_t uuid[VHD_UUID_BYTES];
    uint8_t parent_uuid[VHD_UUID_BYTES];
    uint64_t created_s; /* Unix time */
    char creator[5];    /* "win ", "tap" …; unprintable bytes as '?' */
    uint32_t creator_version;
    bool saved_state;
    /* Differencing: where the parent is (after vhd_open) or what its name is
     * in the file; "" otherwise. */
    char parent[VHD_PATH_BYTES];
};

/* Of an open disk.  Context: its loop; does not block. */
void vhd_info(const struct vhd *vhd, struct vhd_info *ret_info);

/* Read footer and header only: is this a VHD, and which?
 * Errors: E_VHD_FOOTER, E_VHD_HEADER, E_VHD_TYPE, or the store's.
 * Context: blocks. */
MUST_CHECK enum err vhd_probe(struct store *file, struct diag *why,
                              struct vhd_info *ret_info);

/* -- creating -------------------------------------------------------------- */

struct vhd_create_args {
    enum vhd_type type;
    uint64_t size_bytes;     /* multiple of 512; differencing: 0 = parent's */
    uint64_t max_size_bytes; /* the table has room to grow to it; 0: some */
    uint32_t block_bytes;    /* power of two, ≤ VHD_BLOCK_BYTES; 0: that */
    uint8_t uuid[VHD_UUID_BYTES]; /* fresh random bytes */
    uint64_t now_s;               /* Unix time */
    /* differencing: the parent, and both absolute paths, from which absolute
     * and relative locators are made */
    const struct vhd_info *parent;
    const char *path;
    const char *parent_path;
};

/* Make `file` (resizable; what it holds is lost) a new, empty disk, durably.
 * A crash on the way leaves a file that is no VHD.
 * Errors: E_INVAL, E_TOO_BIG, E_UNSUPPORTED, E_NAME_TOO_LONG, the store's.
 * Context: blocks. */
MUST_CHECK enum err vhd_create(struct store *file,
                               const struct vhd_create_args *args,
                               struct diag *why);

/* -- checking -------------------------------------------------------------- */

enum vhd_damage {
    VHD_LEFTOVER,   /* of a crash: nothing is wrong, repair tidies up */
    VHD_REPAIRABLE, /* repair puts it right without loss */
    VHD_LOST        /* data is missing or doubtful; repair leaves it alone */
};

struct vhd_problem {
    enum vhd_damage damage;
    uint64_t off_bytes; /* in the file */
    bool repaired;
    char text[200]; /* "footer at 10485760: checksum 0x1, not 0x2" */
};

struct vhd_check_args {
    bool repair;
    void (*report)(void *arg, const struct vhd_problem *problem); /* or NULL */
    void *arg;
};

struct vhd_check_result {
    uint32_t leftovers, repairable, lost; /* found */
    uint32_t repaired;
};

/* Verify footers, header, locators, block table and batmap of one file (not
 * its parents); with `repair` put right what loses nothing.  Nobody else
 * uses the file.
 * Returns E_OK when the file is now sound (no problem left but leftovers);
 * E_CORRUPT when it is not; E_VHD_FOOTER … when it cannot be read as a VHD;
 * or the store's.  *ret_result is written in every case.  Context: blocks. */
MUST_CHECK enum err vhd_check(struct store *file,
                              const struct vhd_check_args *args,
                              struct diag *why,
                              struct vhd_check_result *ret_result);

#endif
