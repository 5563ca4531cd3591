/* tests/model/lun.pml - what is on the LUN, as its target sees it.
 * Knows no host's plans.
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#define HOSTS 3
#define NOBODY 255

/* A run of a host is a number, and a bit in sets: the i-th run of host n,
 * i = 1 … INCS. */
#define ID(n, i) ((n) * INCS + (i) - 1)
#define NODE(id) ((id) / INCS)
#define BIT(id) (1 << (id))
#define HAS(set, id) (((set) >> (id)) & 1)
#define ME(n) ID(n, inc[n])
#define NODE_BITS(n) (((1 << INCS) - 1) << ((n) * INCS))
/* A fence of a run covers the runs before it. */
#define COVERED(id) ((2 * BIT(id) - 1) & NODE_BITS(NODE(id)))
#if HOSTS * INCS <= 8
#define SET byte
#else
#define SET short
#endif

byte inc[HOSTS]; /* the host's present run */

/* -- the target ------------------------------------------------------------ */

SET keys;         /* READ KEYS: a key names a run */
bit nexus[HOSTS]; /* the nexus of the present run is registered */

/* Node blocks, each written by its node only. */
byte block_inc[HOSTS];
byte block_epoch[HOSTS];
bit block_held[HOSTS];    /* CLAIM_HELD */
SET block_fencing[HOSTS]; /* FENCING_NAMED and beyond */
SET block_done[HOSTS];    /* FENCING_DONE */

byte super_epoch;

/* In the metadata database: the one handle, in EX. */
byte owner = NOBODY;
byte generation;

/* In flight when a run died; LOGICAL UNIT RESET and PREEMPT AND ABORT end it.
 * (A command of a live host is a step that it has not taken yet.) */
SET late_metadata, late_data;

#define DONE (block_done[0] | block_done[1] | block_done[2])
