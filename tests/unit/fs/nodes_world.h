/* tests/unit/fs/nodes_world.h - one volume, three nodes, each with a path of
 * its own to the LUN; one coordinates, all reach it over a network that
 * breaks.  What lockmgr/takeover.h would decide the test decides.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_FS_NODES_WORLD_H
#define LUNAR_TESTS_UNIT_FS_NODES_WORLD_H

#include "base/transport.h"
#include "fs/super.h"
#include "tests/unit/fs/client_world.h"

enum { NODES = 3 };

struct node {
    struct store *lun; /* a fault store: its path */
    struct fs_net *net;
    struct transport *transport;
    struct fs_link *link;
    struct fs_client *client;
    struct fs_file *file;
};

struct cluster {
    struct volume v; /* v.coord, v.lun: the LUN itself */
    struct transport_hub *hub;
    struct node nodes[NODES + 1]; /* from 1 on */
    uint32_t coordinator;         /* 0: nobody */
    struct super super;           /* as the last one claimed it */
    unsigned failures;            /* that v.coord has told of */
    struct task failed;
    uint64_t seed;
};

/* Node 1 coordinates. */
void cluster_init(struct cluster *c);
/* With a check that finds nothing. */
void cluster_fini(struct cluster *c);
struct fs_sender cluster_run_of(uint32_t node);
uint32_t cluster_random(struct cluster *c, uint32_t n); /* below n */

/* The coordinator leaves and stops; calls wait.  Its claim stays. */
void cluster_leave(struct cluster *c);
/* Claim the next epoch for that node. */
void cluster_claim(struct cluster *c, uint32_t node);
/* cluster_claim(), and serve there; all nodes live on, and hear of it. */
void cluster_takeover(struct cluster *c, uint32_t node);
/* What node does to the LUN fails from its nth operation of `ops` on (bits of
 * 1 << enum store_op); nth 0: it works again. */
void cluster_path_fails(struct cluster *c, uint32_t node, uint32_t ops,
                        uint64_t nth, enum err e);

/* The node loses its path, and is told so; or has it back. */
void cluster_path(struct cluster *c, uint32_t node, bool path);

/* -- one file, open on every node ------------------------------------------ */
void cluster_open(struct cluster *c, const char *name);
void cluster_close(struct cluster *c);
void cluster_submit(struct cluster *c, uint32_t node, struct waited_io *w);
enum err cluster_run(struct cluster *c, uint32_t node, struct waited_io *w);
/* READ or WRITE, with a buffer that lives on. */
void cluster_io(struct waited_io *w, enum fs_io_op op, uint64_t off, void *buf,
                uint64_t len);
enum err cluster_data(struct cluster *c, uint32_t node, enum fs_io_op op,
                      uint64_t off, void *buf, uint64_t len,
                      uint64_t *ret_count);

/* -- a model of it ----------------------------------------------------------
 */
enum { MODEL_BYTES = 96 << 10 };
struct model {
    uint8_t bytes[MODEL_BYTES];
    uint64_t size;
};
/* A random step on a random node, and what it must do. */
void cluster_step(struct cluster *c, struct model *m);

#endif
