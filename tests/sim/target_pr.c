/* tests/sim/target_pr.c - persistent reservations as SPC-4 has them (5.12,
 * 6.15, 6.16), with the habits of real targets.  Runs no task.
 *
 *   M1  a registration belongs to a nexus; with new_nexus_each_login it stays
 *       listed on the dead one after a reconnect
 *   M2  who was preempted can REGISTER its old key again: SPC knows no better
 *   M3  PREEMPT of a key that nobody has is a RESERVATION CONFLICT
 *   M4  frees_holder: types 7 and 8, the nexus that reserved is preempted:
 *       the reservation is garbage from then on (tgt 1.0.85)
 *   M5  in target.c: the check is at execution
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/target_private.h"

enum { WE = 1, EA = 3, WE_RO = 5, EA_RO = 6, WE_AR = 7, EA_AR = 8 };

static bool is_type(uint32_t type)
{
    return type == WE || type == EA || (type >= WE_RO && type <= EA_AR);
}

static bool is_all_registrants(uint32_t type)
{
    return type == WE_AR || type == EA_AR;
}

static bool is_registrants(uint32_t type)
{
    return type >= WE_RO;
}

static bool is_holder(const struct sim_target *t, const struct it_nexus *n)
{
    if (!t->type)
        return false;
    return is_all_registrants(t->type) ? n->registered : t->holder == n;
}

void attention(struct it_nexus *n, uint32_t code)
{
    if (n->attention_count < ATTENTIONS_MAX)
        n->attentions[n->attention_count++] = code;
}

/* SPC-4 table 66 and SBC-3 table 13. */
bool pr_allows(const struct sim_target *t, const struct it_nexus *n,
               enum sim_op op)
{
    bool writes = op == SIM_WRITE || op == SIM_SYNC_CACHE;

    if (!t->type || (op != SIM_READ && !writes))
        return true;
    if (is_holder(t, n) || (is_registrants(t->type) && n->registered))
        return true;
    switch (t->type) {
    case WE:
    case WE_RO:
    case WE_AR: return !writes;
    default: return false;
    }
}

static void tell_registrants(struct sim_target *t, const struct it_nexus *but,
                             uint32_t code)
{
    for (uint32_t i = 0; i < t->nexus_count; i++)
        if (t->nexus[i].registered && &t->nexus[i] != but)
            attention(&t->nexus[i], code);
}

/* The reservation ends; registrants are told if it was theirs too. */
static void release(struct sim_target *t, const struct it_nexus *by)
{
    if (is_registrants(t->type))
        tell_registrants(t, by, SIM_UA_RELEASED);
    t->type = 0;
    t->holder = NULL;
}

static uint32_t registrants(const struct sim_target *t)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < t->nexus_count; i++)
        count += t->nexus[i].registered;
    return count;
}

static void unregister(struct sim_target *t, struct it_nexus *n)
{
    bool held = is_holder(t, n);

    n->registered = false;
    if (held && (!is_all_registrants(t->type) || !registrants(t)))
        release(t, n);
}

static void do_register(struct sim_target *t, struct it_nexus *n,
                        struct sim_command *c)
{
    if (c->op == SIM_REGISTER && c->key != (n->registered ? n->key : 0)) {
        c->status = SIM_CONFLICT;
        return;
    }
    if (!c->service_key) {
        if (n->registered)
            unregister(t, n);
    } else {
        n->registered = true;
        n->key = c->service_key;
    }
    t->generation++;
}

static void do_reserve(struct sim_target *t, struct it_nexus *n,
                       struct sim_command *c)
{
    if (!is_type(c->type)) {
        c->status = SIM_ILLEGAL;
    } else if (!t->type && !t->dangling) {
        t->type = c->type;
        t->holder = n;
    } else if (t->dangling || !is_holder(t, n) || t->type != c->type) {
        c->status = SIM_CONFLICT;
    }
}

static void do_release(struct sim_target *t, struct it_nexus *n,
                       struct sim_command *c)
{
    if (!is_holder(t, n))
        return; /* 5.12.11.2: not the holder, no error */
    if (t->type != c->type)
        c->status = SIM_ILLEGAL;
    else
        release(t, n);
}

static void do_clear(struct sim_target *t, const struct it_nexus *n)
{
    for (uint32_t i = 0; i < t->nexus_count; i++) {
        if (t->nexus[i].registered && &t->nexus[i] != n)
            attention(&t->nexus[i], SIM_UA_PREEMPTED);
        t->nexus[i].registered = false;
    }
    t->type = 0;
    t->holder = NULL;
    t->generation++;
}

/* Take registrations with the key away (0: all), the sender's own excepted. */
static uint32_t remove_key(struct sim_target *t, const struct it_nexus *n,
                           const struct sim_command *c)
{
    uint32_t removed = 0;

    for (uint32_t i = 0; i < t->nexus_count; i++) {
        struct it_nexus *other = &t->nexus[i];

        if (!other->registered || other == n ||
            (c->service_key && other->key != c->service_key))
            continue;
        other->registered = false;
        attention(other, SIM_UA_UNREGISTERED);
        if (c->op == SIM_PREEMPT_ABORT)
            target_abort_nexus(t, other);
        removed++;
    }
    return removed;
}

static bool has_key(const struct sim_target *t, uint64_t key)
{
    for (uint32_t i = 0; i < t->nexus_count; i++)
        if (t->nexus[i].registered && t->nexus[i].key == key)
            return true;
    return false;
}

/* 5.12.11.3: preempting the holder moves the reservation in one step. */
static void preempt_holder(struct sim_target *t, struct it_nexus *n,
                           struct sim_command *c)
{
    uint32_t before = t->type;

    if (!is_type(c->type)) {
        c->status = SIM_ILLEGAL;
        return;
    }
    remove_key(t, n, c);
    t->type = c->type;
    t->holder = n;
    if (before != c->type && is_registrants(before))
        tell_registrants(t, n, SIM_UA_RELEASED);
    t->generation++;
}

static void do_preempt(struct sim_target *t, struct it_nexus *n,
                       struct sim_command *c)
{
    bool reserved_by_it;

    if (is_all_registrants(t->type)) {
        if (!c->service_key) {
            preempt_holder(t, n, c);
            return;
        }
    } else if (!c->service_key) {
        c->status = SIM_ILLEGAL;
        return;
    } else if (t->type && t->holder->registered &&
               t->holder->key == c->service_key) {
        preempt_holder(t, n, c);
        return;
    }
    if (!has_key(t, c->service_key)) {
        c->status = SIM_CONFLICT; /* M3 */
        return;
    }
    reserved_by_it = is_all_registrants(t->type) && t->holder != n &&
                     t->holder->key == c->service_key;
    remove_key(t, n, c);
    t->generation++;
    if (reserved_by_it && t->options.frees_holder) {
        t->type = 0; /* M4 */
        t->dangling = true;
    }
}

static void do_read(const struct sim_target *t, struct sim_command *c)
{
    c->generation = t->generation;
    if (c->op == SIM_READ_RESERVATION) {
        c->reserved_type = t->type;
        c->keys[0] =
            t->type && !is_all_registrants(t->type) ? t->holder->key : 0;
        c->key_count = t->type != 0;
        return;
    }
    for (uint32_t i = 0; i < t->nexus_count; i++) {
        if (!t->nexus[i].registered)
            continue;
        if (c->key_count < SIM_KEYS_MAX)
            c->keys[c->key_count] = t->nexus[i].key;
        c->key_count++;
    }
}

void pr_run(struct sim_target *t, struct it_nexus *n, struct sim_command *c)
{
    bool is_out = c->op != SIM_READ_KEYS && c->op != SIM_READ_RESERVATION;

    if (c->op == SIM_PREEMPT_ABORT && !t->options.preempt_abort) {
        c->status = SIM_ILLEGAL;
    } else if (!is_out) {
        do_read(t, c);
    } else if (c->op == SIM_REGISTER || c->op == SIM_REGISTER_IGNORE) {
        do_register(t, n, c);
    } else if (!n->registered || n->key != c->key) {
        c->status = SIM_CONFLICT;
    } else if (c->op == SIM_RESERVE) {
        do_reserve(t, n, c);
    } else if (c->op == SIM_RELEASE) {
        do_release(t, n, c);
    } else if (c->op == SIM_CLEAR) {
        do_clear(t, n);
    } else {
        do_preempt(t, n, c);
    }
}

void pr_restart(struct sim_target *t)
{
    if (t->options.aptpl)
        return;
    for (uint32_t i = 0; i < t->nexus_count; i++)
        t->nexus[i].registered = false;
    t->type = 0;
    t->holder = NULL;
    t->dangling = false;
    t->generation = 0;
}

bool sim_has_key(const struct sim *s, uint32_t lun, uint64_t key)
{
    return has_key(s->target[lun], key);
}

uint32_t sim_reserved_type(const struct sim *s, uint32_t lun)
{
    return s->target[lun]->type;
}
