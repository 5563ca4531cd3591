/* lunard/table.c - the rules of the table of volumes: merge, decide, settle.
 * Knows no bytes of messages or files.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/table_private.h"

#include "base/endian.h"
#include "base/jsontext.h"
#include "fs/fs.h"
#include "lunard/volumes.h"

#include <string.h>

static_assert((int)TABLE_URL_BYTES == (int)VOLUME_URL_BYTES, "one URL");
static_assert((int)TABLE_NAME_BYTES == FS_VOLUME_NAME_MAX + 1, "one name");
static_assert((int)TABLE_NODES_MAX == (int)FS_NODES_MAX, "a bit for each");
static_assert((int)TABLE_VOLUMES_MAX == (int)VOLUMES_MAX, "all are opened");

static const uint64_t awaited_in_no_view = UINT64_MAX;

/* A record's rank.  While hosts tell: 1 + the highest epoch of those that use
 * it, 0 if none does.  When whole: it is used. */
enum { RANK_UNUSED, RANK_USED };

const char *table_verdict_text(enum table_verdict verdict)
{
    static const char *const texts[] = {
#define X(code, text) [code] = text,
        TABLE_VERDICTS(X)
#undef X
    };

    return verdict < ARRAY_LEN(texts) ? texts[verdict] : "?";
}

bool table_verdict_retry(enum table_verdict verdict)
{
    return verdict == TABLE_REFUSED_NUMBER || verdict == TABLE_STALE ||
           verdict == TABLE_UNSETTLED;
}

enum err table_init(struct table *ret_table)
{
    struct table t = {.awaited = awaited_in_no_view};

    t.records = calloc(TABLE_RECORDS_MAX, sizeof *t.records);
    if (!t.records)
        return E_NOMEM;
    *ret_table = t;
    return E_OK;
}

void table_fini(struct table *t)
{
    free(TAKE(t->records));
}

/* -- what an entry may be -------------------------------------------------- */

static bool is_text(const char *text, size_t room)
{
    if (!*text || !memchr(text, 0, room))
        return false;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return json_text_is_utf8(text);
}

/* It becomes a directory. */
static bool is_name(const char *name)
{
    return is_text(name, TABLE_NAME_BYTES) && !strchr(name, '/') &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static enum err check_words(const struct table_entry *entry, struct diag *why)
{
    if (entry->removed && (*entry->name || *entry->url))
        return diag_fail(why, E_INVAL, "a removed volume with name or URL");
    if (!entry->removed && !is_name(entry->name))
        return diag_fail(why, E_INVAL,
                         "not a volume's name: it has 1 to %d bytes of UTF-8, "
                         "no / and no control character",
                         TABLE_NAME_BYTES - 1);
    if (!entry->removed && !is_text(entry->url, TABLE_URL_BYTES))
        return diag_fail(why, E_INVAL,
                         "not a URL: it has 1 to %d bytes of UTF-8, no "
                         "control character",
                         TABLE_URL_BYTES - 1);
    return E_OK;
}

enum err table_entry_check(const struct table_entry *entry, struct diag *why)
{
    if (!entry->number)
        return diag_fail(why, E_INVAL, "a volume with number 0");
    if (entry->stamp < 1 || entry->stamp > TABLE_STAMP_MAX)
        return diag_fail(why, E_INVAL, "stamp %llu",
                         (unsigned long long)entry->stamp);
    if (entry->node < 1 || entry->node > TABLE_NODES_MAX)
        return diag_fail(why, E_INVAL, "node %u: 1 to %d are allowed",
                         entry->node, TABLE_NODES_MAX);
    return check_words(entry, why);
}

/* -- look ------------------------------------------------------------------ */

static struct table_record *find(const struct table *t,
                                 const uint8_t uuid[UUID_BYTES])
{
    for (unsigned i = 0; i < t->count; i++)
        if (!memcmp(t->records[i].entry.uuid, uuid, UUID_BYTES))
            return &t->records[i];
    return NULL;
}

const struct table_record *table_lookup(const struct table *t,
                                        const uint8_t uuid[UUID_BYTES])
{
    return find(t, uuid);
}

bool table_whole(const struct table *t)
{
    return !t->awaited;
}

static unsigned count_used(const struct table *t)
{
    unsigned used = 0;

    for (unsigned i = 0; i < t->count; i++)
        used += t->records[i].used;
    return used;
}

/* The strongest reason for which an entry cannot be used beside those of the
 * first `count` records that are, and whose fault it is; TABLE_ADDED: none. */
static enum table_verdict collision(const struct table *t, unsigned count,
                                    const struct table_entry *entry,
                                    const struct table_entry **ret_other)
{
    enum table_verdict worst = TABLE_ADDED;

    for (unsigned i = 0; i < count; i++) {
        const struct table_entry *other = &t->records[i].entry;
        enum table_verdict v;

        if (!t->records[i].used ||
            !memcmp(other->uuid, entry->uuid, UUID_BYTES))
            continue;
        v = !strcmp(other->name, entry->name) ? TABLE_REFUSED_NAME
            : !strcmp(other->url, entry->url) ? TABLE_REFUSED_URL
            : other->number == entry->number  ? TABLE_REFUSED_NUMBER
                                              : TABLE_ADDED;
        if (v == TABLE_ADDED || (worst != TABLE_ADDED && v >= worst))
            continue;
        worst = v;
        if (ret_other)
            *ret_other = other;
    }
    return worst;
}

/* -- settle ---------------------------------------------------------------- */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

/* Which of two entries of a volume is newer: > 0: a.  0 only if they are equal,
 * so that it never matters which one was heard first. */
static int compare_age(const struct table_entry *a, const struct table_entry *b)
{
    int d = COMPARE(a->stamp, b->stamp);

    d = d ? d : COMPARE(a->node, b->node);
    d = d ? d : COMPARE(a->removed, b->removed);
    d = d ? d : COMPARE(a->number, b->number);
    d = d ? d : strcmp(a->name, b->name);
    return d ? d : strcmp(a->url, b->url);
}

/* Volumes by rank, then removed ones, the newest first. */
static int compare_records(const void *one, const void *two)
{
    const struct table_record *a = one, *b = two;
    int d = COMPARE(a->entry.removed, b->entry.removed);

    if (!d && a->entry.removed)
        d = compare_age(&b->entry, &a->entry);
    else if (!d)
        d = COMPARE(b->rank, a->rank);
    return d ? d : memcmp(a->entry.uuid, b->entry.uuid, UUID_BYTES);
}

static void sort(struct table *t)
{
    qsort(t->records, t->count, sizeof *t->records, compare_records);
}

/* Say of each volume whether it is used; forget old removals.  The outcome
 * depends on entries and ranks only. */
static void settle(struct table *t)
{
    unsigned used = 0, tombs = 0;

    sort(t);
    for (unsigned i = 0; i < t->count; i++) {
        struct table_record *r = &t->records[i];

        if (r->entry.removed) {
            tombs++;
            continue;
        }
        r->out = used == TABLE_VOLUMES_MAX ? TABLE_FULL
                                           : collision(t, i, &r->entry, NULL);
        r->used = r->out == TABLE_ADDED;
        r->rank = r->used ? RANK_USED : RANK_UNUSED;
        used += r->used;
    }
    if (tombs > TABLE_TOMBS_MAX)
        t->count -= tombs - TABLE_TOMBS_MAX;
    sort(t);
}

/* -- the view -------------------------------------------------------------- */

void table_view(struct table *t, uint64_t number, uint64_t nodes, bool quorate)
{
    t->view = number;
    t->awaited = nodes ? nodes : awaited_in_no_view;
    t->quorate = quorate;
    t->epoch_heard = 0;
    for (unsigned i = 0; i < t->count; i++)
        t->records[i].rank = RANK_UNUSED;
}

bool table_heard(struct table *t, uint32_t node, uint64_t epoch)
{
    t->epoch_heard = max_u64(t->epoch_heard, epoch);
    t->awaited &= ~table_node(node);
    if (!table_whole(t))
        return false;
    t->epoch = min_u64(t->epoch_heard + t->quorate, TABLE_STAMP_MAX);
    settle(t);
    return true;
}

/* -- merge and decide ------------------------------------------------------ */

/* Keep the newer one of what is there and what came. */
static enum table_verdict take(struct table *t, const struct table_entry *entry)
{
    struct table_record *r = find(t, entry->uuid);
    bool was_there = r && !r->entry.removed;

    if (r && compare_age(entry, &r->entry) <= 0)
        return TABLE_STALE;
    if (!r) {
        if (t->count == TABLE_RECORDS_MAX)
            return TABLE_FULL;
        r = &t->records[t->count++];
        *r = (struct table_record){.out = TABLE_UNSETTLED};
    }
    r->entry = *entry;
    if (entry->removed) {
        r->used = false;
        return TABLE_REMOVED;
    }
    return was_there ? TABLE_CHANGED : TABLE_ADDED;
}

enum table_verdict table_learn(struct table *t, const struct table_entry *entry)
{
    enum table_verdict v = take(t, entry);

    if (table_whole(t))
        settle(t);
    return v;
}

enum table_verdict table_claim(struct table *t, const struct table_entry *entry,
                               uint64_t epoch)
{
    enum table_verdict v = take(t, entry);
    struct table_record *r = find(t, entry->uuid);

    if (r)
        r->rank = max_u64(r->rank, epoch + 1);
    return v;
}

static enum table_verdict judge(const struct table *t,
                                const struct table_entry *entry)
{
    const struct table_record *r = find(t, entry->uuid);
    bool is_there = r && !r->entry.removed;
    enum table_verdict v;

    if (!table_whole(t))
        return TABLE_UNSETTLED;
    if (r ? entry->stamp <= r->entry.stamp : entry->removed)
        return TABLE_STALE;
    if (entry->removed)
        return is_there ? TABLE_REMOVED : TABLE_STALE;
    v = collision(t, t->count, entry, NULL);
    if (v != TABLE_ADDED)
        return v;
    if (!is_there && count_used(t) == TABLE_VOLUMES_MAX)
        return TABLE_FULL;
    if (!r && t->count == TABLE_RECORDS_MAX)
        return TABLE_FULL;
    return is_there ? TABLE_CHANGED : TABLE_ADDED;
}

enum table_verdict table_change(struct table *t,
                                const struct table_entry *entry)
{
    enum table_verdict v = judge(t, entry);

    if (v == TABLE_ADDED || v == TABLE_CHANGED || v == TABLE_REMOVED) {
        ASSERT(take(t, entry) == v);
        settle(t);
    }
    return v;
}

/* -- propose --------------------------------------------------------------- */

/* Is it that of another volume, be it removed or not in use? */
static bool number_is_taken(const struct table *t, uint16_t number,
                            const uint8_t uuid[UUID_BYTES])
{
    for (unsigned i = 0; i < t->count; i++)
        if (t->records[i].entry.number == number &&
            memcmp(t->records[i].entry.uuid, uuid, UUID_BYTES) != 0)
            return true;
    return false;
}

/* Begins at a place that the UUID gives: hosts that add at the same time, or
 * that never met, then hardly ever choose the same. */
static uint16_t free_number(const struct table *t,
                            const uint8_t uuid[UUID_BYTES], uint16_t wished)
{
    uint16_t number = wished ? wished : be16_load(uuid);

    if (wished && number_is_taken(t, wished, uuid))
        number = be16_load(uuid);
    while (!number || number_is_taken(t, number, uuid))
        number++;
    return number;
}
static_assert((int)TABLE_RECORDS_MAX < UINT16_MAX, "one is always free");

static enum err refuse(enum table_verdict v, const struct table_entry *entry,
                       const struct table_entry *other, struct diag *why)
{
    switch (v) {
    case TABLE_REFUSED_NAME:
        return diag_fail(why, E_EXIST,
                         "volume %s: the cluster has another one of that name, "
                         "on %.300s",
                         entry->name, other->url);
    case TABLE_REFUSED_URL:
        return diag_fail(why, E_EXIST,
                         "%.300s: is known as the LUN of volume %s: remove "
                         "that first, if it is there no more",
                         entry->url, other->name);
    case TABLE_FULL:
        return diag_fail(why, E_TOO_BIG, "%.300s: %d volumes are known already",
                         entry->url, TABLE_VOLUMES_MAX);
    case TABLE_UNSETTLED:
        return diag_fail(why, E_AGAIN, "%s", table_verdict_text(v));
    case TABLE_STALE: return diag_fail(why, E_NOENT, "there is no such volume");
    case TABLE_REFUSED_NUMBER: /* it was a free one */
    case TABLE_ADDED:
    case TABLE_CHANGED:
    case TABLE_REMOVED: break;
    }
    return E_OK;
}

static uint64_t last_stamp(const struct table *t)
{
    uint64_t stamp = 0;

    for (unsigned i = 0; i < t->count; i++)
        stamp = max_u64(stamp, t->records[i].entry.stamp);
    return stamp;
}

enum err table_propose(const struct table *t, uint32_t node,
                       struct table_entry *entry, struct diag *why)
{
    const struct table_record *r = find(t, entry->uuid);
    const struct table_entry *other = NULL;
    struct table_entry e = *entry;
    enum err err;

    if (e.removed)
        *e.url = *e.name = '\0';
    e.node = node;
    e.stamp = last_stamp(t) + 1;
    if (r)
        e.number = r->entry.number;
    if (!r || !(r->used || e.removed))
        e.number = free_number(t, e.uuid, e.number);
    err = table_entry_check(&e, why);
    if (err)
        return err;
    (void)collision(t, t->count, &e, &other);
    err = refuse(judge(t, &e), &e, other, why);
    if (!err)
        *entry = e;
    return err;
}
