/* fs/super.h - the superblock and the node blocks: what a LUN says of itself
 * outside of the database.  docs/format.md has every field.
 * Knows no table and no operation.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_SUPER_H
#define LUNAR_FS_SUPER_H

#include "base/endian.h"
#include "fs/fs.h"
#include "lockmgr/lockmgr.h"

/* Where things are, in bytes from the start of the LUN. */
enum {
    SUPER_COPY_AT = 1 << 20, /* the second copy; the third ends the volume */
    NODE_BLOCKS_AT = FS_NODE_AREA_AT,
    CHUNK0_AT = 4 << 20
};

enum { SUPER_VERSION = 1, SUPER_COPIES = FS_SUPER_COPIES };

/* -- superblock ------------------------------------------------------------ */

enum chunk_kind { CHUNK_DB = 1, CHUNK_WAL = 2 };
enum { SUPER_CHUNKS_MAX = 239 };

struct super_disk_chunk {
    le64 lun_block;
    le32 blocks;
    le32 kind;
};

struct super_disk {
    char magic[8];
    le32 version;
    le32 block_bytes;
    le64 compat;    /* unknown bits: mount, they do not matter */
    le64 ro_compat; /* unknown bits: read only */
    le64 incompat;  /* unknown bits: refuse */
    uint8_t uuid[16];
    char name[64];
    char cluster[64];
    le64 size_blocks;
    le64 epoch;
    le64 sequence;
    le64 made_ns;
    le64 reserve_blocks;
    le32 physical_bytes;
    le32 chunk_count;
    uint8_t zero[24];
    struct super_disk_chunk chunks[SUPER_CHUNKS_MAX];
    uint8_t zero_too[12];
    le32 crc;
};
static_assert(sizeof(struct super_disk) == 4096, "one block");
static_assert(offsetof(struct super_disk, uuid) == 40, "docs/format.md");
static_assert(offsetof(struct super_disk, size_blocks) == 184, "format.md");
static_assert(offsetof(struct super_disk, chunks) == 256, "docs/format.md");
static_assert(offsetof(struct super_disk, crc) == 4092, "docs/format.md");

/* A run of blocks that metadata lives in; runs of one kind, in the order of
 * the table, are a file. */
struct chunk {
    uint64_t lun_block;
    uint32_t blocks;
    enum chunk_kind kind;
};

struct super {
    uint64_t compat, ro_compat, incompat;
    uint8_t uuid[16];
    char name[FS_VOLUME_NAME_MAX + 1];
    char cluster[FS_CLUSTER_NAME_MAX + 1];
    uint64_t size_blocks;
    uint64_t epoch, sequence; /* the copy with the highest pair counts */
    uint64_t made_ns;
    uint64_t reserve_blocks; /* kept back for metadata */
    uint32_t physical_bytes;
    uint32_t chunk_count;
    struct chunk chunks[SUPER_CHUNKS_MAX];
};

/* Which of the copies were good. */
struct super_copies {
    uint64_t at[SUPER_COPIES];  /* byte offset */
    bool valid[SUPER_COPIES];   /* decodes */
    bool current[SUPER_COPIES]; /* is the one that counts */
};

void super_encode(const struct super *super, struct super_disk *ret_disk);
/* Errors: E_NOT_VOLUME, E_CHECKSUM, E_VERSION, E_CORRUPT. */
MUST_CHECK enum err super_decode(const struct super_disk *disk,
                                 struct super *ret_super, struct diag *why);

/* Read the copies and take the highest valid one.  ret_copies may be NULL.
 * Errors: as fs_super_probe(). */
MUST_CHECK enum err super_load(struct store *lun, struct super *ret_super,
                               struct super_copies *ret_copies,
                               struct diag *why);
/* Count up the sequence and write copy by copy, a flush after each. */
MUST_CHECK enum err super_save(struct store *lun, struct super *super,
                               struct diag *why);

/* Make a range read as zeros, whether or not the LUN can by itself. */
MUST_CHECK enum err lun_zero(struct store *lun, uint64_t off_bytes,
                             uint64_t len_bytes);

void super_info(const struct super *super, struct fs_super_info *ret_info);

/* Blocks of all chunks of a kind. */
uint64_t super_chunk_blocks(const struct super *super, enum chunk_kind kind);

/* -- node blocks ----------------------------------------------------------- */

struct node_disk_fencing {
    le32 node;
    le16 turn;
    le16 state;
    le64 incarnation;
};
static_assert(sizeof(struct node_disk_fencing) == 16, "docs/format.md");

struct node_disk {
    char magic[8];
    le32 version;
    le32 node;
    uint8_t uuid[16];
    char host[64];
    le64 incarnation;
    le64 reservation_key;
    le64 epoch;
    le32 claim;
    le32 fencing_count;
    struct node_disk_fencing fencing[FS_NODES_MAX];
    le64 sequence;
    uint8_t zero[2932];
    le32 crc;
};
static_assert(sizeof(struct node_disk) == 4096, "one block");
static_assert(offsetof(struct node_disk, epoch) == 112, "docs/format.md");
static_assert(offsetof(struct node_disk, fencing) == 128, "docs/format.md");
static_assert(offsetof(struct node_disk, sequence) == 1152, "docs/format.md");
static_assert(offsetof(struct node_disk, crc) == 4092, "docs/format.md");

/* lockmgr/node_block.h says what it means. */
static_assert((int)FS_NODES_MAX == (int)LM_NODES_MAX, "one block each");
static_assert((int)FS_HOST_NAME_MAX == (int)LM_HOST_NAME_MAX, "one name");

/* Two copies of each, written in turn: sequence tells which, and which of two
 * counts.  A volume of before has first copies only, of sequence 0. */
enum { NODE_COPIES = FS_NODE_COPIES };
struct node_area {
    struct node_disk block[NODE_COPIES][FS_NODES_MAX]; /* [][node - 1] */
};
static_assert(sizeof(struct node_area) == FS_NODE_AREA_BYTES, "one read");

/* Where the copy of this sequence is, in bytes from the start of the LUN. */
uint64_t node_copy_at(uint32_t node, uint64_t sequence);

void node_encode(const struct node_block *node, const uint8_t uuid[16],
                 uint64_t sequence, struct node_disk *ret_disk);
/* An all-zero block decodes to node 0, sequence 0.
 * Errors: E_CORRUPT, E_CHECKSUM; E_NOT_VOLUME for another volume's block. */
MUST_CHECK enum err node_decode(const struct node_disk *disk,
                                const uint8_t uuid[16],
                                struct node_block *ret_node,
                                uint64_t *ret_sequence, struct diag *why);

/* The copy that counts of one node; none was ever written: node 0.  ret_torn
 * (bit per copy): which are no node block of this volume at their place.
 * Errors: as node_decode(), if none is. */
MUST_CHECK enum err node_area_get(const struct node_area *area,
                                  const uint8_t uuid[16], uint32_t node,
                                  struct node_block *ret_node,
                                  uint64_t *ret_sequence, uint32_t *ret_torn,
                                  struct diag *why);

/* A claim by another host that is not marked released is in the way, unless
 * `sole`: the caller keeps all others from the LUN.  One of this host (node and
 * name) is a run of it that ended: the caller keeps a second one out. */
struct claim_args {
    uint32_t node;
    const char *host;
    uint64_t incarnation;
    bool sole;
};
/* I4: take epoch = highest claim + 1 into our node block, flush, and read all
 * again.  Updates super->epoch, which the caller then saves.
 * Errors: E_LUN_BUSY (names the host), E_CORRUPT, or the LUN's. */
MUST_CHECK enum err claim_take(struct store *lun, struct super *super,
                               const struct claim_args *args, struct diag *why);
MUST_CHECK enum err claim_release(struct store *lun, const struct super *super,
                                  const struct claim_args *args,
                                  struct diag *why);

#endif
