/* fs/coord_clean.c - what a coordinator does when nobody waits for it: the log
 * is checkpointed, the database gets another chunk, orphans end, freed space
 * is discarded and becomes free (I2).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"

#include <string.h>
#include <time.h>

enum { RELEASES_MAX = 256 }; /* runs freed in one transaction */

bool coord_is_reclaiming(const struct fs_coord *c)
{
    return c->meta->counts.pending_blocks || c->meta->reap_wanted ||
           c->discards;
}

/* Space came back: those who wait for it try again. */
static void unpark(struct fs_coord *c)
{
    struct list *node;

    while (!list_empty(&c->parked)) {
        node = c->parked.prev;
        list_remove(node);
        list_push_front(&c->inbox, node);
    }
}

/* -- a transaction of our own ---------------------------------------------- */

static enum err commit_or_fail(struct fs_coord *c, enum err e, const char *what)
{
    if (!e)
        e = db_run(c->db, SQL_COMMIT);
    if (e)
        return coord_fail(c, e, what);
    c->commits++;
    return E_OK;
}

/* -- discards -------------------------------------------------------------- */

static bool wants_discard(const struct fs_coord *c)
{
    return c->args.discard && c->lun->caps & STORE_CAN_DISCARD;
}

/* Quarantine of the runs is over: discarded, or nobody asked for it. */
static void release_runs(struct fs_coord *c, const struct lun_run *runs,
                         size_t count)
{
    enum err e = db_run(c->db, SQL_BEGIN);

    for (size_t i = 0; i < count && !e; i++)
        e = space_release(c->meta, &runs[i]);
    (void)commit_or_fail(c, e, "freeing space");
    unpark(c);
}

/* A discard is a hint: its failure changes nothing. */
static void discard_done(struct store_io *io, enum err e)
{
    struct discard *d = container_of(io, struct discard, io);

    (void)e;
    if (--d->coord->discards_busy)
        return;
    d->coord->discards_idle = true;
    coord_wake(d->coord);
}

static void discard_submit(struct fs_coord *c, struct discard *d)
{
    d->coord = c;
    d->io = (struct store_io){
        .op = STORE_DISCARD,
        .off_bytes = d->run.lun_block * FS_BLOCK_BYTES,
        .len_bytes = d->run.count * FS_BLOCK_BYTES,
        .done = discard_done,
    };
    if (store_submit(c->lun, &d->io) == E_OK)
        c->discards_busy++; /* done comes later, never from inside submit */
}

/* What is in quarantine now was committed before: this round's. */
static bool discard_round(struct fs_coord *c)
{
    struct lun_run runs[RELEASES_MAX];
    bool discard = wants_discard(c);
    size_t max = discard ? DISCARDS_MAX : RELEASES_MAX, count;
    enum err e = space_pending(c->meta, runs, max, &count);

    if (e) {
        coord_fail(c, e, "reading freed space");
        return false;
    }
    if (!count)
        return false;
    if (!discard) {
        release_runs(c, runs, count);
        return true;
    }
    c->discards = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        c->discard[i].run = runs[i];
        discard_submit(c, &c->discard[i]);
    }
    c->discards_idle = c->discards_busy == 0;
    return c->discards_idle;
}

static bool clean_space(struct fs_coord *c)
{
    struct lun_run runs[DISCARDS_MAX];

    if (c->discards_busy || c->meta->awaited_count)
        return false; /* discard_done(), or the last report, wakes us */
    if (c->discards) {
        for (unsigned i = 0; i < c->discards; i++)
            runs[i] = c->discard[i].run;
        release_runs(c, runs, c->discards);
        c->discards = 0;
        return true;
    }
    return c->meta->counts.pending_blocks && discard_round(c);
}

/* -- orphans --------------------------------------------------------------- */

/* A slice of the next orphan that nobody has open. */
static bool clean_orphans(struct fs_coord *c)
{
    fs_ino ino;
    enum err e;

    if (!c->meta->reap_wanted || c->meta->reap_held)
        return false;
    c->meta->reap_wanted = false;
    e = orphan_next(c->meta, 0, &ino);
    if (e == E_NODATA)
        return false;
    if (!e)
        e = db_run(c->db, SQL_BEGIN);
    if (!e)
        e = orphan_reap(c->meta, ino);
    e = commit_or_fail(c, e, "deleting an unlinked file");
    c->meta->reap_wanted = true; /* until there is none */
    return e == E_OK;
}

/* -- log and database ------------------------------------------------------ */

/* Wait for a change under the lock, but not long: to interrupt a reader that
 * is between two statements has no effect. */
static void wait_a_little(struct fs_coord *c)
{
    enum { WAIT_NS = 10000000, S_NS = 1000000000 };
    uint64_t ns = clock_now_ns(clock_system()) + WAIT_NS;
    const struct timespec until = {
        .tv_sec = (time_t)(ns / S_NS),
        .tv_nsec = (long)(ns % S_NS),
    };

    /* The wall clock may jump. */
    pthread_cond_clockwait(&c->changed, &c->lock, CLOCK_MONOTONIC, &until);
}

/* A snapshot keeps the log from starting over: before it is full the reader
 * is made to begin again. */
static void wait_for_reader(struct fs_coord *c, uint64_t frames_max)
{
    pthread_mutex_lock(&c->lock);
    if (c->reader)
        sqlite3_interrupt(c->reader->conn);
    while (c->reader && c->db->wal_frames > frames_max / 4 * 3) {
        sqlite3_interrupt(c->reader->conn);
        wait_a_little(c);
    }
    pthread_mutex_unlock(&c->lock);
}

static void checkpoint(struct fs_coord *c)
{
    uint64_t frames_max = vfs_wal_bytes_max(c->vfs) / VFS_PAGE_BYTES;
    enum err e;

    if (c->db->wal_frames < frames_max / 4)
        return;
    if (c->db->wal_frames > frames_max / 2)
        wait_for_reader(c, frames_max);
    e = db_checkpoint(c->db, false);
    if (e)
        coord_fail(c, e, "checkpoint");
}

static void grow_database(struct fs_coord *c)
{
    const struct chunk_world w = coord_world(c);
    struct diag why = {{0}};
    uint64_t pages;
    enum err e = chunk_pages_left(&w, &pages);

    if (!e && pages < CHUNK_PAGES_LOW)
        e = chunk_grow(&w, c->meta, &why);
    c->cannot_grow = e == E_VOL_FULL && !why.text[0] && !vfs_failure(c->vfs);
    if (e && !c->cannot_grow)
        coord_fail(c, e, why.text[0] ? why.text : "growing the database");
}

enum err coord_make_room(struct fs_coord *c)
{
    checkpoint(c);
    if (!c->offline)
        grow_database(c);
    return c->offline ? E_VOL_OFFLINE : E_OK;
}

bool coord_clean(struct fs_coord *c)
{
    bool more;

    if (coord_make_room(c))
        return false;
    more = clean_orphans(c);
    if (!c->offline && clean_space(c))
        more = true;
    if (!c->offline && !coord_is_reclaiming(c))
        unpark(c);
    return more && !c->offline;
}
