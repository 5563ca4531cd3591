/* iscsi/lun_iscsi_session.c - one connection to the target: log in, notice
 * that it is lost, come back, and reset the LUN where I13 wants it.
 * Everything runs on the session's loop; libiscsi never reconnects by itself.
 *
 *   DOWN ──tick──> LOGIN ──────> RESETTING ──────> PROVING ──> READY
 *     ^              │      a write     │     shared      │         │
 *     │              │      at large?   │     LUN?        │         │
 *     └──── lost ────┴──────────────────┴─────────────────┴─────────┘
 *
 * Callbacks of libiscsi run inside iscsi_service(); what they find broken they
 * only note (session_lose), and the context is torn down after it returned.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/trace.h"
#include "iscsi/lun_iscsi.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    RECONNECT_MS_MIN = 100,
    LOGOUT_MS = 1000,
    LASTED_MS = 3000,
    IDLE_TICK_MS = QUIET_MS /* nothing in flight: the core may sleep */
};

static void set_state(struct session *s, enum session_state state)
{
    static const char *const names[] = {
        "down", "login", "resetting", "proving", "ready", "logout", "closed"};

    static_assert(ARRAY_LEN(names) == SESSION_CLOSED + 1, "one for each");
    TRACE(lun_session, "lun=%u session=%u %s -> %s", s->lun->url.lun, s->index,
          names[s->state], names[state]);
    s->state = state;
    s->state_since_ns = session_now(s);
}

/* -- calls from other threads ---------------------------------------------- */

static void control_returned(struct task *t)
{
    container_of(t, struct control, task)->done = true;
}

static void control_finish(struct control **at, enum err e)
{
    struct control *c = *at;

    if (!c)
        return;
    *at = NULL;
    c->result = e;
    if (e && c->session->reason[0])
        diag_fail(c->why, e, "%s: %s", c->session->lun->lun.name,
                  c->session->reason);
    c->task = (struct task){.run = control_returned};
    loop_post(c->from, &c->task);
}

/* -- the socket ------------------------------------------------------------ */

static void tear_down(struct session *s);

/* A connection that ends without an error of its own gets the library's talk
 * of reconnecting, which we do not let it do. */
static const char *socket_error(struct iscsi_context *ctx)
{
    const char *text = iscsi_get_error(ctx);

    return strstr(text, "Can not reconnect") ? "the connection was closed"
                                             : text;
}

static void after_service(struct session *s, int rc)
{
    if (rc < 0)
        session_lose(s, "%s", socket_error(s->ctx));
    commands_abort(s);
    if (s->lost)
        tear_down(s);
    else
        loop_fd_set(s->loop, &s->fd, (uint32_t)iscsi_which_events(s->ctx));
}

static void socket_ready(struct loop_fd *f, uint32_t events)
{
    struct session *s = container_of(f, struct session, fd);

    static_assert(EPOLLIN == 1 && EPOLLOUT == 4 && EPOLLERR == 8 &&
                      EPOLLHUP == 16,
                  "epoll's events are poll's");
    if (events & EPOLLIN) {
        s->heard_ns = session_now(s);
        /* First what was said, then that it was the last word. */
        events &= ~(uint32_t)(EPOLLERR | EPOLLHUP);
    }
    after_service(s, iscsi_service(s->ctx, (int)events));
}

/* The last word of a session: it may be freed as soon as this was heard. */
static void closed(struct session *s)
{
    if (s->kicked) /* kick_run() comes by once more */
        return;
    control_finish(&s->opener, E_LUN_GONE);
    control_finish(&s->closer, E_OK);
}

static void kick_run(struct task *t)
{
    struct session *s = container_of(t, struct session, kick);

    s->kicked = false;
    if (s->state == SESSION_CLOSED)
        closed(s);
    else if (s->ctx && s->state != SESSION_LOGIN)
        after_service(s, iscsi_service(s->ctx, EPOLLOUT));
}

void session_kick(struct session *s)
{
    if (s->kicked)
        return;
    s->kicked = true;
    s->kick.run = kick_run;
    loop_post(s->loop, &s->kick);
}

/* -- coming up ------------------------------------------------------------- */

bool session_is_written(struct session *s)
{
    return !iscsi_out_queue_length(s->ctx) &&
           !(iscsi_which_events(s->ctx) & POLLOUT);
}

void session_ready(struct session *s)
{
    set_state(s, SESSION_READY);
    s->lost_since_ns = 0;
    s->needs_reset = s->gone = false;
    if (s->unsettled) {
        s->unsettled = false;
        atomic_fetch_sub(&s->lun->unsettled, 1);
    }
    loop_timer_set(s->loop, &s->tick, TICK_MS);
    control_finish(&s->opener, E_OK);
    if (s->lun->ear) {
        share_up(s);
        return;
    }
    prs_dispatch(s);
    commands_resume(s);
}

static void drained(struct session *s)
{
    if (!s->lun->ear) {
        session_ready(s);
        return;
    }
    set_state(s, SESSION_PROVING);
    share_prove(s);
}

/* TASK MANAGEMENT response 0: no task of before the reset can land any more
 * (SAM-5 6.3.3). */
static void reset_done(struct iscsi_context *ctx, int status, void *data,
                       void *arg)
{
    struct session *s = arg;

    (void)ctx;
    if (status != SCSI_STATUS_GOOD || s->lost)
        session_lose(s, "LOGICAL UNIT RESET was not answered");
    else if (*(uint32_t *)data != ISCSI_TMR_FUNC_COMPLETE)
        session_lose(s, "the target refuses LOGICAL UNIT RESET (response %u)",
                     *(uint32_t *)data);
    else
        drained(s);
}

/* Only to an address: to look a name up would block the loop. */
static void redirect(struct session *s, const char *portal)
{
    if (++s->redirects <= REDIRECTS_MAX && strlen(portal) < PORTAL_BYTES &&
        !portal[strspn(portal, "0123456789abcdefABCDEF.:[],")])
        snprintf(s->redirect, sizeof s->redirect, "%s", portal);
    session_lose(s, "login: redirected to %s", portal);
}

static void logged_in(struct iscsi_context *ctx, int status, void *data,
                      void *arg)
{
    struct session *s = arg;

    (void)data;
    if (status == SCSI_STATUS_REDIRECT) {
        redirect(s, iscsi_get_target_address(ctx));
        return;
    }
    if (status != SCSI_STATUS_GOOD) {
        session_lose(s, "login: %s", iscsi_get_error(ctx));
        return;
    }
    s->heard_ns = session_now(s);
    s->nop_ns = 0;
    if (!s->needs_reset) {
        drained(s);
        return;
    }
    set_state(s, SESSION_RESETTING);
    /* Not iscsi_task_mgmt_lun_reset_async(): nothing is to be cancelled. */
    if (iscsi_task_mgmt_async(ctx, s->lun->scsi_lun, ISCSI_TM_LUN_RESET,
                              UINT32_MAX, 0, reset_done, s))
        session_lose(s, "%s", iscsi_get_error(ctx));
}

static void connected(struct iscsi_context *ctx, int status, void *data,
                      void *arg)
{
    struct session *s = arg;

    (void)data;
    if (status != SCSI_STATUS_GOOD)
        session_lose(s, "cannot connect: %s", iscsi_get_error(ctx));
    else if (iscsi_login_async(ctx, logged_in, s))
        session_lose(s, "login: %s", iscsi_get_error(ctx));
}

static void take_portal(struct session *s, char portal[PORTAL_BYTES])
{
    if (!s->redirect[0])
        s->redirects = 0;
    snprintf(portal, PORTAL_BYTES, "%s",
             s->redirect[0]
                 ? s->redirect
                 : s->lun->portals[s->attempts % s->lun->portal_count]);
    s->redirect[0] = '\0';
}

static void connect_now(struct session *s)
{
    char portal[PORTAL_BYTES];

    take_portal(s, portal);
    set_state(s, SESSION_LOGIN);
    s->lost = false;
    s->ctx = iscsi_new_context(s->lun, s->index);
    if (!s->ctx) {
        session_lose(s, "out of memory");
    } else if (iscsi_connect_async(s->ctx, portal, connected, s)) {
        session_lose(s, "cannot connect to %s: %s", portal,
                     iscsi_get_error(s->ctx));
    } else {
        s->fd = (struct loop_fd){.fd = iscsi_get_fd(s->ctx),
                                 .events = (uint32_t)iscsi_which_events(s->ctx),
                                 .ready = socket_ready};
        if (loop_fd_add(s->loop, &s->fd)) {
            s->fd.fd = -1;
            session_lose(s, "out of memory");
        }
    }
    loop_timer_set(s->loop, &s->tick, TICK_MS);
    if (s->lost)
        tear_down(s);
}

/* -- going down ------------------------------------------------------------ */

void session_lose(struct session *s, const char *fmt, ...)
{
    va_list args;

    if (s->lost) /* the first reason is the reason */
        return;
    s->lost = true;
    va_start(args, fmt);
    vsnprintf(s->reason, sizeof s->reason, fmt, args);
    va_end(args);
    lun_fault(&s->lun->lun, E_LUN_GONE, "session %u: %s", s->index, s->reason);
    session_kick(s); /* in case nothing else returns through after_service() */
}

static void drop_context(struct session *s)
{
    struct list *first;

    if (s->fd.fd >= 0)
        loop_fd_remove(s->loop, &s->fd);
    s->fd.fd = -1;
    if (s->ctx)
        iscsi_destroy_context(s->ctx); /* unanswered commands come back now */
    s->ctx = NULL;
    while ((first = list_pop_front(&s->in_flight)))
        list_push_back(&s->redo, first);
}

static uint64_t reconnect_ms(struct session *s)
{
    unsigned doublings = (unsigned)min_u64(s->attempts, 5);

    if (s->redirect[0] || !s->attempts)
        return 0;
    return min_u64((uint64_t)RECONNECT_MS_MIN << doublings, RECONNECT_MS_MAX);
}

static void tear_down(struct session *s)
{
    bool logging_out = s->state == SESSION_LOGOUT;
    uint64_t wait_ms;

    /* It worked for a while: start over with quick attempts. */
    if (s->state == SESSION_READY &&
        session_now(s) - s->state_since_ns >= LASTED_MS * NS_PER_MS)
        s->attempts = 0;
    s->lost = true; /* what comes back now finds no connection */
    share_stop(s);
    drop_context(s);
    s->lost = false;
    if (s->lun->ear)
        prs_fail(s, E_LUN_GONE);
    if (logging_out || (s->opener && !s->redirect[0])) {
        set_state(s, SESSION_CLOSED);
        loop_timer_cancel(s->loop, &s->tick);
        loop_timer_cancel(s->loop, &s->busy);
        closed(s);
        return;
    }
    set_state(s, SESSION_DOWN);
    wait_ms = reconnect_ms(s);
    s->attempts++;
    if (!s->lost_since_ns)
        s->lost_since_ns = session_now(s);
    loop_timer_set(s->loop, &s->tick, wait_ms);
    share_lost(s);
}

void session_unsettle(struct session *s)
{
    if (s->unsettled)
        return;
    s->unsettled = true;
    atomic_fetch_add(&s->lun->unsettled, 1);
}

/* Too long without a connection: who waits is told, and who comes, until it
 * is back.  A write at large stops the writes of the other sessions, too. */
static void give_up(struct session *s)
{
    s->gone = true;
    if (s->needs_reset)
        session_unsettle(s);
    commands_fail(s, E_LUN_GONE);
    prs_fail(s, E_LUN_GONE);
}

/* -- the passing of time --------------------------------------------------- */

static void nop_done(struct iscsi_context *ctx, int status, void *data,
                     void *arg)
{
    struct session *s = arg;

    (void)ctx;
    (void)data;
    if (status == SCSI_STATUS_GOOD)
        s->nop_ns = 0;
}

/* Ask for a sign of life when nothing was heard; nothing again: lost. */
static void keep_alive(struct session *s, uint64_t now)
{
    const uint64_t quiet_ns = (uint64_t)QUIET_MS * NS_PER_MS;

    if (now - s->heard_ns < quiet_ns) {
        s->nop_ns = 0;
        return;
    }
    if (s->nop_ns) {
        if (now - s->nop_ns >= quiet_ns)
            session_lose(s, "nothing heard from the target for %u s",
                         (unsigned)((now - s->heard_ns) / NS_PER_S));
        return;
    }
    s->nop_ns = now;
    if (iscsi_nop_out_async(s->ctx, nop_done, NULL, 0, s))
        session_lose(s, "%s", iscsi_get_error(s->ctx));
    session_kick(s);
}

static uint64_t tick_ready(struct session *s, uint64_t now)
{
    /* A shared LUN is looked at even so: a command that was swallowed is to be
     * noticed soon, whenever it is sent. */
    bool busy = !list_empty(&s->in_flight) || s->pr || s->nop_ns || s->lun->ear;

    commands_check_deadlines(s, now);
    share_probe(s, now);
    if (s->pr && now - s->pr_since_ns >= s->lun->command_ns)
        session_lose(s, "a reservation command was not answered");
    prs_dispatch(s); /* one that has waited long enough */
    keep_alive(s, now);
    return busy ? TICK_MS : IDLE_TICK_MS;
}

static void tick_fire(struct timer *t)
{
    struct session *s = container_of(t, struct session, tick);
    uint64_t now = session_now(s);
    uint64_t limit_ms = s->state == SESSION_LOGOUT ? LOGOUT_MS : LOGIN_MS;
    uint64_t next_ms = TICK_MS;

    if (s->lost_since_ns && !s->gone && !s->lun->ear &&
        now - s->lost_since_ns >= s->lun->give_up_ns)
        give_up(s);
    if (s->state == SESSION_DOWN) {
        connect_now(s);
        return;
    }
    if (s->state == SESSION_READY)
        next_ms = tick_ready(s, now);
    else if (now - s->state_since_ns >= limit_ms * NS_PER_MS)
        session_lose(s, "no answer in %u s", (unsigned)(limit_ms / 1000));
    loop_timer_set(s->loop, &s->tick, next_ms);
    if (s->lost)
        tear_down(s);
}

static void busy_fire(struct timer *t)
{
    struct session *s = container_of(t, struct session, busy);

    commands_resume(s);
}

/* -- open, close ----------------------------------------------------------- */

void session_open(struct session *s, struct control *opener)
{
    s->opener = opener;
    connect_now(s);
}

static void logged_out(struct iscsi_context *ctx, int status, void *data,
                       void *arg)
{
    (void)ctx;
    (void)status;
    (void)data;
    session_lose(arg, "closed");
}

void session_close(struct session *s, struct control *closer)
{
    bool talks = s->state == SESSION_READY;

    s->closer = closer;
    if (s->state == SESSION_CLOSED) {
        closed(s);
        return;
    }
    set_state(s, SESSION_LOGOUT);
    if (!talks || iscsi_logout_async(s->ctx, logged_out, s)) {
        tear_down(s);
        return;
    }
    loop_timer_set(s->loop, &s->tick, TICK_MS);
    session_kick(s);
}

enum err session_new(struct lun_iscsi *li, struct loop *loop, unsigned index)
{
    struct session *s = calloc(1, sizeof *s);

    if (!s)
        return E_NOMEM;
    s->lun = li;
    s->loop = loop;
    s->index = index;
    s->state = SESSION_CLOSED;
    s->fd.fd = -1;
    s->gate = li->ear ? GATE_HELD : GATE_CARRIES;
    s->needs_reset = li->ear != NULL;
    s->tick.fire = tick_fire;
    s->busy.fire = busy_fire;
    list_init(&s->free);
    list_init(&s->in_flight);
    list_init(&s->redo);
    list_init(&s->queue);
    list_init(&s->prs);
    for (unsigned i = 0; i < SLOTS; i++) {
        s->slots[i].session = s;
        s->slots[i].iov = li->iovs + ((size_t)index * SLOTS + i) * SLOT_IOVS;
        list_push_back(&s->free, &s->slots[i].link);
    }
    li->sessions[li->session_count++] = s;
    return E_OK;
}

void session_free(struct session *s)
{
    ASSERT(s->state == SESSION_CLOSED);
    free(s);
}
