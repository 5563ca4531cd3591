/* hotplug/remote.c - run something on a controller's loop and wait for it.
 * Buses and front ends belong to their loop; commands come on other threads.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hotplug/private.h"

static void remote_arrived(struct task *task)
{
    struct remote *r = container_of(task, struct remote, task);

    r->run(r);
}

static void remote_returned(struct task *task)
{
    struct remote *r = container_of(task, struct remote, back);

    r->done = true;
}

enum err remote_run(struct loop *loop, struct remote *r)
{
    ASSERT(loop_self());
    ASSERT(loop_self() != loop);
    r->from = loop_self();
    r->done = false;
    r->task.run = remote_arrived;
    r->back.run = remote_returned;
    loop_post(loop, &r->task);
    loop_run_until(r->from, &r->done);
    return r->result;
}

void remote_done(struct remote *r, enum err result)
{
    r->result = result;
    loop_post(r->from, &r->back);
}
