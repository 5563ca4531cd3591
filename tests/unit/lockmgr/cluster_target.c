/* tests/unit/lockmgr/cluster_target.c - the target: what a command does when
 * it runs.  Knows no core; finds out whether a promise was broken.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/cluster.h"

#include <stdlib.h>

static struct registration *registration_of(struct target *lun,
                                            uint32_t session)
{
    for (int i = 0; i < REGISTRATIONS_MAX; i++)
        if (lun->reg[i].session == session)
            return &lun->reg[i];
    return NULL;
}

/* Type 6: registrants only. */
static bool may_access(struct target *lun, uint32_t session)
{
    return lun->type == LM_RESERVATION_NONE || registration_of(lun, session);
}

static enum lun_answer run_register(struct target *lun, struct command *cmd)
{
    struct registration *reg = registration_of(lun, cmd->session);

    if (cmd->kind == COMMAND_RECHECK)
        return reg && reg->key == cmd->key ? LUN_OK : LUN_CONFLICT;
    if (!reg)
        reg = registration_of(lun, 0);
    ASSERT(reg);
    *reg = (struct registration){cmd->session, cmd->key};
    return LUN_OK;
}

static enum lun_answer run_reserve(struct target *lun, struct command *cmd)
{
    if (!registration_of(lun, cmd->session))
        return LUN_CONFLICT;
    if (lun->type != LM_RESERVATION_NONE)
        return lun->holder == cmd->session ? LUN_OK : LUN_CONFLICT;
    lun->type = LM_EXCLUSIVE_ACCESS_REGISTRANTS;
    lun->holder = cmd->session;
    return LUN_OK;
}

static void check_data(struct cluster *c, const struct command *cmd)
{
    struct lm_run run = c->node[cmd->node - 1].run;

    run.incarnation = cmd->life;
    c->data_accepted++;
    if (c->lun.type == LM_RESERVATION_NONE)
        return; /* a target that forgot it lets anybody write (F12) */
    for (uint32_t i = 0; i < c->done_count; i++)
        if (lm_target_covers(&c->done[i], run, cmd->turn))
            c->broken = "a write landed after its fence was done (I10)";
}

static void check_meta(struct cluster *c, const struct command *cmd)
{
    check_data(c, cmd);
    if (cmd->epoch < c->meta_epoch)
        c->broken = "metadata of a lower epoch was written (I4)";
    c->meta_epoch = cmd->epoch;
}

/* A write that the target let in: it may take its time (M5). */
void target_land(struct cluster *c, struct command *cmd)
{
    if (cmd->kind == COMMAND_META)
        check_meta(c, cmd);
    else
        check_data(c, cmd);
    cmd->state = COMMAND_RUN;
}

/* What has not run of this nexus never will; what runs is waited for. */
static void abort_session(struct cluster *c, uint32_t session)
{
    for (int i = 0; i < COMMANDS_MAX; i++) {
        struct command *cmd = &c->command[i];

        if (cmd->state == COMMAND_RUNNING && cmd->session == session)
            target_land(c, cmd);
        if (cmd->state != COMMAND_SENT || cmd->session != session)
            continue;
        /* The initiator sends it again, unless it is nobody's any more. */
        cmd->state = cmd->asker == ASKER_NOBODY ? COMMAND_FREE : COMMAND_HELD;
    }
}

void target_abort(struct cluster *c, uint32_t node)
{
    for (int i = 0; i < COMMANDS_MAX; i++)
        if ((c->command[i].state == COMMAND_SENT ||
             c->command[i].state == COMMAND_RUNNING) &&
            (!node || c->command[i].node == node))
            abort_session(c, c->command[i].session);
}

static enum lun_answer run_preempt(struct cluster *c, struct command *cmd)
{
    struct target *lun = &c->lun;
    bool found = false;

    if (!lun->can_preempt ||
        (cmd->kind == COMMAND_PREEMPT_ABORT && !lun->can_abort))
        return LUN_UNSUPPORTED;
    if (!registration_of(lun, cmd->session))
        return LUN_CONFLICT;
    for (int i = 0; i < REGISTRATIONS_MAX; i++) {
        struct registration *reg = &lun->reg[i];

        if (!reg->session || reg->key != cmd->key)
            continue;
        found = true;
        if (lun->type && lun->holder == reg->session)
            lun->holder = cmd->session;
        if (cmd->kind == COMMAND_PREEMPT_ABORT)
            abort_session(c, reg->session);
        reg->session = 0;
    }
    return found ? LUN_OK : LUN_CONFLICT;
}

static enum lun_answer run_read_keys(struct target *lun, struct command *cmd)
{
    cmd->key_count = 0;
    for (int i = 0; i < REGISTRATIONS_MAX; i++)
        if (lun->reg[i].session)
            cmd->keys[cmd->key_count++] = lun->reg[i].key;
    return LUN_OK;
}

static void check_open(struct cluster *c, const struct command *cmd)
{
    struct lm_run run = {cmd->node, cmd->life};
    struct lm_run *by = &c->opened_by[cmd->epoch];

    ASSERT(cmd->epoch < EPOCHS_MAX);
    if (by->node && !lm_run_eq(*by, run))
        c->broken = "two opened one epoch (I4)";
    *by = run;
    check_meta(c, cmd);
}

static enum lun_answer run_io(struct cluster *c, struct command *cmd)
{
    struct target *lun = &c->lun;

    if (!may_access(lun, cmd->session))
        return LUN_CONFLICT;
    if (cmd->kind == COMMAND_READ_BLOCKS) {
        if (!cmd->blocks)
            cmd->blocks = malloc(sizeof *cmd->blocks);
        ASSERT(cmd->blocks);
        *cmd->blocks = lun->blocks;
        cmd->super_epoch = lun->super_epoch;
    } else if (cmd->kind == COMMAND_WRITE_BLOCK) {
        check_data(c, cmd);
        lun->blocks.node[cmd->node - 1] = cmd->block;
    } else if (cmd->kind == COMMAND_WRITE_SUPER) {
        check_meta(c, cmd);
        lun->super_epoch = cmd->epoch;
    } else if (cmd->kind == COMMAND_OPEN) {
        check_open(c, cmd);
    }
    return LUN_OK;
}

static enum lun_answer run_reset(struct cluster *c, struct command *cmd)
{
    cmd->state = COMMAND_RUN; /* not its own victim */
    target_abort(c, 0);
    nodes_attention(c, 0);
    return LUN_OK;
}

void target_run(struct cluster *c, struct command *cmd)
{
    switch (cmd->kind) {
    case COMMAND_REGISTER:
    case COMMAND_RECHECK: cmd->answer = run_register(&c->lun, cmd); break;
    case COMMAND_RESERVE: cmd->answer = run_reserve(&c->lun, cmd); break;
    case COMMAND_PREEMPT:
    case COMMAND_PREEMPT_ABORT: cmd->answer = run_preempt(c, cmd); break;
    case COMMAND_READ_KEYS: cmd->answer = run_read_keys(&c->lun, cmd); break;
    case COMMAND_READ_RESERVATION:
        cmd->answer = LUN_OK;
        cmd->type = c->lun.type;
        break;
    case COMMAND_RESET: cmd->answer = run_reset(c, cmd); break;
    case COMMAND_READ_BLOCKS:
    case COMMAND_WRITE_BLOCK:
    case COMMAND_FLUSH:
    case COMMAND_WRITE_SUPER:
    case COMMAND_OPEN:
    case COMMAND_DATA:
    case COMMAND_META: cmd->answer = run_io(c, cmd); break;
    }
    cmd->state = COMMAND_RUN;
    if ((cmd->kind == COMMAND_DATA || cmd->kind == COMMAND_META) &&
        cmd->answer == LUN_OK)
        cmd->state = COMMAND_RUNNING;
}
