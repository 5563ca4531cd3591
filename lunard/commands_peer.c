/* lunard/commands_peer.c - what other hosts may ask of this one: one row per
 * question.  Volumes are meant by their UUID.
 * Asks nobody: two hosts that ask each other would wait for ever.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/commands.h"

#include <stdio.h>

typedef enum err named_fn(struct control_call *call, const char *name);

static enum err with_name(struct control_call *call, named_fn *run)
{
    char name[FS_VOLUME_NAME_MAX + 1];
    enum err e = volumes_called(daemon_of(call)->volumes,
                                control_text(call, "uuid"), name, &call->why);

    return e ? e : run(call, name);
}

static enum err peer_volumes(struct control_call *call)
{
    call->result = json_pack("{s:o}", "volumes",
                             volumes_to_json(daemon_of(call)->volumes));
    return call->result ? E_OK : E_NOMEM;
}

static enum err peer_check(struct control_call *call)
{
    return with_name(call, command_check);
}

static enum err peer_grow(struct control_call *call)
{
    return with_name(call, command_grow);
}

static enum err peer_move(struct control_call *call)
{
    return with_name(call, command_move);
}

static enum err rescan(struct control_call *call, const char *name)
{
    uint64_t bytes;
    enum err e =
        volumes_rescan(daemon_of(call)->volumes, name, &bytes, &call->why);

    if (!e)
        call->result = json_pack("{s:I}", "bytes", (json_int_t)bytes);
    return e;
}

static enum err peer_rescan(struct control_call *call)
{
    return with_name(call, rescan);
}

static enum err list_users(struct control_call *call, const char *name)
{
    call->result = json_pack("{s:o}", "users", users_of(daemon_of(call), name));
    return call->result ? E_OK : E_NOMEM;
}

static enum err peer_users(struct control_call *call)
{
    return with_name(call, list_users);
}

static enum err let_go(struct control_call *call, const char *name)
{
    return volumes_let_go(daemon_of(call)->volumes, name,
                          control_text(call, "by"), &call->why);
}

static enum err peer_let_go(struct control_call *call)
{
    return with_name(call, let_go);
}

/* Whatever is to be open by the table, and was let go for nothing. */
static enum err peer_take_again(struct control_call *call)
{
    volumes_reconcile(daemon_of(call)->volumes);
    return E_OK;
}

static enum err peer_drain(struct control_call *call)
{
    return drain_here(daemon_of(call), control_text(call, "by"), &call->why);
}

static enum err peer_undrain(struct control_call *call)
{
    return undrain_here(daemon_of(call), &call->why);
}

/* clang-format off */
#define TEXT(name) {name, CONTROL_TEXT, true}
#define NOTHING    {{.name = NULL}}

const struct control_command peer_commands[] = {
    {"volumes",           peer_volumes,    NOTHING},
    {"volume check",      peer_check,      {TEXT("uuid")}},
    {"volume grow",       peer_grow,       {TEXT("uuid")}},
    {"volume move",       peer_move,       {TEXT("uuid"), TEXT("to")}},
    {"volume rescan",     peer_rescan,     {TEXT("uuid")}},
    {"volume users",      peer_users,      {TEXT("uuid")}},
    {"volume let go",     peer_let_go,     {TEXT("uuid"), TEXT("by")}},
    {"volume take again", peer_take_again, NOTHING},
    {"drain",             peer_drain,      {TEXT("by")}},
    {"undrain",           peer_undrain,    NOTHING},
    {NULL,                NULL,            NOTHING},
};
/* clang-format on */
