/* base/keep.h - file descriptors that outlive the process that uses them.
 * Both ends of the wire between a daemon and its holder; neither knows what
 * the descriptors are good for.
 *
 *   holder (parent, does nothing else)        daemon (child, may crash)
 *     struct keep_shelf: name -> fds  <──────   keep_put(), keep_drop()
 *          survives the child          ──────>  keep_take(), after a restart
 *
 * A VMM cannot reconnect to a vhost-user device, and the users of a mount see
 * ENOTCONN when /dev/fuse closes.  So sockets, guest memory and /dev/fuse are
 * kept here under names, together with a memfd that describes them; a crash
 * and an upgrade take the same path.
 *
 * The wire is a SOCK_SEQPACKET pair: one message, one name, its descriptors.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_KEEP_H
#define LUNAR_BASE_KEEP_H

#include "base/err.h"

enum {
    KEEP_NAME_BYTES = 128, /* "vhost/<vm>/<controller>", with the NUL */
    KEEP_FDS_MAX = 64,     /* per name: 32 memory regions, rings, sockets */
    KEEP_NAMES_MAX = 1024  /* 255 VMs with 4 controllers; bounds the holder */
};

/* -- the daemon's end ------------------------------------------------------ */
struct keep;

/* Read what the holder has kept.
 * Ownership: takes the socket.  Errors: E_NOMEM, E_PROTOCOL, E_CLOSED.
 * Context: start of the daemon; blocks until the holder has told all. */
MUST_CHECK enum err keep_connect(int socket_fd, struct keep **ret_keep);
/* Close the socket and every descriptor that was not taken; NULL is fine. */
void keep_free(struct keep *k);

/* Keep duplicates of fds[] under a name; what was there is closed.
 * Errors: E_INVAL (name, count), E_CLOSED (the holder is gone).
 * Context: any thread; may wait for the holder, which is always quick. */
MUST_CHECK enum err keep_put(struct keep *k, const char *name, const int *fds,
                             unsigned count);
/* Forget a name; it need not be there.  Context and errors: keep_put(). */
MUST_CHECK enum err keep_drop(struct keep *k, const char *name);

/* Take the descriptors that were kept under this name before we started; the
 * holder still has its duplicates.  Returns their number, 0 if there are none.
 * Ownership: the descriptors are the caller's.  Context: any thread. */
unsigned keep_take(struct keep *k, const char *name, int fds[KEEP_FDS_MAX]);
/* The name of the i-th set that was not taken yet; NULL at the end. */
const char *keep_name(const struct keep *k, unsigned i);

/* -- the holder's end ------------------------------------------------------ */
struct keep_shelf;

MUST_CHECK enum err keep_shelf_new(struct keep_shelf **ret_shelf);
void keep_shelf_free(struct keep_shelf *s); /* closes all; NULL is fine */
unsigned keep_shelf_count(const struct keep_shelf *s);

/* Tell a new daemon what is there.  Errors: E_CLOSED.  Context: blocks. */
MUST_CHECK enum err keep_shelf_tell(const struct keep_shelf *s, int socket_fd);
/* Receive and carry out one message.
 * Errors: E_CLOSED - the daemon is gone; E_PROTOCOL, E_BUSY (too many names) -
 * the message was dropped, the shelf is as before. */
MUST_CHECK enum err keep_shelf_receive(struct keep_shelf *s, int socket_fd);

#endif
