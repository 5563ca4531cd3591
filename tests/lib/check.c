/* tests/lib/check.c - checks whose failure shows the values.
 * They only word a failure; CUnit records it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    TEXT_BYTES = 2000, /* of one failure's words */
    DUMP_ROW = 16,     /* bytes in a row of a dump */
    DUMP_ROWS = 4
};

/* Record a failure with these words as its condition. */
static void record(const char *file, int line, CU_BOOL fatal, const char *text)
{
    CU_assertImplementation(CU_FALSE, (unsigned)line, text, file, "", fatal);
}

PRINTF_LIKE(3, 4)
static bool fail(const char *file, int line, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    record(file, line, CU_FALSE, text);
    return false;
}

static bool pass(const char *what, const char *file, int line)
{
    CU_assertImplementation(CU_TRUE, (unsigned)line, what, file, "", CU_FALSE);
    return true;
}

bool test_check_eq(uint64_t actual, uint64_t expected, const char *what,
                   const char *file, int line)
{
    if (actual == expected)
        return pass(what, file, line);
    return fail(file, line,
                "%s\n      is       %" PRIu64 " (0x%" PRIx64 ")"
                "\n      expected %" PRIu64 " (0x%" PRIx64 ")",
                what, actual, actual, expected, expected);
}

bool test_check_err(enum err actual, enum err expected, const char *what,
                    const char *file, int line)
{
    if (actual == expected)
        return pass(what, file, line);
    return fail(file, line, "%s\n      is       %s\n      expected %s", what,
                err_name(actual), err_name(expected));
}

void test_check_ok_fatal(enum err actual, const char *what, const char *file,
                         int line)
{
    if (!test_check_err(actual, E_OK, what, file, line))
        record(file, line, CU_TRUE, "the test cannot go on");
}

bool test_check_str(const char *actual, const char *expected, const char *what,
                    const char *file, int line)
{
    if (actual && strcmp(actual, expected) == 0)
        return pass(what, file, line);
    return fail(file, line, "%s\n      is       \"%s\"\n      expected \"%s\"",
                what, actual ? actual : "(null)", expected);
}

bool test_check_contains(const char *text, const char *part, const char *what,
                         const char *file, int line)
{
    if (text && strstr(text, part))
        return pass(what, file, line);
    return fail(file, line, "%s\n      is       \"%s\"\n      without  \"%s\"",
                what, text ? text : "(null)", part);
}

/* Append one row: offset, the bytes, a mark where they differ from `other`. */
static size_t dump_row(char *out, size_t room, const char *title,
                       const uint8_t *bytes, const uint8_t *other, size_t from,
                       size_t end)
{
    size_t used =
        (size_t)snprintf(out, room, "\n      %-8s %06zx ", title, from);

    for (size_t i = from; i < end && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%02x",
                                 bytes[i] == other[i] ? " " : "*", bytes[i]);
    return used;
}

bool test_check_mem(const void *actual, const void *expected, size_t bytes,
                    const char *what, const char *file, int line)
{
    const uint8_t *a = actual, *b = expected;
    char rows[TEXT_BYTES / 2];
    size_t used = 0, at = 0, end;

    while (at < bytes && a[at] == b[at])
        at++;
    if (at == bytes)
        return pass(what, file, line);

    rows[0] = '\0';
    for (size_t row = 0, from = at / DUMP_ROW * DUMP_ROW;
         row < DUMP_ROWS && from < bytes; row++, from += DUMP_ROW) {
        end = min_u64(from + DUMP_ROW, bytes);
        used +=
            dump_row(rows + used, sizeof rows - used, "is", a, b, from, end);
        used += dump_row(rows + used, sizeof rows - used, "expected", b, a,
                         from, end);
    }
    return fail(file, line, "%s: first difference at byte %zu of %zu%s", what,
                at, bytes, rows);
}
