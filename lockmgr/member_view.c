/* lockmgr/member_view.c - views as values: find, compare, print.
 * Decides nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_view.h"

#include <string.h>

const char *member_gone_name(enum member_gone_state state)
{
    static const char *const names[] = {
#define X(code, name) [code] = name,
        MEMBER_GONE_STATES(X)
#undef X
    };

    return (unsigned)state < ARRAY_LEN(names) ? names[state] : "?";
}

const char *member_end_name(enum member_end end)
{
    static const char *const names[] = {
#define X(code, name) [code] = name,
        MEMBER_ENDS(X)
#undef X
    };

    return (unsigned)end < ARRAY_LEN(names) ? names[end] : "?";
}

const struct member_id *member_view_find(const struct member_view *view,
                                         uint32_t node)
{
    for (unsigned i = 0; i < view->member_count; i++)
        if (view->members[i].node == node)
            return &view->members[i];
    return NULL;
}

void member_view_add(struct member_view *view, const struct member_id *id)
{
    ASSERT(view->member_count < MEMBER_NODES_MAX);
    view->members[view->member_count++] = *id;
    if (id->version_max < view->version)
        view->version = id->version_max;
}

static bool id_equal(const struct member_id *a, const struct member_id *b)
{
    return a->node == b->node && a->incarnation == b->incarnation;
}

bool member_view_equal(const struct member_view *a, const struct member_view *b)
{
    if (a->number != b->number || a->joined != b->joined ||
        a->quorate != b->quorate || a->tie != b->tie ||
        a->member_count != b->member_count || a->gone_count != b->gone_count)
        return false;
    for (unsigned i = 0; i < a->member_count; i++)
        if (!id_equal(&a->members[i], &b->members[i]))
            return false;
    for (unsigned i = 0; i < a->gone_count; i++)
        if (!id_equal(&a->gone[i].id, &b->gone[i].id) ||
            a->gone[i].state != b->gone[i].state)
            return false;
    return true;
}

void member_view_to_text(struct buf *b, const struct member_view *view)
{
    buf_printf(b, "view %llu %s", (unsigned long long)view->number,
               !view->joined   ? "outside"
               : view->quorate ? "quorate"
                               : "without quorum");
    for (unsigned i = 0; i < view->member_count; i++)
        buf_printf(b, "%s%s=%u.%llu", i ? " " : ": ", view->members[i].name,
                   view->members[i].node,
                   (unsigned long long)view->members[i].incarnation);
    for (unsigned i = 0; i < view->gone_count; i++)
        buf_printf(b, "; %s %s=%u.%llu", member_gone_name(view->gone[i].state),
                   view->gone[i].id.name, view->gone[i].id.node,
                   (unsigned long long)view->gone[i].id.incarnation);
}
