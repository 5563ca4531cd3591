/* tests/fuzz/fuzz_vhd.c - any bytes as a VHD: probe, check, open, read, write,
 * grow, close, repair.  What could be opened for writing must be sound after
 * it was written.
 *
 * The first byte says what to do; the rest is the file.  Checksums are put
 * right first, if it says so, for no mutation would get past them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/loop.h"
#include "base/stores.h"
#include "vhd/format.h"
#include "vhd/vhd.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FIX_CHECKSUMS = 1,
    WRITE = 2,
    REPAIR_FIRST = 4,
    GROW = 8,
    IO_BYTES = 12 << 10,
    FILE_MAX = 1 << 20
};

static struct loop *loop;

static struct store *file_of(const uint8_t *bytes, size_t size)
{
    struct store *file = NULL;

    ASSERT(!store_mem_new(&(struct store_mem_args){.size_bytes = align_up(
                                                       size, VHD_SECTOR_BYTES)},
                          &file));
    store_mem_poke(file, 0, bytes, size);
    return file;
}

static void fix(uint8_t *p, size_t bytes, size_t skip)
{
    be32_store(p + skip, vhd_checksum(p, bytes, skip));
}

static void fix_checksums(uint8_t *bytes, size_t size)
{
    size_t footer = offsetof(struct vhd_disk_footer, checksum);
    uint64_t header;

    if (size < VHD_FOOTER_BYTES + VHD_HEADER_BYTES)
        return;
    fix(bytes, VHD_FOOTER_BYTES, footer);
    fix(bytes + size - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES, footer);
    header = be64_load(bytes + size - VHD_FOOTER_BYTES +
                       offsetof(struct vhd_disk_footer, data_offset));
    if (range_ok(header, VHD_HEADER_BYTES, size))
        fix(bytes + header, VHD_HEADER_BYTES,
            offsetof(struct vhd_disk_header, checksum));
}

/* Every parent is the same bytes again, as a dynamic disk and with the
 * identity that the child asks for. */
struct opener {
    struct vhd_opener base;
    const uint8_t *bytes;
    size_t size;
};

static void make_parent(uint8_t *bytes, size_t size)
{
    uint8_t *tail = bytes + size - VHD_FOOTER_BYTES;
    uint64_t header =
        be64_load(tail + offsetof(struct vhd_disk_footer, data_offset));

    if (!range_ok(header, VHD_HEADER_BYTES, size))
        return;
    be32_store(tail + offsetof(struct vhd_disk_footer, type), VHD_DYNAMIC);
    memcpy(tail + offsetof(struct vhd_disk_footer, uuid),
           bytes + header + offsetof(struct vhd_disk_header, parent_uuid),
           VHD_UUID_BYTES);
    fix_checksums(bytes, size);
}

static enum err open_parent(struct vhd_opener *base, const char *path,
                            struct diag *why, struct store **ret_file)
{
    static uint8_t bytes[FILE_MAX];
    struct opener *o = container_of(base, struct opener, base);

    ASSERT(*path == '/' && !strstr(path, "/../"));
    (void)why;
    if (o->size < VHD_FOOTER_BYTES)
        return E_NOENT;
    memcpy(bytes, o->bytes, o->size);
    make_parent(bytes, o->size);
    *ret_file = file_of(bytes, o->size);
    return E_OK;
}

static bool check(struct store *file, bool repair)
{
    struct vhd_check_result result;
    struct diag why;
    enum err e = vhd_check(file, &(struct vhd_check_args){.repair = repair},
                           &why, &result);

    ASSERT(e || !result.lost);
    return !result.lost;
}

static void read_ends(struct store *disk)
{
    static uint8_t buf[IO_BYTES];
    uint64_t n = min_u64(IO_BYTES, disk->size_bytes);

    (void)!store_read_sync(disk, 0, buf, n);
    (void)!store_read_sync(disk, disk->size_bytes - n, buf, n);
}

static void write_ends(struct store *disk, bool grow)
{
    static const uint8_t buf[IO_BYTES] = {1, 2, 3};
    uint64_t n = min_u64(IO_BYTES, disk->size_bytes);
    uint64_t more = align_down(disk->size_bytes / 2, VHD_SECTOR_BYTES);

    (void)!store_write_sync(disk, disk->size_bytes - n, buf, n);
    (void)!store_range_sync(disk, STORE_DISCARD, 0, n);
    (void)!store_range_sync(disk, STORE_WRITE_ZEROES, 0, n);
    (void)!store_flush_sync(disk);
    if (grow && disk->size_bytes < UINT64_C(1) << 34)
        (void)!store_range_sync(disk, STORE_RESIZE, disk->size_bytes + more, 0);
    (void)!store_write_sync(disk, 0, buf, n);
}

static void use(struct store *file, uint8_t flags, struct opener *opener)
{
    struct vhd_open_args args = {.path = "/a/disk.vhd",
                                 .opener = &opener->base,
                                 .read_only = !(flags & WRITE),
                                 .queue_depth = 4,
                                 .ahead_bytes = 1};
    struct vhd_info info;
    struct vhd *vhd = NULL;
    struct diag why;
    bool sound;

    if (vhd_open(file, &args, &why, &vhd))
        return;
    vhd_info(vhd, &info);
    read_ends(vhd_store(vhd));
    sound = info.type != VHD_FIXED;
    if (flags & WRITE)
        write_ends(vhd_store(vhd), flags & GROW);
    read_ends(vhd_store(vhd));
    ASSERT(!vhd_close(vhd));
    if (sound)
        ASSERT(check(file, false));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILE_MAX];
    struct vhd_info info;
    struct opener opener = {{open_parent}, bytes, 0};
    struct store *file;
    struct diag why;

    if (size < 1 || size - 1 > FILE_MAX - VHD_SECTOR_BYTES)
        return 0;
    if (!loop)
        ASSERT(!loop_new(&(struct loop_args){.name = "fuzz"}, &loop));
    loop_adopt(loop);
    opener.size = align_up(size - 1, VHD_SECTOR_BYTES);
    memset(bytes + size - 1, 0, opener.size - (size - 1));
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & FIX_CHECKSUMS)
        fix_checksums(bytes, opener.size);
    file = file_of(bytes, opener.size);
    (void)!vhd_probe(file, &why, &info);
    (void)check(file, data[0] & REPAIR_FIRST);
    use(file, data[0], &opener);
    (void)check(file, true);
    store_close(file);
    loop_adopt(NULL);
    return 0;
}
