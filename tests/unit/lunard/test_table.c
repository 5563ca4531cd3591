/* tests/unit/lunard/test_table.c - the rules of the table of volumes.
 * The model of many hosts is in test_table_model.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/table.h"

#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

enum { A = 1, B = 2 };

static struct diag why;

/* A table that is alone in its view and whole. */
static struct table new_table(void)
{
    struct table t;
    struct table_news news;
    uint8_t bytes[TABLE_MESSAGE_BYTES];
    unsigned at = 0;
    size_t count;

    ASSERT(!table_init(&t));
    table_view(&t, 1, table_node(A), false);
    count = table_say_known(&t, &at, bytes);
    CHECK_OK(table_deliver(&t, A, bytes, count, &news, &why));
    CHECK_EQ(table_whole(&t), true);
    return t;
}

/* UUIDs are n, and numbers are chosen from 7 on: all would like the same. */
static struct table_entry an_entry(unsigned n, const char *name,
                                   const char *url)
{
    struct table_entry e = {
        .uuid = {0, 7, [15] = (uint8_t)n}
    };

    e.uuid[14] = (uint8_t)(n >> 8);
    snprintf(e.name, sizeof e.name, "%s", name);
    snprintf(e.url, sizeof e.url, "%s", url);
    return e;
}

static struct table_entry a_volume(unsigned n)
{
    char name[32], url[32];

    snprintf(name, sizeof name, "vol%u", n);
    snprintf(url, sizeof url, "/dev/lun%u", n);
    return an_entry(n, name, url);
}

static struct table_entry a_removal(unsigned n)
{
    struct table_entry e = a_volume(n);

    e.removed = true;
    return e;
}

static struct table_entry add(struct table *t, struct table_entry e)
{
    CHECK_OK(table_propose(t, A, &e, &why));
    CHECK_EQ(table_change(t, &e), e.removed ? TABLE_REMOVED : TABLE_ADDED);
    return e;
}

static bool is_used(const struct table *t, struct table_entry e)
{
    const struct table_record *r = table_lookup(t, e.uuid);

    return r && r->used;
}

static enum table_verdict out(const struct table *t, struct table_entry e)
{
    const struct table_record *r = table_lookup(t, e.uuid);

    return r && !r->used ? r->out : TABLE_ADDED;
}

/* Two hosts of one view tell each other all. */
static void exchange(struct table *a, struct table *b, bool quorate)
{
    struct table *const tables[] = {a, b};
    uint8_t bytes[TABLE_MESSAGE_BYTES];
    static uint64_t view = 100;
    struct table_news news;
    size_t count;

    view++;
    for (unsigned i = 0; i < 2; i++)
        table_view(tables[i], view, table_node(A) | table_node(B), quorate);
    for (uint32_t node = A; node <= B; node++)
        for (unsigned at = 0;
             (count = table_say_known(tables[node - 1], &at, bytes));) {
            CHECK_OK(table_deliver(a, node, bytes, count, &news, &why));
            CHECK_EQ(news.changed, table_whole(a));
            CHECK_OK(table_deliver(b, node, bytes, count, &news, &why));
            CHECK_EQ(news.changed, table_whole(b));
        }
    CHECK_EQ(table_whole(a) && table_whole(b), true);
}

static void check_equal(const struct table *a, const struct table *b)
{
    json_t *one = table_to_json(a), *two = table_to_json(b);

    CHECK_EQ(json_equal(one, two), true);
    json_decref(one);
    json_decref(two);
}

/* -- one past -------------------------------------------------------------- */

static void volumes_get_numbers_of_their_own(void)
{
    struct table t = new_table();
    struct table_entry first = add(&t, a_volume(1));
    struct table_entry second = add(&t, a_volume(2)), third = a_volume(3);

    CHECK_EQ(first.number, 7);
    CHECK_EQ(second.number, 8);
    CHECK_EQ(second.node, A);
    CU_ASSERT_TRUE(second.stamp > first.stamp);
    CHECK_EQ(is_used(&t, first) && is_used(&t, second), true);
    third.number = 1234;
    CHECK_EQ(add(&t, third).number, 1234);
    third = a_volume(4);
    third.number = 8;
    CHECK_EQ(add(&t, third).number, 9);
    memset(third.uuid, 0xff, 2);
    snprintf(third.name, sizeof third.name, "last");
    snprintf(third.url, sizeof third.url, "last");
    third.number = 0;
    CHECK_EQ(add(&t, third).number, UINT16_MAX);
    third.uuid[2] = 1;
    third.name[0] = third.url[0] = 'p';
    third.number = 0;
    CHECK_EQ(add(&t, third).number, 1);
    table_fini(&t);
}

static void what_is_taken_is_told_to_who_proposes(void)
{
    struct table t = new_table();
    struct table_entry e;

    add(&t, an_entry(1, "alpha", "/dev/a"));
    e = an_entry(2, "alpha", "/dev/b");
    CHECK_ERR(table_propose(&t, A, &e, &why), E_EXIST);
    CHECK_CONTAINS(why.text, "volume alpha");
    CHECK_CONTAINS(why.text, "/dev/a");
    e = an_entry(2, "beta", "/dev/a");
    CHECK_ERR(table_propose(&t, A, &e, &why), E_EXIST);
    CHECK_CONTAINS(why.text, "LUN of volume alpha");
    CHECK_EQ(e.stamp, 0);
    e = a_removal(2);
    CHECK_ERR(table_propose(&t, A, &e, &why), E_NOENT);
    e = an_entry(2, "a/b", "/dev/b");
    CHECK_ERR(table_propose(&t, A, &e, &why), E_INVAL);
    e = an_entry(2, "..", "/dev/b");
    CHECK_ERR(table_propose(&t, A, &e, &why), E_INVAL);
    e = an_entry(2, "beta", "/dev/\xff");
    CHECK_ERR(table_propose(&t, A, &e, &why), E_INVAL);
    e = an_entry(2, "", "/dev/b");
    CHECK_ERR(table_propose(&t, A, &e, &why), E_INVAL);
    e = an_entry(2, "beta", "");
    CHECK_ERR(table_propose(&t, A, &e, &why), E_INVAL);
    table_fini(&t);
}

/* Both were right when they were proposed. */
static void of_two_that_collide_the_second_is_refused(void)
{
    struct table t = new_table();
    struct table_entry number = a_volume(9), name = an_entry(8, "vol1", "/x"),
                       lun = an_entry(7, "y", "/dev/lun1"), e = a_volume(1);

    CHECK_OK(table_propose(&t, A, &e, &why));
    CHECK_OK(table_propose(&t, B, &number, &why));
    CHECK_OK(table_propose(&t, B, &name, &why));
    CHECK_OK(table_propose(&t, B, &lun, &why));
    CHECK_EQ(table_change(&t, &e), TABLE_ADDED);
    CHECK_EQ(table_change(&t, &number), TABLE_REFUSED_NUMBER);
    CHECK_EQ(table_change(&t, &name), TABLE_REFUSED_NAME);
    CHECK_EQ(table_change(&t, &lun), TABLE_REFUSED_URL);
    CU_ASSERT_PTR_NULL(table_lookup(&t, number.uuid));
    CHECK_EQ(table_verdict_retry(TABLE_REFUSED_NUMBER), true);
    CHECK_EQ(table_verdict_retry(TABLE_REFUSED_NAME), false);
    CHECK_OK(table_propose(&t, B, &number, &why));
    CHECK_EQ(table_change(&t, &number), TABLE_ADDED);
    CHECK_EQ(is_used(&t, e) && is_used(&t, number), true);
    table_fini(&t);
}

static void a_change_keeps_the_number_and_the_first_one_wins(void)
{
    struct table t = new_table();
    struct table_entry one = add(&t, a_volume(1)), two;
    uint16_t number = one.number;

    add(&t, a_volume(2));
    snprintf(one.url, sizeof one.url, "/dev/moved");
    one.number = 99;
    two = one;
    CHECK_OK(table_propose(&t, A, &one, &why));
    CHECK_EQ(one.number, number);
    snprintf(two.url, sizeof two.url, "/dev/elsewhere");
    CHECK_OK(table_propose(&t, B, &two, &why));
    CHECK_EQ(table_change(&t, &one), TABLE_CHANGED);
    CHECK_EQ(table_change(&t, &two), TABLE_STALE);
    CHECK_STR(table_lookup(&t, one.uuid)->entry.url, "/dev/moved");
    snprintf(one.url, sizeof one.url, "/dev/lun2");
    CHECK_ERR(table_propose(&t, A, &one, &why), E_EXIST);
    table_fini(&t);
}

static void a_removed_volume_is_gone_for_who_changes_it_at_once(void)
{
    struct table t = new_table();
    struct table_entry one = add(&t, a_volume(1)), change = one,
                       removal = a_removal(1), again = a_removal(1);

    CHECK_OK(table_propose(&t, B, &change, &why));
    CHECK_OK(table_propose(&t, A, &removal, &why));
    CHECK_OK(table_propose(&t, B, &again, &why));
    CHECK_EQ(table_change(&t, &removal), TABLE_REMOVED);
    CHECK_EQ(table_change(&t, &change), TABLE_STALE);
    CHECK_EQ(table_change(&t, &again), TABLE_STALE);
    CHECK_EQ(is_used(&t, one), false);
    CHECK_EQ(add(&t, an_entry(2, "vol1", "/dev/lun1")).number, one.number + 1);
    one = an_entry(1, "back", "/dev/back");
    CHECK_EQ(add(&t, one).number, 7); /* as it was */
    table_fini(&t);
}

static void there_is_room_for_so_many(void)
{
    struct table t = new_table();
    struct table_entry e;

    for (unsigned n = 0; n < TABLE_VOLUMES_MAX; n++)
        add(&t, a_volume(n));
    e = a_volume(TABLE_VOLUMES_MAX);
    CHECK_ERR(table_propose(&t, A, &e, &why), E_TOO_BIG);
    e.stamp = 1000;
    e.number = 1;
    e.node = A;
    CHECK_EQ(table_change(&t, &e), TABLE_FULL);
    add(&t, a_removal(3));
    add(&t, a_volume(TABLE_VOLUMES_MAX));
    table_fini(&t);
}

static void the_oldest_removals_are_forgotten(void)
{
    struct table t = new_table();

    add(&t, a_volume(9999));
    for (unsigned n = 0; n < TABLE_TOMBS_MAX + 5; n++) {
        add(&t, a_volume(n));
        add(&t, a_removal(n));
    }
    CHECK_EQ(t.count, TABLE_TOMBS_MAX + 1);
    CU_ASSERT_PTR_NULL(table_lookup(&t, a_volume(4).uuid));
    CU_ASSERT_PTR_NOT_NULL(table_lookup(&t, a_volume(5).uuid));
    CHECK_EQ(is_used(&t, a_volume(9999)), true);
    table_fini(&t);
}

/* -- two pasts ------------------------------------------------------------- */

static void nothing_is_decided_until_all_have_told(void)
{
    struct table t = new_table();
    struct table_entry e = a_volume(1);

    CHECK_OK(table_propose(&t, A, &e, &why));
    table_view(&t, 2, table_node(A) | table_node(B), true);
    CHECK_EQ(table_change(&t, &e), TABLE_UNSETTLED);
    CHECK_ERR(table_propose(&t, A, &e, &why), E_AGAIN);
    table_view(&t, 3, 0, false);
    CHECK_EQ(table_change(&t, &e), TABLE_UNSETTLED);
    table_fini(&t);
}

static void the_later_change_of_a_volume_stays(void)
{
    struct table a = new_table(), b = new_table();
    struct table_entry e = add(&a, a_volume(1));

    exchange(&a, &b, true);
    CHECK_EQ(is_used(&b, e), true);
    snprintf(e.url, sizeof e.url, "/dev/moved");
    CHECK_OK(table_propose(&b, B, &e, &why));
    CHECK_EQ(table_change(&b, &e), TABLE_CHANGED);
    add(&a, a_volume(2));
    add(&a, a_removal(2));
    exchange(&b, &a, true);
    check_equal(&a, &b);
    CHECK_STR(table_lookup(&a, e.uuid)->entry.url, "/dev/moved");
    CHECK_EQ(table_lookup(&b, a_volume(2).uuid)->entry.removed, true);
    table_fini(&a);
    table_fini(&b);
}

/* Whatever its UUID, and whoever speaks first. */
static void who_joins_gives_way_to_what_the_cluster_uses(void)
{
    for (unsigned joiner = 1; joiner <= 3; joiner += 2) {
        struct table a = new_table(), b = new_table(), c = new_table();
        struct table_entry ours = add(&a, an_entry(2, "alpha", "/dev/a"));
        struct table_entry theirs =
            add(&c, an_entry(joiner, "alpha", "/dev/c"));
        struct table_entry lun = add(&c, an_entry(5, "beta", "/dev/a"));

        add(&c, a_volume(6));
        add(&c, a_removal(6)); /* a long past is no merit */
        exchange(&a, &b, true);
        exchange(&c, &a, true);
        check_equal(&a, &c);
        CHECK_EQ(is_used(&a, ours), true);
        CHECK_EQ(out(&a, theirs), TABLE_REFUSED_NAME);
        CHECK_EQ(out(&a, lun), TABLE_REFUSED_URL);
        exchange(&c, &a, true); /* and it stays so */
        CHECK_EQ(is_used(&c, ours), true);
        CHECK_EQ(out(&c, theirs), TABLE_REFUSED_NAME);
        ours.removed = true;
        add(&a, ours);
        CHECK_EQ(is_used(&a, theirs), true);
        table_fini(&a);
        table_fini(&b);
        table_fini(&c);
    }
}

static void of_strangers_the_lower_uuid_wins(void)
{
    struct table a = new_table(), b = new_table();
    struct table_entry one = add(&a, an_entry(1, "alpha", "/dev/a"));
    struct table_entry two = add(&b, an_entry(2, "alpha", "/dev/b"));

    exchange(&b, &a, true);
    check_equal(&a, &b);
    CHECK_EQ(is_used(&a, one), true);
    CHECK_EQ(out(&a, two), TABLE_REFUSED_NAME);
    table_fini(&a);
    table_fini(&b);
}

static void who_lacks_a_number_gets_another(void)
{
    struct table a = new_table(), b = new_table();
    struct table_entry one = add(&a, a_volume(1)), two = add(&b, a_volume(2));
    struct table_entry e = two;

    exchange(&a, &b, true);
    CHECK_EQ(out(&a, two), TABLE_REFUSED_NUMBER);
    CHECK_OK(table_propose(&a, A, &e, &why));
    CHECK_EQ(table_change(&a, &e), TABLE_CHANGED);
    CHECK_EQ(is_used(&a, one) && is_used(&a, two), true);
    CHECK_EQ(table_lookup(&a, one.uuid)->entry.number, one.number);
    table_fini(&a);
    table_fini(&b);
}

/* What is in use keeps its number while one that is not waits for it. */
static void who_waits_for_a_number_takes_it_from_nobody(void)
{
    struct table a = new_table(), b = new_table();
    struct table_entry one = add(&a, a_volume(1)), two = add(&b, a_volume(2));

    exchange(&a, &b, true);
    snprintf(one.url, sizeof one.url, "/dev/moved");
    CHECK_OK(table_propose(&a, A, &one, &why));
    CHECK_EQ(table_change(&a, &one), TABLE_CHANGED);
    CHECK_EQ(table_lookup(&a, one.uuid)->entry.number, 7);
    CHECK_EQ(out(&a, two), TABLE_REFUSED_NUMBER);
    table_fini(&a);
    table_fini(&b);
}

/* A proposal that only others heard, and another one of a host that lost it. */
static void of_equal_stamps_the_same_stays_in_any_order(void)
{
    struct table a = new_table(), b = new_table();
    struct table_entry one = a_volume(1), two;

    CHECK_OK(table_propose(&a, A, &one, &why));
    for (unsigned field = 0; field < 4; field++) {
        two = one;
        two.removed = field == 3;
        if (field == 0)
            two.number++;
        if (field == 1 || two.removed)
            *two.name = two.removed ? '\0' : 'w';
        if (field == 2 || two.removed)
            *two.url = two.removed ? '\0' : '0';
        a.count = b.count = 0;
        (void)table_learn(&a, &one);
        (void)table_learn(&a, &two);
        CHECK_EQ(table_learn(&b, &two),
                 field == 3 ? TABLE_REMOVED : TABLE_ADDED);
        CHECK_EQ(table_learn(&b, &one), TABLE_STALE);
        check_equal(&a, &b);
    }
    table_fini(&a);
    table_fini(&b);
}

static void more_than_there_is_room_for_are_sorted_out_the_same(void)
{
    struct table a = new_table(), b = new_table();
    unsigned full = 0;

    for (unsigned n = 0; n < TABLE_VOLUMES_MAX; n++) {
        struct table_entry e = a_volume(2 * n), f = a_volume(2 * n + 1);

        e.number = (uint16_t)(1000 + 2 * n);
        f.number = (uint16_t)(1001 + 2 * n);
        add(&a, e);
        add(&b, f);
    }
    exchange(&a, &b, true);
    check_equal(&a, &b);
    for (unsigned i = 0; i < a.count; i++)
        full += !a.records[i].used && a.records[i].out == TABLE_FULL;
    CHECK_EQ(full, TABLE_VOLUMES_MAX);
    CHECK_EQ(is_used(&a, a_volume(255)), true);
    CHECK_EQ(is_used(&a, a_volume(256)), false);
    table_fini(&a);
    table_fini(&b);
}

/* -- messages -------------------------------------------------------------- */

static void a_table_needs_several_messages(void)
{
    struct table a = new_table(), b = new_table();
    uint8_t bytes[TABLE_MESSAGE_BYTES];
    unsigned at = 0, messages = 0;

    for (unsigned n = 0; n < 100; n++) {
        struct table_entry e = a_volume(n);

        memset(e.url, 'u', sizeof e.url - 1);
        memset(e.name, 'n', sizeof e.name - 1);
        snprintf(e.url + 1000, sizeof e.url - 1000, "%023u", n);
        snprintf(e.name + 40, sizeof e.name - 40, "%023u", n);
        add(&a, e);
    }
    while (table_say_known(&a, &at, bytes))
        messages++;
    CHECK_EQ(messages, 4); /* 28 entries of 1120 bytes in each */
    exchange(&a, &b, true);
    check_equal(&a, &b);
    table_fini(&a);
    table_fini(&b);
}

static void what_was_said_in_another_view_is_not_heard(void)
{
    struct table a = new_table(), b = new_table();
    struct table_entry e = add(&a, a_volume(1));
    uint8_t bytes[TABLE_MESSAGE_BYTES];
    struct table_news news;
    unsigned at = 0;
    size_t count;

    table_view(&a, 5, table_node(A) | table_node(B), true);
    count = table_say_known(&a, &at, bytes);
    table_view(&b, 6, table_node(A) | table_node(B), true);
    CHECK_OK(table_deliver(&b, A, bytes, count, &news, &why));
    CU_ASSERT_PTR_NULL(table_lookup(&b, e.uuid));
    table_view(&b, 5, table_node(B), true); /* A is none of it */
    CHECK_OK(table_deliver(&b, A, bytes, count, &news, &why));
    CU_ASSERT_PTR_NULL(table_lookup(&b, e.uuid));
    CHECK_EQ(news.changed || table_whole(&b), false);
    table_fini(&a);
    table_fini(&b);
}

/* Nothing of a message is carried out unless all of it is right. */
static void a_message_with_a_wrong_byte_changes_nothing(void)
{
    static const uint8_t at[] = {0, 5, 7, 15, 23, 24 + 27, 24 + 30};
    struct table a = new_table(), b = new_table();
    struct table_entry e = a_volume(1);
    uint8_t bytes[TABLE_MESSAGE_BYTES], wrong[TABLE_MESSAGE_BYTES];
    struct table_news news;
    size_t count;

    CHECK_OK(table_propose(&a, A, &e, &why));
    count = table_say_new(&e, bytes);
    for (size_t cut = 0; cut < count; cut++)
        CHECK_ERR(table_deliver(&b, A, bytes, cut, &news, &why), E_PROTOCOL);
    CHECK_ERR(table_deliver(&b, A, bytes, count + 1, &news, &why), E_PROTOCOL);
    CHECK_ERR(table_deliver(&b, B, bytes, count, &news, &why), E_PROTOCOL);
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        memcpy(wrong, bytes, count);
        wrong[at[i]] ^= 0x44;
        CHECK_ERR(table_deliver(&b, A, wrong, count, &news, &why), E_PROTOCOL);
    }
    bytes[4]++;
    CHECK_ERR(table_deliver(&b, A, bytes, count, &news, &why), E_VERSION);
    CHECK_EQ(b.count, 0);
    bytes[4]--;
    CHECK_OK(table_deliver(&b, A, bytes, count, &news, &why));
    CHECK_EQ(news.decided && news.changed, true);
    CHECK_EQ(news.verdict, TABLE_ADDED);
    CHECK_EQ(news.entry.stamp, e.stamp);
    CHECK_EQ(is_used(&b, e), true);
    table_fini(&a);
    table_fini(&b);
}

/* -- the state file -------------------------------------------------------- */

static void a_table_outlives_its_host(void)
{
    struct table a = new_table(), b = new_table(), c;
    struct table_entry out_of_use = add(&b, an_entry(9, "vol2", "/dev/b"));
    json_t *json;

    add(&a, a_volume(2));
    add(&a, a_volume(3));
    add(&a, a_removal(3));
    exchange(&a, &b, true);
    add(&a, a_volume(4));
    json = table_to_json(&a);
    ASSERT(!table_init(&c));
    CHECK_OK(table_from_json(&c, json, &why));
    check_equal(&a, &c);
    CHECK_EQ(c.epoch, a.epoch);
    CHECK_EQ(is_used(&c, a_volume(2)), true);
    CHECK_EQ(is_used(&c, out_of_use), false);
    CHECK_EQ(table_whole(&c), false);
    json_decref(json);
    table_fini(&a);
    table_fini(&b);
    table_fini(&c);
}

static void a_state_file_that_is_wrong_is_refused_with_the_place(void)
{
    static const char good[] =
        "'uuid': '00112233-4455-6677-8899-aabbccddeeff', 'name': 'a',"
        "'url': 'b', 'number': 1, 'stamp': 1, 'node': 1, 'removed': false,"
        "'used': true";
    static const struct {
        const char *from, *to;
    } wrong[] = {
        {"'uuid'",           "'guid'"            },
        {"0011",             "x011"              },
        {"'a'",              "'a/b'"             },
        {"'b'",              "''"                },
        {"'number': 1",      "'number': 0"       },
        {"'number': 1",      "'number': 65536"   },
        {"'stamp': 1",       "'stamp': -1"       },
        {"'node': 1",        "'node': 65"        },
        {"'node': 1",        "'node': 4294967297"},
        {"'removed': false", "'removed': true"   },
        {"'used': true",     "'used': 1"         },
    };
    char text[1024], quoted[1024];
    struct table t;

    ASSERT(!table_init(&t));
    for (size_t i = 0; i <= ARRAY_LEN(wrong); i++) {
        const char *at = i ? strstr(good, wrong[i - 1].from) : good;
        json_t *json;

        ASSERT(at);
        snprintf(text, sizeof text, "{'epoch': 1, 'volumes': [{%.*s%s%s}]}",
                 (int)(at - good), good, i ? wrong[i - 1].to : "",
                 at + (i ? strlen(wrong[i - 1].from) : 0));
        for (size_t c = 0; c <= strlen(text); c++)
            quoted[c] = text[c] == '\'' ? '"' : text[c];
        json = json_loads(quoted, 0, NULL);
        ASSERT(json);
        CHECK_ERR(table_from_json(&t, json, &why), i ? E_CORRUPT : E_OK);
        CHECK_EQ(t.count, i ? 0 : 1);
        if (i)
            CHECK_CONTAINS(why.text, "volume 0: ");
        t.count = 0;
        json_decref(json);
    }
    table_fini(&t);
}

static const struct test tests[] = {
    TEST(volumes_get_numbers_of_their_own),
    TEST(what_is_taken_is_told_to_who_proposes),
    TEST(of_two_that_collide_the_second_is_refused),
    TEST(a_change_keeps_the_number_and_the_first_one_wins),
    TEST(a_removed_volume_is_gone_for_who_changes_it_at_once),
    TEST(there_is_room_for_so_many),
    TEST(the_oldest_removals_are_forgotten),
    TEST(nothing_is_decided_until_all_have_told),
    TEST(the_later_change_of_a_volume_stays),
    TEST(who_joins_gives_way_to_what_the_cluster_uses),
    TEST(of_strangers_the_lower_uuid_wins),
    TEST(who_lacks_a_number_gets_another),
    TEST(who_waits_for_a_number_takes_it_from_nobody),
    TEST(of_equal_stamps_the_same_stays_in_any_order),
    TEST(more_than_there_is_room_for_are_sorted_out_the_same),
    TEST(a_table_needs_several_messages),
    TEST(what_was_said_in_another_view_is_not_heard),
    TEST(a_message_with_a_wrong_byte_changes_nothing),
    TEST(a_table_outlives_its_host),
    TEST(a_state_file_that_is_wrong_is_refused_with_the_place),
};
TEST_SUITE("lunard/table", tests);
