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
    uint64_t sequence;
    struct diag why;

    node_encode(&n, some_uuid, 5, &disk);
    CHECK_EQ(le32_get(disk.fencing_count), 2);
    CHECK_OK(node_decode(&disk, some_uuid, &back, &sequence, &why));
    CHECK_EQ(sequence, 5);
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
    uint64_t sequence;

    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        struct diag why = {{0}};

        node_encode(&n, some_uuid, 0, &disk);
        ((uint8_t *)&disk)[damage[i].at] = damage[i].byte;
        make_crc_right(&disk);
        CHECK_ERR(node_decode(&disk, some_uuid, &back, &sequence, &why),
                  E_CORRUPT);
        CHECK_CONTAINS(why.text, "fenc");
    }
}

/* All node blocks, but only node 3 has ever written. */
static struct node_area area;
static struct node_blocks blocks;
static struct fs_node_copies copies;

static void write_copy(const struct node_block *n, uint64_t sequence)
{
    uint64_t at = fs_node_encode(
        n, some_uuid, sequence,
        (uint8_t *)&area + (node_copy_at(n->node, sequence) - FS_NODE_AREA_AT));

    CHECK_EQ(at, node_copy_at(n->node, sequence));
}

static enum err decode_area(struct diag *why)
{
    *why = (struct diag){{0}};
    return fs_nodes_decode(&area, some_uuid, &blocks, &copies, why);
}

static void a_volume_with_first_copies_only_is_read(void)
{
    struct node_block n = some_node();
    struct diag why;

    memset(&area, 0, sizeof area);
    write_copy(&n, 0);
    CHECK_OK(decode_area(&why));
    CHECK_EQ(copies.torn, 0);
    CHECK_EQ(copies.sequence[2], 0);
    CHECK_MEM(&blocks.node[2], &n, sizeof n);
    CHECK_EQ(blocks.node[0].node, 0);
}

/* Power fails at any sector of any of some writes: what was answered is there.
 */
static void a_torn_write_loses_nothing_that_was_answered(void)
{
    struct node_block n = some_node();
    struct node_area whole;
    struct diag why;

    memset(&area, 0, sizeof area);
    for (uint64_t sequence = 1; sequence < 6; sequence++) {
        uint8_t *block =
            (uint8_t *)&area + (node_copy_at(3, sequence) - FS_NODE_AREA_AT);
        struct node_area before = area;

        n.epoch = sequence;
        write_copy(&n, sequence);
        whole = area;
        for (uint32_t sector = 1; sector < 8; sector++) {
            memcpy(block + (size_t)sector * 512,
                   (uint8_t *)&before + (block - (uint8_t *)&area) +
                       (size_t)sector * 512,
                   FS_BLOCK_BYTES - (size_t)sector * 512);
            CHECK_OK(decode_area(&why));
            CHECK_EQ(blocks.node[2].epoch, sequence - 1);
            CHECK_EQ(copies.sequence[2], sequence - 1);
            CHECK_EQ(copies.torn, 1 << 2);
            area = whole;
        }
        CHECK_OK(decode_area(&why));
        CHECK_EQ(blocks.node[2].epoch, sequence);
        CHECK_EQ(copies.torn, 0);
    }
}

static void a_node_block_without_a_valid_copy_is_corrupt(void)
{
    struct node_block n = some_node();
    struct diag why;

    memset(&area, 0, sizeof area);
    write_copy(&n, 1);
    write_copy(&n, 2);
    area.block[0][2].epoch = area.block[1][2].epoch = le64_make(99);
    CHECK_ERR(decode_area(&why), E_CHECKSUM);
    CHECK_CONTAINS(why.text, "node block 3");
    memset(&area.block[1][2], 0, sizeof area.block[1][2]);
    CHECK_ERR(decode_area(&why), E_CHECKSUM); /* a volume of before */
}

static void a_node_block_elsewhere_than_at_its_place_does_not_count(void)
{
    struct node_block n = some_node();
    struct diag why;

    memset(&area, 0, sizeof area);
    write_copy(&n, 4);
    area.block[0][5] = area.block[0][2]; /* another node's */
    CHECK_ERR(decode_area(&why), E_CORRUPT);
    memset(&area.block[0][5], 0, sizeof area.block[0][5]);
    area.block[1][2] = area.block[0][2]; /* the other copy's */
    CHECK_OK(decode_area(&why));
    CHECK_EQ(copies.sequence[2], 4);
    CHECK_EQ(copies.torn, 1 << 2);
}

static void a_claim_keeps_what_the_block_says_of_the_fenced(void)
{
    const struct claim_args h3 = {3, "h3", 8, false};
    struct node_block n = some_node(), back;
    struct super super = some_super();
    uint64_t sequence;
    uint32_t torn;
    struct diag why;
    struct world w;
    struct store *lun;

    world_init(&w);
    lun = new_lun(64 * MIB);
    node_encode(&n, super.uuid, 0, &area.block[0][2]);
    store_mem_poke(lun, NODE_BLOCKS_AT + 2 * FS_BLOCK_BYTES, &area.block[0][2],
                   FS_BLOCK_BYTES);
    CHECK_OK(claim_take(lun, &super, &h3, &why));
    CHECK_OK(claim_release(lun, &super, &h3, &why));
    CHECK_OK(store_read_sync(lun, NODE_BLOCKS_AT, &area, sizeof area));
    CHECK_OK(
        node_area_get(&area, super.uuid, 3, &back, &sequence, &torn, &why));
    CHECK_EQ(sequence, 2);
    CHECK_EQ(torn, 0);
    CHECK_MEM(back.fencing, n.fencing, sizeof n.fencing);
    CHECK_EQ(back.claim, CLAIM_RELEASED);
    store_close(lun);
    world_fini(&w);
}

/* -- superblock copies as bytes -------------------------------------------- */

static void the_next_superblock_has_the_new_epoch_and_all_else(void)
{
    struct super super = some_super(), next;
    struct super_disk disk[FS_SUPER_COPIES], block;
    const void *as_read[FS_SUPER_COPIES] = {&disk[0], &disk[1], &disk[2]};
    uint64_t at[FS_SUPER_COPIES];
    struct fs_super_info info;
    struct diag why = {{0}};

    super_encode(&super, &disk[0]);
    super.sequence++; /* the first copy is out of date */
    super_encode(&super, &disk[1]);
    super.epoch += 100;
    super.uuid[0] ^= 1;
    super_encode(&super, &disk[2]); /* of an earlier volume */
    super.epoch -= 100;
    super.uuid[0] ^= 1;
    CHECK_OK(fs_super_newest(as_read, super.uuid, &info, &why));
    CHECK_EQ(info.epoch, super.epoch);
    CHECK_OK(fs_super_next(as_read, super.uuid, 77, &block, &why));
    CHECK_OK(super_decode(&block, &next, &why));
    CHECK_EQ(next.epoch, 77);
    CHECK_EQ(next.sequence, super.sequence + 1);
    next.epoch = super.epoch;
    next.sequence = super.sequence;
    CHECK_MEM(&next, &super, sizeof next);
    as_read[0] = NULL; /* a bad sector */
    disk[1].crc = le32_make(0);
    CHECK_ERR(fs_super_next(as_read, super.uuid, 77, &block, &why), E_CHECKSUM);
    fs_super_places(info.size_bytes, at);
    CHECK_EQ(at[2], info.size_bytes - FS_BLOCK_BYTES);
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
    args.name = "a\x7f";
    CHECK_ERR(fs_format(lun, &args, &why), E_INVAL);
    args.name = "a\xc3"; /* cut off */
    CHECK_ERR(fs_format(lun, &args, &why), E_INVAL);
    CHECK_CONTAINS(why.text, "UTF-8");
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
    TEST(a_volume_with_first_copies_only_is_read),
    TEST(a_torn_write_loses_nothing_that_was_answered),
    TEST(a_node_block_without_a_valid_copy_is_corrupt),
    TEST(a_node_block_elsewhere_than_at_its_place_does_not_count),
    TEST(the_next_superblock_has_the_new_epoch_and_all_else),
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
