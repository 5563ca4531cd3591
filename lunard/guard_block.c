/* lunard/guard_block.c - what is on the LUN beside the volume's data: node
 * blocks, of which this node's has one writer, and superblocks.
 * Knows no bytes: fs/ encodes and decodes them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/guard_private.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

/* -- superblock copies ----------------------------------------------------- */

/* The copies as they are on the LUN, read one after the other: where the last
 * one is the first two say. */
struct super_read {
    struct guard *guard;
    bool own;
    uint64_t at[FS_SUPER_COPIES];
    uint8_t *bytes[FS_SUPER_COPIES]; /* NULL: could not be read */
    unsigned copy;
    enum lun_answer worst;
    struct fs_super_info info;
    struct diag why;
    void (*done)(struct super_read *r, enum lun_answer answer, enum err e);
    void *arg;
};

static void super_read_free(struct super_read *r)
{
    for (unsigned i = 0; i < FS_SUPER_COPIES; i++)
        free(r->bytes[i]);
    free(r);
}

static enum err newest(struct super_read *r)
{
    const void *copies[FS_SUPER_COPIES] = {r->bytes[0], r->bytes[1],
                                           r->bytes[2]};

    return fs_super_newest(copies, r->guard->args.uuid, &r->info, &r->why);
}

static void super_read_next(struct super_read *r);

static void super_copy_read(struct ask *a, enum lun_answer answer)
{
    struct super_read *r = a->arg;

    if (answer == LUN_OK)
        r->bytes[r->copy] = TAKE(a->bytes);
    else
        r->worst = answer;
    r->copy++;
    super_read_next(r);
}

static void super_read_end(struct super_read *r)
{
    enum err e = newest(r);

    /* Without the answer of the LUN nothing is known of it. */
    if (e && r->worst != LUN_OK)
        r->done(r, r->worst, E_OK);
    else
        r->done(r, LUN_OK, e);
    super_read_free(r);
}

static void super_read_next(struct super_read *r)
{
    uint64_t lun_bytes = lun_store(r->guard->lun)->size_bytes;
    struct ask *a;

    if (r->copy == FS_SUPER_COPIES - 1)
        fs_super_places(newest(r) ? lun_bytes : r->info.size_bytes, r->at);
    if (r->copy == FS_SUPER_COPIES) {
        super_read_end(r);
        return;
    }
    a = guard_ask_bytes(r->guard, LUN_PR_READ, r->at[r->copy], FS_BLOCK_BYTES,
                        super_copy_read, r);
    a->own = r->own;
    guard_ask(r->guard, a);
}

static void super_read(struct guard *g, bool own,
                       void (*done)(struct super_read *, enum lun_answer,
                                    enum err),
                       void *arg)
{
    struct super_read *r = calloc(1, sizeof *r);

    ASSERT(r);
    r->guard = g;
    r->own = own;
    r->done = done;
    r->arg = arg;
    fs_super_places(lun_store(g->lun)->size_bytes, r->at);
    super_read_next(r);
}

/* -- all node blocks ------------------------------------------------------- */

struct blocks_read {
    struct guard *guard;
    bool own, again;
    uint32_t ticket;
    uint64_t super_epoch;
    blocks_fn *answered;
    struct node_blocks blocks;
};

static void blocks_end(struct blocks_read *r, enum lun_answer answer)
{
    r->answered(r->guard, r->ticket, answer, &r->blocks, r->super_epoch);
    free(r);
}

static void refuse(struct guard *g, const struct diag *why, enum err e)
{
    snprintf(g->trouble, sizeof g->trouble, "%s", diag_text(why, e));
    log_error("%s: %s", lun_name(g->lun), g->trouble);
}

static void ask_area(struct blocks_read *r);

static void area_read(struct ask *a, enum lun_answer answer)
{
    struct blocks_read *r = a->arg;
    struct guard *g = r->guard;
    struct fs_node_copies copies = {.torn = 0};
    struct diag why = {0};
    enum err e = E_OK;

    if (answer == LUN_OK) {
        e = fs_nodes_decode(a->bytes, g->args.uuid, &r->blocks, &copies, &why);
        if ((e || copies.torn) && !r->again) {
            r->again = true;
            ask_area(r);
            return;
        }
    }
    if (e) {
        refuse(g, &why, e);
        answer = LUN_FAILED;
    }
    if (answer == LUN_OK && r->own && !g->own_known) {
        g->own_known = g->flush_owed = true;
        g->own = r->blocks.node[g->args.me.node - 1];
        g->sequence = copies.sequence[g->args.me.node - 1];
    }
    blocks_end(r, answer);
}

static void ask_area(struct blocks_read *r)
{
    struct ask *a = guard_ask_bytes(r->guard, LUN_PR_READ, FS_NODE_AREA_AT,
                                    FS_NODE_AREA_BYTES, area_read, r);

    a->own = r->own;
    guard_ask(r->guard, a);
}

/* Is it the volume that it is taken for?  Before anything is written. */
static void blocks_super_read(struct super_read *s, enum lun_answer answer,
                              enum err e)
{
    struct blocks_read *r = s->arg;

    if (e)
        refuse(s->guard, &s->why, e);
    r->super_epoch = s->info.epoch;
    if (e || answer != LUN_OK)
        blocks_end(r, e ? LUN_FAILED : answer);
    else
        ask_area(r);
}

void guard_read_blocks(struct guard *g, bool own, uint32_t ticket,
                       blocks_fn *answered)
{
    struct blocks_read *r = calloc(1, sizeof *r);

    ASSERT(r);
    r->guard = g;
    r->own = own;
    r->ticket = ticket;
    r->answered = answered;
    super_read(g, own, blocks_super_read, r);
}

/* -- this node's block: one writer ----------------------------------------- */

static void write_next(struct guard *g);

static struct block_change *first_change(struct guard *g)
{
    return container_of(g->changes.next, struct block_change, node);
}

static void change_ends(struct guard *g, enum lun_answer answer)
{
    struct block_change *change = first_change(g);
    struct ask a = {.guard = g, .ticket = change->ticket, .arg = change->arg};

    list_remove(&change->node);
    g->writing = false;
    g->block_ask = NULL;
    change->answered(&a, answer);
    free(change);
    if (!g->over)
        write_next(g);
    else if (!list_empty(&g->changes))
        change_ends(g, LUN_GONE);
}

static void ask_block(struct guard *g, struct ask *a)
{
    a->own = first_change(g)->own;
    g->block_ask = a;
    guard_ask(g, a);
}

static void block_flushed(struct ask *a, enum lun_answer answer)
{
    if (answer == LUN_OK)
        a->guard->sequence++;
    change_ends(a->guard, answer);
}

static void block_written(struct ask *a, enum lun_answer answer)
{
    struct guard *g = a->guard;

    if (answer == LUN_OK)
        ask_block(g, guard_ask_new(g, LUN_PR_FLUSH, 0, block_flushed, NULL));
    else
        change_ends(g, answer);
}

static void write_block(struct guard *g)
{
    uint8_t block[FS_BLOCK_BYTES];
    struct block_change *change = first_change(g);
    struct ask *a;
    uint64_t at;

    change->apply(change, &g->own);
    g->own.node = g->args.me.node;
    at = fs_node_encode(&g->own, g->args.uuid, g->sequence + 1, block);
    a = guard_ask_bytes(g, LUN_PR_WRITE, at, sizeof block, block_written, NULL);
    memcpy(a->bytes, block, sizeof block);
    ask_block(g, a);
}

/* What was read of my block may not be durable: an earlier run's last words. */
static void first_flushed(struct ask *a, enum lun_answer answer)
{
    if (answer != LUN_OK) {
        change_ends(a->guard, answer);
        return;
    }
    a->guard->flush_owed = false;
    write_block(a->guard);
}

static void write_next(struct guard *g)
{
    if (g->writing || list_empty(&g->changes))
        return;
    g->writing = true;
    if (g->flush_owed)
        ask_block(g, guard_ask_new(g, LUN_PR_FLUSH, 0, first_flushed, NULL));
    else
        write_block(g);
}

void guard_change_block(struct guard *g, const struct block_change *change)
{
    struct block_change *copy = malloc(sizeof *copy);

    ASSERT(copy);
    *copy = *change;
    copy->node = (struct list){NULL, NULL};
    if (!change->own) {
        list_push_back(&g->changes, &copy->node);
    } else {
        /* It lets the nexus in, which the others wait for. */
        if (g->writing && guard_ask_cancel(g->block_ask))
            g->writing = false;
        if (g->writing)
            list_insert_after(g->changes.next, &copy->node);
        else
            list_push_front(&g->changes, &copy->node);
    }
    write_next(g);
}

/* -- the superblock: copy, flush, copy, flush ------------------------------ */

struct super_write {
    struct guard *guard;
    uint64_t epoch;
    uint32_t ticket;
    unsigned copy;
    uint64_t at[FS_SUPER_COPIES];
    uint8_t block[FS_BLOCK_BYTES];
    super_fn *answered;
};

static void super_end(struct super_write *w, enum lun_answer answer)
{
    w->answered(w->guard, w->ticket, answer);
    free(w);
}

static void write_copy(struct super_write *w);

static void copy_flushed(struct ask *a, enum lun_answer answer)
{
    struct super_write *w = a->arg;

    if (answer == LUN_OK && ++w->copy < FS_SUPER_COPIES)
        write_copy(w);
    else
        super_end(w, answer);
}

static void copy_written(struct ask *a, enum lun_answer answer)
{
    struct super_write *w = a->arg;

    if (answer == LUN_OK)
        guard_ask(w->guard,
                  guard_ask_new(w->guard, LUN_PR_FLUSH, 0, copy_flushed, w));
    else
        super_end(w, answer);
}

static void write_copy(struct super_write *w)
{
    struct ask *a = guard_ask_bytes(w->guard, LUN_PR_WRITE, w->at[w->copy],
                                    FS_BLOCK_BYTES, copy_written, w);

    memcpy(a->bytes, w->block, FS_BLOCK_BYTES);
    guard_ask(w->guard, a);
}

/* All others are fenced: nobody else writes a copy from here on. */
static void super_before_read(struct super_read *r, enum lun_answer answer,
                              enum err e)
{
    struct super_write *w = r->arg;
    const void *copies[FS_SUPER_COPIES] = {r->bytes[0], r->bytes[1],
                                           r->bytes[2]};

    if (!e && answer == LUN_OK)
        e = fs_super_next(copies, w->guard->args.uuid, w->epoch, w->block,
                          &r->why);
    if (e)
        refuse(w->guard, &r->why, e);
    if (e || answer != LUN_OK) {
        super_end(w, e ? LUN_FAILED : answer);
        return;
    }
    fs_super_places(r->info.size_bytes, w->at);
    write_copy(w);
}

void guard_write_super(struct guard *g, uint64_t epoch, uint32_t ticket,
                       super_fn *answered)
{
    struct super_write *w = calloc(1, sizeof *w);

    ASSERT(w);
    w->guard = g;
    w->epoch = epoch;
    w->ticket = ticket;
    w->answered = answered;
    super_read(g, false, super_before_read, w);
}
