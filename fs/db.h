/* fs/db.h - the metadata database: one connection, its tables and statements.
 * Knows SQL and no file system; nothing above it says SQL.
 *
 *     e = db_first(db, SQL_XATTR_GET, DB_INT(ino), DB_BYTES(name, len));
 *     if (!e) { value = db_bytes(db, SQL_XATTR_GET, 0, &n); … db_end(…); }
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_DB_H
#define LUNAR_FS_DB_H

#include "fs/vfs.h"

#include <sqlite3.h>

/* Every statement of the coordinator.  Inode columns are always in the order
 * of INODE_COLUMNS: meta_inode.c reads them by position. */
#define INODE_COLUMNS                                                          \
    "i.ino, i.mode, i.nlink, i.uid, i.gid, i.rdev, i.size, i.blocks, "         \
    "i.change, i.atime, i.mtime, i.ctime, i.btime, i.parent, i.flags"

/* clang-format off */
#define SQL_LIST(X)                                                            \
    X(SQL_BEGIN,         "BEGIN IMMEDIATE")                                    \
    X(SQL_BEGIN_READ,    "BEGIN")                                              \
    X(SQL_COMMIT,        "COMMIT")                                             \
    X(SQL_ROLLBACK,      "ROLLBACK")                                           \
    X(SQL_SAVE,          "SAVEPOINT op")                                       \
    X(SQL_SAVE_DROP,     "RELEASE op")                                         \
    X(SQL_SAVE_BACK,     "ROLLBACK TO op")                                     \
    X(SQL_PAGES,         "PRAGMA page_count")                                  \
    X(SQL_PAGES_UNUSED,  "PRAGMA freelist_count")                              \
    X(SQL_VOLUME_GET,    "SELECT value FROM volume WHERE key = ?")             \
    X(SQL_VOLUME_PUT,    "REPLACE INTO volume VALUES (?, ?)")                  \
    X(SQL_INODE_GET,     "SELECT " INODE_COLUMNS                               \
                         " FROM inode i WHERE ino = ?")                        \
    X(SQL_INODE_NEW,     "INSERT INTO inode(mode, nlink, uid, gid, rdev, size,"\
                         " blocks, change, atime, mtime, ctime, btime, parent,"\
                         " flags, ino) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")\
    X(SQL_INODE_PUT,     "UPDATE inode SET mode = ?, nlink = ?, uid = ?, "     \
                         "gid = ?, rdev = ?, size = ?, blocks = ?, change = ?,"\
                         " atime = ?, mtime = ?, ctime = ?, btime = ?, "       \
                         "parent = ?, flags = ? WHERE ino = ?")                \
    X(SQL_INODE_DROP,    "DELETE FROM inode WHERE ino = ?")                    \
    X(SQL_INODE_COUNT,   "SELECT count(*) FROM inode")                         \
    X(SQL_TARGET_GET,    "SELECT target FROM inode WHERE ino = ?")             \
    X(SQL_TARGET_PUT,    "UPDATE inode SET target = ? WHERE ino = ?")          \
    X(SQL_DENTRY_GET,    "SELECT ino, cookie FROM dentry WHERE parent = ? "    \
                         "AND cookie BETWEEN ? AND ? AND name = ?")            \
    X(SQL_DENTRY_SLOTS,  "SELECT cookie FROM dentry WHERE parent = ? "         \
                         "AND cookie BETWEEN ? AND ? ORDER BY cookie")         \
    X(SQL_DENTRY_NEW,    "INSERT INTO dentry(parent, cookie, name, ino) "      \
                         "VALUES (?,?,?,?)")                                   \
    X(SQL_DENTRY_POINT,  "UPDATE dentry SET ino = ? "                          \
                         "WHERE parent = ? AND cookie = ?")                    \
    X(SQL_DENTRY_DROP,   "DELETE FROM dentry WHERE parent = ? AND cookie = ?") \
    X(SQL_DENTRY_ANY,    "SELECT 1 FROM dentry WHERE parent = ? LIMIT 1")      \
    X(SQL_DENTRY_LIST,   "SELECT " INODE_COLUMNS ", d.cookie, d.name "         \
                         "FROM dentry d CROSS JOIN inode i ON i.ino = d.ino "  \
                         "WHERE d.parent = ? AND d.cookie > ? "                \
                         "ORDER BY d.cookie LIMIT ?")                          \
    X(SQL_ORPHAN_NEW,    "INSERT INTO orphan VALUES (?)")                      \
    X(SQL_ORPHAN_NEXT,   "SELECT ino FROM orphan WHERE ino > ? "               \
                         "ORDER BY ino LIMIT 1")                               \
    X(SQL_ORPHAN_DROP,   "DELETE FROM orphan WHERE ino = ?")                   \
    X(SQL_TRIM_NEW,      "REPLACE INTO trim VALUES (?,?,?)")                   \
    X(SQL_TRIM_NEXT,     "SELECT ino, first_block, end_block FROM trim "       \
                         "LIMIT 1")                                            \
    X(SQL_TRIM_DROP,     "DELETE FROM trim WHERE ino = ?")                     \
    X(SQL_AHEAD_NEW,     "INSERT OR IGNORE INTO ahead VALUES (?)")             \
    X(SQL_AHEAD_NEXT,    "SELECT ino FROM ahead LIMIT 1")                      \
    X(SQL_AHEAD_DROP,    "DELETE FROM ahead WHERE ino = ?")                    \
    X(SQL_EXTENT_AT,     "SELECT file_block, lun_block, count, state FROM "    \
                         "extent WHERE ino = ? AND file_block <= ? "           \
                         "ORDER BY file_block DESC LIMIT 1")                   \
    X(SQL_EXTENT_FROM,   "SELECT file_block, lun_block, count, state FROM "    \
                         "extent WHERE ino = ? AND file_block >= ? "           \
                         "ORDER BY file_block LIMIT 1")                        \
    X(SQL_EXTENT_WALK,   "SELECT file_block, lun_block, count, state FROM "    \
                         "extent WHERE ino = ? AND file_block >= ? "           \
                         "ORDER BY file_block")                                \
    X(SQL_EXTENT_PUT,    "REPLACE INTO extent(ino, file_block, lun_block, "    \
                         "count, state) VALUES (?,?,?,?,?)")                   \
    X(SQL_EXTENT_DROP,   "DELETE FROM extent WHERE ino = ? AND file_block = ?")\
    X(SQL_FREE_FIT,      "SELECT lun_block, count FROM free WHERE count >= ? " \
                         "ORDER BY count, lun_block LIMIT 1")                  \
    X(SQL_FREE_LARGEST,  "SELECT lun_block, count FROM free "                  \
                         "ORDER BY count DESC, lun_block LIMIT 1")             \
    X(SQL_FREE_BEFORE,   "SELECT lun_block, count FROM free "                  \
                         "WHERE lun_block <= ? "                               \
                         "ORDER BY lun_block DESC LIMIT 1")                    \
    X(SQL_FREE_GET,      "SELECT count FROM free WHERE lun_block = ?")         \
    X(SQL_FREE_PUT,      "REPLACE INTO free VALUES (?,?)")                     \
    X(SQL_FREE_DROP,     "DELETE FROM free WHERE lun_block = ?")               \
    X(SQL_FREE_SUM,      "SELECT coalesce(sum(count), 0) FROM free")           \
    X(SQL_PENDING_NEW,   "INSERT INTO pending_free VALUES (?,?)")              \
    X(SQL_PENDING_LIST,  "SELECT lun_block, count FROM pending_free LIMIT ?")  \
    X(SQL_PENDING_DROP,  "DELETE FROM pending_free WHERE lun_block = ?")       \
    X(SQL_PENDING_SUM,   "SELECT coalesce(sum(count), 0) FROM pending_free")   \
    X(SQL_CHUNK_NEW,     "INSERT INTO chunk VALUES (?,?,?)")                   \
    X(SQL_CHUNK_LIST,    "SELECT lun_block, count, kind FROM chunk "           \
                         "ORDER BY rowid")                                     \
    X(SQL_XATTR_GET,     "SELECT value FROM xattr WHERE ino = ? AND name = ?") \
    X(SQL_XATTR_PUT,     "REPLACE INTO xattr VALUES (?,?,?)")                  \
    X(SQL_XATTR_DROP,    "DELETE FROM xattr WHERE ino = ? AND name = ?")       \
    X(SQL_XATTR_LIST,    "SELECT name FROM xattr WHERE ino = ?")               \
    X(SQL_XATTR_CLEAR,   "DELETE FROM xattr WHERE ino = ?")                    \
    X(SQL_HANDLE_LIST,   "SELECT vm, mode, node, incarnation, generation "     \
                         "FROM handle WHERE ino = ?")                          \
    X(SQL_HANDLE_PUT,    "REPLACE INTO handle VALUES (?,?,?,?,?,?)")           \
    X(SQL_HANDLE_FREE,   "UPDATE handle SET mode = 0 WHERE mode <> 0 AND "     \
                         "node = ? AND incarnation = ?")                       \
    X(SQL_HANDLE_ADOPT,  "UPDATE handle SET mode = 0 WHERE mode <> 0 AND "     \
                         "NOT (node = ? AND incarnation = ?)")                 \
    X(SQL_HANDLE_CLEAR,  "DELETE FROM handle WHERE ino = ?")                   \
    X(SQL_REPLY_GET,     "SELECT seq, op, ino, value FROM reply "              \
                         "WHERE node = ? AND incarnation = ? AND slot = ?")    \
    X(SQL_REPLY_PUT,     "REPLACE INTO reply VALUES (?,?,?,?,?,?,?)")          \
    X(SQL_REPLY_LAST,    "SELECT coalesce(max(seq), 0) FROM reply "            \
                         "WHERE node = ? AND incarnation = ?")                 \
    X(SQL_REPLY_FORGET,  "DELETE FROM reply WHERE node = ?1 AND "              \
                         "(incarnation = ?2 AND slot < ?3 OR "                 \
                         "incarnation < ?2 - ?4)")                             \
    X(SQL_SENDERS,       "SELECT node, incarnation FROM handle WHERE mode <> 0"\
                         " UNION SELECT node, incarnation FROM reply "         \
                         "WHERE slot < ?")                                     \
    X(SQL_NODE_PUT,      "REPLACE INTO node VALUES (?,?,0)")                   \
    X(SQL_NODE_FENCE,    "UPDATE node SET fenced = 1 WHERE "                   \
                         "NOT (node = ? AND incarnation = ?)")
/* clang-format on */

enum sql {
#define X(name, text) name,
    SQL_LIST(X)
#undef X
        SQL_COUNT
};

struct db {
    struct vfs *vfs;
    sqlite3 *conn;
    sqlite3_stmt *stmt[SQL_COUNT];
    uint64_t wal_frames; /* in the log after the last commit */
};

/* Open the tables that are there and compare them with those we know.
 * Ownership: the vfs outlives the db.
 * Errors: E_CORRUPT, E_CHECKSUM, E_VERSION, E_IO, E_NOMEM.
 * Context: a thread with a loop; blocks.  So do all below. */
MUST_CHECK enum err db_open(struct vfs *vfs, struct diag *why,
                            struct db **ret_db);
/* Make the tables in an empty database, then as db_open(). */
MUST_CHECK enum err db_create(struct vfs *vfs, struct diag *why,
                              struct db **ret_db);
/* Let the database become as large as its chunks are now, and no larger. */
MUST_CHECK enum err db_limit_pages(struct db *db);
/* Nothing is written, not even by db_close(). */
void db_leave_untouched(struct db *db);
/* Checkpoints, and empties the WAL.  NULL is fine. */
void db_close(struct db *db);
static inline void db_closep(struct db **db)
{
    db_close(*db);
}

/* A value for a statement's "?". */
struct db_value {
    char type; /* 'i', 'b', 't' */
    int64_t number;
    const void *bytes;
    size_t len_bytes;
};
/* clang-format off */
#define DB_INT(n)       ((struct db_value){.type = 'i', .number = (int64_t)(n)})
#define DB_BYTES(p, n)  ((struct db_value){.type = 'b', .bytes = (p), \
                                           .len_bytes = (n)})
#define DB_TEXT(s)      ((struct db_value){.type = 't', .bytes = (s)})
#define DB_VALUES(...)  (const struct db_value[]){__VA_ARGS__}, \
    sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value)
/* clang-format on */

/* Run a statement that gives no rows. */
#define db_run(db, sql, ...) db_run_values(db, sql, DB_VALUES(__VA_ARGS__))
MUST_CHECK enum err db_run_values(struct db *db, enum sql sql,
                                  const struct db_value *values, size_t count);
/* Go to the first row; E_NODATA: there is none, and nothing to end. */
#define db_first(db, sql, ...) db_first_values(db, sql, DB_VALUES(__VA_ARGS__))
MUST_CHECK enum err db_first_values(struct db *db, enum sql sql,
                                    const struct db_value *values,
                                    size_t count);
MUST_CHECK enum err db_next(struct db *db, enum sql sql);
void db_end(struct db *db, enum sql sql);

/* Columns of the row at hand.  Bytes stay valid until the next step. */
uint64_t db_u64(struct db *db, enum sql sql, int column);
const void *db_bytes(struct db *db, enum sql sql, int column,
                     size_t *ret_len_bytes);

/* One number, and done. */
MUST_CHECK enum err db_number(struct db *db, enum sql sql, uint64_t *ret_n);

/* Move WAL frames into the database; `all`: and empty the WAL. */
MUST_CHECK enum err db_checkpoint(struct db *db, bool all);
/* The last error of SQLite as ours, with its words in `why`. */
enum err db_error(struct db *db, int rc, struct diag *why);

#endif
