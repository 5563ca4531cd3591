/* tests/unit/fs/test_super.c - superblock copies, claims, and what format and
 * open refuse.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/super.h"
#include "fs/vfs.h"
#include "tests/unit/fs/volume.h"

#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static struct super some_super(void)
{
    return (struct super){
        .uuid = {1, 2,                     3},
        .name = "vol",
        .cluster = "demo",
        .size_blocks = 64 * MIB / 4096,
        .epoch = 7,
        .sequence = 9,
        .reserve_blocks = 1024,
        .physical_bytes = 512,
        .chunk_count = 2,
        .chunks = {{1024, 1024, CHUNK_DB}, {2048, 2048, CHUNK_WAL}},
    };
}

static void a_superblock_survives_encoding(void)
{
    struct super super = some_super(), again;
    struct super_disk disk;

    super_encode(&super, &disk);
    memset(&again, 0, sizeof again);
    CHECK_OK(super_decode(&disk, &again, NULL));
    CHECK_STR(again.name, "vol");
    CHECK_EQ(again.epoch, 7);
    CHECK_EQ(again.chunk_count, 2);
    CHECK_EQ(again.chunks[1].lun_block, 2048);
}

static void a_changed_byte_is_noticed(void)
{
    struct super super = some_super(), again;
    struct super_disk disk;
    struct diag why = {{0}};

    super_encode(&super, &disk);
    disk.name[0] ^= 1;
    CHECK_ERR(super_decode(&disk, &again, &why), E_CHECKSUM);
    CHECK_CONTAINS(why.text, "checksum");
}

static void chunks_that_overlap_or_lie_outside_are_refused(void)
{
    struct super super = some_super(), again;
    struct super_disk disk;

    super.chunks[1].lun_block = 1500;
    super_encode(&super, &disk);
    CHECK_ERR(super_decode(&disk, &again, NULL), E_CORRUPT);
    super.chunks[1].lun_block = UINT64_MAX - 5;
    super_encode(&super, &disk);
    CHECK_ERR(super_decode(&disk, &again, NULL), E_CORRUPT);
}

static void an_unknown_feature_is_refused_unless_it_is_compatible(void)
{
    struct super super = some_super(), again;
    struct super_disk disk;

    super.compat = 1u << 30;
    super_encode(&super, &disk);
    CHECK_OK(super_decode(&disk, &again, NULL));
    CHECK_EQ(again.compat, 1u << 30);
    super.incompat = 1;
    super_encode(&super, &disk);
    CHECK_ERR(super_decode(&disk, &again, NULL), E_VERSION);
}

static struct store *new_lun(uint64_t bytes)
{
    struct store *lun;

    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = bytes}, &lun));
    return lun;
}

static void the_highest_copy_counts(void)
{
    struct super super = some_super(), found;
    struct super_copies copies;
    struct super_disk disk;
    struct world w;
    struct store *lun;

    world_init(&w);
    lun = new_lun(64 * MIB);
    CHECK_OK(super_save(lun, &super, NULL));
    super.sequence += 5;
    super_encode(&super, &disk);
    store_mem_poke(lun, SUPER_COPY_AT, &disk, sizeof disk);
    CHECK_OK(super_load(lun, &found, &copies, NULL));
    CHECK_EQ(found.sequence, super.sequence);
    CU_ASSERT_TRUE(copies.valid[0] && !copies.current[0]);
    CU_ASSERT_TRUE(copies.current[1]);
    store_close(lun);
    world_fini(&w);
}

/* -- claims (I4) ------------------------------------------------------------
 */

static void a_claim_keeps_other_hosts_out_until_it_is_released(void)
{
    const struct claim_args h1 = {1, "h1", 10, false};
    const struct claim_args h1_again = {1, "h1", 11, false};
    const struct claim_args same_node = {1, "h2", 10, false};
    const struct claim_args h2 = {2, "h2", 20, false};
    const struct claim_args sole = {2, "h2", 21, true};
    struct super a = some_super(), b = some_super();
    struct diag why = {{0}};
    struct world w;
    struct store *lun;

    world_init(&w);
    lun = new_lun(64 * MIB);
    CHECK_OK(claim_take(lun, &a, &h1, &why));
    CHECK_EQ(a.epoch, 8);
    CHECK_ERR(claim_take(lun, &b, &h2, &why), E_LUN_BUSY);
    CHECK_CONTAINS(why.text, "\"h1\"");
    /* One host alone is node 1 everywhere, and each counts incarnations. */
    CHECK_ERR(claim_take(lun, &b, &same_node, &why), E_LUN_BUSY);
    CHECK_OK(claim_take(lun, &a, &h1_again, &why)); /* it crashed */
    CHECK_EQ(a.epoch, 9);
    CHECK_OK(claim_release(lun, &a, &h1_again, &why));
    CHECK_OK(claim_take(lun, &b, &h2, &why));
    CHECK_EQ(b.epoch, 10);
    /* Who has the LUN alone need not wait for a release. */
    CHECK_OK(claim_take(lun, &b, &sole, &why));
    CHECK_EQ(b.epoch, 11);
    store_close(lun);
    world_fini(&w);
}

/* -- node blocks ----------------------------------------------------------- */

static const uint8_t some_uuid[16] = {1, 2, 3};

static struct node_block some_node(void)
{
    struct node_block n = {.node = 3,
                           .host = "h3",
                           .incarnation = 7,
                           .reservation_key = 0x4c07030000000702,
                           .epoch = 12,
                           .claim = CLAIM_HELD};
    struct lm_target whole = {
        .run = {64, 9},
          .turn = LM_TURN_ALL
    };
    struct lm_target path = {
        .run = {1, 5},
          .turn = 2
    };

    node_block_name(&n, &whole, FENCING_DEAD);
    node_block_name(&n, &path, FENCING_NAMED);
    return n;
}

static void a_node_block_comes_back_as_it_was_written(void)
{
    struct node_block n = some_node(), back;
    struct node_disk disk;
    struct diag why;

    node_encode(&n, some_uuid, &disk);
    CHECK_EQ(le32_get(disk.fencing_count), 2);
    CHECK_OK(node_decode(&disk, some_uuid, &back, &why));
    CHECK_MEM(&back, &n, sizeof n);
}

static void make_crc_right(struct node_disk *disk)
{
    disk->crc = le32_make(
        (uint32_t)crc32(0, (const void *)disk, sizeof *disk - sizeof(le32)));
}

static void a_node_block_that_fences_nonsense_is_refused(void)
{
    static const struct {
        size_t at;
        uint8_t byte;
    } damage[] = {
        {offsetof(struct node_disk, fencing_count),          65},
        {offsetof(struct node_disk, fencing[0].node),        65},
        {offsetof(struct node_disk, fencing[0].node),        0 },
        {offsetof(struct node_disk, fencing[1].node),        1 }, /* twice */
        {offsetof(struct node_disk, fencing[0].turn) + 1,    1 },
        {offsetof(struct node_disk, fencing[0].state),       3 },
        {offsetof(struct node_disk, fencing[0].incarnation), 0 },
    };
    struct node_block n = some_node(), back;
    struct node_disk disk;

    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        struct diag why = {{0}};

        node_encode(&n, some_uuid, &disk);
        ((uint8_t *)&disk)[damage[i].at] = damage[i].byte;
        make_crc_right(&disk);
        CHECK_ERR(node_decode(&disk, some_uuid, &back, &why), E_CORRUPT);
        CHECK_CONTAINS(why.text, "fenc");
    }
}

static void a_claim_keeps_what_the_block_says_of_the_fenced(void)
{
    const struct claim_args h3 = {3, "h3", 8, false};
    struct node_block n = some_node(), back;
    struct super super = some_super();
    struct node_disk disk;
    struct diag why;
    struct world w;
    struct store *lun;
    uint64_t at = NODE_BLOCKS_AT + 2 * FS_BLOCK_BYTES;

    world_init(&w);
    lun = new_lun(64 * MIB);
    node_encode(&n, super.uuid, &disk);
    store_mem_poke(lun, at, &disk, sizeof disk);
    CHECK_OK(claim_take(lun, &super, &h3, &why));
    CHECK_OK(claim_release(lun, &super, &h3, &why));
    CHECK_OK(store_read_sync(lun, at, &disk, sizeof disk));
    CHECK_OK(node_decode(&disk, super.uuid, &back, &why));
    CHECK_MEM(back.fencing, n.fencing, sizeof n.fencing);
    CHECK_EQ(back.claim, CLAIM_RELEASED);
    store_close(lun);
    world_fini(&w);
}

static void each_start_has_a_higher_epoch(void)
{
    struct fs_super_info before, after;
    struct volume v;

    volume_init(&v, 64 * MIB);
    CHECK_OK(fs_super_probe(v.lun, &before, NULL));
    volume_stop(&v);
    volume_start(&v);
    CHECK_OK(fs_super_probe(v.lun, &after, NULL));
    CHECK_EQ(after.epoch, before.epoch + 1);
    volume_fini(&v);
}

/* -- format and open --------------------------------------------------------
 */

static void format_refuses_what_it_cannot_or_should_not_do(void)
{
    struct fs_format_args args = {.name = "vol"};
    struct diag why = {{0}};
    struct world w;
    struct store *lun;

    world_init(&w);
    lun = new_lun(64 * MIB - 4096);
    CHECK_ERR(fs_format(lun, &args, &why), E_LUN_SMALL);
    CHECK_CONTAINS(why.text, "64 MiB");
    store_close(lun);
    lun = new_lun(64 * MIB);
    args.name = "a/b";
    CHECK_ERR(fs_format(lun, &args, &why), E_INVAL);
    args.name = "";
    CHECK_ERR(fs_format(lun, &args, &why), E_INVAL);
    args.name = "vol";
    CHECK_OK(fs_format(lun, &args, &why));
    CHECK_ERR(fs_format(lun, &args, &why), E_IS_VOLUME);
    CHECK_CONTAINS(why.text, "--force");
    args.force = true;
    CHECK_OK(fs_format(lun, &args, &why));
    store_close(lun);
    world_fini(&w);
}

static void formatting_again_leaves_nothing_of_the_old_volume(void)
{
    const struct fs_format_args args = {.name = "new", .force = true};
    struct volume v;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "old", S_IFREG | 0600, NULL));
    volume_stop(&v);
    /* As after a crash: the log of the old volume is full of old tables. */
    volume_start(&v);
    CHECK_OK(v_create(&v, ROOT, "older", S_IFREG | 0600, NULL));
    volume_stop(&v);
    CHECK_OK(fs_format(v.lun, &args, NULL));
    volume_check_clean(&v);
    volume_start(&v);
    CHECK_ERR(v_lookup(&v, ROOT, "old", NULL), E_NOENT);
    CHECK_ERR(v_lookup(&v, ROOT, "older", NULL), E_NOENT);
    volume_fini(&v);
}

static void a_truncated_lun_is_refused_with_its_reason(void)
{
    struct fs_super_info info;
    struct diag why = {{0}};
    struct volume v;

    volume_init(&v, 128 * MIB);
    volume_stop(&v);
    CHECK_OK(store_range_sync(v.lun, STORE_RESIZE, 100 * MIB, 0));
    CHECK_ERR(fs_super_probe(v.lun, &info, &why), E_LUN_SMALL);
    CHECK_CONTAINS(why.text, "truncated");
    store_close(v.lun);
    world_fini(&v.world);
}

static void an_empty_lun_is_no_volume(void)
{
    struct fs_super_info info;
    struct world w;
    struct store *lun;

    world_init(&w);
    lun = new_lun(64 * MIB);
    CHECK_ERR(fs_super_probe(lun, &info, NULL), E_NOT_VOLUME);
    store_close(lun);
    world_fini(&w);
}

static void a_volume_of_64_tib_is_served(void)
{
    fs_statfs s;
    struct volume v;

    volume_init(&v, UINT64_C(64) << 40);
    CHECK_OK(v_statfs(&v, &s));
    CHECK_EQ(s.blocks, (UINT64_C(64) << 40) / 4096);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0600, NULL));
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
}

/* -- pages ------------------------------------------------------------------
 */

static void a_page_knows_its_number_and_content(void)
{
    uint8_t page[VFS_PAGE_BYTES];

    pattern_fill(page, sizeof page, 5, 0);
    vfs_page_seal(page, 3);
    CU_ASSERT_TRUE(vfs_page_sound(page, 3));
    CU_ASSERT_FALSE(vfs_page_sound(page, 4));
    page[100] ^= 1;
    CU_ASSERT_FALSE(vfs_page_sound(page, 3));
}

static void a_damaged_metadata_page_is_an_error_with_its_number(void)
{
    struct fs_coord_args args = {.node = 1, .incarnation = 50, .sole = true};
    struct diag why = {{0}};
    struct fs_coord *coord;
    uint8_t page[4096];
    struct volume v;

    volume_init(&v, 64 * MIB);
    volume_stop(&v);
    store_mem_peek(v.lun, CHUNK0_AT, page, sizeof page);
    page[2000] ^= 1; /* page 1: the schema */
    store_mem_poke(v.lun, CHUNK0_AT, page, sizeof page);
    CHECK_ERR(fs_coord_start(v.lun, &args, &why, &coord), E_CHECKSUM);
    CHECK_CONTAINS(why.text, "page 1");
    page[2000] ^= 1;
    store_mem_poke(v.lun, CHUNK0_AT, page, sizeof page);
    volume_start(&v);
    volume_fini(&v);
}

static const struct test tests[] = {
    TEST(a_superblock_survives_encoding),
    TEST(a_changed_byte_is_noticed),
    TEST(chunks_that_overlap_or_lie_outside_are_refused),
    TEST(an_unknown_feature_is_refused_unless_it_is_compatible),
    TEST(the_highest_copy_counts),
    TEST(a_claim_keeps_other_hosts_out_until_it_is_released),
    TEST(a_node_block_comes_back_as_it_was_written),
    TEST(a_node_block_that_fences_nonsense_is_refused),
    TEST(a_claim_keeps_what_the_block_says_of_the_fenced),
    TEST(each_start_has_a_higher_epoch),
    TEST(format_refuses_what_it_cannot_or_should_not_do),
    TEST(formatting_again_leaves_nothing_of_the_old_volume),
    TEST(a_truncated_lun_is_refused_with_its_reason),
    TEST(an_empty_lun_is_no_volume),
    TEST(a_volume_of_64_tib_is_served),
    TEST(a_page_knows_its_number_and_content),
    TEST(a_damaged_metadata_page_is_an_error_with_its_number),
};
TEST_SUITE("fs/super", tests);
