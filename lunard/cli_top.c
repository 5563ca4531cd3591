/* lunard/cli_top.c - status, again and again, until somebody presses ^C.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli.h"

#include <stdio.h>
#include <unistd.h>

int cli_top(struct cli *cli)
{
    unsigned seconds = (unsigned)cli_number(cli, "--interval", 1);
    uint64_t rounds = cli_number(cli, "--count", 0);
    bool terminal = isatty(STDOUT_FILENO);

    if (seconds < 1)
        seconds = 1;
    for (uint64_t round = 1;; round++) {
        json_t *result = NULL;
        struct diag why = {0};
        enum err e = cli_request(cli, "status", json_object(), &result, &why);

        if (e)
            return cli_fail("%s", diag_text(&why, e));
        if (terminal)
            fputs("\033[H\033[J", stdout);
        print_status(result);
        json_decref(result);
        fflush(stdout);
        if (round == rounds)
            return EXIT_SUCCESS;
        sleep(seconds);
    }
}
