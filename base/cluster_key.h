/* base/cluster_key.h - the secret that the hosts of a cluster share.
 * A file; knows nothing of what is encrypted with it.
 *
 * The file has 64 hex digits and a newline.  Hex and not base64: its length
 * tells whether it is whole, there is one spelling of each key but for the
 * case, and `openssl rand -hex 32` makes one where there is no lunar.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_CLUSTER_KEY_H
#define LUNAR_BASE_CLUSTER_KEY_H

#include "base/err.h"

#define CLUSTER_KEY_PATH "/etc/lunar/cluster.key"
enum { CLUSTER_KEY_BYTES = 32 };

struct cluster_key {
    uint8_t bytes[CLUSTER_KEY_BYTES];
};

/* The key in the text of a file.  White space may follow it, nothing else.
 * Errors: E_CONFIG, with the place; never with a digit of the key. */
MUST_CHECK enum err cluster_key_parse(const char *text, size_t count,
                                      struct cluster_key *ret_key,
                                      struct diag *why);

/* Read a key file.  Errors: E_NOENT; E_PERM - not a file that only its owner,
 * who is root or us, may read and write; E_CONFIG; E_IO …  All name the file
 * and the cure.  Context: blocks. */
MUST_CHECK enum err cluster_key_load(const char *path,
                                     struct cluster_key *ret_key,
                                     struct diag *why);

/* Make a file with a new random key, durably, for its owner only.
 * Errors: E_EXIST - there is one already; E_IO …  Context: blocks. */
MUST_CHECK enum err cluster_key_generate(const char *path, struct diag *why);

/* A number that equal keys have in common, and different ones do not; it tells
 * nothing of the key and may be known to everybody. */
uint64_t cluster_key_tag(const struct cluster_key *key);

/* Forget a key. */
void cluster_key_fini(struct cluster_key *key);

#endif
