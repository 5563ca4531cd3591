/* lockmgr/mode.c - the six lock modes and their compatibility matrix.
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

bool lm_compatible(enum lm_mode a, enum lm_mode b)
{
    /* clang-format off */
    static const bool compatible[LM_MODE_COUNT][LM_MODE_COUNT] = {
        /*        NL CR CW PR PW EX */
        /* NL */ { 1, 1, 1, 1, 1, 1 },
        /* CR */ { 1, 1, 1, 1, 1, 0 },
        /* CW */ { 1, 1, 1, 0, 0, 0 },
        /* PR */ { 1, 1, 0, 1, 0, 0 },
        /* PW */ { 1, 1, 0, 0, 0, 0 },
        /* EX */ { 1, 0, 0, 0, 0, 0 },
    };
    /* clang-format on */

    ASSERT(lm_mode_is_valid(a));
    ASSERT(lm_mode_is_valid(b));
    return compatible[a][b];
}
