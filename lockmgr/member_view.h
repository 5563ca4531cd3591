/* lockmgr/member_view.h - making and comparing views.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MEMBER_VIEW_H
#define LUNAR_LOCKMGR_MEMBER_VIEW_H

#include "lockmgr/member.h"

/* Add the next one by node. */
void member_view_add(struct member_view *view, const struct member_id *id);
bool member_view_equal(const struct member_view *a,
                       const struct member_view *b);

#endif
