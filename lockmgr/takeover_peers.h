/* lockmgr/takeover_peers.h - what a takeover knows of the nodes; for
 * takeover*.c only.  Tells nobody anything and asks nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_TAKEOVER_PEERS_H
#define LUNAR_LOCKMGR_TAKEOVER_PEERS_H

#include "lockmgr/takeover.h"

static inline uint64_t node_bit(uint32_t node)
{
    return node ? UINT64_C(1) << (node - 1) : 0;
}

static inline struct takeover_peer *peer_of(struct takeover *t, uint32_t node)
{
    ASSERT(node >= 1 && node <= LM_NODES_MAX);
    return &t->peer[node - 1];
}

/* In the view, and its run is not to be fenced. */
bool peer_is_live(const struct takeover *t, struct lm_run run);
/* The live run of a node; node 0: none. */
struct lm_run peer_live_run(const struct takeover *t, uint32_t node);
/* Am I in the view, with quorum? */
bool view_has_me(const struct takeover *t);
/* And reach the LUN? */
bool view_has_my_path(const struct takeover *t);
/* May be fenced on this volume: the arbiter's race is won, or here (F8). */
bool race_is_won(const struct takeover *t);

/* To be fenced: all keys up to (run, turn).  Nothing less than what is to be
 * fenced already, and never my own run. */
void peer_condemn(struct takeover *t, struct lm_run run, uint32_t turn);
/* Is anything that was condemned not yet fenced? */
bool peers_are_condemned(const struct takeover *t);
void peer_fenced(struct takeover *t, const struct lm_target *target);

/* A new view: condemns who left.  True: somebody did. */
bool peers_take_view(struct takeover *t, const struct lm_view *view);
/* After my claim was written: condemns the unreleased claimants, live or not,
 * the runs with a key that are not in the view, and whose fence was begun and
 * not ended. */
void peers_take_blocks(struct takeover *t, const struct node_blocks *blocks);
/* Condemns runs that have keys and are not live; `strangers`: also keys that
 * no live run reported.  Returns a key that is not Lunar's; 0: none. */
uint64_t peers_take_keys(struct takeover *t, const struct lm_keys *keys,
                         uint64_t own_key, bool strangers);

/* The first other live run, from `node` on, that owes its report or, in
 * HELD_CONFIRM, its confirmation; node 0: none. */
struct lm_run peer_owing(const struct takeover *t, uint32_t node);
/* A fenced run that did not come back and is not known to be dead (F12). */
struct lm_run peer_undead(const struct takeover *t);

#endif
