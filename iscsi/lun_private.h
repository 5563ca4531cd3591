/* iscsi/lun_private.h - what every kind of LUN has; for lun*.c only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_LUN_PRIVATE_H
#define LUNAR_ISCSI_LUN_PRIVATE_H

#include "iscsi/lun.h"
#include "iscsi/lun_url.h"

#include <pthread.h>

struct lun_ops {
    /* NULL: E_UNSUPPORTED */
    enum err (*pr_submit)(struct lun *lun, struct lun_pr *pr);
    void (*pr_cancel)(struct lun *lun, struct lun_pr *pr);
    enum err (*rescan)(struct lun *lun, struct diag *why);
    void (*close)(struct lun *lun);
};

/* Each kind begins with one.  `store.ops` is the kind's, too. */
struct lun {
    const struct lun_ops *ops;
    struct store store;
    struct lun_identity identity;
    char *name;
    bool sole;
    pthread_mutex_t trouble_mutex;
    struct diag trouble; /* lock: trouble_mutex */
};

static inline struct lun *lun_of_store(struct store *s)
{
    return container_of(s, struct lun, store);
}

MUST_CHECK enum err lun_init(struct lun *lun, const struct lun_ops *ops,
                             const struct lun_url *url);
void lun_fini(struct lun *lun);
/* Remember what went wrong; returns e.  Any thread. */
enum err lun_fault(struct lun *lun, enum err e, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* Adopt a size that was found by a rescan. */
MUST_CHECK enum err lun_resized(struct lun *lun, uint64_t size_bytes,
                                struct diag *why);
/* Make identity.uuid of identity.wwid. */
void lun_identity_seal(struct lun_identity *identity);

MUST_CHECK enum err lun_file_open(const struct lun_url *url,
                                  const struct lun_args *args, struct diag *why,
                                  struct lun **ret_lun);
MUST_CHECK enum err lun_iscsi_open(const struct lun_url *url,
                                   const struct lun_args *args,
                                   struct diag *why, struct lun **ret_lun);

#endif
