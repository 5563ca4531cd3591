/* tests/unit/lockmgr/cpg_model_see.c - what can be seen of a model, and that
 * all of it fits together.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/cpg_model_private.h"

#include <stdio.h>

/* -- what can be seen ------------------------------------------------------ */

bool model_is_running(const struct model *m, uint32_t host)
{
    return model_running(m, host) != NULL;
}

const struct member_core *model_core(const struct model *m, uint32_t host)
{
    return model_latest(m, host)->core;
}

uint64_t model_incarnation(const struct model *m, uint32_t host)
{
    return model_latest(m, host)->incarnation;
}

const char *model_heard(const struct model *m, uint32_t host)
{
    return model_latest(m, host)->heard;
}

const char *model_why(const struct model *m, uint32_t host)
{
    return model_latest(m, host)->why;
}

const char *model_view(struct model *m, uint32_t host)
{
    struct process *p = model_latest(m, host);
    const struct member_view *v = &p->core->view;
    AUTO(buf_fini) struct buf b = {0};

    buf_add_text(&b, !v->joined ? "outside" : v->quorate ? "quorate" : "alone");
    for (unsigned i = 0; i < v->member_count; i++)
        buf_printf(&b, " %u", v->members[i].node);
    for (unsigned i = 0; i < v->gone_count; i++)
        buf_printf(&b, " | %s %u", member_gone_name(v->gone[i].state),
                   v->gone[i].id.node);
    snprintf(p->view, sizeof p->view, "%s", buf_text(&b));
    return p->view;
}

/* Each incarnation that p had in a view is in it, or known to be gone. */
static void check_all_accounted(struct model *m, struct process *p)
{
    const struct member_view *v = &p->core->view;

    for (unsigned i = 0; i < m->process_count; i++) {
        const struct process *other = m->processes[i];
        const struct member_id id = {.node = other->p.node,
                                     .incarnation = other->incarnation};
        const struct member_id *in = member_view_find(v, id.node);

        if (!p->ever[i] || m->fenced[i] || m->goodbye[i] ||
            (in && in->incarnation == id.incarnation) || model_gone(v, &id))
            continue;
        printf("  %u.%llu\n", id.node, (unsigned long long)id.incarnation);
        model_fail(m, p, "someone vanished");
    }
}

void model_check_converged(struct model *m)
{
    const struct process *first = NULL;
    unsigned count = 0;

    for (unsigned i = 0; i < m->process_count; i++) {
        struct process *p = m->processes[i];

        if (!p->running || p->core->state == CORE_ENDED)
            continue;
        count++;
        if (p->core->state != CORE_IN || !p->core->view.quorate)
            model_fail(m, p, "not in a quorate view");
        else if (first && !model_same_view(&first->core->view, &p->core->view))
            model_fail(m, p, "not in the view of the others");
        else if (!first)
            first = p;
        check_all_accounted(m, p);
    }
    if (first && first->core->view.member_count != count)
        model_fail(m, first, "someone in it does not run");
}
