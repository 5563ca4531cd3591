/* hotplug - virtual machines, their controllers, and the disks that come and
 * go while they run.
 *
 *   lunar attach ──> attach.c ── open ──> disk.c ── vhd, raw, pass-through
 *                        │                   │
 *                        ▼                   ▼ struct store
 *   vm.c  VM ── controller: one scsi_bus and one vhost-user socket, both on
 *         one reactor.  What happens there goes through remote.c.
 *   save.c  VMs and disks are remembered, and back after a restart
 *   show.c  all of it as JSON
 *
 * Never includes fs: a path on a volume is opened by what lunard plugs in
 * (struct hotplug_files).  A VM's disk has one owner: the VM that it is
 * attached to; a second one is told who that is.
 *
 * Every function blocks and is called from a thread with a loop of its own
 * that nothing else depends on, never from a reactor; several may be at work
 * at once.  Start reading at hotplug_attach().
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_HOTPLUG_HOTPLUG_H
#define LUNAR_HOTPLUG_HOTPLUG_H

#include "base/loop.h"
#include "base/store.h"

#include <jansson.h>

enum {
    HOTPLUG_NAME_BYTES = 64,     /* of a VM: part of a path, with its zero */
    HOTPLUG_CONTROLLERS_MAX = 8, /* of a VM */
    HOTPLUG_VMS_MAX = 1024,      /* on a host */
    HOTPLUG_PATH_BYTES = 1024,   /* of a disk, with its zero */
    HOTPLUG_ID_BYTES = 16
};

/* A file on a volume, opened for a disk. */
struct hotplug_file {
    struct store *store;
    uint8_t id[HOTPLUG_ID_BYTES]; /* of the file: the same on every host */
    uint64_t generation;          /* of the handle that it is held under */
    void *opened;                 /* the opener's own */
};

/* How files of volumes are reached. */
struct hotplug_files {
    /* Open `path`, which is absolute, normal and below the root, for the disk
     * of a VM; the store is then used from one reactor.
     * Errors: as the volume says; `why` names path and cure. */
    enum err (*open)(struct hotplug_files *files, const char *path,
                     bool read_only, const char *vm,
                     struct hotplug_file *ret_file, struct diag *why);
    /* Let it go.  Errors: of what was still to be written; it is gone. */
    enum err (*close)(struct hotplug_files *files, struct hotplug_file *file);
};

struct hotplug_args {
    struct loop *const *loops; /* controllers are dealt out among them */
    unsigned loop_count;
    const char *root;         /* paths below it are files of volumes */
    const char *run_dir;      /* sockets: RUN_DIR/VM/N.sock */
    const char *socket_group; /* may connect to them; "": nobody but us */
    const char *state_path;   /* where VMs and disks are remembered */
    struct hotplug_files *files;
    struct keep *keep; /* guests outlive this process there; NULL: they do
                          not */
};

struct hotplug;

/* Bring back the VMs and disks that are remembered.  A disk that cannot be
 * opened now stays in the list as failed, with the reason; attaching it again
 * tries again.
 * Ownership: what args point at outlives the hotplug, the strings are copied.
 * Errors: E_CORRUPT (the state file), E_IO, E_NOMEM. */
MUST_CHECK enum err hotplug_open(const struct hotplug_args *args,
                                 struct hotplug **ret_hotplug,
                                 struct diag *why);
/* Stop serving all guests, flush and close every disk; forget nothing.  NULL
 * is fine.  Errors: of the first disk that could not be closed cleanly. */
MUST_CHECK enum err hotplug_close(struct hotplug *h, struct diag *why);

/* -- VMs ------------------------------------------------------------------- */

struct hotplug_vm_args {
    const char *name;
    unsigned controllers; /* ≤ HOTPLUG_CONTROLLERS_MAX; 0: 1, or as it is */
};
/* Make a VM and its controllers.  One that is there already with as many
 * controllers is left as it is, and that is success.
 * Errors: E_INVAL (name, number), E_EXIST (other number), E_BUSY (too many),
 * or those of the socket. */
MUST_CHECK enum err hotplug_vm_add(struct hotplug *h,
                                   const struct hotplug_vm_args *args,
                                   struct diag *why);
/* Remove a VM that has no disks; its VMM is disconnected.
 * Errors: E_NOENT, E_BUSY (disks). */
MUST_CHECK enum err hotplug_vm_remove(struct hotplug *h, const char *name,
                                      struct diag *why);

/* -- disks ----------------------------------------------------------------- */

enum { HOTPLUG_LUN_ANY = -1 };

struct hotplug_attach_args {
    const char *vm;
    const char *disk; /* a path below the root, or a LUN URL */
    unsigned controller;
    int lun; /* or HOTPLUG_LUN_ANY */
    bool read_only;
};
/* Open the disk, put it on the controller, tell the guest.  A disk that is
 * there already as asked is left alone, and that is success.
 * Errors: E_NOENT (VM, controller, file), E_HANDLE_HELD (`why` names the
 * owner), E_EXIST (the LUN is in use), E_BUSY (the guest has not let go of
 * it), E_INVAL, or those of opening. */
MUST_CHECK enum err hotplug_attach(struct hotplug *h,
                                   const struct hotplug_attach_args *args,
                                   unsigned *ret_lun, struct diag *why);

struct hotplug_detach_args {
    const char *vm;
    unsigned controller, lun;
    bool force; /* do not wait for the guest */
};
/* Ask the guest to let go, flush, take the disk off, close it.
 * Errors: E_NOENT, E_TIMEOUT (the guest did not answer), E_BUSY (is being
 * detached), or that of the flush; the disk then stays attached and works. */
MUST_CHECK enum err hotplug_detach(struct hotplug *h,
                                   const struct hotplug_detach_args *args,
                                   struct diag *why);

/* Grow an attached disk while it is in use and tell its guest.
 * Errors: E_NOENT: not attached here; E_READ_ONLY, or those of the disk. */
MUST_CHECK enum err hotplug_resize(struct hotplug *h, const char *disk,
                                   uint64_t size_bytes, struct diag *why);

/* Attach again what failed to: a volume came back. */
void hotplug_retry(struct hotplug *h);
/* Is any disk attached whose path begins with `prefix`?  ret_user says which
 * and whose: "PATH is attached to vm NAME". */
bool hotplug_uses(struct hotplug *h, const char *prefix, struct diag *ret_user);

/* -- what there is --------------------------------------------------------- */

/* One VM as JSON: name, uuid, controllers with their sockets, the options for
 * QEMU; NULL: no such VM. */
json_t *hotplug_vm_to_json(struct hotplug *h, const char *name);
json_t *hotplug_vms_to_json(struct hotplug *h);
json_t *hotplug_disks_to_json(struct hotplug *h);

#endif
