/* base/keep_wire.h - one message between daemon and holder, with descriptors.
 * Private to keep.c and keep_shelf.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_KEEP_WIRE_H
#define LUNAR_BASE_KEEP_WIRE_H

#include "base/keep.h"

enum keep_verb {
    KEEP_PUT = 1,
    KEEP_DROP = 2,
    KEEP_TOLD = 3 /* holder to daemon: that was all */
};

struct keep_msg {
    uint32_t verb;
    uint32_t count; /* of descriptors, which travel beside it */
    char name[KEEP_NAME_BYTES];
};

bool keep_name_ok(const char *name);
/* Errors: E_CLOSED.  Context: blocks while the peer's buffer is full. */
MUST_CHECK enum err keep_send(int socket_fd, const struct keep_msg *msg,
                              const int *fds);
/* fds[] are the caller's, also unexpected ones: on an error there are none.
 * Errors: E_CLOSED, E_PROTOCOL.  Context: blocks until there is one. */
MUST_CHECK enum err keep_receive(int socket_fd, struct keep_msg *ret_msg,
                                 int fds[KEEP_FDS_MAX]);
void keep_close_all(const int *fds, unsigned count);

#endif
