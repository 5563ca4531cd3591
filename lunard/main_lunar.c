/* lunard/main_lunar.c - the lunar command: the table of what it can do.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli.h"

#include "base/cluster_key.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
#define WORD(name, key)   {name, key, CLI_TEXT, false}
#define TEXT(name, key)   {name, key, CLI_TEXT, true}
#define NUMBER(name, key) {name, key, CLI_NUMBER, true}
#define FLAG(name, key)   {name, key, CLI_FLAG, true}

const struct cli_command cli_commands[] = {
    {"format",
     {WORD("URL", "url"), WORD("--name", "name"), TEXT("--cluster", "cluster"),
      FLAG("--force", "force"), FLAG("--no-discard", "no_discard")},
     cli_format, NULL,
     "make an empty volume on a LUN",
     "URL is file:PATH, /dev/NAME or iscsi://HOST[:PORT]/TARGET/LUN.\n"
     "A LUN that holds a volume is refused without --force.  What is on the\n"
     "LUN is lost."},
    {"check",
     {WORD("URL|NAME", "name"), FLAG("--repair", "repair")},
     cli_check, NULL,
     "verify a volume",
     "By URL: of a volume that nobody uses; --repair mends what can be mended\n"
     "without losing data.  By NAME: of a volume in use, read-only, by the\n"
     "host that coordinates it.\n"
     "Exit status 1 if something is wrong still."},
    {"status",
     {{0}}, cli_ask, print_status,
     "hosts, volumes, VMs and disks, states with reasons",
     "--json prints all there is to know."},
    {"top",
     {NUMBER("--interval", "interval"), NUMBER("--count", "count")},
     cli_top, NULL,
     "a live view of the same",
     "Every --interval seconds (1), --count times (for ever); with the\n"
     "requests per second of each controller."},
    {"volume add",
     {WORD("URL", "url")}, cli_ask, print_volume_added,
     "open the volume on a LUN, now and at every start",
     "It appears as a directory below the root.  Adding it again is fine."},
    {"volume list",
     {{0}}, cli_ask, print_volumes,
     "the volumes this host knows",
     "A volume is Direct, Paused, Offline or (on a host that is drained) in\n"
     "Maintenance; then a line says why, and another one for each other host\n"
     "where it is not Direct."},
    {"volume remove",
     {WORD("NAME", "name")}, cli_ask, NULL,
     "close a volume and forget it",
     "On all hosts.  Its content stays on the LUN.  Refused while files on\n"
     "it are open or disks on it are attached, on any host: who has what is\n"
     "told, and nothing is done."},
    {"volume pause",
     {WORD("NAME", "name")}, cli_ask, NULL,
     "close a volume until it is resumed",
     "On this host.  For maintenance of the LUN, or \"lunar check URL\n"
     "--repair\", which wants it paused on all.  Stays so over restarts."},
    {"volume resume",
     {WORD("NAME", "name")}, cli_ask, NULL,
     "open a volume that is paused or Offline",
     "Disks that were attached from it are attached again."},
    {"volume move",
     {WORD("NAME", "name"), WORD("--to", "to")}, cli_ask, NULL,
     "have another host coordinate a volume",
     "Its users notice nothing.  A host that fails is replaced without this."},
    {"volume release",
     {WORD("URL", "url")}, cli_volume_release, NULL,
     "end the reservation of a LUN that no host uses any more",
     "A cluster leaves it behind.  A host that does use the LUN stops, until\n"
     "all is sound again."},
    {"volume grow",
     {WORD("NAME", "name")}, cli_ask, NULL,
     "use what the LUN has grown by",
     "Grow the LUN first, where it lives.  Volumes in use grow; every host\n"
     "must see the new size."},
    {"disk create",
     {WORD("PATH", "path"), {"--size", "size", CLI_SIZE, true},
      TEXT("--type", "type"), TEXT("--format", "format"),
      TEXT("--parent", "parent"), {"--block", "block", CLI_SIZE, true}},
     cli_disk_create, NULL,
     "make a virtual disk",
     "--size 512M, 40G, 2T.  --type fixed, dynamic (the default) or\n"
     "differencing; the latter needs --parent PATH and has its size.\n"
     "--block: of a dynamic disk, a power of two up to 2M (the default)."},
    {"disk info",
     {WORD("PATH", "path")}, cli_disk_info, NULL,
     "what a virtual disk is",
     "Type, sizes, blocks in use, parents."},
    {"disk check",
     {WORD("PATH", "path"), FLAG("--repair", "repair")}, cli_disk_check, NULL,
     "verify a virtual disk",
     "--repair puts right what loses nothing.  Parents are not checked: do it\n"
     "file by file."},
    {"disk resize",
     {WORD("PATH", "path"), {"--size", "size", CLI_SIZE, false}},
     cli_disk_resize, NULL,
     "grow a virtual disk",
     "An attached disk grows while the guest uses it, and the guest is told."},
    {"metadata export",
     {WORD("URL", "url"), WORD("FILE", "file")}, cli_metadata_export, NULL,
     "a volume's metadata as files for sqlite3",
     "Writes FILE and FILE-wal, of a damaged volume too."},
    {"vm add",
     {WORD("VM", "vm"), NUMBER("--controllers", "controllers")},
     cli_ask, print_vm_added,
     "make a VM with its controllers",
     "Prints the options that QEMU needs.  1 controller if not told, 8 at\n"
     "most; each has 256 LUNs.  Adding it again prints them again."},
    {"vm remove",
     {WORD("VM", "vm")}, cli_ask, NULL,
     "remove a VM that has no disks",
     "Its VMM loses the controllers."},
    {"vm list",
     {{0}}, cli_ask, print_vms,
     "VMs and their controllers",
     "waiting: no VMM; connected: a VMM; running: a guest's driver."},
    {"attach",
     {WORD("VM", "vm"), WORD("DISK", "disk"),
      NUMBER("--controller", "controller"), NUMBER("--lun", "lun"),
      FLAG("--read-only", "read_only")},
     cli_ask, print_attached,
     "give a running VM a disk",
     "DISK is a path below the root (a VHD by its name or content, else raw)\n"
     "or the URL of a LUN, which is passed through.  The guest sees it within\n"
     "a second.  A disk that another VM has is refused, and its owner named."},
    {"detach",
     {WORD("VM", "vm"), {"LUN", "lun", CLI_NUMBER, false},
      NUMBER("--controller", "controller"), FLAG("--force", "force")},
     cli_ask, NULL,
     "take a disk away from a running VM",
     "The guest is told and has 10 seconds to let go; if it does not, the\n"
     "disk stays and works.  virtio-scsi lets no guest refuse: a disk that is\n"
     "mounted there is gone like a pulled cable, so unmount it first.\n"
     "--force does not wait for the guest."},
    {"drain",
     {WORD("NODE", "node")}, cli_ask, NULL,
     "have a host take no part, before it is switched off",
     "Other hosts coordinate its volumes, then it closes them (Maintenance),\n"
     "also over restarts, until \"lunar undrain NODE\".  Refused while VMs\n"
     "have disks there or files are open: who has what is told, and the host\n"
     "goes on as it was.  Pass-through disks count, too."},
    {"undrain",
     {WORD("NODE", "node")}, cli_ask, NULL,
     "have a drained host take part again",
     "Its volumes are opened, and it may coordinate them."},
    {"confirm-dead",
     {WORD("NODE", "node")}, cli_ask, NULL,
     "say that a host that is missed is switched off",
     "The last resort, when \"lunar status\" asks for it: a host that could\n"
     "not be kept from the LUN otherwise.  If it is not off, data is lost."},
    {"cluster key",
     {TEXT("PATH", "path")}, cli_cluster_key, NULL,
     "make the secret that the hosts of a cluster share",
     "In a new file, " CLUSTER_KEY_PATH " if no other is told, and says what\n"
     "to do with it.  A key that is there already is left alone."},
    {"help",
     {TEXT("COMMAND", "command"), TEXT("SUBCOMMAND", "subcommand")},
     cli_help, NULL,
     "this list, or what a command does",
     "\"lunar help volume add\""},
    {.name = NULL},
};
/* clang-format on */

void cli_overview(void)
{
    puts("usage: lunar [--socket PATH] [--json] COMMAND …\n");
    for (const struct cli_command *c = cli_commands; c->name; c++)
        printf("  %-16s %s\n", c->name, c->summary);
    puts("\nlunar help COMMAND says more; lunar(1) says all.");
}

static void print_usage(const struct cli_command *c)
{
    printf("usage: lunar %s", c->name);
    for (int i = 0; i < CLI_WORDS_MAX && c->words[i].name; i++) {
        const struct cli_word *w = &c->words[i];
        bool option = *w->name == '-';

        printf(" %s%s%s%s", w->optional ? "[" : "", w->name,
               !option || w->type == CLI_FLAG ? ""
               : w->type == CLI_TEXT          ? " TEXT"
               : w->type == CLI_SIZE          ? " SIZE"
                                              : " N",
               w->optional ? "]" : "");
    }
    printf("\n\n%s\n\n%s\n", c->summary, c->help);
}

int cli_help(struct cli *cli)
{
    const char *first = cli_text(cli, "COMMAND");
    const char *second = cli_text(cli, "SUBCOMMAND");
    char name[128];
    bool found = false;

    if (!first) {
        cli_overview();
        return EXIT_SUCCESS;
    }
    snprintf(name, sizeof name, "%s%s%s", first, second ? " " : "",
             second ? second : "");
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        size_t len = strlen(name);

        if (strncmp(c->name, name, len) ||
            (c->name[len] && c->name[len] != ' '))
            continue;
        if (found)
            putchar('\n');
        print_usage(c);
        found = true;
    }
    return found ? EXIT_SUCCESS : cli_usage("no command \"%s\"", name);
}

int main(int argc, char **argv)
{
    struct cli cli;
    int status = cli_parse(argc, argv, &cli);

    return status >= 0 ? status : cli.command->run(&cli);
}
