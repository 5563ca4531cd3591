/* tests/unit/lunard/test_control.c - the control socket: frame and shape of
 * requests, several clients, hostile ones.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/control.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* -- a table to answer with ------------------------------------------------ */

static enum err run_echo(struct control_call *call)
{
    call->result =
        json_pack("{s:s, s:I, s:b}", "text", control_text(call, "text"),
                  "number", (json_int_t)control_number(call, "number", 7),
                  "flag", control_flag(call, "flag"));
    return E_OK;
}

static enum err run_fail(struct control_call *call)
{
    return diag_fail(&call->why, E_HANDLE_HELD, "held by somebody");
}

static enum err run_silent(struct control_call *call)
{
    (void)call;
    return E_IO;
}

static enum err run_slow(struct control_call *call)
{
    control_progress(call, 50, "half way");
    return E_OK;
}

static const struct control_command commands[] = {
    {"echo",
     run_echo,             {{"text", CONTROL_TEXT, true},
      {"number", CONTROL_NUMBER, false},
      {"flag", CONTROL_FLAG, false}}},
    {"fail",   run_fail,   {{.name = NULL}}       },
    {"silent", run_silent, {{.name = NULL}}       },
    {"slow",   run_slow,   {{.name = NULL}}       },
    {NULL,     NULL,       {{.name = NULL}}       },
};
static const struct control_args args = {.commands = commands};

/* The answer to a line as text; the caller frees it. */
static char *answer(const char *line)
{
    json_t *object = control_answer(&args, -1, line, strlen(line));
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);

    json_decref(object);
    return text;
}

static void check_answer(const char *line, const char *part)
{
    char *text = answer(line);

    CHECK_CONTAINS(text, part);
    free(text);
}

/* -- requests -------------------------------------------------------------- */

static void a_command_gets_its_arguments_and_its_result_comes_back(void)
{
    check_answer("{\"do\": \"echo\", \"args\": {\"text\": \"x\"}}",
                 "{\"ok\":true,\"result\":{\"flag\":false,\"number\":7,"
                 "\"text\":\"x\"}}");
    check_answer("{\"do\": \"echo\", \"args\": {\"text\": \"x\", \"number\": "
                 "9, \"flag\": true}}",
                 "{\"flag\":true,\"number\":9,\"text\":\"x\"}");
}

static void a_failure_has_its_code_and_its_reason(void)
{
    check_answer("{\"do\": \"fail\"}",
                 "{\"error\":\"E_HANDLE_HELD\",\"ok\":false,\"reason\":"
                 "\"held by somebody\"}");
    check_answer("{\"do\": \"silent\"}", "input/output error");
}

static void what_is_not_in_the_table_is_refused_by_name(void)
{
    check_answer("{\"do\": \"dance\"}", "no command \\\"dance\\\" is known");
    check_answer("{\"do\": \"fail\", \"args\": {\"x\": 1}}",
                 "fail has no argument \\\"x\\\"");
    check_answer("{\"do\": \"fail\", \"also\": 1}",
                 "a request has no member \\\"also\\\"");
    check_answer("{\"do\": \"echo\"}", "echo: text is missing");
}

static void an_argument_of_another_type_is_refused(void)
{
    check_answer("{\"do\": \"echo\", \"args\": {\"text\": 5}}",
                 "echo: text must be a string");
    check_answer("{\"do\": \"echo\", \"args\": {\"text\": \"a\\u0000b\"}}",
                 "E_INVAL");
    check_answer(
        "{\"do\": \"echo\", \"args\": {\"text\": \"\", \"number\": -1}}",
        "echo: number must be a number from 0");
    check_answer("{\"do\": \"echo\", \"args\": {\"text\": \"\", \"flag\": 1}}",
                 "echo: flag must be true or false");
    check_answer("{\"do\": \"echo\", \"args\": []}", "args must be an object");
}

static void what_is_no_request_is_refused(void)
{
    check_answer("", "not JSON");
    check_answer("hello", "not JSON");
    check_answer("[]", "a request is");
    check_answer("{}", "a request is");
    check_answer("{\"do\": 5}", "a request is");
    check_answer("{\"do\": \"a\", \"do\": \"b\"}", "not JSON");
}

/* -- connections ----------------------------------------------------------- */

struct server {
    struct world world;
    char path[WORLD_PATH_BYTES];
    struct control *control;
};

static void server_start(struct server *s)
{
    struct control_args server_args = args;
    struct diag why;

    world_init(&s->world);
    snprintf(s->path, sizeof s->path, "%.200s/c.sock", s->world.dir);
    server_args.path = s->path;
    CHECK_OK_FATAL(control_start(&server_args, &s->control, &why));
}

static void server_stop(struct server *s)
{
    control_stop(s->control);
    world_fini(&s->world);
}

static int client_connect(const struct server *s)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%.100s", s->path);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (const struct sockaddr *)&to, sizeof to),
                          0);
    return fd;
}

static void client_send(int fd, const char *text)
{
    CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Read until `lines` lines are there or the far end hung up. */
static const char *client_read(int fd, unsigned lines)
{
    static char text[1 << 17];
    size_t len = 0;

    while (lines && len + 1 < sizeof text) {
        ssize_t n = recv(fd, text + len, 1, 0);

        if (n <= 0)
            break;
        lines -= text[len++] == '\n';
    }
    text[len] = '\0';
    return text;
}

static void lines_of_one_connection_are_answered_in_order(void)
{
    struct server s;
    int fd;

    server_start(&s);
    fd = client_connect(&s);
    client_send(fd, "{\"do\": \"fail\"}\n{\"do\": \"slow\"}\n"
                    "{\"do\": \"slow\", \"progress\": true}\n{\"do\":");
    CHECK_CONTAINS(client_read(fd, 1), "E_HANDLE_HELD");
    CHECK_CONTAINS(client_read(fd, 1), "\"ok\":true");
    CHECK_CONTAINS(client_read(fd, 1), "half way");
    CHECK_CONTAINS(client_read(fd, 1), "\"ok\":true");
    client_send(fd, " \"silent\"}\n");
    CHECK_CONTAINS(client_read(fd, 1), "E_IO");
    close(fd);
    server_stop(&s);
}

static void a_line_without_end_is_refused_and_hung_up(void)
{
    static char junk[CONTROL_LINE_BYTES + 1];
    struct server s;
    int fd;

    memset(junk, 'x', sizeof junk - 1);
    server_start(&s);
    fd = client_connect(&s);
    client_send(fd, junk);
    CHECK_CONTAINS(client_read(fd, 1), "longer than 64 KiB");
    CHECK_STR(client_read(fd, 1), "");
    close(fd);
    server_stop(&s);
}

/* The server sees on its own time that others have left: ask until it has. */
static bool client_gets_in(const struct server *s)
{
    const char *request = "{\"do\": \"fail\"}\n";
    bool in = false;

    for (unsigned tries = 0; !in && tries < 10000; tries++) {
        int fd = client_connect(s);

        in = send(fd, request, strlen(request), MSG_NOSIGNAL) > 0 &&
             strstr(client_read(fd, 1), "E_HANDLE_HELD");
        close(fd);
    }
    return in;
}

static void a_client_too_many_is_told_so_and_its_place_is_free_again(void)
{
    struct server s;
    int fds[CONTROL_CLIENTS_MAX], fd;

    server_start(&s);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client_connect(&s);
        client_send(fds[i], "{\"do\": \"fail\"}\n");
        CHECK_CONTAINS(client_read(fds[i], 1), "E_HANDLE_HELD");
    }
    fd = client_connect(&s);
    CHECK_CONTAINS(client_read(fd, 1), "too many clients");
    close(fd);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    CU_ASSERT_TRUE(client_gets_in(&s));
    server_stop(&s);
}

static void a_second_server_on_a_socket_is_refused_but_a_dead_one_replaced(void)
{
    struct server s;
    struct control_args second_args = args;
    struct control *second;
    struct diag why;
    struct stat st;

    server_start(&s);
    second_args.path = s.path;
    CHECK_ERR(control_start(&second_args, &second, &why), E_BUSY);
    CHECK_CONTAINS(why.text, "another lunard answers there");
    control_stop(s.control);
    CU_ASSERT_EQUAL(stat(s.path, &st), -1);
    /* what a kill -9 leaves: a socket file, and nobody behind it */
    {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        snprintf(at.sun_path, sizeof at.sun_path, "%.100s", s.path);
        CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
        close(fd);
    }
    CHECK_OK(control_start(&second_args, &s.control, &why));
    CU_ASSERT_EQUAL(stat(s.path, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    server_stop(&s);
}

static void stopping_ends_clients_that_say_nothing(void)
{
    struct server s;
    int fd;

    server_start(&s);
    fd = client_connect(&s);
    client_send(fd, "{\"do\": \"fail\"}\n");
    client_read(fd, 1);
    server_stop(&s);
    CHECK_STR(client_read(fd, 1), "");
    close(fd);
}

static const struct test tests[] = {
    TEST(a_command_gets_its_arguments_and_its_result_comes_back),
    TEST(a_failure_has_its_code_and_its_reason),
    TEST(what_is_not_in_the_table_is_refused_by_name),
    TEST(an_argument_of_another_type_is_refused),
    TEST(what_is_no_request_is_refused),
    TEST(lines_of_one_connection_are_answered_in_order),
    TEST(a_line_without_end_is_refused_and_hung_up),
    TEST(a_client_too_many_is_told_so_and_its_place_is_free_again),
    TEST(a_second_server_on_a_socket_is_refused_but_a_dead_one_replaced),
    TEST(stopping_ends_clients_that_say_nothing),
};
TEST_SUITE("lunard/control", tests);
