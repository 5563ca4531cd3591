/* tests/unit/base/test_keep.c - descriptors survive the daemon that used them.
 * Both ends in one process; the wire between them is a real socket pair.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/keep_wire.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct ends {
    struct keep_shelf *shelf;
    int holder_fd;
    struct keep *keep;
};

/* The holder tells first, so that both ends fit into one thread. */
static void ends_connect(struct ends *e)
{
    int pair[2];

    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    e->holder_fd = pair[0];
    CHECK_OK_FATAL(keep_shelf_tell(e->shelf, pair[0]));
    CHECK_OK_FATAL(keep_connect(pair[1], &e->keep));
}

static void ends_init(struct ends *e)
{
    CHECK_OK_FATAL(keep_shelf_new(&e->shelf));
    ends_connect(e);
}

/* The daemon dies: its end closes, the shelf stays. */
static void daemon_dies(struct ends *e)
{
    keep_free(e->keep);
    CHECK_ERR(keep_shelf_receive(e->shelf, e->holder_fd), E_CLOSED);
    close(e->holder_fd);
}

static void ends_fini(struct ends *e)
{
    daemon_dies(e);
    keep_shelf_free(e->shelf);
}

static int memory_with(const char *text)
{
    int fd = memfd_create("kept", MFD_CLOEXEC);

    CU_ASSERT_FATAL(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void check_memory(int fd, const char *text)
{
    char found[64] = "";

    CHECK_EQ(pread(fd, found, sizeof found - 1, 0), strlen(text));
    CHECK_STR(found, text);
}

static void next_daemon_gets_what_was_kept(void)
{
    struct ends e;
    int fds[KEEP_FDS_MAX], put[2];

    ends_init(&e);
    put[0] = memory_with("one");
    put[1] = memory_with("two");
    CHECK_OK(keep_put(e.keep, "vhost/vm/0", put, 2));
    CHECK_OK(keep_shelf_receive(e.shelf, e.holder_fd));
    keep_close_all(put, 2);

    daemon_dies(&e);
    ends_connect(&e);
    CHECK_STR(keep_name(e.keep, 0), "vhost/vm/0");
    CU_ASSERT_PTR_NULL(keep_name(e.keep, 1));
    CHECK_EQ(keep_take(e.keep, "vhost/vm/0", fds), 2);
    check_memory(fds[0], "one");
    check_memory(fds[1], "two");
    CHECK_EQ(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    keep_close_all(fds, 2);
    CHECK_EQ(keep_take(e.keep, "vhost/vm/0", fds), 0);

    /* taken is not dropped: a second crash finds it again */
    daemon_dies(&e);
    ends_connect(&e);
    CHECK_EQ(keep_take(e.keep, "vhost/vm/0", fds), 2);
    keep_close_all(fds, 2);
    ends_fini(&e);
}

static void put_again_replaces(void)
{
    struct ends e;
    int fds[KEEP_FDS_MAX], old, new;

    ends_init(&e);
    old = memory_with("old");
    new = memory_with("new");
    CHECK_OK(keep_put(e.keep, "fuse", &old, 1));
    CHECK_OK(keep_put(e.keep, "fuse", &new, 1));
    CHECK_OK(keep_shelf_receive(e.shelf, e.holder_fd));
    CHECK_OK(keep_shelf_receive(e.shelf, e.holder_fd));
    CHECK_EQ(keep_shelf_count(e.shelf), 1);
    close(old);
    close(new);

    daemon_dies(&e);
    ends_connect(&e);
    CHECK_EQ(keep_take(e.keep, "fuse", fds), 1);
    check_memory(fds[0], "new");
    close(fds[0]);
    ends_fini(&e);
}

static void dropped_is_gone_and_dropping_twice_is_fine(void)
{
    struct ends e;
    int fd;

    ends_init(&e);
    fd = memory_with("x");
    CHECK_OK(keep_put(e.keep, "fuse", &fd, 1));
    CHECK_OK(keep_drop(e.keep, "fuse"));
    CHECK_OK(keep_drop(e.keep, "fuse"));
    for (int i = 0; i < 3; i++)
        CHECK_OK(keep_shelf_receive(e.shelf, e.holder_fd));
    CHECK_EQ(keep_shelf_count(e.shelf), 0);
    close(fd);
    ends_fini(&e);
}

static void bad_names_and_counts_are_refused_at_the_door(void)
{
    struct ends e;
    char name[KEEP_NAME_BYTES + 1];
    int fds[KEEP_FDS_MAX + 1] = {0};

    ends_init(&e);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CHECK_ERR(keep_put(e.keep, name, fds, 1), E_INVAL);
    CHECK_ERR(keep_put(e.keep, "", fds, 1), E_INVAL);
    CHECK_ERR(keep_put(e.keep, "n", fds, 0), E_INVAL);
    CHECK_ERR(keep_put(e.keep, "n", fds, KEEP_FDS_MAX + 1), E_INVAL);
    ends_fini(&e);
}

static void garbage_from_the_daemon_changes_nothing(void)
{
    static const struct keep_msg bad[] = {
        {99,        0, "x"}, /* no such verb */
        {KEEP_PUT,  0, "x"}, /* no descriptor */
        {KEEP_DROP, 0, "" }, /* no name */
        {KEEP_PUT,  1, "x"}, /* none came with it */
    };
    struct ends e;
    int fd;

    ends_init(&e);
    fd = memory_with("x");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct keep_msg raw = bad[i];
        int pair[2];

        CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
        CHECK_EQ(send(pair[1], &raw, sizeof raw, 0), sizeof raw);
        CHECK_ERR(keep_shelf_receive(e.shelf, pair[0]), E_PROTOCOL);
        CHECK_EQ(send(pair[1], &raw, sizeof raw / 2, 0), sizeof raw / 2);
        CHECK_ERR(keep_shelf_receive(e.shelf, pair[0]), E_PROTOCOL);
        keep_close_all(pair, 2);
    }
    CHECK_EQ(keep_shelf_count(e.shelf), 0);
    close(fd);
    ends_fini(&e);
}

static const struct test tests[] = {
    TEST(next_daemon_gets_what_was_kept),
    TEST(put_again_replaces),
    TEST(dropped_is_gone_and_dropping_twice_is_fine),
    TEST(bad_names_and_counts_are_refused_at_the_door),
    TEST(garbage_from_the_daemon_changes_nothing),
};
TEST_SUITE("base/keep", tests);
