/* base/err.c - names, texts and errnos of the error list; struct diag.
 * Prints nothing and keeps no state.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
static const struct err_row {
    const char *name, *text;
    int posix;
} err_rows[ERR_COUNT] = {
    {"E_OK", "success", 0},
#define X(code, posix, text) {#code, text, posix},
    ERR_LIST(X)
#undef X
};
/* clang-format on */

static const struct err_row *err_row(enum err e)
{
    static const struct err_row unknown = {"E_?", "unknown error", EIO};

    return (unsigned)e < ERR_COUNT ? &err_rows[e] : &unknown;
}

const char *err_name(enum err e)
{
    return err_row(e)->name;
}

enum err err_from_name(const char *name)
{
    for (enum err e = E_OK; e < ERR_COUNT; e++)
        if (!strcmp(err_rows[e].name, name))
            return e;
    return E_PROTOCOL;
}

const char *err_text(enum err e)
{
    return err_row(e)->text;
}

int err_errno(enum err e)
{
    return err_row(e)->posix;
}

enum err err_from_errno(int posix)
{
    if (posix == 0)
        return E_OK;
    if (posix == ENOSPC || posix == EDQUOT)
        return E_VOL_FULL;
    /* The first code of an errno is its general one (E_IO before E_LUN_GONE).
     */
    for (enum err e = E_NOMEM; e < ERR_COUNT; e++)
        if (err_rows[e].posix == posix)
            return e;
    return E_IO;
}

enum err(diag_fail)(struct diag *why, enum err e, const char *fmt, ...)
{
    va_list args;

    if (!why)
        return e;
    va_start(args, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    return e;
}

enum err(diag_prefix)(struct diag *why, enum err e, const char *fmt, ...)
{
    struct diag inner;
    va_list args;
    int used;

    if (!why)
        return e;
    inner = *why;
    va_start(args, fmt);
    used = vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof why->text)
        snprintf(why->text + used, sizeof why->text - (size_t)used, ": %s",
                 diag_text(&inner, e));
    return e;
}

const char *diag_text(const struct diag *why, enum err e)
{
    return why && why->text[0] ? why->text : err_text(e);
}
