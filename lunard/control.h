/* lunard/control.h - the control socket: JSON lines in, JSON lines out.
 * Knows the frame and the shape of requests; what a command does is the
 * business of the row that it is given.
 *
 *   -> {"do": "attach", "args": {"vm": "web", "disk": "/ClusterStorage/…"}}
 *   <- {"progress": {"percent": 40, "text": "…"}}     (if the request has
 *                                                     "progress": true)
 *   <- {"ok": true, "result": {…}}
 *   <- {"ok": false, "error": "E_NOENT", "reason": "…"}
 *
 * A connection is a thread: a long command delays nobody but its own client,
 * and commands are written as straight blocking code.  Requests of one
 * connection are answered in order.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_CONTROL_H
#define LUNAR_LUNARD_CONTROL_H

#include "base/loop.h"

#include <jansson.h>

enum {
    CONTROL_CLIENTS_MAX = 32,      /* beyond it: an answer that says so */
    CONTROL_LINE_BYTES = 64 << 10, /* of a request; paths are the longest */
    CONTROL_IDLE_S = 300,          /* a silent client gives up its place */
    CONTROL_SEND_S = 10,           /* one that does not read its answers, too */
    CONTROL_ARGS_MAX = 8
};

struct control_call {
    const struct control_command *command;
    const json_t *args; /* an object of what the command's row allows */
    json_t *result;     /* set by the command on success; may stay NULL */
    struct diag why;    /* … on failure */
    void *context;      /* of the server */
    int fd;             /* for progress */
    bool wants_progress;
};

enum control_type { CONTROL_TEXT, CONTROL_NUMBER, CONTROL_FLAG };

struct control_arg {
    const char *name;
    enum control_type type;
    bool required;
};

/* A row of the command table. */
struct control_command {
    const char *name;
    enum err (*run)(struct control_call *call);
    struct control_arg args[CONTROL_ARGS_MAX]; /* ends with name == NULL */
};

struct control_args {
    const char *path;                       /* of the socket */
    const struct control_command *commands; /* name == NULL ends them */
    void *context;
};

struct control;
/* Listen on args->path (0600) and answer from threads of its own.  A socket
 * file that nobody answers on is replaced.
 * Errors: E_BUSY another daemon answers there, E_IO; see why. */
MUST_CHECK enum err control_start(const struct control_args *args,
                                  struct control **ret_control,
                                  struct diag *why);
/* Stop listening, let running commands end, not those that wait behind them,
 * remove the socket.  NULL is fine. */
void control_stop(struct control *control);

/* Answer one request line: parse, check against the table, run.  Returns a
 * new object, the answer; NULL only for want of memory.
 * Context: a thread with a loop of its own; blocks. */
json_t *control_answer(const struct control_args *args, int fd,
                       const char *line, size_t len_bytes);

/* For commands: what the arguments say.  An absent one gives the default. */
const char *control_text(const struct control_call *call, const char *name);
uint64_t control_number(const struct control_call *call, const char *name,
                        uint64_t absent);
bool control_flag(const struct control_call *call, const char *name);
/* Tell a client that asked for it how far it is (percent 0: not known); one
 * that is gone does not matter. */
void control_progress(struct control_call *call, unsigned percent,
                      const char *text);

#endif
