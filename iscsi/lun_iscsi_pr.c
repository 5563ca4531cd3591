/* iscsi/lun_iscsi_pr.c - single commands: persistent reservations, LOGICAL
 * UNIT RESET, blocks of a LUN that is held.  One at a time per session;
 * decides nothing and repeats nothing, but after a unit attention on a LUN
 * that is not shared.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "iscsi/lun_iscsi.h"

#include <string.h>

enum {
    KEYS_HEADER_BYTES = 8,
    KEY_BYTES = 8,
    RESERVATION_BYTES = 24,
    RESET_WAITS_MS = 2000 /* for what this session has out */
};

/* SPC-4 tables 59 and 62: service actions. */
static const struct pr_row {
    bool changes;   /* outcome unknown: a write at large (I13) */
    bool registers; /* every session; alone on a shared one */
    uint8_t opcode, action;
} pr_rows[LUN_PR_OP_COUNT] = {
    [LUN_PR_READ_KEYS] = {false, false, 0x5e,                           0},
    [LUN_PR_READ_RESERVATION] = {false, false, 0x5e,                           1},
    [LUN_PR_REGISTER] = {true,  true,  0x5f,                           0},
    [LUN_PR_REGISTER_IGNORE] = {true,  true,  0x5f,                           6},
    [LUN_PR_RESERVE] = {true,  false, 0x5f,                           1},
    [LUN_PR_RELEASE] = {true,  false, 0x5f,                           2},
    [LUN_PR_CLEAR] = {true,  false, 0x5f,                           3},
    [LUN_PR_PREEMPT] = {true,  false, 0x5f,                           4},
    [LUN_PR_PREEMPT_ABORT] = {true,  false, 0x5f,                           5},
    [LUN_PR_RESET] = {false, false, 0,                              0},
    [LUN_PR_READ] = {false, false, SCSI_OPCODE_READ16,             0},
    [LUN_PR_WRITE] = {true,  false, SCSI_OPCODE_WRITE16,            0},
    [LUN_PR_FLUSH] = {false, false, SCSI_OPCODE_SYNCHRONIZECACHE16, 0},
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
    if (!e && pr_rows[pr->op].registers &&
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
    s->pr_task = NULL;
    pr_finish(pr, e);
    prs_dispatch(s);
    commands_resume(s); /* it may have asked for silence */
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
    if (pr->op == LUN_PR_READ &&
        task->residual_status != SCSI_RESIDUAL_NO_RESIDUAL)
        return E_IO; /* fewer bytes than asked for are not data */
    return E_OK;
}

static enum err sense_error(const struct lun_pr *pr,
                            const struct scsi_sense *sense)
{
    if (sense->key == SCSI_SENSE_UNIT_ATTENTION ||
        sense->key == SCSI_SENSE_COMMAND_ABORTED ||
        sense->key == SCSI_SENSE_NOT_READY)
        return E_AGAIN;
    if (sense->key != SCSI_SENSE_ILLEGAL_REQUEST)
        return E_IO;
    if (sense->ascq == SCSI_SENSE_ASCQ_INVALID_OPERATION_CODE ||
        sense->ascq == SCSI_SENSE_ASCQ_INVALID_FIELD_IN_CDB ||
        (sense->ascq == SCSI_SENSE_ASCQ_INVALID_FIELD_IN_PARAMETER_LIST &&
         pr->aptpl))
        return E_UNSUPPORTED;
    return E_INVAL;
}

/* Nobody knows what became of it. */
static enum err pr_lost(struct session *s)
{
    if (pr_rows[s->pr->op].changes)
        s->needs_reset = true;
    session_lose(s, "the connection broke under a command");
    return E_LUN_GONE;
}

static enum err pr_outcome(struct session *s, int status,
                           const struct scsi_task *task)
{
    switch (status) {
    case SCSI_STATUS_GOOD: return take_answer(s->pr, task);
    case SCSI_STATUS_RESERVATION_CONFLICT: return E_RESERVED;
    case SCSI_STATUS_CHECK_CONDITION: return sense_error(s->pr, &task->sense);
    case SCSI_STATUS_BUSY:
    case SCSI_STATUS_TASK_SET_FULL:
    case SCSI_STATUS_ACA_ACTIVE:
    case SCSI_STATUS_TASK_ABORTED: return E_AGAIN;
    case SCSI_STATUS_CANCELLED: return s->pr_aborted ? E_AGAIN : pr_lost(s);
    default: return pr_lost(s);
    }
}

static void pr_send(struct session *s);

static void pr_done(struct iscsi_context *ctx, int status, void *data,
                    void *arg)
{
    struct session *s = arg;
    struct scsi_task *task = data;
    bool attention = status == SCSI_STATUS_CHECK_CONDITION &&
                     task->sense.key == SCSI_SENSE_UNIT_ATTENTION;
    int ascq = task->sense.ascq;
    bool again =
        attention && !s->lun->ear && ++s->pr_attentions <= UNIT_ATTENTIONS_MAX;
    enum err e = pr_outcome(s, status, task);

    (void)ctx;
    scsi_free_scsi_task(task);
    if (attention)
        commands_suspect(s, ascq, s->pr_since_ns);
    if (again) {
        pr_send(s);
        return;
    }
    if (attention)
        share_attention(s, ascq);
    pr_end(s, e);
}

/* What was sent before it can no longer land, nor be answered, maybe. */
static void reset_done(struct iscsi_context *ctx, int status, void *data,
                       void *arg)
{
    struct session *s = arg;
    enum err e = E_LUN_GONE;

    (void)ctx;
    if (status == SCSI_STATUS_GOOD)
        e = *(uint32_t *)data == ISCSI_TMR_FUNC_COMPLETE ? E_OK : E_UNSUPPORTED;
    if (!e)
        commands_suspect(s, 0x2900, s->pr_since_ns);
    pr_end(s, e);
}

/* -- an answer that will not come ------------------------------------------ */

static void abort_done(struct iscsi_context *ctx, int status, void *data,
                       void *arg)
{
    struct session *s = arg;
    uint32_t response;

    (void)ctx;
    s->pr_abort_out = false;
    if (!s->pr_aborting || status != SCSI_STATUS_GOOD)
        return; /* answered meanwhile; or the session goes anyway */
    response = *(uint32_t *)data;
    if (response == ISCSI_TMR_FUNC_COMPLETE ||
        response == ISCSI_TMR_TASK_DOES_NOT_EXIST)
        s->pr_aborted = s->overdue = true;
    else
        session_lose(s, "the target refuses ABORT TASK (response %u)",
                     response);
}

void prs_abort(struct session *s, uint64_t now_ns)
{
    if (!s->pr_task || !s->pr_due_ns || now_ns < s->pr_due_ns)
        return;
    if (s->pr_aborted) {
        iscsi_scsi_cancel_task(s->ctx, s->pr_task);
    } else if (s->pr_abort_out) {
        s->overdue = true;
    } else if (!s->pr_aborting) {
        s->pr_aborting = true;
        s->pr_abort_out = !iscsi_task_mgmt_abort_task_async(s->ctx, s->pr_task,
                                                            abort_done, s);
        if (!s->pr_abort_out)
            session_lose(s, "%s", iscsi_get_error(s->ctx));
        session_kick(s);
    }
}

/* -- questions ------------------------------------------------------------- */

static struct scsi_task *build_in(const struct lun_pr *pr)
{
    uint64_t bytes = KEYS_HEADER_BYTES + (uint64_t)pr->keys_max * KEY_BYTES;
    uint8_t cdb[10] = {pr_rows[pr->op].opcode, pr_rows[pr->op].action};

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
    uint8_t cdb[10] = {pr_rows[pr->op].opcode, pr_rows[pr->op].action,
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

/* READ, WRITE, SYNCHRONIZE CACHE (of all): SBC-3 5.11, 5.32, 5.22. */
static struct scsi_task *build_blocks(struct session *s)
{
    static const int directions[] = {[LUN_PR_READ] = SCSI_XFER_READ,
                                     [LUN_PR_WRITE] = SCSI_XFER_WRITE,
                                     [LUN_PR_FLUSH] = SCSI_XFER_NONE};
    const struct lun_pr *pr = s->pr;
    uint32_t bytes = pr->op == LUN_PR_FLUSH ? 0 : pr->bytes;
    uint64_t block = s->lun->limits.block_bytes;
    uint8_t cdb[16] = {pr_rows[pr->op].opcode};
    struct scsi_task *task;

    if (bytes) {
        be64_store(cdb + 2, pr->off_bytes / block);
        be32_store(cdb + 10, (uint32_t)(bytes / block));
    }
    task = scsi_create_task(sizeof cdb, cdb, directions[pr->op], (int)bytes);
    s->pr_iov = (struct scsi_iovec){pr->buf, bytes};
    if (task && pr->op == LUN_PR_READ)
        scsi_task_set_iov_in(task, &s->pr_iov, 1);
    else if (task && pr->op == LUN_PR_WRITE)
        scsi_task_set_iov_out(task, &s->pr_iov, 1);
    return task;
}

static struct scsi_task *build(struct session *s)
{
    switch (pr_rows[s->pr->op].opcode) {
    case 0x5e: return build_in(s->pr);
    case 0x5f: return build_out(s);
    default: return build_blocks(s);
    }
}

static bool send_reset(struct session *s)
{
    return iscsi_task_mgmt_async(s->ctx, s->lun->scsi_lun, ISCSI_TM_LUN_RESET,
                                 UINT32_MAX, 0, reset_done, s) == 0;
}

static bool send_command(struct session *s)
{
    struct scsi_task *task = build(s);

    if (!task)
        return false;
    if (iscsi_scsi_command_async(s->ctx, s->lun->scsi_lun, task, pr_done, NULL,
                                 s)) {
        scsi_free_scsi_task(task);
        return false;
    }
    s->pr_task = task;
    return true;
}

static void pr_send(struct session *s)
{
    bool sent;

    s->pr_since_ns = session_now(s);
    s->pr_due_ns = 0;
    s->pr_aborting = s->pr_aborted = false;
    sent = s->pr->op == LUN_PR_RESET ? send_reset(s) : send_command(s);
    if (sent)
        session_kick(s);
    else
        pr_end(s, E_LUN_GONE);
}

/* -- the queue ------------------------------------------------------------- */

static struct lun_pr *next_pr(const struct session *s)
{
    return list_empty(&s->prs) ? NULL
                               : container_of(s->prs.next, struct lun_pr, link);
}

bool prs_want_silence(const struct session *s)
{
    const struct lun_pr *pr = s->pr ? s->pr : next_pr(s);

    if (!s->lun->ear || !pr)
        return false;
    /* tgt drops a session whose data arrives for a command that the same
     * session's reset took away.  But a LUN that hangs is to be reset. */
    if (pr->op == LUN_PR_RESET)
        return clock_now_ns(loop_clock(s->loop)) <
               pr->arrived_ns + RESET_WAITS_MS * NS_PER_MS;
    return pr_rows[pr->op].registers;
}

void prs_dispatch(struct session *s)
{
    struct lun_pr *next = next_pr(s);

    if (s->state != SESSION_READY || s->lost || s->pr || !next ||
        (prs_want_silence(s) && !list_empty(&s->in_flight)))
        return;
    list_remove(&next->link);
    s->pr = next;
    s->pr_attentions = 0;
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
    struct lun_iscsi *li = lun_iscsi_of(pr->lun);
    struct session *s = li->sessions[pr->session];

    if (s->gone || (li->ear && (s->state != SESSION_READY || s->lost))) {
        pr_finish(pr, E_LUN_GONE);
        return;
    }
    pr->arrived_ns = session_now(s);
    list_push_back(&s->prs, &pr->link);
    prs_dispatch(s);
}

static enum err check_range(const struct lun *lun, const struct lun_pr *pr)
{
    const struct store *store = &lun->store;
    uint64_t size = store_size(store);

    if (pr->op != LUN_PR_READ && pr->op != LUN_PR_WRITE)
        return E_OK;
    if (pr->op == LUN_PR_WRITE && (store->caps & STORE_READ_ONLY))
        return E_READ_ONLY;
    if (pr->off_bytes % store->block_bytes || pr->bytes % store->block_bytes)
        return E_ALIGN;
    if (!pr->bytes || pr->bytes > LUN_PR_BYTES_MAX || pr->bytes > size ||
        pr->off_bytes > size - pr->bytes)
        return E_RANGE;
    return E_OK;
}

enum err iscsi_pr_submit(struct lun *lun, struct lun_pr *pr)
{
    struct loop *home = lun_iscsi_of(lun)->sessions[0]->loop;
    enum err e = check_range(lun, pr);

    if (e)
        return e;
    pr->lun = lun;
    pr->from = loop_self();
    pr->session = 0;
    pr->link = (struct list){NULL, NULL};
    pr->task = (struct task){.run = pr_arrive};
    if (home == pr->from)
        pr_arrive(&pr->task);
    else
        loop_post(home, &pr->task);
    return E_OK;
}

void iscsi_pr_cancel(struct lun *lun, struct lun_pr *pr)
{
    struct session *s = lun_iscsi_of(lun)->sessions[0];

    ASSERT(s->loop == loop_self());
    if (!list_linked(&pr->link))
        return;
    list_remove(&pr->link);
    pr_finish(pr, E_CANCELED);
    prs_dispatch(s); /* it may have waited for silence */
    commands_resume(s);
}
