/* lunard/cli_cluster.c - make what the hosts of a cluster share: its key.
 * Sends it nowhere; that is for the administrator to do.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli.h"

#include "base/cluster_key.h"
#include "base/jsontext.h"

#include <stdio.h>
#include <string.h>

static void print_next(const char *path)
{
    printf("%s: a new cluster key, which only its owner can read.\n"
           "\n"
           "Every host of the cluster needs it, and nobody else may have it.\n"
           "Copy it to the others, with its mode (0600):\n"
           "\n"
           "  scp -p %s HOST:%s\n"
           "\n"
           "and write into lunar.conf of each host, below [cluster]:\n"
           "\n"
           "  membership = corosync\n"
           "  listen = ADDRESS:PORT (that host's own)\n",
           path, path, path);
    if (strcmp(path, CLUSTER_KEY_PATH))
        printf("  key = %s\n", path);
    puts("\n\"lunard --check-config\" tells whether a host has all it needs.");
}

int cli_cluster_key(struct cli *cli)
{
    const char *given = cli_text(cli, "PATH");
    const char *path = given ? given : CLUSTER_KEY_PATH;
    AUTO(freep) char *full = NULL;
    struct diag why = {0};
    enum err e = cluster_key_generate(path, &why);

    if (e == E_NOENT)
        return cli_fail("%s: its directory is missing: make it first", path);
    if (e)
        return cli_fail("%s", diag_text(&why, e));
    full = realpath(path, NULL);
    if (full)
        path = full;
    if (cli->json) {
        json_t *json = json_pack("{s:o}", "path", json_text(path));

        json_dumpf(json, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(json);
    } else {
        print_next(path);
    }
    return EXIT_SUCCESS;
}
