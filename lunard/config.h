/* lunard/config.h - what the administrator wrote into lunar.conf, checked.
 * Reads one file; starts nothing, and looks at nothing else but whether a fence
 * agent is there.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_CONFIG_H
#define LUNAR_LUNARD_CONFIG_H

#include "base/address.h"
#include "base/err.h"

#define CONFIG_PATH    "/etc/lunar/lunar.conf"
#define CONTROL_SOCKET "/run/lunar/control.sock"

enum {
    CONFIG_NAME_BYTES = 64,  /* a host name, with its zero */
    CONFIG_PATH_BYTES = 256, /* room for what is appended to it */
    CONFIG_REACTORS_MAX = 64,
    CONFIG_FENCE_MAX = 256, /* options: 64 nodes, and four for each */
    CONFIG_OPTION_BYTES = 32,
    CONFIG_VALUE_BYTES = 200 /* no line is longer */
};

/* A line below [fence] or [fence NODE]: for the fence agent, as it is. */
struct config_fence {
    char node[CONFIG_NAME_BYTES]; /* name or number; "": of all */
    char name[CONFIG_OPTION_BYTES];
    char value[CONFIG_VALUE_BYTES];
};

/* docs/man/lunar.conf.5 has a paragraph for each. */
struct config {
    char host_name[CONFIG_NAME_BYTES];
    char root[CONFIG_PATH_BYTES];         /* the one mount */
    char control[CONFIG_PATH_BYTES];      /* the control socket */
    char state[CONFIG_PATH_BYTES];        /* known volumes, VMs */
    char run[CONFIG_PATH_BYTES];          /* controllers' sockets */
    char socket_group[CONFIG_NAME_BYTES]; /* "": the daemon's own */
    unsigned reactors;                    /* 0: one for each core */
    unsigned spin_us;                     /* poll this long before sleeping */
    bool lock_memory;
    char cluster_name[CONFIG_NAME_BYTES];
    bool corosync;                       /* else this host is alone */
    char listen[ADDRESS_TEXT_BYTES];     /* where hosts reach us; "": nowhere */
    char key[CONFIG_PATH_BYTES];         /* file of the cluster's secret */
    char fence_agent[CONFIG_PATH_BYTES]; /* a program; "": there is none */
    struct config_fence fence[CONFIG_FENCE_MAX];
    unsigned fence_count;
};

/* The values that a key has if it is not in the file. */
void config_default(struct config *ret_config);

/* Read a file on top of the defaults.
 * Errors: E_CONFIG, E_NOENT, E_ACCESS; why = "FILE:LINE: what, and the cure"
 * (no line where one is missing).
 * Context: blocks. */
MUST_CHECK enum err config_load(const char *path, struct config *ret_config,
                                struct diag *why);

/* The same for text in memory; `path` is for messages only. */
MUST_CHECK enum err config_parse(const char *path, const char *text,
                                 struct config *ret_config, struct diag *why);

#endif
