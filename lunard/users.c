/* lunard/users.c - who has files of a volume open on this host: VMs, and other
 * processes, as /proc tells.
 * Opens nothing below the mount: it reads links only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/commands.h"

#include "base/buf.h"
#include "base/jsontext.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct users {
    json_t *list;
    const char *prefix;
    size_t prefix_bytes;
    unsigned more;
};

static void add(struct users *u, const char *text)
{
    if (json_array_size(u->list) < USERS_MAX)
        json_array_append_new(u->list, json_text(text));
    else
        u->more++;
}

/* -- VMs ------------------------------------------------------------------- */

static void add_disks(struct users *u, struct daemon *d, bool all)
{
    json_t *disks = hotplug_disks_to_json(d->hotplug), *disk;
    char text[DIAG_TEXT_BYTES];
    size_t i;

    json_array_foreach (disks, i, disk) {
        const char *path, *vm, *state;

        if (json_unpack(disk, "{s:s, s:s, s:s}", "path", &path, "vm", &vm,
                        "state", &state) ||
            !strcmp(state, "failed") ||
            (!all && strncmp(path, u->prefix, u->prefix_bytes) != 0))
            continue;
        snprintf(text, sizeof text, "vm %s has %s attached", vm, path);
        add(u, text);
    }
    json_decref(disks);
}

/* -- other processes ------------------------------------------------------- */

static void name_of_process(const char *pid, char *ret_name, size_t room)
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%.16s/comm", pid);
    file = fopen(path, "re");
    if (!file || !fgets(ret_name, (int)room, file))
        snprintf(ret_name, room, "a process");
    ret_name[strcspn(ret_name, "\n")] = '\0';
    if (file)
        fclose(file);
}

static void add_process(struct users *u, const char *pid)
{
    char text[DIAG_TEXT_BYTES], name[32], path[64], link[PATH_MAX];
    struct dirent *entry;
    DIR *fds;

    snprintf(path, sizeof path, "/proc/%.16s/fd", pid);
    fds = opendir(path);
    while (fds && (entry = readdir(fds))) {
        ssize_t n =
            readlinkat(dirfd(fds), entry->d_name, link, sizeof link - 1);

        if (n < 0)
            continue;
        link[n] = '\0';
        if (strncmp(link, u->prefix, u->prefix_bytes) != 0)
            continue;
        name_of_process(pid, name, sizeof name);
        snprintf(text, sizeof text, "%s (pid %s) has %s open", name, pid, link);
        add(u, text);
    }
    if (fds)
        closedir(fds);
}

static void add_processes(struct users *u)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;

    while (proc && (entry = readdir(proc)))
        if (*entry->d_name >= '1' && *entry->d_name <= '9')
            add_process(u, entry->d_name);
    if (proc)
        closedir(proc);
}

/* -- together -------------------------------------------------------------- */

json_t *users_of(struct daemon *d, const char *volume)
{
    char prefix[CONFIG_PATH_BYTES + FS_VOLUME_NAME_MAX + 2], more[32];
    struct users u = {.list = json_array(), .prefix = prefix};

    snprintf(prefix, sizeof prefix, "%s/%s%s", d->config.root,
             volume ? volume : "", volume ? "/" : "");
    u.prefix_bytes = strlen(prefix);
    add_disks(&u, d, !volume);
    add_processes(&u);
    if (u.more) {
        snprintf(more, sizeof more, "and %u more", u.more);
        json_array_append_new(u.list, json_string(more));
    }
    return u.list;
}

void users_join(const json_t *users, const char *host, struct buf *to)
{
    const json_t *user;
    size_t i;

    json_array_foreach (users, i, user)
        buf_printf(to, "%s%s%s%s", *buf_text(to) ? "; " : "", host ? host : "",
                   host ? ": " : "",
                   json_string_value(user) ? json_string_value(user) : "?");
}
