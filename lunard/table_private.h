/* lunard/table_private.h - what table_wire.c tells table.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_TABLE_PRIVATE_H
#define LUNAR_LUNARD_TABLE_PRIVATE_H

#include "lunard/table.h"

/* An entry that is used by a host whose table has that epoch. */
enum table_verdict table_claim(struct table *t, const struct table_entry *entry,
                               uint64_t epoch);
/* That node has told all, and its epoch.  Returns true if it was the last: the
 * table is whole. */
bool table_heard(struct table *t, uint32_t node, uint64_t epoch);

#endif
