/* lunard/seat.h - a volume of the cluster, as this host has it: a link to
 * whoever coordinates, always; a guard while its LUN is open here; and the
 * coordinator itself while that is here.
 * Knows no mount and no list of volumes.
 *
 *   guard ── open, close, hold, follow, release ──> seat ── jobs ──> cold
 *                                                             threads: fs_coord
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_SEAT_H
#define LUNAR_LUNARD_SEAT_H

#include "lunard/cluster.h"
#include "lunard/guard.h"

/* -- on cold threads: these block ------------------------------------------ */

/* Open the LUN and have it guarded; all I/O on it waits until that is let in.
 * Errors: lun_open()'s; E_BUSY - it is open. */
MUST_CHECK enum err seat_open(struct seat *s, const char *url,
                              struct loop *const *loops, unsigned loop_count,
                              struct diag *why);
/* Hand the volume over, if it is coordinated here, and close the LUN.  No
 * client uses it any more.  Nothing was opened: fine. */
void seat_close(struct seat *s);
/* While it is open. */
struct lun *seat_lun(struct seat *s);
/* As long as the cluster is there. */
struct fs_link *seat_link(struct seat *s);

/* Whoever uses link and LUN, to be told what he may cache; NULL: nobody. */
void seat_set_client(struct seat *s, struct fs_client *client);

/* Hand over to node `to`.  Errors: E_NOENT - not coordinated here: why says
 * where; E_TIMEOUT. */
MUST_CHECK enum err seat_move(struct seat *s, uint32_t to, struct diag *why);

/* Use the coordinator, if it is here; NULL: it is elsewhere, as why says.
 * Until seat_put_coord() it is not closed. */
struct fs_coord *seat_get_coord(struct seat *s, struct diag *why);
void seat_put_coord(struct seat *s);

/* While it is open: is it coordinated here?  And is there another host that
 * could do so instead? */
bool seat_is_here(struct seat *s, bool *ret_others);
/* Whoever coordinates it, as far as is known, also where the LUN is not open
 * here; 0: nobody. */
uint32_t seat_coordinator(struct seat *s);

/* How this host has it, while it is open: Direct, Redirected or Paused. */
struct seat_state {
    enum volume_state state;
    uint64_t since_s; /* wall clock; 0: not known yet */
    char reason[160]; /* "": none */
};

/* What `lunar status` tells. */
struct seat_info {
    struct seat_state state;
    char coordinator[MEMBER_NAME_BYTES]; /* "": nobody, or not known */
    uint64_t epoch;
    bool open, direct; /* the LUN is open; I/O runs */
    char trouble[256]; /* "" if all is well */
};
void seat_info(struct seat *s, struct seat_info *ret_info);

/* -- on the loop: for cluster*.c ------------------------------------------- */

struct seat *seat_new(struct cluster *c, const uint8_t uuid[16]);
void seat_free(struct seat *s); /* it is closed */
const uint8_t *seat_uuid(const struct seat *s);
struct guard *seat_guard(struct seat *s); /* NULL: the LUN is not open */
/* A guard's message; answers itself where there is no guard: this host has
 * nothing of that volume. */
void seat_hear(struct seat *s, struct lm_run from,
               const struct guard_message *m);

#endif
