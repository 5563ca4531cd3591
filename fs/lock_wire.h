/* fs/lock_wire.h - byte-range locks as fs/proto.x has them, and as lockmgr/
 * does.  Translates; whether it is a lock at all the cores look.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_LOCK_WIRE_H
#define LUNAR_FS_LOCK_WIRE_H

#include "fs/call.h"
#include "lockmgr/lockmgr.h"

struct lm_peer lock_peer(const struct fs_sender *who);

fs_lock lock_to_wire(const struct lm_range *r);
struct lm_range lock_from_wire(const fs_lock *lock, const struct lm_peer *of);

/* Ownership: the note's locks are its own.  Errors: E_NOMEM. */
MUST_CHECK enum err lock_request_to_wire(const struct lm_range_request *q,
                                         fs_lock_request *ret_request);
/* `locks`: room for as many as the request has. */
struct lm_range_request lock_request_from_wire(const fs_lock_request *request,
                                               const struct lm_peer *from,
                                               struct lm_range *locks);

fs_lock_answer lock_answer_to_wire(const struct lm_range_answer *a);
struct lm_range_answer lock_answer_from_wire(const fs_lock_answer *answer,
                                             const struct lm_peer *to);

#endif
