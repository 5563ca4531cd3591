/* fs/redirect.h - redirected I/O: what a coordinator reads and writes for those
 * who have no layout, or no path to the LUN.
 *
 *   READ, WRITE …  -> metadata thread: author, epoch, hold (coord_batch.c)
 *                  -> here, on the owner's loop: an fs_client of its own, the
 *                     proxy, with layouts of its own
 *                  -> answer
 *
 * The proxy is one more client: what it asks for recalls what others have, and
 * is recalled from it, so there is one set of rules.  What it has is void when
 * the coordinator dies, for nothing was answered that it had not committed.
 *
 * Exactly once in the life of a coordinator: a resend joins the call that runs
 * (net_serve.c), or is told what became of it (per author and slot).  The next
 * coordinator carries out again what was not answered: the same bytes, while
 * their author still waits.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_REDIRECT_H
#define LUNAR_FS_REDIRECT_H

#include "fs/fs.h"

struct fs_redirect;

struct redirect_args {
    struct store *lun;
    struct fs_link *link; /* the proxy's */
    struct loop *loop;    /* where it is carried out */
    struct clock *clock;
    /* Told on `loop`: a call is done; the LUN has failed us. */
    void (*answer)(void *arg, struct fs_call *call);
    void (*lun_failed)(void *arg, enum err e);
    void *arg;
};
/* Errors: as fs_client_new(). */
MUST_CHECK enum err redirect_new(const struct redirect_args *args,
                                 struct fs_redirect **ret_redirect);
/* All calls are answered.  Context: as fs_client_free(); NULL is fine. */
void redirect_free(struct fs_redirect *r);

/* Carry out what the metadata thread let through.  Any thread; does not block.
 */
void redirect_take(struct fs_redirect *r, struct fs_call *call);
/* Nothing of this run of a node reaches the LUN behind the return, and what of
 * it waits never will.  Context: as redirect_free(). */
void redirect_forget(struct fs_redirect *r, const struct fs_sender *author);

#endif
