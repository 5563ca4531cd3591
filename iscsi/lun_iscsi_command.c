/* iscsi/lun_iscsi_command.c - an io becomes SCSI commands; their outcomes
 * become its result, or another try.  Knows nothing of connections but that
 * they can be lost with a command under way.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "iscsi/lun_iscsi.h"

#include <string.h>

/* What to do with a command that came back. */
enum verdict {
    VERDICT_DONE,
    VERDICT_FAIL,
    VERDICT_AGAIN, /* it was not carried out, or cannot land any more */
    VERDICT_LATER, /* the same, but not at once */
    VERDICT_LOST   /* nobody knows */
};

static _Alignas(4096) const uint8_t zeroes[64 << 10];

static bool changes(const struct store_io *io)
{
    return io->op != STORE_READ && io->op != STORE_FLUSH;
}

/* -- the end of an io ------------------------------------------------------ */

static void io_report(struct task *t)
{
    struct iscsi_io *iio = container_of(t, struct iscsi_io, task);
    struct store_io *io = io_of(iio);

    io->done(io, iio->result);
}

static void io_finish(struct iscsi_io *iio)
{
    const struct store_io *io = io_of(iio);
    struct session *s = iio->session;

    if (!iio->result && changes(io) && (io->flags & STORE_FUA) &&
        !iio->flushing && !s->lun->limits.fua) {
        iio->flushing = true;
        list_push_back(&s->queue, &iio->link);
        return;
    }
    iio->task = (struct task){.run = io_report};
    loop_post(iio->from, &iio->task);
}

/* A piece of it ended. */
static void io_step(struct iscsi_io *iio, enum err e)
{
    iio->outstanding--;
    if (e && !iio->result) {
        iio->result = e;
        if (list_linked(&iio->link)) /* no more pieces */
            list_remove(&iio->link);
    }
    if (!iio->outstanding && !list_linked(&iio->link))
        io_finish(iio);
}

static void slot_free(struct slot *slot)
{
    free(slot->task.datain.data);
    slot->task.datain.data = NULL;
    list_push_front(&slot->session->free, &slot->link);
}

/* -- CDBs ------------------------------------------------------------------ */

static void cdb_start(struct slot *slot, uint8_t opcode, int bytes,
                      int direction, uint64_t data_bytes)
{
    struct scsi_task *task = &slot->task;

    free(task->datain.data);
    memset(task, 0, sizeof *task);
    task->cdb[0] = opcode;
    task->cdb_size = bytes;
    task->xfer_dir = direction;
    task->expxferlen = (int)data_bytes;
}

/* LBA and count of the 16-byte CDBs. */
static void cdb_range(struct slot *slot)
{
    uint64_t block = slot->session->lun->limits.block_bytes;

    be64_store(slot->task.cdb + 2, slot->off_bytes / block);
    be32_store(slot->task.cdb + 10, (uint32_t)(slot->len_bytes / block));
}

static void cdb_data_out(struct slot *slot, uint32_t count)
{
    scsi_task_set_iov_out(&slot->task, (struct scsi_iovec *)(void *)slot->iov,
                          (int)count);
}

static void build_read(struct slot *slot)
{
    cdb_start(slot, SCSI_OPCODE_READ16, 16, SCSI_XFER_READ, slot->len_bytes);
    cdb_range(slot);
    scsi_task_set_iov_in(&slot->task, (struct scsi_iovec *)(void *)slot->iov,
                         (int)slot->iov_count);
}

static void build_write(struct slot *slot)
{
    bool fua = (slot->io->flags & STORE_FUA) && slot->session->lun->limits.fua;

    cdb_start(slot, SCSI_OPCODE_WRITE16, 16, SCSI_XFER_WRITE, slot->len_bytes);
    cdb_range(slot);
    slot->task.cdb[1] = fua ? 0x08 : 0;
    cdb_data_out(slot, slot->iov_count);
}

static void build_flush(struct slot *slot)
{
    /* LBA 0, count 0: all of it (SBC-3 5.22). */
    cdb_start(slot, SCSI_OPCODE_SYNCHRONIZECACHE16, 16, SCSI_XFER_NONE, 0);
}

static void build_unmap(struct slot *slot)
{
    uint64_t block = slot->session->lun->limits.block_bytes;

    cdb_start(slot, SCSI_OPCODE_UNMAP, 10, SCSI_XFER_WRITE, sizeof slot->param);
    be16_store(slot->task.cdb + 7, sizeof slot->param);
    memset(slot->param, 0, sizeof slot->param);
    be16_store(slot->param, sizeof slot->param - 2);
    be16_store(slot->param + 2, sizeof slot->param - 8);
    be64_store(slot->param + 8, slot->off_bytes / block);
    be32_store(slot->param + 16, (uint32_t)(slot->len_bytes / block));
    slot->iov[0] = (struct iovec){slot->param, sizeof slot->param};
    cdb_data_out(slot, 1);
}

/* The library only reads from data-out memory. */
static void *zeroes_memory(void)
{
    union {
        const uint8_t *in;
        void *base;
    } memory = {zeroes};

    return memory.base;
}

static void build_write_same(struct slot *slot)
{
    const struct lun_limits *limits = &slot->session->lun->limits;
    bool unmap = limits->same_unmaps && limits->unmapped_reads_zeros &&
                 !(slot->io->flags & STORE_NO_UNMAP);

    cdb_start(slot, SCSI_OPCODE_WRITE_SAME16, 16, SCSI_XFER_WRITE,
              limits->block_bytes);
    cdb_range(slot);
    slot->task.cdb[1] = unmap ? 0x08 : 0;
    slot->iov[0] = (struct iovec){zeroes_memory(), limits->block_bytes};
    cdb_data_out(slot, 1);
}

/* Without WRITE SAME: writes of zeros, all from one piece of memory. */
static void build_zeroes(struct slot *slot)
{
    uint64_t left = slot->len_bytes;

    slot->iov_count = 0;
    while (left) {
        uint64_t piece = min_u64(left, sizeof zeroes);

        slot->iov[slot->iov_count++] = (struct iovec){zeroes_memory(), piece};
        left -= piece;
    }
    build_write(slot);
}
static_assert(COMMAND_BYTES_MAX / sizeof zeroes <= SLOT_IOVS, "fits");

static void build(struct slot *slot)
{
    if (slot->io->op == STORE_READ)
        build_read(slot);
    else if (slot->io->op == STORE_FLUSH || iio_of(slot->io)->flushing)
        build_flush(slot);
    else if (slot->io->op == STORE_WRITE)
        build_write(slot);
    else if (slot->io->op == STORE_DISCARD)
        build_unmap(slot);
    else if (atomic_load(&slot->session->lun->no_write_same))
        build_zeroes(slot);
    else
        build_write_same(slot);
}

/* -- outcomes -------------------------------------------------------------- */

/* Sense that ends a command: SPC-4 4.5.6, annex D. */
static const struct sense_row {
    int key;
    int ascq; /* -1: any */
    enum verdict verdict;
    enum err e;
} sense_rows[] = {
    {SCSI_SENSE_RECOVERED_ERROR, -1,     VERDICT_DONE,  E_OK         },
    {SCSI_SENSE_NO_SENSE,        -1,     VERDICT_DONE,  E_OK         },
    {SCSI_SENSE_UNIT_ATTENTION,  -1,     VERDICT_AGAIN, E_OK         },
    {SCSI_SENSE_NOT_READY,       0x0401, VERDICT_LATER, E_OK         }, /* becoming ready */
    {SCSI_SENSE_NOT_READY,       0x040a, VERDICT_LATER, E_OK         }, /* ALUA transition */
    {SCSI_SENSE_NOT_READY,       -1,     VERDICT_FAIL,  E_LUN_GONE   },
    {SCSI_SENSE_COMMAND_ABORTED, -1,     VERDICT_LATER, E_OK         },
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x2000, VERDICT_FAIL,  E_UNSUPPORTED},
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x2400, VERDICT_FAIL,  E_UNSUPPORTED},
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x2100, VERDICT_FAIL,  E_RANGE      },
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x2500, VERDICT_FAIL,  E_LUN_GONE   },
    {SCSI_SENSE_DATA_PROTECTION, 0x2707, VERDICT_FAIL,  E_VOL_FULL   },
    {SCSI_SENSE_DATA_PROTECTION, -1,     VERDICT_FAIL,  E_READ_ONLY  },
};

static enum verdict judge_sense(struct slot *slot, enum err *ret_err)
{
    const struct scsi_sense *sense = &slot->task.sense;

    *ret_err = E_IO;
    if (sense->key == SCSI_SENSE_UNIT_ATTENTION &&
        ++slot->attentions > UNIT_ATTENTIONS_MAX)
        return VERDICT_FAIL;
    for (size_t i = 0; i < ARRAY_LEN(sense_rows); i++) {
        const struct sense_row *row = &sense_rows[i];

        if (row->key != (int)sense->key ||
            (row->ascq != -1 && row->ascq != sense->ascq))
            continue;
        *ret_err = row->e;
        return row->verdict;
    }
    return VERDICT_FAIL;
}

/* A target may promise WRITE SAME and not have it: write zeros then. */
static bool refused_write_same(struct slot *slot, enum err e)
{
    if (slot->task.cdb[0] != SCSI_OPCODE_WRITE_SAME16 || e != E_UNSUPPORTED)
        return false;
    atomic_store(&slot->session->lun->no_write_same, true);
    return true;
}

static enum verdict judge(struct slot *slot, int status, enum err *ret_err)
{
    enum verdict verdict;

    *ret_err = E_OK;
    switch (status) {
    case SCSI_STATUS_GOOD:
        /* Fewer bytes than asked for are not data. */
        if (slot->io->op == STORE_READ &&
            slot->task.residual_status != SCSI_RESIDUAL_NO_RESIDUAL)
            break;
        return VERDICT_DONE;
    case SCSI_STATUS_CONDITION_MET: return VERDICT_DONE;
    case SCSI_STATUS_CHECK_CONDITION:
        verdict = judge_sense(slot, ret_err);
        return refused_write_same(slot, *ret_err) ? VERDICT_AGAIN : verdict;
    case SCSI_STATUS_BUSY:
    case SCSI_STATUS_TASK_SET_FULL:
    case SCSI_STATUS_ACA_ACTIVE:
    case SCSI_STATUS_TASK_ABORTED: return VERDICT_LATER;
    case SCSI_STATUS_RESERVATION_CONFLICT:
        *ret_err = E_RESERVED;
        return VERDICT_FAIL;
    case SCSI_STATUS_CANCELLED:
        return slot->aborted ? VERDICT_AGAIN : VERDICT_LOST;
    case SCSI_STATUS_ERROR:
    case SCSI_STATUS_TIMEOUT: return VERDICT_LOST;
    }
    *ret_err = E_IO;
    return VERDICT_FAIL;
}

static void fail_slot(struct slot *slot, enum err e)
{
    struct session *s = slot->session;
    const struct scsi_task *task = &slot->task;

    if (task->status == SCSI_STATUS_CHECK_CONDITION)
        lun_fault(
            &s->lun->lun, e, "%s of %llu bytes at %llu: %s, %s (%02x/%02x)",
            store_op_name(slot->io->op), (unsigned long long)slot->len_bytes,
            (unsigned long long)slot->off_bytes,
            scsi_sense_key_str((int)task->sense.key),
            scsi_sense_ascq_str(task->sense.ascq),
            (unsigned)task->sense.ascq >> 8, (unsigned)task->sense.ascq & 0xff);
    else
        lun_fault(&s->lun->lun, e, "%s of %llu bytes at %llu: %s",
                  store_op_name(slot->io->op),
                  (unsigned long long)slot->len_bytes,
                  (unsigned long long)slot->off_bytes, err_text(e));
    io_step(iio_of(slot->io), e);
    slot_free(slot);
}

/* What is held has all the time. */
bool command_is_too_old(const struct slot *slot)
{
    struct session *s = slot->session;

    return s->gate == GATE_CARRIES &&
           session_now(s) - slot->started_ns >= s->lun->give_up_ns;
}

/* The connection broke under it: it may still land (I13). */
static void command_lost(struct slot *slot)
{
    struct session *s = slot->session;
    bool fails = ++slot->losses > LOSSES_MAX || command_is_too_old(slot);

    if (changes(slot->io)) {
        s->needs_reset = true;
        if (fails)
            session_unsettle(s);
    }
    session_lose(s, "the connection broke under a command");
    if (s->gate == GATE_FAILS)
        fail_slot(slot, s->gate_error);
    else if (fails)
        fail_slot(slot, E_LUN_GONE);
    else
        list_push_back(&s->redo, &slot->link);
}

static bool may_send(const struct session *s)
{
    return s->state == SESSION_READY && !s->lost && s->gate == GATE_CARRIES &&
           !prs_want_silence(s);
}

/* What the outcome tells of others than this command, and they of it. */
static enum verdict heed(struct slot *slot, enum verdict verdict,
                         enum err *ret_err)
{
    struct session *s = slot->session;
    const struct scsi_sense *sense = &slot->task.sense;

    if (s->lun->ear && *ret_err == E_RESERVED) {
        share_conflict(s);
        verdict = VERDICT_AGAIN;
    }
    if (sense->key == SCSI_SENSE_UNIT_ATTENTION) {
        commands_suspect(s, sense->ascq, slot->issued_ns);
        share_attention(s, sense->ascq);
    }
    if (verdict != VERDICT_LATER && verdict != VERDICT_AGAIN)
        return verdict;
    if (s->gate == GATE_FAILS)
        *ret_err = s->gate_error;
    else if (verdict == VERDICT_LATER && command_is_too_old(slot))
        *ret_err = E_BUSY;
    else if (slot->aborted && command_is_too_old(slot))
        *ret_err = E_TIMEOUT;
    else
        return verdict;
    return VERDICT_FAIL;
}

static void issue(struct slot *slot);

static void command_ends(struct slot *slot, int status)
{
    struct session *s = slot->session;
    enum err e;
    enum verdict verdict = judge(slot, status, &e);

    switch (heed(slot, verdict, &e)) {
    case VERDICT_DONE:
        io_step(iio_of(slot->io), E_OK);
        slot_free(slot);
        break;
    case VERDICT_FAIL: fail_slot(slot, e); break;
    case VERDICT_AGAIN:
        if (may_send(s))
            issue(slot);
        else
            list_push_back(&s->redo, &slot->link);
        break;
    case VERDICT_LATER:
        list_push_back(&s->redo, &slot->link);
        if (!list_linked(&s->busy.link))
            loop_timer_set(s->loop, &s->busy, BUSY_MS);
        break;
    case VERDICT_LOST: command_lost(slot); break;
    }
}

static void command_done(struct iscsi_context *ctx, int status, void *data,
                         void *arg)
{
    struct slot *slot = arg;
    struct session *s = slot->session;

    (void)ctx;
    (void)data;
    list_remove(&slot->link);
    command_ends(slot, status);
    if (list_empty(&s->in_flight))
        prs_dispatch(s); /* a registration may have waited for that */
    commands_dispatch(s);
}

/* -- issuing --------------------------------------------------------------- */

static void issue(struct slot *slot)
{
    struct session *s = slot->session;

    slot->aborting = slot->aborted = false;
    slot->due_ns = 0;
    slot->issued_ns = session_now(s);
    build(slot);
    /* May send at once and may fail: not yet at the target then. */
    if (iscsi_scsi_command_async(s->ctx, s->lun->scsi_lun, &slot->task,
                                 command_done, NULL, slot)) {
        list_push_back(&s->redo, &slot->link);
        session_lose(s, "%s", iscsi_get_error(s->ctx));
        return;
    }
    list_push_back(&s->in_flight, &slot->link);
    session_kick(s);
}

void commands_resume(struct session *s)
{
    struct list again, *first;

    if (!may_send(s))
        return;
    list_init(&again);
    while ((first = list_pop_front(&s->redo)))
        list_push_back(&again, first);
    while ((first = list_pop_front(&again)))
        issue(container_of(first, struct slot, link));
    commands_dispatch(s);
}

static uint64_t piece_max(const struct lun_iscsi *li, enum store_op op)
{
    const struct lun_limits *limits = &li->limits;
    uint64_t block = limits->block_bytes;
    uint64_t max = COMMAND_BYTES_MAX;

    if (op == STORE_DISCARD)
        return limits->unmap_max_blocks * block;
    if (op == STORE_WRITE_ZEROES && !atomic_load(&li->no_write_same)) {
        max = ZEROES_BYTES_MAX;
        if (limits->same_max_blocks && limits->same_max_blocks < max / block)
            max = limits->same_max_blocks * block;
    } else if (limits->transfer_max_blocks) {
        max = min_u64(max, limits->transfer_max_blocks * block);
    }
    return max;
}

/* Choose what the slot does of the io.  E_INVAL: more pieces of memory in one
 * block than a command can take. */
static enum err cut_piece(struct slot *slot, struct store_io *io)
{
    struct iscsi_io *iio = iio_of(io);
    const struct lun_iscsi *li = slot->session->lun;
    uint64_t len =
        min_u64(io->len_bytes - iio->next_bytes, piece_max(li, io->op));

    slot->io = io;
    slot->attentions = slot->losses = 0;
    slot->started_ns = session_now(slot->session);
    slot->off_bytes = io->off_bytes + iio->next_bytes;
    slot->iov_count = 0;
    if (io->op == STORE_FLUSH || iio->flushing) {
        slot->len_bytes = 0;
        return E_OK;
    }
    while (io->op == STORE_READ || io->op == STORE_WRITE) {
        slot->iov_count = iov_slice(io->iov, io->iov_count, iio->next_bytes,
                                    len, slot->iov, SLOT_IOVS);
        if (slot->iov_count)
            break;
        len = align_down(len / 2, li->limits.block_bytes);
        if (!len)
            return E_INVAL;
    }
    slot->len_bytes = len;
    iio->next_bytes += len;
    return E_OK;
}

/* A write is at large of which another session gave up (I13). */
static bool must_not_write(const struct session *s, const struct store_io *io)
{
    return changes(io) && atomic_load(&s->lun->unsettled) > 0;
}

static void dispatch_one(struct session *s, struct iscsi_io *iio)
{
    struct slot *slot =
        container_of(list_pop_front(&s->free), struct slot, link);
    struct store_io *io = io_of(iio);
    enum err e = must_not_write(s, io) ? E_LUN_GONE : cut_piece(slot, io);

    iio->outstanding++;
    if (e) {
        list_push_front(&s->free, &slot->link);
        io_step(iio, e);
        return;
    }
    if (iio->next_bytes >= io->len_bytes || iio->flushing ||
        io->op == STORE_FLUSH)
        list_remove(&iio->link);
    issue(slot);
}

void commands_dispatch(struct session *s)
{
    while (may_send(s) && !list_empty(&s->queue) && !list_empty(&s->free))
        dispatch_one(s, container_of(s->queue.next, struct iscsi_io, link));
}

void commands_fail(struct session *s, enum err e)
{
    struct list *first;

    while ((first = list_pop_front(&s->redo))) {
        struct slot *slot = container_of(first, struct slot, link);

        io_step(iio_of(slot->io), e);
        slot_free(slot);
    }
    while ((first = list_pop_front(&s->queue))) {
        struct iscsi_io *iio = container_of(first, struct iscsi_io, link);

        iio->result = e;
        if (!iio->outstanding)
            io_finish(iio);
    }
}

/* -- the store ------------------------------------------------------------- */

static void io_arrive(struct task *t)
{
    struct iscsi_io *iio = container_of(t, struct iscsi_io, task);
    struct session *s = iio->session;

    if (s->gone || s->gate == GATE_FAILS) {
        iio->result = s->gone ? E_LUN_GONE : s->gate_error;
        io_finish(iio);
        return;
    }
    list_push_back(&s->queue, &iio->link);
    commands_dispatch(s);
}

/* The session on the submitter's own loop, else any, always the same. */
static struct session *session_for(struct lun_iscsi *li, struct loop *loop)
{
    for (unsigned i = 0; i < li->session_count; i++)
        if (li->sessions[i]->loop == loop)
            return li->sessions[i];
    return li->sessions[((uintptr_t)loop >> 8) % li->session_count];
}

static enum err iscsi_submit(struct store *store, struct store_io *io)
{
    struct lun_iscsi *li = lun_iscsi_of(lun_of_store(store));
    struct iscsi_io *iio = iio_of(io);
    struct loop *loop = loop_self();

    *iio = (struct iscsi_io){
        .task.run = io_arrive,
        .session = session_for(li, loop),
        .from = loop,
    };
    if (iio->session->loop == loop)
        io_arrive(&iio->task);
    else
        loop_post(iio->session->loop, &iio->task);
    return E_OK;
}

static void iscsi_close_store(struct store *s)
{
    (void)s; /* lun_close() does it */
}

const struct store_ops iscsi_store_ops = {"iscsi", iscsi_submit,
                                          iscsi_close_store};
