/* lunard/cli_volume.c - format, check and export a LUN without a daemon.
 * Opens the LUN by itself; one that a daemon uses is refused by its lock.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cli.h"
#include "lunard/cli_lun.h"

#include "base/jsontext.h"
#include "fs/fs.h"

#include <stdio.h>
#include <string.h>

/* -- format ---------------------------------------------------------------- */

static enum err format_lun(struct cli *cli, struct lun *lun, struct diag *why)
{
    struct fs_format_args args = {
        .name = cli_text(cli, "--name"),
        .cluster = cli_text(cli, "--cluster"),
        .force = cli_flag(cli, "--force"),
        .discard = !cli_flag(cli, "--no-discard"),
    };
    enum err e;

    cli_progress("formatting …");
    e = fs_format(lun_store(lun), &args, why);
    cli_progress(NULL);
    if (e == E_IS_VOLUME)
        return diag_fail(why, e,
                         "%s: there is a volume on it: --force "
                         "formats it all the same",
                         lun_name(lun));
    return e ? diag_prefix(why, e, "%s", lun_name(lun)) : E_OK;
}

int cli_format(struct cli *cli)
{
    struct lun_args args = {.exclusive = true};

    return cli_with_lun(cli, cli_text(cli, "URL"), &args, format_lun);
}

/* -- check ----------------------------------------------------------------- */

static void print_finding(void *arg, const char *text, bool mended)
{
    (void)arg;
    cli_progress(NULL);
    printf("%s%s\n", text, mended ? " (mended)" : "");
}

static void collect_finding(void *arg, const char *text, bool mended)
{
    json_array_append_new(arg, json_pack("{s:o, s:b}", "text", json_text(text),
                                         "mended", mended));
}

static json_t *check_to_json(const struct fs_check_result *r, json_t *findings)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "found",
                     (json_int_t)r->found, "mended", (json_int_t)r->mended,
                     "files", (json_int_t)r->files, "dirs", (json_int_t)r->dirs,
                     "used", (json_int_t)(r->used_blocks * FS_BLOCK_BYTES),
                     "free", (json_int_t)(r->free_blocks * FS_BLOCK_BYTES),
                     "findings", findings);
}

/* The verdict in one line; E_CORRUPT if something is wrong still. */
static enum err verdict(const char *what, const json_t *result,
                        struct diag *why)
{
    json_int_t found = json_integer_value(json_object_get(result, "found"));
    json_int_t mended = json_integer_value(json_object_get(result, "mended"));

    if (found == mended)
        return E_OK;
    return diag_fail(why, E_CORRUPT, "%s: %lld problems found, %lld mended",
                     what, (long long)found, (long long)mended);
}

static void print_check(const json_t *result)
{
    char used[SIZE_TEXT_BYTES], room[SIZE_TEXT_BYTES];
    json_int_t files, dirs, bytes_used, bytes_free, found, mended;

    if (json_unpack((json_t *)(uintptr_t)result,
                    "{s:I, s:I, s:I, s:I, s:I, s:I}", "files", &files, "dirs",
                    &dirs, "used", &bytes_used, "free", &bytes_free, "found",
                    &found, "mended", &mended))
        return;
    size_to_text((uint64_t)bytes_used, used);
    size_to_text((uint64_t)bytes_free, room);
    printf("%lld files, %lld directories, %s used, %s free: ", (long long)files,
           (long long)dirs, used, room);
    if (!found)
        puts("clean");
    else
        printf("%lld problems, %lld mended\n", (long long)found,
               (long long)mended);
}

static void show_check(const struct cli *cli, const json_t *result)
{
    if (cli->json) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_check(result);
    }
}

static enum err check_lun(struct cli *cli, struct lun *lun, struct diag *why)
{
    json_t *findings = json_array(), *result;
    struct fs_check_args args = {
        .repair = cli_flag(cli, "--repair"),
        .report = cli->json ? collect_finding : print_finding,
        .arg = findings,
    };
    struct fs_check_result r = {0};
    enum err e;

    cli_progress("checking …");
    e = fs_check(lun_store(lun), &args, &r, why);
    cli_progress(NULL);
    if (e) {
        json_decref(findings);
        return diag_prefix(why, e, "%s", lun_name(lun));
    }
    result = check_to_json(&r, findings);
    show_check(cli, result);
    e = verdict(lun_name(lun), result, why);
    json_decref(result);
    return e;
}

/* A live volume, inside its coordinator. */
static int check_volume(struct cli *cli, const char *name)
{
    json_t *result = NULL;
    const json_t *finding;
    struct diag why = {0};
    size_t i;
    enum err e;

    if (cli_flag(cli, "--repair"))
        return cli_usage("%s: a volume in use is not repaired: pause it, then "
                         "check its URL",
                         name);
    e = cli_request(cli, "volume check", json_pack("{s:s}", "name", name),
                    &result, &why);
    if (e)
        return cli_fail("%s", diag_text(&why, e));
    if (!cli->json)
        json_array_foreach (json_object_get(result, "findings"), i, finding)
            puts(json_string_value(json_object_get(finding, "text")));
    show_check(cli, result);
    e = verdict(name, result, &why);
    json_decref(result);
    return e ? cli_fail("%s", diag_text(&why, e)) : EXIT_SUCCESS;
}

int cli_check(struct cli *cli)
{
    const char *what = cli_text(cli, "URL|NAME");
    struct lun_args args = {.exclusive = true,
                            .read_only = !cli_flag(cli, "--repair")};

    if (!strpbrk(what, "/:"))
        return check_volume(cli, what);
    return cli_with_lun(cli, what, &args, check_lun);
}

/* -- metadata -------------------------------------------------------------- */

static enum err export_lun(struct cli *cli, struct lun *lun, struct diag *why)
{
    enum err e = fs_metadata_export(lun_store(lun), cli_text(cli, "FILE"), why);

    return e ? diag_prefix(why, e, "%s", lun_name(lun)) : E_OK;
}

int cli_metadata_export(struct cli *cli)
{
    struct lun_args args = {.read_only = true};

    return cli_with_lun(cli, cli_text(cli, "URL"), &args, export_lun);
}

/* -- release --------------------------------------------------------------- */

/* Any key will do to clear all of them, its own among them. */
enum { RELEASE_KEY = 0x72656c65 };

static enum err release_lun(struct cli *cli, struct lun *lun, struct diag *why)
{
    struct lun_pr keys = {.op = LUN_PR_READ_KEYS};
    struct lun_pr enter = {.op = LUN_PR_REGISTER_IGNORE,
                           .new_key = RELEASE_KEY};
    struct lun_pr clear = {.op = LUN_PR_CLEAR, .key = RELEASE_KEY};
    enum err e = lun_pr_sync(lun, &keys);

    (void)cli;
    if (!e && keys.key_count) {
        e = lun_pr_sync(lun, &enter);
        if (!e)
            e = lun_pr_sync(lun, &clear);
    }
    if (e)
        return diag_fail(why, e, "%s: reservations: %s", lun_name(lun),
                         err_text(e));
    printf("%s: %u keys and the reservation are gone\n", lun_name(lun),
           keys.key_count);
    return E_OK;
}

int cli_volume_release(struct cli *cli)
{
    const struct lun_args args = {.read_only = false};

    return cli_with_lun(cli, cli_text(cli, "URL"), &args, release_lun);
}
