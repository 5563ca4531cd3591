/* iscsi/vhost_mem.c - mapping guest memory, and bounds of every access to it.
 * Trusts no address.  It does trust the VMM not to shorten a file that it
 * gave us (its memfd is sealed against that).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/vhost_mem.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void vhost_mem_init(struct vhost_mem *mem)
{
    *mem = (struct vhost_mem){.log_fd = -1};
}

static void region_unmap(struct vhost_region *r)
{
    munmap(r->map, r->map_bytes);
    close(r->fd);
}

void vhost_mem_remove_all(struct vhost_mem *mem)
{
    for (unsigned i = 0; i < mem->count; i++)
        region_unmap(&mem->regions[i]);
    mem->count = mem->last = 0;
}

static void log_unmap(struct vhost_mem *mem)
{
    if (mem->log)
        munmap(mem->log_map, mem->log_map_bytes);
    if (mem->log_fd >= 0)
        close(mem->log_fd);
    mem->log = NULL;
    mem->log_fd = -1;
}

void vhost_mem_fini(struct vhost_mem *mem)
{
    vhost_mem_remove_all(mem);
    log_unmap(mem);
}

/* -- mapping --------------------------------------------------------------- */

/* Map the first `need` bytes of a file; the VMM's offset need not be aligned
 * to its (perhaps huge) pages, so mapping begins at 0. */
static enum err map_file(int fd, uint64_t need, void **ret_map,
                         size_t *ret_bytes, struct diag *why)
{
    struct stat st;
    uint64_t bytes;
    void *map;

    if (fstat(fd, &st))
        return diag_fail(why, E_PROTOCOL, "memory is no file");
    if (st.st_size < 0 || need > (uint64_t)st.st_size)
        return diag_fail(why, E_PROTOCOL,
                         "%" PRIu64 " bytes of memory in a file of %lld", need,
                         (long long)st.st_size);
    bytes = align_up(need, max_u64((uint64_t)st.st_blksize, 4096));
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
               fd, 0);
    if (map == MAP_FAILED)
        return diag_fail(why, err_from_errno(errno),
                         "mmap of %" PRIu64 " bytes: %s", bytes,
                         strerror(errno));
    /* A core dump of ours shall not carry the memory of every guest. */
    (void)madvise(map, bytes, MADV_DONTDUMP);
    *ret_map = map;
    *ret_bytes = bytes;
    return E_OK;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

static enum err region_check(const struct vhost_mem *mem,
                             const struct vhost_region_msg *at,
                             struct diag *why)
{
    if (!at->size_bytes ||
        !range_ok(at->guest_phys_addr, at->size_bytes, INT64_MAX) ||
        !range_ok(at->user_addr, at->size_bytes, UINT64_MAX) ||
        !range_ok(at->mmap_offset, at->size_bytes, INT64_MAX))
        return diag_fail(why, E_PROTOCOL,
                         "memory region at 0x%" PRIx64 ": size 0x%" PRIx64
                         " or offset out of bounds",
                         at->guest_phys_addr, at->size_bytes);
    for (unsigned i = 0; i < mem->count; i++) {
        const struct vhost_region_msg *other = &mem->regions[i].at;

        if (overlap(at->guest_phys_addr, at->size_bytes, other->guest_phys_addr,
                    other->size_bytes))
            return diag_fail(why, E_PROTOCOL,
                             "memory regions at 0x%" PRIx64 " and 0x%" PRIx64
                             " overlap",
                             at->guest_phys_addr, other->guest_phys_addr);
    }
    if (mem->count == VHOST_REGIONS_MAX)
        return diag_fail(why, E_BUSY, "more than %d memory regions",
                         VHOST_REGIONS_MAX);
    return E_OK;
}

enum err vhost_mem_add(struct vhost_mem *mem, const struct vhost_region_msg *at,
                       int fd, struct diag *why)
{
    struct vhost_region r = {.at = *at, .fd = fd};
    enum err e = region_check(mem, at, why);

    if (!e)
        e = map_file(fd, at->mmap_offset + at->size_bytes, &r.map, &r.map_bytes,
                     why);
    if (e) {
        close(fd);
        return e;
    }
    r.host = (uint8_t *)r.map + at->mmap_offset;
    mem->regions[mem->count++] = r;
    return E_OK;
}

enum err vhost_mem_remove(struct vhost_mem *mem,
                          const struct vhost_region_msg *at)
{
    for (unsigned i = 0; i < mem->count; i++) {
        struct vhost_region *r = &mem->regions[i];

        if (r->at.guest_phys_addr != at->guest_phys_addr ||
            r->at.size_bytes != at->size_bytes ||
            r->at.user_addr != at->user_addr)
            continue;
        region_unmap(r);
        *r = mem->regions[--mem->count];
        mem->last = 0;
        return E_OK;
    }
    return E_NOENT;
}

enum err vhost_mem_set_log(struct vhost_mem *mem,
                           const struct vhost_log_msg *at, int fd,
                           struct diag *why)
{
    void *map = NULL;
    size_t bytes = 0;
    enum err e = E_OK;

    if (fd >= 0 && !range_ok(at->mmap_offset, at->mmap_size, INT64_MAX))
        e = diag_fail(why, E_PROTOCOL, "dirty log: size 0x%" PRIx64,
                      at->mmap_size);
    else if (fd >= 0)
        e = map_file(fd, at->mmap_offset + at->mmap_size, &map, &bytes, why);
    if (e) {
        close(fd);
        return e;
    }
    log_unmap(mem);
    if (fd < 0)
        return E_OK;
    mem->log_fd = fd;
    mem->log_map = map;
    mem->log_map_bytes = bytes;
    mem->log = (uint8_t *)map + at->mmap_offset;
    mem->log_bytes = at->mmap_size;
    mem->log_at = *at;
    return E_OK;
}

/* -- addresses ------------------------------------------------------------- */

static struct vhost_region *find(struct vhost_mem *mem, uint64_t guest_addr)
{
    struct vhost_region *r = &mem->regions[mem->last];

    if (guest_addr - r->at.guest_phys_addr < r->at.size_bytes &&
        mem->last < mem->count)
        return r;
    for (unsigned i = 0; i < mem->count; i++) {
        r = &mem->regions[i];
        if (guest_addr - r->at.guest_phys_addr < r->at.size_bytes) {
            mem->last = i;
            return r;
        }
    }
    return NULL;
}

void *vhost_mem_flat(struct vhost_mem *mem, uint64_t guest_addr,
                     uint64_t len_bytes)
{
    struct vhost_region *r = find(mem, guest_addr);

    if (!r || !range_ok(guest_addr - r->at.guest_phys_addr, len_bytes,
                        r->at.size_bytes))
        return NULL;
    return r->host + (guest_addr - r->at.guest_phys_addr);
}

void *vhost_mem_user(struct vhost_mem *mem, uint64_t user_addr,
                     uint64_t len_bytes)
{
    for (unsigned i = 0; i < mem->count; i++) {
        const struct vhost_region *r = &mem->regions[i];
        uint64_t off = user_addr - r->at.user_addr;

        if (off < r->at.size_bytes &&
            range_ok(off, len_bytes, r->at.size_bytes))
            return r->host + off;
    }
    return NULL;
}

bool vhost_mem_iov(struct vhost_mem *mem, uint64_t guest_addr,
                   uint64_t len_bytes, struct iovec *iov, uint32_t max,
                   uint32_t *count)
{
    while (len_bytes) {
        struct vhost_region *r = find(mem, guest_addr);
        uint64_t off, here;

        if (!r || *count == max)
            return false;
        off = guest_addr - r->at.guest_phys_addr;
        here = min_u64(len_bytes, r->at.size_bytes - off);
        iov[(*count)++] = (struct iovec){r->host + off, here};
        guest_addr += here;
        len_bytes -= here;
    }
    return true;
}

bool vhost_mem_read(struct vhost_mem *mem, uint64_t guest_addr, void *buf,
                    size_t len_bytes)
{
    uint8_t *to = buf;

    while (len_bytes) {
        struct vhost_region *r = find(mem, guest_addr);
        uint64_t off, here;

        if (!r)
            return false;
        off = guest_addr - r->at.guest_phys_addr;
        here = min_u64(len_bytes, r->at.size_bytes - off);
        memcpy(to, r->host + off, here);
        to += here;
        guest_addr += here;
        len_bytes -= here;
    }
    return true;
}

/* -- dirty pages ----------------------------------------------------------- */

/* Pages beyond the log do not exist for the VMM (it sizes the log by its
 * memory), so they are passed over. */
void vhost_mem_dirty(struct vhost_mem *mem, uint64_t guest_addr,
                     uint64_t len_bytes)
{
    uint64_t page = guest_addr / VHOST_LOG_PAGE_BYTES;
    uint64_t last;

    if (!mem->log || !len_bytes)
        return;
    last = (guest_addr + len_bytes - 1) / VHOST_LOG_PAGE_BYTES;
    for (; page <= last && page / 8 < mem->log_bytes; page++)
        __atomic_fetch_or(mem->log + page / 8, (uint8_t)(1U << (page % 8)),
                          __ATOMIC_RELEASE);
}

void vhost_mem_dirty_iov(struct vhost_mem *mem, const struct iovec *iov,
                         uint32_t count)
{
    for (uint32_t i = 0; mem->log && i < count; i++) {
        const uint8_t *at = iov[i].iov_base;

        for (unsigned k = 0; k < mem->count; k++) {
            const struct vhost_region *r = &mem->regions[k];

            if (at >= r->host && at < r->host + r->at.size_bytes) {
                vhost_mem_dirty(
                    mem, r->at.guest_phys_addr + (uint64_t)(at - r->host),
                    iov[i].iov_len);
                break;
            }
        }
    }
}
