/* base/jsontext.h - JSON strings of what others wrote: file names, reasons.
 * jansson refuses what is not UTF-8, and with it the whole object.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_JSONTEXT_H
#define LUNAR_BASE_JSONTEXT_H

#include <jansson.h>
#include <stdbool.h>

/* A string with a '?' for each byte that is not part of a UTF-8 character
 * (RFC 3629): also of one that was cut off.  For json_pack(): "s:o".
 * Returns NULL: out of memory.  Context: any thread. */
json_t *json_text(const char *text);

/* Can it be a JSON string as it is? */
bool json_text_is_utf8(const char *text);

#endif
