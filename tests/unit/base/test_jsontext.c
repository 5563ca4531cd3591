/* tests/unit/base/test_jsontext.c - what others wrote is shown, whatever it is.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/jsontext.h"
#include "tests/lib/test.h"

static void expect_text(const char *text, const char *shown)
{
    json_t *json = json_text(text);

    CHECK_STR(json_string_value(json), shown);
    json_decref(json);
}

static void text_stays_as_it_is(void)
{
    expect_text("", "");
    expect_text("/volume/käse.vhd …", "/volume/käse.vhd …");
    expect_text("\xf0\x9f\x92\xbe", "\xf0\x9f\x92\xbe");
}

static void bytes_that_are_no_character_are_question_marks(void)
{
    expect_text("a\xff"
                "b",
                "a?b");
    expect_text("cut \xe2\x80", "cut ??");
    expect_text("\xf0\x9f\x92", "???");
    expect_text("\xc3(ä", "?(ä");
}

static void what_utf8_forbids_is_no_character(void)
{
    expect_text("\xc0\xaf", "??");           /* too long for its value */
    expect_text("\xed\xa0\x80", "???");      /* a surrogate */
    expect_text("\xf4\x90\x80\x80", "????"); /* above U+10FFFF */
}

static void text_that_would_change_is_told(void)
{
    CHECK_EQ(json_text_is_utf8(""), true);
    CHECK_EQ(json_text_is_utf8("käse \xf0\x9f\x92\xbe"), true);
    CHECK_EQ(json_text_is_utf8("k\xff"), false);
    CHECK_EQ(json_text_is_utf8("cut \xe2\x80"), false);
    CHECK_EQ(json_text_is_utf8("\xc0\xaf"), false);
}

static const struct test tests[] = {
    TEST(text_stays_as_it_is),
    TEST(bytes_that_are_no_character_are_question_marks),
    TEST(what_utf8_forbids_is_no_character),
    TEST(text_that_would_change_is_told),
};
TEST_SUITE("base/jsontext", tests);
