/* lockmgr/member_shell.h - what the shells of membership have in common.
 * Knows the core and the owner's ear; not how messages travel.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MEMBER_SHELL_H
#define LUNAR_LOCKMGR_MEMBER_SHELL_H

#include "lockmgr/member_core.h"

struct member_shell_ops {
    /* Multicast a copy, sooner or later, in the order of the calls; delivers
     * nothing from inside. */
    void (*multicast)(struct member *m, const void *bytes, size_t count);
    /* So much is waiting that the owner should. */
    bool (*is_full)(struct member *m);
    void (*close)(struct member *m);
};

struct member {
    const struct member_shell_ops *ops;
    struct loop *loop;
    struct member_ear *ear;
    struct member_core core;
    struct member_effects fx;
};

/* Errors: E_INVAL. */
MUST_CHECK enum err member_shell_init(struct member *m,
                                      const struct member_shell_ops *ops,
                                      const struct member_args *args,
                                      unsigned suspect_ticks, struct diag *why);
/* Step the core and carry out what it wants.  The ear may call back. */
void member_feed(struct member *m, const struct member_event *event);

#endif
