/* fs/db.c - opening the database, and running its statements.
 * A database whose tables are not exactly ours is refused: triggers, views or
 * indices in it would run as our code.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/db.h"

#include <string.h>

enum {
    DB_APPLICATION_ID = 0x4c554e41, /* "LUNA" */
    DB_VERSION = 1,
    DB_CACHE_KIB = 32 * 1024
};

/* docs/format.md explains every column. */
/* clang-format off */
static const struct table {
    const char *name, *sql;
} tables[] = {
    {"volume",
     "CREATE TABLE volume(key TEXT PRIMARY KEY, value) WITHOUT ROWID"},
    {"inode",
     "CREATE TABLE inode(ino INTEGER PRIMARY KEY, mode INTEGER, "
     "nlink INTEGER, uid INTEGER, gid INTEGER, rdev INTEGER, size INTEGER, "
     "blocks INTEGER, change INTEGER, atime INTEGER, mtime INTEGER, "
     "ctime INTEGER, btime INTEGER, parent INTEGER, flags INTEGER, "
     "target BLOB)"},
    {"dentry",
     "CREATE TABLE dentry(parent INTEGER, cookie INTEGER, name BLOB, "
     "ino INTEGER, PRIMARY KEY(parent, cookie)) WITHOUT ROWID"},
    {"extent",
     "CREATE TABLE extent(ino INTEGER, file_block INTEGER, "
     "lun_block INTEGER, count INTEGER, state INTEGER, PRIMARY KEY(ino, "
     "file_block)) WITHOUT ROWID"},
    {"free",
     "CREATE TABLE free(lun_block INTEGER PRIMARY KEY, count INTEGER)"},
    {"free_by_count",
     "CREATE INDEX free_by_count ON free(count, lun_block)"},
    {"pending_free",
     "CREATE TABLE pending_free(lun_block INTEGER PRIMARY KEY, "
     "count INTEGER)"},
    {"chunk",
     "CREATE TABLE chunk(lun_block INTEGER, count INTEGER, kind INTEGER)"},
    {"orphan",
     "CREATE TABLE orphan(ino INTEGER PRIMARY KEY)"},
    {"trim",
     "CREATE TABLE trim(ino INTEGER PRIMARY KEY, first_block INTEGER, "
     "end_block INTEGER)"},
    {"ahead",
     "CREATE TABLE ahead(ino INTEGER PRIMARY KEY)"},
    {"xattr",
     "CREATE TABLE xattr(ino INTEGER, name BLOB, value BLOB, "
     "PRIMARY KEY(ino, name)) WITHOUT ROWID"},
    {"handle",
     "CREATE TABLE handle(ino INTEGER, vm TEXT, mode INTEGER, node INTEGER, "
     "incarnation INTEGER, generation INTEGER, PRIMARY KEY(ino, "
     "vm)) WITHOUT ROWID"},
    {"reply",
     "CREATE TABLE reply(node INTEGER, incarnation INTEGER, slot INTEGER, "
     "seq INTEGER, op INTEGER, ino INTEGER, value INTEGER, "
     "PRIMARY KEY(node, incarnation, slot)) WITHOUT ROWID"},
    {"node",
     "CREATE TABLE node(node INTEGER PRIMARY KEY, incarnation INTEGER, "
     "fenced INTEGER)"},
};
/* clang-format on */

static const char *const sql_text[SQL_COUNT] = {
#define X(name, text) text,
    SQL_LIST(X)
#undef X
};

enum err db_error(struct db *db, int rc, struct diag *why)
{
    enum err e = vfs_failure(db->vfs);

    if (e)
        return diag_fail(why, e, "metadata: %s", err_text(e));
    if (rc == SQLITE_IOERR_DATA ||
        sqlite3_extended_errcode(db->conn) == SQLITE_IOERR_DATA)
        return diag_fail(why, E_CHECKSUM,
                         "metadata page %llu: checksum does not match",
                         (unsigned long long)vfs_bad_page(db->vfs));
    switch (rc & 0xff) {
    case SQLITE_FULL: e = E_VOL_FULL; break;
    case SQLITE_NOMEM: e = E_NOMEM; break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT: e = E_CORRUPT; break;
    case SQLITE_BUSY: e = E_BUSY; break;
    case SQLITE_INTERRUPT: e = E_INTERRUPTED; break;
    default: e = E_IO; break; /* SQLite's list, not ours */
    }
    return diag_fail(why, e, "metadata: %s", sqlite3_errmsg(db->conn));
}

static enum err db_exec(struct db *db, const char *sql, struct diag *why)
{
    int rc = sqlite3_exec(db->conn, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? E_OK : db_error(db, rc, why);
}

/* -- statements ------------------------------------------------------------ */

static int bind_value(sqlite3_stmt *s, int at, const struct db_value *value)
{
    if (value->type == 'i')
        return sqlite3_bind_int64(s, at, value->number);
    if (value->type == 't')
        return sqlite3_bind_text(s, at, value->bytes, -1, SQLITE_STATIC);
    ASSERT(value->type == 'b');
    return sqlite3_bind_blob64(s, at, value->len_bytes ? value->bytes : "",
                               value->len_bytes, SQLITE_STATIC);
}

/* Bind and step once; the statement is left at its row if there is one. */
static int db_start(struct db *db, enum sql sql, const struct db_value *values,
                    size_t count)
{
    sqlite3_stmt **s = &db->stmt[sql];
    int rc = SQLITE_OK;

    if (!*s)
        rc = sqlite3_prepare_v3(db->conn, sql_text[sql], -1,
                                SQLITE_PREPARE_PERSISTENT, s, NULL);
    if (rc)
        return rc;
    DEBUG_ASSERT(!sqlite3_stmt_busy(*s));
    ASSERT((size_t)sqlite3_bind_parameter_count(*s) == count);
    for (size_t i = 0; i < count && rc == SQLITE_OK; i++)
        rc = bind_value(*s, (int)i + 1, &values[i]);
    return rc ? rc : sqlite3_step(*s);
}

enum err db_run_values(struct db *db, enum sql sql,
                       const struct db_value *values, size_t count)
{
    int rc = db_start(db, sql, values, count);

    if (db->stmt[sql])
        sqlite3_reset(db->stmt[sql]);
    return rc == SQLITE_DONE ? E_OK : db_error(db, rc, NULL);
}

static enum err db_row(struct db *db, enum sql sql, int rc)
{
    if (rc == SQLITE_ROW)
        return E_OK;
    if (db->stmt[sql])
        sqlite3_reset(db->stmt[sql]);
    return rc == SQLITE_DONE ? E_NODATA : db_error(db, rc, NULL);
}

enum err db_first_values(struct db *db, enum sql sql,
                         const struct db_value *values, size_t count)
{
    return db_row(db, sql, db_start(db, sql, values, count));
}

enum err db_next(struct db *db, enum sql sql)
{
    return db_row(db, sql, sqlite3_step(db->stmt[sql]));
}

void db_end(struct db *db, enum sql sql)
{
    sqlite3_reset(db->stmt[sql]);
}

uint64_t db_u64(struct db *db, enum sql sql, int column)
{
    return (uint64_t)sqlite3_column_int64(db->stmt[sql], column);
}

const void *db_bytes(struct db *db, enum sql sql, int column,
                     size_t *ret_len_bytes)
{
    const void *bytes = sqlite3_column_blob(db->stmt[sql], column);

    *ret_len_bytes = (size_t)sqlite3_column_bytes(db->stmt[sql], column);
    return bytes ? bytes : "";
}

enum err db_number(struct db *db, enum sql sql, uint64_t *ret_n)
{
    enum err e = db_first(db, sql);

    if (e)
        return e;
    *ret_n = db_u64(db, sql, 0);
    db_end(db, sql);
    return E_OK;
}

enum err db_checkpoint(struct db *db, bool all)
{
    int rc = sqlite3_wal_checkpoint_v2(db->conn, NULL,
                                       all ? SQLITE_CHECKPOINT_TRUNCATE
                                           : SQLITE_CHECKPOINT_PASSIVE,
                                       NULL, NULL);

    /* A reader holds an older snapshot: it goes on later. */
    return rc == SQLITE_OK || rc == SQLITE_BUSY ? E_OK : db_error(db, rc, NULL);
}

/* -- opening --------------------------------------------------------------- */

static int db_committed(void *arg, sqlite3 *conn, const char *name, int frames)
{
    (void)conn;
    (void)name;
    ((struct db *)arg)->wal_frames = (uint64_t)frames;
    return SQLITE_OK;
}

/* https://sqlite.org/security.html: a file from elsewhere runs nothing. */
static enum err db_configure(struct db *db, struct diag *why)
{
    static const char pragmas[] = "PRAGMA trusted_schema = OFF;"
                                  "PRAGMA cell_size_check = ON;"
                                  "PRAGMA temp_store = MEMORY;"
                                  "PRAGMA synchronous = FULL;"
                                  "PRAGMA cache_spill = OFF;";
    char cache[64];
    enum err e;

    sqlite3_extended_result_codes(db->conn, 1);
    sqlite3_wal_hook(db->conn, db_committed, db);
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_snprintf(sizeof cache, cache, "PRAGMA cache_size = -%d;",
                     DB_CACHE_KIB);
    e = db_exec(db, cache, why);
    if (!e)
        e = db_exec(db, pragmas, why);
    return e ? e : db_limit_pages(db);
}

static enum err db_connect(struct vfs *vfs, struct diag *why,
                           struct db **ret_db)
{
    AUTO(db_closep) struct db *db = calloc(1, sizeof *db);
    enum err e;
    int rc;

    if (!db)
        return E_NOMEM;
    db->vfs = vfs;
    rc = sqlite3_open_v2("db", &db->conn,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                             SQLITE_OPEN_NOMUTEX,
                         vfs_name(vfs));
    if (rc)
        return db_error(db, rc, why);
    e = db_configure(db, why);
    if (e)
        return e;
    *ret_db = TAKE(db);
    return E_OK;
}

enum err db_limit_pages(struct db *db)
{
    char sql[64];

    sqlite3_snprintf(sizeof sql, sql, "PRAGMA max_page_count = %llu",
                     (unsigned long long)vfs_db_pages_max(db->vfs));
    return db_exec(db, sql, NULL);
}

static bool is_our_table(const char *name, const char *sql)
{
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        if (strcmp(tables[i].name, name) == 0)
            return strcmp(tables[i].sql, sql) == 0;
    return false;
}

/* Compare sqlite_schema with ours, row by row. */
static enum err compare_tables(struct db *db, sqlite3_stmt *s, struct diag *why)
{
    size_t found = 0;
    int rc;

    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        const char *sql = (const char *)sqlite3_column_text(s, 1);

        if (!name || !sql || !is_our_table(name, sql))
            return diag_fail(why, E_CORRUPT,
                             "metadata: table \"%.80s\" is "
                             "not one of this format",
                             name ? name : "");
        found++;
    }
    if (rc != SQLITE_DONE)
        return db_error(db, rc, why);
    if (found != ARRAY_LEN(tables))
        return diag_fail(why, E_CORRUPT, "metadata: %zu of %zu tables", found,
                         ARRAY_LEN(tables));
    return E_OK;
}

static enum err db_verify(struct db *db, struct diag *why)
{
    sqlite3_stmt *s;
    enum err e;
    int rc = sqlite3_prepare_v2(db->conn, "SELECT name, sql FROM sqlite_schema",
                                -1, &s, NULL);

    if (rc)
        return db_error(db, rc, why);
    e = compare_tables(db, s, why);
    sqlite3_finalize(s);
    return e;
}

enum err db_open(struct vfs *vfs, struct diag *why, struct db **ret_db)
{
    AUTO(db_closep) struct db *db = NULL;
    enum err e = db_connect(vfs, why, &db);

    if (!e)
        e = db_verify(db, why);
    if (!e)
        /* The mode is in the file; this says so if it is not. */
        e = db_exec(db, "PRAGMA journal_mode = WAL", why);
    if (e)
        return e;
    *ret_db = TAKE(db);
    return E_OK;
}

static enum err db_fill(struct db *db, struct diag *why)
{
    int reserve = VFS_RESERVED_BYTES;
    char ids[96];
    enum err e;

    sqlite3_file_control(db->conn, NULL, SQLITE_FCNTL_RESERVE_BYTES, &reserve);
    /* The switch to WAL writes once through a rollback journal. */
    e = db_exec(db,
                "PRAGMA page_size = 4096; PRAGMA journal_mode = MEMORY;"
                "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE",
                why);
    for (size_t i = 0; i < ARRAY_LEN(tables) && !e; i++)
        e = db_exec(db, tables[i].sql, why);
    sqlite3_snprintf(sizeof ids, ids,
                     "PRAGMA application_id = %d; PRAGMA user_version = %d",
                     DB_APPLICATION_ID, DB_VERSION);
    if (!e)
        e = db_exec(db, ids, why);
    return e ? e : db_exec(db, "COMMIT", why);
}

enum err db_create(struct vfs *vfs, struct diag *why, struct db **ret_db)
{
    AUTO(db_closep) struct db *db = NULL;
    enum err e = db_connect(vfs, why, &db);

    if (!e)
        e = db_fill(db, why);
    if (!e)
        e = db_verify(db, why);
    if (e)
        return e;
    *ret_db = TAKE(db);
    return E_OK;
}

void db_leave_untouched(struct db *db)
{
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(db->stmt[i]);
    sqlite3_close(db->conn);
    free(db);
}
