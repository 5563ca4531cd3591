/* lunard/cli_lun.c - a loop and a LUN for the time of one command.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli_lun.h"

enum { AIO_DEPTH = 128 };

int cli_with_loop(struct cli *cli,
                  enum err (*work)(struct cli *cli, struct diag *why))
{
    struct diag why = {0};
    struct loop *loop;
    enum err e = loop_new(
        &(struct loop_args){.name = "lunar", .aio_depth = AIO_DEPTH}, &loop);

    if (e)
        return cli_fail("no event loop: %s", err_text(e));
    loop_adopt(loop);
    e = work(cli, &why);
    loop_adopt(NULL);
    loop_free(loop);
    return e ? cli_fail("%s", diag_text(&why, e)) : EXIT_SUCCESS;
}

struct with_lun {
    struct cli cli;
    const char *url;
    const struct lun_args *args;
    enum err (*work)(struct cli *cli, struct lun *lun, struct diag *why);
};

static const char reserved[] =
    "the LUN is reserved: ask the cluster that has it, by the volume's name; "
    "or, if no host uses it any more, \"lunar volume release\" ends that";

static enum err open_and_work(struct cli *cli, struct diag *why)
{
    struct with_lun *with = container_of(cli, struct with_lun, cli);
    struct lun *lun;
    enum err e = lun_open(with->url, with->args, why, &lun);

    if (e)
        return e;
    e = with->work(&with->cli, lun, why);
    lun_close(lun);
    return e == E_RESERVED ? diag_prefix(why, e, "%s", reserved) : e;
}

int cli_with_lun(struct cli *cli, const char *url, const struct lun_args *args,
                 enum err (*work)(struct cli *cli, struct lun *lun,
                                  struct diag *why))
{
    struct with_lun with = {
        .cli = *cli, .url = url, .args = args, .work = work};

    return cli_with_loop(&with.cli, open_and_work);
}
