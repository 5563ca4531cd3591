/* tests/tools/sanproxy - stands between the hosts of a lab and its SAN:
 * records every SCSI command, and holds, delays or strands those it is told.
 *
 *   sanproxy.h  the parts, and what they share
 *   pdu.h       iSCSI: frames and commands, pure
 *   link.c      one connection: PDUs through, or kept here
 *   control.c   the line protocol on a UNIX socket
 *   record.c    the file with a line for each command
 *   main.c      the options; also the client of the line protocol
 *
 * A command that is kept here does not stand in the way of those behind it:
 * CmdSNs are counted anew on the way to the target, and back on the way to
 * the initiator.  So what a host sees is a target with a slow queue.  A task
 * management function never overtakes: a connection could not do that.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_TOOLS_SANPROXY_SANPROXY_H
#define LUNAR_TESTS_TOOLS_SANPROXY_SANPROXY_H

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "tests/tools/sanproxy/pdu.h"

#include <netinet/in.h>
#include <stdio.h>

enum { HOSTS_MAX = 32, HOST_NAME_BYTES = 16 };

/* What happens to commands of one class from now on. */
struct rule {
    bool hold;         /* until released */
    bool refuse;       /* the target is not told what it is, and says so */
    uint64_t delay_ns; /* 0: not */
};

struct host { /* hN is whoever comes from an address that ends in N */
    char name[HOST_NAME_BYTES];
    struct rule rules[PDU_CLASSES];
};

struct proxy {
    struct loop *loop;
    struct sockaddr_in target;
    struct list links;
    struct host hosts[HOSTS_MAX]; /* the first is "all" */
    unsigned host_count;
    unsigned link_count; /* all there ever were: they are numbered */
    const char *record_path;
    FILE *record;
    uint64_t start_ns, record_bytes;
};

/* -- record.c -------------------------------------------------------------- */

MUST_CHECK enum err record_open(struct proxy *p, struct diag *why);
/* Append a line, with the seconds since the start before it. */
void record(struct proxy *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "WRITE(16) lba=8 blocks=1 conn=3 itt=0000001a" */
void command_to_text(const struct pdu_task *what, unsigned link, uint32_t itt,
                     struct buf *text);

/* -- link.c ---------------------------------------------------------------- */

/* Take a connection over and connect to the target. */
void link_accept(struct proxy *p, int fd, const struct sockaddr_in *from);

/* The host of that name, made if there is none; NULL: too many. */
struct host *proxy_host(struct proxy *p, const char *name);

/* For these, the first host, "all", means all; PDU_CLASSES every class. */
/* Send on what is held. */
void proxy_release(struct proxy *p, const struct host *host, enum pdu_class c);
/* End the connections of a host, but not the target's side of them: commands
 * in flight go on there, and what is held can still be released. */
void proxy_drop(struct proxy *p, const struct host *host);
/* A line for each command that has no answer. */
void proxy_list(struct proxy *p, const struct host *host, struct buf *text);

/* -- control.c ------------------------------------------------------------- */

/* Listen on a UNIX socket.  Lines:
 *   hold HOST [CLASS]         commands stay here from now on
 *   delay HOST TIME [CLASS]   … for so long: 50ms, 2s
 *   refuse HOST [CLASS]       the target answers INVALID COMMAND OPERATION CODE
 *   release HOST [CLASS]      rules end, and what was held goes on, in order
 *   drop HOST                 its connections end, the target's do not
 *   pending [HOST]            what has no answer yet
 * HOST is h1…, or all; CLASS is read, write, flush, pr, preempt, tmf or
 * other.  The answer ends with a line "ok" or "error: why". */
MUST_CHECK enum err control_open(struct proxy *p, const char *path,
                                 struct diag *why);

#endif
