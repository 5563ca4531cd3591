/* iscsi/engine.c - a command's life: checks, order, run, answer.
 * Knows no command by name (ops.c does) and no transport.
 *
 *   scsi_submit ─ checks ─> op->run ──> scsi_finish ──> done
 *                              └─> scsi_start ─(conflict?)─> waiting
 *                                     └─> next ⇄ scsi_io … ─> scsi_finish
 *
 * An aborted command that runs ends with its present step: a store operation
 * cannot be called back, and until it is over it may touch guest memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

/* -- answers --------------------------------------------------------------- */

static void run_finished(struct scsi_bus *bus)
{
    struct list *n;

    while ((n = list_pop_front(&bus->finished))) {
        struct scsi_cmd *cmd = container_of(n, struct scsi_cmd, link);

        cmd->done(cmd);
    }
    while ((n = list_pop_front(&bus->answered))) {
        struct scsi_tmf *tmf = container_of(n, struct scsi_tmf, link);

        tmf->nexus->outstanding--;
        tmf->done(tmf);
    }
}

static void finish_task(struct task *t)
{
    struct scsi_bus *bus = container_of(t, struct scsi_bus, finish);

    bus->finish_posted = false;
    run_finished(bus);
}

/* Answers given inside a caller's submit go out later, from the loop. */
static void post_finished(struct scsi_bus *bus)
{
    if (bus->finish_posted)
        return;
    if (list_empty(&bus->finished) && list_empty(&bus->answered))
        return;
    bus->finish_posted = true;
    loop_post(bus->loop, &bus->finish);
}

void scsi_engine_init(struct scsi_bus *bus)
{
    list_init(&bus->finished);
    list_init(&bus->answered);
    list_init(&bus->tmfs);
    list_init(&bus->scratch_line);
    list_init(&bus->freed);
    bus->finish.run = finish_task;
}

static bool ranges_overlap(const struct scsi_cmd *a, const struct scsi_cmd *b)
{
    /* Both were checked against the size of the medium: no overflow. */
    return a->lba < b->lba + b->blocks && b->lba < a->lba + a->blocks;
}

static bool in_conflict(const struct scsi_cmd *a, const struct scsi_cmd *b)
{
    if (!a->exclusive && !b->exclusive)
        return false;
    if (!a->blocks || !b->blocks)
        return false;
    return ranges_overlap(a, b);
}

/* May cmd run beside what runs and what came before it? */
static bool may_start(const struct scsi_cmd *cmd)
{
    if (!cmd->lu->exclusives)
        return true;
    list_for_each (n, &cmd->lu->active) {
        if (in_conflict(cmd, container_of(n, struct scsi_cmd, link)))
            return false;
    }
    list_for_each (n, &cmd->lu->waiting) {
        struct scsi_cmd *other = container_of(n, struct scsi_cmd, link);

        if (other == cmd)
            break;
        if (in_conflict(cmd, other))
            return false;
    }
    return true;
}

static void scratch_give_back(struct scsi_cmd *cmd)
{
    struct scsi_bus *bus = cmd->bus;

    if (list_linked(&cmd->scratch_link))
        list_remove(&cmd->scratch_link);
    if (cmd->scratch)
        bus->scratch_free[bus->scratch_count++] = TAKE(cmd->scratch);
}

static bool tmf_names(const struct scsi_tmf *tmf, const struct scsi_cmd *cmd);
static void tmf_check(struct scsi_bus *bus);

void scsi_finish(struct scsi_cmd *cmd, enum scsi_status status)
{
    struct scsi_bus *bus = cmd->bus;
    struct scsi_lu *lu = cmd->lu;

    cmd->status = status;
    if (list_linked(&cmd->link)) {
        list_remove(&cmd->link);
        if (cmd->exclusive)
            lu->exclusives--;
    }
    cmd->waiting = false;
    if (cmd->lun < SCSI_LUNS_MAX) {
        bus->slots[cmd->lun].outstanding--;
        scsi_slot_command_ended(bus, cmd->lun);
    }
    cmd->nexus->outstanding--;
    if (lu && status == SCSI_CHECK_CONDITION)
        lu->stats.errors++;
    list_push_back(&bus->finished, &cmd->link);
    scratch_give_back(cmd);
    if (lu && !list_empty(&lu->waiting) && !list_linked(&lu->freed))
        list_push_back(&bus->freed, &lu->freed);
    if (!list_empty(&bus->tmfs))
        tmf_check(bus);
}

void scsi_good(struct scsi_cmd *cmd)
{
    scsi_finish(cmd, SCSI_GOOD);
}

static void fail_with(struct scsi_cmd *cmd, const struct sense *s)
{
    bool descriptor = cmd->lu && cmd->lu->descriptor_sense;

    static_assert(sizeof cmd->sense >= SENSE_DESCRIPTOR_BYTES_MAX,
                  "sense fits every transport");
    cmd->sense_bytes = (uint8_t)sense_encode(s, descriptor, cmd->sense);
    scsi_finish(cmd, SCSI_CHECK_CONDITION);
}

void scsi_fail(struct scsi_cmd *cmd, enum sense_code code)
{
    fail_with(cmd, &(struct sense){.code = code});
}

void scsi_fail_cdb(struct scsi_cmd *cmd, unsigned byte, int bit)
{
    fail_with(cmd, &(struct sense){.code = SENSE_INVALID_CDB_FIELD,
                                   .has_field = true,
                                   .field_in_cdb = true,
                                   .field_byte = (uint16_t)byte,
                                   .field_bit = (int8_t)bit});
}

void scsi_fail_parameter(struct scsi_cmd *cmd, unsigned byte)
{
    fail_with(cmd, &(struct sense){.code = SENSE_INVALID_PARAMETER,
                                   .has_field = true,
                                   .field_byte = (uint16_t)byte,
                                   .field_bit = -1});
}

void scsi_fail_information(struct scsi_cmd *cmd, enum sense_code code,
                           uint64_t information)
{
    fail_with(cmd, &(struct sense){.code = code,
                                   .has_information = true,
                                   .information = information});
}

void scsi_fail_err(struct scsi_cmd *cmd, enum err e)
{
    bool writing = cmd->op->access == ACCESS_WRITE;
    enum sense_code code;

    if (sense_from_err(e, writing, &code))
        scsi_fail(cmd, code);
    else
        scsi_finish(cmd,
                    e == E_RESERVED ? SCSI_RESERVATION_CONFLICT : SCSI_BUSY);
}

void scsi_reply(struct scsi_cmd *cmd, const void *data, size_t len_bytes,
                size_t allocation)
{
    size_t len = min_u64(len_bytes, allocation);

    cmd->asked_bytes = len;
    cmd->moved_bytes = iov_from_buf(cmd->in, cmd->in_count, 0, data,
                                    min_u64(len, cmd->in_bytes));
    scsi_good(cmd);
}

bool scsi_fetch(struct scsi_cmd *cmd, void *buf, size_t want)
{
    cmd->asked_bytes = want;
    cmd->moved_bytes = iov_to_buf(cmd->out, cmd->out_count, 0, buf,
                                  min_u64(want, cmd->out_bytes));
    if (cmd->moved_bytes == want)
        return true;
    scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
    return false;
}

/* -- running --------------------------------------------------------------- */

void scsi_start(struct scsi_cmd *cmd,
                void (*start)(struct scsi_cmd *cmd, enum err e))
{
    struct scsi_lu *lu = cmd->lu;

    cmd->next = start;
    if (cmd->attr == SCSI_ORDERED) {
        /* SAM-5 8.6.3: not before those ahead, not after those behind. */
        cmd->exclusive = true;
        cmd->lba = 0;
        cmd->blocks = scsi_lu_blocks(lu);
    }
    if (cmd->exclusive)
        lu->exclusives++;
    if (lu->exclusives && !may_start(cmd)) {
        cmd->waiting = true;
        list_push_back(&lu->waiting, &cmd->link);
        return;
    }
    list_push_back(&lu->active, &cmd->link);
    start(cmd, E_OK);
}

void scsi_with_scratch(struct scsi_cmd *cmd,
                       void (*start)(struct scsi_cmd *cmd, enum err e))
{
    struct scsi_bus *bus = cmd->bus;

    cmd->next = start;
    if (!bus->scratch_count || !list_empty(&bus->scratch_line)) {
        list_push_back(&bus->scratch_line, &cmd->scratch_link);
        return;
    }
    cmd->scratch = bus->scratch_free[--bus->scratch_count];
    start(cmd, E_OK);
}

static void start_waiting(struct scsi_lu *lu)
{
    list_for_each (n, &lu->waiting) {
        struct scsi_cmd *cmd = container_of(n, struct scsi_cmd, link);

        if (!may_start(cmd))
            continue;
        list_remove(&cmd->link);
        cmd->waiting = false;
        list_push_back(&lu->active, &cmd->link);
        cmd->next(cmd, E_OK);
        /* That may have ended others: begin anew. */
        n_next = lu->waiting.next;
    }
}

static bool grant_scratch(struct scsi_bus *bus)
{
    struct list *first =
        bus->scratch_count ? list_pop_front(&bus->scratch_line) : NULL;
    struct scsi_cmd *heir;

    if (!first)
        return false;
    heir = container_of(first, struct scsi_cmd, scratch_link);
    heir->scratch = bus->scratch_free[--bus->scratch_count];
    heir->next(heir, E_OK);
    return true;
}

/* Commands ended: start those that waited for them. A loop, not a chain of
 * calls, as each of them may end at once, and a guest can send thousands. */
static void settle(struct scsi_bus *bus)
{
    struct list *first;

    for (;;) {
        if ((first = list_pop_front(&bus->freed)))
            start_waiting(container_of(first, struct scsi_lu, freed));
        else if (!grant_scratch(bus))
            return;
    }
}

static void enter(struct scsi_bus *bus)
{
    ASSERT(!bus->inside);
    bus->inside = true;
}

static void leave(struct scsi_bus *bus)
{
    settle(bus);
    bus->inside = false;
}

static void io_done(struct store_io *io, enum err e)
{
    struct scsi_cmd *cmd = container_of(io, struct scsi_cmd, io);
    struct scsi_bus *bus = cmd->bus;

    enter(bus);
    if (cmd->aborted)
        scsi_finish(cmd, SCSI_TASK_ABORTED);
    else
        cmd->next(cmd, e);
    leave(bus);
    run_finished(bus);
}

void scsi_io(struct scsi_cmd *cmd, enum store_op op, uint32_t flags,
             uint64_t off_bytes, uint64_t len_bytes, const struct iovec *iov,
             uint32_t iov_count, void (*next)(struct scsi_cmd *cmd, enum err e))
{
    enum err e;

    if (cmd->aborted) {
        scsi_finish(cmd, SCSI_TASK_ABORTED);
        return;
    }
    cmd->next = next;
    cmd->io.op = op;
    cmd->io.flags = flags;
    cmd->io.off_bytes = off_bytes;
    cmd->io.len_bytes = len_bytes;
    cmd->io.iov = iov;
    cmd->io.iov_count = iov_count;
    cmd->io.done = io_done;
    e = store_submit(cmd->lu->store, &cmd->io);
    if (e)
        next(cmd, e);
}

void scsi_scratch_io(struct scsi_cmd *cmd, enum store_op op, uint32_t flags,
                     uint64_t off_bytes, uint64_t len_bytes,
                     void (*next)(struct scsi_cmd *cmd, enum err e))
{
    ASSERT(len_bytes <= SCSI_SCRATCH_BYTES);
    cmd->one = (struct iovec){cmd->scratch, len_bytes};
    scsi_io(cmd, op, flags, off_bytes, len_bytes, &cmd->one, 1, next);
}

/* -- checks before a command runs ------------------------------------------ */

/* The checks that every command has in common, in the order of SAM-5 5.14;
 * true: it may run, else it has ended. */
static bool admit(struct scsi_cmd *cmd)
{
    const struct scsi_op *op = cmd->op;
    struct scsi_lu *lu = cmd->lu;
    enum sense_code ua;

    if (!(op->flags & OP_NO_UA) && lu &&
        scsi_ua_take(cmd->nexus, cmd->lun, &ua)) {
        scsi_fail(cmd, ua);
        return false;
    }
    /* SPC-4: ACA is not supported, so NACA must be zero. */
    if (cmd->cdb[op->cdb_bytes - 1] & 0x04) {
        scsi_fail_cdb(cmd, op->cdb_bytes - 1U, 2);
        return false;
    }
    if (!lu)
        return true;
    if (pr_conflicts(lu, cmd->nexus, op->access)) {
        scsi_finish(cmd, SCSI_RESERVATION_CONFLICT);
        return false;
    }
    if ((op->flags & OP_MODIFIES) && scsi_lu_protected(lu)) {
        scsi_fail(cmd, SENSE_WRITE_PROTECTED);
        return false;
    }
    return true;
}

static void run(struct scsi_cmd *cmd)
{
    struct scsi_bus *bus = cmd->bus;
    struct scsi_slot *slot = NULL;
    bool known;

    if (cmd->lun < SCSI_LUNS_MAX) {
        slot = &bus->slots[cmd->lun];
        slot->outstanding++;
        slot->last_ns = clock_now_ns(loop_clock(bus->loop));
        cmd->lu = slot->lu;
    }
    if (slot && slot->refusing) {
        if (!slot->detach->force) {
            scsi_finish(cmd, SCSI_BUSY); /* the flush may yet fail */
            return;
        }
        cmd->lu = NULL;
    }
    cmd->op = scsi_op_find(cmd->lu, cmd->cdb, &known);
    if (!cmd->lu && !(cmd->op && cmd->op->flags & OP_NO_LU)) {
        scsi_fail(cmd, SENSE_LU_NOT_SUPPORTED);
    } else if (!cmd->op) {
        if (known)
            scsi_fail_cdb(cmd, 1, 4);
        else
            scsi_fail(cmd, SENSE_INVALID_OPCODE);
    } else if (admit(cmd)) {
        cmd->op->run(cmd);
    }
}

void scsi_submit(struct scsi_bus *bus, struct scsi_cmd *cmd)
{
    cmd->bus = bus;
    cmd->op = NULL;
    cmd->lu = NULL;
    cmd->link = cmd->scratch_link = (struct list){NULL, NULL};
    cmd->seq = ++bus->seq;
    cmd->status = SCSI_GOOD;
    cmd->aborted = cmd->exclusive = cmd->waiting = false;
    cmd->sense_bytes = 0;
    cmd->moved_bytes = 0;
    cmd->asked_bytes = 0;
    cmd->lba = cmd->blocks = cmd->at_bytes = cmd->end_bytes = cmd->detail = 0;
    cmd->scratch = NULL;
    cmd->nexus->outstanding++;
    enter(bus);
    run(cmd);
    leave(bus);
    post_finished(bus);
}

/* -- task management ------------------------------------------------------- */

/* Is cmd one of those that tmf is about? */
static bool tmf_names(const struct scsi_tmf *tmf, const struct scsi_cmd *cmd)
{
    if (cmd->seq > tmf->seq)
        return false;
    switch (tmf->kind) {
    case SCSI_ABORT_TASK:
    case SCSI_QUERY_TASK:
        return cmd->nexus == tmf->nexus && cmd->lun == tmf->lun &&
               cmd->tag == tmf->tag;
    case SCSI_ABORT_TASK_SET:
    case SCSI_QUERY_TASK_SET:
        return cmd->nexus == tmf->nexus && cmd->lun == tmf->lun;
    case SCSI_CLEAR_TASK_SET:
    case SCSI_LU_RESET: return cmd->lun == tmf->lun;
    case SCSI_NEXUS_RESET: return cmd->nexus == tmf->nexus;
    }
    return false;
}

/* Call `see` for each outstanding command until it returns true. */
static bool each_command(struct scsi_lu *lu,
                         bool (*see)(struct scsi_cmd *, const void *),
                         const void *arg)
{
    struct list *both[] = {&lu->active, &lu->waiting};

    for (size_t i = 0; i < ARRAY_LEN(both); i++)
        list_for_each (n, both[i]) {
            if (see(container_of(n, struct scsi_cmd, link), arg))
                return true;
        }
    return false;
}

static bool tmf_finds(const struct scsi_bus *bus, const struct scsi_tmf *tmf,
                      bool (*see)(struct scsi_cmd *, const void *))
{
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++) {
        struct scsi_lu *lu = bus->slots[lun].lu;

        if (lu && each_command(lu, see, tmf))
            return true;
    }
    return false;
}

static bool see_named(struct scsi_cmd *cmd, const void *tmf)
{
    return tmf_names(tmf, cmd);
}

static bool mark_aborted(struct scsi_cmd *cmd, const void *tmf)
{
    if (tmf_names(tmf, cmd))
        cmd->aborted = true;
    return false;
}

/* An aborted command that no store operation holds can end now. */
static bool see_idle_aborted(struct scsi_cmd *cmd, const void *unused)
{
    (void)unused;
    if (!cmd->aborted)
        return false;
    if (!cmd->waiting && !list_linked(&cmd->scratch_link))
        return false;
    scsi_finish(cmd, SCSI_TASK_ABORTED);
    return true;
}

static void end_idle_aborted(struct scsi_lu *lu)
{
    while (each_command(lu, see_idle_aborted, NULL))
        ;
}

static void tmf_answer(struct scsi_bus *bus, struct scsi_tmf *tmf,
                       enum scsi_tmf_answer answer)
{
    tmf->answer = answer;
    if (list_linked(&tmf->link))
        list_remove(&tmf->link);
    list_push_back(&bus->answered, &tmf->link);
}

/* Answer those whose last command has ended. */
static void tmf_check(struct scsi_bus *bus)
{
    list_for_each (n, &bus->tmfs) {
        struct scsi_tmf *tmf = container_of(n, struct scsi_tmf, link);

        if (!tmf_finds(bus, tmf, see_named))
            tmf_answer(bus, tmf, SCSI_TMF_COMPLETE);
    }
}

/* SAM-5 6.3.3: a reset also returns mode parameters to their defaults;
 * reservations stay. */
static void reset_unit(struct scsi_bus *bus, struct scsi_lu *lu, unsigned lun)
{
    lu->write_cache = true;
    lu->descriptor_sense = false;
    lu->software_write_protect = false;
    scsi_ua_set_others(bus, lun, UA_RESET, NULL);
}

static void tmf_abort(struct scsi_bus *bus, struct scsi_tmf *tmf)
{
    struct scsi_lu *lu = scsi_bus_lu(bus, tmf->lun);

    if (lu && tmf->kind == SCSI_LU_RESET)
        reset_unit(bus, lu, tmf->lun);
    if (tmf->kind == SCSI_NEXUS_RESET) {
        for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++)
            scsi_ua_set(tmf->nexus, lun, UA_NEXUS_LOSS);
    }
    tmf_finds(bus, tmf, mark_aborted);
    list_push_back(&bus->tmfs, &tmf->link);
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++)
        if (bus->slots[lun].lu)
            end_idle_aborted(bus->slots[lun].lu);
    tmf_check(bus);
}

static bool tmf_is_query(const struct scsi_tmf *tmf)
{
    return tmf->kind == SCSI_QUERY_TASK || tmf->kind == SCSI_QUERY_TASK_SET;
}

void scsi_tmf(struct scsi_bus *bus, struct scsi_tmf *tmf)
{
    bool whole_nexus = tmf->kind == SCSI_NEXUS_RESET;

    tmf->link = (struct list){NULL, NULL};
    tmf->seq = bus->seq;
    tmf->nexus->outstanding++;
    enter(bus);
    if (!whole_nexus && !scsi_bus_lu(bus, tmf->lun))
        tmf_answer(bus, tmf, SCSI_TMF_BAD_LUN);
    else if (tmf_is_query(tmf))
        tmf_answer(bus, tmf,
                   tmf_finds(bus, tmf, see_named) ? SCSI_TMF_SUCCEEDED
                                                  : SCSI_TMF_COMPLETE);
    else
        tmf_abort(bus, tmf);
    leave(bus);
    post_finished(bus);
}

static bool abort_named(struct scsi_cmd *cmd, const void *name)
{
    if (strcmp(cmd->nexus->name, name) == 0)
        cmd->aborted = true;
    return false;
}

void scsi_abort_nexus(struct scsi_lu *lu, const char *nexus_name)
{
    each_command(lu, abort_named, nexus_name);
    end_idle_aborted(lu);
}

/* -- giving up ------------------------------------------------------------- */

/* What works in steps or waits for its turn need not go on. A single store
 * operation ends by itself, and says what became of it. */
static bool abort_steps(struct scsi_cmd *cmd, const void *nexus)
{
    if (nexus && cmd->nexus != nexus)
        return false;
    if (cmd->waiting || cmd->scratch || list_linked(&cmd->scratch_link))
        cmd->aborted = true;
    return false;
}

static void give_up(struct scsi_bus *bus, unsigned lun, const void *nexus)
{
    struct scsi_lu *lu = bus->slots[lun].lu;

    if (!lu)
        return;
    each_command(lu, abort_steps, nexus);
    end_idle_aborted(lu);
}

void scsi_unit_give_up(struct scsi_bus *bus, unsigned lun)
{
    enter(bus);
    give_up(bus, lun, NULL);
    leave(bus);
    post_finished(bus);
}

void scsi_nexus_give_up(struct scsi_nexus *nexus)
{
    enter(nexus->bus);
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++)
        give_up(nexus->bus, lun, nexus);
    leave(nexus->bus);
    post_finished(nexus->bus);
}
