/* lunard/table.h - the volumes that a cluster knows: the same on all hosts.
 * Pure: no I/O, no clock, no thread.  Opens no volume; the caller compares
 * the table with what it has open, whenever it is told to.
 *
 *   table.c  the rules    table_wire.c  messages    table_json.c  the state
 * file
 *
 * Messages go by member_send(), so all hosts of a view deliver them in one
 * order.  There are two kinds, since hosts of one view may have had different
 * pasts, and what happens in a view must not depend on these:
 *
 * KNOWN.  At each new view every host tells all that it has; nothing is decided
 * until it has heard all others (the table is `whole`).  Of two entries of a
 * volume the higher (stamp, node) stays, a removal too.  So all hosts come to
 * have the same entries, in whatever order they heard them.  Different volumes
 * that want the same name, LUN or number are then sorted out by rank:
 *
 *   1. used by a host whose table has the higher epoch.  The epoch grows with
 *      each exchange under quorum: what the cluster has in use stays in use,
 *      and who was away or alone gives way;
 *   2. of equals, the lower UUID.
 *
 * In this order each is used if it collides with none before it.  The others
 * stay in the table, unused, with the reason; they are used as soon as what is
 * in their way is removed.  For a number (and only then) who has the
 * volume in its list (volumes_shared.c) proposes the entry again, and it gets
 * another one.
 *
 * NEW.  A change: add, new URL or number, removal.  It is decided when it is
 * delivered, by the table that is then the same for all: of two that collide
 * the second is refused everywhere.  What is used is never put out of use by
 * it.  Until the table is whole, it is refused everywhere.
 *
 * Removals are remembered, the last TABLE_TOMBS_MAX of them: who was away for
 * longer than that brings a removed volume back.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_TABLE_H
#define LUNAR_LUNARD_TABLE_H

#include "base/uuid.h"

#include <jansson.h>

enum {
    TABLE_URL_BYTES = 1024, /* with the zero */
    TABLE_NAME_BYTES = 64,  /* with the zero */
    TABLE_NODES_MAX = 64,
    TABLE_VOLUMES_MAX = 256,       /* in use */
    TABLE_TOMBS_MAX = 256,         /* removals that are remembered */
    TABLE_RECORDS_MAX = 2048,      /* until an exchange of strangers is over */
    TABLE_MESSAGE_BYTES = 32 << 10 /* leaves the caller room for a head */
};
#define TABLE_STAMP_MAX ((uint64_t)INT64_MAX) /* JSON has no larger number */

struct table_entry {
    uint8_t uuid[UUID_BYTES];
    char url[TABLE_URL_BYTES];   /* "" if removed */
    char name[TABLE_NAME_BYTES]; /* "" if removed */
    uint16_t number; /* upper 16 bits of st_ino, never 0; of a removed one: not
                      * given to another as long as it is remembered */
    uint64_t stamp;  /* 1 … TABLE_STAMP_MAX; of the last change */
    uint32_t node;   /* … and who made it */
    bool removed;
};

/* clang-format off */
#define TABLE_VERDICTS(X)                                                      \
    X(TABLE_ADDED,          "added")                                           \
    X(TABLE_CHANGED,        "changed")                                         \
    X(TABLE_REMOVED,        "removed")                                         \
    /* refused, or not used: the strongest reason */                           \
    X(TABLE_REFUSED_NAME,   "another volume has its name")                     \
    X(TABLE_REFUSED_URL,    "another volume has its LUN")                      \
    X(TABLE_REFUSED_NUMBER, "another volume has its number")                   \
    X(TABLE_FULL,           "there are too many volumes")                      \
    X(TABLE_STALE,          "something newer is known")                        \
    X(TABLE_UNSETTLED,      "the hosts are telling each other what they know")
/* clang-format on */

enum table_verdict {
#define X(verdict, text) verdict,
    TABLE_VERDICTS(X)
#undef X
};
const char *table_verdict_text(enum table_verdict verdict);
/* Another proposal may be luckier: propose it again. */
bool table_verdict_retry(enum table_verdict verdict);

struct table_record {
    struct table_entry entry;
    bool used;              /* never if removed */
    enum table_verdict out; /* why it is not used; if it is: no meaning */
    uint64_t rank;          /* of table.c */
};

struct table {
    struct table_record *records; /* when whole: used ones first, by UUID */
    unsigned count;
    uint64_t view;    /* its number */
    uint64_t awaited; /* bit node - 1: has not told all yet */
    bool quorate;
    uint64_t epoch, epoch_heard;
};

/* An empty one, in no view.  Errors: E_NOMEM. */
MUST_CHECK enum err table_init(struct table *ret_table);
void table_fini(struct table *t);

/* -- the view -------------------------------------------------------------- */

static inline uint64_t table_node(uint32_t node)
{
    return 1ull << (node - 1);
}
/* A new view, of these nodes (table_node(a) | …); 0: we are in none.  Every
 * node of it, this one too, now sends all of table_say_known().
 * quorate: as the view says; false also for a host that is alone by
 * configuration: what it has must not outrank a cluster's. */
void table_view(struct table *t, uint64_t number, uint64_t nodes, bool quorate);
/* All have told: the table is the same on all hosts of the view, and may be
 * acted upon. */
bool table_whole(const struct table *t);

/* -- entries --------------------------------------------------------------- */

/* NULL: never heard of, or forgotten. */
const struct table_record *table_lookup(const struct table *t,
                                        const uint8_t uuid[UUID_BYTES]);

/* Fill in stamp, node and number, for table_say_new().  The caller has quorum.
 *   add     uuid, url, name; number: the one wished for, or 0
 *   change  the same, of a volume that is there; its number stays if it can
 *   remove  uuid, removed
 * Errors: E_AGAIN - the table is not whole; E_EXIST - a volume in use has the
 * name or the LUN; E_NOENT - there is nothing to remove; E_TOO_BIG - too many
 * volumes; E_INVAL - a name or URL that cannot be. */
MUST_CHECK enum err table_propose(const struct table *t, uint32_t node,
                                  struct table_entry *entry, struct diag *why);

/* A NEW entry, delivered. */
enum table_verdict table_change(struct table *t,
                                const struct table_entry *entry);
/* An entry that somebody knew, or that stood in a list of before there were
 * clusters (stamp 1).  Whether it is used is said when the table is whole. */
enum table_verdict table_learn(struct table *t,
                               const struct table_entry *entry);

/* May there be such an entry?  Errors: E_INVAL, why = what is wrong. */
MUST_CHECK enum err table_entry_check(const struct table_entry *entry,
                                      struct diag *why);

/* -- messages (table_wire.c) ----------------------------------------------- */

/* The bytes of a NEW message. */
size_t table_say_new(const struct table_entry *entry,
                     uint8_t ret_bytes[TABLE_MESSAGE_BYTES]);
/* The next of the messages with all that is known: *at is 0 for the first, and
 * is moved on, so that the caller may keep it until there is room to send.
 * Returns the bytes used; 0: all is said. */
size_t table_say_known(const struct table *t, unsigned *at,
                       uint8_t ret_bytes[TABLE_MESSAGE_BYTES]);

struct table_news {
    bool changed; /* and is whole: compare it with what is open, and save it */
    bool decided; /* a NEW entry was, as `verdict` says */
    enum table_verdict verdict;
    struct table_entry entry; /* of `decided`: its proposer knows it by node,
                               * uuid and stamp */
};
/* A message of `node`, delivered in this view.
 * Errors: E_PROTOCOL, E_VERSION; why = "byte 57: …"; the table is as before. */
MUST_CHECK enum err table_deliver(struct table *t, uint32_t node,
                                  const void *bytes, size_t count,
                                  struct table_news *ret_news,
                                  struct diag *why);

/* -- the state file (table_json.c) ----------------------------------------- */

/* NULL: out of memory. */
json_t *table_to_json(const struct table *t);
/* Into an empty table.  Errors: E_CORRUPT, why = "volume 3: …". */
MUST_CHECK enum err table_from_json(struct table *t, const json_t *json,
                                    struct diag *why);

#endif
