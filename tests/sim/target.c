/* tests/sim/target.c - the target's queue, its sessions and what befalls them.
 * Reservations are target_pr.c's, content is target_media.c's.
 *
 * M5: the reservation is checked when a task's turn comes.  LOGICAL UNIT RESET
 * ends what is queued, of all nexuses, and waits for what runs.  A new login
 * waits for nothing: the old session's tasks are still there.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/target_private.h"

static const char *const op_names[SIM_OPS] = {
    "READ",
    "WRITE",
    "SYNCHRONIZE CACHE",
    "TEST UNIT READY",
    "READ KEYS",
    "READ RESERVATION",
    "REGISTER",
    "REGISTER AND IGNORE",
    "RESERVE",
    "RELEASE",
    "CLEAR",
    "PREEMPT",
    "PREEMPT AND ABORT",
    "LOGICAL UNIT RESET",
};

const char *sim_op_name(enum sim_op op)
{
    return op_names[op];
}

const char *sim_status_name(enum sim_status status)
{
    static const char *const names[] = {
        "GOOD",           "RESERVATION CONFLICT",
        "UNIT ATTENTION", "TASK ABORTED",
        "ILLEGAL",        "no answer",
    };

    return names[status];
}

void sim_target_init(struct sim *s, uint32_t lun,
                     const struct sim_target_options *options)
{
    struct sim_target *t = sim_alloc(s, sizeof *t);

    t->sim = s;
    t->lun = lun;
    t->options = *options;
    list_init(&t->tasks);
    s->target[lun] = t;
}

static uint64_t delay(struct sim_target *t)
{
    return sim_delay(t->sim, t->options.usual_ns, t->options.long_ns,
                     t->options.long_permille);
}

/* -- the answer ------------------------------------------------------------ */

static void fire_answer(struct sim_event *event)
{
    struct task *task = container_of(event, struct task, answer);
    struct sim_command *asked = TAKE(task->asked);
    const struct sim_command *c = &task->command;

    if (!asked)
        return;
    if (event->sim->detail || c->op > SIM_WRITE || c->status != SIM_GOOD)
        sim_trace(event->sim, event->host, "lun %u: %s: %s%s",
                  task->target->lun, sim_op_name(c->op),
                  sim_status_name(c->status),
                  c->attention == SIM_UA_UNREGISTERED ? " (preempted)" : "");
    asked->status = c->status;
    asked->attention = c->attention;
    asked->read = c->read;
    asked->key_count = c->key_count;
    asked->generation = c->generation;
    asked->reserved_type = c->reserved_type;
    memcpy(asked->keys, c->keys, sizeof asked->keys);
    asked->done(asked);
}

/* Gone from the target; somebody may get an answer. */
static void end_task(struct task *task, enum sim_status status)
{
    struct sim_target *t = task->target;

    task->state = TASK_ENDED;
    list_remove(&task->node);
    task->command.status = status;
    if (!task->asked || (t->no_path >> task->session->host & 1))
        return;
    if (t->sim->host[task->session->host].up)
        sim_post(t->sim, &task->answer, delay(t), task->session->host,
                 fire_answer);
}

/* -- a task's turn --------------------------------------------------------- */

static void fire_turn(struct sim_event *event);

static bool is_held(struct task *task)
{
    struct sim_target *t = task->target;

    if (!task->held &&
        (task->state == TASK_RUNNING || !(t->held >> task->session->host & 1)))
        return false;
    task->due = true;
    return true;
}

/* Must a LOGICAL UNIT RESET or PREEMPT AND ABORT wait? */
static bool must_wait(const struct task *waiting)
{
    list_for_each (node, &waiting->target->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (task->state == TASK_RUNNING && task->command.op <= SIM_SYNC_CACHE &&
            (waiting->command.op == SIM_LU_RESET ||
             task->awaited_by == waiting))
            return true;
    }
    return false;
}

/* What waits for running writes is looked at when one has landed. */
static void look_at_waiting(struct sim_target *t)
{
    list_for_each (node, &t->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (task->state != TASK_RUNNING || must_wait(task))
            continue;
        if (task->command.op == SIM_PREEMPT_ABORT) {
            end_task(task, SIM_GOOD);
        } else if (task->command.op == SIM_LU_RESET) {
            t->resets--;
            for (uint32_t i = 0; i < t->nexus_count; i++)
                if (t->nexus[i].is_up)
                    attention(&t->nexus[i], SIM_UA_RESET);
            end_task(task, SIM_GOOD);
        }
    }
}

void target_abort_nexus(struct sim_target *t, struct it_nexus *n)
{
    list_for_each (node, &t->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (task->nexus == n && task->state == TASK_QUEUED)
            end_task(task, SIM_ABORTED);
        else if (task->nexus == n && task->state == TASK_RUNNING)
            task->awaited_by = t->now;
    }
}

static void reset(struct sim_target *t, struct task *task)
{
    sim_trace(t->sim, 0, "lun %u: LOGICAL UNIT RESET by h%u begins", t->lun,
              task->session->host);
    task->state = TASK_RUNNING;
    t->resets++;
    list_for_each (node, &t->tasks) {
        struct task *other = container_of(node, struct task, node);

        if (other->state == TASK_QUEUED)
            end_task(other, SIM_ABORTED);
    }
    look_at_waiting(t);
}

static void land(struct task *task)
{
    struct sim_target *t = task->target;
    struct sim_command *c = &task->command;

    if (c->op == SIM_READ) {
        media_read(t, c, task->read_first, c->count - task->read_first);
    } else if (c->op == SIM_SYNC_CACHE) {
        media_sync(t);
    } else {
        if (t->sim->detail)
            sim_trace(t->sim, 0, "lun %u: block %u: write %u of h%u lands",
                      t->lun, c->block, (uint32_t)c->author.id, c->author.host);
        media_land(t, c, c->block, c->count, false);
    }
    end_task(task, SIM_GOOD);
    look_at_waiting(t);
}

static void run_media(struct task *task)
{
    struct sim_target *t = task->target;

    if (!pr_allows(t, task->nexus, task->command.op)) {
        end_task(task, SIM_CONFLICT);
        return;
    }
    if (task->command.op == SIM_READ) { /* a part now, a part later */
        uint32_t count = task->command.count;

        if (sim_chance(t->sim, 500)) /* among the blocks of nodes */
            count = (uint32_t)min_u64(count, t->sim->host_count + 1);
        task->read_first = sim_below(t->sim, count + 1);
        media_read(t, &task->command, 0, task->read_first);
    }
    task->state = TASK_RUNNING;
    sim_post(t->sim, &task->turn, delay(t), 0, fire_turn);
}

static void run_pr(struct task *task)
{
    struct sim_target *t = task->target;
    struct sim_command *c = &task->command;

    t->now = task;
    pr_run(t, task->nexus, c);
    t->now = NULL;
    if (c->op >= SIM_REGISTER)
        sim_trace(
            t->sim, 0, "lun %u: %s by h%u (%#llx, %#llx): %s", t->lun,
            sim_op_name(c->op), task->session->host, (unsigned long long)c->key,
            (unsigned long long)c->service_key, sim_status_name(c->status));
    if (c->op == SIM_PREEMPT_ABORT && c->status == SIM_GOOD) {
        task->state = TASK_RUNNING;
        look_at_waiting(t);
    } else {
        end_task(task, c->status);
    }
}

static void begin(struct task *task)
{
    struct it_nexus *n = task->nexus;
    enum sim_op op = task->command.op;

    if (op == SIM_LU_RESET) {
        reset(task->target, task);
    } else if (n->attention_count) {
        task->command.attention = n->attentions[0];
        n->attention_count--;
        memmove(n->attentions, n->attentions + 1,
                n->attention_count * sizeof n->attentions[0]);
        end_task(task, SIM_ATTENTION);
    } else if (op == SIM_READ || op == SIM_WRITE || op == SIM_SYNC_CACHE) {
        run_media(task);
    } else if (op == SIM_TEST_UNIT_READY) {
        end_task(task, SIM_GOOD);
    } else {
        run_pr(task);
    }
}

static void fire_turn(struct sim_event *event)
{
    struct task *task = container_of(event, struct task, turn);
    struct sim_target *t = task->target;

    if (task->state == TASK_ENDED || is_held(task))
        return;
    if (task->state == TASK_RUNNING)
        land(task);
    else if (t->resets && task->command.op != SIM_LU_RESET)
        sim_post(t->sim, &task->turn, delay(t), 0, fire_turn);
    else
        begin(task);
}

static void arrive(struct task *task)
{
    task->state = TASK_QUEUED;
    sim_post(task->target->sim, &task->turn, delay(task->target), 0, fire_turn);
}

static void fire_arrival(struct sim_event *event)
{
    struct task *task = container_of(event, struct task, arrival);

    if (task->state != TASK_ON_ITS_WAY)
        return;
    if (!(task->target->no_path >> task->session->host & 1))
        arrive(task);
}

/* -- sessions -------------------------------------------------------------- */

static struct it_nexus *nexus_of(struct sim_target *t, uint32_t host,
                                 uint32_t index)
{
    struct it_nexus *n;

    for (uint32_t i = 0; i < t->nexus_count; i++) {
        n = &t->nexus[i];
        if (n->host == host && n->index == index &&
            !t->options.new_nexus_each_login)
            return n;
    }
    ASSERT(t->nexus_count < SIM_NEXUSES_MAX);
    n = &t->nexus[t->nexus_count++];
    n->host = host;
    n->index = index;
    return n;
}

static void fire_no_answer(struct sim_event *event)
{
    struct task *task = container_of(event, struct task, answer);

    task->command.status = SIM_NO_ANSWER;
    fire_answer(event);
}

/* Its commands have no answer any more; so much the host knows at once. */
static void session_down(struct sim_session *session, bool tell)
{
    struct sim_target *t = session->target;

    session->up = false;
    session->nexus->is_up = false;
    list_for_each (node, &t->tasks) {
        struct task *task = container_of(node, struct task, node);
        struct task *unanswered;

        if (task->session != session || !task->asked)
            continue;
        if (tell) {
            unanswered = sim_copy(t->sim, task, sizeof *task);
            sim_post(t->sim, &unanswered->answer, 0, session->host,
                     fire_no_answer);
            if (task->state == TASK_ON_ITS_WAY && sim_chance(t->sim, 500))
                arrive(task);
            else if (task->state == TASK_ON_ITS_WAY)
                end_task(task, SIM_NO_ANSWER);
        }
        task->asked = NULL;
    }
}

struct sim_session *sim_login(struct sim_host *h, uint32_t lun, uint32_t index)
{
    struct sim_target *t = h->sim->target[lun];
    struct sim_session **at = &t->session[h->number][index], *session;

    if (*at && (*at)->up)
        session_down(*at, true);
    /* What the old connection still had to deliver goes with it. */
    list_for_each (node, &t->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (task->session == *at && task->state == TASK_ON_ITS_WAY)
            end_task(task, SIM_NO_ANSWER);
    }
    session = sim_alloc(t->sim, sizeof *session);
    session->target = t;
    session->host = h->number;
    session->index = index;
    session->nexus = nexus_of(t, h->number, index);
    session->up = !(t->no_path >> h->number & 1);
    if (session->up) {
        session->nexus->is_up = true;
        session->nexus->attention_count = 0;
        attention(session->nexus, SIM_UA_NEXUS_LOSS);
    }
    *at = session;
    return session;
}

bool sim_session_is_up(const struct sim_session *session)
{
    return session && session->up;
}

void sim_submit(struct sim_session *session, struct sim_command *c)
{
    struct sim_target *t = session->target;
    struct task *task = sim_alloc(t->sim, sizeof *task);

    task->target = t;
    task->session = session;
    task->nexus = session->nexus;
    task->command = *c;
    task->command.status = SIM_GOOD;
    task->command.attention = task->command.key_count = 0;
    task->command.read = NULL;
    task->asked = c;
    c->status = SIM_NO_ANSWER;
    if (c->op == SIM_WRITE)
        task->command.bytes = sim_copy(t->sim, c->bytes, c->length);
    if (t->sim->detail || c->op > SIM_WRITE)
        sim_trace(t->sim, session->host, "lun %u: sends %s", t->lun,
                  sim_op_name(c->op));
    if (!session->up) {
        task->state = TASK_ENDED;
        sim_post(t->sim, &task->answer, 0, session->host, fire_no_answer);
        return;
    }
    list_push_back(&t->tasks, &task->node);
    sim_post(t->sim, &task->arrival, delay(t), 0, fire_arrival);
}

/* -- what befalls it ------------------------------------------------------- */

void sim_session_break(struct sim *s, uint32_t lun, uint32_t host,
                       uint32_t index)
{
    struct sim_session *session = s->target[lun]->session[host][index];

    if (!sim_session_is_up(session))
        return;
    sim_trace(s, host, "lun %u: session %u breaks", lun, index);
    session_down(session, true);
}

void sim_target_host_down(struct sim *s, uint32_t host)
{
    for (uint32_t lun = 0; lun < SIM_LUNS_MAX; lun++)
        for (uint32_t i = 0; s->target[lun] && i < SIM_SESSIONS; i++)
            if (sim_session_is_up(s->target[lun]->session[host][i]))
                session_down(s->target[lun]->session[host][i], false);
}

void sim_target_path(struct sim *s, uint32_t lun, uint32_t host, bool there)
{
    sim_trace(s, host, "lun %u: path %s", lun, there ? "is back" : "is gone");
    s->target[lun]->no_path &= ~(1U << host);
    if (there)
        return;
    s->target[lun]->no_path |= 1U << host;
    for (uint32_t i = 0; i < SIM_SESSIONS; i++)
        sim_session_break(s, lun, host, i);
}

static void resume_due(struct sim_target *t)
{
    list_for_each (node, &t->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (!task->due || task->held || (t->held >> task->session->host & 1))
            continue;
        task->due = false;
        sim_post(t->sim, &task->turn, delay(t), 0, fire_turn);
    }
}

void sim_target_hang(struct sim *s, uint32_t lun, uint32_t host, bool hang)
{
    struct sim_target *t = s->target[lun];

    sim_trace(s, host, "lun %u: its commands %s", lun, hang ? "hang" : "go on");
    t->held &= ~(1U << host);
    if (hang)
        t->held |= 1U << host;
    else
        resume_due(t);
}

uint32_t sim_target_hold_writes(struct sim *s, uint32_t lun, uint32_t host)
{
    struct sim_target *t = s->target[lun];
    uint32_t count = 0;

    list_for_each (node, &t->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (task->session->host != host || task->command.op != SIM_WRITE)
            continue;
        task->held = true;
        count++;
    }
    if (count)
        sim_trace(s, host, "lun %u: %u writes are held", lun, count);
    return count;
}

void sim_target_let_go(struct sim *s, uint32_t lun)
{
    list_for_each (node, &s->target[lun]->tasks) {
        struct task *task = container_of(node, struct task, node);

        task->held = false;
    }
    resume_due(s->target[lun]);
}

void sim_target_restart(struct sim *s, uint32_t lun)
{
    struct sim_target *t = s->target[lun];

    sim_trace(s, 0, "lun %u: the target restarts", lun);
    for (uint32_t h = 1; h <= s->host_count; h++)
        for (uint32_t i = 0; i < SIM_SESSIONS; i++)
            sim_session_break(s, lun, h, i);
    list_for_each (node, &t->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (task->state == TASK_RUNNING && task->command.op == SIM_WRITE)
            for (uint32_t i = 0; i < task->command.count; i++)
                if (sim_chance(s, 500))
                    media_land(t, &task->command, task->command.block + i, 1,
                               sim_chance(s, 500));
        end_task(task, SIM_NO_ANSWER);
    }
    t->resets = 0;
    media_power_fails(t);
    pr_restart(t);
}

bool sim_is_reading(const struct sim *s, uint32_t lun, uint32_t host)
{
    list_for_each (node, &s->target[lun]->tasks) {
        const struct task *task = container_of(node, struct task, node);

        if (task->state == TASK_RUNNING && task->command.op == SIM_READ &&
            task->session->host == host)
            return true;
    }
    return false;
}

bool sim_can_land(const struct sim *s, uint32_t lun, uint32_t host, uint64_t id)
{
    list_for_each (node, &s->target[lun]->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (task->command.op == SIM_WRITE &&
            task->command.author.host == host && task->command.author.id == id)
            return true;
    }
    return false;
}

bool sim_is_gone(const struct sim *s, uint32_t lun, uint32_t host,
                 uint64_t incarnation)
{
    const struct sim_host *h = &s->host[host];

    if (sim_is_fenced(s, lun, host, incarnation))
        return true;
    if (h->up && h->run == incarnation)
        return false;
    list_for_each (node, &s->target[lun]->tasks) {
        struct task *task = container_of(node, struct task, node);

        if (task->command.op == SIM_WRITE &&
            task->command.author.host == host &&
            task->command.author.incarnation == incarnation)
            return false;
    }
    return true;
}
