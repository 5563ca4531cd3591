/* lockmgr/member_table.h - which incarnations there were; what became of them.
 * Knows nothing of processes, views or messages.
 *
 * A record's status only grows.  Tables are merged by taking the greater one
 * for each incarnation, so the order in which they are heard is of no account.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MEMBER_TABLE_H
#define LUNAR_LOCKMGR_MEMBER_TABLE_H

#include "lockmgr/member.h"

#define RECORD_STATES(X)                                                       \
    X(RECORD_NEW, "new")             /* announced, never yet in a view */      \
    X(RECORD_LIVE, "live")           /* in a view, or lost from one */         \
    X(RECORD_LEFT, "left")           /* said goodbye */                        \
    X(RECORD_CONDEMNED, "condemned") /* missing: must be fenced */             \
    X(RECORD_FENCED, "fenced")

enum record_state {
#define X(state, name) state,
    RECORD_STATES(X)
#undef X
        RECORD_STATE_COUNT
};
const char *record_state_name(enum record_state state);

struct member_record {
    struct member_id id;
    uint32_t pid; /* its process in cpg */
    enum record_state state;
    bool member; /* of the view that the table belongs to */
    /* not on the wire */
    bool condemn_sent;
    unsigned silent_beats; /* of ours since it was last heard */
};

/* Sorted by node and incarnation. */
struct member_table {
    unsigned count;
    struct member_record records[MEMBER_RECORDS_MAX];
};

struct member_record *table_find(struct member_table *t, uint32_t node,
                                 uint64_t incarnation);
/* Take over what `from` says; NULL: no room for another one. */
struct member_record *table_merge(struct member_table *t,
                                  const struct member_record *from);
void table_remove(struct member_table *t, struct member_record *r);
/* Forget all but the two latest settled incarnations (left, fenced) of each
 * node: they only answer those who have not heard. */
void table_prune(struct member_table *t);

#endif
