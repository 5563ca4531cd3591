/* lunard/cli_lun.h - a LUN or a file, opened for the time of one command.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_CLI_LUN_H
#define LUNAR_LUNARD_CLI_LUN_H

#include "iscsi/iscsi.h"
#include "lunard/cli.h"

/* Open the LUN on this thread's loop, run `work`, close it, say what went
 * wrong.  Returns the exit status. */
int cli_with_lun(struct cli *cli, const char *url, const struct lun_args *args,
                 enum err (*work)(struct cli *cli, struct lun *lun,
                                  struct diag *why));

/* The same without a LUN: `work` finds a loop, and opens what it wants. */
int cli_with_loop(struct cli *cli,
                  enum err (*work)(struct cli *cli, struct diag *why));

#endif
