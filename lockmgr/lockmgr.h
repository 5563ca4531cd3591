/* lockmgr - who may touch what, across hosts: the rules.
 *
 *   mode.c          the six modes of the DLM and which go together
 *   handle.c        ownership of a VM's disk: get, keep others out (I8)
 *   member.c        who is in the cluster: corosync, or one host alone
 *   key.c           runs of nodes and their reservation keys
 *   node_block.c    what nodes say on the LUN: claims, fences
 *   nexus.c         may this session carry I/O?                     (F2)
 *   fence.c         one fence of one run on one LUN           (I10, I13)
 *   takeover.c      who coordinates: elect, claim, serve       (I4, I14)
 *   message.h       what nodes and a lock master say to each other
 *   master.c        the lock master: queues, grants, BASTs, recovery
 *   holder.c        a node's locks: cached until somebody wants them
 *   range.c         byte-range locks as Linux has them, in a table
 *   range_master.c  those of all nodes; gives files to one to decide alone
 *   range_client.c  a node's; decides alone, or asks the range master
 *   hash.c          the table that the locks use
 *
 * Pure, but for the shells of membership: no clock, no I/O, no thread.
 * Nexus, fence and takeover are step functions, x_step(state, event, effects).
 * The lock master's shell is the coordinator of the volume, the holder's is its
 * client.  The rows that handle.c looks at are kept by whoever calls
 * (fs/meta_handle.c: in the volume's database).
 * Start reading at takeover.h; for locks at message.h, then master.h, holder.h;
 * for ranges at range.h; for membership at member.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_LOCKMGR_H
#define LUNAR_LOCKMGR_LOCKMGR_H

#include "base/base.h"
#include "lockmgr/fence.h"
#include "lockmgr/member.h"
#include "lockmgr/nexus.h"
#include "lockmgr/takeover.h"

/* -- modes: names and numbers of the VMS and Linux DLM --------------------- */

#define LM_MODES(X)                                                            \
    X(LM_NL, "NL") /* null: interest only */                                   \
    X(LM_CR, "CR") /* concurrent read */                                       \
    X(LM_CW, "CW") /* concurrent write */                                      \
    X(LM_PR, "PR") /* protected read: no writer */                             \
    X(LM_PW, "PW") /* protected write: one writer, CR readers */               \
    X(LM_EX, "EX") /* exclusive */

enum lm_mode {
#define X(mode, name) mode,
    LM_MODES(X)
#undef X
        LM_MODE_COUNT
};

const char *lm_mode_name(enum lm_mode mode); /* "?" for no mode */
bool lm_mode_is_valid(enum lm_mode mode);
/* May two owners hold these at the same time? */
bool lm_compatible(enum lm_mode a, enum lm_mode b);

typedef unsigned lm_modes; /* a set: bit LM_PR is 1 << LM_PR */
/* May one hold `mode` while others hold each of these? */
bool lm_compatible_with_all(enum lm_mode mode, lm_modes others);
/* Does `a` allow all that `b` allows?  CW and PR do not cover each other. */
bool lm_covers(enum lm_mode a, enum lm_mode b);
/* LM_NL for the empty set. */
enum lm_mode lm_strongest(lm_modes modes);
/* The most that one who holds `from` can keep when others get `wanted`. */
enum lm_mode lm_demoted(enum lm_mode from, lm_modes wanted);

/* -- handles --------------------------------------------------------------- */

enum { LM_OWNER_BYTES = 256 }; /* a VM's name and its NUL */

/* One row per file and VM.  After the handle is given up the row stays in NL:
 * its generation never goes back. */
struct lm_handle {
    char vm[LM_OWNER_BYTES];
    enum lm_mode mode;
    uint32_t node;
    uint64_t incarnation;
    uint64_t generation;
};

/* May `want` (vm, mode, node, incarnation) have a handle of the file with
 * these rows?  NULL: yes, under *ret_generation; asking again for what one
 * holds gives the same generation.  Else the holder who is in the way. */
const struct lm_handle *lm_handle_get(const struct lm_handle *rows,
                                      size_t count,
                                      const struct lm_handle *want,
                                      uint64_t *ret_generation);

/* Is this very handle held? */
bool lm_handle_is_held(const struct lm_handle *rows, size_t count,
                       const struct lm_handle *handle);

/* May `actor` (node, incarnation, generation of its EX handle or 0) truncate,
 * unlink, replace or open for writing the file?  NULL: yes.  Else who holds
 * it. */
const struct lm_handle *lm_handle_guard(const struct lm_handle *rows,
                                        size_t count,
                                        const struct lm_handle *actor);

#include "lockmgr/message.h"

#include "lockmgr/holder.h"
#include "lockmgr/master.h"
#include "lockmgr/range.h"
#include "lockmgr/range_client.h"
#include "lockmgr/range_master.h"

#endif
