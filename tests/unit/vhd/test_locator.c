/* tests/unit/vhd/test_locator.c - locators, their characters, and paths.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"
#include "vhd/locator.h"
#include "vhd/utf16.h"

#include <stdio.h>
#include <string.h>

static void space_is_in_sectors_or_in_bytes(void)
{
    CHECK_EQ(vhd_locator_space_bytes(0), 0);
    CHECK_EQ(vhd_locator_space_bytes(1), 512);
    CHECK_EQ(vhd_locator_space_bytes(511), 511 * 512);
    CHECK_EQ(vhd_locator_space_bytes(512), 512);
    CHECK_EQ(vhd_locator_space_bytes(65536), 65536);
    CHECK_EQ(vhd_locator_space_bytes(513), 0);
}

static const uint32_t codes[] = {VHD_LOCATOR_W2RU, VHD_LOCATOR_W2KU,
                                 VHD_LOCATOR_MACX};

static void path_comes_back_from_every_kind_of_locator(void)
{
    static const char *const paths[] = {"/ClusterStorage/v/parent.vhd",
                                        "./p.vhd", "../other/p 100%.vhd",
                                        "/Größe/Ω/日本/\xf0\x9f\x92\xbe.vhd"};

    for (size_t c = 0; c < ARRAY_LEN(codes); c++) {
        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
            uint8_t text[VHD_LOCATOR_TEXT_BYTES];
            char path[VHD_PATH_BYTES] = "";
            size_t bytes = 0;

            CHECK_OK(vhd_locator_encode(codes[c], paths[i], text, &bytes));
            CHECK_OK(vhd_locator_decode(codes[c], text, bytes, path));
            CHECK_STR(path, paths[i]);
        }
    }
}

static void windows_paths_become_ours(void)
{
    static const struct {
        const char *windows, *ours;
    } rows[] = {
        {"C:\\VMs\\a.vhd",        "/VMs/a.vhd"},
        {"\\\\?\\C:\\VMs\\a.vhd", "/VMs/a.vhd"},
        {".\\a.vhd",              "./a.vhd"   },
        {"..\\b\\a.vhd",          "../b/a.vhd"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t text[256];
        char path[VHD_PATH_BYTES] = "";
        size_t bytes = 0;

        CHECK_OK(utf16_from_utf8(UTF16_LE, rows[i].windows, text, sizeof text,
                                 &bytes));
        CHECK_OK(vhd_locator_decode(VHD_LOCATOR_W2KU, text, bytes, path));
        CHECK_STR(path, rows[i].ours);
    }
}

static void text_that_is_no_path_is_refused(void)
{
    static const struct {
        uint32_t code;
        const char *text;
        size_t bytes;
    } rows[] = {
        {VHD_LOCATOR_W2RU, "",              0 },
        {VHD_LOCATOR_W2RU, "\0\0",          2 }, /* nothing but NULs */
        {VHD_LOCATOR_W2RU, "a\0\0\0b\0",    6 }, /* NUL inside */
        {VHD_LOCATOR_W2RU, "a",             1 }, /* half a character */
        {VHD_LOCATOR_W2RU,
         "\x00\xd8"
         "a\0",                             4 }, /* unpaired surrogate */
        {VHD_LOCATOR_W2RU, "\x00\xdc",      2 },
        {VHD_LOCATOR_MACX, "http://x/a",    10},
        {VHD_LOCATOR_MACX, "file://",       7 },
        {VHD_LOCATOR_MACX, "file:///a%00b", 13},
        {0x57693272,       "a",             1 }, /* Wi2r: of no use */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[VHD_PATH_BYTES] = "as it was";

        CHECK_ERR(vhd_locator_decode(rows[i].code,
                                     (const uint8_t *)rows[i].text,
                                     rows[i].bytes, path),
                  E_VHD_PARENT);
        CHECK_STR(path, "as it was");
    }
}

static void text_that_is_no_utf8_is_refused(void)
{
    static const char *const rows[] = {
        "\x80",         "\xc0\xaf",         "\xe2\x82",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"};
    uint8_t out[16];
    size_t bytes;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CHECK_ERR(utf16_from_utf8(UTF16_LE, rows[i], out, sizeof out, &bytes),
                  E_INVAL);
}

static void parent_name_that_is_too_long_keeps_its_last_part(void)
{
    uint8_t name[VHD_PARENT_NAME_BYTES];
    char longest[VHD_PATH_BYTES] = "", path[VHD_PATH_BYTES] = "";

    memset(longest, 'd', 300);
    longest[0] = '/';
    snprintf(longest + 300, sizeof longest - 300, "/p.vhd");
    CHECK_OK(vhd_parent_name_encode(longest, name));
    CHECK_OK(vhd_parent_name_decode(name, path));
    CHECK_STR(path, "p.vhd");
    CHECK_OK(vhd_parent_name_encode("/d/p.vhd", name));
    CHECK_OK(vhd_parent_name_decode(name, path));
    CHECK_STR(path, "/d/p.vhd");
}

static void paths_are_resolved_by_name(void)
{
    static const struct {
        const char *file, *path, *expect; /* NULL: refused */
    } rows[] = {
        {"/a/b/c.vhd", "./p.vhd",        "/a/b/p.vhd"},
        {"/a/b/c.vhd", "p.vhd",          "/a/b/p.vhd"},
        {"/a/b/c.vhd", "../x/./p.vhd",   "/a/x/p.vhd"},
        {"/a/b/c.vhd", "../../p.vhd",    "/p.vhd"    },
        {"/a/b/c.vhd", "../../../p.vhd", NULL        },
        {"/a/b/c.vhd", "/x//y/../p.vhd", "/x/p.vhd"  },
        {"/a/b/c.vhd", "/../p.vhd",      NULL        },
        {"/a/b/c.vhd", "../..",          NULL        },
        {"/c.vhd",     "p.vhd",          "/p.vhd"    },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[VHD_PATH_BYTES] = "";

        CHECK_ERR(vhd_path_resolve(rows[i].file, rows[i].path, path),
                  rows[i].expect ? E_OK : E_VHD_PARENT);
        CHECK_STR(path, rows[i].expect ? rows[i].expect : "");
    }
}

static void relative_path_leads_back(void)
{
    static const struct {
        const char *file, *path, *expect;
    } rows[] = {
        {"/a/b/c.vhd", "/a/b/p.vhd",  "./p.vhd"      },
        {"/a/b/c.vhd", "/a/p.vhd",    "../p.vhd"     },
        {"/a/b/c.vhd", "/a/bb/p.vhd", "../bb/p.vhd"  },
        {"/a/b/c.vhd", "/x/p.vhd",    "../../x/p.vhd"},
        {"/c.vhd",     "/a/b/p.vhd",  "./a/b/p.vhd"  },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char relative[VHD_PATH_BYTES], path[VHD_PATH_BYTES];

        CHECK_OK(vhd_path_relative(rows[i].file, rows[i].path, relative));
        CHECK_STR(relative, rows[i].expect);
        CHECK_OK(vhd_path_resolve(rows[i].file, relative, path));
        CHECK_STR(path, rows[i].path);
    }
}

static const struct test tests[] = {
    TEST(space_is_in_sectors_or_in_bytes),
    TEST(path_comes_back_from_every_kind_of_locator),
    TEST(windows_paths_become_ours),
    TEST(text_that_is_no_path_is_refused),
    TEST(text_that_is_no_utf8_is_refused),
    TEST(parent_name_that_is_too_long_keeps_its_last_part),
    TEST(paths_are_resolved_by_name),
    TEST(relative_path_leads_back),
};
TEST_SUITE("vhd/locator", tests);
