/* tests/tools/agree/main.c - operations by chance on several hosts' views of a
 * directory: do they show one file system?
 *
 *   agree turns SEED OPS LOCAL DIR…   one operation at a time, compared with
 *                                     the local file system of LOCAL
 *   agree maps SEED OPS LOCAL DIR…    … with mappings that stay while others
 *                                     change the file
 *   agree race SEED OPS DIR…          all hosts at once
 *   agree firm SEED OPS DIR…          … where hosts may die meanwhile
 *
 * DIRs are one directory, empty, as each host has it; LOCAL is empty, too.
 * Exits 0 if all is well; else says what is not, and 1.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/agree.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
    bool maps = argc > 1 && !strcmp(argv[1], "maps");
    bool in_turns = argc > 1 && (maps || !strcmp(argv[1], "turns"));
    int first = in_turns ? 5 : 4;
    struct run run;

    if (argc < first + 2) {
        fprintf(stderr, "usage: agree turns|maps SEED OPS LOCAL DIR...\n"
                        "       agree race|firm SEED OPS DIR...\n");
        return 2;
    }
    run = (struct run){
        .seed = strtoull(argv[2], NULL, 10),
        .ops = strtoul(argv[3], NULL, 10),
        .hosts = (unsigned)(argc - first),
        .dirs = argv + first,
        .local = argv[4],
        .maps = maps,
        .firm = !strcmp(argv[1], "firm"),
    };
    umask(0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return in_turns ? turns(&run) : race(&run);
}
