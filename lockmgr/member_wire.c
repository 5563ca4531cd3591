/* lockmgr/member_wire.c - encodes and decodes the messages of membership.
 * Keeps nothing and decides nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_wire.h"

#include "base/endian.h"

#include <string.h>

enum { WIRE_VERSION = 2, FLAG_IN_VIEW = 1 };
static const char magic[4] = "LNMB";

static const char *name_of(const char *const *names, size_t count, unsigned i)
{
    return i < count ? names[i] : "?";
}

const char *member_message_name(enum member_message_type type)
{
    static const char *const names[] = {
#define X(code, name) [code] = name,
        MEMBER_MESSAGES(X)
#undef X
    };

    return name_of(names, ARRAY_LEN(names), type);
}

const char *condemn_reason_text(enum condemn_reason reason)
{
    static const char *const names[] = {
#define X(code, text) [code] = text,
        CONDEMN_REASONS(X)
#undef X
    };

    return name_of(names, ARRAY_LEN(names), reason);
}

enum err member_id_check(const struct member_id *id, struct diag *why)
{
    if (id->node < 1 || id->node > MEMBER_NODES_MAX)
        return diag_fail(why, E_INVAL, "node %u: 1 to %d are allowed", id->node,
                         MEMBER_NODES_MAX);
    if (!id->incarnation)
        return diag_fail(why, E_INVAL, "incarnation 0");
    if (!id->name[0] || !memchr(id->name, 0, sizeof id->name))
        return diag_fail(why, E_INVAL, "a host name has 1 to %d bytes",
                         MEMBER_NAME_BYTES - 1);
    if (!memchr(id->address, 0, sizeof id->address))
        return diag_fail(why, E_INVAL, "an address has up to %d bytes",
                         MEMBER_ADDRESS_BYTES - 1);
    if (!id->version_min || id->version_min > id->version_max)
        return diag_fail(why, E_INVAL, "versions %u to %u", id->version_min,
                         id->version_max);
    for (const char *text = id->name; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return diag_fail(why, E_INVAL, "a host name with byte 0x%02x",
                             (unsigned char)*text);
    for (const char *text = id->address; *text; text++)
        if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f)
            return diag_fail(why, E_INVAL, "an address with byte 0x%02x",
                             (unsigned char)*text);
    return E_OK;
}

/* -- out ------------------------------------------------------------------- */

struct writer {
    uint8_t *bytes;
    size_t used;
};

static void put(struct writer *w, const void *bytes, size_t count)
{
    ASSERT(range_ok(w->used, count, MEMBER_WIRE_BYTES_MAX));
    if (count)
        memcpy(w->bytes + w->used, bytes, count);
    w->used += count;
}

static void put_number(struct writer *w, uint64_t n, size_t count)
{
    le64 wire = le64_make(n);

    put(w, &wire, count);
}

static void put_text(struct writer *w, const char *text, size_t length_bytes)
{
    size_t count = strlen(text);

    put_number(w, count, length_bytes);
    put(w, text, count);
}

static void put_who(struct writer *w, const struct member_who *who)
{
    put_number(w, who->node, 4);
    put_number(w, who->incarnation, 8);
}

static void put_ring(struct writer *w, const struct member_ring *ring)
{
    put_number(w, ring->node, 4);
    put_number(w, ring->seq, 8);
}

static void put_table(struct writer *w, const struct member_table *t)
{
    put_number(w, t->count, 2);
    for (unsigned i = 0; i < t->count; i++) {
        const struct member_record *r = &t->records[i];

        put_number(w, r->id.node, 4);
        put_number(w, r->pid, 4);
        put_number(w, r->id.incarnation, 8);
        put_number(w, r->state, 1);
        put_number(w, r->member, 1);
        put_number(w, r->id.version_min, 2);
        put_number(w, r->id.version_max, 2);
        put_number(w, r->id.key, 8);
        put(w, r->id.host, UUID_BYTES);
        put_text(w, r->id.name, 1);
        put_text(w, r->id.address, 1);
    }
}

size_t member_encode(const struct member_message *m,
                     uint8_t ret_bytes[MEMBER_WIRE_BYTES_MAX])
{
    struct writer w = {ret_bytes, 0};

    put(&w, magic, sizeof magic);
    put_number(&w, WIRE_VERSION, 1);
    put_number(&w, m->type, 1);
    put_number(&w, m->in_view ? FLAG_IN_VIEW : 0, 2);
    put_number(&w, m->from.node, 4);
    put_number(&w, m->serial, 4);
    put_number(&w, m->from.incarnation, 8);
    put_number(&w, m->base, 8);
    put_number(&w, m->number, 8);
    ASSERT(w.used == MEMBER_HEADER_BYTES);
    switch (m->type) {
    case MSG_ANNOUNCE: put_table(&w, &m->table); break;
    case MSG_INSTALL:
        put_number(&w, m->before.node, 4);
        put_number(&w, m->before.incarnation, 8);
        put_number(&w, m->before.number, 8);
        put_ring(&w, &m->ring);
        put_table(&w, &m->table);
        break;
    case MSG_CONDEMN:
        put_ring(&w, &m->ring);
        put_number(&w, m->reason, 1);
        put_number(&w, m->who_count, 2);
        for (unsigned i = 0; i < m->who_count; i++)
            put_who(&w, &m->who[i]);
        break;
    case MSG_FENCED: put_who(&w, &m->who[0]); break;
    case MSG_REFUSE:
        put_who(&w, &m->who[0]);
        put_number(&w, m->pid, 4);
        put_text(&w, m->text, 2);
        break;
    case MSG_DATA: put(&w, m->data, m->data_count); break;
    case MSG_GOODBYE:
    case MSG_BEAT:
    case MSG_TYPE_COUNT: break;
    }
    return w.used;
}

/* -- in -------------------------------------------------------------------- */

/* Reads zeros past the end and remembers that it did. */
struct reader {
    const uint8_t *bytes;
    size_t count, at;
    const char *wrong; /* the first thing that was */
    size_t wrong_at;
};

static void complain(struct reader *r, const char *what)
{
    if (r->wrong)
        return;
    r->wrong = what;
    r->wrong_at = r->at;
}

static const uint8_t *take(struct reader *r, size_t count)
{
    const uint8_t *p = r->bytes + r->at;

    if (!range_ok(r->at, count, r->count)) {
        complain(r, "cut off");
        return NULL;
    }
    r->at += count;
    return p;
}

static uint64_t take_number(struct reader *r, size_t count)
{
    const uint8_t *p = take(r, count);
    le64 wire = {0};

    if (p)
        memcpy(&wire, p, count);
    return le64_get(wire);
}

/* At most room - 1 bytes without a zero in them. */
static void take_text(struct reader *r, size_t length_bytes, char *ret_text,
                      size_t room)
{
    size_t count = take_number(r, length_bytes);
    const uint8_t *p;

    if (count >= room) {
        complain(r, "a text that is too long");
        return;
    }
    p = take(r, count);
    if (!p)
        return;
    if (memchr(p, 0, count))
        complain(r, "a text with a zero in it");
    memcpy(ret_text, p, count);
    memset(ret_text + count, 0, room - count);
}

static void take_who(struct reader *r, struct member_who *ret_who)
{
    ret_who->node = (uint32_t)take_number(r, 4);
    ret_who->incarnation = take_number(r, 8);
    if (ret_who->node < 1 || ret_who->node > MEMBER_NODES_MAX)
        complain(r, "a node out of range");
}

static void take_ring(struct reader *r, struct member_ring *ret_ring)
{
    ret_ring->node = (uint32_t)take_number(r, 4);
    ret_ring->seq = take_number(r, 8);
}

static void take_record(struct reader *r, struct member_record *ret_record)
{
    struct member_id *id = &ret_record->id;
    const uint8_t *host;
    uint64_t state, member;

    *ret_record = (struct member_record){0};
    id->node = (uint32_t)take_number(r, 4);
    ret_record->pid = (uint32_t)take_number(r, 4);
    id->incarnation = take_number(r, 8);
    state = take_number(r, 1);
    member = take_number(r, 1);
    id->version_min = (uint16_t)take_number(r, 2);
    id->version_max = (uint16_t)take_number(r, 2);
    id->key = take_number(r, 8);
    host = take(r, UUID_BYTES);
    if (host)
        memcpy(id->host, host, UUID_BYTES);
    take_text(r, 1, id->name, sizeof id->name);
    take_text(r, 1, id->address, sizeof id->address);
    if (state >= RECORD_STATE_COUNT || member > 1 ||
        (member && state != RECORD_LIVE))
        complain(r, "a state that there is not");
    ret_record->state = (enum record_state)state;
    ret_record->member = member == 1;
    if (!r->wrong && member_id_check(id, NULL))
        complain(r, "nobody's identity");
}

static bool is_after(const struct member_id *a, const struct member_id *b)
{
    return a->node > b->node ||
           (a->node == b->node && a->incarnation > b->incarnation);
}

static void take_table(struct reader *r, struct member_table *ret_table)
{
    size_t count = take_number(r, 2);

    if (count > MEMBER_RECORDS_MAX)
        complain(r, "a table that is too long");
    ret_table->count = 0;
    while (!r->wrong && ret_table->count < count) {
        struct member_record *last = &ret_table->records[ret_table->count];

        take_record(r, last);
        if (ret_table->count && !is_after(&last->id, &last[-1].id))
            complain(r, "records out of order");
        if (ret_table->count && last->member && last[-1].member &&
            last->id.node == last[-1].id.node)
            complain(r, "two members of one node");
        ret_table->count++;
    }
}

static void take_victims(struct reader *r, struct member_message *m)
{
    uint64_t reason = take_number(r, 1);
    uint64_t count = take_number(r, 2);

    if (reason >= CONDEMN_REASON_COUNT)
        complain(r, "a reason that there is not");
    if (count < 1 || count > MEMBER_RECORDS_MAX)
        complain(r, "a list that is empty or too long");
    m->reason = (enum condemn_reason)reason;
    m->who_count = 0;
    while (!r->wrong && m->who_count < count)
        take_who(r, &m->who[m->who_count++]);
}

static void take_body(struct reader *r, struct member_message *m)
{
    const struct member_record *own;

    switch (m->type) {
    case MSG_ANNOUNCE:
        take_table(r, &m->table);
        own = r->wrong
                  ? NULL
                  : table_find(&m->table, m->from.node, m->from.incarnation);
        if (!own || own->state > RECORD_LIVE)
            complain(r, "no sender in it");
        break;
    case MSG_INSTALL:
        m->before.node = (uint32_t)take_number(r, 4);
        m->before.incarnation = take_number(r, 8);
        m->before.number = take_number(r, 8);
        take_ring(r, &m->ring);
        take_table(r, &m->table);
        break;
    case MSG_CONDEMN:
        take_ring(r, &m->ring);
        take_victims(r, m);
        break;
    case MSG_FENCED: take_who(r, &m->who[0]); break;
    case MSG_REFUSE:
        take_who(r, &m->who[0]);
        m->pid = (uint32_t)take_number(r, 4);
        take_text(r, 2, m->text, sizeof m->text);
        break;
    case MSG_DATA:
        m->data_count = r->count - r->at;
        m->data = take(r, m->data_count);
        break;
    case MSG_GOODBYE:
    case MSG_BEAT:
    case MSG_TYPE_COUNT: break;
    }
}

enum err member_decode(const void *bytes, size_t count,
                       struct member_message *ret_message, struct diag *why)
{
    struct member_message *m = ret_message;
    struct reader r = {.bytes = bytes, .count = count};
    const uint8_t *p;
    uint64_t type, flags;

    if (count > MEMBER_WIRE_BYTES_MAX)
        return diag_fail(why, E_PROTOCOL, "a message of %zu bytes", count);
    if (count < MEMBER_HEADER_BYTES)
        return diag_fail(why, E_PROTOCOL, "byte %zu: cut off", count);
    p = take(&r, sizeof magic);
    if (!p || memcmp(p, magic, sizeof magic))
        return diag_fail(why, E_PROTOCOL, "byte 0: not a message of Lunar's");
    if (take_number(&r, 1) != WIRE_VERSION)
        return diag_fail(why, E_VERSION,
                         "byte 4: not version %d of membership: update "
                         "the older host",
                         WIRE_VERSION);
    type = take_number(&r, 1);
    flags = take_number(&r, 2);
    m->in_view = flags == FLAG_IN_VIEW;
    m->from.node = (uint32_t)take_number(&r, 4);
    m->serial = (uint32_t)take_number(&r, 4);
    m->from.incarnation = take_number(&r, 8);
    m->base = take_number(&r, 8);
    m->number = take_number(&r, 8);
    if (type >= MSG_TYPE_COUNT || flags > FLAG_IN_VIEW || m->from.node < 1 ||
        m->from.node > MEMBER_NODES_MAX || !m->from.incarnation ||
        m->number > INT64_MAX)
        complain(&r, "a header with a value that there is not");
    m->type = r.wrong ? MSG_BEAT : (enum member_message_type)type;
    take_body(&r, m);
    if (r.at != r.count)
        complain(&r, "more bytes than belong to it");
    if (r.wrong)
        return diag_fail(why, E_PROTOCOL, "%s: byte %zu: %s",
                         member_message_name((enum member_message_type)type),
                         r.wrong_at, r.wrong);
    return E_OK;
}
