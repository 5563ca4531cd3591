/* tests/unit/iscsi/test_lun_url.c - which LUN URLs are understood, and how.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_url.h"
#include "tests/lib/test.h"

#include <string.h>

#define IQN "iqn.2026-11.example:disk"

static void good_urls_come_back_as_text_without_secrets(void)
{
    static const struct {
        const char *url, *text;
    } rows[] = {
        {"file:/var/lun",                                               "file:/var/lun"                   },
        {"file:lun with blanks",                                        "file:lun with blanks"            },
        {"file:/dev/zram0",                                             "/dev/zram0"                      },
        {"file:/dev/",                                                  "file:/dev/"                      },
        {"/dev/disk/by-id/x",                                           "/dev/disk/by-id/x"               },
        {"iscsi://san/" IQN "/0",                                       "iscsi://san:3260/" IQN "/0"      },
        {"iscsi://10.0.0.1:13260/" IQN "/255",
         "iscsi://10.0.0.1:13260/" IQN "/255"                                                             },
        {"iscsi://[fe80::1]/" IQN "/1",                                 "iscsi://[fe80::1]:3260/" IQN "/1"},
        {"iscsi://[::1]:1/eui.02004567A425678D/16383",
         "iscsi://[::1]:1/eui.02004567A425678D/16383"                                                     },
        {"iscsi://joe%pa%s@w@san/" IQN "/1",                            "iscsi://san:3260/" IQN "/1"      },
        {"iscsi://joe@san/" IQN "/1",                                   "iscsi://san:3260/" IQN "/1"      },
        {"iscsi://joe%x@san/" IQN "/1?target_user=a&target_password=b",
         "iscsi://san:3260/" IQN "/1"                                                                     },
    };
    char text[LUN_URL_TEXT_BYTES];
    struct lun_url url;
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        why.text[0] = '\0';
        CHECK_OK(lun_url_parse(rows[i].url, &why, &url));
        CHECK_STR(why.text, "");
        lun_url_to_text(&url, text);
        CHECK_STR(text, rows[i].text);
    }
}

static void login_parts_are_taken_apart(void)
{
    struct lun_url url;

    CHECK_OK(lun_url_parse("iscsi://joe%p%q@r@san:99/" IQN
                           "/7?target_password=tp&target_user=tu",
                           NULL, &url));
    CHECK_STR(url.user, "joe");
    CHECK_STR(url.password, "p%q@r");
    CHECK_STR(url.host, "san");
    CHECK_EQ(url.port, 99);
    CHECK_STR(url.target, IQN);
    CHECK_EQ(url.lun, 7);
    CHECK_STR(url.target_user, "tu");
    CHECK_STR(url.target_password, "tp");
}

static void bad_urls_are_refused_with_the_part_that_is_wrong(void)
{
    static const struct {
        const char *url, *part;
    } rows[] = {
        {"",                                                      "is not a LUN URL"     },
        {"lun.img",                                               "is not a LUN URL"     },
        {"/dev/",                                                 "is not a LUN URL"     },
        {"/etc/passwd",                                           "is not a LUN URL"     },
        {"http://x/",                                             "is not a LUN URL"     },
        {"file:",                                                 "path"                 },
        {"iscsi://",                                              "host is empty"        },
        {"iscsi://[[1]:99/" IQN "/0",                             "host has \"[1\" in it"},
        {"iscsi:///" IQN "/0",                                    "host is empty"        },
        {"iscsi://san",                                           "expected"             },
        {"iscsi://san/",                                          "target name is empty" },
        {"iscsi://san/" IQN,                                      "LUN number"           },
        {"iscsi://san/" IQN "/",                                  "LUN must be a number" },
        {"iscsi://san/" IQN "/x",                                 "LUN must be a number" },
        {"iscsi://san/" IQN "/-1",                                "LUN must be a number" },
        {"iscsi://san/" IQN "/16384",                             "LUN must be a number" },
        {"iscsi://san/" IQN "/4294967296",                        "LUN must be a number" },
        {"iscsi://san/" IQN "/1/2",                               "LUN must be a number" },
        {"iscsi://san:0/" IQN "/1",                               "port must be a number"},
        {"iscsi://san:65536/" IQN "/1",                           "port must be a number"},
        {"iscsi://san:/" IQN "/1",                                "port must be a number"},
        {"iscsi://[::1/" IQN "/1",                                "no ']'"               },
        {"iscsi://[::1]x/" IQN "/1",                              "expected"             },
        {"iscsi://san/disk/1",                                    "not an iSCSI name"    },
        {"iscsi://san/iqn.2026 x/1",                              "blank"                },
        {"iscsi://san/iqn.%s/1",                                  "not an iSCSI name"    },
        {"iscsi://@san/" IQN "/1",                                "user is empty"        },
        {"iscsi://joe%@san/" IQN "/1",                            "password is empty"    },
        {"iscsi://san/" IQN "/1?",                                "only target_user"     },
        {"iscsi://san/" IQN "/1?x=y",                             "only target_user"     },
        {"iscsi://j%x@san/" IQN "/1?target_user=a",               "together"             },
        {"iscsi://j%x@san/" IQN "/1?target_user=",                "target_user is empty" },
        {"iscsi://san/" IQN "/1?target_user=a&target_password=b", "a user"               },
    };
    struct lun_url url = {.port = 4711};
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_ERR(lun_url_parse(rows[i].url, &why, &url), E_URL);
        CHECK_CONTAINS(why.text, rows[i].part);
    }
    CHECK_EQ(url.port, 4711);
}

static void too_long_parts_are_refused(void)
{
    static char text[2 * LUN_URL_PATH_BYTES];
    struct lun_url url;

    memset(text, 'x', sizeof text - 1);
    memcpy(text, "file:", 5);
    CHECK_ERR(lun_url_parse(text, NULL, &url), E_URL);
    text[5 + LUN_URL_PATH_BYTES - 1] = '\0';
    CHECK_OK(lun_url_parse(text, NULL, &url));
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "iscsi://", 8);
    CHECK_ERR(lun_url_parse(text, NULL, &url), E_URL);
    memcpy(text, "iscsi://san/iqn.", 16);
    CHECK_ERR(lun_url_parse(text, NULL, &url), E_URL);
}

static void password_never_shows_in_a_diagnostic(void)
{
    static const char *const urls[] = {
        "iscs://joe%hush@san/" IQN "/1",
        "iscsi://joe%hush@san:x/" IQN "/1",
        "iscsi://joe%hush@san/" IQN "/1?target_user=u&target_passwort=hush",
        "iscsi://joe%hush@san/" IQN "/1?target_password=hush",
        "iscsi:/joe%hush@san/" IQN "/1",
    };
    struct lun_url url;
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        CHECK_ERR(lun_url_parse(urls[i], &why, &url), E_URL);
        CU_ASSERT_PTR_NULL(strstr(why.text, "hush"));
    }
}

static const struct test tests[] = {
    TEST(good_urls_come_back_as_text_without_secrets),
    TEST(login_parts_are_taken_apart),
    TEST(bad_urls_are_refused_with_the_part_that_is_wrong),
    TEST(too_long_parts_are_refused),
    TEST(password_never_shows_in_a_diagnostic),
};
TEST_SUITE("iscsi/lun_url", tests);
