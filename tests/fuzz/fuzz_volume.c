/* tests/fuzz/fuzz_volume.c - a volume with bytes changed: probe, check, repair
 * and open answer, whatever is there.
 *
 * Input: records of 8 bytes (where: 3 bytes of metadata area, what: 5 bytes).
 * A changed database page gets its checksum back, to be believed.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/loop.h"
#include "base/stores.h"
#include "fs/fs.h"
#include "fs/vfs.h"

#include <string.h>
#include <sys/stat.h>

enum {
    LUN_BYTES = 64 << 20,
    RECORD_BYTES = 8,
    DB_PAGES = 64,
    PAGE = 4096,
    WAL_AT = 8 << 20
};

static struct loop *loop;
static struct store *fresh;
static uint8_t fresh_meta[CHUNK0_AT + DB_PAGES * PAGE];

static void make_fresh(void)
{
    const struct loop_args args = {.name = "fuzz"};
    const struct store_mem_args mem = {.size_bytes = LUN_BYTES};
    const struct fs_format_args format = {.name = "fuzz"};

    ASSERT(loop_new(&args, &loop) == E_OK);
    loop_adopt(loop);
    ASSERT(store_mem_new(&mem, &fresh) == E_OK);
    ASSERT(fs_format(fresh, &format, NULL) == E_OK);
    store_mem_peek(fresh, 0, fresh_meta, sizeof fresh_meta);
}

/* Put back what the last input changed. */
static void restore(const uint8_t *last_page)
{
    static const uint8_t zero[64 * PAGE]; /* more log than one run writes */

    store_mem_poke(fresh, 0, fresh_meta, sizeof fresh_meta);
    store_mem_poke(fresh, WAL_AT, zero, sizeof zero);
    store_mem_poke(fresh, LUN_BYTES - PAGE, last_page, PAGE);
}

static void mutate(const uint8_t *data, size_t size)
{
    for (; size >= RECORD_BYTES; data += RECORD_BYTES, size -= RECORD_BYTES) {
        uint64_t at =
            (uint64_t)data[0] << 16 | (uint64_t)data[1] << 8 | data[2];
        uint8_t page[PAGE];

        /* Mostly the database; sometimes superblocks and node blocks. */
        at =
            data[0] < 240 ? CHUNK0_AT + at % (DB_PAGES * PAGE) : at % CHUNK0_AT;
        store_mem_peek(fresh, align_down(at, PAGE), page, PAGE);
        for (size_t i = 0; i < 5 && at % PAGE + i < PAGE; i++)
            page[at % PAGE + i] = data[3 + i];
        if (at >= CHUNK0_AT)
            vfs_page_seal(page, (at - CHUNK0_AT) / PAGE + 1);
        store_mem_poke(fresh, align_down(at, PAGE), page, PAGE);
    }
}

static void serve(void)
{
    static uint64_t incarnation;
    const struct fs_coord_args args = {
        .node = 1, .incarnation = ++incarnation, .sole = true};
    struct fs_coord *coord;

    if (fs_coord_start(fresh, &args, NULL, &coord) == E_OK)
        fs_coord_stop(coord);
}

/* The end of a thread's libaio waits for the kernel, some 50 ms: a hundred
 * checks take less.  So only some inputs are served, and always the same. */
static bool is_served(const uint8_t *data, size_t size)
{
    enum { ONE_IN = 16 };
    unsigned sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += data[i];
    return sum % ONE_IN == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t last_page[PAGE];
    struct fs_check_args args = {0};
    struct fs_check_result result;
    struct fs_super_info info;
    struct diag why;

    if (!fresh) {
        make_fresh();
        store_mem_peek(fresh, LUN_BYTES - PAGE, last_page, PAGE);
    }
    restore(last_page);
    mutate(data, size);
    (void)!fs_super_probe(fresh, &info, &why);
    (void)!fs_check(fresh, &args, &result, &why);
    args.repair = true;
    (void)!fs_check(fresh, &args, &result, &why);
    if (is_served(data, size))
        serve();
    return 0;
}
