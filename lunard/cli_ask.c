/* lunard/cli_ask.c - one request to the daemon and its answer.
 * Understands the frame; what is in a result is for cli_print.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static enum err connect_daemon(const char *path, int *ret_fd, struct diag *why)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof to.sun_path)
        return diag_fail(why, E_NAME_TOO_LONG, "%s: too long for a socket",
                         path);
    memcpy(to.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return diag_fail(why, E_IO, "socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&to, sizeof to)) {
        enum err e = errno == EACCES ? E_ACCESS : E_CLOSED;

        close(fd);
        return e == E_ACCESS
                   ? diag_fail(why, e, "%s: permission denied: be root", path)
                   : diag_fail(why, e,
                               "%s: no lunard answers there: start it, or "
                               "name its socket with --socket",
                               path);
    }
    *ret_fd = fd;
    return E_OK;
}

static enum err send_request(int fd, const char *path, const char *name,
                             json_t *args, struct diag *why)
{
    json_t *request = json_pack("{s:s, s:o, s:b}", "do", name, "args", args,
                                "progress", isatty(STDERR_FILENO));
    AUTO(freep) char *text = json_dumps(request, JSON_COMPACT);
    size_t len = text ? strlen(text) : 0, at = 0;

    json_decref(request);
    if (!text)
        return diag_fail(why, E_INVAL, "an argument is not UTF-8");
    text[len++] = '\n'; /* in place of the zero */
    while (at < len) {
        ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);

        if (n <= 0)
            return diag_fail(why, E_CLOSED, "%s: lunard hung up", path);
        at += (size_t)n;
    }
    return E_OK;
}

static void show_progress(const json_t *progress)
{
    const char *text;
    char line[128];
    int percent;

    if (json_unpack((json_t *)(uintptr_t)progress, "{s:i, s:s}", "percent",
                    &percent, "text", &text))
        return;
    if (percent)
        snprintf(line, sizeof line, "%s %d %%", text, percent);
    else
        snprintf(line, sizeof line, "%s", text);
    cli_progress(line);
}

/* Take the answer apart; progress lines before it are shown. */
static enum err receive_answer(FILE *from, const char *path,
                               json_t **ret_result, struct diag *why)
{
    AUTO(freep) char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, from) > 0) {
        json_t *answer = json_loads(line, 0, NULL);
        const json_t *progress = json_object_get(answer, "progress");
        const char *error = "E_PROTOCOL", *reason = "no answer is in it";
        enum err e = E_OK;

        if (progress) {
            show_progress(progress);
            json_decref(answer);
            continue;
        }
        cli_progress(NULL);
        if (json_is_true(json_object_get(answer, "ok"))) {
            *ret_result = json_incref(json_object_get(answer, "result"));
        } else {
            (void)json_unpack(answer, "{s:s, s:s}", "error", &error, "reason",
                              &reason);
            e = diag_fail(why, err_from_name(error), "%s", reason);
        }
        json_decref(answer);
        return e;
    }
    return diag_fail(why, E_CLOSED, "%s: lunard hung up before it answered",
                     path);
}

enum err cli_request(const struct cli *cli, const char *name, json_t *args,
                     json_t **ret_result, struct diag *why)
{
    AUTO(close_fd) int fd = -1;
    FILE *from;
    enum err e = connect_daemon(cli->socket, &fd, why);

    if (e) {
        json_decref(args);
        return e;
    }
    e = send_request(fd, cli->socket, name, args, why);
    if (e)
        return e;
    from = fdopen(fd, "r");
    if (!from)
        return diag_fail(why, E_NOMEM, "out of memory");
    e = receive_answer(from, cli->socket, ret_result, why);
    fclose(from);
    fd = -1;
    return e;
}

/* The values of the command line as the request's arguments; NULL: one is no
 * text, which has been complained of. */
static json_t *make_args(const struct cli *cli)
{
    json_t *args = json_object();

    for (int i = 0; i < CLI_WORDS_MAX && cli->command->words[i].name; i++) {
        const struct cli_word *word = &cli->command->words[i];
        json_t *value = NULL;

        if (!cli->values[i])
            continue;
        switch (word->type) {
        case CLI_TEXT: value = json_string(cli->values[i]); break;
        case CLI_NUMBER:
        case CLI_SIZE:
            value = json_integer((json_int_t)cli_number(cli, word->name, 0));
            break;
        case CLI_FLAG: value = json_true(); break;
        }
        if (json_object_set_new(args, word->key, value)) {
            cli_usage("%s: is not UTF-8", word->name);
            json_decref(args);
            return NULL;
        }
    }
    return args;
}

int cli_ask(struct cli *cli)
{
    json_t *args = make_args(cli), *result = NULL;
    struct diag why = {0};
    enum err e;

    if (!args)
        return CLI_USAGE;
    e = cli_request(cli, cli->command->name, args, &result, &why);
    if (e)
        return cli_fail("%s", diag_text(&why, e));
    if (cli->json) {
        json_dumpf(result ? result : json_null(), stdout,
                   JSON_INDENT(2) | JSON_ENCODE_ANY);
        putchar('\n');
    } else if (cli->command->print) {
        cli->command->print(result);
    }
    json_decref(result);
    return EXIT_SUCCESS;
}
