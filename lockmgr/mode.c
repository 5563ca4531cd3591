/* lockmgr/mode.c - the six lock modes: which go together, which is stronger.
 * Knows no lock.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"

static const char *const names[LM_MODE_COUNT] = {
#define X(mode, name) name,
    LM_MODES(X)
#undef X
};

bool lm_mode_is_valid(enum lm_mode mode)
{
    return (unsigned)mode < LM_MODE_COUNT;
}

const char *lm_mode_name(enum lm_mode mode)
{
    return lm_mode_is_valid(mode) ? names[mode] : "?";
}

/* Which modes a mode goes together with, as a set. */
static lm_modes friends(enum lm_mode mode)
{
    /* clang-format off */
    static const lm_modes compatible[LM_MODE_COUNT] = {
        /*           EPPCCN */
        /*           XWRWRL */
        /* NL */ 0b00111111,
        /* CR */ 0b00011111,
        /* CW */ 0b00000111,
        /* PR */ 0b00001011,
        /* PW */ 0b00000011,
        /* EX */ 0b00000001,
    };
    /* clang-format on */

    ASSERT(lm_mode_is_valid(mode));
    return compatible[mode];
}

bool lm_compatible(enum lm_mode a, enum lm_mode b)
{
    ASSERT(lm_mode_is_valid(b));
    return friends(a) >> b & 1;
}

bool lm_compatible_with_all(enum lm_mode mode, lm_modes others)
{
    return !(others & ~friends(mode));
}

bool lm_covers(enum lm_mode a, enum lm_mode b)
{
    return !(friends(a) & ~friends(b));
}

enum lm_mode lm_strongest(lm_modes modes)
{
    enum lm_mode mode = LM_EX;

    while (mode > LM_NL && !(modes >> mode & 1))
        mode--;
    return mode;
}

enum lm_mode lm_demoted(enum lm_mode from, lm_modes wanted)
{
    enum lm_mode to = from;

    while (!lm_covers(from, to) || !lm_compatible_with_all(to, wanted))
        to--; /* NL goes with everything */
    return to;
}
