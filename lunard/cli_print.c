/* lunard/cli_print.c - what the daemon said, for people.
 * Shows what is there and invents nothing: a missing member is a dash.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void size_to_text(uint64_t bytes, char ret_text[SIZE_TEXT_BYTES])
{
    static const char *const units[] = {"B",   "KiB", "MiB", "GiB",
                                        "TiB", "PiB", "EiB"};
    double n = (double)bytes;
    size_t unit = 0;

    while (n >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        n /= 1024;
        unit++;
    }
    snprintf(ret_text, SIZE_TEXT_BYTES,
             n >= 100 || n == (double)(uint64_t)n ? "%.0f %s" : "%.1f %s", n,
             units[unit]);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text && *text ? text : "-";
}

static uint64_t number_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static bool is_set(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static void print_reason(const json_t *object)
{
    const char *reason = text_of(object, "reason");

    if (strcmp(reason, "-"))
        printf("    %s\n", reason);
}

/* A volume is not as it should be: since when, and why. */
static void print_since(const json_t *volume)
{
    const json_t *node = json_array_get(json_object_get(volume, "nodes"), 0);
    time_t since = (time_t)number_of(node, "since");
    char text[32] = "";
    struct tm tm;

    if (!strcmp(text_of(volume, "reason"), "-"))
        return;
    if (since && localtime_r(&since, &tm))
        strftime(text, sizeof text, "since %F %T: ", &tm);
    printf("    %s%s\n", text, text_of(volume, "reason"));
}

/* Who coordinates did not say it this time. */
static void print_age(const json_t *volume)
{
    uint64_t age = number_of(volume, "age");

    if (json_object_get(volume, "age"))
        printf("    size and free space as known %llu s ago\n",
               (unsigned long long)age);
}

/* Other hosts that do not have it as they should. */
static void print_elsewhere(const json_t *volume)
{
    const json_t *nodes = json_object_get(volume, "nodes"), *node;
    size_t i;

    json_array_foreach (nodes, i, node) {
        const char *state = text_of(node, "state");
        const char *reason = text_of(node, "reason");

        if (i && (strcmp(state, "Direct") || strcmp(reason, "-")))
            printf("    on %s: %s: %s\n", text_of(node, "node"), state, reason);
    }
}

/* What the LUN has said of itself, while the volume goes on. */
static void print_trouble(const json_t *volume)
{
    const char *trouble = text_of(volume, "lun_trouble");

    if (strcmp(trouble, "-"))
        printf("    LUN: %s\n", trouble);
}

static void print_volume_rows(const json_t *volumes)
{
    const json_t *v;
    size_t i;

    if (!json_array_size(volumes)) {
        puts("no volumes: add one with \"lunar volume add URL\"");
        return;
    }
    printf("%-16s %-10s %10s %10s  %-12s  %s\n", "VOLUME", "STATE", "SIZE",
           "FREE", "COORDINATOR", "LUN");
    json_array_foreach (volumes, i, v) {
        char size[SIZE_TEXT_BYTES] = "-", room[SIZE_TEXT_BYTES] = "-";

        if (number_of(v, "size")) { /* else nobody has said it yet */
            size_to_text(number_of(v, "size"), size);
            size_to_text(number_of(v, "free"), room);
        }
        printf("%-16s %-10s %10s %10s  %-12s  %s\n", text_of(v, "name"),
               text_of(v, "state"), size, room, text_of(v, "coordinator"),
               text_of(v, "url"));
        print_since(v);
        print_trouble(v);
        print_age(v);
        print_elsewhere(v);
    }
}

static void print_controller(const json_t *vm, const json_t *c)
{
    const json_t *rate = json_object_get(c, "rate");
    const char *fault = text_of(c, "fault");
    char per_second[24] = "-";

    if (rate)
        snprintf(per_second, sizeof per_second, "%.0f",
                 json_number_value(rate));
    printf("%-16s %4llu %-10s %10s %9llu  %s\n", text_of(vm, "name"),
           (unsigned long long)number_of(c, "number"),
           is_set(c, "running")     ? "running"
           : is_set(c, "connected") ? "connected"
                                    : "waiting",
           per_second, (unsigned long long)number_of(c, "in_flight"),
           text_of(c, "socket"));
    if (strcmp(fault, "-"))
        printf("    %s\n", fault);
}

static void print_vm_rows(const json_t *vms)
{
    const json_t *vm, *c;
    size_t i, j;

    if (!json_array_size(vms))
        return;
    printf("%-16s %4s %-10s %10s %9s  %s\n", "VM", "CTRL", "GUEST", "IO/S",
           "IN FLIGHT", "SOCKET");
    json_array_foreach (vms, i, vm) {
        const json_t *controllers = json_object_get(vm, "controllers");

        json_array_foreach (controllers, j, c)
            print_controller(vm, c);
        print_reason(vm);
    }
}

static void print_disk_rows(const json_t *disks)
{
    const json_t *d;
    size_t i;

    if (!json_array_size(disks))
        return;
    printf("%-16s %4s %4s %-10s %-12s %10s  %s\n", "VM", "CTRL", "LUN", "STATE",
           "KIND", "SIZE", "DISK");
    json_array_foreach (disks, i, d) {
        char size[SIZE_TEXT_BYTES];

        size_to_text(number_of(d, "size"), size);
        printf("%-16s %4llu %4llu %-10s %-12s %10s  %s%s\n", text_of(d, "vm"),
               (unsigned long long)number_of(d, "controller"),
               (unsigned long long)number_of(d, "lun"), text_of(d, "state"),
               text_of(d, "kind"), size, text_of(d, "path"),
               is_set(d, "read_only") ? " (read-only)" : "");
        print_reason(d);
    }
}

/* Of a cluster, or of a host alone: then there is nothing to tell. */
static void print_node_rows(const json_t *result)
{
    const json_t *nodes = json_object_get(result, "nodes"), *node;
    size_t i;

    if (!json_object_get(json_array_get(nodes, 0), "node"))
        return;
    printf("%4s  %-16s %-8s %12s  %s\n", "NODE", "HOST", "STATE", "INCARNATION",
           "ADDRESS");
    json_array_foreach (nodes, i, node)
        printf("%4llu  %-16s %-8s %12llu  %s\n",
               (unsigned long long)number_of(node, "node"),
               text_of(node, "name"), text_of(node, "state"),
               (unsigned long long)number_of(node, "incarnation"),
               text_of(node, "address"));
    putchar('\n');
}

void print_status(const json_t *result)
{
    printf("host %s, incarnation %llu, cluster %s%s, root %s\n\n",
           text_of(result, "host"),
           (unsigned long long)number_of(result, "incarnation"),
           text_of(result, "cluster"),
           is_set(result, "quorum") ? "" : " without quorum",
           text_of(result, "root"));
    print_node_rows(result);
    print_volume_rows(json_object_get(result, "volumes"));
    if (json_array_size(json_object_get(result, "vms")))
        putchar('\n');
    print_vm_rows(json_object_get(result, "vms"));
    if (json_array_size(json_object_get(result, "disks")))
        putchar('\n');
    print_disk_rows(json_object_get(result, "disks"));
}

void print_volumes(const json_t *result)
{
    print_volume_rows(json_object_get(result, "volumes"));
}

void print_volume_added(const json_t *result)
{
    printf("volume %s is at %s\n", text_of(result, "name"),
           text_of(result, "path"));
}

void print_vms(const json_t *result)
{
    if (!json_array_size(json_object_get(result, "vms")))
        puts("no VMs: add one with \"lunar vm add NAME\"");
    print_vm_rows(json_object_get(result, "vms"));
}

/* The options as they can be pasted into QEMU's command line. */
void print_vm_added(const json_t *result)
{
    const json_t *c, *word;
    size_t i, j;

    puts("# QEMU needs its memory shared:\n"
         "-object memory-backend-memfd,id=mem,size=SIZE,share=on "
         "-machine memory-backend=mem");
    json_array_foreach (json_object_get(result, "controllers"), i, c) {
        const json_t *qemu = json_object_get(c, "qemu");

        json_array_foreach (qemu, j, word)
            printf("%s%s", j ? " " : "", json_string_value(word));
        putchar('\n');
    }
}

void print_attached(const json_t *result)
{
    printf("%s is LUN %llu of controller %llu of vm %s\n",
           text_of(result, "disk"),
           (unsigned long long)number_of(result, "lun"),
           (unsigned long long)number_of(result, "controller"),
           text_of(result, "vm"));
}
