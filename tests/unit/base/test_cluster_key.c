/* tests/unit/base/test_cluster_key.c - the file of the cluster's key.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cluster_key.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGITS                                                                 \
    "00112233445566778899aabbccddeeff0123456789abcdefFEDCBA9876543210"

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");

    if (!f || fputs(text, f) < 0 || fclose(f) || chmod(path, mode))
        abort();
}

static void digits_are_bytes(void)
{
    static const uint8_t end[] = {0xfe, 0xdc, 0xba, 0x98,
                                  0x76, 0x54, 0x32, 0x10};
    struct cluster_key key;

    CHECK_OK(cluster_key_parse(DIGITS, 64, &key, NULL));
    CHECK_EQ(key.bytes[1], 0x11);
    CHECK_EQ(key.bytes[15], 0xff);
    CHECK_MEM(key.bytes + 24, end, sizeof end);
    CHECK_OK(cluster_key_parse(DIGITS " \r\n\n", 68, &key, NULL));
}

static void what_is_no_key_is_refused_without_showing_it(void)
{
    static const struct {
        const char *text;
        const char *said;
    } rows[] = {
        {"",                  "0 hex digits, and then none; a key has 64"  },
        {"deadbeef",          "8 hex digits, and then none"                },
        {" " DIGITS,          "0 hex digits, and then none"                },
        {"0123456789g",       "10 hex digits, and then none"               },
        {DIGITS "0",          "something follows the 64 digits, at byte 64"},
        {DIGITS "\n# a note", "something follows the 64 digits, at byte 65"},
    };
    struct cluster_key key = {{7}};
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_ERR(
            cluster_key_parse(rows[i].text, strlen(rows[i].text), &key, &why),
            E_CONFIG);
        CHECK_CONTAINS(why.text, rows[i].said);
        CU_ASSERT_PTR_NULL(strstr(why.text, "deadbeef"));
    }
    CHECK_EQ(key.bytes[0], 7);
    CHECK_ERR(cluster_key_parse(DIGITS, 63, &key, &why), E_CONFIG);
}

static void generated_file_is_read_and_differs_each_time(void)
{
    struct cluster_key a, b;
    char path[2 * WORLD_PATH_BYTES], other[2 * WORLD_PATH_BYTES];
    struct world w;
    struct diag why;
    struct stat st;

    world_init(&w);
    snprintf(path, sizeof path, "%s/a", w.dir);
    snprintf(other, sizeof other, "%s/b", w.dir);
    umask(0);
    CHECK_OK(cluster_key_generate(path, &why));
    CHECK_OK(cluster_key_generate(other, &why));
    umask(022);
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0600);
    CHECK_EQ(st.st_size, 65);
    CHECK_OK(cluster_key_load(path, &a, &why));
    CHECK_OK(cluster_key_load(other, &b, &why));
    CU_ASSERT(memcmp(a.bytes, b.bytes, sizeof a.bytes) != 0);
    /* a key in use is never overwritten */
    CHECK_ERR(cluster_key_generate(path, &why), E_EXIST);
    CHECK_CONTAINS(why.text, path);
    CHECK_OK(cluster_key_load(path, &b, &why));
    CHECK_MEM(a.bytes, b.bytes, sizeof a.bytes);
    world_fini(&w);
}

static void file_that_others_can_touch_is_refused_with_the_cure(void)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0644};
    char path[2 * WORLD_PATH_BYTES], cure[3 * WORLD_PATH_BYTES];
    struct cluster_key key;
    struct world w;
    struct diag why;

    world_init(&w);
    snprintf(path, sizeof path, "%s/key", w.dir);
    snprintf(cure, sizeof cure, "chmod 600 %s", path);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        write_file(path, DIGITS "\n", modes[i]);
        CHECK_ERR(cluster_key_load(path, &key, &why), E_PERM);
        CHECK_CONTAINS(why.text, cure);
    }
    write_file(path, DIGITS "\n", 0400);
    CHECK_OK(cluster_key_load(path, &key, &why));
    if (geteuid() == 0) {
        CHECK_EQ(chown(path, 65534, 65534), 0);
        CHECK_ERR(cluster_key_load(path, &key, &why), E_PERM);
        CHECK_CONTAINS(why.text, "belongs to user 65534: chown root");
    }
    world_fini(&w);
}

static void file_that_is_not_one_is_named(void)
{
    char path[2 * WORLD_PATH_BYTES];
    struct cluster_key key;
    struct world w;
    struct diag why;

    world_init(&w);
    snprintf(path, sizeof path, "%s/key", w.dir);
    CHECK_ERR(cluster_key_load(path, &key, &why), E_NOENT);
    CHECK_CONTAINS(why.text, path);
    CHECK_CONTAINS(why.text, "copy it from another host");
    CHECK_ERR(cluster_key_load(w.dir, &key, &why), E_PERM);
    CHECK_CONTAINS(why.text, "not a regular file");
    write_file(path, "deadbeef\n", 0600);
    CHECK_ERR(cluster_key_load(path, &key, &why), E_CONFIG);
    CHECK_CONTAINS(why.text, "/key: 8 hex digits");
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(digits_are_bytes),
    TEST(what_is_no_key_is_refused_without_showing_it),
    TEST(generated_file_is_read_and_differs_each_time),
    TEST(file_that_others_can_touch_is_refused_with_the_cure),
    TEST(file_that_is_not_one_is_named),
};
TEST_SUITE("base/cluster_key", tests);
