/* lunard/cli.h - the lunar command, inside.
 *
 *   main_lunar.c  the table of commands
 *   cli_args.c    words of the command line -> values, by the table
 *   cli_ask.c     ask the daemon            cli_print.c  show what it said
 *   cli_volume.c  work on a LUN without a daemon: format, check, export
 *   cli_disk.c    work on a file: create, info, check, resize
 *   cli_cluster.c make the key that the hosts of a cluster share
 *
 * Exit status: 0, 1 (failed; one line on standard error), 2 (usage).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_CLI_H
#define LUNAR_LUNARD_CLI_H

#include "base/err.h"

#include <jansson.h>

enum { CLI_WORDS_MAX = 8, CLI_FAILED = 1, CLI_USAGE = 2 };

enum cli_type { CLI_TEXT, CLI_NUMBER, CLI_SIZE, CLI_FLAG };

/* A word that a command takes: "VM" stands for itself, "--lun" is an option.
 * `key` is its name in the request to the daemon. */
struct cli_word {
    const char *name, *key;
    enum cli_type type;
    bool optional;
};

struct cli;
struct cli_command {
    const char *name; /* "volume add" */
    struct cli_word words[CLI_WORDS_MAX];
    int (*run)(struct cli *cli);
    void (*print)(const json_t *result); /* of cli_ask(); NULL: nothing */
    const char *summary, *help;
};
extern const struct cli_command cli_commands[]; /* ends with name == NULL */

struct cli {
    const struct cli_command *command;
    const char *socket;
    bool json;
    const char *values[CLI_WORDS_MAX]; /* by word; NULL: not given */
};

/* Fill in cli from the command line; complains itself.
 * Returns -1 to go on, else the exit status. */
int cli_parse(int argc, char **argv, struct cli *ret_cli);
const char *cli_text(const struct cli *cli, const char *name);
bool cli_flag(const struct cli *cli, const char *name);
/* A size or number that cli_parse() found right; `absent` if not given. */
uint64_t cli_number(const struct cli *cli, const char *name, uint64_t absent);

/* "lunar: …" on standard error; returns CLI_FAILED. */
int cli_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
int cli_usage(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* On a terminal: a line that the next one overwrites.  NULL ends it. */
void cli_progress(const char *text);

/* -- asking the daemon ----------------------------------------------------- */

/* Send command and arguments, wait.  E_CLOSED: there is no daemon.
 * Ownership: takes args; ret_result is the caller's, may be NULL. */
MUST_CHECK enum err cli_request(const struct cli *cli, const char *name,
                                json_t *args, json_t **ret_result,
                                struct diag *why);
/* Ask what the command's row says, print what came. */
int cli_ask(struct cli *cli);

void print_status(const json_t *result);
void print_volumes(const json_t *result);
void print_volume_added(const json_t *result);
void print_vms(const json_t *result);
void print_vm_added(const json_t *result);
void print_attached(const json_t *result);
/* "40 GiB", "3.5 TiB" */
enum { SIZE_TEXT_BYTES = 32 };
void size_to_text(uint64_t bytes, char ret_text[SIZE_TEXT_BYTES]);

/* -- commands -------------------------------------------------------------- */
int cli_format(struct cli *cli);
int cli_check(struct cli *cli);
int cli_metadata_export(struct cli *cli);
int cli_volume_release(struct cli *cli);
int cli_disk_create(struct cli *cli);
int cli_disk_info(struct cli *cli);
int cli_disk_check(struct cli *cli);
int cli_disk_resize(struct cli *cli);
int cli_cluster_key(struct cli *cli);
int cli_top(struct cli *cli);
int cli_help(struct cli *cli);
/* Names and summaries of all commands. */
void cli_overview(void);

#endif
