/* fs/coord_open.c - from a LUN to a serving coordinator, and back.
 *
 *   superblock -> claim (I4) -> superblock with our epoch -> database (WAL
 *   recovery) -> chunks -> what the last run left unfinished -> serve
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"
#include "fs/extent.h"

#include <inttypes.h>

/* -- what the last run left ------------------------------------------------ */

/* One slice of removing blocks from a file; *ret_more: not yet all. */
static enum err cut_slice(struct meta *m, fs_ino ino, struct block_range range,
                          bool *ret_more)
{
    unsigned budget = META_SLICE_EXTENTS;
    struct inode inode;
    enum err e = inode_get(m, ino, &inode);

    *ret_more = false;
    if (e)
        return e == E_STALE ? E_OK : e; /* deleted since */
    e = extent_remove(m, &inode, range, EXTENT_TO_PENDING, &budget);
    if (!e)
        e = inode_put(m, &inode);
    *ret_more = !e && !budget;
    return e;
}

/* A truncate or punch that was not finished.  E_NODATA: there is none. */
static enum err finish_trim(struct meta *m)
{
    struct block_range range;
    fs_ino ino;
    bool more;
    enum err e = db_first(m->db, SQL_TRIM_NEXT);

    if (e)
        return e;
    ino = db_u64(m->db, SQL_TRIM_NEXT, 0);
    range.first = db_u64(m->db, SQL_TRIM_NEXT, 1);
    range.end = db_u64(m->db, SQL_TRIM_NEXT, 2);
    db_end(m->db, SQL_TRIM_NEXT);
    if (range.first > range.end || range.end > FILE_BLOCKS_MAX)
        return E_CORRUPT;
    e = cut_slice(m, ino, range, &more);
    return e || more ? e : db_run(m->db, SQL_TRIM_DROP, DB_INT(ino));
}

/* Space taken ahead of a writer who is gone (F25). */
static enum err finish_ahead(struct meta *m)
{
    struct block_range beyond = {0, FILE_BLOCKS_MAX};
    struct inode inode;
    fs_ino ino;
    bool more = false;
    enum err e = db_first(m->db, SQL_AHEAD_NEXT);

    if (e)
        return e;
    ino = db_u64(m->db, SQL_AHEAD_NEXT, 0);
    db_end(m->db, SQL_AHEAD_NEXT);
    e = inode_get(m, ino, &inode);
    if (!e && !(inode.flags & INODE_KEEP)) {
        beyond.first = blocks_of(inode.attr.size_bytes);
        e = cut_slice(m, ino, beyond, &more);
    }
    if (e && e != E_STALE)
        return e;
    return more ? E_OK : db_run(m->db, SQL_AHEAD_DROP, DB_INT(ino));
}

static bool lives(const struct fs_coord *c, const struct fs_sender *who)
{
    if (fs_sender_is(&c->local.who, who))
        return true;
    for (unsigned i = 0; i < c->args.other_count; i++)
        if (fs_sender_is(&c->args.others[i], who))
            return true;
    return false;
}

/* A run that has handles or answers, and does not live.  E_NODATA: none. */
static enum err find_dead(struct fs_coord *c, struct fs_sender *ret_who)
{
    enum err e = db_first(c->db, SQL_SENDERS, DB_INT(FS_SLOTS_KEPT));

    while (!e) {
        ret_who->node = (uint32_t)db_u64(c->db, SQL_SENDERS, 0);
        ret_who->incarnation = db_u64(c->db, SQL_SENDERS, 1);
        if (!lives(c, ret_who)) {
            db_end(c->db, SQL_SENDERS);
            return E_OK;
        }
        e = db_next(c->db, SQL_SENDERS);
    }
    return e;
}

/* What users of a kept mount were not told yet their next run asks for once
 * more (I7): a run that is gone leaves that, until some more have come. */
enum err coord_forget(struct fs_coord *c, const struct fs_sender *who)
{
    enum { RUNS_KEPT = 4 };
    enum err e = db_run(c->db, SQL_HANDLE_FREE, DB_INT(who->node),
                        DB_INT(who->incarnation));

    return e ? e
             : db_run(c->db, SQL_REPLY_FORGET, DB_INT(who->node),
                      DB_INT(who->incarnation), DB_INT(FS_SLOTS_KEPT),
                      DB_INT(RUNS_KEPT));
}

/* Earlier runs are dead or fenced: nothing is theirs any more (I10), but for
 * the answers that their users did not get (I7). */
static enum err forget_step(struct fs_coord *c)
{
    struct fs_sender dead;
    enum err e = E_OK;

    if (c->args.adopt)
        e = db_run(c->db, SQL_HANDLE_ADOPT, DB_INT(c->args.node),
                   DB_INT(c->args.incarnation));
    while (!e && !c->args.adopt) {
        e = find_dead(c, &dead);
        if (!e)
            e = coord_forget(c, &dead);
    }
    if (!e || e == E_NODATA)
        e = db_run(c->db, SQL_NODE_FENCE, DB_INT(c->args.node),
                   DB_INT(c->args.incarnation));
    if (!e)
        e = db_run(c->db, SQL_NODE_PUT, DB_INT(c->args.node),
                   DB_INT(c->args.incarnation));
    return e ? e : E_NODATA;
}

static enum err trim_step(struct fs_coord *c)
{
    return finish_trim(c->meta);
}

static enum err ahead_step(struct fs_coord *c)
{
    return finish_ahead(c->meta);
}

/* The superblock was enlarged, the free table not yet. */
static enum err size_step(struct fs_coord *c)
{
    struct meta *m = c->meta;
    struct lun_run more;
    uint64_t was;
    enum err e = db_first(c->db, SQL_VOLUME_GET, DB_TEXT("size_blocks"));

    if (e)
        return e == E_NODATA ? E_CORRUPT : e;
    was = db_u64(c->db, SQL_VOLUME_GET, 0);
    db_end(c->db, SQL_VOLUME_GET);
    if (was == c->super.size_blocks)
        return E_NODATA;
    if (was > c->super.size_blocks || was < 2)
        return E_CORRUPT;
    /* The old last block was a superblock copy; the new one is. */
    more = (struct lun_run){was - 1, c->super.size_blocks - was};
    m->size_blocks = c->super.size_blocks;
    e = space_give(m, &more);
    return e ? e
             : db_run(c->db, SQL_VOLUME_PUT, DB_TEXT("size_blocks"),
                      DB_INT(c->super.size_blocks));
}

/* Do a step again and again, each in a transaction, until E_NODATA. */
static enum err finish(struct fs_coord *c, enum err (*step)(struct fs_coord *))
{
    for (;;) {
        enum err e = db_run(c->db, SQL_BEGIN), step_error = E_OK;

        if (!e)
            e = step_error = step(c);
        if (e && e != E_NODATA)
            return e;
        e = db_run(c->db, SQL_COMMIT);
        if (e || step_error == E_NODATA)
            return e;
    }
}

/* Does nobody live on who used the volume before? */
static bool is_alone(const struct fs_coord *c)
{
    return !c->args.adopt && !c->args.other_count;
}

/* What was taken ahead of a writer who lives on may be written: it waits for
 * his last close, or for the next start without him. */
static enum err mend(struct fs_coord *c, struct diag *why)
{
    static const struct {
        const char *what;
        enum err (*step)(struct fs_coord *);
        bool alone;
    } steps[] = {
        {"growing the volume",        size_step,   false},
        {"forgetting earlier runs",   forget_step, false},
        {"finishing truncations",     trim_step,   false},
        {"giving back preallocation", ahead_step,  true },
    };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        enum err e =
            steps[i].alone && !is_alone(c) ? E_OK : finish(c, steps[i].step);

        if (e)
            return diag_fail(why, e, "volume \"%s\": %s: %s: run lunar check",
                             c->super.name, steps[i].what, err_text(e));
    }
    return E_OK;
}

/* -- opening --------------------------------------------------------------- */

/* A volume that this very run served before: its requests are not repeated,
 * so their numbers go on (I7). */
static enum err continue_numbers(struct fs_coord *c, struct diag *why)
{
    enum err e = db_first(c->db, SQL_REPLY_LAST, DB_INT(c->args.node),
                          DB_INT(c->args.incarnation));

    if (e)
        return diag_fail(why, e, "table of replies: %s", err_text(e));
    for (int i = 0; i < META_SLOTS; i++)
        c->seq[i] = db_u64(c->db, SQL_REPLY_LAST, 0);
    db_end(c->db, SQL_REPLY_LAST);
    return E_OK;
}

static void await_reports(struct fs_coord *c)
{
    c->meta->reap_held = !is_alone(c);
    c->meta->awaited_count = c->args.other_count;
    for (unsigned i = 0; i < c->args.other_count; i++)
        c->meta->awaited[i] = c->args.others[i];
}

static enum err open_database(struct fs_coord *c, struct diag *why)
{
    const struct meta_args args = {
        .clock = c->args.clock,
        .super = &c->super,
        .node = c->args.node,
        .incarnation = c->args.incarnation,
    };
    struct meta_args with_db = args;
    struct chunk_world w;
    enum err e = vfs_new(c->lun, &c->super, why, &c->vfs);

    if (!e)
        e = db_open(c->vfs, why, &c->db);
    if (e)
        return diag_prefix(why, e, "volume \"%s\"", c->super.name);
    w = coord_world(c);
    e = chunk_reconcile(&w, why);
    with_db.db = c->db;
    if (!e)
        e = meta_new(&with_db, why, &c->meta);
    if (!e)
        await_reports(c);
    if (!e)
        e = coord_locks_open(c);
    if (e)
        return diag_prefix(why, e, "volume \"%s\"", c->super.name);
    e = mend(c, why);
    return e ? e : continue_numbers(c, why);
}

static void close_database(struct fs_coord *c)
{
    coord_locks_close(c);
    meta_free(c->meta);
    db_close(c->db);
    c->meta = NULL;
    c->db = NULL;
}

/* The caller has claimed it, and fenced who had: it must be the last word. */
static enum err check_epoch(const struct fs_coord *c, struct diag *why)
{
    if (c->args.node < 1 || c->args.node > FS_NODES_MAX)
        return diag_fail(why, E_INVAL, "node number %u is not in 1 … %d",
                         c->args.node, FS_NODES_MAX);
    if (c->super.epoch != c->args.epoch)
        return diag_fail(why, E_EPOCH,
                         "volume \"%s\": epoch %" PRIu64
                         " was claimed, but the superblock has %" PRIu64,
                         c->super.name, c->args.epoch, c->super.epoch);
    return E_OK;
}

static enum err begin_epoch(struct fs_coord *c, struct diag *why)
{
    enum err e = super_load(c->lun, &c->super, NULL, why);

    if (e || c->args.epoch)
        return e ? e : check_epoch(c, why);
    return claim_take(c->lun, &c->super, &c->claim, why);
}

static void end_epoch(struct fs_coord *c)
{
    if (!c->args.epoch)
        (void)!claim_release(c->lun, &c->super, &c->claim, NULL);
}

enum err coord_open(struct fs_coord *c, struct diag *why)
{
    enum err e = begin_epoch(c, why);

    if (e)
        return e;
    if (!c->args.epoch)
        e = super_save(c->lun, &c->super, why);
    if (!e)
        e = open_database(c, why);
    if (!e)
        return E_OK;
    close_database(c);
    end_epoch(c); /* nothing was promised to anybody; let the next one try */
    vfs_free(c->vfs);
    c->vfs = NULL;
    return e;
}

void coord_close(struct fs_coord *c)
{
    close_database(c);
    if (!c->offline && vfs_failure(c->vfs) == E_OK)
        end_epoch(c);
    vfs_free(c->vfs);
    c->vfs = NULL;
}

enum err coord_grow(struct fs_coord *c, struct diag *why)
{
    uint64_t blocks = c->lun->size_bytes / FS_BLOCK_BYTES;
    enum err e;

    if (c->offline)
        return diag_fail(why, E_VOL_OFFLINE, "volume \"%s\" is offline: %s",
                         c->super.name, c->reason.text);
    if (blocks <= c->super.size_blocks)
        return diag_fail(why, E_INVAL,
                         "volume \"%s\" uses the whole LUN already "
                         "(%" PRIu64 " bytes)",
                         c->super.name, c->lun->size_bytes);
    c->super.size_blocks = blocks;
    e = super_save(c->lun, &c->super, why);
    if (!e)
        e = finish(c, size_step);
    if (e)
        return coord_fail(c, e, "growing the volume");
    vfs_set_chunks(c->vfs, &c->super);
    return E_OK;
}
