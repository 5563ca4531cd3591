/* lockmgr/member.c - carries out what the core of membership wants.
 * Multicasts through the shell's ops; decides nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "lockmgr/member_shell.h"

#include <unistd.h>

enum err member_shell_init(struct member *m, const struct member_shell_ops *ops,
                           const struct member_args *args,
                           unsigned suspect_ticks, struct diag *why)
{
    const struct member_core_args core = {
        .me = args->me,
        .pid = (uint32_t)getpid(),
        .suspect_ticks = suspect_ticks,
    };
    enum err e = member_id_check(&args->me, why);

    if (e)
        return e;
    m->ops = ops;
    m->loop = args->loop;
    m->ear = args->ear;
    member_core_init(&m->core, &core);
    return E_OK;
}

void member_feed(struct member *m, const struct member_event *event)
{
    struct member_effects *fx = &m->fx;
    struct member_who from;
    const uint8_t *data;
    size_t data_count;
    bool view_changed, deliver, ended;
    struct diag why;

    member_step(&m->core, event, fx);
    for (unsigned i = 0; i < fx->send_count; i++)
        m->ops->multicast(m, fx->sends[i].bytes, fx->sends[i].count);
    if (fx->garbage)
        log_warning("membership: %s", fx->why.text);
    /* the ear may call back and step again: fx is not ours after that */
    view_changed = fx->view_changed;
    deliver = fx->deliver;
    ended = fx->ended;
    from = fx->from;
    data = fx->data;
    data_count = fx->data_count;
    why = fx->why;
    if (view_changed)
        m->ear->view(m->ear, &m->core.view);
    if (deliver)
        m->ear->deliver(m->ear, from.node, from.incarnation, data, data_count);
    if (ended)
        m->ear->ended(m->ear, m->core.end, why.text);
}

const struct member_view *member_view(const struct member *m)
{
    return &m->core.view;
}

enum err member_send(struct member *m, const void *bytes, size_t count)
{
    if (count > MEMBER_MESSAGE_BYTES_MAX)
        return E_TOO_BIG;
    if (!m->core.view.joined)
        return E_NO_QUORUM;
    if (m->ops->is_full(m))
        return E_AGAIN;
    member_feed(m, &(struct member_event){
                       .type = EVENT_SEND, .bytes = bytes, .count = count});
    return E_OK;
}

enum err member_accuse(struct member *m, uint32_t node, uint64_t incarnation)
{
    const struct member_id *id = member_view_find(&m->core.view, node);

    if (!m->core.view.quorate)
        return E_NO_QUORUM;
    if (!id || id->incarnation != incarnation)
        return E_NOENT;
    member_feed(m, &(struct member_event){
                       .type = EVENT_ACCUSE, .who = {node, incarnation}
    });
    return E_OK;
}

static bool is_missing(const struct member_view *view, uint32_t node,
                       uint64_t incarnation)
{
    for (unsigned i = 0; i < view->gone_count; i++)
        if (view->gone[i].id.node == node &&
            view->gone[i].id.incarnation == incarnation)
            return view->gone[i].state == MEMBER_MISSING;
    return false;
}

enum err member_fenced(struct member *m, uint32_t node, uint64_t incarnation)
{
    if (!m->core.view.joined)
        return E_NO_QUORUM;
    if (!is_missing(&m->core.view, node, incarnation))
        return E_NOENT;
    member_feed(m, &(struct member_event){
                       .type = EVENT_FENCED, .who = {node, incarnation}
    });
    return E_OK;
}

void member_leave(struct member *m)
{
    member_feed(m, &(struct member_event){.type = EVENT_LEAVE});
}

void member_close(struct member *m)
{
    if (m)
        m->ops->close(m);
}
