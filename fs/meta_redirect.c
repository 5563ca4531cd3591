/* fs/meta_redirect.c - redirected I/O on the metadata thread: who may ask for
 * it, and which files have it although everybody has a path.  Moves no data:
 * redirect.c does.
 *
 * A file that hosts write in turns costs a recall, a flush and a commit for
 * each turn.  After TURNS_MAX recalls within WINDOW_NS nobody gets a layout of
 * it any more (E_REDIRECT), until for QUIET_NS no host has come in between what
 * another writes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/meta.h"

enum { TURNS_MAX = 10 };
#define WINDOW_NS NS_PER_S
#define QUIET_NS  (2 * NS_PER_S)

/* -- turns ----------------------------------------------------------------- */

void share_count_turn(struct meta *m, struct file *file)
{
    uint64_t now = clock_now_ns(m->clock);

    if (!file->turns || now - file->turns_since_ns > WINDOW_NS) {
        file->turns = 0;
        file->turns_since_ns = now;
    }
    if (++file->turns == TURNS_MAX)
        file->redirect_until_ns = now + QUIET_NS;
}

/* Somebody comes to a file that is redirected. */
static void come(struct file *f, const struct fs_sender *who, bool write,
                 uint64_t now)
{
    bool same = fs_sender_is(&f->writer, who);

    if (!same && (write || now - f->written_ns < QUIET_NS))
        f->redirect_until_ns = now + QUIET_NS;
    if (!write)
        return;
    f->writer = *who;
    f->written_ns = now;
}

bool share_is_redirected(const struct op *op, fs_ino ino, bool write)
{
    uint64_t now = clock_now_ns(op->m->clock);
    struct file *f = file_find(op->m, ino);

    if (!f || now >= f->redirect_until_ns || fs_sender_is_proxy(op->sender))
        return false;
    come(f, op->sender, write, now);
    return true;
}

/* -- handlers -------------------------------------------------------------- */

static enum err carry(struct op *op, fs_ino ino, bool write)
{
    op->carry = true;
    (void)share_is_redirected(op, ino, write);
    return E_OK;
}

static enum err carry_data(struct op *op, const fs_data_args *args, bool write)
{
    if (args->len_bytes < 1 || args->len_bytes > FS_DATA_MAX)
        return E_INVAL;
    if (!range_ok(args->off_bytes, args->len_bytes, FS_FILE_BYTES_MAX))
        return E_TOO_BIG;
    return carry(op, args->ino, write);
}

enum err op_read(struct op *op)
{
    return carry_data(op, OP_ARGS(op, read), false);
}

enum err op_write(struct op *op)
{
    return carry_data(op, OP_ARGS(op, write), true);
}

enum err op_flush(struct op *op)
{
    op->carry = true; /* takes no turn */
    return E_OK;
}

enum err op_edges(struct op *op)
{
    return carry(op, OP_ARGS(op, edges)->ino, true);
}
