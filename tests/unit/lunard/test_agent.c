/* tests/unit/lunard/test_agent.c - fence agents: what they are told, and what
 * their end means.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/agent.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- input ----------------------------------------------------------------- */

static struct config config;
static struct diag why;

static void check_input(uint32_t node, const char *host, const char *expected)
{
    AUTO(buf_fini) struct buf b = {0};

    CHECK_OK(agent_input(&config, node, host, &b, &why));
    CHECK_STR(buf_text(&b), expected);
}

static void a_node_has_the_common_options_and_its_own_over_them(void)
{
    CHECK_OK(config_parse("f.conf",
                          "[cluster]\nfence_agent = /bin/sh\n"
                          "[fence]\nlogin = admin\nipport = 623\n"
                          "[fence h2]\nip = 10.0.0.2\nlogin = two\n"
                          "[fence 3]\nport = socket-3\n",
                          &config, &why));
    check_input(1, "h1", "action=off\nlogin=admin\nipport=623\nplug=h1\n");
    check_input(2, "h2",
                "action=off\nipport=623\nip=10.0.0.2\nlogin=two\nplug=h2\n");
    check_input(3, "h3",
                "action=off\nlogin=admin\nipport=623\nport=socket-3\n");
    check_input(3, "", "action=off\nlogin=admin\nipport=623\nport=socket-3\n");
}

static void who_has_no_name_and_no_plug_is_not_shot_at(void)
{
    AUTO(buf_fini) struct buf b = {0};

    CHECK_OK(config_parse("f.conf", "[cluster]\nfence_agent = /bin/sh\n",
                          &config, &why));
    CHECK_ERR(agent_input(&config, 4, "", &b, &why), E_CONFIG);
    CHECK_CONTAINS(why.text, "[fence 4]");
}

/* -- the process ----------------------------------------------------------- */

static struct world w;
static char program[WORLD_PATH_BYTES + 16], heard[WORLD_PATH_BYTES + 16];

static void write_agent(const char *script)
{
    FILE *file;

    snprintf(program, sizeof program, "%s/agent", w.dir);
    snprintf(heard, sizeof heard, "%s/heard", w.dir);
    file = fopen(program, "w");
    ASSERT(file);
    fprintf(file, "#!/bin/sh\nheard=%s\n%s\n", heard, script);
    fclose(file);
    chmod(program, 0700);
}

static enum err run(const char *script, unsigned limit_ms, atomic_bool *stop)
{
    const struct agent_args args = {.program = program,
                                    .input = "action=off\nplug=h2\n",
                                    .label = "node 2",
                                    .limit_ms = limit_ms,
                                    .stop = stop};

    write_agent(script);
    memset(&why, 0, sizeof why);
    return agent_run(&args, &why);
}

static void only_the_exit_status_0_means_off(void)
{
    char text[64] = "";
    FILE *file;

    world_init(&w);
    CHECK_OK(run("cat >$heard; echo it is off", 20000, NULL));
    file = fopen(heard, "r");
    ASSERT(file && fread(text, 1, sizeof text - 1, file));
    fclose(file);
    CHECK_STR(text, "action=off\nplug=h2\n");
    CHECK_ERR(run("exit 3", 20000, NULL), E_IO);
    CHECK_CONTAINS(why.text, "exit status 3");
    CHECK_ERR(run("kill -9 $$", 20000, NULL), E_IO);
    CHECK_CONTAINS(why.text, "signal 9");
    unlink(program);
    CHECK_ERR(agent_run(&(struct agent_args){.program = program,
                                             .input = "",
                                             .label = "",
                                             .limit_ms = 20000},
                        &why),
              E_NOENT);
    world_fini(&w);
}

static void one_that_hangs_is_killed_with_its_children(void)
{
    atomic_bool stop = true;

    world_init(&w);
    CHECK_ERR(run("sleep 1000 & sleep 1000", 300, NULL), E_TIMEOUT);
    CHECK_ERR(run("exec sleep 1000", 200000, &stop), E_CANCELED);
    world_fini(&w);
}

static void one_that_leaves_a_child_behind_has_ended_all_the_same(void)
{
    world_init(&w);
    CHECK_OK(run("sleep 3 & exit 0", 200000, NULL));
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(a_node_has_the_common_options_and_its_own_over_them),
    TEST(who_has_no_name_and_no_plug_is_not_shot_at),
    TEST(only_the_exit_status_0_means_off),
    TEST(one_that_hangs_is_killed_with_its_children),
    TEST(one_that_leaves_a_child_behind_has_ended_all_the_same),
};
TEST_SUITE("lunard/agent", tests);
