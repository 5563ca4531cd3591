/* lockmgr/takeover_private.h - the inside of a takeover; for takeover*.c only.
 *
 *   takeover.c         events are given out; who tries, who gives up
 *   takeover_claim.c   from the claim to serving: what the LUN answers
 *   takeover_nodes.c   views, and what the other nodes say
 *   takeover_peers.c   what is known of the nodes
 *
 * Has nothing that others may call.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_TAKEOVER_PRIVATE_H
#define LUNAR_LOCKMGR_TAKEOVER_PRIVATE_H

#include "lockmgr/takeover.h"

/* -- takeover_peers.c ------------------------------------------------------ */

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
/* Its fence is recorded as done. */
bool peer_is_fenced(const struct takeover *t, struct lm_run run);
/* Its keys up to that turn are fenced, and it is recorded. */
bool peer_is_path_fenced(const struct takeover *t, struct lm_run run,
                         uint32_t turn);
/* The run of a node that is in the view and fenced; node 0: none. */
struct lm_run peer_fenced_run(const struct takeover *t, uint32_t node);
/* The live run of a node; node 0: none. */
struct lm_run peer_live_run(const struct takeover *t, uint32_t node);
/* Am I in the view, with quorum? */
bool view_has_me(const struct takeover *t);
/* And reach the LUN, and may coordinate? */
bool view_has_my_path(const struct takeover *t);
/* May be fenced on this volume: the arbiter's race is won, or here (F8). */
bool race_is_won(const struct takeover *t);

/* To be fenced: all keys up to (run, turn).  Nothing less than what is to be
 * fenced already, and never my own run.  `away`: only for not being in the
 * view, so that it is pardoned when it is again. */
void peer_condemn(struct takeover *t, struct lm_run run, uint32_t turn,
                  bool away);
/* Is anything that was condemned not yet fenced? */
bool peers_are_condemned(const struct takeover *t);
void peer_fenced(struct takeover *t, const struct lm_target *target);

/* A new view: condemns who left, pardons who is back.  True: somebody left. */
bool peers_take_view(struct takeover *t, const struct lm_view *view);
/* After my claim was written: condemns the unreleased claimants, live or not
 * (of one that lives and has resigned the key alone), the runs with a key that
 * are not in the view, and whose fence was begun and not ended. */
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

/* -- takeover.c ------------------------------------------------------------ */

struct takeover_effect *takeover_tell(struct takeover *t,
                                      struct takeover_effects *fx,
                                      enum takeover_effect_kind kind);
/* Ask, and hear no answer of an earlier question any more. */
struct takeover_effect *takeover_ask(struct takeover *t,
                                     struct takeover_effects *fx,
                                     enum takeover_state state,
                                     enum takeover_effect_kind question);
void takeover_wait_in(struct takeover *t, enum takeover_state state);
void takeover_start_timer(struct takeover *t, struct takeover_effects *fx);
void takeover_stop_timer(struct takeover *t, struct takeover_effects *fx);
void takeover_alarm(struct takeover *t, struct takeover_effects *fx,
                    const char *why);
/* Have everybody fenced who is condemned, if the race is won (F8). */
void takeover_send_fences(struct takeover *t, struct takeover_effects *fx);
/* Who is in the view and recorded as fenced may not know: its fencer may have
 * died with the last word of it (I11). */
void takeover_tell_fenced(struct takeover *t, struct takeover_effects *fx);

/* Takes over, or coordinates. */
bool takeover_coordinates(const struct takeover *t);
/* Has claimed, and waits until another that did gives up. */
bool takeover_awaits_release(const struct takeover *t);
void takeover_check_again(struct takeover *t, struct takeover_effects *fx);
bool takeover_has_coordinator(const struct takeover *t);
/* Whose claim I heard of is gone: is who served before it there still? */
void takeover_fall_back(struct takeover *t);
/* Who tries in this view; 0: nobody. */
void takeover_name_heir(struct takeover *t, uint32_t node);
uint32_t takeover_elected(const struct takeover *t);
void takeover_try(struct takeover *t, struct takeover_effects *fx);
void takeover_claim(struct takeover *t, struct takeover_effects *fx);
/* Hand over to `to`, or to whom the others elect.  Not tried again in this
 * view: what made me give up would do so again. */
void takeover_give_up(struct takeover *t, struct takeover_effects *fx,
                      uint32_t to);
/* A question of the LUN was not answered as it should. */
void takeover_lun_failed(struct takeover *t, struct takeover_effects *fx,
                         enum lun_answer answer);

/* -- takeover_claim.c ------------------------------------------------------ */

/* Go on where only other nodes' doings were awaited. */
void takeover_advance(struct takeover *t, struct takeover_effects *fx);
/* I14: nothing is granted or answered from memory until all is sure again. */
void takeover_hold(struct takeover *t, struct takeover_effects *fx);
void takeover_ask_reports(struct takeover *t, struct takeover_effects *fx);

typedef void takeover_on_fn(struct takeover *t, const struct takeover_event *ev,
                            struct takeover_effects *fx);
takeover_on_fn takeover_on_blocks, takeover_on_claim_written,
    takeover_on_dead_written, takeover_on_reservation, takeover_on_reserved,
    takeover_on_unreserved, takeover_on_confirmed_dead, takeover_on_keys,
    takeover_on_fenced, takeover_on_super_written, takeover_on_opened;

/* -- takeover_nodes.c ------------------------------------------------------ */

takeover_on_fn takeover_on_view, takeover_on_arbiter_won, takeover_on_announced,
    takeover_on_resigned, takeover_on_reported, takeover_on_confirm,
    takeover_on_confirmed, takeover_on_suspect, takeover_on_consent_asked,
    takeover_on_fence_asked;

#endif
