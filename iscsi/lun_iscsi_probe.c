/* iscsi/lun_iscsi_probe.c - asks a target what its LUN is, in a session of its
 * own that is closed again.  Blocks; writes nothing, and leaves no key behind.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "base/log.h"
#include "iscsi/lun_iscsi.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
    ANSWER_MS = 10000, /* for one answer */
    PROBE_ATTENTIONS_MAX = 10,
    TCP_SYNS = 2, /* about 7 s till an address counts as dead */
    INQUIRY_BYTES = 255,
    MODE_BYTES = 255,
    REGISTER_BYTES = 24,
    ENTRIES_MAX = 5 /* somebody preempts the key that we look with */
};

/* "lunar" and "look", for who lists the keys meanwhile. */
#define LOOK_KEY UINT64_C(0x6c756e6172000001)

/* 24 bits that name this host: the ISID's "random" part, RFC 7143 11.12.5. */
static uint32_t isid_seed(const struct lun_iscsi *li, bool fixed)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    if (!fixed && getrandom(&hash, sizeof hash, 0) == sizeof hash)
        return hash & 0xffffff;
    for (const char *c = li->initiator; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619U;
    return (hash ^ hash >> 24) & 0xffffff;
}

struct iscsi_context *iscsi_new_context(struct lun_iscsi *li, unsigned index)
{
    struct iscsi_context *ctx = iscsi_create_context(li->initiator);
    bool fixed = li->own_nexus && index < LUN_SESSIONS_MAX;
    /* LUN and session share 16 bits: two LUNs of one target must not take
     * each other's sessions for their own. */
    uint32_t qualifier = li->url.lun << 2 | (index & 3);

    static_assert(LUN_SESSIONS_MAX == 4, "two bits of the qualifier");
    if (!ctx)
        return NULL;
    iscsi_set_noautoreconnect(ctx, 1);
    iscsi_set_isid_random(ctx, isid_seed(li, fixed), qualifier);
    iscsi_set_targetname(ctx, li->url.target);
    iscsi_set_session_type(ctx, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(ctx, ISCSI_HEADER_DIGEST_NONE_CRC32C);
    iscsi_set_tcp_syncnt(ctx, TCP_SYNS);
    if (li->url.user[0])
        iscsi_set_initiator_username_pwd(ctx, li->url.user, li->url.password);
    if (li->url.target_user[0])
        iscsi_set_target_username_pwd(ctx, li->url.target_user,
                                      li->url.target_password);
    return ctx;
}

/* -- one question ---------------------------------------------------------- */

/* libiscsi's own synchronous calls leave pointers to their stack behind when
 * they fail; this one outlives the context. */
struct probe {
    struct lun_iscsi *li;
    struct iscsi_context *ctx;
    struct scsi_task *task; /* the last one: its answer lives in it */
    bool finished;
    int status;
    bool entered;   /* LOOK_KEY is registered */
    bool no_aptpl;  /* the target has none */
    char text[160]; /* why it failed, before anything wrote over it */
    uint8_t out[REGISTER_BYTES];
};

static void finished(struct iscsi_context *ctx, int status, void *data,
                     void *arg)
{
    struct probe *p = arg;

    (void)data;
    p->finished = true;
    p->status = status;
    snprintf(p->text, sizeof p->text, "%s", iscsi_get_error(ctx));
}

/* Serve the connection until what was asked is answered. */
static bool answered(struct probe *p)
{
    uint64_t end = clock_now_ns(clock_system()) + ANSWER_MS * NS_PER_MS;

    while (!p->finished) {
        struct pollfd fd = {.fd = iscsi_get_fd(p->ctx),
                            .events = (short)iscsi_which_events(p->ctx)};
        uint64_t now = clock_now_ns(clock_system());

        if (now >= end || poll(&fd, 1, (int)((end - now) / NS_PER_MS) + 1) < 0)
            return false;
        if (fd.revents & POLLIN) /* first what was said, then the end */
            fd.revents = (short)(fd.revents & ~(POLLERR | POLLHUP));
        if (iscsi_service(p->ctx, fd.revents) < 0)
            return false;
    }
    return true;
}

static void probe_end(struct probe *p)
{
    if (p->ctx && iscsi_is_logged_in(p->ctx)) {
        p->finished = false;
        if (!iscsi_logout_async(p->ctx, finished, p))
            answered(p);
    }
    iscsi_destroy_context(p->ctx);
    p->ctx = NULL;
    if (p->task)
        scsi_free_scsi_task(p->task);
    p->task = NULL;
}

/* Send a CDB; unit attentions are news of old, send it again.  `out`: what goes
 * with it, in the probe; NULL: `bytes` are asked for. */
static enum err command(struct probe *p, uint8_t *cdb, int cdb_bytes,
                        uint8_t *out, int bytes)
{
    struct iscsi_data data = {.size = (size_t)bytes, .data = out};

    for (int i = 0; i < PROBE_ATTENTIONS_MAX; i++) {
        if (p->task)
            scsi_free_scsi_task(p->task);
        p->task = scsi_create_task(
            cdb_bytes, cdb, out ? SCSI_XFER_WRITE : SCSI_XFER_READ, bytes);
        if (!p->task)
            return E_NOMEM;
        p->finished = false;
        if (iscsi_scsi_command_async(p->ctx, p->li->scsi_lun, p->task, finished,
                                     out ? &data : NULL, p) ||
            !answered(p))
            return E_LUN_GONE;
        if (p->status == SCSI_STATUS_GOOD)
            return E_OK;
        if (p->status == SCSI_STATUS_RESERVATION_CONFLICT)
            return E_RESERVED;
        if (p->status != SCSI_STATUS_CHECK_CONDITION)
            return E_LUN_GONE;
        if (p->task->sense.key != SCSI_SENSE_UNIT_ATTENTION)
            return E_UNSUPPORTED;
    }
    return E_IO;
}

/* -- behind a reservation --------------------------------------------------
 * Linux' own target refuses READ CAPACITY and MODE SENSE to who is not
 * registered, where the reservation is for registrants only; SBC-3 table 5 lets
 * them pass.  So where that is met the probe registers a key of nobody, for as
 * long as it asks.  It fences nobody and writes nothing; who takes it for a
 * stranger's may preempt it, then it is registered again. */

static enum err register_key(struct probe *p, uint64_t key)
{
    uint8_t cdb[10] = {0x5f,
                       0x06 /* REGISTER AND IGNORE */, [8] = REGISTER_BYTES};
    enum err e;

    memset(p->out, 0, sizeof p->out);
    be64_store(p->out + 8, key);
    /* The last APTPL that was said counts, for all keys: SPC-4 5.13.5. */
    p->out[20] = !p->no_aptpl;
    e = command(p, cdb, sizeof cdb, p->out, sizeof p->out);
    if (e == E_UNSUPPORTED && !p->no_aptpl) {
        p->no_aptpl = true;
        return register_key(p, key);
    }
    return e;
}

static void leave(struct probe *p)
{
    if (p->entered && register_key(p, 0))
        log_warning("%s: key 0x%" PRIx64 " stays registered: %s",
                    p->li->lun.name, LOOK_KEY, iscsi_get_error(p->ctx));
    p->entered = false;
}

static enum err ask(struct probe *p, uint8_t *cdb, int cdb_bytes, int bytes,
                    struct lun_answer *ret_answer)
{
    enum err e = command(p, cdb, cdb_bytes, NULL, bytes);

    for (int i = 0; e == E_RESERVED && i < ENTRIES_MAX; i++) {
        e = register_key(p, LOOK_KEY);
        if (e)
            break;
        p->entered = true;
        e = command(p, cdb, cdb_bytes, NULL, bytes);
    }
    if (!e)
        *ret_answer = (struct lun_answer){
            p->task->datain.data,
            p->task->datain.size > 0 ? (size_t)p->task->datain.size : 0};
    return e;
}

static enum err ask_page(struct probe *p, uint8_t code,
                         struct lun_answer *ret_answer)
{
    uint8_t cdb[6] = {0x12, 1, code, 0, INQUIRY_BYTES, 0};

    return ask(p, cdb, sizeof cdb, INQUIRY_BYTES, ret_answer);
}

/* -- the questions --------------------------------------------------------- */

static enum err ask_identity(struct probe *p, struct lun_identity *id,
                             struct diag *why)
{
    uint8_t cdb[6] = {0x12, 0, 0, 0, INQUIRY_BYTES, 0};
    struct lun_answer answer;
    enum err e = ask(p, cdb, sizeof cdb, INQUIRY_BYTES, &answer);

    if (!e)
        e = lun_vpd_inquiry(answer, id);
    if (e)
        return diag_fail(why, e, "%s: INQUIRY: %s", p->li->lun.name,
                         e == E_NOENT ? "the target has no such LUN"
                                      : iscsi_get_error(p->ctx));
    if (!ask_page(p, 0x83, &answer))
        lun_vpd_wwid(answer, id);
    if (!ask_page(p, 0x80, &answer))
        lun_vpd_serial(answer, id);
    if (!id->wwid[0])
        snprintf(id->wwid, sizeof id->wwid, "lunar.iscsi-%.200s-%u",
                 p->li->url.target, p->li->url.lun);
    if (!id->serial[0])
        snprintf(id->serial, sizeof id->serial, "%s", id->wwid);
    lun_identity_seal(id);
    return E_OK;
}

static enum err ask_limits(struct probe *p, struct lun_limits *limits,
                           struct diag *why)
{
    uint8_t capacity[16] = {0x9e, 0x10, [13] = 32};
    uint8_t mode[6] = {
        0x1a, 0x08 /* no block descriptors */, 0x08, 0, MODE_BYTES, 0};
    struct lun_answer answer;
    enum err e = ask(p, capacity, sizeof capacity, 32, &answer);

    if (!e)
        e = lun_vpd_capacity(answer, limits);
    if (e)
        return diag_fail(why, e, "%s: READ CAPACITY(16): %s", p->li->lun.name,
                         e == E_UNSUPPORTED ? "block size not handled"
                                            : iscsi_get_error(p->ctx));
    /* Silence means: written through a cache, no limits. */
    limits->write_cache = true;
    if (!ask(p, mode, sizeof mode, MODE_BYTES, &answer))
        lun_vpd_caching(answer, limits);
    if (!ask_page(p, 0xb0, &answer))
        lun_vpd_block_limits(answer, limits);
    if (limits->thin && !ask_page(p, 0xb2, &answer))
        lun_vpd_provisioning(answer, limits);
    if (!limits->thin)
        limits->unmap_max_blocks = 0;
    return E_OK;
}

/* libiscsi has words, not codes, for why a login failed. */
static enum err login_error(const char *text)
{
    if (strcasestr(text, "authenti") || strcasestr(text, "authoriz"))
        return E_ACCESS;
    if (strcasestr(text, "not found"))
        return E_NOENT;
    return E_LUN_GONE;
}

static enum err log_in(struct probe *p, struct diag *why)
{
    enum err e = E_LUN_GONE;

    for (unsigned i = 0; i < p->li->portal_count; i++) {
        p->ctx = iscsi_new_context(p->li, LUN_SESSIONS_MAX);
        if (!p->ctx)
            return E_NOMEM;
        p->finished = false;
        p->text[0] = '\0';
        if (iscsi_full_connect_async(p->ctx, p->li->portals[i], -1, finished,
                                     p) == 0 &&
            answered(p) && p->status == SCSI_STATUS_GOOD)
            return E_OK;
        e = login_error(p->text);
        diag_fail(why, e, "%s: login at %s: %s", p->li->lun.name,
                  p->li->portals[i], p->text[0] ? p->text : "no answer");
        probe_end(p);
    }
    return e;
}

enum err iscsi_probe(struct lun_iscsi *li, struct lun_limits *limits,
                     struct lun_identity *id, struct diag *why)
{
    struct probe p = {.li = li};
    enum err e = log_in(&p, why);

    if (!e)
        e = ask_identity(&p, id, why);
    if (!e)
        e = ask_limits(&p, limits, why);
    leave(&p);
    probe_end(&p);
    return e;
}
