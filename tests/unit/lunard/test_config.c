/* tests/unit/lunard/test_config.c - lunar.conf: what is taken, what refused.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/config.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

static struct config config;
static struct diag why;

static enum err parse(const char *text)
{
    memset(&why, 0, sizeof why);
    return config_parse("f.conf", text, &config, &why);
}

static void an_empty_file_gives_the_defaults(void)
{
    CHECK_OK(parse(""));
    CHECK_STR(config.root, "/ClusterStorage");
    CHECK_STR(config.control, "/run/lunar/control.sock");
    CHECK_STR(config.state, "/var/lib/lunar");
    CHECK_EQ(config.reactors, 0);
    CHECK_EQ(config.lock_memory, true);
    CHECK_STR(config.cluster_name, "lunar");
    CHECK_EQ(config.corosync, false);
    CHECK_STR(config.listen, "");
    CHECK_STR(config.key, "/etc/lunar/cluster.key");
    CU_ASSERT_TRUE(strlen(config.host_name) > 0);
}

static void every_key_is_taken(void)
{
    CHECK_OK(parse("; a comment\n"
                   "[host]\n"
                   "name = h1 ; and another\n"
                   "root = /mnt/lunar\n"
                   "control = /run/x.sock\n"
                   "state = /srv/state\n"
                   "run = /run/lunar2\n"
                   "socket_group = kvm\n"
                   "reactors = 3\n"
                   "poll = off\n"
                   "lock_memory = no\n"
                   "[cluster]\n"
                   "name = demo\n"
                   "membership = corosync\n"
                   "listen = 10.77.0.1:5678\n"
                   "key = /srv/cluster.key\n"));
    CHECK_STR(config.host_name, "h1");
    CHECK_STR(config.root, "/mnt/lunar");
    CHECK_STR(config.control, "/run/x.sock");
    CHECK_STR(config.state, "/srv/state");
    CHECK_STR(config.run, "/run/lunar2");
    CHECK_STR(config.socket_group, "kvm");
    CHECK_EQ(config.reactors, 3);
    CHECK_EQ(config.spin_us, 0);
    CHECK_EQ(config.lock_memory, false);
    CHECK_STR(config.cluster_name, "demo");
    CHECK_EQ(config.corosync, true);
    CHECK_STR(config.listen, "10.77.0.1:5678");
    CHECK_STR(config.key, "/srv/cluster.key");
}

static void an_address_to_listen_at_has_one_spelling(void)
{
    CHECK_OK(parse("[cluster]\nlisten = [fd00:0::01]:05678\n"));
    CHECK_STR(config.listen, "[fd00::1]:5678");
    CHECK_OK(parse("[cluster]\nlisten = "
                   "[1111:2222:3333:4444:5555:6666:7777:8888]:65535\n"));
    CHECK_STR(config.listen, "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
}

static void options_of_a_fence_agent_are_taken_as_they_are(void)
{
    CHECK_OK(parse("[cluster]\nfence_agent = /bin/sh\n"
                   "[fence]\nlogin = admin\npower_wait=3\n"
                   "[fence h2]\nip = 10.0.0.2\n"
                   "[fence 3]\nip = 10.0.0.3\nlogin = root=1\n"));
    CHECK_STR(config.fence_agent, "/bin/sh");
    CHECK_EQ(config.fence_count, 5);
    CHECK_STR(config.fence[0].node, "");
    CHECK_STR(config.fence[0].name, "login");
    CHECK_STR(config.fence[2].node, "h2");
    CHECK_STR(config.fence[2].value, "10.0.0.2");
    CHECK_STR(config.fence[4].node, "3");
    CHECK_STR(config.fence[4].value, "root=1");
}

/* Each of these is refused, with these words. */
static const struct refused {
    const char *text, *reason;
} refused[] = {
    {"[host]\nnmae = x\n",                  "f.conf:2: no key \"nmae\""     },
    {"[hosts]\nname = x\n",                 "f.conf:2: no section [hosts]"  },
    {"\n\n[host]\nname =\n",                "f.conf:4: name = : must not be"},
    {"[host]\nname = a/b\n",                "letters, digits"               },
    {"[host]\nname = ..\n",                 "letters, digits"               },
    {"[host]\nroot = mnt\n",                "must be an absolute path"      },
    {"[host]\nroot = /mnt/\n",              "must not end in a slash"       },
    {"[host]\nreactors = 0\n",              "auto or a number from 1 to 64" },
    {"[host]\nreactors = 65\n",             "auto or a number from 1 to 64" },
    {"[host]\nreactors = 2x\n",             "auto or a number from 1 to 64" },
    {"[host]\nreactors = -1\n",             "auto or a number from 1 to 64" },
    {"[host]\npoll = on\n",                 "must be auto or off"           },
    {"[host]\nlock_memory = true\n",        "must be yes or no"             },
    {"[cluster]\nmembership = pacemaker\n", "solo or corosync"              },
    {"[cluster]\nmembership = corosync\n",
     "f.conf: membership = corosync needs listen = ADDRESS:PORT"            },
    {"[cluster]\nlisten = 10.77.0.1\n",     "no port; write it as"          },
    {"[cluster]\nlisten = h1:5678\n",       "names are not looked up"       },
    {"[cluster]\nlisten = 10.77.0.1:0\n",   "a port from 1 to 65535"        },
    {"[cluster]\nlisten = [fd00::1]:0\n",   "a port from 1 to 65535"        },
    {"[cluster]\nlisten = 0.0.0.0:5678\n",  "one address of this host"      },
    {"[cluster]\nlisten = [::]:5678\n",     "one address of this host"      },
    {"[cluster]\nlisten =\n",               "no port"                       },
    {"[cluster]\nkey = cluster.key\n",      "must be an absolute path"      },
    {"[host]\nthis is no key\n",            "f.conf:2: not a [section]"     },
    {"name = x\n",                          "f.conf:1: \"name\" stands in"  },
    {"[host]\nname = a\nname = b\n",        "f.conf:3: name is given twice" },
    {"[host]\nroot = /\n",                  "must not be the root of all"   },
    {"[host]\nroot = /a//b\n",              "without //, . and .."          },
    {"[host]\nroot = /a/../b\n",            "without //, . and .."          },
    {"[host]\nstate = /a/.\n",              "without //, . and .."          },
    {"[host]\nroot = /a # b\n",             "begins with ;"                 },
    {"[host\n",                             "f.conf:1: not a [section]"     },
};

static const struct refused refused_fences[] = {
    {"[cluster]\nfence_agent = fence\n",
     "f.conf:2: fence_agent = fence: must be an absolute path"                                    },
    {"[cluster]\nfence_agent = /none/x\n",
     "f.conf:2: fence_agent = /none/x: No such file"                                              },
    {"[cluster]\nfence_agent = /etc\n",                                  "is no program"          },
    {"[cluster]\nfence_agent = /etc/group\n",                            "is no program"          },
    {"[fence h2]\nip = 10.0.0.2\n",                                      "needs fence_agent ="    },
    {"[fence]\nport = 2\n",                                              "below [fence NODE]"     },
    {"[fence]\naction = on\n",
     "f.conf:2: action in [fence]: is said by Lunar: off"                                         },
    {"[fence h2]\nip = 1\nip = 2\n",
     "f.conf:3: ip in [fence h2]: is given twice"                                                 },
    {"[fence h2]\nip =\n",                                               "must not be empty"      },
    {"[fence h/2]\nip = 1\n",                                            "in no section of a node"},
    {"[fence h2]\ni p = 1\n",                                            "is no name of an option"},
    {"[fences]\nip = 1\n",                                               "no section [fences]"    },
    {"[fence a234567890123456789012345678901234567890123456]\nip = 1\n",
     "use the node's number"                                                                      },
    {"[host]\nroot = /bin\n[cluster]\nfence_agent = /bin/sh\n",
     "fence_agent is below /bin"                                                                  },
};

static void what_is_not_known_is_refused_with_line_and_cure(void)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        CHECK_ERR(parse(refused[i].text), E_CONFIG);
        CHECK_CONTAINS(why.text, refused[i].reason);
    }
    for (size_t i = 0; i < ARRAY_LEN(refused_fences); i++) {
        CHECK_ERR(parse(refused_fences[i].text), E_CONFIG);
        CHECK_CONTAINS(why.text, refused_fences[i].reason);
    }
}

static void the_first_error_is_the_one_that_is_told(void)
{
    CHECK_ERR(parse("[host]\nreactors = x\nnmae = y\n"), E_CONFIG);
    CHECK_CONTAINS(why.text, "f.conf:2: reactors = x");
}

static void a_value_that_is_too_long_is_refused(void)
{
    char text[1024];

    snprintf(text, sizeof text, "[host]\nroot = /%0*d\n", 300, 0);
    CHECK_ERR(parse(text), E_CONFIG);
    CHECK_CONTAINS(why.text, "f.conf:2: is longer than 198 bytes");
    snprintf(text, sizeof text, "; %0*d name = x\n", 200, 0);
    CHECK_ERR(parse(text), E_CONFIG);
    snprintf(text, sizeof text, "[host]\ncontrol = /%0*d\n", 110, 0);
    CHECK_ERR(parse(text), E_CONFIG);
    CHECK_CONTAINS(why.text, "too long for a socket");
    snprintf(text, sizeof text, "[host]\nroot = /%0*d\n", 190, 0);
    CHECK_OK(parse(text));
    snprintf(text, sizeof text, "[host]\r\nroot = /.a/%0*d\r\n", 186, 0);
    CHECK_OK(parse(text));
    CHECK_EQ(strlen(config.root), 190);
}

static void a_refused_file_leaves_the_config_alone(void)
{
    CHECK_OK(parse("[host]\nname = before\n"));
    CHECK_ERR(parse("[host]\nname = after\nx = y\n"), E_CONFIG);
    CHECK_STR(config.host_name, "before");
}

static void a_missing_file_and_a_binary_one_are_told_apart(void)
{
    CHECK_ERR(config_load("/nonexistent/lunar.conf", &config, &why), E_NOENT);
    CHECK_CONTAINS(why.text, "/nonexistent/lunar.conf: ");
    CHECK_ERR(config_load("/proc/self/exe", &config, &why), E_CONFIG);
    CHECK_CONTAINS(why.text, "not a text file");
}

static const struct test tests[] = {
    TEST(an_empty_file_gives_the_defaults),
    TEST(every_key_is_taken),
    TEST(an_address_to_listen_at_has_one_spelling),
    TEST(options_of_a_fence_agent_are_taken_as_they_are),
    TEST(what_is_not_known_is_refused_with_line_and_cure),
    TEST(the_first_error_is_the_one_that_is_told),
    TEST(a_value_that_is_too_long_is_refused),
    TEST(a_refused_file_leaves_the_config_alone),
    TEST(a_missing_file_and_a_binary_one_are_told_apart),
};
TEST_SUITE("lunard/config", tests);
