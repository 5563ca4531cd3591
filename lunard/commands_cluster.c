/* lunard/commands_cluster.c - commands that take the other hosts: said on any
 * host, done on the one that can, or on all.
 * An answer that does not come is an error that says what may be done yet.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/commands.h"

#include "base/buf.h"
#include "base/log.h"
#include "lunard/errand.h"

#include <stdio.h>
#include <string.h>

enum {
    ANSWER_MS = 30000, /* a volume is closed, a LUN looked at, by then */
    DRAIN_MS = 120000, /* all volumes are */
    TRIES = 10,        /* of a coordinator that moves meanwhile */
    PAUSE_MS = 300
};

/* What an errand came to, in words that name the host. */
static enum err verdict(const struct errand *errand, const char *host,
                        struct diag *why)
{
    switch ((int)errand->e) {
    case E_OK: return E_OK;
    case E_CLOSED:
        return diag_fail(why, errand->e,
                         "%s: the connection to it is lost; what was asked of "
                         "it may be done, or not: see \"lunar status\"",
                         host);
    case E_TIMEOUT:
        if (*errand->why.text)
            break;
        return diag_fail(why, errand->e,
                         "%s: does not answer, and may be at it still: see "
                         "\"lunar status\"",
                         host);
    default: break;
    }
    return diag_fail(why, errand->e, "%s: %s", host,
                     diag_text(&errand->why, errand->e));
}

static void pause_a_bit(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * NS_PER_MS};

    nanosleep(&pause, NULL);
}

static void host_name(struct daemon *d, uint32_t node,
                      char ret_name[MEMBER_NAME_BYTES])
{
    struct cluster_host hosts[LM_NODES_MAX];
    unsigned count = cluster_hosts(d->cluster, false, hosts);

    snprintf(ret_name, MEMBER_NAME_BYTES, "node %u", node);
    for (unsigned i = 0; i < count; i++)
        if (hosts[i].node == node)
            memcpy(ret_name, hosts[i].name, MEMBER_NAME_BYTES);
}

/* -- on the host that coordinates ------------------------------------------ */

typedef enum err here_fn(struct control_call *call, const char *name);

static enum err ask_there(struct control_call *call,
                          const struct volume_place *place, const char *command)
{
    struct daemon *d = daemon_of(call);
    struct errand errand = {.node = place->node, .command = command};
    const char *to = control_text(call, "to");
    char host[MEMBER_NAME_BYTES], text[MEMBER_NAME_BYTES + 32];

    host_name(d, place->node, host);
    snprintf(text, sizeof text, "%s does it …", host);
    control_progress(call, 0, text);
    errand.args = json_pack("{s:s, s:s*}", "uuid", place->uuid, "to", to);
    cluster_ask(d->cluster, &errand, 1, 0);
    json_decref(errand.args);
    call->result = errand.result;
    return verdict(&errand, host, &call->why);
}

static enum err at_coordinator(struct control_call *call, const char *command,
                               here_fn *here)
{
    struct daemon *d = daemon_of(call);
    const char *name = control_text(call, "name");
    struct volume_place place;
    enum err e = E_VOL_OFFLINE;

    for (int i = 0; i < TRIES && e == E_VOL_OFFLINE; i++) {
        if (i)
            pause_a_bit();
        e = volumes_place(d->volumes, name, &place, &call->why);
        if (e)
            return e;
        if (!place.shared)
            return here(call, name);
        if (place.here)
            e = here(call, name);
        else if (place.node)
            e = ask_there(call, &place, command);
        else
            e = diag_fail(&call->why, E_VOL_OFFLINE,
                          "volume %s: nobody coordinates it now: see \"lunar "
                          "status\"",
                          name);
    }
    return e;
}

enum err run_volume_check(struct control_call *call)
{
    return at_coordinator(call, "volume check", command_check);
}

enum err run_volume_move(struct control_call *call)
{
    return at_coordinator(call, "volume move", command_move);
}

/* -- on all hosts ---------------------------------------------------------- */

/* The others, each with its errand; the caller frees errands and results. */
struct round {
    struct cluster_host hosts[LM_NODES_MAX];
    struct errand errands[LM_NODES_MAX];
    unsigned count;
};

static void round_free(struct round **round)
{
    for (unsigned i = 0; *round && i < (*round)->count; i++)
        json_decref((*round)->errands[i].result);
    free(*round);
}

/* Ask all others, but for `but`; or, if `only`, that node.  NULL: no memory. */
static struct round *ask_round(struct daemon *d, const char *command,
                               json_t *args, uint32_t but, uint32_t only)
{
    struct round *round = calloc(1, sizeof *round);
    unsigned count, kept = 0;

    if (round) {
        count = cluster_hosts(d->cluster, true, round->hosts);
        for (unsigned i = 0; i < count; i++) {
            uint32_t node = round->hosts[i].node;

            if (node == but || (only && node != only))
                continue;
            round->hosts[kept] = round->hosts[i];
            round->errands[kept++] =
                (struct errand){.node = node, .command = command, .args = args};
        }
        round->count = kept;
        cluster_ask(d->cluster, round->errands, kept, ANSWER_MS);
    }
    json_decref(args);
    return round;
}

/* The first that failed.  Who does not know the volume has nothing of it. */
static enum err round_verdict(const struct round *round, struct diag *why)
{
    enum err e = round ? E_OK : diag_fail(why, E_NOMEM, "out of memory");

    for (unsigned i = 0; round && !e && i < round->count; i++)
        if (round->errands[i].e != E_NOENT)
            e = verdict(&round->errands[i], round->hosts[i].name, why);
    return e;
}

/* -- grow ------------------------------------------------------------------ */

/* A host that saw less of the LUN could not use what the volume gets. */
static enum err rescan_all(struct control_call *call, const char *name,
                           const char *uuid)
{
    struct daemon *d = daemon_of(call);
    AUTO(round_free)
    struct round *round =
        ask_round(d, "volume rescan", json_pack("{s:s}", "uuid", uuid), 0, 0);
    enum err e = round_verdict(round, &call->why);
    uint64_t mine = 0;

    if (!e)
        e = volumes_rescan(d->volumes, name, &mine, &call->why);
    for (unsigned i = 0; !e && i < round->count; i++) {
        const json_t *result = round->errands[i].result;
        uint64_t theirs =
            (uint64_t)json_integer_value(json_object_get(result, "bytes"));

        if (!mine)
            mine = theirs;
        if (theirs && theirs != mine)
            e = diag_fail(&call->why, E_LUN_SMALL,
                          "%s: sees %llu bytes of the LUN, where another host "
                          "sees %llu: see that all of them see the same",
                          round->hosts[i].name, (unsigned long long)theirs,
                          (unsigned long long)mine);
    }
    return e;
}

enum err run_volume_grow(struct control_call *call)
{
    const char *name = control_text(call, "name");
    struct volume_place place;
    enum err e =
        volumes_place(daemon_of(call)->volumes, name, &place, &call->why);

    if (!e && place.shared)
        e = rescan_all(call, name, place.uuid);
    if (!e)
        return at_coordinator(call, "volume grow", command_grow);
    return *name ? diag_prefix(&call->why, e, "volume %s", name) : e;
}

/* -- remove ---------------------------------------------------------------- */

/* Who uses it, and where: all of them are named. */
static enum err ask_users(struct control_call *call, const char *name,
                          const char *uuid)
{
    struct daemon *d = daemon_of(call);
    AUTO(round_free)
    struct round *round =
        ask_round(d, "volume users", json_pack("{s:s}", "uuid", uuid), 0, 0);
    enum err e = round_verdict(round, &call->why);
    AUTO(buf_fini) struct buf text = {0};
    json_t *mine;

    if (e)
        return diag_prefix(&call->why, e, "volume %s: is not removed", name);
    mine = users_of(d, name);
    users_join(mine, d->config.host_name, &text);
    json_decref(mine);
    for (unsigned i = 0; i < round->count; i++)
        users_join(json_object_get(round->errands[i].result, "users"),
                   round->hosts[i].name, &text);
    return *buf_text(&text)
               ? diag_fail(&call->why, E_BUSY, "volume %s: is in use: %s", name,
                           buf_text(&text))
               : E_OK;
}

/* Whoever coordinates it comes last, so that it need not move. */
static enum err close_others(struct control_call *call,
                             const struct volume_place *place)
{
    struct daemon *d = daemon_of(call);
    enum err e = E_OK;

    for (int last = 0; !e && last < 2; last++) {
        AUTO(round_free)
        struct round *round =
            last && place->here
                ? calloc(1, sizeof *round)
                : ask_round(d, "volume let go",
                            json_pack("{s:s, s:s}", "uuid", place->uuid, "by",
                                      d->config.host_name),
                            last ? 0 : place->node, last ? place->node : 0);

        e = round_verdict(round, &call->why);
    }
    return e;
}

/* A host that is not reached opens it with the next view (reconcile). */
static void open_others(struct daemon *d)
{
    AUTO(round_free)
    struct round *round = ask_round(d, "volume take again", NULL, 0, 0);
    struct diag why = {0};
    enum err e = round_verdict(round, &why);

    if (e)
        log_warning("a volume is not removed, but closed there perhaps: %s",
                    diag_text(&why, e));
}

/* All hosts close it, then it goes from the table; if one cannot, all open it
 * again. */
static enum err remove_shared(struct control_call *call, const char *name,
                              const struct volume_place *place)
{
    struct daemon *d = daemon_of(call);
    enum err e;

    if (!cluster_is_quorate(d->cluster))
        return diag_fail(&call->why, E_NO_QUORUM,
                         "volume %s: the cluster has no quorum: try again when "
                         "more of its hosts are up",
                         name);
    e = ask_users(call, name, place->uuid);
    if (e)
        return e;
    e = close_others(call, place);
    if (e)
        diag_prefix(&call->why, e, "volume %s: is not removed", name);
    else
        e = command_remove(call, name);
    if (e)
        open_others(d);
    return e;
}

enum err run_volume_remove(struct control_call *call)
{
    const char *name = control_text(call, "name");
    struct volume_place place;
    enum err e =
        volumes_place(daemon_of(call)->volumes, name, &place, &call->why);

    if (e)
        return e;
    return place.shared ? remove_shared(call, name, &place)
                        : command_remove(call, name);
}

/* -- drain ----------------------------------------------------------------- */

static enum err refuse_users(struct daemon *d, struct diag *why)
{
    AUTO(buf_fini) struct buf text = {0};
    json_t *users = users_of(d, NULL);

    users_join(users, NULL, &text);
    json_decref(users);
    return *buf_text(&text)
               ? diag_fail(why, E_BUSY, "is not drained: end these first: %s",
                           buf_text(&text))
               : E_OK;
}

static enum err close_all(struct daemon *d, const char *by, struct diag *why)
{
    enum err e = volumes_hand_over(d->volumes, why);

    if (!e)
        e = volumes_drain(d->volumes, by, why);
    return e ? diag_prefix(why, e, "is not drained") : E_OK;
}

static enum err drain_locked(struct daemon *d, const char *by, struct diag *why)
{
    struct diag ignored;
    enum err e;

    if (volumes_are_drained(d->volumes))
        return E_OK;
    e = refuse_users(d, why);
    if (!e)
        e = cluster_drain(d->cluster, DRAIN_BEGUN, why);
    if (!e) {
        log_info("%s drains this host", by);
        e = close_all(d, by, why);
    }
    if (!e)
        e = cluster_drain(d->cluster, DRAIN_DONE, why);
    else
        (void)!cluster_drain(d->cluster, DRAIN_NONE, &ignored);
    return e;
}

enum err drain_here(struct daemon *d, const char *by, struct diag *why)
{
    enum err e;

    pthread_mutex_lock(&d->draining);
    e = drain_locked(d, by, why);
    pthread_mutex_unlock(&d->draining);
    return e;
}

enum err undrain_here(struct daemon *d, struct diag *why)
{
    enum err e;

    pthread_mutex_lock(&d->draining);
    e = volumes_undrain(d->volumes, why);
    if (!e)
        e = cluster_drain(d->cluster, DRAIN_NONE, why);
    pthread_mutex_unlock(&d->draining);
    if (!e)
        hotplug_retry(d->hotplug);
    return e;
}

/* On the node itself.  One that is off coordinates nothing: but what is to be
 * when it comes back it must hear itself. */
static enum err at_node(struct control_call *call, const char *command)
{
    struct daemon *d = daemon_of(call);
    const char *name = control_text(call, "node");
    struct errand errand = {.command = command};
    enum err e;

    if (!d->cluster)
        return diag_fail(&call->why, E_UNSUPPORTED,
                         "this host is in no cluster: there is nobody who "
                         "could do its part");
    errand.node = cluster_node(d->cluster, name);
    if (!errand.node)
        return diag_fail(&call->why, E_NOENT,
                         "node %s: is not in the cluster: see \"lunar status\"",
                         name);
    if (errand.node == cluster_me(d->cluster)) {
        e = strcmp(command, "drain")
                ? undrain_here(d, &call->why)
                : drain_here(d, d->config.host_name, &call->why);
        return e ? diag_prefix(&call->why, e, "%s", d->config.host_name) : E_OK;
    }
    if (!strcmp(command, "drain"))
        errand.args = json_pack("{s:s}", "by", d->config.host_name);
    control_progress(call, 0, "volumes are being handed over …");
    cluster_ask(d->cluster, &errand, 1, DRAIN_MS);
    json_decref(errand.args);
    json_decref(errand.result);
    return verdict(&errand, name, &call->why);
}

enum err run_drain(struct control_call *call)
{
    return at_node(call, "drain");
}

enum err run_undrain(struct control_call *call)
{
    return at_node(call, "undrain");
}
