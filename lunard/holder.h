/* lunard/holder.h - the parent that keeps descriptors while lunard is away.
 * Starts lunard, waits, starts it again; it opens, reads and serves nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_HOLDER_H
#define LUNAR_LUNARD_HOLDER_H

#include "base/err.h"

enum {
    /* Exit status of a daemon that wants to be started again (EX_TEMPFAIL). */
    HOLDER_AGAIN = 75,
    /* A daemon that dies this often, each time within HOLDER_EARLY_MS of its
     * start, is not started again: what it keeps would only kill it anew. */
    HOLDER_TRIES = 5,
    HOLDER_EARLY_MS = 10000
};

/* The option by which the daemon learns its end of the socket. */
#define HOLDER_OPTION "--keep-fd"

struct holder_args {
    const char *program; /* path; looked up anew at each start: an upgrade */
    char *const *argv;   /* of the daemon without HOLDER_OPTION; argv[0] too */
    /* Told about starts and ends, for the log; may be NULL. */
    void (*event)(void *arg, const char *text);
    void *arg;
};

/* Run the daemon under this process.
 *
 *   daemon ends with a signal or HOLDER_AGAIN  ->  start it again
 *   daemon ends otherwise                      ->  return its exit status
 *   SIGTERM, SIGINT here                       ->  pass on, wait for its end
 *   SIGHUP here                                ->  kill it, start the program
 *                                                  that is there now
 *
 * Kept descriptors close when this returns.  If the holder itself dies, the
 * daemon gets SIGTERM and leaves in good order.
 * Errors: 1 - it could not be started or died too often.
 * Context: a process with one thread; blocks. */
int holder_run(const struct holder_args *args);

#endif
