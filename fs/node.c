/* fs/node.c - node blocks, and the claim of an epoch that is made in them.
 * Says who holds a claim; fencing the others is the caller's.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/super.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

static const char node_magic[8] = {'L', 'U', 'N', 'A', 'R', 'N', 'O', 'D'};
enum { NODE_VERSION = 1 };

static uint32_t block_crc(const void *block)
{
    return (uint32_t)crc32(0, block, FS_BLOCK_BYTES - sizeof(le32));
}

static bool is_zero(const void *p, size_t len_bytes)
{
    const uint8_t *b = p;

    return b[0] == 0 && memcmp(b, b + 1, len_bytes - 1) == 0;
}

static void encode_fencing(const struct node_block *node, struct node_disk *d)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < FS_NODES_MAX; i++) {
        const struct node_fencing *f = &node->fencing[i];

        if (!f->run.node)
            continue;
        d->fencing[count].node = le32_make(f->run.node);
        d->fencing[count].turn = le16_make((uint16_t)f->turn);
        d->fencing[count].state = le16_make((uint16_t)f->state);
        d->fencing[count].incarnation = le64_make(f->run.incarnation);
        count++;
    }
    d->fencing_count = le32_make(count);
}

/* At most one for a node: of two it would be unclear which one counts. */
static enum err decode_fencing(const struct node_disk *d, struct node_block *n,
                               struct diag *why)
{
    uint32_t count = le32_get(d->fencing_count);

    if (count > FS_NODES_MAX)
        return diag_fail(why, E_CORRUPT, "%u nodes being fenced", count);
    for (uint32_t i = 0; i < count; i++) {
        struct node_fencing f = {
            .run.node = le32_get(d->fencing[i].node),
            .run.incarnation = le64_get(d->fencing[i].incarnation),
            .turn = le16_get(d->fencing[i].turn),
            .state = (enum fencing_state)le16_get(d->fencing[i].state),
        };

        if (f.run.node < 1 || f.run.node > FS_NODES_MAX ||
            f.run.incarnation == 0 || f.turn > LM_TURN_ALL ||
            f.state > FENCING_DEAD || n->fencing[f.run.node - 1].run.node)
            return diag_fail(why, E_CORRUPT,
                             "fencing entry %u: node %u, incarnation %" PRIu64
                             ", turn %u, state %d",
                             i, f.run.node, f.run.incarnation, f.turn,
                             (int)f.state);
        n->fencing[f.run.node - 1] = f;
    }
    return E_OK;
}

void node_encode(const struct node_block *node, const uint8_t uuid[16],
                 uint64_t sequence, struct node_disk *ret_disk)
{
    struct node_disk *d = ret_disk;

    memset(d, 0, sizeof *d);
    memcpy(d->magic, node_magic, sizeof d->magic);
    d->version = le32_make(NODE_VERSION);
    d->node = le32_make(node->node);
    memcpy(d->uuid, uuid, sizeof d->uuid);
    memcpy(d->host, node->host, sizeof node->host);
    d->incarnation = le64_make(node->incarnation);
    d->reservation_key = le64_make(node->reservation_key);
    d->epoch = le64_make(node->epoch);
    d->claim = le32_make(node->claim);
    encode_fencing(node, d);
    d->sequence = le64_make(sequence);
    d->crc = le32_make(block_crc(d));
}

enum err node_decode(const struct node_disk *disk, const uint8_t uuid[16],
                     struct node_block *ret_node, uint64_t *ret_sequence,
                     struct diag *why)
{
    struct node_block n = {0};
    enum err e;

    if (is_zero(disk, sizeof *disk)) {
        *ret_node = n;
        *ret_sequence = 0;
        return E_OK;
    }
    if (memcmp(disk->magic, node_magic, sizeof disk->magic) != 0)
        return diag_fail(why, E_CORRUPT, "not a node block");
    if (le32_get(disk->crc) != block_crc(disk))
        return diag_fail(why, E_CHECKSUM,
                         "checksum 0x%08x, but 0x%08x computed",
                         le32_get(disk->crc), block_crc(disk));
    if (memcmp(disk->uuid, uuid, 16) != 0)
        return diag_fail(why, E_NOT_VOLUME, "belongs to another volume");
    if (le32_get(disk->version) != NODE_VERSION)
        return diag_fail(why, E_VERSION, "node block version %u",
                         le32_get(disk->version));
    n.node = le32_get(disk->node);
    memcpy(n.host, disk->host, FS_HOST_NAME_MAX);
    n.incarnation = le64_get(disk->incarnation);
    n.reservation_key = le64_get(disk->reservation_key);
    n.epoch = le64_get(disk->epoch);
    n.claim = (enum claim)le32_get(disk->claim);
    if (n.node < 1 || n.node > FS_NODES_MAX || n.claim > CLAIM_RELEASED)
        return diag_fail(why, E_CORRUPT, "node %u, claim state %d", n.node,
                         (int)n.claim);
    e = decode_fencing(disk, &n, why);
    if (e)
        return e;
    *ret_node = n;
    *ret_sequence = le64_get(disk->sequence);
    return E_OK;
}

/* -- the two copies -------------------------------------------------------- */

uint64_t node_copy_at(uint32_t node, uint64_t sequence)
{
    uint64_t copy = sequence % NODE_COPIES;

    return NODE_BLOCKS_AT + (copy * FS_NODES_MAX + node - 1) * FS_BLOCK_BYTES;
}

/* One copy, where it should be. */
static enum err decode_copy(const struct node_area *area,
                            const uint8_t uuid[16], uint32_t node,
                            uint32_t copy, struct node_block *ret_node,
                            uint64_t *ret_sequence, struct diag *why)
{
    enum err e = node_decode(&area->block[copy][node - 1], uuid, ret_node,
                             ret_sequence, why);

    if (!e && ret_node->node &&
        (ret_node->node != node || *ret_sequence % NODE_COPIES != copy))
        return diag_fail(why, E_CORRUPT,
                         "node %u, sequence %" PRIu64 ": not of this place",
                         ret_node->node, *ret_sequence);
    return e;
}

enum err node_area_get(const struct node_area *area, const uint8_t uuid[16],
                       uint32_t node, struct node_block *ret_node,
                       uint64_t *ret_sequence, uint32_t *ret_torn,
                       struct diag *why)
{
    struct node_block n;
    uint64_t sequence;
    enum err worst = E_OK;

    *ret_node = (struct node_block){0};
    *ret_sequence = 0;
    *ret_torn = 0;
    for (uint32_t copy = 0; copy < NODE_COPIES; copy++) {
        enum err e = decode_copy(area, uuid, node, copy, &n, &sequence, why);

        if (e) {
            worst = e;
            *ret_torn |= 1U << copy;
        } else if (n.node && (!ret_node->node || sequence > *ret_sequence)) {
            *ret_node = n;
            *ret_sequence = sequence;
        }
    }
    /* The second copy is written first: what it tore is not missed. */
    return ret_node->node || *ret_torn == 2 ? E_OK : worst;
}

enum err fs_nodes_decode(const void *area, const uint8_t uuid[16],
                         struct node_blocks *ret_blocks,
                         struct fs_node_copies *ret_copies, struct diag *why)
{
    enum err first = E_OK;

    *ret_copies = (struct fs_node_copies){0};
    for (uint32_t i = 0; i < FS_NODES_MAX; i++) {
        struct diag inner = {{0}};
        uint32_t torn;
        enum err e = node_area_get(area, uuid, i + 1, &ret_blocks->node[i],
                                   &ret_copies->sequence[i], &torn, &inner);

        if (torn)
            ret_copies->torn |= UINT64_C(1) << i;
        if (e && !first)
            first = diag_fail(why, e, "node block %u: %s", i + 1, inner.text);
    }
    return first;
}

uint64_t fs_node_encode(const struct node_block *own, const uint8_t uuid[16],
                        uint64_t sequence, void *ret_block)
{
    node_encode(own, uuid, sequence, ret_block);
    return node_copy_at(own->node, sequence);
}

/* -- claims of one host alone (I4) ----------------------------------------- */

static enum err read_area(struct store *lun, struct node_area **ret_area)
{
    AUTO(freep) struct node_area *area = calloc(1, sizeof *area);
    enum err e;

    if (!area)
        return E_NOMEM;
    e = store_read_sync(lun, NODE_BLOCKS_AT, area, sizeof *area);
    if (!e)
        *ret_area = TAKE(area);
    return e;
}

/* A claim of this host: its own run, or one that crashed. Incarnations are
 * each host's own count, so they tell no hosts apart. */
static bool is_ours(const struct node_block *n, const struct claim_args *args)
{
    return n->node == args->node &&
           strcmp(n->host, args->host ? args->host : "") == 0;
}

/* Look at every claim: the highest epoch of other slots, that of ours, and
 * whose claim is in the way. */
static enum err scan_claims(struct store *lun, const struct super *super,
                            const struct claim_args *args, uint64_t *ret_others,
                            uint64_t *ret_own, struct diag *why)
{
    AUTO(freep) struct node_area *area = NULL;
    struct node_block n;
    uint64_t sequence;
    uint32_t torn;
    enum err e = read_area(lun, &area);

    *ret_others = *ret_own = 0;
    if (e)
        return diag_fail(why, e, "node blocks: %s", err_text(e));
    for (uint32_t i = 0; i < FS_NODES_MAX; i++) {
        e = node_area_get(area, super->uuid, i + 1, &n, &sequence, &torn, why);
        if (e && (args->sole || i + 1 == args->node))
            continue; /* damaged; nobody is there */
        if (e)
            return diag_prefix(why, e, "node block %u", i + 1);
        if (i + 1 == args->node)
            *ret_own = n.epoch;
        else
            *ret_others = max_u64(*ret_others, n.epoch);
        if (n.claim != CLAIM_HELD || args->sole || is_ours(&n, args))
            continue;
        return diag_fail(
            why, E_LUN_BUSY,
            "host \"%s\" (node %u) coordinates volume \"%s\": "
            "stop it there first (or, if it is gone for good, give "
            "this host its name)",
            n.host, n.node, super->name);
    }
    return E_OK;
}

/* What this slot says of whom it fences stays true; of two damaged copies
 * nothing is left.  What was read is made durable: its other copy is to be
 * written over. */
static enum err load_own(struct store *lun, const struct super *super,
                         uint32_t node, struct node_block *ret_own,
                         uint64_t *ret_sequence)
{
    AUTO(freep) struct node_area *area = NULL;
    struct diag damage;
    uint32_t torn;
    enum err e = read_area(lun, &area);

    if (e)
        return e;
    (void)!node_area_get(area, super->uuid, node, ret_own, ret_sequence, &torn,
                         &damage);
    return store_flush_sync(lun);
}

static enum err write_claim(struct store *lun, const struct super *super,
                            const struct claim_args *args, enum claim claim,
                            struct diag *why)
{
    struct node_block n = {0};
    struct node_disk disk;
    uint64_t sequence = 0;
    enum err e = load_own(lun, super, args->node, &n, &sequence);

    n.node = args->node;
    n.incarnation = args->incarnation;
    node_block_claim(&n, claim, super->epoch);
    snprintf(n.host, sizeof n.host, "%s", args->host ? args->host : "");
    node_encode(&n, super->uuid, ++sequence, &disk);
    if (!e)
        e = store_write_sync(lun, node_copy_at(args->node, sequence), &disk,
                             sizeof disk);
    if (!e)
        e = store_flush_sync(lun);
    if (e)
        return diag_fail(why, e, "node block %u: %s", args->node, err_text(e));
    return E_OK;
}

enum err claim_take(struct store *lun, struct super *super,
                    const struct claim_args *args, struct diag *why)
{
    uint64_t others, own;
    enum err e;

    if (args->node < 1 || args->node > FS_NODES_MAX)
        return diag_fail(why, E_INVAL, "node number %u is not in 1 … %d",
                         args->node, FS_NODES_MAX);
    e = scan_claims(lun, super, args, &others, &own, why);
    if (e)
        return e;
    super->epoch = max_u64(super->epoch, max_u64(others, own)) + 1;
    e = write_claim(lun, super, args, CLAIM_HELD, why);
    if (!e)
        e = scan_claims(lun, super, args, &others, &own, why);
    if (e)
        return e;
    /* Another that took this epoch may have released it by now (I4). */
    if (own != super->epoch || others >= super->epoch)
        return diag_fail(why, E_LUN_BUSY,
                         "another host claims volume \"%s\" at this moment: "
                         "try again",
                         super->name);
    return E_OK;
}

enum err claim_release(struct store *lun, const struct super *super,
                       const struct claim_args *args, struct diag *why)
{
    return write_claim(lun, super, args, CLAIM_RELEASED, why);
}
