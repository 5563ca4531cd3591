/* lunard/cli_top.c - status, again and again, until somebody presses ^C.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli.h"

#include <stdio.h>
#include <unistd.h>

/* Requests per second of each controller, from two looks at its counter.  A VM
 * that has another place in the list now has none for a moment. */
static void add_rates(const json_t *was, const json_t *is, unsigned seconds)
{
    const json_t *vm;
    size_t i, j;

    json_array_foreach (json_object_get(is, "vms"), i, vm) {
        const json_t *old = json_array_get(json_object_get(was, "vms"), i);
        json_t *c;

        if (!json_equal(json_object_get(vm, "uuid"),
                        json_object_get(old, "uuid")))
            continue;
        json_array_foreach (json_object_get(vm, "controllers"), j, c) {
            const json_t *old_c =
                json_array_get(json_object_get(old, "controllers"), j);
            json_int_t n =
                json_integer_value(json_object_get(c, "requests")) -
                json_integer_value(json_object_get(old_c, "requests"));

            if (n >= 0)
                json_object_set_new(c, "rate", json_real((double)n / seconds));
        }
    }
}

int cli_top(struct cli *cli)
{
    unsigned seconds = (unsigned)cli_number(cli, "--interval", 1);
    uint64_t rounds = cli_number(cli, "--count", 0);
    bool terminal = isatty(STDOUT_FILENO);
    json_t *before = NULL;

    if (seconds < 1)
        seconds = 1;
    for (uint64_t round = 1;; round++) {
        json_t *result = NULL;
        struct diag why = {0};
        enum err e = cli_request(cli, "status", json_object(), &result, &why);

        if (e) {
            json_decref(before);
            return cli_fail("%s", diag_text(&why, e));
        }
        if (terminal)
            fputs("\033[H\033[J", stdout);
        add_rates(before, result, seconds);
        print_status(result);
        fflush(stdout);
        json_decref(before);
        before = result;
        if (round == rounds)
            break;
        sleep(seconds);
    }
    json_decref(before);
    return EXIT_SUCCESS;
}
