/* tests/sim/scenarios_fence.c - hosts, paths and targets that fail while
 * disks are written: scenarios 1, 2, 5 to 8 of the list of interleavings.
 * Faults are drawn here; what must hold is work.c's.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/node.h"
#include "tests/sim/scenarios.h"

enum { SETTLE_S = 120 };

/* A world by chance: how many, which target, which network. */
static struct world_options draw(struct sim *s, uint32_t luns)
{
    struct world_options o = {
        .hosts = 2 + sim_below(s, 3),
        .luns = luns,
        .work = true,
        .eager = sim_chance(s, 300),
    };

    o.target.new_nexus_each_login = sim_chance(s, 300);
    o.target.preempt_abort = sim_chance(s, 600);
    o.target.aptpl = true;
    o.target.usual_ns = 2 * SIM_MS;
    o.target.long_ns = sim_chance(s, 500) ? 2 * SIM_S : 50 * SIM_MS;
    o.target.long_permille = 30;
    o.cpg.token_ns = SIM_S;
    o.cpg.ghost_permille = sim_chance(s, 200) ? 500 : 0;
    o.cpg.two_node = o.hosts == 2;
    o.net.delay_ns = SIM_MS;
    o.net.long_delay_ns = SIM_S;
    o.net.long_permille = 10;
    o.net.reset_permille = sim_chance(s, 300) ? 10 : 0;
    o.net.stall_limit_ns = 8 * SIM_S;
    return o;
}

static void pass(struct sim *s, uint64_t low_ms, uint64_t high_ms)
{
    sim_run_until(s, sim_now(s) + sim_between(s, low_ms, high_ms) * SIM_MS);
}

static uint32_t any_host(struct sim *s)
{
    return 1 + sim_below(s, s->host_count);
}

static uint32_t any_lun(struct sim *s)
{
    uint32_t luns = 0;

    while (luns < SIM_LUNS_MAX && s->target[luns])
        luns++;
    return sim_below(s, luns);
}

static bool begin(struct sim *s, const struct world_options *o)
{
    world_init(s, o);
    world_expect(s, (UINT64_C(1) << o->hosts) - 1, 60 * SIM_S);
    return !s->verdict.failed;
}

/* -- 1: a write whose session broke lands after its repetition ------------- */

static void late_twin(struct sim *s)
{
    struct world_options o = draw(s, 1);

    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 6 && !s->verdict.failed; i++) {
        uint32_t host = any_host(s);

        pass(s, 0, 600);
        if (!sim_target_hold_writes(s, 0, host))
            continue;
        sim_session_break(s, 0, host, 0);
        pass(s, 0, 3000);
        if (sim_chance(s, 300))
            sim_session_break(s, 0, any_host(s), 0);
        pass(s, 0, 3000);
        sim_target_let_go(s, 0);
    }
    world_settle(s, SETTLE_S * SIM_S);
}

/* -- 2: who is fenced registers again -------------------------------------- */

/* Until the nexus of the host is at one of its steps on the way back. */
static void await_step(struct sim *s, uint32_t host)
{
    static const enum nexus_state steps[] = {
        NEXUS_DOWN,    NEXUS_LOOKING,    NEXUS_REGISTERING,
        NEXUS_READING, NEXUS_RECHECKING, NEXUS_CHECKING,
    };
    enum nexus_state step = steps[sim_below(s, ARRAY_LEN(steps))];

    for (uint32_t i = 0; i < 3000 && !s->verdict.failed; i++) {
        struct node *n = world_node(s, host);

        if (!n || n->volume[0].nexus.state == step)
            return;
        sim_run_until(s, sim_now(s) + SIM_MS);
    }
}

/* A session breaks; on its way back the victim stops, or what it has just sent
 * does not get its turn; meanwhile others fence it, or die in doing so. */
static void un_fence_once(struct sim *s)
{
    uint32_t victim = any_host(s), other = any_host(s);

    sim_session_break(s, 0, victim, 0);
    await_step(s, victim);
    if (sim_chance(s, 500)) {
        sim_target_hang(s, 0, victim, true);
        sim_run_until(s, sim_now(s) + 3 * SIM_MS);
    }
    sim_host_pause(&s->host[victim]);
    pass(s, 4000, sim_chance(s, 500) ? 5200 : 12000);
    if (sim_chance(s, 300))
        sim_host_crash(&s->host[other], sim_chance(s, 500));
    for (uint32_t i = 0; i < 4; i++) {
        sim_target_hang(s, 0, victim, false);
        sim_host_continue(&s->host[victim]);
        pass(s, 0, 30);
        sim_host_pause(&s->host[victim]);
        pass(s, 0, 2000);
    }
    sim_host_continue(&s->host[victim]);
    pass(s, 0, 5000);
    if (!s->host[other].up && !world_ends(s, other))
        sim_host_start(&s->host[other]);
}

static void un_fence(struct sim *s)
{
    struct world_options o = draw(s, 1);

    o.hosts = 3 + sim_below(s, 2);
    o.cpg.two_node = false;
    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 3 && !s->verdict.failed; i++)
        un_fence_once(s);
    world_settle(s, SETTLE_S * SIM_S);
}

/* The host that serves; 0: none. */
static uint32_t coordinator(struct sim *s)
{
    for (uint32_t h = 1; h <= s->host_count; h++) {
        struct node *n = world_node(s, h);

        if (n && takeover_may_grant(&n->volume[0].takeover))
            return h;
    }
    return 0;
}

/* -- 2: who fenced me is fenced itself ------------------------------------- */

static bool ends_fence(const struct node *n, uint32_t victim)
{
    for (uint32_t i = 0; n && i < NODE_FENCES_MAX; i++) {
        const struct fence_job *job = n->volume[0].fence[i];

        if (job && job->used && job->core.args.target.run.node == victim &&
            job->core.state >= FENCE_CHECKING &&
            job->core.state <= FENCE_RECORDING)
            return true;
    }
    return false;
}

static bool reads(const struct node *n)
{
    return n && n->volume[0].nexus.state == NEXUS_READING;
}

/* Does a node block say that the fence of it is done? */
static bool is_recorded(const struct sim *s, uint32_t host, uint64_t run)
{
    for (uint32_t block = NODE_BLOCKS_AT; block < NODE_SUPER_AT; block++) {
        size_t length;
        const void *bytes = sim_block_bytes(s, 0, block, &length);
        struct node_copy copy;
        const struct node_fencing *f = &copy.block.fencing[host - 1];

        if (lun_copy(bytes, length, &copy) && f->state != FENCING_NAMED &&
            f->turn == LM_TURN_ALL && f->run.incarnation >= run)
            return true;
    }
    return false;
}

enum awaited { FENCE_ENDS, VICTIM_READS, VICTIM_IS_FENCED, FENCER_IS_FENCED };

struct duel {
    uint32_t fencer, victim;
    uint64_t fencer_run, victim_run;
};

static bool has_come(struct sim *s, const struct duel *d, enum awaited what)
{
    switch (what) {
    case FENCE_ENDS: return ends_fence(world_node(s, d->fencer), d->victim);
    case VICTIM_READS:
        return reads(world_node(s, d->victim)) &&
               sim_is_reading(s, 0, d->victim);
    case VICTIM_IS_FENCED: return is_recorded(s, d->victim, d->victim_run);
    case FENCER_IS_FENCED: return is_recorded(s, d->fencer, d->fencer_run);
    }
    return false;
}

static void await(struct sim *s, const struct duel *d, enum awaited what)
{
    uint32_t step_ms = what < VICTIM_IS_FENCED ? 1 : 5, ms = 0;

    for (; ms < 15000 && !s->verdict.failed && !has_come(s, d, what);
         ms += step_ms)
        sim_run_until(s, sim_now(s) + step_ms * SIM_MS);
    sim_trace(s, 0, "duel of h%u and h%u: step %u after %u ms", d->fencer,
              d->victim, (uint32_t)what + 1, ms);
}

/* The victim registers again before its fence is recorded, reads the name, and
 * the rest of the blocks when its fencer is fenced. */
static void void_names_once(struct sim *s)
{
    struct duel d = {.fencer = coordinator(s), .victim = any_host(s)};

    if (!d.fencer || d.fencer == d.victim)
        return;
    d.fencer_run = s->host[d.fencer].run;
    d.victim_run = s->host[d.victim].run;
    sim_net_split(s, 1U << d.victim);
    await(s, &d, FENCE_ENDS);
    sim_target_hang(s, 0, d.fencer, true);
    await(s, &d, VICTIM_READS);
    sim_target_hang(s, 0, d.victim, true);
    sim_target_hang(s, 0, d.fencer, false);
    await(s, &d, VICTIM_IS_FENCED);
    sim_net_split(s, 1U << d.fencer);
    await(s, &d, FENCER_IS_FENCED);
    sim_target_hang(s, 0, d.victim, false);
    pass(s, 0, 3000);
    sim_net_heal_all(s);
    pass(s, 0, 8000);
}

static void void_names(struct sim *s)
{
    struct world_options o = draw(s, 1);

    o.hosts = 4 + sim_below(s, 2);
    o.cpg.two_node = false;
    o.target.preempt_abort = true;
    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 3 && !s->verdict.failed; i++)
        void_names_once(s);
    world_settle(s, SETTLE_S * SIM_S);
}

/* -- 6: two claim one volume ----------------------------------------------- */

static void move(struct sim *s)
{
    uint32_t to = any_host(s);

    for (uint32_t h = 1; h <= s->host_count; h++) {
        struct node *n = world_node(s, h);

        if (n && !s->host[h].paused &&
            takeover_may_grant(&n->volume[0].takeover)) {
            sim_trace(s, h, "lun 0: is told to move to h%u", to);
            shell_takeover(
                &n->volume[0],
                &(struct takeover_event){.kind = TAKEOVER_EV_MOVE, .to = to});
        }
    }
}

static void two_claimants(struct sim *s)
{
    struct world_options o = draw(s, 1);

    o.hosts = 3 + sim_below(s, 3);
    o.cpg.two_node = false;
    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 12 && !s->verdict.failed; i++) {
        uint32_t host = any_host(s);

        switch (sim_below(s, 5)) {
        case 0: move(s); break;
        case 1: sim_host_pause(&s->host[host]); break;
        case 2:
            for (uint32_t h = 1; h <= o.hosts; h++)
                sim_host_continue(&s->host[h]);
            break;
        case 3: sim_net_split(s, 1U << host); break;
        case 4: sim_net_heal_all(s); break;
        }
        pass(s, 0, sim_chance(s, 500) ? 200 : 5000);
    }
    world_settle(s, SETTLE_S * SIM_S);
}

/* -- 7: a split, and several volumes --------------------------------------- */

static void split_several_luns(struct sim *s)
{
    struct world_options o = draw(s, 3);

    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 2 && !s->verdict.failed; i++) {
        uint32_t blind = any_host(s), lun = any_lun(s);

        if (sim_chance(s, 500))
            world_path(s, lun, blind, false);
        pass(s, 0, 2000);
        sim_net_split(s, 1U << any_host(s) | 1U << any_host(s));
        pass(s, 0, 15000);
        if (sim_chance(s, 300))
            sim_host_crash(&s->host[any_host(s)], sim_chance(s, 500));
        sim_net_heal_all(s);
        pass(s, 0, 4000);
        world_path(s, lun, blind, true);
    }
    world_settle(s, SETTLE_S * SIM_S);
}

/* -- 8: alive for corosync, dead for us ------------------------------------ */

static void stuck_but_alive(struct sim *s)
{
    struct world_options o = draw(s, 1);
    uint32_t stuck;

    o.hosts = 3 + sim_below(s, 2);
    o.cpg.two_node = false;
    if (!begin(s, &o))
        return;
    stuck = any_host(s);
    pass(s, 0, 3000);
    if (sim_chance(s, 300)) {
        sim_host_crash(&s->host[stuck], true); /* a ghost, perhaps */
    } else {
        sim_host_pause(&s->host[stuck]);
    }
    world_expect(s,
                 ((UINT64_C(1) << o.hosts) - 1) & ~(UINT64_C(1) << (stuck - 1)),
                 60 * SIM_S);
    pass(s, 0, 10000);
    world_settle(s, SETTLE_S * SIM_S);
}

/* -- 5: grants and reports around a takeover ------------------------------- */

/* Power fails at the coordinator when a grant of it is on its way. */
static void crash_in_grant(struct sim *s)
{
    uint64_t before = work_grants(s);
    uint32_t host;

    for (uint32_t i = 0; i < 200 && !s->verdict.failed; i++) {
        sim_run_until(s, sim_now(s) + 50 * SIM_MS);
        host = coordinator(s);
        if (host && work_grants(s) != before) {
            sim_host_crash(&s->host[host], sim_chance(s, 800));
            return;
        }
    }
}

static void late_grant(struct sim *s)
{
    struct world_options o = draw(s, 1);

    o.hosts = 3 + sim_below(s, 2);
    o.cpg.two_node = false;
    o.cpg.token_ns = 300 * SIM_MS;
    o.net.long_permille = 150;
    o.net.long_delay_ns = 5 * SIM_S;
    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 4 && !s->verdict.failed; i++) {
        sim_host_crash(&s->host[any_host(s)], sim_chance(s, 300));
        pass(s, 0, 3000);
        for (uint32_t h = 1; h <= o.hosts; h++)
            if (!s->host[h].up && !world_ends(s, h))
                sim_host_start(&s->host[h]);
        crash_in_grant(s);
        pass(s, 0, 8000);
    }
    world_settle(s, SETTLE_S * SIM_S);
}

/* -- 1, 4: a host without a path goes on ----------------------------------- */

/* Who is redirected dies while the coordinator's writes, its own among them,
 * hang in the target; they go on when others may have what it had. */
static void borrowed_pen_once(struct sim *s, uint32_t host)
{
    uint32_t pen = coordinator(s);

    if (!pen || pen == host)
        return;
    for (uint32_t i = 0; i < 200 && !s->verdict.failed; i++) {
        if (sim_target_hold_writes(s, 0, pen))
            break;
        sim_run_until(s, sim_now(s) + 5 * SIM_MS);
    }
    sim_host_crash(&s->host[host], true);
    pass(s, 6000, 12000);
}

static void borrowed_pen(struct sim *s)
{
    struct world_options o = draw(s, 1);

    o.hosts = 3;
    o.cpg.two_node = false;
    o.target.preempt_abort = true; /* a reset waits for what is held */
    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 4 && !s->verdict.failed; i++) {
        uint32_t host = any_host(s);

        world_path(s, 0, host, false);
        pass(s, 7000, 9000);
        borrowed_pen_once(s, host);
        sim_target_let_go(s, 0);
        world_path(s, 0, host, true);
        if (!s->host[host].up && !world_ends(s, host))
            sim_host_start(&s->host[host]);
        pass(s, 0, 6000);
    }
    world_settle(s, SETTLE_S * SIM_S);
}

/* Paths are cut and healed, with writes held on their way, while hosts die. */
static void lost_path_once(struct sim *s)
{
    uint32_t host = any_host(s), other = any_host(s);
    bool holds = sim_chance(s, 700);

    if (holds)
        (void)sim_target_hold_writes(s, 0, host);
    world_path(s, 0, host, false);
    pass(s, 0, sim_chance(s, 300) ? 5000 : 12000);
    if (sim_chance(s, 200))
        world_path(s, 0, other, false);
    if (sim_chance(s, 200))
        sim_host_crash(&s->host[other], sim_chance(s, 500));
    else if (sim_chance(s, 200))
        sim_net_split(s, 1U << other);
    if (sim_chance(s, 500))
        sim_target_let_go(s, 0);
    pass(s, 0, 6000);
    world_path(s, 0, host, true);
    pass(s, 0, sim_chance(s, 500) ? 1000 : 6000);
    sim_target_let_go(s, 0);
    sim_net_heal_all(s);
    world_path(s, 0, other, true);
    for (uint32_t h = 1; h <= s->host_count; h++)
        if (!s->host[h].up && !world_ends(s, h))
            sim_host_start(&s->host[h]);
    pass(s, 0, 6000);
}

static void lost_path(struct sim *s)
{
    struct world_options o = draw(s, 1);

    o.hosts = 3 + sim_below(s, 2);
    o.cpg.two_node = false;
    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 5 && !s->verdict.failed; i++)
        lost_path_once(s);
    world_settle(s, SETTLE_S * SIM_S);
}

/* Nobody is fenced for a path: each host goes on with its run. */
static void path_alone(struct sim *s)
{
    struct world_options o = draw(s, 1);
    uint64_t run[SIM_SENDERS];

    o.hosts = 3;
    o.cpg.two_node = o.eager = false;
    o.target.long_ns = 50 * SIM_MS;
    o.net.reset_permille = 0;
    if (!begin(s, &o))
        return;
    for (uint32_t h = 1; h <= o.hosts; h++)
        run[h] = s->host[h].run;
    for (uint32_t i = 0; i < 6 && !s->verdict.failed; i++) {
        uint32_t host = any_host(s);

        world_path(s, 0, host, false);
        pass(s, 0, 15000);
        world_path(s, 0, host, true);
        pass(s, 0, 8000);
    }
    world_settle(s, SETTLE_S * SIM_S);
    for (uint32_t h = 1; h <= o.hosts && !s->verdict.failed; h++)
        if (s->host[h].run != run[h])
            sim_fail(s, "progress", "h%u was fenced for a path", h);
}

/* All are cut off, some after others; then one is back: it must serve, and the
 * others write by way of it. */
static void last_path(struct sim *s)
{
    struct world_options o = draw(s, 1);
    uint32_t first;

    o.hosts = 3 + sim_below(s, 2);
    o.cpg.two_node = o.eager = false;
    o.target.long_ns = 50 * SIM_MS;
    if (!begin(s, &o))
        return;
    first = any_host(s);
    for (uint32_t i = 0; i < o.hosts; i++) {
        world_path(s, 0, 1 + (first + i) % o.hosts, false);
        pass(s, 0, sim_chance(s, 500) ? 1000 : 9000);
    }
    pass(s, 0, 9000);
    first = any_host(s);
    world_path(s, 0, first, true);
    world_serves(s, first, 60 * SIM_S);
    world_settle(s, SETTLE_S * SIM_S);
}

/* -- who comes while another coordinates ----------------------------------- */

/* Nobody is fenced but who ended: each host that was not crashed here goes on
 * with its run. */
static void joiners(struct sim *s)
{
    struct world_options o = draw(s, 1);
    uint64_t run[SIM_SENDERS];

    o.hosts = 3 + sim_below(s, 3);
    o.cpg.two_node = false;
    o.cpg.token_ns = 300 * SIM_MS;
    o.net.reset_permille = 0;
    o.net.long_permille = 200; /* announcements are late */
    o.net.long_delay_ns = 2 * SIM_S;
    o.target.long_ns = 50 * SIM_MS;
    o.eager = false;
    if (!begin(s, &o))
        return;
    for (uint32_t h = 1; h <= o.hosts; h++)
        run[h] = s->host[h].run;
    for (uint32_t i = 0; i < 8 && !s->verdict.failed; i++) {
        uint32_t host = any_host(s);

        sim_host_crash(&s->host[host], sim_chance(s, 500));
        pass(s, 0, 6000);
        sim_host_start(&s->host[host]);
        run[host] = s->host[host].run;
        pass(s, 0, 4000);
    }
    world_settle(s, SETTLE_S * SIM_S);
    for (uint32_t h = 1; h <= o.hosts && !s->verdict.failed; h++)
        if (s->host[h].run != run[h])
            sim_fail(s, "progress", "h%u was fenced for nothing", h);
}

/* -- F12: the target forgets ----------------------------------------------- */

static void target_forgets(struct sim *s)
{
    struct world_options o = draw(s, 1);

    o.target.aptpl = sim_chance(s, 300);
    if (!begin(s, &o))
        return;
    for (uint32_t i = 0; i < 2 && !s->verdict.failed; i++) {
        if (sim_chance(s, 500))
            sim_host_pause(&s->host[any_host(s)]);
        pass(s, 0, 8000);
        sim_target_restart(s, 0);
        pass(s, 0, 3000);
        for (uint32_t h = 1; h <= o.hosts; h++)
            sim_host_continue(&s->host[h]);
        pass(s, 0, 3000);
    }
    world_settle(s, SETTLE_S * SIM_S);
}

/* clang-format off */
const struct sim_scenario sim_scenarios[] = {
    {"late_twin", "a write lands after its repetition (F1)", late_twin},
    {"un_fence", "a fenced host registers again (F2)", un_fence},
    {"void_names", "who fenced me is fenced: is its word void? (F2)", void_names},
    {"late_grant", "grants and reports around takeovers (F5)", late_grant},
    {"two_claimants", "views change during takeovers (F10)", two_claimants},
    {"split_several_luns", "splits, lost paths (F8)", split_several_luns},
    {"stuck_but_alive", "listed, but takes no steps (F9)", stuck_but_alive},
    {"lost_path", "paths go and come back, hosts die (F1, F4)", lost_path},
    {"borrowed_pen", "who is redirected dies, its writes hang (F4)", borrowed_pen},
    {"path_alone", "paths go and come back, no run ends", path_alone},
    {"last_path", "all paths go, one comes back", last_path},
    {"joiners", "hosts come while another coordinates", joiners},
    {"target_forgets", "the target restarts (F12)", target_forgets},
};
/* clang-format on */
const size_t sim_scenario_count = ARRAY_LEN(sim_scenarios);
