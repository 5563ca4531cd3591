/* iscsi/lun_iscsi_abort.c - commands that may never be answered: ABORT TASK,
 * after which they can no longer land (I13), and may be sent again.
 *
 * libiscsi does not know which commands it has sent: one that is not, or not
 * wholly, or has data on its way, is neither aborted nor taken back before all
 * that was queued is written, for ABORT TASK goes past the queue.
 *
 * After a reset a command has SUSPECT_MS to be answered: a target first ends
 * what is at work.  (And tgt never answers a LOGICAL UNIT RESET, of a fencer
 * maybe, that waits for a command which is aborted meanwhile.)
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/trace.h"
#include "iscsi/lun_iscsi.h"

/* SPC-4 annex D: unit attentions that say so. */
static bool says_swallowed(int ascq)
{
    switch (ascq) {
    case 0x2a03: /* reservations preempted */
    case 0x2a04: /* reservations released */
    case 0x2a05: /* registrations preempted */ return true;
    default:
        return ascq >> 8 == 0x29 /* reset */ ||
               ascq >> 8 == 0x2f /* cleared by another initiator */;
    }
}

void commands_suspect(struct session *s, int ascq, uint64_t sent_ns)
{
    const uint64_t due_ns = session_now(s) + SUSPECT_MS * NS_PER_MS;

    if (!says_swallowed(ascq))
        return;
    list_for_each (node, &s->in_flight) {
        struct slot *slot = container_of(node, struct slot, link);

        if (slot->issued_ns <= sent_ns && !slot->due_ns)
            slot->due_ns = due_ns;
    }
    if (s->pr && s->pr_since_ns <= sent_ns && !s->pr_due_ns)
        s->pr_due_ns = due_ns;
}

/* Only one for a slot at a time, so that the answer is about its last issue
 * if that was aborted at all. */
static void abort_done(struct iscsi_context *ctx, int status, void *data,
                       void *arg)
{
    struct slot *slot = arg;
    uint32_t response;

    (void)ctx;
    slot->abort_out = false;
    if (!slot->aborting || status != SCSI_STATUS_GOOD)
        return; /* answered meanwhile; or the session goes anyway */
    response = *(uint32_t *)data;
    if (response != ISCSI_TMR_FUNC_COMPLETE &&
        response != ISCSI_TMR_TASK_DOES_NOT_EXIST) {
        session_lose(slot->session,
                     "the target refuses ABORT TASK (response %u)", response);
        return;
    }
    slot->aborted = true;
    slot->session->overdue = true;
}

static void abort_slot(struct slot *slot)
{
    struct session *s = slot->session;

    slot->aborting = true;
    slot->abort_ns = session_now(s);
    TRACE(lun_abort, "session=%u op=%s off=%llu", s->index,
          store_op_name(slot->io->op), (unsigned long long)slot->off_bytes);
    slot->abort_out = !iscsi_task_mgmt_abort_task_async(s->ctx, &slot->task,
                                                        abort_done, slot);
    if (!slot->abort_out)
        session_lose(s, "%s", iscsi_get_error(s->ctx));
    session_kick(s);
}

static bool is_due(const struct slot *slot, uint64_t now_ns)
{
    return slot->due_ns && now_ns >= slot->due_ns;
}

static void abort_due(struct session *s, uint64_t now_ns)
{
    list_for_each (node, &s->in_flight) {
        struct slot *slot = container_of(node, struct slot, link);

        if (!is_due(slot, now_ns) || slot->aborting)
            continue;
        if (slot->abort_out)
            s->overdue = true;
        else
            abort_slot(slot);
    }
}

/* Each comes back as SCSI_STATUS_CANCELLED, which may send it again. */
static void take_back(struct session *s)
{
    list_for_each (node, &s->in_flight) {
        struct slot *slot = container_of(node, struct slot, link);

        if (slot->aborted)
            iscsi_scsi_cancel_task(s->ctx, &slot->task);
    }
}

void commands_abort(struct session *s)
{
    uint64_t now_ns;

    if (!s->overdue || s->lost || s->state != SESSION_READY ||
        !session_is_written(s))
        return;
    s->overdue = false;
    now_ns = session_now(s);
    abort_due(s, now_ns);
    take_back(s);
    prs_abort(s, now_ns);
}

static void check_deadline(struct slot *slot, uint64_t now_ns)
{
    struct session *s = slot->session;
    uint64_t since_ns = slot->aborting ? slot->abort_ns : slot->due_ns;

    if (!slot->due_ns && (now_ns - slot->issued_ns >= s->lun->command_ns ||
                          command_is_too_old(slot))) {
        slot->due_ns = now_ns;
        lun_fault(&s->lun->lun, E_TIMEOUT,
                  "session %u: %s at %llu unanswered for %llu s: aborted",
                  s->index, store_op_name(slot->io->op),
                  (unsigned long long)slot->off_bytes,
                  (unsigned long long)((now_ns - slot->issued_ns) / NS_PER_S));
    } else if (is_due(slot, now_ns) &&
               now_ns - since_ns >= ABORT_MS * NS_PER_MS) {
        session_lose(s, slot->aborting ? "ABORT TASK was not answered"
                                       : "ABORT TASK could not be sent");
    }
    s->overdue |= is_due(slot, now_ns);
}

void commands_check_deadlines(struct session *s, uint64_t now_ns)
{
    list_for_each (node, &s->in_flight)
        check_deadline(container_of(node, struct slot, link), now_ns);
    s->overdue |= s->pr && s->pr_due_ns && now_ns >= s->pr_due_ns;
    commands_abort(s);
}
