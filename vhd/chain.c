/* vhd/chain.c - find and open the parents of a differencing disk.
 * A parent is the file whose footer has the identity that the child's header
 * names; where it is, is only a hint.  Its time stamp is not looked at:
 * Windows writes 0 there, and a merge changes it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/uuid.h"
#include "vhd/disk.h"
#include "vhd/locator.h"

#include <string.h>

enum { CANDIDATES = VHD_LOCATORS + 1 }; /* and the name in the header */

static void layer_free(struct vhd_layer *layer)
{
    if (!layer)
        return;
    vhd_layer_fini(layer);
    store_close(layer->file);
    free(layer);
}

static void layer_freep(struct vhd_layer **layer)
{
    layer_free(*layer);
}

/* Where the child may mean: locator by locator, relative ones first, then
 * the parent's name beside the child.  false: this one says nothing. */
static bool candidate(const struct vhd_layer *child, size_t i,
                      char ret_path[VHD_PATH_BYTES])
{
    char text[VHD_PATH_BYTES];
    enum err e;

    if (i < VHD_LOCATORS)
        e = vhd_layer_locator(child, i, text);
    else
        e = vhd_parent_name_decode(child->header.parent_name, text);
    if (e)
        return false;
    if (i < VHD_LOCATORS)
        return !vhd_path_resolve(child->path, text, ret_path);
    return !vhd_path_resolve(child->path, vhd_path_name(text), ret_path);
}

/* Slots in the order of trust: a relative path survives a moved folder. */
static void order_slots(const struct vhd_layer *child, size_t out[CANDIDATES])
{
    size_t n = 0;

    for (size_t i = 0; i < VHD_LOCATORS; i++)
        if (child->header.locators[i].code == VHD_LOCATOR_W2RU)
            out[n++] = i;
    for (size_t i = 0; i < CANDIDATES; i++)
        if (i == VHD_LOCATORS ||
            child->header.locators[i].code != VHD_LOCATOR_W2RU)
            out[n++] = i;
    ASSERT(n == CANDIDATES);
}

/* Open `path` if it is the parent.  E_NOENT: look on. */
static enum err try_path(const struct vhd_layer *child, const char *path,
                         struct vhd_opener *opener, enum vhd_size_rule rule,
                         struct diag *why, struct vhd_layer **ret_parent)
{
    AUTO(layer_freep) struct vhd_layer *layer = calloc(1, sizeof *layer);
    AUTO(store_closep) struct store *file = NULL;
    enum err e;

    if (!layer)
        return E_NOMEM;
    e = opener->open(opener, path, why, &file);
    if (e)
        return e;
    e = vhd_layer_load(layer, file, rule, false, why);
    layer->file = TAKE(file);
    if (e)
        return diag_prefix(why, e, "parent %s", path);
    if (memcmp(layer->footer.uuid, child->header.parent_uuid, VHD_UUID_BYTES) !=
        0) {
        char want[UUID_TEXT_BYTES], found[UUID_TEXT_BYTES];

        uuid_to_text(child->header.parent_uuid, want);
        uuid_to_text(layer->footer.uuid, found);
        (void)diag_fail(why, E_NOENT, "%s has identity %s, the parent has %s",
                        path, found, want);
        return E_NOENT;
    }
    memcpy(layer->path, path, strlen(path) + 1);
    *ret_parent = TAKE(layer);
    return E_OK;
}

static enum err find_parent(const struct vhd_layer *child,
                            struct vhd_opener *opener, enum vhd_size_rule rule,
                            struct diag *why, struct vhd_layer **ret_parent)
{
    size_t slots[CANDIDATES];
    struct diag last = {"no parent locator makes sense"};

    order_slots(child, slots);
    for (size_t i = 0; i < CANDIDATES; i++) {
        char path[VHD_PATH_BYTES];
        enum err e;

        if (!candidate(child, slots[i], path))
            continue;
        (void)diag_fail(&last, E_NOENT, "%s: no such file", path);
        e = try_path(child, path, opener, rule, &last, ret_parent);
        if (e == E_NOENT)
            continue;
        if (e && why)
            *why = last;
        return e;
    }
    return diag_fail(why, E_VHD_PARENT, "%s: its parent is not to be found: %s",
                     child->path, last.text);
}

static bool in_chain(const struct vhd *v, const uint8_t uuid[VHD_UUID_BYTES])
{
    for (uint32_t i = 0; i < v->layer_count; i++)
        if (!memcmp(v->layers[i]->footer.uuid, uuid, VHD_UUID_BYTES))
            return true;
    return false;
}

enum err vhd_chain_open(struct vhd *v, struct vhd_opener *opener,
                        enum vhd_size_rule rule, struct diag *why)
{
    struct vhd_layer *child = v->layers[v->layer_count - 1];

    while (child->footer.type == VHD_DIFFERENCING) {
        struct vhd_layer *parent = NULL;
        enum err e;

        if (!opener || !*child->path)
            return diag_fail(why, E_VHD_PARENT,
                             "a differencing disk needs its parent, and none "
                             "can be opened here");
        if (in_chain(v, child->header.parent_uuid))
            return diag_fail(why, E_VHD_PARENT,
                             "%s: the chain of parents is a loop", child->path);
        if (v->layer_count == VHD_CHAIN_MAX)
            return diag_fail(why, E_VHD_PARENT,
                             "%s: the chain has more than %d files",
                             child->path, VHD_CHAIN_MAX);
        e = find_parent(child, opener, rule, why, &parent);
        if (e)
            return e;
        v->layers[v->layer_count++] = parent;
        child = parent;
    }
    return E_OK;
}
