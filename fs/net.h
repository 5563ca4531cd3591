/* fs/net.h - the inside of a volume's messages between hosts.
 *
 *   net.c         bytes <-> fs_message; which volume a message is for
 *   net_remote.c  a client's end: a link whose calls travel
 *   net_serve.c   a coordinator's end: calls that have travelled
 *
 * All on one loop.  What comes in is from an authenticated host of the cluster,
 * and is checked all the same: what does not decode is dropped and counted.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_NET_H
#define LUNAR_FS_NET_H

#include "base/transport.h"
#include "fs/fs.h"

struct net_serve;
struct net_remote;

/* A volume of which messages are understood here. */
struct net_volume {
    struct list at;
    uint8_t uuid[16];
    struct net_serve *serve;   /* NULL: it is not served here */
    struct net_remote *remote; /* NULL: it is not reached from here */
};

struct fs_net {
    struct loop *loop;
    struct fs_sender self;
    struct transport *transport;
    struct transport_ear ear;
    struct list volumes;
    uint64_t incarnations[FS_NODES_MAX + 1]; /* of those connected; 0: not */
    uint64_t refused;                        /* messages that were none */
    struct list own;                         /* messages to ourselves */
    struct task own_task;
    bool own_posted, over;
};

struct net_volume *net_volume_find(struct fs_net *net, const uint8_t uuid[16]);
/* Errors: E_NOMEM. */
MUST_CHECK enum err net_volume_get(struct fs_net *net, const uint8_t uuid[16],
                                   struct net_volume **ret_volume);
/* Forget it if it is neither served nor reached. */
void net_volume_put(struct net_volume *v);

/* Bytes behind a message. */
struct net_bulk {
    const struct iovec *iov;
    uint32_t iov_count;
    uint64_t skip, bytes;
};
/* Encode and send; to ourselves, too.  bulk: NULL, or what the message says
 * that there is (net_bulk_bytes()).   Errors: the transport's; E_PROTOCOL - it
 * has what the protocol has no room for. */
MUST_CHECK enum err net_send(struct fs_net *net, uint32_t node,
                             fs_message *message, const struct net_bulk *bulk);
uint64_t net_bulk_bytes(const fs_message *message);

/* net_remote.c */
void net_remote_met(struct net_remote *r, uint32_t node);
void net_remote_lost(struct net_remote *r, uint32_t node);
/* The connection has room again. */
void net_remote_writable(struct net_remote *r, uint32_t node);
/* Takes what the reply points at; `bytes`: behind it. */
void net_remote_reply(struct net_remote *r, uint32_t node,
                      fs_reply_message *reply, const void *bytes);
void net_remote_recall(struct net_remote *r, uint32_t node,
                       const fs_recall *recall);
void net_remote_lock_answer(struct net_remote *r, uint32_t node,
                            const fs_lock_answer *answer);

/* net_serve.c */
void net_serve_lost(struct net_serve *s, uint32_t node);
/* Takes what the request points at; `bytes`: behind it. */
void net_serve_call(struct net_serve *s, const struct fs_sender *who,
                    fs_call_message *call, const void *bytes);
void net_serve_lock(struct net_serve *s, const struct fs_sender *who,
                    fs_lock_request *request);

#endif
