/* lunard/control.c - connections of the control socket and their threads.
 * Trusts no byte of a client: lines, depth, types and names are bounded and
 * checked before a command sees them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/control.h"

#include "base/jsontext.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    AIO_DEPTH = 64,       /* of a command's own I/O: check, create */
    ACCEPT_PAUSE_MS = 100 /* out of descriptors: do not spin meanwhile */
};

struct client {
    struct control *control;
    pthread_t thread;
    int fd;
    bool running; /* lock: control->mutex */
    bool joined;  /* acceptor's thread */
};

struct control {
    struct control_args args;
    struct sockaddr_un address;
    int listen_fd, stop_fd;
    pthread_t acceptor;
    atomic_bool stopping;
    pthread_mutex_t mutex;
    struct client clients[CONTROL_CLIENTS_MAX];
};

/* -- requests -------------------------------------------------------------- */

static json_t *answer_error(enum err e, const char *reason)
{
    return json_pack("{s:b, s:s, s:o}", "ok", 0, "error", err_name(e), "reason",
                     json_text(reason));
}

static const struct control_command *find_command(
    const struct control_command *commands, const char *name)
{
    for (const struct control_command *c = commands; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

static const struct control_arg *find_arg(const struct control_command *command,
                                          const char *name)
{
    for (size_t i = 0; i < CONTROL_ARGS_MAX && command->args[i].name; i++)
        if (!strcmp(command->args[i].name, name))
            return &command->args[i];
    return NULL;
}

static bool arg_has_type(enum control_type type, const json_t *value)
{
    switch (type) {
    case CONTROL_TEXT:
        return json_is_string(value) &&
               strlen(json_string_value(value)) == json_string_length(value);
    case CONTROL_NUMBER:
        return json_is_integer(value) && json_integer_value(value) >= 0;
    case CONTROL_FLAG: return json_is_boolean(value);
    }
    return false;
}

static enum err check_args(const struct control_command *command, json_t *args,
                           struct diag *why)
{
    static const char *const types[] = {"a string", "a number from 0",
                                        "true or false"};
    const char *name;
    json_t *value;

    json_object_foreach (args, name, value) {
        const struct control_arg *arg = find_arg(command, name);

        if (!arg)
            return diag_fail(why, E_INVAL, "%s has no argument \"%.60s\"",
                             command->name, name);
        if (!arg_has_type(arg->type, value))
            return diag_fail(why, E_INVAL, "%s: %s must be %s", command->name,
                             name, types[arg->type]);
    }
    for (size_t i = 0; i < CONTROL_ARGS_MAX && command->args[i].name; i++)
        if (command->args[i].required &&
            !json_object_get(args, command->args[i].name))
            return diag_fail(why, E_INVAL, "%s: %s is missing", command->name,
                             command->args[i].name);
    return E_OK;
}

/* Find the command of a parsed request and check what it is given. */
static enum err check_request(const struct control_args *args, json_t *request,
                              struct control_call *call)
{
    const char *name = json_string_value(json_object_get(request, "do"));
    json_t *given = json_object_get(request, "args");
    const char *key;
    json_t *value;

    if (!name)
        return diag_fail(&call->why, E_INVAL,
                         "a request is {\"do\": COMMAND, \"args\": {…}}");
    call->wants_progress = json_is_true(json_object_get(request, "progress"));
    json_object_foreach (request, key, value) {
        if (strcmp(key, "do") && strcmp(key, "args") && strcmp(key, "progress"))
            return diag_fail(&call->why, E_INVAL,
                             "a request has no member \"%.60s\"", key);
    }
    call->command = find_command(args->commands, name);
    if (!call->command)
        return diag_fail(&call->why, E_UNSUPPORTED,
                         "no command \"%.60s\" is known", name);
    if (given && !json_is_object(given))
        return diag_fail(&call->why, E_INVAL, "%s: args must be an object",
                         name);
    call->args = given;
    return check_args(call->command, given, &call->why);
}

json_t *control_answer(const struct control_args *args, int fd,
                       const char *line, size_t len_bytes)
{
    struct control_call call = {.context = args->context, .fd = fd};
    json_error_t where;
    json_t *request, *answer;
    enum err e;

    request = json_loadb(line, len_bytes, JSON_REJECT_DUPLICATES, &where);
    if (!request) {
        diag_fail(&call.why, E_INVAL, "not JSON: column %d: %s", where.column,
                  where.text);
        return answer_error(E_INVAL, call.why.text);
    }
    e = check_request(args, request, &call);
    if (!e)
        e = call.command->run(&call);
    if (e) {
        answer = answer_error(e, diag_text(&call.why, e));
        json_decref(call.result);
    } else {
        answer = json_pack("{s:b, s:o*}", "ok", 1, "result", call.result);
    }
    json_decref(request);
    return answer;
}

const char *control_text(const struct control_call *call, const char *name)
{
    return json_string_value(json_object_get(call->args, name));
}

uint64_t control_number(const struct control_call *call, const char *name,
                        uint64_t absent)
{
    const json_t *value = json_object_get(call->args, name);

    return value ? (uint64_t)json_integer_value(value) : absent;
}

bool control_flag(const struct control_call *call, const char *name)
{
    return json_is_true(json_object_get(call->args, name));
}

/* -- a connection ---------------------------------------------------------- */

static bool send_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* Send one line and drop the object; false if the client is gone. */
static bool send_line(int fd, json_t *object)
{
    AUTO(freep) char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

    json_decref(object);
    return text && send_all(fd, text, strlen(text)) && send_all(fd, "\n", 1);
}

void control_progress(struct control_call *call, unsigned percent,
                      const char *text)
{
    if (!call->wants_progress)
        return;
    send_line(call->fd, json_pack("{s:{s:i, s:s}}", "progress", "percent",
                                  (int)percent, "text", text));
}

/* Answer every whole line in buf[0, len); returns the bytes that are left of
 * an unfinished one, moved to the front, or -1 to hang up. */
static ssize_t answer_lines(struct client *c, char *buf, size_t len)
{
    size_t from = 0;
    char *end;

    while ((end = memchr(buf + from, '\n', len - from))) {
        size_t line_len = (size_t)(end - buf) - from;

        if (atomic_load(&c->control->stopping))
            return -1;
        if (!send_line(c->fd, control_answer(&c->control->args, c->fd,
                                             buf + from, line_len)))
            return -1;
        from += line_len + 1;
    }
    memmove(buf, buf + from, len - from);
    return (ssize_t)(len - from);
}

static void serve(struct client *c)
{
    AUTO(freep) char *buf = malloc(CONTROL_LINE_BYTES);
    size_t len = 0;
    ssize_t n;

    while (buf) {
        n = recv(c->fd, buf + len, CONTROL_LINE_BYTES - len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        n = answer_lines(c, buf, len + (size_t)n);
        if (n < 0)
            return;
        len = (size_t)n;
        if (len == CONTROL_LINE_BYTES) {
            send_line(c->fd, answer_error(E_TOO_BIG,
                                          "the request is longer than 64 KiB"));
            return;
        }
    }
}

static void *client_main(void *arg)
{
    struct client *c = arg;
    struct loop *loop;
    enum err e;

    e = loop_new(&(struct loop_args){.name = "control", .aio_depth = AIO_DEPTH},
                 &loop);
    if (e) {
        send_line(c->fd, answer_error(e, "the daemon is out of resources"));
    } else {
        loop_adopt(loop);
        serve(c);
        loop_adopt(NULL);
        loop_free(loop);
    }
    pthread_mutex_lock(&c->control->mutex);
    close(c->fd);
    c->running = false;
    pthread_mutex_unlock(&c->control->mutex);
    return NULL;
}

/* -- the listener ---------------------------------------------------------- */

/* A place that is free, its last thread joined; NULL if there is none. */
static struct client *free_place(struct control *control)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *c = &control->clients[i];
        bool running;

        pthread_mutex_lock(&control->mutex);
        running = c->running;
        pthread_mutex_unlock(&control->mutex);
        if (running)
            continue;
        if (!c->joined)
            pthread_join(c->thread, NULL);
        c->joined = true;
        return c;
    }
    return NULL;
}

static void accept_client(struct control *control)
{
    struct timeval idle = {.tv_sec = CONTROL_IDLE_S};
    struct timeval slow = {.tv_sec = CONTROL_SEND_S};
    int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    struct client *c;

    if (fd < 0) {
        poll(NULL, 0, ACCEPT_PAUSE_MS);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &slow, sizeof slow);
    c = free_place(control);
    if (c) {
        c->fd = fd;
        c->running = true;
        if (!pthread_create(&c->thread, NULL, client_main, c)) {
            c->joined = false;
            return;
        }
        c->running = false;
    }
    send_line(fd, answer_error(E_BUSY, "too many clients on the control "
                                       "socket: try again later"));
    close(fd);
}

static void *acceptor_main(void *arg)
{
    struct control *control = arg;
    struct pollfd fds[] = {
        {.fd = control->listen_fd, .events = POLLIN},
        {.fd = control->stop_fd,   .events = POLLIN},
    };

    for (;;) {
        if (poll(fds, ARRAY_LEN(fds), -1) < 0)
            continue;
        if (fds[1].revents)
            return NULL;
        if (fds[0].revents)
            accept_client(control);
    }
}

/* True if somebody answers on the socket file. */
static bool socket_answers(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers;

    if (fd < 0)
        return true;
    answers = !connect(fd, (const struct sockaddr *)address, sizeof *address);
    close(fd);
    return answers;
}

static enum err listen_on(struct control *control, struct diag *why)
{
    const struct sockaddr_un *address = &control->address;
    const char *path = address->sun_path;
    mode_t mask;
    int failed;

    if (socket_answers(address))
        return diag_fail(why, E_BUSY,
                         "%s: another lunard answers there: stop it, or "
                         "configure another control socket",
                         path);
    unlink(path);
    control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (control->listen_fd < 0)
        return diag_fail(why, E_IO, "%s: %s", path, strerror(errno));
    mask = umask(0177);
    failed = bind(control->listen_fd, (const struct sockaddr *)address,
                  sizeof *address);
    umask(mask);
    if (failed || listen(control->listen_fd, CONTROL_CLIENTS_MAX))
        return diag_fail(why, err_from_errno(errno),
                         "%s: cannot listen: %s: does the directory exist?",
                         path, strerror(errno));
    return E_OK;
}

static void control_free(struct control *control)
{
    if (control->listen_fd >= 0)
        close(control->listen_fd);
    if (control->stop_fd >= 0)
        close(control->stop_fd);
    pthread_mutex_destroy(&control->mutex);
    free(control);
}

enum err control_start(const struct control_args *args,
                       struct control **ret_control, struct diag *why)
{
    struct control *control;
    enum err e;

    if (strlen(args->path) >= sizeof control->address.sun_path)
        return diag_fail(why, E_NAME_TOO_LONG,
                         "%s: too long for a socket (%zu bytes at most)",
                         args->path, sizeof control->address.sun_path - 1);
    control = calloc(1, sizeof *control);
    if (!control)
        return diag_fail(why, E_NOMEM, "%s: out of memory", args->path);
    control->args = *args;
    control->address.sun_family = AF_UNIX;
    snprintf(control->address.sun_path, sizeof control->address.sun_path, "%s",
             args->path);
    control->listen_fd = -1;
    control->stop_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&control->mutex, NULL);
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        control->clients[i] = (struct client){control, .joined = true};
    e = control->stop_fd < 0 ? diag_fail(why, E_IO, "no eventfd is left")
                             : listen_on(control, why);
    if (!e && pthread_create(&control->acceptor, NULL, acceptor_main, control))
        e = diag_fail(why, E_AGAIN, "cannot start a thread");
    if (e) {
        control_free(control);
        return e;
    }
    *ret_control = control;
    return E_OK;
}

void control_stop(struct control *control)
{
    if (!control)
        return;
    atomic_store(&control->stopping, true);
    ASSERT(!eventfd_write(control->stop_fd, 1)); /* it was 0: has room */
    pthread_join(control->acceptor, NULL);
    unlink(control->address.sun_path);
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *c = &control->clients[i];

        pthread_mutex_lock(&control->mutex);
        if (c->running)
            shutdown(c->fd, SHUT_RD);
        pthread_mutex_unlock(&control->mutex);
        if (!c->joined)
            pthread_join(c->thread, NULL);
    }
    control_free(control);
}
