/* lunard/cli_args.c - words of the command line, by the table of commands.
 * Checks form, not meaning: whether a VM exists is the daemon's to say.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli.h"
#include "lunard/config.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void __attribute__((format(printf, 1, 0)))
complain(const char *fmt, va_list args)
{
    char line[1024];

    cli_progress(NULL);
    vsnprintf(line, sizeof line, fmt, args);
    for (char *c = line; *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?'; /* of a name: it stays one line */
    fprintf(stderr, "lunar: %s\n", line);
}

int cli_fail(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    complain(fmt, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_usage(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    complain(fmt, args);
    va_end(args);
    return CLI_USAGE;
}

void cli_progress(const char *text)
{
    static bool shown;

    if (!isatty(STDERR_FILENO) || (!text && !shown))
        return;
    fprintf(stderr, "\r\033[K%s", text ? text : "");
    shown = text != NULL;
}

/* -- values ---------------------------------------------------------------- */

/* "40G", "512M", "4096": a number and a power of 1024. */
static bool parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "KMGTPE";
    char *end;
    unsigned long long n;
    const char *unit;
    unsigned shift = 0;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno)
        return false;
    if (*end) {
        unit = strchr(units, toupper((unsigned char)*end));
        if (!unit)
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
        end++;
        end += *end == 'i';
        end += *end == 'B';
    }
    if (*end || n > UINT64_MAX >> shift)
        return false;
    *ret_bytes = (uint64_t)n << shift;
    return true;
}

static bool parse_number(const char *text, uint64_t *ret_number)
{
    return text[strspn(text, "0123456789")] == '\0' &&
           parse_size(text, ret_number);
}

static int check_value(const struct cli_word *word, const char *value)
{
    uint64_t n;

    switch (word->type) {
    case CLI_TEXT:
        if (!*value)
            return cli_usage("%s must not be empty", word->name);
        break;
    case CLI_NUMBER:
        if (!parse_number(value, &n))
            return cli_usage("%s: %s is not a number", word->name, value);
        break;
    case CLI_SIZE:
        if (!parse_size(value, &n))
            return cli_usage("%s: %s is not a size: 512M, 40G, 2T", word->name,
                             value);
        break;
    case CLI_FLAG: break;
    }
    return -1;
}

static int word_index(const struct cli_command *command, const char *name)
{
    for (int i = 0; i < CLI_WORDS_MAX && command->words[i].name; i++)
        if (!strcmp(command->words[i].name, name))
            return i;
    return -1;
}

const char *cli_text(const struct cli *cli, const char *name)
{
    int i = word_index(cli->command, name);

    ASSERT(i >= 0);
    return cli->values[i];
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return cli_text(cli, name) != NULL;
}

uint64_t cli_number(const struct cli *cli, const char *name, uint64_t absent)
{
    const char *text = cli_text(cli, name);
    uint64_t n = absent;

    if (text)
        ASSERT(parse_size(text, &n));
    return n;
}

/* -- words ----------------------------------------------------------------- */

/* An option: of all commands, or of this one.  Takes what follows it. */
static int parse_option(struct cli *cli, char **argv, int *at)
{
    char name[64];
    const char *equals = strchr(argv[*at], '=');
    const char *value = equals ? equals + 1 : NULL;
    size_t len = equals ? (size_t)(equals - argv[*at]) : strlen(argv[*at]);
    const struct cli_word *word;
    int i;

    snprintf(name, sizeof name, "%.*s", (int)min_u64(len, 63), argv[*at]);
    if (!strcmp(name, "--json") && !value) {
        cli->json = true;
        return -1;
    }
    if (!strcmp(name, "--socket")) {
        cli->socket = value ? value : argv[++*at];
        return cli->socket ? -1 : cli_usage("--socket needs a path");
    }
    i = word_index(cli->command, name);
    if (i < 0)
        return cli_usage("%s has no option %s: see \"lunar help %s\"",
                         cli->command->name, name, cli->command->name);
    word = &cli->command->words[i];
    if (word->type == CLI_FLAG)
        value = value ? NULL : "";
    else if (!value)
        value = argv[++*at];
    if (!value)
        return cli_usage(word->type == CLI_FLAG ? "%s takes no value"
                                                : "%s needs a value",
                         name);
    if (cli->values[i])
        return cli_usage("%s is given twice", name);
    cli->values[i] = value;
    return check_value(word, value);
}

static int parse_positional(struct cli *cli, const char *value)
{
    for (int i = 0; i < CLI_WORDS_MAX && cli->command->words[i].name; i++) {
        const struct cli_word *word = &cli->command->words[i];

        if (*word->name == '-' || cli->values[i])
            continue;
        cli->values[i] = value;
        return check_value(word, value);
    }
    return cli_usage("%s: one word too many: %s: see \"lunar help %s\"",
                     cli->command->name, value, cli->command->name);
}

static int check_missing(const struct cli *cli)
{
    for (int i = 0; i < CLI_WORDS_MAX && cli->command->words[i].name; i++) {
        const struct cli_word *word = &cli->command->words[i];

        if (!word->optional && !cli->values[i])
            return cli_usage("%s: %s is missing: see \"lunar help %s\"",
                             cli->command->name, word->name,
                             cli->command->name);
    }
    return -1;
}

/* The command that argv begins with, and how many words its name has. */
static const struct cli_command *find_command(char **argv, int *ret_words)
{
    char two[128];

    snprintf(two, sizeof two, "%s %s", argv[0], argv[1] ? argv[1] : "");
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        *ret_words = strchr(c->name, ' ') ? 2 : 1;
        if (!strcmp(c->name, *ret_words == 2 ? two : argv[0]))
            return c;
    }
    return NULL;
}

/* What stands before the command's name: --json, --socket PATH. */
static int parse_global(struct cli *cli, char **argv, int *at)
{
    static const struct cli_command none = {.name = "lunar"};

    cli->command = &none;
    for (; argv[*at] && *argv[*at] == '-'; ++*at) {
        int status;

        if (!strcmp(argv[*at], "--help") || !strcmp(argv[*at], "-h")) {
            cli_overview();
            return EXIT_SUCCESS;
        }
        if (!strcmp(argv[*at], "--version")) {
            puts("lunar 0.1");
            return EXIT_SUCCESS;
        }
        if (strcmp(argv[*at], "--json") &&
            strncmp(argv[*at], "--socket", sizeof "--socket" - 1))
            return cli_usage("no option %s: see \"lunar help\"", argv[*at]);
        status = parse_option(cli, argv, at);
        if (status >= 0)
            return status;
    }
    return -1;
}

int cli_parse(int argc, char **argv, struct cli *ret_cli)
{
    struct cli cli = {.socket = CONTROL_SOCKET};
    int at = 1, words, status = parse_global(&cli, argv, &at);
    bool options = true;

    if (status >= 0)
        return status;
    if (at == argc) {
        cli_overview();
        return CLI_USAGE;
    }
    cli.command = find_command(argv + at, &words);
    if (!cli.command)
        return cli_usage("no command \"%s%s%s\": see \"lunar help\"", argv[at],
                         argv[at + 1] ? " " : "",
                         argv[at + 1] ? argv[at + 1] : "");
    for (at += words; at < argc; at++) {
        if (options && !strcmp(argv[at], "--"))
            options = false;
        else if (options && !strncmp(argv[at], "--", 2))
            status = parse_option(&cli, argv, &at);
        else
            status = parse_positional(&cli, argv[at]);
        if (status >= 0)
            return status;
    }
    status = check_missing(&cli);
    if (status < 0)
        *ret_cli = cli;
    return status;
}
