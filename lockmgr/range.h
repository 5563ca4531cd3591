/* lockmgr/range.h - byte-range locks as Linux has them: POSIX, OFD and flock.
 * A table of what is held and who waits; sends nothing, knows no other node.
 *
 * - POSIX locks belong to a process, OFD locks to an open file; they exclude
 *   each other.  flock locks have a space of their own and are always whole.
 * - An owner's new range replaces what he had there: locks are split, merged,
 *   upgraded and downgraded.  flock converts as flock(2) says: what was held
 *   is gone first, also when the new lock is refused.
 * - A release serves those who wait in the order in which they came; one who
 *   still must wait stops nobody behind him.  Making others wait for those who
 *   wait would be fairer to writers, and a deadlock that no program caused.
 * - E_DEADLOCK for POSIX locks only, found across all files of the table.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_RANGE_H
#define LUNAR_LOCKMGR_RANGE_H

#include "base/err.h"
#include "lockmgr/lockmgr.h"

#define LM_RANGE_LAST UINT64_C(0x7fffffffffffffff) /* of the largest file */

enum lm_range_kind { LM_POSIX, LM_OFD, LM_FLOCK };
enum lm_range_type { LM_UNLCK, LM_RDLCK, LM_WRLCK };

struct lm_range_owner {
    enum lm_range_kind kind;
    struct lm_peer peer;
    uint64_t key; /* the process's or the open file's, on that node */
};

/* A lock that is held or wanted; UNLCK: what is to be free. */
struct lm_range {
    uint64_t file;
    struct lm_range_owner owner;
    enum lm_range_type type;
    uint64_t first, last; /* bytes, both inside; flock: 0, LM_RANGE_LAST */
    uint32_t pid;         /* for F_GETLK */
};

/* Is this a lock that somebody may ask for?  Errors: E_INVAL, and why. */
MUST_CHECK enum err lm_range_check(const struct lm_range *r, struct diag *why);

struct lm_ranges;

/* `max`: pieces that a peer may hold and locks that it may wait for, together;
 * a lock needs LM_RANGE_PIECES of it to spare.
 * Errors: E_NOMEM. */
enum { LM_RANGE_PIECES = 2 }; /* one inside another leaves three of one */
MUST_CHECK enum err lm_ranges_new(size_t max, struct lm_ranges **ret_table);
void lm_ranges_free(struct lm_ranges *t); /* NULL is fine */

/* F_SETLK.  Whoever waited for what it made free is served by
 * lm_ranges_serve().
 * Errors: E_AGAIN - somebody is in the way; E_NOLCK; E_NOMEM. */
MUST_CHECK enum err lm_ranges_set(struct lm_ranges *t,
                                  const struct lm_range *r);

/* What the owner has more than `r` within its range is no more than `r`; of a
 * flock of another type nothing is left. */
void lm_ranges_weaken(struct lm_ranges *t, const struct lm_range *r);

/* F_GETLK: is somebody in the way?  The one whose lock is oldest. */
bool lm_ranges_test(const struct lm_ranges *t, const struct lm_range *r,
                    struct lm_range *ret_other);

/* F_SETLKW after E_AGAIN: wait.  `id` is the caller's, unique for the peer.
 * Errors: E_DEADLOCK, E_NOLCK, E_NOMEM. */
MUST_CHECK enum err lm_ranges_wait(struct lm_ranges *t,
                                   const struct lm_range *r, uint64_t id);

/* Give the first of those who wait for the file (0: for any) and need not any
 * longer what he waits for.  False: there is none. */
bool lm_ranges_serve(struct lm_ranges *t, uint64_t file,
                     struct lm_peer *ret_peer, uint64_t *ret_id);

/* Nobody waits with this id any more.  False: nobody did. */
bool lm_ranges_cancel(struct lm_ranges *t, const struct lm_peer *peer,
                      uint64_t id);

/* All that a peer holds and waits for is gone. */
void lm_ranges_drop(struct lm_ranges *t, const struct lm_peer *peer);

/* How much of its bound a peer has used. */
size_t lm_ranges_used(const struct lm_ranges *t, const struct lm_peer *peer);

/* Does nobody hold or wait for anything of the file? */
bool lm_ranges_is_free(const struct lm_ranges *t, uint64_t file);

/* Each lock of the file (0: of all), an owner's in order of their place. */
typedef void lm_ranges_fn(void *arg, const struct lm_range *r);
void lm_ranges_each(const struct lm_ranges *t, uint64_t file, lm_ranges_fn *fn,
                    void *arg);

#endif
