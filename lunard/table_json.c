/* lunard/table_json.c - the table of volumes as the state file has it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/table.h"

#include <string.h>

static json_t *record_to_json(const struct table_record *r)
{
    const struct table_entry *e = &r->entry;
    char uuid[UUID_TEXT_BYTES];

    uuid_to_text(e->uuid, uuid);
    return json_pack("{s:s, s:s, s:s, s:i, s:I, s:i, s:b, s:b}", "uuid", uuid,
                     "name", e->name, "url", e->url, "number", e->number,
                     "stamp", (json_int_t)e->stamp, "node", (int)e->node,
                     "removed", e->removed, "used", r->used);
}

json_t *table_to_json(const struct table *t)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < t->count; i++)
        if (json_array_append_new(list, record_to_json(&t->records[i]))) {
            json_decref(list);
            return NULL;
        }
    return json_pack("{s:I, s:o}", "epoch", (json_int_t)t->epoch, "volumes",
                     list);
}

static bool copy_text(const char *text, char *ret_text, size_t room)
{
    size_t bytes = strlen(text) + 1;

    if (bytes > room)
        return false;
    memcpy(ret_text, text, bytes);
    return true;
}

static enum err record_from_json(json_t *json, struct table_record *ret_record,
                                 struct diag *why)
{
    struct table_record r = {.out = TABLE_UNSETTLED};
    struct table_entry *e = &r.entry;
    const char *uuid, *name, *url;
    json_int_t number, stamp, node;
    int removed, used;

    if (json_unpack(json, "{s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:b}", "uuid",
                    &uuid, "name", &name, "url", &url, "number", &number,
                    "stamp", &stamp, "node", &node, "removed", &removed, "used",
                    &used))
        return diag_fail(why, E_CORRUPT, "something is missing in it");
    if (uuid_from_text(uuid, e->uuid))
        return diag_fail(why, E_CORRUPT, "\"%.40s\" is no UUID", uuid);
    if (!copy_text(name, e->name, sizeof e->name) ||
        !copy_text(url, e->url, sizeof e->url))
        return diag_fail(why, E_CORRUPT, "its name or URL is too long");
    if (number < 0 || number > UINT16_MAX || stamp < 0 || node < 0 ||
        node > UINT32_MAX || (used && removed))
        return diag_fail(why, E_CORRUPT, "numbers that cannot be");
    e->number = (uint16_t)number;
    e->stamp = (uint64_t)stamp;
    e->node = (uint32_t)node;
    e->removed = removed;
    r.used = used;
    if (table_entry_check(e, why))
        return E_CORRUPT;
    *ret_record = r;
    return E_OK;
}

enum err table_from_json(struct table *t, const json_t *json, struct diag *why)
{
    json_int_t epoch;
    json_t *list, *one;
    size_t i;

    if (json_unpack((json_t *)(uintptr_t)json, "{s:I, s:o}", "epoch", &epoch,
                    "volumes", &list) ||
        epoch < 0 || !json_is_array(list) ||
        json_array_size(list) > TABLE_RECORDS_MAX)
        return diag_fail(why, E_CORRUPT, "not a table of volumes");
    json_array_foreach (list, i, one) {
        enum err e = record_from_json(one, &t->records[i], why);

        if (!e && table_lookup(t, t->records[i].entry.uuid))
            e = diag_fail(why, E_CORRUPT, "is there already");
        if (e) {
            t->count = 0;
            return diag_prefix(why, e, "volume %zu", i);
        }
        t->count++;
    }
    t->epoch = (uint64_t)epoch;
    return E_OK;
}
