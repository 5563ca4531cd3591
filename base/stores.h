/* base/stores.h - stores that need nothing but memory, and decorators.
 * Stacked on any store: in tests, in the simulator, and for tracing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_STORES_H
#define LUNAR_BASE_STORES_H

#include "base/store.h"

/* -- memory: sparse, zero-filled, grows by RESIZE.  Shared between threads
 * under a lock; done runs from the submitter's loop. ---------------------- */
struct store_mem_args {
    uint64_t size_bytes;
    uint32_t block_bytes;    /* 0: 512 */
    uint32_t physical_bytes; /* 0: block_bytes */
};
MUST_CHECK enum err store_mem_new(const struct store_mem_args *args,
                                  struct store **ret_store);
/* The bytes as they are now, for tests: copies, holes are zeros. */
void store_mem_peek(struct store *s, uint64_t off_bytes, void *buf,
                    size_t len_bytes);
void store_mem_poke(struct store *s, uint64_t off_bytes, const void *buf,
                    size_t len_bytes);

/* -- fault: the nth matching operation, and optionally all later ones, fail */
struct store_fault_args {
    uint32_t ops;      /* mask of 1 << enum store_op */
    uint64_t nth;      /* 1 = the next one; 0 = never */
    bool sticky;       /* all after it fail too: the LUN is gone */
    bool after_effect; /* carry it out below, then report the error */
    enum err result;
};
MUST_CHECK enum err store_fault_new(struct store *below,
                                    struct store **ret_store);
void store_fault_arm(struct store *s, const struct store_fault_args *args);
/* Operations seen since it was armed, matching the mask. */
uint64_t store_fault_count(struct store *s);

/* -- delay: completions come `delay_ms` later (loop's clock) --------------- */
MUST_CHECK enum err store_delay_new(struct store *below, uint64_t delay_ms,
                                    struct store **ret_store);
void store_delay_set(struct store *s, uint64_t delay_ms);

/* -- write recorder: keeps every WRITE, WRITE_ZEROES, DISCARD, RESIZE with its
 * data, and every FLUSH, in order of completion; a crash test replays any
 * legal subset onto a copy of the image as it was at the start.  Claims to be
 * STORE_VOLATILE, so that its users flush. */
struct store_record_entry {
    enum store_op op;
    uint32_t flags;
    uint64_t off_bytes, len_bytes;
    const uint8_t *data; /* WRITE; owned by the recorder */
    /* Positions in one common order of events: an entry is durable if it has
     * STORE_FUA, or a FLUSH with a later submit_seq than its done_seq. */
    uint64_t submit_seq, done_seq;
};
MUST_CHECK enum err store_record_new(struct store *below,
                                     struct store **ret_store);
size_t store_record_count(struct store *s);
const struct store_record_entry *store_record_at(struct store *s, size_t i);
/* Carry out entry i on another store (a torn write: only its first
 * `torn_bytes`, 0 = whole).  Context: as the blocking forms of store.h. */
MUST_CHECK enum err store_record_replay(struct store *s, size_t i,
                                        struct store *onto,
                                        uint64_t torn_bytes);

#endif
