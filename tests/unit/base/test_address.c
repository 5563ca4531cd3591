/* tests/unit/base/test_address.c - addresses with ports, and what was said of
 * them (transport_say.h).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/address.h"
#include "base/clock.h"
#include "base/transport_say.h"
#include "tests/lib/test.h"

#include <stdio.h>

static struct address address(const char *text)
{
    struct address a = {.bytes = 0};

    CHECK_OK_FATAL(address_parse(text, &a, NULL));
    return a;
}

static void addresses_come_back_as_text(void)
{
    static const char *const texts[] = {"10.77.0.1:5678", "127.0.0.1:0",
                                        "[fd00::1]:65535", "[::]:1"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const struct address a = address(texts[i]);
        char text[ADDRESS_TEXT_BYTES];

        address_to_text(&a, text);
        CHECK_STR(text, texts[i]);
    }
}

static void what_is_no_address_is_refused_with_the_cure(void)
{
    static const struct {
        const char *text, *said;
    } rows[] = {
        {"10.0.0.1",                                                 "no port; write it as 10.77.0.1:5678"},
        {"10.0.0.1:",                                                "no port"                            },
        {"10.0.0.1:65536",                                           "no port"                            },
        {"10.0.0.1:+1",                                              "no port"                            },
        {"10.0.0.1:0000001",                                         "no port"                            },
        {"10.0.0.1:5678x",                                           "no port"                            },
        {"h1:5678",                                                  "names are not looked up"            },
        {"fd00::1:5678",                                             "not the numbers"                    },
        {"[10.0.0.1]:5678",                                          "not the numbers"                    },
        {"[]:1",                                                     "not the numbers"                    },
        {"[:1",                                                      "not the numbers"                    },
        {":1",                                                       "not the numbers"                    },
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:1",
         "not the numbers"                                                                                },
        {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255x]:1",
         "not the numbers"                                                                                },
    };
    struct address a;
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_ERR(address_parse(rows[i].text, &a, &why), E_CONFIG);
        CHECK_CONTAINS(why.text, rows[i].said);
    }
}

static void hosts_are_compared_without_their_ports(void)
{
    const struct address a = address("10.0.0.1:1"), b = address("10.0.0.1:2"),
                         c = address("10.0.0.2:1"), d = address("[fd00::1]:1"),
                         e = address("[fd00::1]:2");

    CU_ASSERT(address_same_host(&a, &b) && !address_same(&a, &b));
    CU_ASSERT(address_same_host(&d, &e) && !address_same(&d, &e));
    CU_ASSERT(address_same(&a, &a) && address_same(&d, &d));
    CU_ASSERT(!address_same_host(&a, &c) && !address_same_host(&a, &d));
}

static void what_was_said_of_a_peer_is_not_said_again_for_ten_minutes(void)
{
    static struct said s;
    const uint64_t later = SAID_AGAIN_MS * NS_PER_MS;
    const struct address a = address("10.0.0.1:1"), b = address("10.0.0.1:2"),
                         c = address("10.0.0.2:1");

    CU_ASSERT(said_first(&s, 1, &a, 1000));
    CU_ASSERT(!said_first(&s, 1, &b, 1000 + later - 1));
    CU_ASSERT(said_first(&s, 2, &a, 1000)); /* another trouble */
    CU_ASSERT(said_first(&s, 1, &c, 1000)); /* another peer */
    CU_ASSERT(said_first(&s, 1, &b, 1000 + later));
    CU_ASSERT(!said_first(&s, 1, &b, 1000 + later + 1));
    said_forget(&s, &a);
    CU_ASSERT(said_first(&s, 1, &a, 1000 + later + 1));
    CU_ASSERT(!said_first(&s, 1, &c, 1001));
}

static void of_too_many_peers_the_oldest_is_forgotten(void)
{
    static struct said s;
    char text[32];

    for (unsigned i = 0; i <= SAID_MAX; i++) {
        snprintf(text, sizeof text, "10.0.0.%u:1", i);
        const struct address a = address(text);

        CU_ASSERT(said_first(&s, 1, &a, 1000 + i));
    }
    const struct address second = address("10.0.0.1:1");
    const struct address first = address("10.0.0.0:1");

    CU_ASSERT(!said_first(&s, 1, &second, 2000));
    CU_ASSERT(said_first(&s, 1, &first, 2000));
}

static const struct test tests[] = {
    TEST(addresses_come_back_as_text),
    TEST(what_is_no_address_is_refused_with_the_cure),
    TEST(hosts_are_compared_without_their_ports),
    TEST(what_was_said_of_a_peer_is_not_said_again_for_ten_minutes),
    TEST(of_too_many_peers_the_oldest_is_forgotten),
};
TEST_SUITE("base/address", tests);
