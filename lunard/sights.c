/* lunard/sights.c - the volumes as all hosts see them: each host says in which
 * state it has them, who coordinates says how large they are.
 * Waits for nobody longer than SIGHT_MS: a host that does not answer is said
 * to be so, and what it last knew is shown with its age.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/commands.h"

#include "base/clock.h"
#include "lunard/errand.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const char *const figures[] = {"size", "free", "inodes"};

struct sights {
    pthread_mutex_t mutex;
    json_t *known; /* UUID: the figures, and "at", in s */
};

enum err sights_new(struct sights **ret_sights)
{
    struct sights *sights = calloc(1, sizeof *sights);

    if (!sights)
        return E_NOMEM;
    pthread_mutex_init(&sights->mutex, NULL);
    sights->known = json_object();
    *ret_sights = sights;
    return E_OK;
}

void sights_free(struct sights *sights)
{
    if (!sights)
        return;
    json_decref(sights->known);
    pthread_mutex_destroy(&sights->mutex);
    free(sights);
}

static json_int_t now_s(void)
{
    return (json_int_t)(clock_now_ns(clock_system()) / NS_PER_S);
}

static bool has_size(const json_t *volume)
{
    return json_integer_value(json_object_get(volume, "size")) > 0;
}

static void copy_figures(json_t *to, const json_t *from)
{
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        json_object_set(to, figures[i], json_object_get(from, figures[i]));
}

/* -- what a host says ------------------------------------------------------ */

static const json_t *find_volume(const json_t *volumes, const json_t *like)
{
    const json_t *uuid = json_object_get(like, "uuid"), *volume;
    size_t i;

    json_array_foreach (volumes, i, volume)
        if (json_is_true(json_object_get(volume, "shared")) &&
            json_equal(json_object_get(volume, "uuid"), uuid))
            return volume;
    return NULL;
}

static void add_sight(json_t *volume, const struct cluster_host *host,
                      const struct errand *errand)
{
    json_t *nodes = json_object_get(volume, "nodes");
    const json_t *theirs =
        find_volume(json_object_get(errand->result, "volumes"), volume);
    json_t *node = json_array_get(json_object_get(theirs, "nodes"), 0);

    if (errand->e) {
        json_array_append_new(nodes, json_pack("{s:s, s:s, s:s, s:i}", "node",
                                               host->name, "state", "unknown",
                                               "reason", "does not answer",
                                               "since", 0));
    } else if (node) {
        json_array_append(nodes, node);
        if (has_size(theirs) && !has_size(volume))
            copy_figures(volume, theirs);
    }
}

static void ask_others(struct daemon *d, json_t *volumes)
{
    struct cluster_host hosts[LM_NODES_MAX];
    unsigned count = cluster_hosts(d->cluster, true, hosts);
    struct errand *errands = calloc(LM_NODES_MAX, sizeof *errands);
    json_t *volume;
    size_t i;

    for (unsigned k = 0; errands && k < count; k++) {
        errands[k].node = hosts[k].node;
        errands[k].command = "volumes";
    }
    if (errands)
        cluster_ask(d->cluster, errands, count, SIGHT_MS);
    for (unsigned k = 0; errands && k < count; k++) {
        json_array_foreach (volumes, i, volume)
            if (json_is_true(json_object_get(volume, "shared")))
                add_sight(volume, &hosts[k], &errands[k]);
        json_decref(errands[k].result);
    }
    free(errands);
}

/* -- what was known last --------------------------------------------------- */

static void remember(json_t *known, const char *uuid, const json_t *volume)
{
    json_t *entry = json_object();

    copy_figures(entry, volume);
    json_object_set_new(entry, "at", json_integer(now_s()));
    json_object_set_new(known, uuid, entry);
}

static void recall(const json_t *known, const char *uuid, json_t *volume)
{
    const json_t *entry = json_object_get(known, uuid);
    json_int_t at = json_integer_value(json_object_get(entry, "at"));

    if (!entry)
        return;
    copy_figures(volume, entry);
    json_object_set_new(volume, "age", json_integer(now_s() - at));
}

json_t *sights_of_volumes(struct daemon *d)
{
    json_t *volumes = volumes_to_json(d->volumes), *volume;
    size_t i;

    if (!d->cluster)
        return volumes;
    ask_others(d, volumes);
    pthread_mutex_lock(&d->sights->mutex);
    json_array_foreach (volumes, i, volume) {
        const char *uuid = json_string_value(json_object_get(volume, "uuid"));

        if (has_size(volume))
            remember(d->sights->known, uuid, volume);
        else
            recall(d->sights->known, uuid, volume);
    }
    pthread_mutex_unlock(&d->sights->mutex);
    return volumes;
}
