/* fs/meta_share.c - one file and many nodes: who has it open, who has which
 * layout, who is in whose way, and who waits.  In RAM only: after a takeover
 * the nodes report what they have.
 *
 * What conflicts is recalled, and the call waits behind its file, first come
 * first served.  A node answers a recall only when its own conversation about
 * the file has ended, so a call of it that waits there is sent back with
 * E_TRY_LATER, and comes again.  Only the first in the queue recalls anything:
 * so it is never sent back for its own sake, and gets what it waits for.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/meta.h"

/* -- files and holds ------------------------------------------------------- */

static struct list *file_bucket(struct meta *m, fs_ino ino)
{
    return &m->files[ino % FILE_BUCKETS];
}

struct file *file_find(struct meta *m, fs_ino ino)
{
    list_for_each (node, file_bucket(m, ino)) {
        struct file *f = container_of(node, struct file, link);

        if (f->ino == ino)
            return f;
    }
    return NULL;
}

static struct hold *hold_of(struct list *node)
{
    return container_of(node, struct hold, link);
}

static struct fs_call *call_of(struct list *node)
{
    return container_of(node, struct fs_call, link);
}

bool file_has_writer(const struct file *file)
{
    list_for_each (node, &file->holds)
        if (hold_of(node)->write)
            return true;
    return false;
}

static struct file *file_make(struct meta *m, fs_ino ino)
{
    struct file *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->ino = ino;
    list_init(&f->holds);
    list_init(&f->waiting);
    list_push_back(file_bucket(m, ino), &f->link);
    return f;
}

static void file_put(struct file *file)
{
    if (!list_empty(&file->holds))
        return;
    ASSERT(list_empty(&file->waiting));
    list_remove(&file->link);
    free(file);
}

struct hold *hold_find(const struct file *file, const struct fs_sender *who)
{
    list_for_each (node, &file->holds)
        if (fs_sender_is(&hold_of(node)->who, who))
            return hold_of(node);
    return NULL;
}

enum err hold_get(const struct op *op, fs_ino ino, struct file **ret_file,
                  struct hold **ret_hold)
{
    struct file *f = file_find(op->m, ino);
    struct hold *h = f ? hold_find(f, op->sender) : NULL;

    if (!f)
        f = file_make(op->m, ino);
    if (!f)
        return E_NOMEM;
    if (!h) {
        h = calloc(1, sizeof *h);
        if (!h) {
            file_put(f);
            return E_NOMEM;
        }
        h->file = f;
        h->who = *op->sender;
        list_push_back(&f->holds, &h->link);
    }
    *ret_file = f;
    *ret_hold = h;
    return E_OK;
}

void hold_put(struct file *file, struct hold *hold)
{
    if (hold->open || hold->grant)
        return;
    if (list_linked(&hold->recall_link))
        list_remove(&hold->recall_link);
    list_remove(&hold->link);
    free(hold);
    file_put(file);
}

enum err share_open(struct op *op, fs_ino ino, bool write)
{
    struct file *file;
    struct hold *hold;
    enum err e = hold_get(op, ino, &file, &hold);

    if (e)
        return e;
    op->m->opens += !hold->open;
    hold->open = true;
    hold->write |= write;
    return E_OK;
}

bool file_is_alone(const struct file *file, const struct hold *hold)
{
    return file->holds.next == &hold->link && hold->link.next == &file->holds;
}

void file_free(struct file *file)
{
    struct list *node;

    while ((node = list_pop_front(&file->holds)))
        free(hold_of(node));
    free(file);
}

/* -- conflicts ------------------------------------------------------------- */

static bool is_in_the_way(const struct hold *h, const struct fs_sender *who,
                          fs_iomode others)
{
    return h->layout > others && !fs_sender_is(&h->who, who);
}

enum err share_claim(struct op *op, fs_ino ino, fs_iomode others)
{
    struct file *f = file_find(op->m, ino);

    if (!f)
        return E_OK;
    list_for_each (node, &f->holds)
        if (is_in_the_way(hold_of(node), op->sender, others)) {
            op->behind = f;
            op->others = others;
            return E_TRY_LATER;
        }
    return E_OK;
}

enum err share_claim_layout(struct op *op, fs_ino ino, fs_iomode mode)
{
    const fs_iomode others =
        mode == FS_IOMODE_RW ? FS_IOMODE_NONE : FS_IOMODE_READ;
    struct file *f = file_find(op->m, ino);
    const struct hold *h = f ? hold_find(f, op->sender) : NULL;

    /* Those who wait go first, but not before what is there is given up. */
    if (f && !list_empty(&f->waiting) && (!h || h->layout < mode)) {
        op->behind = f;
        op->others = others;
        return E_TRY_LATER;
    }
    return share_claim(op, ino, others);
}

bool share_is_written(struct meta *m, fs_ino ino, const struct fs_sender *who)
{
    const struct file *f = file_find(m, ino);

    if (!f)
        return false;
    list_for_each (node, &f->holds)
        if (is_in_the_way(hold_of(node), who, FS_IOMODE_READ))
            return true;
    return false;
}

/* -- waiting --------------------------------------------------------------- */

/* The node must be able to answer a recall: its calls do not wait here. */
static void send_back(struct meta *m, struct file *f,
                      const struct fs_sender *who)
{
    list_for_each (node, &f->waiting) {
        struct fs_call *call = call_of(node);

        if (!call->request.may_try_later || !fs_sender_is(&call->sender, who))
            continue;
        list_remove(node);
        call->reply.error = E_TRY_LATER;
        list_push_back(&m->sent_back, node);
    }
}

static void recall(struct meta *m, struct hold *h, fs_iomode keep)
{
    if (h->recalled && h->keep <= keep)
        return;
    h->recalled = true;
    h->keep = keep;
    share_count_turn(m, h->file);
    if (!list_linked(&h->recall_link))
        list_push_back(&m->recalls, &h->recall_link);
    send_back(m, h->file, &h->who);
}

void share_wait(struct meta *m, struct fs_call *call, struct file *behind,
                fs_iomode others)
{
    const struct hold *mine = hold_find(behind, &call->sender);
    bool first = list_empty(&behind->waiting);

    if (mine && mine->recalled && call->request.may_try_later) {
        call->reply.error = E_TRY_LATER;
        list_push_back(&m->sent_back, &call->link);
        return;
    }
    list_push_back(&behind->waiting, &call->link);
    if (!first)
        return;
    list_for_each (node, &behind->holds)
        if (is_in_the_way(hold_of(node), &call->sender, others))
            recall(m, hold_of(node), others);
}

void share_lower(struct meta *m, struct file *file, struct hold *hold,
                 fs_iomode layout)
{
    struct list *node;

    hold->layout = layout;
    if (layout == FS_IOMODE_NONE)
        hold->grant = 0;
    if (hold->layout <= hold->keep)
        hold->recalled = false;
    while ((node = list_pop_front(&file->waiting)))
        list_push_back(&m->ready, node);
}

void share_remind(struct meta *m, const struct fs_sender *who)
{
    for (int i = 0; i < FILE_BUCKETS; i++)
        list_for_each (node, &m->files[i]) {
            struct hold *h =
                hold_find(container_of(node, struct file, link), who);

            if (h && h->recalled && !list_linked(&h->recall_link))
                list_push_back(&m->recalls, &h->recall_link);
        }
}

bool share_next_recall(struct meta *m, struct fs_sender *ret_who,
                       fs_recall *ret_recall)
{
    struct list *node = list_pop_front(&m->recalls);
    const struct hold *h;

    if (!node)
        return false;
    h = container_of(node, struct hold, recall_link);
    *ret_who = h->who;
    *ret_recall = (fs_recall){h->file->ino, h->grant, h->keep};
    return true;
}

/* -- takeover, and the end of a node --------------------------------------- */

static enum err report_file(struct op *op, const fs_report_file *r)
{
    struct file *file;
    struct hold *hold;
    enum err e = E_OK;

    if (r->open)
        e = share_open(op, r->ino, r->write);
    if (e || !r->grant)
        return e;
    e = hold_get(op, r->ino, &file, &hold);
    if (e)
        return e;
    hold->grant = r->grant;
    hold->layout = r->layout;
    return E_OK;
}

static bool is_among(const struct fs_sender *list, unsigned count,
                     const struct fs_sender *who)
{
    for (unsigned i = 0; i < count; i++)
        if (fs_sender_is(&list[i], who))
            return true;
    return false;
}

static void no_longer_awaited(struct meta *m, const struct fs_sender *who)
{
    for (unsigned i = 0; i < m->awaited_count; i++)
        if (fs_sender_is(&m->awaited[i], who)) {
            m->awaited[i] = m->awaited[--m->awaited_count];
            return;
        }
}

bool share_is_awaited(const struct meta *m, const struct fs_sender *who)
{
    return is_among(m->awaited, m->awaited_count, who);
}

/* As long as it is awaited it may begin its report anew, for nobody has been
 * granted anything.  Later the same is old news, as its answer was lost.  Who
 * was not awaited and has something was given up for dead (I11). */
enum err op_report(struct op *op)
{
    const fs_report_args *args = OP_ARGS(op, report);
    struct meta *m = op->m;
    enum err e = E_OK;

    if (!share_is_awaited(m, op->sender))
        return (!args->files.files_len && !args->locks.locks_len) ||
                       is_among(m->reported, m->reported_count, op->sender)
                   ? E_OK
                   : E_FENCED;
    for (u_int i = 0; i < args->files.files_len && !e; i++)
        e = report_file(op, &args->files.files_val[i]);
    if (e || !args->last)
        return e;
    no_longer_awaited(m, op->sender);
    m->reported[m->reported_count++] = *op->sender;
    return E_OK;
}

static void forget_calls(struct meta *m, struct file *f,
                         const struct fs_sender *who)
{
    list_for_each (node, &f->waiting) {
        struct fs_call *call = call_of(node);

        if (!fs_sender_is(&call->sender, who))
            continue;
        list_remove(node);
        call->reply.error = E_FENCED;
        list_push_back(&m->sent_back, node);
    }
}

void share_forget(struct meta *m, const struct fs_sender *who)
{
    no_longer_awaited(m, who);
    m->forgotten[who->node] =
        max_u64(m->forgotten[who->node], who->incarnation);
    for (int i = 0; i < FILE_BUCKETS; i++)
        list_for_each (node, &m->files[i]) {
            struct file *f = container_of(node, struct file, link);
            struct hold *h = hold_find(f, who);

            forget_calls(m, f, who);
            if (!h)
                continue;
            m->opens -= h->open;
            h->open = h->write = false;
            share_lower(m, f, h, FS_IOMODE_NONE);
            hold_put(f, h);
            m->reap_wanted = true;
        }
}

void share_take_waiting(struct meta *m, const struct fs_link *via,
                        struct list *to)
{
    for (int i = 0; i < FILE_BUCKETS; i++)
        list_for_each (node, &m->files[i])
            fs_calls_take(&container_of(node, struct file, link)->waiting, via,
                          to);
    fs_calls_take(&m->ready, via, to);
}
