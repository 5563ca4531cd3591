/* fs/meta.c - one operation: its savepoint, its place in the reply table.
 * Commits nothing; what an operation does is in meta_*.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/meta.h"

#include "fs/space.h"

#include <string.h>
#include <zlib.h>

enum op_flags {
    OP_WRITES = 1, /* may change tables */
    OP_FACT = 2,   /* executed exactly once: its outcome goes to `reply` (I7) */
    OP_ONCE = OP_WRITES | OP_FACT,
    OP_TAKES = 4, /* refused when the database has no room to grow */
    OP_GROWS = 8  /* may take a little: refused when it is about to be full */
};
enum { PAGES_TO_TAKE = 96, PAGES_TO_GROW = 32 };

/* clang-format off */
static const struct op_row {
    const char *name;
    unsigned flags;
    enum err (*run)(struct op *op);
} op_rows[] = {
#define ROW(OP, flags, op) [FS_OP_##OP] = {#OP, flags, op_##op}
    ROW(HELLO,         0,                     hello),
    ROW(REPORT,        0,                     report),
    ROW(CONFIRM,       0,                     confirm),
    ROW(LOOKUP,        0,                     lookup),
    ROW(GETATTR,       0,                     getattr),
    ROW(SETATTR,       OP_ONCE | OP_GROWS,    setattr),
    ROW(CREATE,        OP_ONCE | OP_TAKES,    create),
    ROW(UNLINK,        OP_ONCE,               unlink),
    ROW(RMDIR,         OP_ONCE,               rmdir),
    ROW(RENAME,        OP_ONCE | OP_GROWS,    rename),
    ROW(LINK,          OP_ONCE | OP_TAKES,    link),
    ROW(READLINK,      0,                     readlink),
    ROW(READDIR,       0,                     readdir),
    ROW(STATFS,        0,                     statfs),
    ROW(XATTR_GET,     0,                     xattr_get),
    ROW(XATTR_SET,     OP_ONCE | OP_TAKES,    xattr_set),
    ROW(XATTR_LIST,    0,                     xattr_list),
    ROW(XATTR_REMOVE,  OP_ONCE,               xattr_remove),
    ROW(OPEN,          0,                     open),
    ROW(CLOSE,         OP_WRITES,             close),
    ROW(LAYOUTGET,     OP_WRITES | OP_TAKES,  layoutget),
    ROW(LAYOUTCOMMIT,  OP_WRITES | OP_GROWS,  layoutcommit),
    ROW(LAYOUTRETURN,  OP_WRITES,             layoutreturn),
    ROW(FALLOCATE,     OP_ONCE | OP_TAKES,    fallocate),
    ROW(SEEK,          0,                     seek),
    ROW(HANDLE_GET,    OP_ONCE | OP_GROWS,    handle_get),
    ROW(HANDLE_PUT,    OP_ONCE,               handle_put),
    ROW(READ,          0,                     read),
    ROW(WRITE,         0,                     write),
    ROW(FLUSH,         0,                     flush),
    ROW(EDGES,         0,                     edges),
#undef ROW
};
/* clang-format on */

static const struct op_row *op_row(fs_op op)
{
    static const struct op_row unknown = {"?", 0, NULL};

    if ((unsigned)op >= ARRAY_LEN(op_rows) || !op_rows[op].run)
        return &unknown;
    return &op_rows[op];
}

bool meta_op_writes(fs_op op)
{
    return op_row(op)->flags & OP_WRITES;
}

unsigned meta_op_pages(fs_op op)
{
    unsigned flags = op_row(op)->flags;

    return flags & OP_TAKES   ? PAGES_TO_TAKE
           : flags & OP_GROWS ? PAGES_TO_GROW
                              : 0;
}

const char *meta_op_name(fs_op op)
{
    return op_row(op)->name;
}

enum err op_hello(struct op *op)
{
    *OP_RESULT(op, hello) = (fs_hello){
        .proto_version = FS_PROTO_VERSION,
        .epoch = op->m->epoch,
        .slots = META_SLOTS,
    };
    share_remind(op->m, op->sender);
    return E_OK;
}

/* It was not answered before all had reported. */
enum err op_confirm(struct op *op)
{
    (void)op;
    return E_OK;
}

/* -- exactly once (I7) ----------------------------------------------------- */

/* Where the fact of an operation is in its result: the inode it made or
 * changed, and a number. */
static fs_attr *result_attr(fs_reply *reply)
{
    union {
        fs_attr *attr;
    } at = {NULL};

    if (reply->result.op == FS_OP_SETATTR)
        at.attr = &reply->result.fs_result_u.setattr;
    else if (reply->result.op == FS_OP_CREATE)
        at.attr = &reply->result.fs_result_u.create;
    else if (reply->result.op == FS_OP_UNLINK)
        at.attr = &reply->result.fs_result_u.unlink;
    else if (reply->result.op == FS_OP_LINK)
        at.attr = &reply->result.fs_result_u.link;
    else if (reply->result.op == FS_OP_FALLOCATE)
        at.attr = &reply->result.fs_result_u.fallocate;
    return at.attr;
}

/* Was this very request carried out already?  E_NODATA: no.  Only the fact is
 * replayed; attributes are as they are now. */
static enum err reply_replay(struct op *op)
{
    const fs_request *r = op->request;
    struct db *db = op->m->db;
    uint64_t seq, was, ino, value;
    struct inode inode;
    fs_attr *attr;
    enum err e = db_first(db, SQL_REPLY_GET, DB_INT(r->node),
                          DB_INT(r->incarnation), DB_INT(r->slot));

    if (e)
        return e;
    seq = db_u64(db, SQL_REPLY_GET, 0);
    was = db_u64(db, SQL_REPLY_GET, 1);
    ino = db_u64(db, SQL_REPLY_GET, 2);
    value = db_u64(db, SQL_REPLY_GET, 3);
    db_end(db, SQL_REPLY_GET);
    if (r->seq > seq)
        return E_NODATA;
    if (r->seq < seq || was != (uint64_t)r->args.op)
        return E_PROTOCOL;
    op->reply->stored = true;
    if (r->args.op == FS_OP_HANDLE_GET)
        *OP_RESULT(op, generation) = value;
    attr = result_attr(op->reply);
    if (!attr)
        return E_OK;
    e = inode_get(op->m, ino, &inode);
    *attr = e ? (fs_attr){.ino = ino} : inode.attr;
    if (!e && r->args.op == FS_OP_CREATE && OP_ARGS(op, create)->open)
        return share_open(op, ino, true); /* a right: it may be lost */
    return e == E_STALE ? E_OK : e;
}

static enum err reply_store(struct op *op)
{
    const fs_request *r = op->request;
    const fs_attr *attr = result_attr(op->reply);
    uint64_t value = 0;

    if (r->args.op == FS_OP_HANDLE_GET)
        value = *OP_RESULT(op, generation);
    return db_run(op->m->db, SQL_REPLY_PUT, DB_INT(r->node),
                  DB_INT(r->incarnation), DB_INT(r->slot), DB_INT(r->seq),
                  DB_INT(r->args.op), DB_INT(attr ? attr->ino : 0),
                  DB_INT(value));
}

/* -- one operation --------------------------------------------------------- */

static enum err check_request(const struct meta *m, const struct fs_call *call)
{
    const fs_request *request = &call->request;
    const struct fs_sender *who = &call->sender;

    if (who->node > FS_NODES_MAX)
        return E_PROTOCOL;
    if (who->incarnation <= m->forgotten[who->node])
        return E_FENCED; /* for ever: it comes back as another (I11) */
    if (request->proto_version != FS_PROTO_VERSION)
        return E_VERSION;
    if (request->epoch != m->epoch && request->args.op != FS_OP_HELLO)
        return E_EPOCH;
    if (!op_row(request->args.op)->run)
        return E_UNSUPPORTED;
    return E_OK;
}

/* Run the handler; a failed one leaves no trace in tables or counts. */
static enum err run_in_savepoint(struct op *op, const struct op_row *row)
{
    struct meta *m = op->m;
    struct meta_counts before = m->counts;
    enum err e = db_run(m->db, SQL_SAVE), undo = E_OK;

    if (e)
        return e;
    e = row->run(op);
    if (!e && !op->more && row->flags & OP_FACT)
        e = reply_store(op);
    if (e) {
        m->counts = before;
        undo = db_run(m->db, SQL_SAVE_BACK);
    }
    if (!undo)
        undo = db_run(m->db, SQL_SAVE_DROP);
    return e ? e : undo;
}

enum err meta_run(struct meta *m, struct fs_call *call,
                  enum meta_then *ret_then)
{
    const fs_request *request = &call->request;
    fs_reply *reply = &call->reply;
    const struct op_row *row = op_row(request->args.op);
    struct op op = {
        .m = m,
        .sender = &call->sender,
        .request = request,
        .reply = reply,
        .now_ns = (int64_t)clock_wall_ns(m->clock),
    };
    enum err e = check_request(m, call);

    reply->result.op = request->args.op;
    reply->epoch = m->epoch;
    *ret_then = META_ANSWER;
    if (!e && row->flags & OP_FACT) {
        e = reply_replay(&op);
        if (e == E_NODATA)
            e = run_in_savepoint(&op, row);
    } else if (!e && row->flags & OP_WRITES) {
        e = run_in_savepoint(&op, row);
    } else if (!e) {
        e = row->run(&op);
    }
    reply->error = e;
    /* SQLite rolls the whole transaction back on some errors. */
    if (sqlite3_get_autocommit(m->db->conn))
        return e ? e : E_VOL_OFFLINE;
    if (!e && op.more)
        *ret_then = META_MORE;
    if (!e && op.carry)
        *ret_then = META_CARRY;
    if (e == E_TRY_LATER) {
        *ret_then = META_WAIT;
        share_wait(m, call, op.behind, op.others);
    }
    return E_OK;
}

/* -- opening --------------------------------------------------------------- */

static enum err load_counts(struct meta *m)
{
    struct meta_counts *c = &m->counts;
    enum err e = db_number(m->db, SQL_FREE_SUM, &c->free_blocks);

    if (!e)
        e = db_number(m->db, SQL_PENDING_SUM, &c->pending_blocks);
    if (!e)
        e = db_number(m->db, SQL_INODE_COUNT, &c->inodes);
    if (!e)
        e = db_first(m->db, SQL_VOLUME_GET, DB_TEXT("next_ino"));
    if (e)
        return e == E_NODATA ? E_CORRUPT : e;
    c->next_ino = c->ino_limit = db_u64(m->db, SQL_VOLUME_GET, 0);
    db_end(m->db, SQL_VOLUME_GET);
    return E_OK;
}

/* The database belongs to this superblock. */
static enum err check_uuid(struct meta *m, const struct super *super)
{
    const void *uuid;
    size_t len;
    bool same;
    enum err e = db_first(m->db, SQL_VOLUME_GET, DB_TEXT("uuid"));

    if (e)
        return e == E_NODATA ? E_CORRUPT : e;
    uuid = db_bytes(m->db, SQL_VOLUME_GET, 0, &len);
    same = len == sizeof super->uuid && memcmp(uuid, super->uuid, len) == 0;
    db_end(m->db, SQL_VOLUME_GET);
    return same ? E_OK : E_CORRUPT;
}

enum err meta_new(const struct meta_args *args, struct diag *why,
                  struct meta **ret_meta)
{
    AUTO(freep) struct meta *m = calloc(1, sizeof *m);
    enum err e;

    if (!m)
        return E_NOMEM;
    m->db = args->db;
    m->clock = args->clock;
    m->node = args->node;
    m->incarnation = args->incarnation;
    m->epoch = args->super->epoch;
    m->reserve_blocks = args->super->reserve_blocks;
    m->size_blocks = args->super->size_blocks;
    m->generation = (uint32_t)crc32(0, args->super->uuid, 16) | 1;
    for (int i = 0; i < FILE_BUCKETS; i++)
        list_init(&m->files[i]);
    list_init(&m->recalls);
    list_init(&m->sent_back);
    list_init(&m->ready);
    e = check_uuid(m, args->super);
    if (e)
        return diag_fail(why, e, "the database is of another volume: %s",
                         err_text(e));
    e = load_counts(m);
    if (e)
        return diag_fail(why, e, "loading the metadata: %s", err_text(e));
    m->reap_wanted = true;
    *ret_meta = TAKE(m);
    return E_OK;
}

void meta_free(struct meta *m)
{
    struct list *node;

    if (!m)
        return;
    for (int i = 0; i < FILE_BUCKETS; i++)
        while ((node = list_pop_front(&m->files[i])))
            file_free(container_of(node, struct file, link));
    free(m);
}
