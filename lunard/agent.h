/* lunard/agent.h - a fence agent: a program of the fence-agents convention that
 * switches a host off, for when the LUN cannot keep it out.
 * It reads "key=value" lines, the last of them ends its input; it exits with 0
 * when the host is off, and only then.  When it is to run is not known here.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_AGENT_H
#define LUNAR_LUNARD_AGENT_H

#include "base/buf.h"
#include "lunard/config.h"

#include <stdatomic.h>

enum {
    AGENT_MS = 60000, /* it has hung by then: what fence-agents take, too */
    AGENT_PAUSE_MS = 10000 /* after one that failed, before the next try */
};

/* What it is to read to switch that node off: the options of [fence], and over
 * them those of [fence NODE], by name or number.  `host`: the node's name, ""
 * if it is not known.  Errors: E_CONFIG - nothing says which plug it is. */
MUST_CHECK enum err agent_input(const struct config *config, uint32_t node,
                                const char *host, struct buf *ret_input,
                                struct diag *why);

struct agent_args {
    const char *program, *input;
    const char *label; /* of the lines that it writes, in the log */
    unsigned limit_ms; /* then it is killed */
    atomic_bool *stop; /* … or when this is true; NULL: never */
};
/* Run it.  E_OK: it has exited with 0.
 * Errors: E_IO (it says no, or died), E_TIMEOUT, E_CANCELED, E_NOENT … (it
 * cannot be run).  Context: blocks; any thread. */
MUST_CHECK enum err agent_run(const struct agent_args *args, struct diag *why);

#endif
