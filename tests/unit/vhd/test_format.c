/* tests/unit/vhd/test_format.c - footers, headers, geometry, the size rule.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"
#include "vhd/format.h"

#include <string.h>

#define MIB UINT64_C(1048576)

static struct vhd_footer some_footer(enum vhd_type type, uint64_t size)
{
    struct vhd_footer f;

    vhd_footer_init(&f, &(struct vhd_create_args){
                            .type = type,
                            .size_bytes = size,
                            .uuid = {1, 2, 3},
                            .now_s = 1700000000
    });
    return f;
}

static void geometry_is_what_windows_writes(void)
{
    static const struct {
        uint64_t mib;
        struct vhd_geometry g;
    } rows[] = {
        {4,       {120, 4, 17}    },
        {10,      {301, 4, 17}    },
        {40,      {963, 5, 17}    },
        {1024,    {2080, 16, 63}  },
        {2088960, {65535, 16, 255}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vhd_geometry g = vhd_geometry_of(rows[i].mib * MIB);

        CHECK_EQ(g.cylinders, rows[i].g.cylinders);
        CHECK_EQ(g.heads, rows[i].g.heads);
        CHECK_EQ(g.sectors_per_track, rows[i].g.sectors_per_track);
    }
}

static void footer_comes_back_as_it_went(void)
{
    struct vhd_footer in = some_footer(VHD_DYNAMIC, 40 * MIB), out;
    struct vhd_disk_footer disk;
    struct diag why;

    in.reserved[0] = 1; /* XenServer's "hidden" */
    vhd_footer_encode(&in, &disk);
    CHECK_OK(vhd_footer_decode(&disk, 0, &why, &out));
    CU_ASSERT_TRUE(vhd_footer_equal(&in, &out));
    CHECK_EQ(out.reserved[0], 1);
    CHECK_EQ(out.current_bytes, 40 * MIB);
    CHECK_EQ(vhd_timestamp_unix_s(out.timestamp), 1700000000);
    CHECK_MEM(out.creator, "win ", 4);
}

/* Any one byte of a footer that is changed is found. */
static void footer_with_any_byte_changed_is_refused(void)
{
    struct vhd_footer in = some_footer(VHD_FIXED, 40 * MIB), out;
    struct vhd_disk_footer disk;
    uint8_t bytes[VHD_FOOTER_BYTES];
    struct diag why;

    vhd_footer_encode(&in, &disk);
    for (size_t i = 0; i < sizeof bytes; i++) {
        memcpy(bytes, &disk, sizeof bytes);
        bytes[i] ^= 0x10;
        CHECK_ERR(vhd_footer_decode(bytes, 4096, &why, &out), E_VHD_FOOTER);
        CHECK_CONTAINS(why.text, "footer at 4096");
    }
}

static void footer_is_refused_for_what_it_says(void)
{
    static const struct {
        uint32_t type;
        uint64_t size;
        enum err expect;
        const char *part;
    } rows[] = {
        {0, MIB,            E_VHD_TYPE,   "disk type 0"   },
        {5, MIB,            E_VHD_TYPE,   "disk type 5"   },
        {6, MIB,            E_VHD_TYPE,   "disk type 6"   },
        {3, 0,              E_VHD_FOOTER, "current size 0"},
        {3, 513,            E_VHD_FOOTER, "current size"  },
        {2, UINT64_C(-512), E_VHD_FOOTER, "current size"  },
    };
    struct vhd_footer out;
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vhd_footer f = some_footer(VHD_FIXED, rows[i].size);
        struct vhd_disk_footer disk;

        f.type = (enum vhd_type)rows[i].type;
        vhd_footer_encode(&f, &disk);
        CHECK_ERR(vhd_footer_decode(&disk, 0, &why, &out), rows[i].expect);
        CHECK_CONTAINS(why.text, rows[i].part);
    }
}

static void size_is_the_geometry_only_for_two_creators(void)
{
    static const struct {
        const char *creator;
        bool geometry;
    } rows[] = {
        {"win ",   false},
        {"vpc ",   true },
        {"qemu",   true },
        {"qem2",   false},
        {"vbox",   false},
        {"tap\0",  false},
        {"wa\0\0", false},
        {"vs  ",   false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vhd_footer f = some_footer(VHD_DYNAMIC, 40 * MIB);

        memcpy(f.creator, rows[i].creator, sizeof f.creator);
        CHECK_EQ(vhd_size_by_rule(&f, VHD_SIZE_BY_CREATOR),
                 rows[i].geometry ? 41909760 : 40 * MIB);
        CHECK_EQ(vhd_size_by_rule(&f, VHD_SIZE_CURRENT), 40 * MIB);
        CHECK_EQ(vhd_size_by_rule(&f, VHD_SIZE_GEOMETRY), 41909760);
    }
}

static void geometry_at_its_maximum_is_no_size(void)
{
    struct vhd_footer f = some_footer(VHD_FIXED, 500000 * MIB);

    memcpy(f.creator, "qemu", sizeof f.creator);
    CHECK_EQ(vhd_size_by_rule(&f, VHD_SIZE_BY_CREATOR), 500000 * MIB);
}

static struct vhd_header some_header(void)
{
    return (struct vhd_header){
        .table_off_bytes = 1536,
        .max_entries = 20,
        .block_bytes = VHD_BLOCK_BYTES,
        .parent_uuid = {9 },
        .locators[7] = { 1, 2, 3, 4},
        .reserved2[255] = 7
    };
}

static void header_comes_back_as_it_went(void)
{
    struct vhd_header in = some_header(), out;
    struct vhd_disk_header disk;
    struct diag why;

    vhd_header_encode(&in, &disk);
    CHECK_EQ(be64_get(disk.data_offset), UINT64_MAX);
    CHECK_OK(vhd_header_decode(&disk, 512, &why, &out));
    CHECK_MEM(&out, &in, sizeof in);
}

static void header_is_refused_for_what_it_says(void)
{
    static const struct {
        uint32_t block;
        uint64_t table;
        enum err expect;
        const char *part;
    } rows[] = {
        {0,       1536, E_VHD_HEADER,  "block size 0"  },
        {256,     1536, E_VHD_HEADER,  "block size 256"},
        {3 << 20, 1536, E_VHD_HEADER,  "power of two"  },
        {4 << 20, 1536, E_UNSUPPORTED, "larger than"   },
        {4096,    1537, E_VHD_HEADER,  "table offset"  },
    };
    struct vhd_header out;
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vhd_header h = some_header();
        struct vhd_disk_header disk;

        h.block_bytes = rows[i].block;
        h.table_off_bytes = rows[i].table;
        vhd_header_encode(&h, &disk);
        CHECK_ERR(vhd_header_decode(&disk, 512, &why, &out), rows[i].expect);
        CHECK_CONTAINS(why.text, rows[i].part);
    }
}

static const struct test tests[] = {
    TEST(geometry_is_what_windows_writes),
    TEST(footer_comes_back_as_it_went),
    TEST(footer_with_any_byte_changed_is_refused),
    TEST(footer_is_refused_for_what_it_says),
    TEST(size_is_the_geometry_only_for_two_creators),
    TEST(geometry_at_its_maximum_is_no_size),
    TEST(header_comes_back_as_it_went),
    TEST(header_is_refused_for_what_it_says),
};
TEST_SUITE("vhd/format", tests);
