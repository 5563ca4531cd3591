/* iscsi/vhost_scsi.c - the life of one vhost-user-scsi controller.
 * Listens, has one VMM at a time, and lets go of guest memory only when
 * nothing in flight can touch it any more.  Knows no message and no request.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/vhost.h"

#include "base/log.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* -- leaving --------------------------------------------------------------- */

static void vhost_free(struct vhost_scsi *v)
{
    free(v->name);
    free(v->nexus_name);
    free(v->socket_path);
    free(v);
}

static void close_finish(struct vhost_scsi *v)
{
    void (*closed)(void *arg) = v->closed;
    void *arg = v->closed_arg;

    vhost_keep_forget(v);
    vhost_free(v);
    closed(arg);
}

/* The VMM is gone and nothing of it is in flight: forget it. */
static void leave_finish(struct vhost_scsi *v)
{
    vhost_poller_update(v);
    for (unsigned i = 0; i < v->ring_count; i++)
        vhost_queue_fini(&v->queues[i]);
    vhost_inflight_drop(v);
    vhost_mem_fini(&v->mem);
    vhost_mem_init(&v->mem);
    vhost_events_forget(v);
    v->guest_knows = v->broken = v->leaving = false;
    v->features = v->protocol_features = 0;
    v->fault.text[0] = '\0';
    scsi_nexus_close(TAKE(v->nexus));
    if (v->closing) {
        close_finish(v);
        return;
    }
    vhost_keep_save(v);
    loop_fd_set(v->loop, &v->listener, EPOLLIN);
}

static void resume(struct task *t)
{
    struct vhost_scsi *v = container_of(t, struct vhost_scsi, resume);

    v->resume_posted = false;
    if (v->leaving) {
        if (!v->inflight)
            leave_finish(v);
    } else if (v->message_waits) {
        vhost_message(v);
    } else if (v->closing) {
        close_finish(v);
    } else {
        vhost_poller_update(v);
    }
}

void vhost_drained(struct vhost_scsi *v)
{
    if (v->resume_posted)
        return;
    v->resume_posted = true;
    loop_post(v->loop, &v->resume);
}

void vhost_disconnect(struct vhost_scsi *v, const struct diag *why)
{
    if (v->leaving || v->channel.fd < 0)
        return;
    if (why)
        log_error("%s: the VMM is cut off: %s", v->name,
                  diag_text(why, E_PROTOCOL));
    else
        log_info("%s: the VMM is gone", v->name);
    loop_fd_remove(v->loop, &v->channel.watch);
    channel_close(&v->channel);
    for (unsigned i = 0; i < v->ring_count; i++)
        if (v->queues[i].running)
            vhost_queue_stop(&v->queues[i]);
    v->message_waits = v->paused = false;
    v->leaving = true;
    scsi_nexus_give_up(v->nexus);
    if (!v->closing)
        loop_fd_set(v->loop, &v->listener, 0);
    vhost_drained(v);
}

void vhost_break(struct vhost_scsi *v, unsigned queue, const struct diag *why)
{
    const uint64_t one = 1;

    if (v->broken)
        return;
    v->broken = true;
    v->fault = *why;
    diag_prefix(&v->fault, E_PROTOCOL, "ring %u", queue);
    log_error("%s: the guest's driver broke the device: %s", v->name,
              v->fault.text);
    for (unsigned i = 0; i < v->ring_count; i++) {
        struct vhost_queue *q = &v->queues[i];

        if (q->running)
            vhost_queue_stop(q);
        if (q->err_fd >= 0 && write(q->err_fd, &one, sizeof one) < 0)
            continue; /* nobody listens */
    }
}

/* -- arriving -------------------------------------------------------------- */

static void channel_ready(struct loop_fd *f, uint32_t events)
{
    struct vhost_scsi *v = container_of(f, struct vhost_scsi, channel.watch);
    struct diag why = {""};

    if (v->message_waits) { /* only its end can have woken us */
        vhost_disconnect(v, NULL);
        return;
    }
    (void)events;
    while (v->channel.fd >= 0 && !v->message_waits) {
        switch (channel_read(&v->channel, &why)) {
        case CHANNEL_MORE: return;
        case CHANNEL_MESSAGE: vhost_message(v); break;
        case CHANNEL_CLOSED:
            vhost_disconnect(v, why.text[0] ? &why : NULL);
            break;
        }
    }
}

void vhost_connected(struct vhost_scsi *v, int fd, bool known)
{
    const struct scsi_nexus_args nexus = {
        .name = v->nexus_name, .event = vhost_event, .arg = v, .known = known};
    enum err e = scsi_nexus_open(v->bus, &nexus, &v->nexus);

    if (e) {
        log_error("%s: %s", v->name, err_text(e));
        close(fd);
        return;
    }
    v->channel.fd = fd;
    v->channel.watch = (struct loop_fd){
        .fd = fd, .events = EPOLLIN | EPOLLRDHUP, .ready = channel_ready};
    e = loop_fd_add(v->loop, &v->channel.watch);
    if (e) {
        log_error("%s: %s", v->name, err_text(e));
        channel_close(&v->channel);
        scsi_nexus_close(TAKE(v->nexus));
        return;
    }
    v->stats.connections++;
    if (!known)
        log_info("%s: a VMM is here", v->name);
}

static void listener_ready(struct loop_fd *f, uint32_t events)
{
    struct vhost_scsi *v = container_of(f, struct vhost_scsi, listener);
    int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    if (v->channel.fd >= 0) {
        log_warning("%s: a second VMM is refused", v->name);
        close(fd);
        return;
    }
    vhost_connected(v, fd, false);
    vhost_keep_save(v);
}

/* -- birth and end --------------------------------------------------------- */

/* A socket file that nobody listens on is left over from a crash. */
static enum err remove_stale(const struct sockaddr_un *at, struct diag *why)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = connect(fd, (const struct sockaddr *)at, sizeof *at);
    int error = errno;

    if (fd >= 0)
        close(fd);
    if (!result || error == EAGAIN)
        return diag_fail(why, E_BUSY, "%s: another process listens there",
                         at->sun_path);
    if (error == ECONNREFUSED)
        (void)unlink(at->sun_path);
    return E_OK;
}

static enum err listen_at(const char *path, int *ret_fd, struct diag *why)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    enum err e;
    int fd;

    if (strlen(path) >= sizeof at.sun_path)
        return diag_fail(why, E_NAME_TOO_LONG,
                         "%s: a socket's path has at most %zu bytes", path,
                         sizeof at.sun_path - 1);
    memcpy(at.sun_path, path, strlen(path));
    e = remove_stale(&at, why);
    if (e)
        return e;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && !bind(fd, (const struct sockaddr *)&at, sizeof at) &&
        !listen(fd, 1)) {
        *ret_fd = fd;
        return E_OK;
    }
    e = diag_fail(why, err_from_errno(errno), "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return e;
}

/* Nothing of it runs yet: drop what was taken over. */
static void give_up_adopted(struct vhost_scsi *v, int *listener)
{
    if (*listener >= 0)
        close(*listener);
    *listener = -1;
    if (v->channel.fd >= 0)
        loop_fd_remove(v->loop, &v->channel.watch);
    channel_close(&v->channel);
    for (unsigned i = 0; i < v->ring_count; i++)
        vhost_queue_fini(&v->queues[i]);
    vhost_inflight_drop(v);
    vhost_mem_fini(&v->mem);
    vhost_mem_init(&v->mem);
    v->features = v->protocol_features = 0;
    v->guest_knows = v->message_waits = false;
    if (v->nexus)
        scsi_nexus_close(TAKE(v->nexus));
}

static struct vhost_scsi *vhost_alloc(const struct vhost_scsi_args *args)
{
    unsigned queues =
        args->queues_max ? args->queues_max : VHOST_QUEUES_DEFAULT;
    struct vhost_scsi *v = calloc(1, sizeof *v);

    if (!v)
        return NULL;
    v->loop = args->loop;
    v->bus = args->bus;
    v->name = strdup(args->label ? args->label : args->name);
    v->nexus_name = strdup(args->name);
    v->socket_path = strdup(args->socket_path);
    v->ring_count =
        VHOST_FIRST_REQUEST_QUEUE + (unsigned)min_u64(queues, VHOST_QUEUES_MAX);
    v->resume = (struct task){.run = resume};
    v->carry_on = (struct task){.run = vhost_keep_carry_on};
    v->keep = args->keep;
    snprintf(v->keep_name, sizeof v->keep_name, "vhost/%s", args->name);
    v->inflight_fd = -1;
    channel_init(&v->channel);
    vhost_mem_init(&v->mem);
    vhost_poller_init(v);
    for (unsigned i = 0; i < v->ring_count; i++)
        vhost_queue_init(&v->queues[i], v, i);
    if (v->name && v->nexus_name && v->socket_path)
        return v;
    vhost_free(v);
    return NULL;
}

enum err vhost_scsi_new(const struct vhost_scsi_args *args, struct diag *why,
                        struct vhost_scsi **ret_vhost)
{
    struct vhost_scsi *v = vhost_alloc(args);
    enum err e;
    int fd = -1;

    if (!v)
        return diag_fail(why, E_NOMEM, "%s", args->name);
    e = vhost_keep_adopt(v, &fd, why);
    if (e) { /* its VMM cannot be helped; the next one can */
        log_error("%s: a VMM is lost: %s", v->name, diag_text(why, e));
        give_up_adopted(v, &fd);
    }
    if (fd < 0)
        e = listen_at(v->socket_path, &fd, why);
    if (e) {
        vhost_free(v);
        return e;
    }
    v->listener =
        (struct loop_fd){.fd = fd, .events = EPOLLIN, .ready = listener_ready};
    e = loop_fd_add(v->loop, &v->listener);
    if (e) {
        close(fd);
        (void)unlink(v->socket_path);
        vhost_free(v);
        return diag_fail(why, e, "%s", args->name);
    }
    vhost_keep_save(v);
    *ret_vhost = v;
    return E_OK;
}

void vhost_scsi_close(struct vhost_scsi *v, void (*done)(void *arg), void *arg)
{
    ASSERT(!v->closing);
    v->closing = true;
    v->closed = done;
    v->closed_arg = arg;
    loop_fd_remove(v->loop, &v->listener);
    close(v->listener.fd);
    (void)unlink(v->socket_path);
    if (v->channel.fd >= 0)
        vhost_disconnect(v, NULL);
    else
        vhost_drained(v);
}

void vhost_scsi_status(const struct vhost_scsi *v,
                       struct vhost_scsi_status *ret_status)
{
    struct vhost_scsi_status *s = ret_status;

    *s = v->stats;
    s->connected = v->channel.fd >= 0;
    s->hotplug = vhost_has_feature(v, VIRTIO_SCSI_F_HOTPLUG);
    s->logging = vhost_has_feature(v, VHOST_F_LOG_ALL);
    for (unsigned i = VHOST_FIRST_REQUEST_QUEUE; i < v->ring_count; i++)
        s->request_queues += v->queues[i].running;
    s->running = s->request_queues > 0;
    s->events_waiting = v->events_count;
    s->inflight = v->inflight;
    memcpy(s->fault, v->fault.text, sizeof s->fault);
}
