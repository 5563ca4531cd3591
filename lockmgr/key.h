/* lockmgr/key.h - who may write a LUN: runs of nodes and their keys.
 * Knows no LUN and no reservation; a key is only a number that says whose it
 * is.
 *
 * A reservation key says cluster, node, incarnation and turn.  The turn grows
 * each time a run gets a new key on a LUN (after a path fence).  So whoever
 * reads the list of keys knows whose they are, and "fenced" is one number per
 * node: every key of it up to and including (incarnation, turn).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_KEY_H
#define LUNAR_LOCKMGR_KEY_H

#include "base/base.h"

enum {
    LM_NODES_MAX = 64,  /* node numbers are 1 … 64; node blocks on a LUN */
    LM_TURN_MAX = 254,  /* of a key; a run that needs more comes back anew */
    LM_TURN_ALL = 255,  /* of a fence: all keys of the incarnation, and it */
    LM_KEYS_ROOM = 64,  /* asked for at first */
    LM_KEYS_MAX = 1024, /* of one LUN: 64 nodes × 4 sessions, and more */
    LM_HOST_NAME_MAX = 63
};

/* One run of one node.  Node 0: nobody. */
struct lm_run {
    uint32_t node;
    uint64_t incarnation; /* 1 … UINT32_MAX; a later run has a higher one */
};

static inline bool lm_run_eq(struct lm_run a, struct lm_run b)
{
    return a.node == b.node && a.incarnation == b.incarnation;
}

/* What is fenced, or to be: all keys of a node up to and including this one.
 * turn LM_TURN_ALL: the run itself.  A `foreign` key (not 0) is none of
 * Lunar's or of another cluster; it has no node. */
struct lm_target {
    struct lm_run run;
    uint32_t turn;
    uint64_t foreign;
};

/* Does fencing `fence` fence key (run, turn), too? */
bool lm_target_covers(const struct lm_target *fence, struct lm_run run,
                      uint32_t turn);

/* The key of a run: never 0.  `cluster` is any number made of the cluster's
 * name; its lowest 8 bits count. */
uint64_t lm_key_make(uint32_t cluster, struct lm_run run, uint32_t turn);
/* Whose is it?  False: none of this cluster's. */
bool lm_key_read(uint64_t key, uint32_t cluster, struct lm_run *ret_run,
                 uint32_t *ret_turn);

/* The answers of READ KEYS. */
struct lm_keys {
    const uint64_t *list;
    uint32_t count; /* in list */
    uint32_t total; /* on the LUN; more than count: cut short, ask again (F24)*/
};
bool lm_keys_whole(const struct lm_keys *keys);
/* Room enough for all of them; false: more than LM_KEYS_MAX. */
bool lm_keys_grow(const struct lm_keys *keys, uint32_t *room);
bool lm_keys_have(const struct lm_keys *keys, uint64_t key);
/* The first key that `target` covers; 0: none. */
uint64_t lm_keys_of(const struct lm_keys *keys, uint32_t cluster,
                    const struct lm_target *target);

/* How a LUN answered.  Only OK says that it was done; GONE says nothing at
 * all (I13), and CONFLICT only that somebody must look. */
#define LUN_ANSWERS(X)                                                         \
    X(LUN_OK, "ok")                                                            \
    X(LUN_CONFLICT, "reservation conflict")                                    \
    X(LUN_UNSUPPORTED, "not supported by the target")                          \
    X(LUN_FAILED, "refused or failed")                                         \
    X(LUN_GONE, "no answer")

enum lun_answer {
#define X(answer, text) answer,
    LUN_ANSWERS(X)
#undef X
};

/* SPC-4 table 64.  Only these two are right in every target (M4). */
enum lm_reservation {
    LM_RESERVATION_NONE = 0,
    LM_WRITE_EXCLUSIVE_REGISTRANTS = 5,
    LM_EXCLUSIVE_ACCESS_REGISTRANTS = 6
};

#endif
