/* tests/fuzz/fuzz_table.c - any bytes as messages of the table of volumes, each
 * behind its length (u16): volumes in use never collide, and another host that
 * is told all, or reads the state file, has the same.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "lunard/table.h"

#include <string.h>

enum { ME = 1, OTHER = 2 };
enum { KIND_AT = 5, VIEW_AT = 8, NODE_AT = 24 + 24, KIND_NEW = 1 };

static struct table mine, others;

static void check_used(const struct table *t)
{
    for (unsigned i = 0; i < t->count; i++)
        for (unsigned j = 0; j < i; j++) {
            const struct table_record *a = &t->records[i], *b = &t->records[j];

            ASSERT(memcmp(a->entry.uuid, b->entry.uuid, UUID_BYTES) != 0);
            ASSERT(!a->used || !b->used ||
                   (strcmp(a->entry.name, b->entry.name) != 0 &&
                    strcmp(a->entry.url, b->entry.url) != 0 &&
                    a->entry.number != b->entry.number));
        }
}

/* What one host says is heard by both. */
static void tell(const struct table *from, uint32_t node)
{
    static uint8_t bytes[TABLE_MESSAGE_BYTES];
    struct table_news news;
    size_t count;

    for (unsigned at = 0; (count = table_say_known(from, &at, bytes));) {
        ASSERT(!table_deliver(&mine, node, bytes, count, &news, NULL));
        ASSERT(!table_deliver(&others, node, bytes, count, &news, NULL));
    }
}

/* A view of two hosts, the other one of which knows nothing. */
static void exchange(void)
{
    others.count = 0;
    others.epoch = 0;
    table_view(&mine, 7, table_node(ME) | table_node(OTHER), true);
    table_view(&others, 7, table_node(ME) | table_node(OTHER), true);
    tell(&others, OTHER);
    tell(&mine, ME);
    ASSERT(table_whole(&mine) && table_whole(&others));
}

static void check_same(void)
{
    json_t *one = table_to_json(&mine), *two = table_to_json(&others), *three;

    ASSERT(json_equal(one, two));
    others.count = 0;
    ASSERT(!table_from_json(&others, one, NULL));
    three = table_to_json(&others);
    ASSERT(json_equal(one, three));
    json_decref(one);
    json_decref(two);
    json_decref(three);
}

/* In the view that it is of; what is new needs a whole table. */
static void deliver(const uint8_t *bytes, size_t count)
{
    struct diag why = {0};
    struct table_news news;
    uint32_t node = ME;

    if (count > KIND_AT && bytes[KIND_AT] == KIND_NEW)
        exchange();
    else if (count >= VIEW_AT + 8)
        table_view(&mine, be64_load(bytes + VIEW_AT), table_node(ME), true);
    if (count >= NODE_AT + 4 && bytes[KIND_AT] == KIND_NEW)
        node = be32_load(bytes + NODE_AT) % TABLE_NODES_MAX;
    if (table_deliver(&mine, node ? node : TABLE_NODES_MAX, bytes, count, &news,
                      &why))
        ASSERT(why.text[0]);
    if (table_whole(&mine))
        check_used(&mine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!mine.records)
        ASSERT(!table_init(&mine) && !table_init(&others));
    mine.count = 0;
    mine.epoch = 0;
    while (size >= 2) {
        size_t count = min_u64(be16_load(data), size - 2);

        deliver(data + 2, count);
        data += 2 + count;
        size -= 2 + count;
    }
    exchange();
    check_used(&mine);
    check_same();
    return 0;
}
