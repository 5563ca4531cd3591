/* tests/model/promises.pml - what must hold after every step.
 * Changes nothing.  The invariants are those of docs/invariants.md.
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Remembered by nobody in the model but these promises. */
byte writer = NOBODY; /* who wrote the superblock last: the one writer */
SET fenced;           /* whose fence was once recorded as done */

/* Would the target execute a write of this live host now? */
#define ACCEPTED(n) (nexus[n] && HAS(keys, ME(n)))
/* … and may the host send one? */
#define DOES_IO(n) (nx[n] == NEXUS_OPEN && ACCEPTED(n))
#define HAS_DATABASE(n) (tk[n] >= TAKEOVER_OPENING && tk[n] <= TAKEOVER_CLOSING)
#define WRITES_METADATA(n) (DOES_IO(n) && HAS_DATABASE(n))
#define WRITES_DATA(n) (DOES_IO(n) && hs[n] == HANDLE_HELD)

/* I4: whoever can write metadata is the one writer of the newest epoch. */
#define ONE_WRITER(n) (!WRITES_METADATA(n) || writer == ME(n))
/* I11: nothing of a run whose fence is done gets through. */
#define STAYS_FENCED(n) (!DOES_IO(n) || !HAS(fenced, ME(n)))
/* I8: whoever can write the disk owns it, in its present generation. */
#define OWNS(n) \
    (!WRITES_DATA(n) || (owner == ME(n) && held_generation[n] == generation))

/* The same for what a run that died has left in flight. */
#define LATE_METADATA (late_metadata & keys)
#define LATE_DATA (late_data & keys)

inline check()
{
    assert(ONE_WRITER(0) && ONE_WRITER(1) && ONE_WRITER(2)); /* I4 */
    assert(!LATE_METADATA || LATE_METADATA == BIT(writer));  /* I4, F5 */
    assert(STAYS_FENCED(0) && STAYS_FENCED(1) && STAYS_FENCED(2)); /* I11 */
    assert(!((LATE_METADATA | LATE_DATA) & fenced));           /* I11, F5 */
    assert(OWNS(0) && OWNS(1) && OWNS(2));                   /* I8 */
    assert(!LATE_DATA || LATE_DATA == BIT(owner));           /* I8, I10 */
}
