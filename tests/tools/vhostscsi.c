/* tests/tools/vhostscsi.c - one virtual controller, driven by lines on stdin.
 * For trying the vhost-user-scsi front end against a real VMM without a
 * volume, a daemon or a configuration.
 *
 *   vhostscsi SOCKET [HOLDER-FD [LUN=URL …]]
 *   attach LUN mem:MEGABYTES | URL [ro] [thin]      detach LUN [force]
 *   grow LUN MEGABYTES (mem: only)    status    quit
 *
 * Started with a holder's descriptor (base/keep.h) it takes over the VMM that
 * a killed predecessor had; the disks are given too, as it uses them at once.
 * Each line is answered by one that begins with "ok" or "error"; that of
 * detach comes when it has ended.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"
#include "iscsi/iscsi.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { LINE_BYTES = 4096, MIB = 1 << 20, AIO_DEPTH = 256, SPIN_US = 50 };

struct disk {
    struct scsi_lu *lu;
    struct store *memory; /* ours; NULL: */
    struct lun *lun;      /* … of this LUN */
    struct scsi_detach detach;
};

struct tool {
    struct loop *loop;
    struct scsi_bus *bus;
    struct vhost_scsi *vhost;
    struct keep *keep;
    struct loop_fd input;
    char line[LINE_BYTES];
    size_t have;
    struct disk disks[SCSI_LUNS_MAX];
};

static struct tool tool;

static void say(const char *verdict, unsigned lun, const char *text)
{
    printf("%s %u %s\n", verdict, lun, text);
    fflush(stdout);
}

static void disk_close(struct disk *d)
{
    scsi_lu_free(d->lu);
    store_close(d->memory);
    lun_close(d->lun);
    *d = (struct disk){0};
}

static enum err disk_open(struct disk *d, const char *what, const char *options,
                          unsigned lun, struct diag *why)
{
    struct scsi_lu_args args = {.read_only = strstr(options, "ro"),
                                .thin = strstr(options, "thin")};
    const struct store_mem_args memory = {
        .size_bytes = strtoull(what + 4, NULL, 10) * MIB};
    const struct lun_args file = {.read_only = args.read_only};
    enum err e;

    if (strncmp(what, "mem:", 4) == 0) {
        e = store_mem_new(&memory, &d->memory);
        args.store = d->memory;
    } else {
        e = lun_open(what, &file, why, &d->lun);
        args.store = e ? NULL : lun_store(d->lun);
    }
    if (e)
        return e;
    args.uuid[0] = 0x5a;
    args.uuid[15] = (uint8_t)lun;
    return scsi_lu_new(&args, &d->lu);
}

static void attach(unsigned lun, const char *what, const char *options)
{
    struct disk *d = &tool.disks[lun % SCSI_LUNS_MAX];
    struct diag why = {""};
    enum err e;

    if (lun >= SCSI_LUNS_MAX || d->lu) {
        say("error", lun, "no such LUN, or in use");
        return;
    }
    e = disk_open(d, what, options, lun, &why);
    if (!e)
        e = scsi_bus_attach(tool.bus, lun, d->lu);
    if (e) {
        disk_close(d);
        say("error", lun, diag_text(&why, e));
    } else {
        say("ok", lun, "attached");
    }
}

static void detached(struct scsi_detach *detach, enum err e)
{
    struct disk *d = container_of(detach, struct disk, detach);
    unsigned lun = (unsigned)(d - tool.disks);

    if (!scsi_bus_lu(tool.bus, lun))
        disk_close(d);
    say(e ? "error" : "ok", lun, e ? err_text(e) : "detached");
}

static void detach(unsigned lun, bool force)
{
    struct disk *d = &tool.disks[lun % SCSI_LUNS_MAX];
    enum err e;

    d->detach = (struct scsi_detach){.force = force, .done = detached};
    e = scsi_bus_detach(tool.bus, lun, &d->detach);
    if (e)
        say("error", lun, err_text(e));
}

static void grow(unsigned lun, uint64_t mib)
{
    struct disk *d = &tool.disks[lun % SCSI_LUNS_MAX];
    enum err e = E_NOENT;

    if (d->memory)
        e = store_range_sync(d->memory, STORE_RESIZE, mib * MIB, 0);
    if (!e)
        scsi_bus_capacity_changed(tool.bus, lun);
    say(e ? "error" : "ok", lun, e ? err_text(e) : "grown");
}

static void status(void)
{
    struct vhost_scsi_status s;

    vhost_scsi_status(tool.vhost, &s);
    printf("ok connected=%d running=%d hotplug=%d logging=%d queues=%u "
           "requests=%" PRIu64 " kicks=%" PRIu64 " calls=%" PRIu64
           " events=%" PRIu64 " waiting=%" PRIu64 " inflight=%" PRIu64
           " fault=\"%s\"\n",
           s.connected, s.running, s.hotplug, s.logging, s.request_queues,
           s.requests, s.kicks, s.calls, s.events, s.events_waiting, s.inflight,
           s.fault);
    fflush(stdout);
}

/* The next word of *line; "" at its end. */
static const char *next_word(char **line)
{
    char *word = *line + strspn(*line, " ");
    char *end = word + strcspn(word, " ");

    *line = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

static void carry_out(char *line)
{
    const char *word = next_word(&line);
    unsigned lun = (unsigned)strtoul(next_word(&line), NULL, 10);
    const char *what = next_word(&line), *options = line;

    if (!*word)
        return;
    if (strcmp(word, "attach") == 0)
        attach(lun, what, options);
    else if (strcmp(word, "detach") == 0)
        detach(lun, strcmp(what, "force") == 0);
    else if (strcmp(word, "grow") == 0)
        grow(lun, strtoull(what, NULL, 10));
    else if (strcmp(word, "status") == 0)
        status();
    else if (strcmp(word, "quit") == 0)
        loop_stop(tool.loop);
    else
        say("error", lun, "attach, detach, grow, status or quit");
}

static void input_ready(struct loop_fd *f, uint32_t events)
{
    ssize_t n =
        read(f->fd, tool.line + tool.have, sizeof tool.line - tool.have - 1);
    char *end;

    (void)events;
    if (n <= 0) {
        loop_stop(tool.loop);
        return;
    }
    tool.have += (size_t)n;
    tool.line[tool.have] = '\0';
    while ((end = strchr(tool.line, '\n'))) {
        *end = '\0';
        carry_out(tool.line);
        tool.have -= (size_t)(end + 1 - tool.line);
        memmove(tool.line, end + 1, tool.have + 1);
    }
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

static void shut_down(void)
{
    bool closed = false;

    loop_fd_remove(tool.loop, &tool.input); /* its end is always ready */
    vhost_scsi_close(tool.vhost, set_flag, &closed);
    loop_run_until(tool.loop, &closed);
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++) {
        if (!tool.disks[lun].lu)
            continue;
        detach(lun, true);
        while (tool.disks[lun].lu)
            loop_run_ready(tool.loop);
    }
    loop_run_ready(tool.loop);
    scsi_bus_free(tool.bus);
    keep_free(tool.keep);
    loop_free(tool.loop);
}

int main(int argc, char **argv)
{
    const struct loop_args args = {
        .name = "vhostscsi", .spin_us = SPIN_US, .aio_depth = AIO_DEPTH};
    struct diag why = {""};
    enum err e;

    if (argc < 2) {
        fprintf(stderr, "usage: vhostscsi SOCKET [HOLDER-FD [LUN=URL ...]]\n");
        return 2;
    }
    e = loop_new(&args, &tool.loop);
    if (!e)
        e = scsi_bus_new(tool.loop, &tool.bus);
    loop_adopt(tool.loop);
    if (!e && argc > 2)
        e = keep_connect((int)strtol(argv[2], NULL, 10), &tool.keep);
    for (int i = 3; i < argc && !e; i++) {
        char *url = NULL;
        unsigned lun = (unsigned)strtoul(argv[i], &url, 10);

        attach(lun, url + (*url == '='), "");
    }
    if (!e)
        e = vhost_scsi_new(&(struct vhost_scsi_args){.loop = tool.loop,
                                                     .bus = tool.bus,
                                                     .socket_path = argv[1],
                                                     .name = "vhostscsi,0",
                                                     .keep = tool.keep},
                           &why, &tool.vhost);
    if (e) {
        fprintf(stderr, "vhostscsi: %s\n", diag_text(&why, e));
        return 1;
    }
    (void)fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    tool.input =
        (struct loop_fd){.fd = 0, .events = EPOLLIN, .ready = input_ready};
    if (loop_fd_add(tool.loop, &tool.input))
        return 1;
    loop_run(tool.loop);
    shut_down();
    return 0;
}
