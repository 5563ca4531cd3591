/* tests/model/host.pml - what a host does: nexus, fence, takeover, handle.
 * Each option of Host() is one step, with one command at the target or none.
 * A host that is paused is a host that takes no step.  -DBREAK_… breaks one
 * rule: the model must then fail (docs/model.md has the table).
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* -- what a host knows ----------------------------------------------------- */

/* Does the view of n have a run of m, and is it the present one? */
#define SEES(n, m) ((view[n] & NODE_BITS(m)) != 0)
#define SEES_RUN(n, m) HAS(view[n], ME(m))
#define QUORATE(n) (SEES(n, 0) + SEES(n, 1) + SEES(n, 2) >= 2)
/* Who tries: the lowest node that has not given up. */
#define IS_BEFORE(n, m) (m < n && SEES(n, m) && !HAS(passed[n], m))
#define IS_FIRST(n) \
    (!HAS(passed[n], n) && !IS_BEFORE(n, 0) && !IS_BEFORE(n, 1))
/* Runs whose messages are heeded. */
#define LIVE(n) (view[n] & ~missing[n] & ~recorded[n])
#define HAS_COORDINATOR(n) \
    (coordinator[n] != NOBODY && HAS(LIVE(n), coordinator[n]))
/* Nobody claims beside a claim that a live run holds and has not resigned: a
 * host that has just come waits for that run to announce itself. */
#define IS_FREE(n, m) \
    (m == n || !block_held[m] || HAS(passed[n], m) || \
     !HAS(LIVE(n) & ~DONE, ID(m, block_inc[m])))
#define IS_ELECTED(n) \
    (QUORATE(n) && !HAS_COORDINATOR(n) && IS_FIRST(n) && \
     IS_FREE(n, 0) && IS_FREE(n, 1) && IS_FREE(n, 2))

/* The latest run in a set; a fence of it covers those of its node before. */
inline last_of(set, ret_id)
{
    ret_id = HOSTS * INCS - 1;
    do
    :: HAS(set, ret_id) -> break
    :: else -> ret_id--
    od
}

/* -- all node blocks, one after the other ---------------------------------- */

#define FIRST_OTHER(n) (n == 0)
#define SECOND_OTHER(n) (2 - (n == 2))

SET fenced_now, done_now, void_now; /* within a step only */

inline read_first(n)
{
    read_fencing[n] = block_fencing[FIRST_OTHER(n)];
    read_done[n] = block_done[FIRST_OTHER(n)];
    read_inc[n] = block_inc[FIRST_OTHER(n)];
    read_epoch[n] = block_epoch[FIRST_OTHER(n)];
    read_held[n] = block_held[FIRST_OTHER(n)]
}

/* What a run whose fence is done has named, and not done, is void: the fence
 * did not come to its end, and never will. */
inline read_valid(author, named)
{
    if
    :: HAS(done_now, author) -> void_now = void_now | named
    :: else -> fenced_now = fenced_now | named
    fi
}

inline read_second(n)
{
    done_now = read_done[n] | block_done[SECOND_OTHER(n)] | block_done[n];
    fenced_now = done_now;
    void_now = 0;
    read_valid(ID(FIRST_OTHER(n), read_inc[n]), read_fencing[n]);
    read_valid(ID(SECOND_OTHER(n), block_inc[SECOND_OTHER(n)]),
               block_fencing[SECOND_OTHER(n)]);
    read_valid(ID(n, block_inc[n]), block_fencing[n]);
    void_now = void_now & ~fenced_now
}

#ifdef SPLIT_READS
#define IS_READ(n) has_read[n]
#else
#define IS_READ(n) 1 /* all in one step */
#endif

inline finish_read(n)
{
    if
    :: !has_read[n] -> read_first(n)
    :: else
    fi
}

inline forget_read(n)
{
    has_read[n] = 0;
    read_fencing[n] = 0;
    read_done[n] = 0;
    read_inc[n] = 0;
    read_epoch[n] = 0;
    read_held[n] = 0;
    fenced_now = 0;
    done_now = 0;
    void_now = 0
}

/* -- the end of a run ------------------------------------------------------ */

inline forget_all(n)
{
    tk[n] = TAKEOVER_FOLLOW;
    fn[n] = FENCE_NEW;
    hs[n] = HANDLE_NONE;
    view[n] = 0;
    passed[n] = 0;
    missing[n] = 0;
    away[n] = 0;
    recorded[n] = 0;
    victim[n] = 0;
    reported[n] = 0;
    epoch[n] = 0;
    closed[n] = 0;
    coordinator[n] = NOBODY;
    held_generation[n] = 0;
    grant_epoch[n] = 0;
    grant_generation[n] = 0;
    forget_read(n);
    has_read_twice[n] = 0
}

/* -- nexus: registered, and allowed to carry I/O --------------------------- */

inline nexus_register(n)
{
    printf("host %d: REGISTER\n", n);
    late_metadata = late_metadata & ~BIT(ME(n)); /* drained (I13) */
    late_data = late_data & ~BIT(ME(n));
    keys = keys | BIT(ME(n));
    nexus[n] = 1;
#ifdef BREAK_READ
    nx[n] = (block_inc[n] == inc[n] -> NEXUS_OPEN : NEXUS_WRITING)
#else
    has_read_twice[n] = 0;
    nx[n] = NEXUS_READING
#endif
}

/* Void was what a block said, and whose author another block, read later, has
 * as fenced: was it the author's last word?  Read all again. */
#ifdef BREAK_READ_TWICE
#define IS_SURE(n) 1
#else
#define IS_SURE(n) (!HAS(void_now, ME(n)) || has_read_twice[n])
#endif

inline nexus_read(n)
{
    read_second(n);
    if
    :: HAS(fenced_now, ME(n)) ->
        printf("host %d: reads its name, stops\n", n);
        nx[n] = NEXUS_FENCED;
        forget_all(n)
    :: else ->
        if
        :: IS_SURE(n) ->
            printf("host %d: is not named\n", n);
            nx[n] = (block_inc[n] == inc[n] -> NEXUS_OPEN : NEXUS_WRITING);
            has_read_twice[n] = 0
        :: else ->
            printf("host %d: named by a fenced one, reads again\n", n);
            has_read_twice[n] = 1
        fi
    fi;
    forget_read(n)
}

/* A run begins: node_block_join().  A claim of the run before is released; of
 * whom that run was fencing, the block goes on to tell, but for what is void. */
inline nexus_write(n)
{
    if
    :: ACCEPTED(n) ->
        printf("host %d: writes its node block, run %d\n", n, inc[n]);
#ifdef BREAK_CARRY
        block_fencing[n] = 0;
        block_done[n] = 0;
#else
        block_fencing[n] = (HAS(DONE, ID(n, block_inc[n])) ->
            block_done[n] : block_fencing[n]);
#endif
        block_inc[n] = inc[n];
        block_held[n] = 0;
        nx[n] = NEXUS_OPEN
    :: else -> nx[n] = NEXUS_LOOKING
    fi
}

inline nexus_look(n)
{
    if
    :: HAS(keys, ME(n)) ->
        printf("host %d: its key is still listed\n", n);
        nx[n] = NEXUS_REGISTERING
    :: else ->
        printf("host %d: its key is gone, asks\n", n);
        nx[n] = NEXUS_ASKING
    fi
}

/* Who follows asks the coordinator for a new key; where there is none, and for
 * the coordinator, the node blocks decide alone. */
#define CONSENTS(n, c) \
    (tk[c] == TAKEOVER_SERVING && coordinator[n] == ME(c) && \
     HAS(LIVE(c), ME(n)))
#define HAS_CONSENT(n) \
    (tk[n] != TAKEOVER_FOLLOW || !HAS_COORDINATOR(n) || CONSENTS(n, 0) || \
     CONSENTS(n, 1) || CONSENTS(n, 2))

/* -- fence ----------------------------------------------------------------- */

#define FENCES(n) \
    (missing[n] && (tk[n] == TAKEOVER_FENCING || tk[n] == TAKEOVER_REPORTING || \
                    tk[n] == TAKEOVER_STRANGERS || tk[n] == TAKEOVER_HELD))

inline fence_name(n)
{
    printf("host %d: names run %d\n", n, victim[n]);
    block_fencing[n] = block_fencing[n] | COVERED(victim[n]);
}

inline fence_begin(n)
{
    last_of(missing[n], victim[n]);
    away[n] = away[n] & ~COVERED(victim[n]);
#ifndef BREAK_NAME_LATE
    fence_name(n);
#endif
    fn[n] = FENCE_LISTING
}

inline fence_list(n)
{
    if
    :: keys & COVERED(victim[n]) -> fn[n] = FENCE_PREEMPTING
    :: else ->
        printf("host %d: READ KEYS has no run %d\n", n, victim[n]);
        fn[n] = FENCE_RECORDING
    fi
}

inline fence_preempt(n)
{
    printf("host %d: PREEMPT run %d\n", n, victim[n]);
    keys = keys & ~COVERED(victim[n]);
    late_metadata = late_metadata & ~COVERED(victim[n]);
    late_data = late_data & ~COVERED(victim[n]);
    if
    :: ME(NODE(victim[n])) <= victim[n] -> nexus[NODE(victim[n])] = 0
    :: else
    fi;
    fn[n] = FENCE_LISTING
}

/* What was a fenced run's is released, in a transaction. */
inline release_fenced(n)
{
    if
    :: HAS_DATABASE(n) && owner != NOBODY && HAS(recorded[n], owner) ->
        printf("host %d: releases the handle of run %d\n", n, owner);
        owner = NOBODY
    :: else
    fi
}

inline fence_record(n)
{
    printf("host %d: run %d is fenced\n", n, victim[n]);
#ifdef BREAK_NAME_LATE
    fence_name(n);
#endif
    block_done[n] = block_done[n] | COVERED(victim[n]);
    fenced = fenced | COVERED(victim[n]);
    recorded[n] = recorded[n] | COVERED(victim[n]);
    missing[n] = missing[n] & ~COVERED(victim[n]);
    away[n] = away[n] & missing[n];
    victim[n] = 0;
    fn[n] = FENCE_NEW;
    release_fenced(n)
}

/* -- takeover -------------------------------------------------------------- */

#define MAX(a, b) ((a) > (b) -> (a) : (b))
inline takeover_read(n)
{
    epoch[n] = super_epoch;
    epoch[n] = MAX(epoch[n], block_epoch[0]);
    epoch[n] = MAX(epoch[n], block_epoch[1]);
    epoch[n] = MAX(epoch[n], block_epoch[2]);
    epoch[n]++;
    printf("host %d: elected, reads all, would claim epoch %d\n", n, epoch[n]);
    tk[n] = TAKEOVER_CLAIM_WRITE
}

/* Not tried again in this view. */
inline give_up(n)
{
    printf("host %d: gives up\n", n);
    passed[n] = passed[n] | (1 << n);
    forget_read(n);
    tk[n] = (HAS_DATABASE(n) -> TAKEOVER_CLOSING : TAKEOVER_RELEASING)
}

inline takeover_claim(n)
{
    printf("host %d: claims epoch %d\n", n, epoch[n]);
    block_epoch[n] = epoch[n];
    block_held[n] = 1;
#ifdef BREAK_READ_AGAIN
    tk[n] = TAKEOVER_LISTING
#else
    tk[n] = TAKEOVER_CLAIM_CHECK
#endif
}

/* Epochs are distinct: mine is only if no other node ever wrote it, or more.
 * Of two that claim at once one gives way, if they see each other. */
#define GOES_FIRST(n, m, run, held, its) \
    (held && its >= epoch[n] && HAS(LIVE(n), ID(m, run)) && \
     (its > epoch[n] || m < n))
#define YIELDS(n) \
    (GOES_FIRST(n, FIRST_OTHER(n), read_inc[n], read_held[n], read_epoch[n]) || \
     GOES_FIRST(n, SECOND_OTHER(n), block_inc[SECOND_OTHER(n)], \
                block_held[SECOND_OTHER(n)], block_epoch[SECOND_OTHER(n)]))
#ifdef BREAK_TIE
#define IS_HIGHEST(n) 1
#else
#define IS_HIGHEST(n) \
    (super_epoch < epoch[n] && read_epoch[n] < epoch[n] && \
     block_epoch[SECOND_OTHER(n)] < epoch[n])
#endif

/* Whom a node block condemns: a claimant, and who is not in my view. */
#ifdef BREAK_RIVALS
#define CLAIMS(held) 0
#else
#define CLAIMS(held) held
#endif
#ifdef BREAK_STRANGERS
#define IS_STRANGER(n, id) 0
#else
#define IS_STRANGER(n, id) (!HAS(view[n], id))
#endif
#define CONDEMNED(n, m, run, held) \
    ((CLAIMS(held) || IS_STRANGER(n, ID(m, run))) * BIT(ID(m, run)))

inline takeover_condemn(n)
{
#ifdef BREAK_STRANGERS
    missing[n] = 0; /* forgets who has left its view */
#endif
    recorded[n] = recorded[n] | done_now;
    missing[n] = (missing[n] |
        (fenced_now & ~BIT(ME(n))) | /* fences that somebody has begun */
        CONDEMNED(n, FIRST_OTHER(n), read_inc[n], read_held[n]) |
        CONDEMNED(n, SECOND_OTHER(n), block_inc[SECOND_OTHER(n)],
                  block_held[SECOND_OTHER(n)])) & ~recorded[n];
    away[n] = (away[n] | (missing[n] & ~view[n])) &
        ~(fenced_now | BIT(ID(FIRST_OTHER(n), read_inc[n])) * read_held[n] |
          BIT(ID(SECOND_OTHER(n), block_inc[SECOND_OTHER(n)])) *
              block_held[SECOND_OTHER(n)])
}

inline takeover_check(n)
{
    if
    :: !IS_HIGHEST(n) && YIELDS(n) -> give_up(n)
    :: !IS_HIGHEST(n) && !YIELDS(n) -> takeover_read(n)
    :: else ->
        read_second(n);
        if
        :: !void_now || has_read_twice[n] ->
            printf("host %d: has read all again\n", n);
            takeover_condemn(n);
            tk[n] = TAKEOVER_LISTING;
            has_read_twice[n] = 0
        :: else ->
            printf("host %d: a fenced one has named, reads again\n", n);
            has_read_twice[n] = 1
        fi
    fi;
    forget_read(n)
}

/* READ KEYS: keys of nobody who is in. */
inline takeover_list(n)
{
#ifndef BREAK_STRANGERS
    away[n] = away[n] | (keys & ~LIVE(n) & ~recorded[n] & ~missing[n]);
    missing[n] = missing[n] | (keys & ~LIVE(n) & ~recorded[n]);
#endif
    tk[n] = TAKEOVER_FENCING
}

inline takeover_super(n)
{
    printf("host %d: writes epoch %d into the superblock\n", n, epoch[n]);
    assert(epoch[n] > super_epoch); /* I4: epochs are distinct, and grow */
    super_epoch = epoch[n];
    writer = ME(n);
    tk[n] = TAKEOVER_OPENING
}

inline takeover_open(n)
{
    printf("host %d: opens the database, announces\n", n);
    release_fenced(n);
    reported[n] = 0;
    tk[n] = TAKEOVER_REPORTING
}

/* READ KEYS again: keys of nobody who has reported.  A row of the database
 * whose owner has neither reported nor a key is of a run that has ended: a
 * later one of its node has begun. */
inline takeover_strangers(n)
{
#ifndef BREAK_STRANGERS
    away[n] = away[n] | (keys & ~LIVE(n) & ~missing[n]);
    missing[n] = missing[n] | (keys & ~LIVE(n));
#endif
    if
    :: missing[n] -> tk[n] = TAKEOVER_STRANGERS
    :: else ->
        if
        :: owner != NOBODY && !HAS(reported[n], owner) ->
            printf("host %d: run %d has ended, its handle is free\n", n, owner);
            owner = NOBODY
        :: else
        fi;
        printf("host %d: serves\n", n);
        tk[n] = TAKEOVER_SERVING
    fi
}

#define ALL_REPORTED(n) ((LIVE(n) & ~reported[n]) == 0)
#define MAY_REPORT(n, m) \
    (HAS_DATABASE(n) && tk[n] != TAKEOVER_OPENING && \
     tk[n] != TAKEOVER_CLOSING && \
     nx[m] != NEXUS_FENCED && nx[m] != NEXUS_DOWN && \
     HAS(LIVE(n), ME(m)) && !HAS(reported[n], ME(m)) && \
     closed[m] < epoch[n] && !HAS(missing[m], ME(n)) && \
     (m == n || epoch[m] < epoch[n]))

/* Host m reports to coordinator n, and closes every earlier epoch. */
inline report(n, m)
{
    printf("host %d: reports to host %d, epoch %d\n", m, n, epoch[n]);
    if /* the user of m may have given up a request without an answer */
    :: hs[m] == HANDLE_ASKED ->
        printf("host %d: does not want the handle any more\n", m);
        hs[m] = HANDLE_NONE
    :: true
    fi;
    if
    :: hs[m] == HANDLE_RELEASING -> hs[m] = HANDLE_NONE
    :: hs[m] == HANDLE_HELD -> /* it must be found in the database */
        assert(owner == ME(m) && held_generation[m] == generation)
    :: else
    fi;
    if /* a row that its owner does not report, nor has asked for */
    :: owner == ME(m) && hs[m] == HANDLE_NONE ->
        printf("host %d: releases the handle of host %d\n", n, m);
        owner = NOBODY
    :: else
    fi;
    if /* a lower claim loses */
    :: m != n && tk[m] != TAKEOVER_FOLLOW && tk[m] < TAKEOVER_CLOSING ->
        give_up(m)
    :: else
    fi;
    closed[m] = epoch[n];
    coordinator[m] = ME(n);
    reported[n] = reported[n] | BIT(ME(m))
}

/* A planned move.  What the coordinator had in flight ends first. */
inline takeover_close(n)
{
    printf("host %d: has closed\n", n);
#ifdef BREAK_CLOSE
    tk[n] = TAKEOVER_FOLLOW
#else
    tk[n] = TAKEOVER_RELEASING
#endif
}

inline resigned(n, m)
{
    passed[m] = passed[m] | (1 << n);
    if
    :: coordinator[m] == ME(n) -> coordinator[m] = NOBODY
    :: else
    fi
}

inline takeover_release(n)
{
    printf("host %d: resigns\n", n);
    block_held[n] = 0;
    resigned(n, 0);
    resigned(n, 1);
    resigned(n, 2);
    epoch[n] = 0;
    reported[n] = 0;
#ifdef BREAK_CLOSE
    tk[n] = TAKEOVER_CLOSING
#else
    tk[n] = TAKEOVER_FOLLOW
#endif
}

/* -- handle ---------------------------------------------------------------- */

#define MAY_GRANT(n, m) \
    (tk[n] == TAKEOVER_SERVING && hs[m] == HANDLE_ASKED && \
     coordinator[m] == ME(n) && closed[m] == epoch[n] && \
     HAS(LIVE(n), ME(m)) && grant_epoch[m] == 0 && \
     (owner == NOBODY || owner == ME(m)))

inline grant(n, m)
{
    if
    :: owner == NOBODY -> owner = ME(m); generation++
    :: else
    fi;
    printf("host %d: grants generation %d to host %d\n", n, generation, m);
    grant_epoch[m] = epoch[n];
    grant_generation[m] = generation
}

inline granted(n)
{
    if
#ifdef BREAK_REPORT
    :: hs[n] == HANDLE_ASKED ->
#else
    :: hs[n] == HANDLE_ASKED && grant_epoch[n] == closed[n] ->
#endif
        printf("host %d: has the handle, generation %d\n", n,
               grant_generation[n]);
        hs[n] = HANDLE_HELD;
        held_generation[n] = grant_generation[n]
    :: else -> printf("host %d: drops a late grant\n", n)
    fi;
    grant_epoch[n] = 0;
    grant_generation[n] = 0
}

#define MAY_RELEASE(n, m) \
    (tk[n] == TAKEOVER_SERVING && hs[m] == HANDLE_RELEASING && \
     coordinator[m] == ME(n) && closed[m] == epoch[n] && \
     owner == ME(m) && held_generation[m] == generation)

inline release(n, m)
{
    printf("host %d: releases the handle for host %d\n", n, m);
    owner = NOBODY;
    held_generation[m] = 0;
    hs[m] = HANDLE_NONE
}

/* -- the host -------------------------------------------------------------- */

proctype Host(byte n)
{
end:
    do
    :: atomic {
    if
#ifdef SPLIT_READS
    :: !has_read[n] && ACCEPTED(n) &&
                (nx[n] == NEXUS_READING ||
                 nx[n] == NEXUS_OPEN && tk[n] == TAKEOVER_CLAIM_CHECK) ->
        has_read[n] = 1;
        read_first(n)
#endif
    /* nexus */
    :: nx[n] == NEXUS_REGISTERING -> nexus_register(n)
    :: nx[n] == NEXUS_READING && IS_READ(n) && ACCEPTED(n) ->
        finish_read(n);
        nexus_read(n)
    :: nx[n] == NEXUS_READING && !ACCEPTED(n) ->
        forget_read(n); nx[n] = NEXUS_LOOKING
    :: nx[n] == NEXUS_WRITING -> nexus_write(n)
    :: nx[n] == NEXUS_OPEN && !ACCEPTED(n) ->
        printf("host %d: RESERVATION CONFLICT\n", n);
        nx[n] = NEXUS_LOOKING;
        if /* whoever asked the LUN for something hands over */
        :: tk[n] != TAKEOVER_FOLLOW && tk[n] < TAKEOVER_CLOSING -> give_up(n)
        :: tk[n] == TAKEOVER_FOLLOW || tk[n] == TAKEOVER_SERVING ||
           tk[n] == TAKEOVER_HELD || tk[n] >= TAKEOVER_CLOSING
        fi
    :: nx[n] == NEXUS_LOOKING -> nexus_look(n)
    :: nx[n] == NEXUS_ASKING && HAS_CONSENT(n) ->
        printf("host %d: takes a new key\n", n);
        nx[n] = NEXUS_REGISTERING

    /* fence */
    :: fn[n] == FENCE_NEW && FENCES(n) && DOES_IO(n) && QUORATE(n) ->
        fence_begin(n)
    :: fn[n] == FENCE_LISTING && DOES_IO(n) ->
        fence_list(n)
    :: fn[n] == FENCE_PREEMPTING && DOES_IO(n) && QUORATE(n) ->
        fence_preempt(n)
    :: fn[n] == FENCE_RECORDING && DOES_IO(n) ->
        fence_record(n)

    /* takeover */
    :: tk[n] == TAKEOVER_FOLLOW && IS_ELECTED(n) && DOES_IO(n) ->
        takeover_read(n)
    :: tk[n] == TAKEOVER_CLAIM_WRITE && DOES_IO(n) ->
        takeover_claim(n)
    :: tk[n] == TAKEOVER_CLAIM_CHECK && IS_READ(n) && DOES_IO(n) ->
        finish_read(n);
        takeover_check(n)
    :: tk[n] == TAKEOVER_LISTING && DOES_IO(n) ->
        takeover_list(n)
    :: tk[n] == TAKEOVER_FENCING && !missing[n] && DOES_IO(n) ->
        tk[n] = TAKEOVER_SUPER
    :: tk[n] == TAKEOVER_SUPER && DOES_IO(n) ->
        takeover_super(n)
    :: tk[n] == TAKEOVER_OPENING && DOES_IO(n) ->
        takeover_open(n)
    :: MAY_REPORT(n, 0) && DOES_IO(n) -> report(n, 0)
    :: MAY_REPORT(n, 1) && DOES_IO(n) -> report(n, 1)
    :: MAY_REPORT(n, 2) && DOES_IO(n) -> report(n, 2)
    :: (tk[n] == TAKEOVER_REPORTING || tk[n] == TAKEOVER_STRANGERS) &&
                !missing[n] && ALL_REPORTED(n) && QUORATE(n) && DOES_IO(n) ->
        takeover_strangers(n)
    :: tk[n] == TAKEOVER_HELD && !missing[n] && QUORATE(n) &&
                DOES_IO(n) ->
        tk[n] = TAKEOVER_SERVING
    :: tk[n] == TAKEOVER_CLOSING && fn[n] == FENCE_NEW ->
        takeover_close(n)
    :: tk[n] == TAKEOVER_RELEASING && DOES_IO(n) ->
        takeover_release(n)
#ifdef BREAK_RELEASE
    :: owner != NOBODY && HAS_DATABASE(n) && DOES_IO(n) &&
                HAS(missing[n], owner) ->
        printf("host %d: releases the handle of run %d\n", n, owner);
        owner = NOBODY
#endif

    /* handle, as the coordinator */
    :: MAY_GRANT(n, 0) && DOES_IO(n) -> grant(n, 0)
    :: MAY_GRANT(n, 1) && DOES_IO(n) -> grant(n, 1)
    :: MAY_GRANT(n, 2) && DOES_IO(n) -> grant(n, 2)
    :: MAY_RELEASE(n, 0) && DOES_IO(n) -> release(n, 0)
    :: MAY_RELEASE(n, 1) && DOES_IO(n) -> release(n, 1)
    :: MAY_RELEASE(n, 2) && DOES_IO(n) -> release(n, 2)

    /* handle, as a client */
    :: hs[n] == HANDLE_NONE && closed[n] && generation < GRANTS ->
        printf("host %d: asks for the handle\n", n);
        hs[n] = HANDLE_ASKED
    :: grant_epoch[n] -> granted(n)
    :: hs[n] == HANDLE_HELD && DOES_IO(n) ->
        printf("host %d: gives the handle back\n", n);
        hs[n] = HANDLE_RELEASING
    fi;
    check()
    }
    od
}
