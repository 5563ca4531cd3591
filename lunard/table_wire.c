/* lunard/table_wire.c - the table's messages: encode, check, deliver.
 * What they mean is table.c's.  Integers are big-endian.
 *
 *   message  0 "LNTB"  4 version u8  5 kind u8  6 count u16  8 view u64
 *            16 epoch u64  24 entries
 *   entry    0 uuid  16 stamp u64  24 node u32  28 number u16  30 flags u8
 *            31 name length u8  32 url length u16  34 name, url
 *
 *   NEW      one entry; view and epoch 0
 *   KNOWN    entries that the sender has, in that view; its epoch
 *   LAST     the same, and there are no more
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/table_private.h"

#include "base/endian.h"

#include <limits.h>
#include <string.h>

enum { WIRE_VERSION = 1, HEAD_BYTES = 24, ENTRY_BYTES = 34 };
enum { KIND_NEW = 1, KIND_KNOWN, KIND_LAST };
enum { FLAG_REMOVED = 1, FLAG_USED = 2 };
enum { SAID_ALL = UINT_MAX }; /* *at of table_say_known() */
static const char magic[4] = "LNTB";

enum { ENTRY_BYTES_MAX = ENTRY_BYTES + TABLE_NAME_BYTES + TABLE_URL_BYTES };
static_assert(HEAD_BYTES + ENTRY_BYTES_MAX <= TABLE_MESSAGE_BYTES, "one fits");
static_assert(TABLE_NAME_BYTES - 1 <= UINT8_MAX, "a byte tells its length");

/* -- out ------------------------------------------------------------------- */

static void put_head(uint8_t *to, int kind, unsigned count, uint64_t view,
                     uint64_t epoch)
{
    memcpy(to, magic, sizeof magic);
    to[4] = WIRE_VERSION;
    to[5] = (uint8_t)kind;
    be16_store(to + 6, (uint16_t)count);
    be64_store(to + 8, view);
    be64_store(to + 16, epoch);
}

static size_t put_entry(uint8_t *to, const struct table_entry *e, bool used)
{
    size_t name = strlen(e->name), url = strlen(e->url);

    memcpy(to, e->uuid, UUID_BYTES);
    be64_store(to + 16, e->stamp);
    be32_store(to + 24, e->node);
    be16_store(to + 28, e->number);
    to[30] =
        (uint8_t)((e->removed ? FLAG_REMOVED : 0) | (used ? FLAG_USED : 0));
    to[31] = (uint8_t)name;
    be16_store(to + 32, (uint16_t)url);
    memcpy(to + ENTRY_BYTES, e->name, name);
    memcpy(to + ENTRY_BYTES + name, e->url, url);
    return ENTRY_BYTES + name + url;
}

size_t table_say_new(const struct table_entry *entry,
                     uint8_t ret_bytes[TABLE_MESSAGE_BYTES])
{
    put_head(ret_bytes, KIND_NEW, 1, 0, 0);
    return HEAD_BYTES + put_entry(ret_bytes + HEAD_BYTES, entry, false);
}

size_t table_say_known(const struct table *t, unsigned *at,
                       uint8_t ret_bytes[TABLE_MESSAGE_BYTES])
{
    size_t bytes = HEAD_BYTES;
    unsigned i = *at;

    if (i == SAID_ALL)
        return 0;
    for (; i < t->count && bytes + ENTRY_BYTES_MAX <= TABLE_MESSAGE_BYTES; i++)
        bytes += put_entry(ret_bytes + bytes, &t->records[i].entry,
                           t->records[i].used);
    put_head(ret_bytes, i < t->count ? KIND_KNOWN : KIND_LAST, i - *at, t->view,
             t->epoch);
    *at = i < t->count ? i : SAID_ALL;
    return bytes;
}

/* -- in -------------------------------------------------------------------- */

struct reader {
    const uint8_t *bytes;
    size_t count, at;
    struct diag *why;
};

struct message {
    int kind;
    unsigned count;
    uint64_t view, epoch;
};

static enum err bad(const struct reader *r, const char *what)
{
    return diag_fail(r->why, E_PROTOCOL, "byte %zu: %s", r->at, what);
}

static enum err get_head(struct reader *r, struct message *ret_message)
{
    struct message m;

    if (r->count < HEAD_BYTES || memcmp(r->bytes, magic, sizeof magic) != 0)
        return bad(r, "not a message of the table of volumes");
    if (r->bytes[4] != WIRE_VERSION)
        return diag_fail(r->why, E_VERSION, "byte 4: version %u, not %d",
                         r->bytes[4], WIRE_VERSION);
    m.kind = r->bytes[5];
    m.count = be16_load(r->bytes + 6);
    m.view = be64_load(r->bytes + 8);
    m.epoch = be64_load(r->bytes + 16);
    if (m.kind < KIND_NEW || m.kind > KIND_LAST ||
        (m.kind == KIND_NEW && (m.count != 1 || m.view || m.epoch)) ||
        m.epoch > TABLE_STAMP_MAX)
        return bad(r, "a head that cannot be");
    r->at = HEAD_BYTES;
    *ret_message = m;
    return E_OK;
}

/* A word of the entry; ret_text is as long as the longest, and all zeros. */
static bool get_text(struct reader *r, size_t length, char *ret_text,
                     size_t room)
{
    if (length >= room || !range_ok(r->at, length, r->count) ||
        memchr(r->bytes + r->at, 0, length))
        return false;
    memcpy(ret_text, r->bytes + r->at, length);
    r->at += length;
    return true;
}

static enum err get_entry(struct reader *r, struct table_entry *ret_entry,
                          bool *ret_used)
{
    struct table_entry e = {.removed = false};
    const uint8_t *from = r->bytes + r->at;
    const size_t begin = r->at;
    struct diag reason = {0};

    if (!range_ok(r->at, ENTRY_BYTES, r->count))
        return bad(r, "an entry is cut off");
    memcpy(e.uuid, from, UUID_BYTES);
    e.stamp = be64_load(from + 16);
    e.node = be32_load(from + 24);
    e.number = be16_load(from + 28);
    e.removed = from[30] & FLAG_REMOVED;
    *ret_used = from[30] & FLAG_USED;
    r->at += ENTRY_BYTES;
    if (!get_text(r, from[31], e.name, sizeof e.name) ||
        !get_text(r, be16_load(from + 32), e.url, sizeof e.url))
        return bad(r, "a name or URL is cut off or too long");
    r->at = begin;
    if (from[30] & ~(FLAG_REMOVED | FLAG_USED) || (e.removed && *ret_used))
        return bad(r, "unknown flags");
    if (table_entry_check(&e, &reason))
        return bad(r, reason.text);
    r->at += ENTRY_BYTES + strlen(e.name) + strlen(e.url);
    *ret_entry = e;
    return E_OK;
}

/* All of it is right: so it is carried out whole, or not at all. */
static enum err check_entries(struct reader r, const struct message *m,
                              uint32_t node)
{
    struct table_entry entry;
    enum err e = E_OK;
    bool used;

    for (unsigned i = 0; !e && i < m->count; i++) {
        e = get_entry(&r, &entry, &used);
        if (!e && m->kind == KIND_NEW && (used || entry.node != node))
            e = bad(&r, "a new entry that is used already, or another's");
    }
    if (!e && r.at != r.count)
        e = bad(&r, "something follows");
    return e;
}

static void deliver_new(struct table *t, struct reader *r,
                        struct table_news *ret_news)
{
    bool used;

    ASSERT(!get_entry(r, &ret_news->entry, &used));
    ret_news->verdict = table_change(t, &ret_news->entry);
    ret_news->decided = true;
    ret_news->changed = ret_news->verdict <= TABLE_REMOVED;
}

static void deliver_known(struct table *t, uint32_t node, struct reader *r,
                          const struct message *m, struct table_news *ret_news)
{
    struct table_entry entry;
    bool used;

    /* not of this view, or its sender has told all already */
    if (m->view != t->view || !(t->awaited & table_node(node)))
        return;
    for (unsigned i = 0; i < m->count; i++) {
        ASSERT(!get_entry(r, &entry, &used));
        if (used)
            (void)table_claim(t, &entry, m->epoch);
        else
            (void)table_learn(t, &entry);
    }
    if (m->kind == KIND_LAST)
        ret_news->changed = table_heard(t, node, m->epoch);
}

enum err table_deliver(struct table *t, uint32_t node, const void *bytes,
                       size_t count, struct table_news *ret_news,
                       struct diag *why)
{
    struct reader r = {.bytes = bytes, .count = count, .why = why};
    struct message m;
    enum err e = get_head(&r, &m);

    ASSERT(node >= 1 && node <= TABLE_NODES_MAX);
    if (!e)
        e = check_entries(r, &m, node);
    if (e)
        return e;
    *ret_news = (struct table_news){.changed = false};
    if (m.kind == KIND_NEW)
        deliver_new(t, &r, ret_news);
    else
        deliver_known(t, node, &r, &m, ret_news);
    return E_OK;
}
