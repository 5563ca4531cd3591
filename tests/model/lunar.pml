/* tests/model/lunar.pml - three hosts, a LUN, and what may befall them.
 * The rules are in host.pml, the promises in promises.pml.  docs/model.md
 * explains; tests/model/run.sh chooses how much may happen.
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#ifndef INCS
#define INCS 1 /* runs of each host */
#endif
#ifndef CUTS
#define CUTS 0 /* times that a host's view loses a member that lives */
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef LOSSES
#define LOSSES 0 /* of a nexus */
#endif
#ifndef MOVES
#define MOVES 0 /* planned, of the coordinator */
#endif
#ifndef GRANTS
#define GRANTS 0 /* generations of the handle */
#endif

#include "lun.pml"
#include "state.pml"
#include "promises.pml"
#include "host.pml"

byte cuts, crashes, losses, moves;

/* -- views change at any moment, and not for all at once ------------------- */

/* Who has given up in its view does not try in it again; mine may be older. */
#define GAVE_UP(m) (HAS(passed[m], m) << (m))
#define STILL_PASSED(n) \
    (passed[n] & ~(1 << n) & (GAVE_UP(0) | GAVE_UP(1) | GAVE_UP(2)))

/* Whoever left while I coordinate is fenced before I grant again (I14). */
inline lose(n, id)
{
    printf("host %d: run %d has left my view\n", n, id);
    view[n] = view[n] & ~BIT(id);
    away[n] = away[n] | (BIT(id) & ~missing[n] & ~recorded[n]);
    missing[n] = missing[n] | (BIT(id) & ~recorded[n]);
    reported[n] = reported[n] & ~BIT(id);
    passed[n] = STILL_PASSED(n);
    if
    :: tk[n] == TAKEOVER_SERVING -> tk[n] = TAKEOVER_HELD
    :: tk[n] != TAKEOVER_FOLLOW && tk[n] < TAKEOVER_SERVING && !QUORATE(n) ->
        give_up(n)
    :: else
    fi
}

#define LIVES(m) (nx[m] != NEXUS_DOWN && nx[m] != NEXUS_FENCED)

#define LEAVES(n, m) \
    :: n != m && SEES(n, m) && !(SEES_RUN(n, m) && LIVES(m)) -> \
        last_of(view[n] & NODE_BITS(m), gone); lose(n, gone); gone = 0 \
    :: n != m && SEES_RUN(n, m) && LIVES(m) && cuts < CUTS -> \
        cuts++; lose(n, ME(m))

#define MEET(n, m) \
    :: LIVES(n) && LIVES(m) && \
        (!SEES(n, m) || !SEES(m, n)) -> \
        printf("hosts %d and %d see each other\n", n, m); \
        join(n, m); join(m, n)

inline join(n, m)
{
    if
    :: !SEES(n, m) ->
        view[n] = view[n] | BIT(ME(m));
        /* condemned only for having left: pardoned */
        missing[n] = (HAS(away[n], ME(m)) && QUORATE(n) ->
            missing[n] & ~BIT(ME(m)) : missing[n]);
        passed[n] = STILL_PASSED(n);
        tk[n] = (tk[n] == TAKEOVER_STRANGERS -> TAKEOVER_REPORTING : tk[n])
    :: else
    fi
}

/* -- hosts die and return, sessions break, an admin moves a volume --------- */

/* What is in flight may still be executed. */
inline break_nexus(n)
{
    late_metadata = late_metadata | (WRITES_METADATA(n) -> BIT(ME(n)) : 0);
    late_data = late_data | (WRITES_DATA(n) -> BIT(ME(n)) : 0);
    nexus[n] = 0
}

inline die(n)
{
    break_nexus(n);
    nx[n] = NEXUS_DOWN;
    forget_all(n)
}

inline crash(n)
{
    printf("host %d: dies\n", n);
    crashes++;
    die(n)
}

/* A new run.  Opening the LUN ends what the old one had in flight (I13). */
inline restart(n)
{
    die(n);
    late_metadata = late_metadata & ~NODE_BITS(n);
    late_data = late_data & ~NODE_BITS(n);
    inc[n]++;
    view[n] = BIT(ME(n));
    printf("host %d: comes back, run %d\n", n, ME(n));
    nx[n] = NEXUS_REGISTERING
}

#define BEFALLS(n) \
    :: crashes < CRASHES && nx[n] != NEXUS_DOWN -> \
        crash(n) \
    :: (nx[n] == NEXUS_DOWN || nx[n] == NEXUS_FENCED) && \
        inc[n] < INCS -> restart(n) \
    :: losses < LOSSES && nexus[n] -> \
        printf("host %d: its nexus is lost\n", n); \
        losses++; break_nexus(n) \
    :: moves < MOVES && tk[n] == TAKEOVER_SERVING -> \
        moves++; move(n)

inline move(n)
{
    printf("host %d: is told to hand over\n", n);
#ifdef BREAK_CLOSE
    tk[n] = TAKEOVER_RELEASING
#else
    tk[n] = TAKEOVER_CLOSING
#endif
}

/* -- nobody takes a step any more: is all well? ---------------------------- */

#define AGREES(n, m) \
    (!SEES(n, m) || \
     (SEES_RUN(n, m) && nx[m] == NEXUS_OPEN && view[m] == view[n]))
#define SETTLED(n) \
    (nx[n] == NEXUS_OPEN && QUORATE(n) && AGREES(n, 0) && AGREES(n, 1) && \
     AGREES(n, 2))
#define FOLLOWS(n, m, c) (!SEES(n, m) || coordinator[m] == ME(c))
#define ASKS(n, m) (SEES(n, m) && hs[m] == HANDLE_ASKED)
#define SERVED_BY(n, c) \
    (SEES_RUN(n, c) && tk[c] == TAKEOVER_SERVING && \
     FOLLOWS(n, 0, c) && FOLLOWS(n, 1, c) && FOLLOWS(n, 2, c) && \
     (owner != NOBODY && HAS(view[n], owner) || \
      owner == NOBODY && !ASKS(n, 0) && !ASKS(n, 1) && !ASKS(n, 2)))
#define SERVED(n) \
    (!SETTLED(n) || SERVED_BY(n, 0) || SERVED_BY(n, 1) || SERVED_BY(n, 2))

#ifdef SETTLES
bit quiet; /* nothing more befalls them */
#endif
#ifdef PROGRESS
#define ALL_SERVED (SERVED(0) && SERVED(1) && SERVED(2))
never { /* from when on it is quiet, not all are ever served */
search:
    do
    :: true
    :: quiet && !ALL_SERVED -> goto accept_never
    od;
accept_never:
    do
    :: !ALL_SERVED
    od
}
#endif

active proctype World()
{
    byte gone;

    atomic {
        inc[0] = 1; inc[1] = 1; inc[2] = 1;
        block_inc[0] = 1; block_inc[1] = 1; block_inc[2] = 1;
        keys = BIT(ID(0, 1)) | BIT(ID(1, 1)) | BIT(ID(2, 1));
        nexus[0] = 1; nexus[1] = 1; nexus[2] = 1;
        view[0] = keys; view[1] = keys; view[2] = keys;
        nx[0] = NEXUS_OPEN; nx[1] = NEXUS_OPEN; nx[2] = NEXUS_OPEN;
        fn[0] = FENCE_NEW; fn[1] = FENCE_NEW; fn[2] = FENCE_NEW;
        hs[0] = HANDLE_NONE; hs[1] = HANDLE_NONE; hs[2] = HANDLE_NONE;
        /* host 2 coordinates: the two that others elect may contend */
        block_epoch[2] = 1; block_held[2] = 1; super_epoch = 1;
        epoch[2] = 1; tk[2] = TAKEOVER_SERVING; writer = ID(2, 1);
        reported[2] = keys;
        closed[0] = 1; closed[1] = 1; closed[2] = 1;
        coordinator[0] = ID(2, 1);
        coordinator[1] = ID(2, 1);
        coordinator[2] = ID(2, 1);
        run Host(0); run Host(1); run Host(2)
    }
end:
    do
    :: atomic {
    if
    BEFALLS(0)
    BEFALLS(1)
    BEFALLS(2)
    LEAVES(0, 1)
    LEAVES(0, 2)
    LEAVES(1, 0)
    LEAVES(1, 2)
    LEAVES(2, 0)
    LEAVES(2, 1)
    MEET(0, 1)
    MEET(0, 2)
    MEET(1, 2)
    fi;
    check()
    }
#ifdef SETTLES
    :: quiet = 1; break
#endif
    od;
    timeout -> assert(SERVED(0) && SERVED(1) && SERVED(2))
}
