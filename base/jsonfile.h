/* base/jsonfile.h - small state kept as JSON in one file.
 * Whole or not at all: a crash leaves the old file or the new one.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_JSONFILE_H
#define LUNAR_BASE_JSONFILE_H

#include "base/err.h"

#include <jansson.h>

/* Replace PATH by `object`, durably.
 * Ownership: takes the reference, also when it fails; NULL is E_NOMEM.
 * Errors: E_IO … with the reason.  Context: blocks. */
MUST_CHECK enum err jsonfile_save(const char *path, json_t *object,
                                  struct diag *why);

/* Read an object.  Errors: E_NOENT, E_CORRUPT (not JSON, no object), E_IO.
 * Context: blocks. */
MUST_CHECK enum err jsonfile_load(const char *path, json_t **ret_object,
                                  struct diag *why);

#endif
