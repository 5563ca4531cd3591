/* iscsi/lun_iscsi_share.c - a LUN that many hosts use: its ios wait for
 * whoever admits this host, who hears what befalls the session.
 * Does not know what admission is: lockmgr/nexus.h does.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/trace.h"
#include "iscsi/lun_iscsi.h"

/* -- the gate -------------------------------------------------------------- */

static struct session *shared_session(struct lun *lun)
{
    struct lun_iscsi *li = lun_iscsi_of(lun);

    ASSERT(li->ear && li->sessions[0]->loop == loop_self());
    return li->sessions[0];
}

static void set_gate(struct session *s, enum gate gate)
{
    static const char *const names[] = {"carries", "held", "fails"};

    static_assert(ARRAY_LEN(names) == GATE_FAILS + 1, "one for each");
    if (s->gate != gate)
        TRACE(lun_gate, "lun=%u %s -> %s", s->lun->url.lun, names[s->gate],
              names[gate]);
    s->gate = gate;
}

void lun_start(struct lun *lun)
{
    struct session *s = shared_session(lun);

    ASSERT(s->state == SESSION_CLOSED);
    session_open(s, NULL);
}

void lun_hold(struct lun *lun)
{
    set_gate(shared_session(lun), GATE_HELD);
}

/* Time spent waiting does not count. */
static void start_clocks(struct session *s)
{
    list_for_each (node, &s->redo) {
        struct slot *slot = container_of(node, struct slot, link);

        slot->started_ns = session_now(s);
        slot->attentions = 0;
    }
}

void lun_carry(struct lun *lun)
{
    struct session *s = shared_session(lun);

    if (!s->is_up || s->gate == GATE_CARRIES)
        return;
    set_gate(s, GATE_CARRIES);
    s->told_conflict = false;
    start_clocks(s);
    commands_resume(s);
}

void lun_fail(struct lun *lun, enum err e)
{
    struct session *s = shared_session(lun);

    ASSERT(e);
    set_gate(s, GATE_FAILS);
    s->gate_error = e;
    commands_fail(s, e);
}

void lun_drop(struct lun *lun)
{
    struct session *s = shared_session(lun);

    if (s->is_up)
        session_lose(s, "given up: the target is silent");
}

/* When the oldest question went out that has no answer; 0: none. */
static uint64_t asked_ns(const struct session *s)
{
    uint64_t since = s->pr ? s->pr_since_ns : UINT64_MAX;

    if (s->nop_ns)
        since = min_u64(since, s->nop_ns);
    list_for_each (node, &s->in_flight)
        since =
            min_u64(since, container_of(node, struct slot, link)->issued_ns);
    return since == UINT64_MAX ? 0 : since;
}

uint64_t lun_silent_ms(struct lun *lun)
{
    struct session *s = shared_session(lun);
    uint64_t since = s->is_up ? asked_ns(s) : 0;
    uint64_t now = session_now(s);

    if (!since)
        return 0;
    since = max_u64(since, s->heard_ns);
    return now > since ? (now - since) / NS_PER_MS : 0;
}

/* -- the ear --------------------------------------------------------------- */

void share_up(struct session *s)
{
    s->is_up = true;
    s->told_conflict = false;
    s->lun->ear->up(s->lun->ear);
}

void share_stop(struct session *s)
{
    if (s->lun->ear && s->gate == GATE_CARRIES)
        set_gate(s, GATE_HELD);
}

void share_lost(struct session *s)
{
    if (!s->is_up)
        return;
    s->is_up = false;
    s->lun->ear->lost(s->lun->ear);
}

void share_conflict(struct session *s)
{
    share_stop(s);
    if (s->told_conflict)
        return; /* all that was out meets it */
    s->told_conflict = true;
    s->lun->ear->conflict(s->lun->ear);
}

void share_attention(struct session *s, int ascq)
{
    bool concerns = ascq >> 8 == 0x29 || ascq >> 8 == 0x2a;

    if (!s->lun->ear || !s->is_up || !concerns)
        return;
    share_stop(s);
    s->lun->ear->attention(s->lun->ear);
}

/* -- TEST UNIT READY ------------------------------------------------------- */

static bool ask_ready(struct session *s, iscsi_command_cb done)
{
    uint8_t cdb[6] = {0};
    struct scsi_task *task =
        scsi_create_task(sizeof cdb, cdb, SCSI_XFER_NONE, 0);

    if (!task)
        return false;
    if (iscsi_scsi_command_async(s->ctx, s->lun->scsi_lun, task, done, NULL,
                                 s)) {
        scsi_free_scsi_task(task);
        return false;
    }
    session_kick(s);
    return true;
}

static bool is_attention(int status, const struct scsi_task *task)
{
    return status == SCSI_STATUS_CHECK_CONDITION &&
           task->sense.key == SCSI_SENSE_UNIT_ATTENTION;
}

static void ask_proof(struct session *s);

/* What a reset, or a registration gone, leaves behind is heard here, and is no
 * news: the ear hears `up` and looks.  A conflict is an answer, too. */
static void proof_done(struct iscsi_context *ctx, int status, void *data,
                       void *arg)
{
    struct session *s = arg;
    struct scsi_task *task = data;
    bool again = is_attention(status, task) &&
                 ++s->proof_attentions <= UNIT_ATTENTIONS_MAX;

    (void)ctx;
    scsi_free_scsi_task(task);
    if (s->lost)
        return;
    if (again)
        ask_proof(s);
    else if (status == SCSI_STATUS_GOOD ||
             status == SCSI_STATUS_RESERVATION_CONFLICT)
        session_ready(s);
    else
        session_lose(s, "TEST UNIT READY: the LUN is not ready (status %d)",
                     status);
}

static void ask_proof(struct session *s)
{
    if (!ask_ready(s, proof_done))
        session_lose(s, "%s", iscsi_get_error(s->ctx));
}

void share_prove(struct session *s)
{
    s->proof_attentions = 0;
    ask_proof(s);
}

/* -- is anybody there ------------------------------------------------------ */

static void probe_done(struct iscsi_context *ctx, int status, void *data,
                       void *arg)
{
    struct session *s = arg;
    struct scsi_task *task = data;
    bool attention = is_attention(status, task);
    int ascq = task->sense.ascq;

    (void)ctx;
    scsi_free_scsi_task(task);
    if (!attention || s->lost)
        return;
    commands_suspect(s, ascq, s->probe_ns);
    share_attention(s, ascq);
}

static bool is_waiting(const struct session *s, uint64_t now_ns)
{
    const uint64_t limit_ns = (uint64_t)PROBE_MS * NS_PER_MS;

    if (s->pr && now_ns - s->pr_since_ns >= limit_ns)
        return true;
    list_for_each (node, &s->in_flight)
        if (now_ns - container_of(node, struct slot, link)->issued_ns >=
            limit_ns)
            return true;
    return false;
}

void share_probe(struct session *s, uint64_t now_ns)
{
    if (!s->lun->ear || now_ns - s->probe_ns < PROBE_MS * NS_PER_MS ||
        !is_waiting(s, now_ns))
        return;
    s->probe_ns = now_ns;
    if (!ask_ready(s, probe_done))
        session_lose(s, "%s", iscsi_get_error(s->ctx));
}
