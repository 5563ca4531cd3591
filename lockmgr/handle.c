/* lockmgr/handle.c - the rules of handles.  Stores nothing, releases nothing:
 * that time passed is no reason here (I10).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"

#include <string.h>

static bool same_vm(const struct lm_handle *a, const struct lm_handle *b)
{
    return strcmp(a->vm, b->vm) == 0;
}

static bool same_run(const struct lm_handle *a, const struct lm_handle *b)
{
    return a->node == b->node && a->incarnation == b->incarnation;
}

const struct lm_handle *lm_handle_get(const struct lm_handle *rows,
                                      size_t count,
                                      const struct lm_handle *want,
                                      uint64_t *ret_generation)
{
    const struct lm_handle *own = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct lm_handle *row = &rows[i];

        if (same_vm(row, want)) {
            own = row;
            if (row->mode != LM_NL && !same_run(row, want))
                return row; /* the VM runs, or ran, elsewhere */
        } else if (!lm_compatible(row->mode, want->mode)) {
            return row;
        }
    }
    if (own && own->mode == want->mode)
        *ret_generation = own->generation;
    else
        *ret_generation = own ? own->generation + 1 : 1;
    return NULL;
}

bool lm_handle_is_held(const struct lm_handle *rows, size_t count,
                       const struct lm_handle *handle)
{
    for (size_t i = 0; i < count; i++)
        if (same_vm(&rows[i], handle) && same_run(&rows[i], handle) &&
            rows[i].mode != LM_NL && rows[i].generation == handle->generation)
            return true;
    return false;
}

const struct lm_handle *lm_handle_guard(const struct lm_handle *rows,
                                        size_t count,
                                        const struct lm_handle *actor)
{
    for (size_t i = 0; i < count; i++) {
        const struct lm_handle *row = &rows[i];

        if (row->mode == LM_NL)
            continue;
        if (row->mode == LM_EX && same_run(row, actor) &&
            row->generation == actor->generation)
            continue;
        return row;
    }
    return NULL;
}
