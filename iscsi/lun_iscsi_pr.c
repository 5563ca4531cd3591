/* iscsi/lun_iscsi_pr.c - persistent reservations and LOGICAL UNIT RESET.
 * One at a time per session; decides nothing and repeats nothing but after a
 * unit attention.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "iscsi/lun_iscsi.h"

#include <string.h>

enum { KEYS_HEADER_BYTES = 8, KEY_BYTES = 8, RESERVATION_BYTES = 24 };

/* SPC-4 tables 59 and 62: service actions. */
static const struct pr_row {
    bool in, every_session;
    uint8_t action;
} pr_rows[LUN_PR_OP_COUNT] = {
    [LUN_PR_READ_KEYS] = {true,  false, 0},
    [LUN_PR_READ_RESERVATION] = {true,  false, 1},
    [LUN_PR_REGISTER] = {false, true,  0},
    [LUN_PR_REGISTER_IGNORE] = {false, true,  6},
    [LUN_PR_RESERVE] = {false, false, 1},
    [LUN_PR_RELEASE] = {false, false, 2},
    [LUN_PR_CLEAR] = {false, false, 3},
    [LUN_PR_PREEMPT] = {false, false, 4},
    [LUN_PR_PREEMPT_ABORT] = {false, false, 5},
};

/* -- the end --------------------------------------------------------------- */

static void pr_report(struct task *t)
{
    struct lun_pr *pr = container_of(t, struct lun_pr, task);

    pr->done(pr, pr->result);
}

static void pr_arrive(struct task *t);

/* On to the next session, or back to who asked. */
static void pr_finish(struct lun_pr *pr, enum err e)
{
    struct lun_iscsi *li = lun_iscsi_of(pr->lun);
    struct loop *next = pr->from;

    pr->result = e;
    pr->task = (struct task){.run = pr_report};
    if (!e && pr_rows[pr->op].every_session &&
        pr->session + 1 < li->session_count) {
        pr->session++;
        pr->task.run = pr_arrive;
        next = li->sessions[pr->session]->loop;
    }
    loop_post(next, &pr->task);
}

static void pr_end(struct session *s, enum err e)
{
    struct lun_pr *pr = s->pr;

    s->pr = NULL;
    pr_finish(pr, e);
    prs_dispatch(s);
}

/* -- answers --------------------------------------------------------------- */

static enum err take_keys(struct lun_pr *pr, struct lun_answer answer)
{
    const uint8_t *b = answer.bytes;
    uint32_t came;

    if (answer.count < KEYS_HEADER_BYTES)
        return E_PROTOCOL;
    pr->generation = be32_load(b);
    /* What there is, even if it did not fit: a list cut short looks as if
     * keys were gone. */
    pr->key_count = be32_load(b + 4) / KEY_BYTES;
    came = (uint32_t)((answer.count - KEYS_HEADER_BYTES) / KEY_BYTES);
    if (came < pr->key_count && came < pr->keys_max)
        return E_PROTOCOL;
    for (uint32_t i = 0; i < pr->key_count && i < pr->keys_max; i++)
        pr->keys[i] = be64_load(b + KEYS_HEADER_BYTES + (size_t)i * KEY_BYTES);
    return E_OK;
}

static enum err take_reservation(struct lun_pr *pr, struct lun_answer answer)
{
    const uint8_t *b = answer.bytes;

    if (answer.count < 8)
        return E_PROTOCOL;
    pr->generation = be32_load(b);
    pr->key = 0;
    pr->type = 0;
    if (be32_load(b + 4) == 0) /* nobody holds one */
        return E_OK;
    if (answer.count < 22)
        return E_PROTOCOL;
    pr->key = be64_load(b + 8);
    pr->type = b[21] & 0x0f;
    return E_OK;
}

static enum err take_answer(struct lun_pr *pr, const struct scsi_task *task)
{
    struct lun_answer answer = {
        task->datain.data,
        task->datain.size > 0 ? (size_t)task->datain.size : 0};

    if (pr->op == LUN_PR_READ_KEYS)
        return take_keys(pr, answer);
    if (pr->op == LUN_PR_READ_RESERVATION)
        return take_reservation(pr, answer);
    return E_OK;
}

static enum err sense_error(const struct scsi_sense *sense)
{
    if (sense->key != SCSI_SENSE_ILLEGAL_REQUEST)
        return E_IO;
    if (sense->ascq == SCSI_SENSE_ASCQ_INVALID_OPERATION_CODE ||
        sense->ascq == SCSI_SENSE_ASCQ_INVALID_FIELD_IN_CDB)
        return E_UNSUPPORTED;
    return E_INVAL;
}

static void pr_send(struct session *s);

static void pr_done(struct iscsi_context *ctx, int status, void *data,
                    void *arg)
{
    struct session *s = arg;
    struct scsi_task *task = data;
    bool again = false;
    enum err e = E_LUN_GONE;

    (void)ctx;
    if (status == SCSI_STATUS_GOOD) {
        e = take_answer(s->pr, task);
    } else if (status == SCSI_STATUS_RESERVATION_CONFLICT) {
        e = E_RESERVED;
    } else if (status == SCSI_STATUS_CHECK_CONDITION) {
        again = task->sense.key == SCSI_SENSE_UNIT_ATTENTION &&
                ++s->pr_attentions <= UNIT_ATTENTIONS_MAX;
        e = sense_error(&task->sense);
    }
    scsi_free_scsi_task(task);
    if (again)
        pr_send(s);
    else
        pr_end(s, e);
}

static void reset_done(struct iscsi_context *ctx, int status, void *data,
                       void *arg)
{
    struct session *s = arg;
    enum err e = E_LUN_GONE;

    (void)ctx;
    if (status == SCSI_STATUS_GOOD)
        e = *(uint32_t *)data == ISCSI_TMR_FUNC_COMPLETE ? E_OK : E_UNSUPPORTED;
    pr_end(s, e);
}

/* -- questions ------------------------------------------------------------- */

static struct scsi_task *build_in(const struct lun_pr *pr)
{
    uint64_t bytes = KEYS_HEADER_BYTES + (uint64_t)pr->keys_max * KEY_BYTES;
    uint8_t cdb[10] = {0x5e, pr_rows[pr->op].action};

    if (pr->op == LUN_PR_READ_RESERVATION)
        bytes = RESERVATION_BYTES;
    bytes = min_u64(bytes, align_down(UINT16_MAX, KEY_BYTES));
    be16_store(cdb + 7, (uint16_t)bytes);
    return scsi_create_task(sizeof cdb, cdb, SCSI_XFER_READ, (int)bytes);
}

/* The library keeps the pointer, so the parameters live in the session. */
static struct scsi_task *build_out(struct session *s)
{
    const struct lun_pr *pr = s->pr;
    uint8_t cdb[10] = {0x5f, pr_rows[pr->op].action,
                       pr->type, [8] = sizeof s->pr_param};
    struct scsi_task *task =
        scsi_create_task(sizeof cdb, cdb, SCSI_XFER_WRITE, sizeof s->pr_param);

    if (!task)
        return NULL;
    memset(s->pr_param, 0, sizeof s->pr_param);
    be64_store(s->pr_param, pr->op == LUN_PR_REGISTER_IGNORE ? 0 : pr->key);
    be64_store(s->pr_param + 8, pr->new_key);
    s->pr_param[20] = pr->aptpl ? 1 : 0;
    s->pr_iov = (struct scsi_iovec){s->pr_param, sizeof s->pr_param};
    scsi_task_set_iov_out(task, &s->pr_iov, 1);
    return task;
}

static bool send_reset(struct session *s)
{
    return iscsi_task_mgmt_async(s->ctx, s->lun->scsi_lun, ISCSI_TM_LUN_RESET,
                                 UINT32_MAX, 0, reset_done, s) == 0;
}

static bool send_command(struct session *s)
{
    struct scsi_task *task =
        pr_rows[s->pr->op].in ? build_in(s->pr) : build_out(s);

    if (!task)
        return false;
    if (iscsi_scsi_command_async(s->ctx, s->lun->scsi_lun, task, pr_done, NULL,
                                 s)) {
        scsi_free_scsi_task(task);
        return false;
    }
    return true;
}

static void pr_send(struct session *s)
{
    bool sent = s->pr->op == LUN_PR_RESET ? send_reset(s) : send_command(s);

    if (sent)
        session_kick(s);
    else
        pr_end(s, E_LUN_GONE);
}

/* -- the queue ------------------------------------------------------------- */

void prs_dispatch(struct session *s)
{
    if (s->state != SESSION_READY || s->lost || s->pr || list_empty(&s->prs))
        return;
    s->pr = container_of(list_pop_front(&s->prs), struct lun_pr, link);
    s->pr_attentions = 0;
    s->pr_since_ns = session_now(s);
    pr_send(s);
}

void prs_fail(struct session *s, enum err e)
{
    struct list *first;

    while ((first = list_pop_front(&s->prs)))
        pr_finish(container_of(first, struct lun_pr, link), e);
}

static void pr_arrive(struct task *t)
{
    struct lun_pr *pr = container_of(t, struct lun_pr, task);
    struct session *s = lun_iscsi_of(pr->lun)->sessions[pr->session];

    if (s->gone) {
        pr_finish(pr, E_LUN_GONE);
        return;
    }
    list_push_back(&s->prs, &pr->link);
    prs_dispatch(s);
}

enum err iscsi_pr_submit(struct lun *lun, struct lun_pr *pr)
{
    struct lun_iscsi *li = lun_iscsi_of(lun);

    pr->lun = lun;
    pr->from = loop_self();
    pr->session = 0;
    pr->link = (struct list){NULL, NULL};
    pr->task = (struct task){.run = pr_arrive};
    loop_post(li->sessions[0]->loop, &pr->task);
    return E_OK;
}
