/* iscsi/lun.c - opens a LUN of any kind, and does what all kinds share.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err lun_open(const char *url_text, const struct lun_args *args,
                  struct diag *why, struct lun **ret_lun)
{
    AUTO(freep) struct lun_url *url = calloc(1, sizeof *url);
    enum err e;

    ASSERT(loop_self());
    if (!url)
        return E_NOMEM;
    e = lun_url_parse(url_text, why, url);
    if (e)
        return e;
    if (args->ear && url->kind == LUN_URL_FILE)
        return diag_fail(why, E_UNSUPPORTED,
                         "%s: only the LUN of a target is shared by hosts",
                         url_text);
    e = url->kind == LUN_URL_FILE ? lun_file_open(url, args, why, ret_lun)
                                  : lun_iscsi_open(url, args, why, ret_lun);
    explicit_bzero(url, sizeof *url);
    return e;
}

void lun_close(struct lun *lun)
{
    if (lun)
        lun->ops->close(lun);
}

struct store *lun_store(struct lun *lun)
{
    return &lun->store;
}

const char *lun_name(const struct lun *lun)
{
    return lun->name;
}

bool lun_is_sole(const struct lun *lun)
{
    return lun->sole;
}

const struct lun_identity *lun_identity(const struct lun *lun)
{
    return &lun->identity;
}

enum err lun_rescan(struct lun *lun, struct diag *why)
{
    return lun->ops->rescan(lun, why);
}

/* -- for the kinds --------------------------------------------------------- */

enum err lun_init(struct lun *lun, const struct lun_ops *ops,
                  const struct lun_url *url)
{
    AUTO(freep) char *name = malloc(LUN_URL_TEXT_BYTES);

    if (!name)
        return E_NOMEM;
    lun_url_to_text(url, name);
    lun->name = strdup(name);
    if (!lun->name)
        return E_NOMEM;
    lun->ops = ops;
    pthread_mutex_init(&lun->trouble_mutex, NULL);
    return E_OK;
}

void lun_fini(struct lun *lun)
{
    if (!lun->name)
        return;
    pthread_mutex_destroy(&lun->trouble_mutex);
    free(lun->name);
}

enum err lun_fault(struct lun *lun, enum err e, const char *fmt, ...)
{
    char text[DIAG_TEXT_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    pthread_mutex_lock(&lun->trouble_mutex);
    diag_fail(&lun->trouble, e, "%s: %s", lun->name, text);
    pthread_mutex_unlock(&lun->trouble_mutex);
    return e;
}

void lun_trouble(struct lun *lun, struct diag *ret_why)
{
    pthread_mutex_lock(&lun->trouble_mutex);
    *ret_why = lun->trouble;
    pthread_mutex_unlock(&lun->trouble_mutex);
}

enum err lun_resized(struct lun *lun, uint64_t size_bytes, struct diag *why)
{
    uint64_t size = align_down(size_bytes, lun->store.block_bytes);

    if (size < store_size(&lun->store))
        return diag_fail(why, E_LUN_SMALL, "%s: shrank from %llu to %llu bytes",
                         lun->name, (unsigned long long)store_size(&lun->store),
                         (unsigned long long)size);
    store_size_set(&lun->store, size);
    return E_OK;
}

/* FNV-1a, twice with different starts: spread, not secrecy. */
void lun_identity_seal(struct lun_identity *identity)
{
    uint64_t hash[2] = {UINT64_C(0xcbf29ce484222325),
                        UINT64_C(0x84222325cbf29ce4)};

    for (const char *c = identity->wwid; *c; c++)
        for (int i = 0; i < 2; i++)
            hash[i] = (hash[i] ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    memcpy(identity->uuid, hash, sizeof identity->uuid);
    /* RFC 9562: version 8, "custom"; variant 10. */
    identity->uuid[6] = (uint8_t)((identity->uuid[6] & 0x0f) | 0x80);
    identity->uuid[8] = (uint8_t)((identity->uuid[8] & 0x3f) | 0x80);
}

/* -- persistent reservations ----------------------------------------------- */

enum err lun_pr_submit(struct lun *lun, struct lun_pr *pr)
{
    ASSERT((unsigned)pr->op < LUN_PR_OP_COUNT);
    ASSERT(pr->done);
    if (!lun->ops->pr_submit)
        return E_UNSUPPORTED;
    return lun->ops->pr_submit(lun, pr);
}

void lun_pr_cancel(struct lun *lun, struct lun_pr *pr)
{
    ASSERT(lun->ops->pr_cancel); /* it was submitted */
    lun->ops->pr_cancel(lun, pr);
}

struct sync_pr {
    bool done;
    enum err result;
};

static void sync_pr_done(struct lun_pr *pr, enum err e)
{
    struct sync_pr *sync = pr->user;

    sync->result = e;
    sync->done = true;
}

enum err lun_pr_sync(struct lun *lun, struct lun_pr *pr)
{
    struct sync_pr sync = {.done = false};
    enum err e;

    pr->done = sync_pr_done;
    pr->user = &sync;
    e = lun_pr_submit(lun, pr);
    if (e)
        return e;
    loop_run_until(loop_self(), &sync.done);
    return sync.result;
}
