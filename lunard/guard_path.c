/* lunard/guard_path.c - this host's path to a LUN of the cluster: when it
 * counts as lost, when its I/O goes by way of the coordinator, and when it is
 * back. Fences nothing by itself: the coordinator does (I13).
 *
 * Lost is what owes a word for io_suspect.  First the others are told: a
 * coordinator hands over then, and if all say the same it is the LUN that is
 * gone, not the path; then everything waits.  A path that is back must last for
 * a while, one that comes and goes longer each time: each return costs a key,
 * of which a run has LM_TURN_MAX.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/guard_private.h"

#include "base/log.h"

uint64_t guard_now_ns(const struct guard *g)
{
    return clock_now_ns(loop_clock(g->args.loop));
}

static bool is_over(const struct guard *g, uint64_t since_ns, uint64_t ms)
{
    return guard_now_ns(g) >= since_ns + ms * NS_PER_MS;
}

bool guard_is_silent(const struct guard *g, uint64_t ms)
{
    return g->down_ns && is_over(g, g->down_ns, ms);
}

/* Also before it has its new key: it may be the only one, and a coordinator
 * without a path hands over only if there is one. */
bool guard_has_path(const struct guard *g)
{
    return g->admitted && !g->leaving && g->nexus.state != NEXUS_RETIRED &&
           !guard_is_silent(g, g->args.io_suspect_ms);
}

static void note_silence(struct guard *g)
{
    uint64_t silent_ms = g->session ? lun_silent_ms(g->lun) : 0;

    if (g->session)
        g->down_ns = silent_ms ? guard_now_ns(g) - silent_ms * NS_PER_MS : 0;
}

static uint64_t my_bit(const struct guard *g)
{
    return UINT64_C(1) << (g->args.me.node - 1);
}

/* Others have a path, and all know that this host has none. */
static bool is_cut_off(const struct guard *g)
{
    return g->admitted && g->view.quorate && g->view.paths &&
           !(g->view.paths & my_bit(g)) && !g->told_path && !g->leaving &&
           is_over(g, g->told_ns, GUARD_HINT_MS) &&
           guard_is_silent(g, g->args.io_suspect_ms);
}

/* Telling fails now and then. */
static bool is_unheard(const struct guard *g)
{
    bool heard = g->view.paths & my_bit(g);

    return g->view.quorate && heard != g->told_path &&
           is_over(g, g->told_ns, GUARD_RETELL_MS);
}

/* A nexus that asks for a new key has nothing out, nor one that came so far and
 * did not open. */
static bool may_retire(const struct guard *g)
{
    enum nexus_state state = g->nexus.state;

    return state != NEXUS_ASKING && state != NEXUS_RETIRED &&
           state != NEXUS_FENCED && !g->nexus.redirected;
}

static void retire(struct guard *g)
{
    bool lasted = is_over(g, g->open_ns, GUARD_LASTED_MS);

    g->proof_ms = lasted || !g->proof_ms
                      ? GUARD_PROOF_MS
                      : (unsigned)min_u64(2 * g->proof_ms, GUARD_PROOF_MAX_MS);
    g->open_ns = 0;
    log_warning(
        "%s: silent for %llu s: this host gives its key up, and asks "
        "for redirected I/O",
        lun_name(g->lun),
        (unsigned long long)((guard_now_ns(g) - g->down_ns) / NS_PER_S));
    guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_RETIRE});
}

static bool is_back(const struct guard *g)
{
    return g->nexus.state == NEXUS_RETIRED && g->nexus.gave_up_key &&
           g->session && !g->down_ns && is_over(g, g->up_ns, g->proof_ms);
}

void guard_path_beat(struct guard *g)
{
    note_silence(g);
    if (g->admitted && (guard_has_path(g) != g->told_path || is_unheard(g)))
        guard_tell_path(g);
    if (is_cut_off(g) && may_retire(g))
        retire(g);
    else if (is_back(g))
        guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_REPAIRED});
    else if (nexus_wants_fence(&g->nexus))
        guard_ask_fence(g);
}

void guard_path_opens(struct guard *g)
{
    if (!g->open_ns)
        g->open_ns = guard_now_ns(g);
}

/* -- what is told of it ---------------------------------------------------- */

static const char *why_it_waits(const struct guard *g)
{
    if (!g->view.quorate)
        return "the cluster has no quorum";
    if (*g->trouble)
        return g->trouble;
    if (!g->session || guard_is_silent(g, g->args.io_suspect_ms))
        return "no path to the LUN";
    if (!nexus_may_carry(&g->nexus) && !g->nexus.redirected)
        return "this host is not admitted to the LUN yet";
    return "nobody coordinates it";
}

enum volume_state guard_state(const struct guard *g, const char **ret_reason)
{
    bool served = g->view.quorate && g->takeover.coordinator.node;

    if (served && nexus_may_carry(&g->nexus) &&
        !guard_is_silent(g, g->args.io_suspect_ms)) {
        *ret_reason = "";
        return VOLUME_DIRECT;
    }
    if (served && g->nexus.redirected) {
        *ret_reason = g->session ? "the path to the LUN is being proved"
                                 : "no path to the LUN";
        return VOLUME_REDIRECTED;
    }
    *ret_reason = why_it_waits(g);
    return VOLUME_PAUSED;
}
