/* fs/coord_check.c - a check beside the running coordinator.
 * Reads one snapshot through a connection of its own; changes nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/check.h"
#include "fs/coord.h"

enum { TRIES = 8 }; /* on a volume that is written to all the time */

/* The coordinator may interrupt us from now on: one reader at a time, so that
 * it knows whom. */
static void begin_reading(struct fs_coord *coord, struct db *db)
{
    pthread_mutex_lock(&coord->lock);
    while (coord->reader)
        pthread_cond_wait(&coord->changed, &coord->lock);
    coord->reader = db;
    pthread_mutex_unlock(&coord->lock);
}

static void end_reading(struct fs_coord *coord)
{
    pthread_mutex_lock(&coord->lock);
    coord->reader = NULL;
    pthread_cond_broadcast(&coord->changed);
    pthread_mutex_unlock(&coord->lock);
}

static enum err check_once(struct fs_coord *coord, struct check *c)
{
    enum err e;

    *c->result = (struct fs_check_result){0};
    begin_reading(coord, c->db);
    e = check_database(c);
    if (e && !sqlite3_get_autocommit(c->db->conn) && check_exec(c, "ROLLBACK"))
        e = E_IO;
    end_reading(coord);
    return e;
}

static enum err check_snapshot(struct fs_coord *coord, struct check *c,
                               struct diag *why)
{
    enum err e = E_INTERRUPTED;

    for (int i = 0; i < TRIES && e == E_INTERRUPTED; i++)
        e = check_once(coord, c);
    if (e == E_INTERRUPTED)
        return diag_fail(why, E_AGAIN,
                         "volume \"%s\" changes too fast to be checked while "
                         "it is in use",
                         c->super.name);
    return e ? diag_fail(why, e, "database: %s", err_text(e)) : E_OK;
}

enum err fs_coord_check(struct fs_coord *coord,
                        const struct fs_check_args *args,
                        struct fs_check_result *ret_result, struct diag *why)
{
    AUTO(freep) struct check *c = calloc(1, sizeof *c);
    const struct fs_check_args read_only = {.report = args->report,
                                            .arg = args->arg};
    struct fs_check_result result = {0};
    enum err e;

    if (!c)
        return E_NOMEM;
    if (args->repair)
        return diag_fail(why, E_INVAL,
                         "a volume in use cannot be repaired: "
                         "stop it first");
    c->args = &read_only;
    c->result = &result;
    e = coord_snapshot(coord, &c->super, why);
    if (!e)
        e = db_open(coord->vfs, why, &c->db);
    if (e)
        return e;
    db_leave_untouched(c->db);
    e = check_snapshot(coord, c, why);
    db_close(c->db);
    if (!e)
        *ret_result = result;
    return e;
}
