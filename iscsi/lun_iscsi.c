/* iscsi/lun_iscsi.c - opens and closes a LUN of an iSCSI target.
 * Finds addresses, has the LUN probed, starts a session on each loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_iscsi.h"
#include "base/endian.h"

#include <ctype.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void li_close(struct lun *lun);

/* -- names ----------------------------------------------------------------- */

static enum err choose_initiator(struct lun_iscsi *li,
                                 const struct lun_args *args, struct diag *why)
{
    char host[64] = "localhost";
    size_t room = sizeof li->initiator;

    if (args->initiator) {
        if (strlen(args->initiator) >= room || !args->initiator[0])
            return diag_fail(why, E_CONFIG,
                             "initiator name: 1 to %zu bytes, please",
                             room - 1);
        snprintf(li->initiator, room, "%s", args->initiator);
        return E_OK;
    }
    gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++)
        *c = isalnum((unsigned char)*c) ? (char)tolower(*c) : '-';
    snprintf(li->initiator, room, "iqn.2026-11.io.lunar:%s", host);
    return E_OK;
}

static enum err choose_password(struct lun_iscsi *li,
                                const struct lun_args *args, struct diag *why)
{
    struct lun_url *url = &li->url;

    if (!url->user[0] || url->password[0])
        return E_OK;
    if (!args->password || !args->password[0] ||
        strlen(args->password) >= sizeof url->password)
        return diag_fail(why, E_URL,
                         "%s: user %s has no password: write user%%password@",
                         li->lun.name, url->user);
    snprintf(url->password, sizeof url->password, "%s", args->password);
    return E_OK;
}

/* Numeric addresses, now: a look-up on a reactor would block it. */
static enum err resolve(struct lun_iscsi *li, struct diag *why)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *all;
    int rc = getaddrinfo(li->url.host, NULL, &hints, &all);

    if (rc)
        return diag_fail(why, E_LUN_GONE, "%s: host %s: %s", li->lun.name,
                         li->url.host, gai_strerror(rc));
    for (struct addrinfo *a = all; a && li->portal_count < PORTALS_MAX;
         a = a->ai_next) {
        bool v6 = a->ai_family == AF_INET6;
        char host[48];

        if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, NULL, 0,
                        NI_NUMERICHOST))
            continue;
        snprintf(li->portals[li->portal_count++], PORTAL_BYTES, "%s%s%s:%u",
                 v6 ? "[" : "", host, v6 ? "]" : "", li->url.port);
    }
    freeaddrinfo(all);
    if (!li->portal_count)
        return diag_fail(why, E_LUN_GONE, "%s: host %s has no address",
                         li->lun.name, li->url.host);
    return E_OK;
}

/* libiscsi writes with writev(), which has no MSG_NOSIGNAL. */
static void ignore_sigpipe(void)
{
    struct sigaction now;

    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

/* -- sessions -------------------------------------------------------------- */

static enum err make_sessions(struct lun_iscsi *li, const struct lun_args *args)
{
    unsigned most = li->ear ? 1 : LUN_SESSIONS_MAX;
    unsigned count = (unsigned)min_u64(max_u64(args->loop_count, 1), most);
    enum err e = E_OK;

    li->iovs_bytes = sizeof(struct iovec) * count * SLOTS * SLOT_IOVS;
    li->iovs = mmap(NULL, li->iovs_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (li->iovs == MAP_FAILED)
        return E_NOMEM;
    for (unsigned i = 0; i < count && !e; i++)
        e = session_new(li, args->loop_count ? args->loops[i] : loop_self(), i);
    return e;
}

static void open_run(struct task *t)
{
    struct control *c = container_of(t, struct control, task);

    session_open(c->session, c);
}

static void close_run(struct task *t)
{
    struct control *c = container_of(t, struct control, task);

    session_close(c->session, c);
}

/* Have each session do something on its loop; wait for all. */
static enum err for_sessions(struct lun_iscsi *li, void (*run)(struct task *),
                             struct diag *why)
{
    struct control calls[LUN_SESSIONS_MAX];
    enum err e = E_OK;

    for (unsigned i = 0; i < li->session_count; i++) {
        calls[i] = (struct control){.task.run = run,
                                    .session = li->sessions[i],
                                    .from = loop_self(),
                                    .why = i ? NULL : why};
        loop_post(li->sessions[i]->loop, &calls[i].task);
    }
    for (unsigned i = 0; i < li->session_count; i++) {
        loop_run_until(loop_self(), &calls[i].done);
        if (calls[i].result && !e)
            e = calls[i].result;
    }
    return e;
}

static enum err li_rescan(struct lun *lun, struct diag *why)
{
    struct lun_iscsi *li = lun_iscsi_of(lun);
    struct lun_identity identity = {.wwid = ""};
    struct lun_limits limits = {.blocks = 0};
    enum err e = iscsi_probe(li, &limits, &identity, why);

    if (e)
        return e;
    if (strcmp(identity.wwid, lun->identity.wwid) != 0 ||
        limits.block_bytes != li->limits.block_bytes)
        return diag_fail(why, E_STALE, "%s: another LUN is there now: %s",
                         lun->name, identity.wwid);
    return lun_resized(lun, limits.blocks * limits.block_bytes, why);
}

static const struct lun_ops iscsi_ops = {
    .pr_submit = iscsi_pr_submit,
    .pr_cancel = iscsi_pr_cancel,
    .rescan = li_rescan,
    .close = li_close,
};

static void li_close(struct lun *lun)
{
    struct lun_iscsi *li = lun_iscsi_of(lun);

    for_sessions(li, close_run, NULL);
    for (unsigned i = 0; i < li->session_count; i++)
        session_free(li->sessions[i]);
    if (li->iovs && li->iovs != MAP_FAILED)
        munmap(li->iovs,
               sizeof(struct iovec) * li->session_count * SLOTS * SLOT_IOVS);
    if (li->lock_fd >= 0)
        close(li->lock_fd);
    lun_fini(lun);
    explicit_bzero(&li->url, sizeof li->url);
    free(li);
}

static void li_closep(struct lun_iscsi **li)
{
    if (*li)
        li_close(&(*li)->lun);
}

/* -- who else has it ------------------------------------------------------- */

/* A name that one process of this host can have, and that goes with it; for
 * two with one name and ISID would throw out each other's sessions for ever. */
static enum err lock_here(struct lun_iscsi *li, struct diag *why)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct lun_identity key = {.wwid = ""};
    char *name = at.sun_path + 1; /* abstract: not in a file system */
    socklen_t bytes;

    /* The wwid alone is not always one LUN's: tgt numbers them from 1. */
    snprintf(key.wwid, sizeof key.wwid, "%s/%.100s/%u", li->lun.identity.wwid,
             li->url.target, li->url.lun);
    lun_identity_seal(&key);
    snprintf(name, sizeof at.sun_path - 1,
             "lunar/lun/%016" PRIx64 "%016" PRIx64, be64_load(key.uuid),
             be64_load(key.uuid + 8));
    bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    li->lock_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (li->lock_fd >= 0 &&
        !bind(li->lock_fd, (const struct sockaddr *)&at, bytes))
        return E_OK;
    if (errno == EADDRINUSE)
        return diag_fail(why, E_LUN_BUSY,
                         "%s: already in use by a process of this host",
                         li->lun.name);
    return diag_fail(why, err_from_errno(errno), "%s: cannot lock: %s",
                     li->lun.name, strerror(errno));
}

/* A process that crashed may have left writes at the target. Our sessions have
 * taken the place of its; this waits for the end of what those had begun. */
static enum err drain_predecessor(struct lun_iscsi *li, struct diag *why)
{
    struct lun_pr reset = {.op = LUN_PR_RESET};
    enum err e = lun_pr_sync(&li->lun, &reset);

    return e ? diag_fail(why, e, "%s: LOGICAL UNIT RESET: %s", li->lun.name,
                         err_text(e))
             : E_OK;
}

/* -- open ------------------------------------------------------------------ */

static enum err describe_store(struct lun_iscsi *li,
                               const struct lun_args *args, struct diag *why)
{
    const struct lun_limits *limits = &li->limits;
    struct store *s = &li->lun.store;

    if (limits->write_protected && !args->read_only)
        return diag_fail(why, E_READ_ONLY, "%s: the LUN is write-protected",
                         li->lun.name);
    s->ops = &iscsi_store_ops;
    s->block_bytes = limits->block_bytes;
    s->physical_bytes = limits->physical_bytes;
    store_size_set(s, limits->blocks * limits->block_bytes);
    s->caps = (args->read_only ? STORE_READ_ONLY : 0) |
              (limits->write_cache ? STORE_VOLATILE : 0) |
              (limits->unmap_max_blocks ? STORE_CAN_DISCARD : 0);
    return E_OK;
}

enum err lun_iscsi_open(const struct lun_url *url, const struct lun_args *args,
                        struct diag *why, struct lun **ret_lun)
{
    AUTO(li_closep) struct lun_iscsi *li = calloc(1, sizeof *li);
    enum err e;

    if (!li)
        return E_NOMEM;
    li->url = *url;
    li->lock_fd = -1;
    li->ear = args->ear;
    li->own_nexus = args->exclusive || args->ear;
    /* SAM-5 4.7: up to 255 peripheral, above flat space addressing */
    li->scsi_lun = (int)(url->lun < 256 ? url->lun : url->lun | 0x4000);
    li->give_up_ns =
        (args->give_up_ms ? args->give_up_ms : LUN_GIVE_UP_MS) * NS_PER_MS;
    li->command_ns =
        min_u64(li->give_up_ns / 3 * 2, COMMAND_MS_MAX * NS_PER_MS);
    li->command_ns = max_u64(li->command_ns, COMMAND_MS_MIN * NS_PER_MS);
    ignore_sigpipe();
    e = lun_init(&li->lun, &iscsi_ops, url);
    if (!e)
        e = choose_initiator(li, args, why);
    if (!e)
        e = choose_password(li, args, why);
    if (!e)
        e = resolve(li, why);
    if (!e)
        e = iscsi_probe(li, &li->limits, &li->lun.identity, why);
    if (!e)
        e = describe_store(li, args, why);
    if (!e && li->own_nexus)
        e = lock_here(li, why);
    if (!e)
        e = make_sessions(li, args);
    if (!e && !li->ear)
        e = for_sessions(li, open_run, why);
    if (!e && !li->ear && args->exclusive && !args->read_only)
        e = drain_predecessor(li, why);
    if (e)
        return e;
    *ret_lun = &TAKE(li)->lun;
    return E_OK;
}
