/* lunard/errand.c - questions from daemon to daemon: who waits for which
 * answer, and whose question is being answered here.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/errand.h"

#include "base/worker.h"

#include <pthread.h>
#include <string.h>

enum { AIO_DEPTH = 64 }; /* of a command's own I/O: a check */

struct errands {
    struct errands_args args;
    struct workers *workers; /* NULL: it has quit */
    unsigned answering;      /* on the loop */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct list asked; /* errands that are not over; lock: mutex */
    uint64_t number;   /* of the last one; lock: mutex */
    bool quit;         /* lock: mutex */
};

/* A question of another node, while it is answered. */
struct answer {
    struct work work;
    struct errands *errands;
    uint32_t node;
    uint64_t number;
    char *text; /* of the answer */
    size_t bytes;
    char line[];
};

/* -- messages -------------------------------------------------------------- */

enum { HEAD_BYTES = 12 }; /* of errand_head, encoded */

static enum err send_line(struct errands *errands, uint32_t node,
                          errand_kind kind, uint64_t number, const char *line)
{
    errand_head head = {.kind = kind, .number = number};
    char bytes[HEAD_BYTES];
    union { /* an iovec is for reading, too: it knows no const */
        const char *in;
        void *out;
    } p = {.in = line};
    const struct iovec iov[] = {
        {bytes, sizeof bytes},
        {p.out, strlen(line)},
    };
    bool ok;
    XDR xdr;

    xdrmem_create(&xdr, bytes, sizeof bytes, XDR_ENCODE);
    ok = xdr_errand_head(&xdr, &head) && xdr_getpos(&xdr) == sizeof bytes;
    xdr_destroy(&xdr);
    ASSERT(ok);
    return errands->args.send(errands->args.user, node, iov, ARRAY_LEN(iov));
}

static bool decode_head(const void *bytes, size_t count, errand_head *ret_head)
{
    union {
        const void *in;
        char *out;
    } p = {.in = bytes};
    bool ok;
    XDR xdr;

    memset(ret_head, 0, sizeof *ret_head);
    if (count < HEAD_BYTES || count > HEAD_BYTES + ERRAND_LINE_BYTES)
        return false;
    xdrmem_create(&xdr, p.out, HEAD_BYTES, XDR_DECODE);
    ok = xdr_errand_head(&xdr, ret_head);
    xdr_destroy(&xdr);
    return ok &&
           (ret_head->kind == ERRAND_ASK || ret_head->kind == ERRAND_ANSWER);
}

/* -- to answer ------------------------------------------------------------- */

static const char too_many[] =
    "{\"ok\":false,\"error\":\"E_BUSY\",\"reason\":\"too much is asked of "
    "this host at once: try again later\"}";
static const char too_long[] =
    "{\"ok\":false,\"error\":\"E_TOO_BIG\",\"reason\":\"there is too much to "
    "say: ask on the host itself\"}";

static void run_answer(struct work *work)
{
    struct answer *a = container_of(work, struct answer, work);
    json_t *json =
        control_answer(a->errands->args.answers, -1, a->line, a->bytes);

    a->text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
}

/* Who cannot be answered now has lost the connection, and knows. */
static void answered(struct work *work)
{
    struct answer *a = container_of(work, struct answer, work);
    const char *text = a->text;

    if (!text || strlen(text) > ERRAND_LINE_BYTES)
        text = too_long;
    (void)!send_line(a->errands, a->node, ERRAND_ANSWER, a->number, text);
    a->errands->answering--;
    free(a->text);
    free(a);
}

static void take_question(struct errands *errands, uint32_t node,
                          uint64_t number, const char *line, size_t bytes)
{
    struct answer *a = NULL;

    if (!errands->workers)
        return;
    if (errands->answering < ERRANDS_MAX)
        a = malloc(sizeof *a + bytes);
    if (!a) {
        (void)!send_line(errands, node, ERRAND_ANSWER, number, too_many);
        return;
    }
    *a = (struct answer){
        .work = {.run = run_answer, .done = answered},
        .errands = errands,
        .node = node,
        .number = number,
        .bytes = bytes,
    };
    memcpy(a->line, line, bytes);
    errands->answering++;
    work_submit(errands->workers, &a->work);
}

/* -- to ask ---------------------------------------------------------------- */

/* Context: mutex is held. */
static void end(struct errands *errands, struct errand *errand, enum err e)
{
    errand->e = e;
    errand->over = true;
    list_remove(&errand->link);
    pthread_cond_broadcast(&errands->changed);
}

static void read_answer(struct errand *errand, const char *line, size_t bytes)
{
    json_t *answer = json_loadb(line, bytes, 0, NULL);
    const char *error = "E_PROTOCOL", *reason = "its answer is none";

    errand->e = E_OK;
    if (json_is_true(json_object_get(answer, "ok"))) {
        errand->result = json_incref(json_object_get(answer, "result"));
    } else {
        (void)json_unpack(answer, "{s:s, s:s}", "error", &error, "reason",
                          &reason);
        errand->e = diag_fail(&errand->why, err_from_name(error), "%s", reason);
    }
    json_decref(answer);
}

static void take_answer(struct errands *errands, uint32_t node, uint64_t number,
                        const char *line, size_t bytes)
{
    pthread_mutex_lock(&errands->mutex);
    list_for_each (at, &errands->asked) {
        struct errand *errand = container_of(at, struct errand, link);

        if (errand->number != number || errand->node != node)
            continue;
        read_answer(errand, line, bytes);
        end(errands, errand, errand->e);
        break; /* else it is of a question that nobody waits for any more */
    }
    pthread_mutex_unlock(&errands->mutex);
}

bool errands_receive(struct errands *errands, uint32_t node, const void *bytes,
                     size_t count)
{
    const char *line = (const char *)bytes + HEAD_BYTES;
    errand_head head;

    if (!decode_head(bytes, count, &head))
        return false;
    if (head.kind == ERRAND_ASK)
        take_question(errands, node, head.number, line, count - HEAD_BYTES);
    else
        take_answer(errands, node, head.number, line, count - HEAD_BYTES);
    return true;
}

/* All of a node, 0: of every node.  Context: mutex is held. */
static void fail_all(struct errands *errands, uint32_t node, enum err e)
{
    struct list *at = errands->asked.next;

    while (at != &errands->asked) {
        struct errand *errand = container_of(at, struct errand, link);

        at = at->next;
        if (!node || errand->node == node)
            end(errands, errand, e);
    }
}

void errands_lost(struct errands *errands, uint32_t node)
{
    pthread_mutex_lock(&errands->mutex);
    fail_all(errands, node, E_CLOSED);
    pthread_mutex_unlock(&errands->mutex);
}

struct asking {
    struct task task;
    struct errands *errands;
    struct errand *list;
    unsigned count;
    bool sent;
};

static enum err send_question(struct errands *errands, struct errand *errand)
{
    json_t *request =
        json_pack("{s:s, s:O*}", "do", errand->command, "args", errand->args);
    AUTO(freep) char *line = request ? json_dumps(request, JSON_COMPACT) : NULL;

    json_decref(request);
    if (!line)
        return E_NOMEM;
    return send_line(errands, errand->node, ERRAND_ASK, errand->number, line);
}

static void run_asking(struct task *task)
{
    struct asking *asking = container_of(task, struct asking, task);
    struct errands *errands = asking->errands;

    pthread_mutex_lock(&errands->mutex);
    for (unsigned i = 0; i < asking->count; i++) {
        struct errand *errand = &asking->list[i];
        enum err e;

        errand->number = ++errands->number;
        list_push_back(&errands->asked, &errand->link);
        e = errands->quit ? E_CANCELED : send_question(errands, errand);
        if (e)
            end(errands, errand, e);
    }
    asking->sent = true;
    pthread_cond_broadcast(&errands->changed);
    pthread_mutex_unlock(&errands->mutex);
}

static bool all_over(const struct asking *asking)
{
    for (unsigned i = 0; i < asking->count; i++)
        if (!asking->list[i].over)
            return false;
    return true;
}

void errands_ask(struct errands *errands, struct errand *list, unsigned count,
                 unsigned limit_ms)
{
    struct asking asking = {{.run = run_asking}, errands, list, count, false};
    uint64_t end_ns = clock_now_ns(clock_system()) + limit_ms * NS_PER_MS;
    const struct timespec until = {.tv_sec = (time_t)(end_ns / NS_PER_S),
                                   .tv_nsec = (long)(end_ns % NS_PER_S)};
    bool late = false;

    ASSERT(loop_self() != errands->args.loop);
    for (unsigned i = 0; i < count; i++) {
        list[i].e = E_OK;
        list[i].result = NULL;
        list[i].over = false;
    }
    loop_post(errands->args.loop, &asking.task);
    pthread_mutex_lock(&errands->mutex);
    while (!asking.sent || (!all_over(&asking) && !late))
        if (!asking.sent || !limit_ms)
            pthread_cond_wait(&errands->changed, &errands->mutex);
        else
            late = pthread_cond_timedwait(&errands->changed, &errands->mutex,
                                          &until);
    for (unsigned i = 0; i < count; i++)
        if (!list[i].over)
            end(errands, &list[i], E_TIMEOUT);
    pthread_mutex_unlock(&errands->mutex);
}

/* -- birth and death ------------------------------------------------------- */

enum err errands_new(const struct errands_args *args,
                     struct errands **ret_errands)
{
    static const struct workers_args workers = {
        .name = "errands", .threads = ERRAND_THREADS, .aio_depth = AIO_DEPTH};
    struct errands *errands = calloc(1, sizeof *errands);
    pthread_condattr_t attr;
    enum err e;

    if (!errands)
        return E_NOMEM;
    errands->args = *args;
    list_init(&errands->asked);
    e = workers_start(&workers, &errands->workers);
    if (e) {
        free(errands);
        return e;
    }
    pthread_mutex_init(&errands->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&errands->changed, &attr);
    pthread_condattr_destroy(&attr);
    *ret_errands = errands;
    return E_OK;
}

struct quitting {
    struct task task;
    struct errands *errands;
    struct workers *workers;
    bool over;
};

static void run_quit(struct task *task)
{
    struct quitting *q = container_of(task, struct quitting, task);
    struct errands *errands = q->errands;

    pthread_mutex_lock(&errands->mutex);
    errands->quit = true;
    fail_all(errands, 0, E_CANCELED);
    q->workers = TAKE(errands->workers);
    q->over = true;
    pthread_cond_broadcast(&errands->changed);
    pthread_mutex_unlock(&errands->mutex);
}

void errands_quit(struct errands *errands)
{
    struct quitting q = {.task = {.run = run_quit}, .errands = errands};

    loop_post(errands->args.loop, &q.task);
    pthread_mutex_lock(&errands->mutex);
    while (!q.over)
        pthread_cond_wait(&errands->changed, &errands->mutex);
    pthread_mutex_unlock(&errands->mutex);
    workers_stop(q.workers);
}

void errands_free(struct errands *errands)
{
    if (!errands)
        return;
    workers_stop(errands->workers);
    pthread_cond_destroy(&errands->changed);
    pthread_mutex_destroy(&errands->mutex);
    free(errands);
}
