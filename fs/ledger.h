/* fs/ledger.h - what users were told is written and the coordinator does not
 * know yet, in memory that outlives the process (docs/holder.md).
 *
 *   write done on the LUN ──> entry ──> the user is told
 *   LAYOUTCOMMIT durable  ──> entry removed
 *
 * After a crash of the process alone, with the kernel and its users alive, the
 * next one commits what it finds here before it serves anybody.  A power cut
 * takes the ledger with it, as it takes any write that was not synced.
 *
 * An entry is filled in, then published by one store, so that it is there or
 * not.  Committing an entry again changes nothing, so it may stay too long; it
 * must be gone before its blocks can belong to something else, which is why
 * truncating and punching commit first.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_LEDGER_H
#define LUNAR_FS_LEDGER_H

#include "fs/fs.h"

enum { LEDGER_FILES = 16384, LEDGER_RANGES = 65536 };

/* The part of a ledger that concerns an open file; zero: none.  Kept by the
 * file, under its mutex.  Chains are of ranges; 0 ends them. */
struct ledger_file {
    uint32_t slot; /* 1 + index; 0: none yet */
    uint32_t first, last;
    uint32_t taken, taken_last; /* being committed */
    bool lacking; /* there was no room: commit before the next answer */
};

/* One file's entries, as its successor finds them. */
struct ledger_entry {
    fs_ino ino;
    uint64_t file_block, lun_block, count; /* count 0: no range */
    uint64_t size_bytes;                   /* 0: none */
    int64_t mtime_ns;                      /* 0: none */
};

/* Blocks of `ino` that were INVALID_DATA are written. */
void ledger_add(struct fs_ledger *l, struct ledger_file *f,
                const struct ledger_entry *entry);
/* The file has grown, was written; 0: not. */
void ledger_note(struct fs_ledger *l, struct ledger_file *f, fs_ino ino,
                 uint64_t size_bytes, int64_t mtime_ns);
/* What is there now is about to be committed, and was or was not. */
void ledger_take(struct fs_ledger *l, struct ledger_file *f);
void ledger_give_back(struct fs_ledger *l, struct ledger_file *f);
void ledger_committed(struct fs_ledger *l, struct ledger_file *f);
/* Size and time are these and nothing else. */
void ledger_settle(struct fs_ledger *l, struct ledger_file *f,
                   uint64_t size_bytes, int64_t mtime_ns);
/* Remove all that concerns the file. */
void ledger_drop(struct fs_ledger *l, struct ledger_file *f);

/* Everything that a predecessor left, by file and block.
 * Ownership: *ret_entries is the caller's, to be freed. */
MUST_CHECK enum err ledger_list(struct fs_ledger *l,
                                struct ledger_entry **ret_entries,
                                size_t *ret_count);
/* It was committed: begin with an empty one. */
void ledger_clear(struct fs_ledger *l);

#endif
