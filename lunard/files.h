/* lunard/files.h - disks of VMs as files of volumes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_FILES_H
#define LUNAR_LUNARD_FILES_H

#include "lunard/lunard.h"

/* Make d->files reach the volumes of d. */
void files_init(struct daemon *d);

#endif
