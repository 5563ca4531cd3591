/* fs/check_names.c - inodes, directory entries, link counts, orphans.
 * Each rule is one query for what breaks it, in words, and, where the rest of
 * the volume says what is right, one statement that mends it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/check.h"
#include "fs/meta.h"

#include <string.h>

/* clang-format off */
#define IS_DIR(i)  "((" i ".mode & 61440) = 16384)"  /* S_IFMT, S_IFDIR */
#define IS_LINK(i) "((" i ".mode & 61440) = 40960)"  /* S_IFLNK */

/* Columns uid to btime of an inode that is made again: change 0 says so. */
#define FRESH "0, 0, 0, 0, 0, 0, " NEWEST ", " NEWEST ", " NEWEST ", " NEWEST
#define NEWEST "(SELECT coalesce(max(ctime), 0) FROM inode)"
/* Rows that show that there was an inode: sane numbers only. */
#define LOST_PARENT "parent BETWEEN 2 AND 281474976710655 AND parent NOT IN " \
                    "(SELECT ino FROM inode)"
#define LOST_FILE "ino BETWEEN 2 AND 281474976710655 AND ino NOT IN "         \
                  "(SELECT ino FROM inode) AND file_block BETWEEN 0 AND "     \
                  "1125899906842624 AND count BETWEEN 1 AND 1125899906842624"

/* What the rules compare with; made again after each mending. */
static const char ground[] =
    "DROP TABLE IF EXISTS temp.link; DROP TABLE IF EXISTS temp.sub;"
    "DROP TABLE IF EXISTS temp.used;"
    "CREATE TEMP TABLE link AS SELECT ino, count(*) AS names, "
    "  min(parent) AS parent FROM dentry GROUP BY ino;"
    "CREATE UNIQUE INDEX temp.link_ino ON link(ino);"
    "CREATE TEMP TABLE sub AS SELECT d.parent AS ino, count(*) AS dirs "
    "  FROM dentry d JOIN inode i ON i.ino = d.ino WHERE " IS_DIR("i")
    "  GROUP BY d.parent;"
    "CREATE UNIQUE INDEX temp.sub_ino ON sub(ino);"
    "CREATE TEMP TABLE used AS SELECT ino, sum(count) AS blocks FROM extent "
    "  GROUP BY ino;"
    "CREATE UNIQUE INDEX temp.used_ino ON used(ino);";

/* The rule that gives a name to what has none; mended by reconnect(). */
static const char nameless[] =
    "SELECT printf('inode %d has no name: it goes to lost+found', ino), ino "
    "FROM inode WHERE ino <> 1 AND ino NOT IN (SELECT ino FROM temp.link) "
    "AND ino NOT IN (SELECT ino FROM orphan)";

static const struct rule {
    const char *find, *mend; /* mend NULL: nothing says what is right */
} rules[] = {
    {"SELECT 'there is no root directory: it is made again' "
     "WHERE NOT EXISTS (SELECT 1 FROM inode WHERE ino = 1)",
     "INSERT INTO inode SELECT 1, 16877, 2, " FRESH ", 1, 0, NULL"},
    {"SELECT 'the root is no directory' FROM inode i WHERE ino = 1 AND NOT "
     IS_DIR("i"), "UPDATE inode SET mode = 16877 WHERE ino = 1"},
    {"SELECT DISTINCT printf('directory %d has entries, but does not exist: "
     "it is made again', parent) FROM dentry WHERE " LOST_PARENT,
     "INSERT INTO inode SELECT parent, 16832, 2, " FRESH ", 0, 0, NULL "
     "FROM (SELECT DISTINCT parent FROM dentry WHERE " LOST_PARENT ")"},
    {"SELECT DISTINCT printf('inode %d has data, but does not exist: it is "
     "made again', ino) FROM extent WHERE " LOST_FILE,
     "INSERT INTO inode SELECT ino, 33152, 1, " FRESH ", 0, 0, NULL "
     "FROM (SELECT DISTINCT ino FROM extent WHERE " LOST_FILE ");"
     "UPDATE inode SET size = (SELECT max(file_block + count) * 4096 "
     "FROM extent x WHERE x.ino = inode.ino) WHERE change = 0"},
    {"SELECT printf('inode %d has mode %o, which is no file type', ino, mode) "
     "FROM inode WHERE (mode & 61440) NOT IN "
     "(4096, 8192, 16384, 24576, 32768, 40960, 49152)", NULL},
    {"SELECT printf('entry \"%s\" of directory %d names inode %d, which does "
     "not exist', d.name, d.parent, d.ino) "
     "FROM dentry d LEFT JOIN inode i ON i.ino = d.ino WHERE i.ino IS NULL",
     "DELETE FROM dentry WHERE ino NOT IN (SELECT ino FROM inode)"},
    {"SELECT printf('entry \"%s\" is in %d, which is no directory', d.name, "
     "d.parent) FROM dentry d LEFT JOIN inode i ON i.ino = d.parent "
     "WHERE i.ino IS NULL OR NOT " IS_DIR("i"),
     "DELETE FROM dentry WHERE parent NOT IN "
     "(SELECT i.ino FROM inode i WHERE " IS_DIR("i") ")"},
    {"SELECT printf('attributes of inode %d, which does not exist', ino) FROM "
     "(SELECT DISTINCT ino FROM xattr) WHERE ino NOT IN "
     "(SELECT ino FROM inode)",
     "DELETE FROM xattr WHERE ino NOT IN (SELECT ino FROM inode)"},
    {"SELECT printf('handles of inode %d, which does not exist', ino) FROM "
     "(SELECT DISTINCT ino FROM handle) WHERE ino NOT IN "
     "(SELECT ino FROM inode)",
     "DELETE FROM handle WHERE ino NOT IN (SELECT ino FROM inode)"},
    {"SELECT printf('handles of inode %d exclude each other', ino) FROM "
     "handle WHERE mode <> 0 GROUP BY ino HAVING max(mode) = 5 AND "
     "count(*) > 1 OR max(mode) > 5 OR min(mode) < 0",
     "UPDATE handle SET mode = 0 WHERE ino IN (SELECT ino FROM handle "
     "WHERE mode <> 0 GROUP BY ino HAVING max(mode) = 5 AND count(*) > 1 OR "
     "max(mode) > 5 OR min(mode) < 0)"},
    {"SELECT printf('extents of inode %d, which does not exist', ino) FROM "
     "(SELECT DISTINCT ino FROM extent) WHERE ino NOT IN "
     "(SELECT ino FROM inode)",
     "DELETE FROM extent WHERE ino NOT IN (SELECT ino FROM inode)"},
    {"SELECT printf('orphan %d does not exist', ino) FROM orphan "
     "WHERE ino NOT IN (SELECT ino FROM inode)",
     "DELETE FROM orphan WHERE ino NOT IN (SELECT ino FROM inode)"},
    {"SELECT printf('inode %d is an orphan, but has %d names', o.ino, l.names) "
     "FROM orphan o JOIN temp.link l ON l.ino = o.ino",
     "DELETE FROM orphan WHERE ino IN (SELECT ino FROM temp.link)"},
    {nameless, ""},
    {"SELECT printf('orphan %d counts %d links', i.ino, i.nlink) "
     "FROM inode i JOIN orphan o ON o.ino = i.ino WHERE i.nlink <> 0",
     "UPDATE inode SET nlink = 0 WHERE ino IN (SELECT ino FROM orphan)"},
    {"SELECT printf('directory %d has %d names', i.ino, l.names) "
     "FROM inode i JOIN temp.link l ON l.ino = i.ino "
     "WHERE " IS_DIR("i") " AND (l.names > 1 OR i.ino = 1)", NULL},
    {"SELECT printf('directory %d says that it is in %d, but it is in %d', "
     "i.ino, i.parent, l.parent) "
     "FROM inode i JOIN temp.link l ON l.ino = i.ino "
     "WHERE " IS_DIR("i") " AND i.parent <> l.parent",
     "UPDATE inode SET parent = (SELECT l.parent FROM temp.link l "
     "WHERE l.ino = inode.ino) WHERE ino IN (SELECT i.ino FROM inode i "
     "JOIN temp.link l ON l.ino = i.ino WHERE " IS_DIR("i") ")"},
    {"SELECT printf('inode %d counts %d links, but has %d names', i.ino, "
     "i.nlink, l.names) FROM inode i JOIN temp.link l ON l.ino = i.ino "
     "WHERE NOT " IS_DIR("i") " AND i.nlink <> l.names",
     "UPDATE inode SET nlink = (SELECT l.names FROM temp.link l "
     "WHERE l.ino = inode.ino) WHERE NOT " IS_DIR("inode") " AND ino IN "
     "(SELECT ino FROM temp.link)"},
    {"SELECT printf('directory %d counts %d links, but has %d directories', "
     "i.ino, i.nlink, coalesce(s.dirs, 0)) "
     "FROM inode i LEFT JOIN temp.sub s ON s.ino = i.ino "
     "WHERE " IS_DIR("i") " AND i.ino NOT IN (SELECT ino FROM orphan) "
     "AND i.nlink <> 2 + coalesce(s.dirs, 0)",
     "UPDATE inode SET nlink = 2 + coalesce((SELECT s.dirs FROM temp.sub s "
     "WHERE s.ino = inode.ino), 0) WHERE " IS_DIR("inode") " AND ino NOT IN "
     "(SELECT ino FROM orphan)"},
    {"WITH RECURSIVE reached(ino) AS (SELECT 1 UNION SELECT d.ino FROM reached "
     "r JOIN dentry d ON d.parent = r.ino) "
     "SELECT printf('directory %d cannot be reached from the root', i.ino) "
     "FROM inode i WHERE " IS_DIR("i") " AND i.ino NOT IN "
     "(SELECT ino FROM reached) AND i.ino NOT IN (SELECT ino FROM orphan)",
     NULL},
    {"SELECT printf('inode %d counts %d blocks, but has %d', i.ino, i.blocks, "
     "coalesce(u.blocks, 0)) FROM inode i LEFT JOIN temp.used u "
     "ON u.ino = i.ino WHERE i.blocks <> coalesce(u.blocks, 0)",
     "UPDATE inode SET blocks = coalesce((SELECT u.blocks FROM temp.used u "
     "WHERE u.ino = inode.ino), 0)"},
    {"SELECT printf('inode %d has a size of %d bytes', ino, size) FROM inode "
     "WHERE size < 0 OR size > 9223372036854771712", NULL},
    {"SELECT printf('symbolic link %d has a damaged target', i.ino) "
     "FROM inode i WHERE " IS_LINK("i") " AND "
     "(target IS NULL OR length(target) <> size)", NULL},
    {"SELECT 'the next inode number is missing' WHERE NOT EXISTS "
     "(SELECT 1 FROM volume WHERE key = 'next_ino')",
     "INSERT INTO volume SELECT 'next_ino', max(ino) + 1 FROM inode"},
    {"SELECT printf('inode number %d is in use, but would be given out', "
     "max(ino)) FROM inode HAVING max(ino) >= "
     "(SELECT value FROM volume WHERE key = 'next_ino')",
     "UPDATE volume SET value = (SELECT max(ino) + 1 FROM inode) "
     "WHERE key = 'next_ino'"},
};
/* clang-format on */

/* -- lost+found ------------------------------------------------------------ */

static enum err enter(struct check *c, uint64_t dir, const char *name,
                      uint64_t ino)
{
    return db_run(c->db, SQL_DENTRY_NEW, DB_INT(dir),
                  DB_INT(dentry_cookie(name)), DB_BYTES(name, strlen(name)),
                  DB_INT(ino));
}

/* What `name` is in the root.  E_NODATA: nothing; E_EXIST: no directory. */
static enum err find_dir(struct check *c, const char *name, uint64_t *ret_ino)
{
    sqlite3_stmt *s;
    bool is_dir;
    enum err e =
        check_prepare(c,
                      "SELECT i.ino, " IS_DIR(
                          "i") " FROM dentry d JOIN inode "
                               "i ON i.ino = d.ino WHERE d.parent = 1 AND "
                               "d.name = CAST(? AS BLOB)",
                      &s);

    if (e)
        return e;
    sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    e = check_step(c, &s);
    if (e)
        return e;
    *ret_ino = (uint64_t)sqlite3_column_int64(s, 0);
    is_dir = sqlite3_column_int(s, 1);
    check_end(&s);
    return is_dir ? E_OK : E_EXIST;
}

/* A directory for what has no name, made if need be. */
static enum err lost_and_found(struct check *c, uint64_t *ret_ino)
{
    char name[32] = "lost+found";
    enum err e = find_dir(c, name, ret_ino);

    for (int i = 1; e == E_EXIST; i++) {
        sqlite3_snprintf(sizeof name, name, "lost+found.%d", i);
        e = find_dir(c, name, ret_ino);
    }
    if (e != E_NODATA)
        return e;
    e = check_exec(c, "INSERT INTO inode SELECT max(max(ino) + 1, coalesce("
                      "(SELECT value FROM volume WHERE key = 'next_ino'), 2)), "
                      "16832, 2, 0, 0, 0, 0, 0, 1, max(ctime), max(ctime), "
                      "max(ctime), max(ctime), 1, 0, NULL FROM inode");
    if (e)
        return e;
    *ret_ino = (uint64_t)sqlite3_last_insert_rowid(c->db->conn);
    e = check_exec(c, "REPLACE INTO volume SELECT 'next_ino', max(ino) + 1 "
                      "FROM inode");
    return e ? e : enter(c, FS_INO_ROOT, name, *ret_ino);
}

static enum err reconnect(struct check *c, const uint64_t *lost, size_t count)
{
    enum err e = E_OK;
    char name[32];
    uint64_t dir;

    if (count)
        e = lost_and_found(c, &dir);
    for (size_t i = 0; i < count && !e; i++) {
        sqlite3_snprintf(sizeof name, name, "#%llu",
                         (unsigned long long)lost[i]);
        e = enter(c, dir, name, lost[i]);
    }
    return e;
}

/* -- rules ----------------------------------------------------------------- */

enum { LOST_MAX = 4096 }; /* given a name in one run; the next does more */

/* Report what breaks the rule; collect inode numbers for reconnect(). */
static enum err find(struct check *c, const struct rule *rule, uint64_t *lost,
                     size_t *ret_count)
{
    bool mends = rule->mend && c->args->repair;
    size_t count = 0;
    sqlite3_stmt *s;
    enum err e = check_prepare(c, rule->find, &s);

    if (e)
        return e;
    while (!(e = check_step(c, &s))) {
        if (count == LOST_MAX) {
            check_end(&s);
            break;
        }
        check_found(c, mends, "%s", sqlite3_column_text(s, 0));
        lost[count++] = (uint64_t)sqlite3_column_int64(s, 1);
    }
    *ret_count = count;
    return e == E_NODATA ? E_OK : e;
}

static enum err apply(struct check *c, const struct rule *rule)
{
    AUTO(freep) uint64_t *lost = calloc(LOST_MAX, sizeof *lost);
    size_t count = 0;
    enum err e = lost ? find(c, rule, lost, &count) : E_NOMEM;

    if (e || !count || !rule->mend || !c->args->repair)
        return e;
    if (rule->find == nameless)
        e = reconnect(c, lost, count);
    else
        e = check_exec(c, rule->mend);
    return e ? e : check_exec(c, ground);
}

/* Lookups go by the hash of the name. */
static enum err check_cookies(struct check *c)
{
    sqlite3_stmt *s;
    char name[FS_NAME_MAX + 1];
    enum err e =
        check_prepare(c, "SELECT name, cookie, parent FROM dentry", &s);

    if (e)
        return e;
    while (!(e = check_step(c, &s))) {
        size_t len = (size_t)sqlite3_column_bytes(s, 0);
        const void *bytes = sqlite3_column_blob(s, 0);
        uint64_t cookie = (uint64_t)sqlite3_column_int64(s, 1);

        if (bytes && len && len <= FS_NAME_MAX) {
            memcpy(name, bytes, len);
            name[len] = 0;
            if (strlen(name) == len && !strchr(name, '/') &&
                cookie - dentry_cookie(name) < DENTRY_TWINS)
                continue;
        }
        check_found(c, false,
                    "directory %llu: the entry at cookie %llu has no valid "
                    "name, or one of another hash",
                    (unsigned long long)sqlite3_column_int64(s, 2),
                    (unsigned long long)cookie);
    }
    return e == E_NODATA ? E_OK : e;
}

static enum err count_inodes(struct check *c)
{
    sqlite3_stmt *s;
    enum err e =
        check_prepare(c,
                      "SELECT count(*), coalesce(sum((mode & 61440) = 32768), "
                      "0), coalesce(sum((mode & 61440) = 16384), 0) FROM inode",
                      &s);

    if (!e)
        e = check_step(c, &s);
    if (e)
        return e;
    c->result->inodes = (uint64_t)sqlite3_column_int64(s, 0);
    c->result->files = (uint64_t)sqlite3_column_int64(s, 1);
    c->result->dirs = (uint64_t)sqlite3_column_int64(s, 2);
    check_end(&s);
    return E_OK;
}

enum err check_names(struct check *c)
{
    enum err e = check_exec(c, ground);

    for (size_t i = 0; i < ARRAY_LEN(rules) && !e; i++)
        e = apply(c, &rules[i]);
    if (!e)
        e = check_cookies(c);
    return e ? e : count_inodes(c);
}
