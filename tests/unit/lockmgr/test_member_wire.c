/* tests/unit/lockmgr/test_member_wire.c - messages of membership as bytes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_wire.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

static struct member_message message, decoded;
static uint8_t bytes[MEMBER_WIRE_BYTES_MAX];

static struct member_record record(uint32_t node, uint64_t incarnation,
                                   enum record_state state)
{
    struct member_record r = {
        .id = {.node = node,
               .incarnation = incarnation,
               .version_min = 1,
               .version_max = 3},
        .pid = 4711,
        .state = state,
    };

    snprintf(r.id.name, sizeof r.id.name, "host-%u", node);
    snprintf(r.id.address, sizeof r.id.address, "10.0.0.%u:5678", node);
    memset(r.id.host, (int)node, sizeof r.id.host);
    return r;
}

/* Every field that some type of message has. */
static size_t encode_one(enum member_message_type type)
{
    message = (struct member_message){
        .type = type,
        .in_view = true,
        .from = {2,          100},
        .serial = 5,
        .base = 0x1122334455667788,
        .number = 77,
        .before = {1,          90,  76},
        .ring = {1,          4            },
        .reason = CONDEMN_SILENT,
        .who_count = 1,
        .who = {{3, 50}         },
        .pid = 99,
        .text = "node 3 is host h3 already",
        .table = {.count = 3,
                 .records = {record(1, 90, RECORD_LIVE),
                              record(2, 99, RECORD_CONDEMNED),
                              record(2, 100, RECORD_LIVE)}},
        .data = (const uint8_t *)"abc",
        .data_count = 3,
    };
    message.table.records[0].member = true;
    return member_encode(&message, bytes);
}

static void every_message_comes_back_as_it_was(void)
{
    for (enum member_message_type type = 0; type < MSG_TYPE_COUNT; type++) {
        size_t count = encode_one(type);
        uint8_t again[512];

        CHECK_OK(member_decode(bytes, count, &decoded, NULL));
        CHECK_EQ(decoded.type, type);
        CHECK_EQ(decoded.from.incarnation, 100);
        CHECK_EQ(decoded.number, 77);
        CU_ASSERT_TRUE_FATAL(count <= sizeof again);
        memcpy(again, bytes, count);
        CHECK_EQ(member_encode(&decoded, bytes), count);
        CHECK_MEM(bytes, again, count);
    }
}

static void every_message_that_is_cut_off_is_refused(void)
{
    for (enum member_message_type type = 0; type < MSG_DATA; type++) {
        size_t count = encode_one(type);

        for (size_t part = 0; part < count; part++)
            CHECK_ERR(member_decode(bytes, part, &decoded, NULL), E_PROTOCOL);
        CHECK_ERR(member_decode(bytes, count + 1, &decoded, NULL), E_PROTOCOL);
    }
}

static void a_refusal_says_what_and_where(void)
{
    size_t count = encode_one(MSG_ANNOUNCE);
    struct diag why = {0};

    CHECK_ERR(member_decode(bytes, count - 1, &decoded, &why), E_PROTOCOL);
    CHECK_CONTAINS(why.text, "announce: byte ");
    CHECK_CONTAINS(why.text, "cut off");
}

static void another_version_is_told_apart_from_garbage(void)
{
    size_t count = encode_one(MSG_BEAT);
    struct diag why = {0};

    bytes[4]++;
    CHECK_ERR(member_decode(bytes, count, &decoded, &why), E_VERSION);
    CHECK_CONTAINS(why.text, "update");
}

static void an_announcement_names_its_sender(void)
{
    size_t count;

    encode_one(MSG_ANNOUNCE);
    message.from.incarnation = 101;
    count = member_encode(&message, bytes);
    CHECK_ERR(member_decode(bytes, count, &decoded, NULL), E_PROTOCOL);
}

static void records_are_in_order_and_one_per_node_is_a_member(void)
{
    struct member_record first;
    size_t count;

    encode_one(MSG_INSTALL);
    first = message.table.records[0];
    message.table.records[0] = message.table.records[1];
    message.table.records[1] = first;
    count = member_encode(&message, bytes);
    CHECK_ERR(member_decode(bytes, count, &decoded, NULL), E_PROTOCOL);

    encode_one(MSG_INSTALL);
    message.table.records[1].state = RECORD_LIVE;
    message.table.records[1].member = message.table.records[2].member = true;
    count = member_encode(&message, bytes);
    CHECK_ERR(member_decode(bytes, count, &decoded, NULL), E_PROTOCOL);
}

static void names_are_printable_and_not_empty(void)
{
    struct member_id id = record(1, 1, RECORD_LIVE).id;

    CHECK_OK(member_id_check(&id, NULL));
    id.name[2] = '\n';
    CHECK_ERR(member_id_check(&id, NULL), E_INVAL);
    id.name[0] = '\0';
    CHECK_ERR(member_id_check(&id, NULL), E_INVAL);
    id = record(65, 1, RECORD_LIVE).id;
    CHECK_ERR(member_id_check(&id, NULL), E_INVAL);
}

static const struct test tests[] = {
    TEST(every_message_comes_back_as_it_was),
    TEST(every_message_that_is_cut_off_is_refused),
    TEST(a_refusal_says_what_and_where),
    TEST(another_version_is_told_apart_from_garbage),
    TEST(an_announcement_names_its_sender),
    TEST(records_are_in_order_and_one_per_node_is_a_member),
    TEST(names_are_printable_and_not_empty),
};
TEST_SUITE("lockmgr/member_wire", tests);
