/* hotplug/private.h - VMs, controllers and disks as this folder sees them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_HOTPLUG_PRIVATE_H
#define LUNAR_HOTPLUG_PRIVATE_H

#include "base/list.h"
#include "base/uuid.h"
#include "hotplug/hotplug.h"
#include "iscsi/iscsi.h"
#include "vhd/vhd.h"

#include <pthread.h>

enum disk_kind { DISK_RAW, DISK_VHD, DISK_PASS_THROUGH };
enum disk_state {
    DISK_ATTACHING, /* being opened: no LUN yet */
    DISK_ATTACHED,
    DISK_DETACHING, /* the guest was asked; still works */
    DISK_CLOSING,   /* off its bus: nobody but who closes it may touch it */
    DISK_FAILED     /* remembered, but could not be opened: reason says why */
};

const char *disk_kind_name(enum disk_kind kind);
const char *disk_state_name(enum disk_state state);

/* An open disk: the file or LUN, the VHD in it if it is one. */
struct backing {
    enum disk_kind kind;
    struct hotplug_file file; /* not DISK_PASS_THROUGH */
    struct vhd *vhd;          /* DISK_VHD */
    struct lun *lun;          /* DISK_PASS_THROUGH */
    struct store *disk;       /* what the guest sees: of one of these */
    uint8_t id[HOTPLUG_ID_BYTES];
    bool id_lasts; /* over a restart of the host */
};

struct disk {
    struct list link; /* vm->disks */
    struct controller *controller;
    char path[HOTPLUG_PATH_BYTES];
    bool read_only;
    /* In the state file, and its LUN is kept for it, while it is failed and
     * being attached again, too. */
    bool known;
    /* What it was when it was attached.  A path may mean another file after a
     * restart, which its guest must not get without being asked for. */
    bool has_id, any_id;
    uint8_t id[HOTPLUG_ID_BYTES];
    unsigned lun; /* valid if known, attached or later */
    enum disk_state state;
    unsigned detaches; /* running hotplug_detach() calls */
    bool off_bus;      /* one of them succeeded */
    bool resizing;
    char reason[DIAG_TEXT_BYTES]; /* of the last failure; "": none */
    struct backing backing;
    struct scsi_lu *lu;
};

struct controller {
    struct vm *vm;
    unsigned number;
    struct loop *loop;
    struct scsi_bus *bus;
    struct vhost_scsi *vhost;
    char socket[HOTPLUG_PATH_BYTES];
    char nexus[HOTPLUG_NAME_BYTES + 48];
};

struct vm {
    struct list link; /* hotplug->vms */
    char name[HOTPLUG_NAME_BYTES];
    uint8_t uuid[HOTPLUG_ID_BYTES];
    unsigned controller_count;
    struct controller controllers[HOTPLUG_CONTROLLERS_MAX];
    struct list disks;
    char reason[DIAG_TEXT_BYTES]; /* why its controllers are not served */
};

struct hotplug {
    struct hotplug_args args;
    char *strings[4]; /* copies behind args */
    pthread_mutex_t mutex;
    struct list vms; /* lock: mutex; with all that hangs from it */
    unsigned vm_count, next_loop;
    /* Serialises adding and removing VMs: held around the cold work that the
     * mutex must not be held for.  Taken before `mutex`. */
    pthread_mutex_t vm_mutex;
};

/* Context of all below: h->mutex is held. */
struct vm *vm_find(struct hotplug *h, const char *name);
/* The disk that has this LUN, or keeps it. */
struct disk *disk_find_lun(struct vm *vm, unsigned controller, unsigned lun);
enum err save_state(struct hotplug *h, struct diag *why);

/* A VM with a fresh uuid, in no list, without controllers running. */
enum err vm_new(const struct hotplug_vm_args *args, struct vm **ret_vm,
                struct diag *why);

/* Context: h->mutex is not held; may block. */
/* Directory and buses: disks can be attached, nobody can connect yet. */
enum err vm_start(struct hotplug *h, struct vm *vm, struct diag *why);
/* Let VMMs connect, or go on with one that an earlier process served. */
enum err vm_open_doors(struct hotplug *h, struct vm *vm, struct diag *why);
/* Disconnect the VMMs; the buses then have no guest. */
void vm_stop_doors(struct vm *vm);
/* Free the buses, which are empty, and the VM. */
void vm_free(struct hotplug *h, struct vm *vm);
bool vm_name_ok(const char *name);

/* Read the state file: VMs not started, disks as DISK_FAILED. */
enum err load_state(struct hotplug *h, struct diag *why);

/* Make `path` absolute and normal for a disk below the root, or leave a URL
 * alone.  Errors: E_INVAL, E_NAME_TOO_LONG. */
enum err disk_path_check(const struct hotplug *h, const char *path,
                         char ret_path[HOTPLUG_PATH_BYTES], struct diag *why);
bool disk_path_on_volume(const struct hotplug *h, const char *path);

enum err backing_open(struct hotplug *h, const struct disk *disk,
                      struct backing *ret_backing, struct diag *why);
/* Flush and close.  Context: no io in flight, on no bus. */
enum err backing_close(struct hotplug *h, struct backing *b);

/* Open a disk that is in its VM's list and put it on its bus at *lun, or
 * anywhere: *lun then says where. */
enum err disk_bring_up(struct hotplug *h, struct disk *disk, int *lun,
                       struct diag *why);
/* Take a disk off its bus, without asking the guest, and close it. */
enum err disk_take_down(struct hotplug *h, struct disk *disk, struct diag *why);

/* -- remote.c: work on another loop ---------------------------------------- */

/* A call that runs on a controller's loop while this thread waits. */
struct remote {
    struct task task, back;
    struct loop *from;
    void (*run)(struct remote *r); /* ends with remote_done(), now or later */
    enum err result;
    bool done;
};
/* Run r->run on `loop`, wait until it says remote_done(). */
enum err remote_run(struct loop *loop, struct remote *r);
/* Context: the loop that `run` ran on. */
void remote_done(struct remote *r, enum err result);

#endif
