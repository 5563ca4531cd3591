/* tests/model/state.pml - what a host remembers while it runs.
 * Takes no step.  Names of states are those of lockmgr/nexus.h, fence.h and
 * takeover.h; tests/model/names.sh compares them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */

mtype:nexus = {NEXUS_DOWN, NEXUS_REGISTERING, NEXUS_READING, NEXUS_WRITING,
               NEXUS_OPEN, NEXUS_LOOKING, NEXUS_ASKING, NEXUS_FENCED};
mtype:fence = {FENCE_NEW, FENCE_LISTING, FENCE_PREEMPTING, FENCE_RECORDING};
mtype:handle = {HANDLE_NONE, HANDLE_ASKED, HANDLE_HELD, HANDLE_RELEASING};
/* In an order: from OPENING to CLOSING metadata is written. */
#define TAKEOVER_FOLLOW 0
#define TAKEOVER_CLAIM_WRITE 1
#define TAKEOVER_CLAIM_CHECK 2
#define TAKEOVER_LISTING 3
#define TAKEOVER_FENCING 4
#define TAKEOVER_SUPER 5
#define TAKEOVER_OPENING 6
#define TAKEOVER_REPORTING 7
#define TAKEOVER_STRANGERS 8
#define TAKEOVER_SERVING 9
#define TAKEOVER_HELD 10
#define TAKEOVER_CLOSING 11
#define TAKEOVER_RELEASING 12

mtype:nexus nx[HOSTS];
mtype:fence fn[HOSTS];
byte tk[HOSTS];
mtype:handle hs[HOSTS];

SET view[HOSTS];     /* who is in, as this host was last told */
byte passed[HOSTS];  /* nodes that gave up or resigned in this view */
SET missing[HOSTS];  /* condemned: to be fenced, once this host coordinates */
SET away[HOSTS];     /* … only for not being in the view */
SET recorded[HOSTS]; /* fences that are done, as this host knows */
byte victim[HOSTS];  /* whom it is fencing */
SET reported[HOSTS]; /* who reported to this coordinator */
byte epoch[HOSTS];   /* claimed by this host */

byte closed[HOSTS];      /* the client's epoch: it drops what is older */
byte coordinator[HOSTS]; /* whom it reported to */
byte held_generation[HOSTS];

/* A grant on its way to a host: of which epoch, which generation. */
byte grant_epoch[HOSTS], grant_generation[HOSTS];

/* Node blocks are read one after the other: what the first one said. */
bit has_read[HOSTS];
SET read_fencing[HOSTS], read_done[HOSTS];
byte read_inc[HOSTS], read_epoch[HOSTS];
bit read_held[HOSTS];
bit has_read_twice[HOSTS]; /* this is the second look at all of them */
