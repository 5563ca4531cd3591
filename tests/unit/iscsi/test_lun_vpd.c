/* tests/unit/iscsi/test_lun_vpd.c - what a target says, well or badly.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "iscsi/lun_vpd.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#define ANSWER(array) ((struct lun_answer){(array), sizeof(array)})

static void inquiry_gives_names_without_blanks(void)
{
    uint8_t b[36] = {0};
    struct lun_identity id = {.vendor = ""};

    memcpy(b + 8, "ACME    Big \x01 Disk      1.0 ", 28);
    CHECK_OK(lun_vpd_inquiry(ANSWER(b), &id));
    CHECK_STR(id.vendor, "ACME");
    CHECK_STR(id.product, "Big ? Disk");
    CHECK_STR(id.revision, "1.0");
    b[0] = 0x20;
    CHECK_ERR(lun_vpd_inquiry(ANSWER(b), &id), E_NOENT);
    b[0] = 0x05; /* a CD */
    CHECK_ERR(lun_vpd_inquiry(ANSWER(b), &id), E_UNSUPPORTED);
    CHECK_ERR(lun_vpd_inquiry((struct lun_answer){b, 35}, &id), E_PROTOCOL);
}

static void capacity_is_refused_when_it_cannot_be(void)
{
    static const struct {
        uint64_t last;
        uint32_t block;
        enum err expect;
    } rows[] = {
        {0,                       512,     E_OK         },
        {99,                      4096,    E_OK         },
        {(UINT64_C(1) << 54) - 2, 512,     E_OK         },
        {UINT64_C(1) << 54,       512,     E_PROTOCOL   },
        {UINT64_MAX,              512,     E_PROTOCOL   },
        {99,                      0,       E_UNSUPPORTED},
        {99,                      256,     E_UNSUPPORTED},
        {99,                      520,     E_UNSUPPORTED},
        {99,                      1 << 17, E_UNSUPPORTED},
    };
    uint8_t b[32] = {[13] = 0x23, [14] = 0xc0};
    struct lun_limits limits = {.blocks = 0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        be64_store(b, rows[i].last);
        be32_store(b + 8, rows[i].block);
        CHECK_ERR(lun_vpd_capacity(ANSWER(b), &limits), rows[i].expect);
        if (rows[i].expect)
            continue;
        CHECK_EQ(limits.blocks, rows[i].last + 1);
        CHECK_EQ(limits.physical_bytes, rows[i].block * 8);
        CU_ASSERT_TRUE(limits.thin);
        CU_ASSERT_TRUE(limits.unmapped_reads_zeros);
    }
    CHECK_ERR(lun_vpd_capacity((struct lun_answer){b, 15}, &limits),
              E_PROTOCOL);
}

static void wwid_is_the_best_designator_of_the_unit(void)
{
    /* T10 vendor id; EUI-64 of the port (not the unit); NAA; SCSI name */
    static const uint8_t page[] = {
        0,    0x83, 0,    45,   2, 1,    0, 8, 'A',  'C',  'M',  'E',
        ' ',  '4',  '2',  ' ',  1, 0x12, 0, 8, 1,    2,    3,    4,
        5,    6,    7,    8,    1, 3,    0, 8, 0x60, 0x01, 0x40, 0x5a,
        0xbc, 0xde, 0xf0, 0x12, 3, 8,    0, 4, 'i',  'q',  'n',  '.',
    };
    struct lun_identity id = {.wwid = "before"};
    uint8_t cut[sizeof page];

    lun_vpd_wwid(ANSWER(page), &id);
    CHECK_STR(id.wwid, "naa.6001405abcdef012");
    /* Cut at every length: the best of what is whole. */
    for (size_t n = 0; n <= sizeof page; n++) {
        memcpy(cut, page, sizeof page);
        snprintf(id.wwid, sizeof id.wwid, "before");
        lun_vpd_wwid((struct lun_answer){cut, n}, &id);
        if (n < 16)
            CHECK_STR(id.wwid, "before");
        else if (n < 40)
            CHECK_STR(id.wwid, "t10.ACME 42");
        else
            CHECK_STR(id.wwid, "naa.6001405abcdef012");
    }
}

static void long_designator_is_cut_to_its_room(void)
{
    uint8_t page[4 + 4 + 255] = {0, 0x83, 1, 3, 1, 3, 0, 255};
    struct lun_identity id = {.wwid = ""};

    memset(page + 8, 0xab, 255);
    lun_vpd_wwid(ANSWER(page), &id);
    CU_ASSERT_TRUE(strlen(id.wwid) < sizeof id.wwid);
    CHECK_CONTAINS(id.wwid, "naa.abab");
}

static void page_with_another_code_is_ignored(void)
{
    uint8_t b0[64] = {0, 0xb1, 0, 60};
    struct lun_limits limits = {.transfer_max_blocks = 7};

    be32_store(b0 + 8, 1000);
    lun_vpd_block_limits(ANSWER(b0), &limits);
    CHECK_EQ(limits.transfer_max_blocks, 7);
    b0[1] = 0xb0;
    be32_store(b0 + 20, 500);
    lun_vpd_block_limits(ANSWER(b0), &limits);
    CHECK_EQ(limits.transfer_max_blocks, 1000);
    CHECK_EQ(limits.unmap_max_blocks, 0); /* no descriptors: no UNMAP */
    be32_store(b0 + 24, 1);
    lun_vpd_block_limits(ANSWER(b0), &limits);
    CHECK_EQ(limits.unmap_max_blocks, 500);
}

static void caching_page_is_found_behind_block_descriptors(void)
{
    uint8_t b[4 + 8 + 20] = {31, 0, 0x90, 8, [12] = 0x08, 18, 0x04};
    struct lun_limits limits = {.write_cache = false};

    lun_vpd_caching(ANSWER(b), &limits);
    CU_ASSERT_TRUE(limits.write_protected);
    CU_ASSERT_TRUE(limits.fua);
    CU_ASSERT_TRUE(limits.write_cache);
    limits.write_cache = true;
    b[3] = 250; /* descriptors beyond the end */
    b[14] = 0;
    lun_vpd_caching(ANSWER(b), &limits);
    CU_ASSERT_TRUE(limits.write_cache);
}

static void provisioning_page_takes_unmap_away(void)
{
    uint8_t b2[8] = {0, 0xb2, 0, 4, 0, 0x40};
    struct lun_limits limits = {.unmap_max_blocks = 100};

    lun_vpd_provisioning(ANSWER(b2), &limits);
    CHECK_EQ(limits.unmap_max_blocks, 0);
    CU_ASSERT_TRUE(limits.same_unmaps);
}

static const struct test tests[] = {
    TEST(inquiry_gives_names_without_blanks),
    TEST(capacity_is_refused_when_it_cannot_be),
    TEST(wwid_is_the_best_designator_of_the_unit),
    TEST(long_designator_is_cut_to_its_room),
    TEST(page_with_another_code_is_ignored),
    TEST(caching_page_is_found_behind_block_descriptors),
    TEST(provisioning_page_takes_unmap_away),
};
TEST_SUITE("iscsi/lun_vpd", tests);
