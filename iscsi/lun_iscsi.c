/* iscsi/lun_iscsi.c - a LUN of a target, over TCP.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_private.h"

enum err lun_iscsi_open(const struct lun_url *url, const struct lun_args *args,
                        struct diag *why, struct lun **ret_lun)
{
    (void)args;
    (void)ret_lun;
    return diag_fail(why, E_UNSUPPORTED, "iscsi://%s: not in this build",
                     url->host);
}
