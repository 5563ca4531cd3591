/* base/tls.h - TLS 1.3 between two ends that share a key, over a socket.
 * Bytes in, bytes out, no thread and no waiting; knows nothing of messages.
 *
 * Both ends prove the key in the handshake (RFC 8446, external PSK with
 * ephemeral Diffie-Hellman): there are no certificates, no names, no tickets,
 * and one suite.  So there is nothing to expire, to look up or to negotiate
 * down, and a key that leaks later opens nothing that was recorded before.
 *
 * What is written is encrypted at once, into a queue, and sent by tls_flush():
 * many small writes share a record and a system call, a large one is encrypted
 * straight from the caller's memory, and no write ever waits half done.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TLS_H
#define LUNAR_BASE_TLS_H

#include "base/cluster_key.h"

#include <sys/uio.h>

/* The key, ready for use; may be freed before the sessions made of it. */
struct tls_context;
/* Errors: E_NOMEM; E_UNSUPPORTED - OpenSSL refuses the suite (see why). */
MUST_CHECK enum err tls_context_new(const struct cluster_key *key,
                                    struct diag *why,
                                    struct tls_context **ret_context);
void tls_context_free(struct tls_context *context);

struct tls;
enum tls_role { TLS_DIALS, TLS_ANSWERS };
/* Over a non-blocking, connected socket, which stays the caller's. */
MUST_CHECK enum err tls_new(struct tls_context *context, int fd,
                            enum tls_role role, struct tls **ret_tls);
void tls_free(struct tls *tls);

/* Go on with the handshake.  The caller flushes afterwards, also after an
 * error: the peer is told of it by an alert.
 * Errors: E_AGAIN - when there is more to read; E_ACCESS - the peer has not
 * this key; E_PROTOCOL - it speaks something else; E_CLOSED - it is gone. */
MUST_CHECK enum err tls_handshake(struct tls *tls, struct diag *why);

/* Take all the bytes, after the handshake.  Of a large write the first part is
 * sent at once.  Errors: E_CLOSED - the session is broken (for want of memory,
 * too: what was taken cannot be given back). */
MUST_CHECK enum err tls_write(struct tls *tls, const struct iovec *iov,
                              int iov_count);
/* Give the socket what it takes, up to about `limit_bytes`.
 * Errors: E_AGAIN - there is more, see tls_unsent(); E_CLOSED.  Not to look is
 * fine where nothing depends on it. */
enum err tls_flush(struct tls *tls, size_t limit_bytes);
/* Bytes that wait to be sent. */
size_t tls_unsent(const struct tls *tls);

/* Read at least one byte.  Errors: E_AGAIN - there is nothing now; E_CLOSED;
 * E_PROTOCOL - what came was not of the peer. */
MUST_CHECK enum err tls_read(struct tls *tls, void *at, size_t room,
                             size_t *ret_count, struct diag *why);
/* There may be bytes to read for which the socket makes no event any more. */
bool tls_has_read_ahead(const struct tls *tls);

/* New keys for what we send after so many records more; 0: the default.  For
 * tests. */
void tls_rekey_after(struct tls *tls, uint64_t records);

#endif
