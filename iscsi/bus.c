/* iscsi/bus.c - one virtual controller: its LUNs, its initiators, hot plug.
 * Runs no command; it decides when a disk may leave.
 *
 *   detach:  ASKED ──let go──> QUIET ──1 s of silence──> DRAIN ──> FLUSH ──>
 * gone └── deadline: E_TIMEOUT, the guest is told to look again
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

#include <stdio.h>

/* -- logical units --------------------------------------------------------- */

static void copy_text(char *to, size_t room, const char *text,
                      const char *otherwise)
{
    snprintf(to, room, "%s", text ? text : otherwise);
}

enum err scsi_lu_new(const struct scsi_lu_args *args, struct scsi_lu **ret_lu)
{
    uint32_t block = args->store->block_bytes;
    char hex[2 * sizeof args->uuid + 1];
    struct scsi_lu *lu;

    if (!is_power_of_two(block) || block < 512 || block > 65536 ||
        args->store->size_bytes < block)
        return E_UNSUPPORTED;
    lu = calloc(1, sizeof *lu);
    if (!lu)
        return E_NOMEM;
    for (size_t i = 0; i < sizeof args->uuid; i++)
        snprintf(hex + 2 * i, 3, "%02x", args->uuid[i]);
    lu->store = args->store;
    memcpy(lu->uuid, args->uuid, sizeof lu->uuid);
    copy_text(lu->serial, sizeof lu->serial, args->serial, hex);
    copy_text(lu->vendor, sizeof lu->vendor, args->vendor, "LUNAR");
    copy_text(lu->product, sizeof lu->product, args->product, "VIRTUAL DISK");
    copy_text(lu->revision, sizeof lu->revision, args->revision, "1");
    lu->read_only = args->read_only || (args->store->caps & STORE_READ_ONLY);
    lu->thin =
        args->thin && (args->store->caps & STORE_CAN_DISCARD) && !lu->read_only;
    lu->write_cache = true;
    list_init(&lu->active);
    list_init(&lu->waiting);
    *ret_lu = lu;
    return E_OK;
}

void scsi_lu_free(struct scsi_lu *lu)
{
    if (!lu)
        return;
    ASSERT(list_empty(&lu->active) && list_empty(&lu->waiting));
    free(lu);
}

struct store *scsi_lu_store(struct scsi_lu *lu)
{
    return lu->store;
}

struct scsi_lu_stats scsi_lu_stats(const struct scsi_lu *lu)
{
    return lu->stats;
}

/* -- the bus --------------------------------------------------------------- */

enum err scsi_bus_new(struct loop *loop, struct scsi_bus **ret_bus)
{
    struct scsi_bus *bus = calloc(1, sizeof *bus);
    void *scratch;

    if (!bus)
        return E_NOMEM;
    if (posix_memalign(&scratch, 4096, SCSI_SCRATCHES * SCSI_SCRATCH_BYTES)) {
        free(bus);
        return E_NOMEM;
    }
    bus->loop = loop;
    bus->scratch_memory = scratch;
    for (unsigned i = 0; i < SCSI_SCRATCHES; i++)
        bus->scratch_free[bus->scratch_count++] =
            bus->scratch_memory + (size_t)i * SCSI_SCRATCH_BYTES;
    list_init(&bus->nexuses);
    scsi_engine_init(bus);
    *ret_bus = bus;
    return E_OK;
}

void scsi_bus_free(struct scsi_bus *bus)
{
    if (!bus)
        return;
    ASSERT(list_empty(&bus->nexuses));
    ASSERT(!bus->finish_posted);
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++)
        ASSERT(!bus->slots[lun].lu);
    free(bus->scratch_memory);
    free(bus);
}

struct scsi_lu *scsi_bus_lu(struct scsi_bus *bus, unsigned lun)
{
    return lun < SCSI_LUNS_MAX ? bus->slots[lun].lu : NULL;
}

/* -- unit attentions ------------------------------------------------------- */

static const enum sense_code ua_codes[UA_COUNT] = {
    [UA_POWER_ON] = SENSE_POWER_ON,
    [UA_RESET] = SENSE_RESET,
    [UA_NEXUS_LOSS] = SENSE_NEXUS_LOSS,
    [UA_MODE_CHANGED] = SENSE_MODE_CHANGED,
    [UA_RESERVATION_PREEMPTED] = SENSE_RES_PREEMPTED,
    [UA_RESERVATION_RELEASED] = SENSE_RES_RELEASED,
    [UA_REGISTRATION_PREEMPTED] = SENSE_REG_PREEMPTED,
    [UA_CAPACITY] = SENSE_CAPACITY_CHANGED,
    [UA_LUNS_CHANGED] = SENSE_LUNS_CHANGED,
};

void scsi_ua_set(struct scsi_nexus *nexus, unsigned lun, enum scsi_ua ua)
{
    if (ua == UA_LUNS_CHANGED)
        nexus->luns_changed = true;
    else
        nexus->ua[lun] |= (uint16_t)(1U << ua);
}

void scsi_ua_set_others(struct scsi_bus *bus, unsigned lun, enum scsi_ua ua,
                        const struct scsi_nexus *except)
{
    list_for_each (n, &bus->nexuses) {
        struct scsi_nexus *nexus = container_of(n, struct scsi_nexus, link);

        if (nexus != except)
            scsi_ua_set(nexus, lun, ua);
    }
}

bool scsi_ua_take(struct scsi_nexus *nexus, unsigned lun,
                  enum sense_code *ret_code)
{
    uint16_t pending = nexus->ua[lun];
    int ua;

    if (pending) {
        ua = __builtin_ctz(pending);
        nexus->ua[lun] &= (uint16_t) ~(1U << ua);
        *ret_code = ua_codes[ua];
        return true;
    }
    if (!nexus->luns_changed)
        return false;
    nexus->luns_changed = false;
    *ret_code = ua_codes[UA_LUNS_CHANGED];
    return true;
}

/* -- events to the guests -------------------------------------------------- */

static enum scsi_heard tell(struct scsi_nexus *nexus, enum scsi_event ev,
                            unsigned lun)
{
    return nexus->event ? nexus->event(nexus->arg, ev, lun) : SCSI_NOT_HEARD;
}

/* A transport with events needs no unit attention for the same thing: Linux
 * would act on the first and warn about the second. */
static void announce(struct scsi_bus *bus, enum scsi_event ev, unsigned lun,
                     enum scsi_ua otherwise)
{
    list_for_each (n, &bus->nexuses) {
        struct scsi_nexus *nexus = container_of(n, struct scsi_nexus, link);

        if (tell(nexus, ev, lun) == SCSI_NOT_HEARD)
            scsi_ua_set(nexus, lun, otherwise);
    }
}

enum err scsi_bus_attach(struct scsi_bus *bus, unsigned lun, struct scsi_lu *lu)
{
    struct scsi_slot *slot;

    if (lun >= SCSI_LUNS_MAX)
        return E_RANGE;
    slot = &bus->slots[lun];
    if (slot->lu)
        return E_EXIST;
    if (slot->kept || slot->outstanding)
        return E_BUSY;
    slot->lu = lu;
    list_for_each (n, &bus->nexuses)
        container_of(n, struct scsi_nexus, link)->ua[lun] = 0;
    announce(bus, SCSI_EVENT_ADDED, lun, UA_LUNS_CHANGED);
    return E_OK;
}

enum err scsi_bus_free_lun(struct scsi_bus *bus, const bool *kept,
                           unsigned *ret_lun)
{
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++) {
        const struct scsi_slot *slot = &bus->slots[lun];

        if (!slot->lu && !slot->kept && !slot->outstanding &&
            !(kept && kept[lun])) {
            *ret_lun = lun;
            return E_OK;
        }
    }
    return E_BUSY;
}

void scsi_bus_capacity_changed(struct scsi_bus *bus, unsigned lun)
{
    if (scsi_bus_lu(bus, lun))
        announce(bus, SCSI_EVENT_CAPACITY, lun, UA_CAPACITY);
}

/* -- detach ---------------------------------------------------------------- */

static bool anyone_asked(const struct scsi_bus *bus, unsigned lun)
{
    list_for_each (n, &bus->nexuses) {
        if (container_of(n, struct scsi_nexus, link)->asked[lun])
            return true;
    }
    return false;
}

static void detach_finish(struct task *t)
{
    struct scsi_detach *d = container_of(t, struct scsi_detach, finish);

    d->done(d, d->result);
}

static void detach_end(struct scsi_detach *d, enum err result)
{
    struct scsi_slot *slot = &d->bus->slots[d->lun];

    loop_timer_cancel(d->bus->loop, &d->timer);
    loop_timer_cancel(d->bus->loop, &d->deadline);
    slot->detach = NULL;
    slot->refusing = false;
    d->result = result;
    loop_post(d->bus->loop, &d->finish);
}

/* The disk stays.  Whoever heard that it should go is told to look again. */
static void detach_give_up(struct scsi_detach *d, enum err why)
{
    struct scsi_bus *bus = d->bus;
    unsigned lun = d->lun;

    detach_end(d, why);
    list_for_each (n, &bus->nexuses)
        container_of(n, struct scsi_nexus, link)->asked[lun] = false;
    announce(bus, SCSI_EVENT_ADDED, lun, UA_LUNS_CHANGED);
}

static void detach_gone(struct scsi_detach *d, enum err result)
{
    struct scsi_slot *slot = &d->bus->slots[d->lun];

    slot->lu = NULL;
    slot->kept = anyone_asked(d->bus, d->lun);
    detach_end(d, result);
}

static void detach_flushed(struct store_io *io, enum err e)
{
    struct scsi_detach *d = container_of(io, struct scsi_detach, flush);

    if (!e || d->force)
        detach_gone(d, e);
    else
        detach_give_up(d, e);
}

static void detach_flush(struct scsi_detach *d)
{
    enum err e;

    d->state = SCSI_DETACH_FLUSH;
    if (d->bus->slots[d->lun].lu->read_only) {
        detach_gone(d, E_OK);
        return;
    }
    d->flush = (struct store_io){.op = STORE_FLUSH, .done = detach_flushed};
    e = store_submit(d->bus->slots[d->lun].lu->store, &d->flush);
    if (e)
        detach_flushed(&d->flush, e);
}

static void detach_drain(struct scsi_detach *d)
{
    struct scsi_slot *slot = &d->bus->slots[d->lun];

    loop_timer_cancel(d->bus->loop, &d->deadline);
    d->state = SCSI_DETACH_DRAIN;
    slot->refusing = true;
    if (!slot->outstanding)
        detach_flush(d);
}

static void detach_quiet_check(struct timer *t)
{
    struct scsi_detach *d = container_of(t, struct scsi_detach, timer);
    const struct scsi_slot *slot = &d->bus->slots[d->lun];
    uint64_t now = clock_now_ns(loop_clock(d->bus->loop));
    uint64_t quiet_ms = (now - slot->last_ns) / NS_PER_MS;

    if (slot->outstanding)
        loop_timer_set(d->bus->loop, t, SCSI_DETACH_QUIET_MS);
    else if (quiet_ms < SCSI_DETACH_QUIET_MS)
        loop_timer_set(d->bus->loop, t, SCSI_DETACH_QUIET_MS - quiet_ms);
    else
        detach_drain(d);
}

static uint64_t detach_timeout_ms(const struct scsi_detach *d)
{
    return d->timeout_ms ? d->timeout_ms : SCSI_DETACH_TIMEOUT_MS;
}

static void detach_let_go(struct scsi_detach *d)
{
    d->state = SCSI_DETACH_QUIET;
    loop_timer_set(d->bus->loop, &d->timer, SCSI_DETACH_QUIET_MS);
    /* The same time again to fall silent: a guest that goes on using the
     * disk has not let go. */
    loop_timer_set(d->bus->loop, &d->deadline, detach_timeout_ms(d));
}

static void detach_deadline(struct timer *t)
{
    detach_give_up(container_of(t, struct scsi_detach, deadline), E_TIMEOUT);
}

/* Ask every guest; true: at least one is there and must answer. */
static bool detach_ask(struct scsi_bus *bus, unsigned lun)
{
    bool someone = false;

    list_for_each (n, &bus->nexuses) {
        struct scsi_nexus *nexus = container_of(n, struct scsi_nexus, link);
        enum scsi_heard heard = tell(nexus, SCSI_EVENT_REMOVED, lun);

        nexus->asked[lun] = heard == SCSI_WILL_HEAR;
        someone = someone || heard != SCSI_NO_GUEST;
        if (heard == SCSI_NOT_HEARD)
            scsi_ua_set(nexus, lun, UA_LUNS_CHANGED);
    }
    return someone;
}

static void detach_force(struct scsi_detach *d)
{
    struct scsi_slot *slot = &d->bus->slots[d->lun];

    loop_timer_cancel(d->bus->loop, &d->timer);
    loop_timer_cancel(d->bus->loop, &d->deadline);
    if (d->state == SCSI_DETACH_FLUSH)
        return; /* it ends by itself, whatever the flush says */
    slot->refusing = true;
    d->state = SCSI_DETACH_DRAIN;
    if (slot->outstanding)
        scsi_unit_give_up(d->bus, d->lun);
    else
        detach_flush(d);
}

enum err scsi_bus_detach(struct scsi_bus *bus, unsigned lun,
                         struct scsi_detach *d)
{
    struct scsi_slot *slot;

    if (lun >= SCSI_LUNS_MAX)
        return E_RANGE;
    slot = &bus->slots[lun];
    if (!slot->lu)
        return E_NOENT;
    if (slot->detach)
        return E_BUSY;
    slot->detach = d;
    d->bus = bus;
    d->lun = lun;
    d->state = SCSI_DETACH_ASKED;
    d->timer = (struct timer){.fire = detach_quiet_check};
    d->deadline = (struct timer){.fire = detach_deadline};
    d->finish = (struct task){.run = detach_finish};
    if (!detach_ask(bus, lun))
        detach_drain(d);
    else if (d->force)
        detach_force(d);
    else
        loop_timer_set(bus->loop, &d->deadline, detach_timeout_ms(d));
    return E_OK;
}

void scsi_bus_detach_force(struct scsi_bus *bus, unsigned lun)
{
    struct scsi_slot *slot = &bus->slots[lun];

    if (lun >= SCSI_LUNS_MAX || !slot->detach || slot->detach->force)
        return;
    slot->detach->force = true;
    detach_force(slot->detach);
}

void scsi_bus_detach_cancel(struct scsi_detach *d)
{
    if (d->state == SCSI_DETACH_ASKED || d->state == SCSI_DETACH_QUIET)
        detach_give_up(d, E_CANCELED);
}

void scsi_slot_command_ended(struct scsi_bus *bus, unsigned lun)
{
    struct scsi_slot *slot = &bus->slots[lun];

    if (!slot->detach || slot->outstanding)
        return;
    if (slot->detach->state == SCSI_DETACH_DRAIN)
        detach_flush(slot->detach);
}

/* -- nexuses --------------------------------------------------------------- */

enum err scsi_nexus_open(struct scsi_bus *bus,
                         const struct scsi_nexus_args *args,
                         struct scsi_nexus **ret_nexus)
{
    struct scsi_nexus *nexus;

    if (strlen(args->name) > SCSI_NEXUS_NAME_MAX)
        return E_NAME_TOO_LONG;
    if (bus->nexus_count == SCSI_NEXUSES_MAX)
        return E_BUSY;
    nexus = calloc(1, sizeof *nexus);
    if (!nexus)
        return E_NOMEM;
    nexus->bus = bus;
    snprintf(nexus->name, sizeof nexus->name, "%s", args->name);
    nexus->event = args->event;
    nexus->arg = args->arg;
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++)
        if (bus->slots[lun].lu && !args->known)
            scsi_ua_set(nexus, lun, UA_POWER_ON);
    list_push_back(&bus->nexuses, &nexus->link);
    bus->nexus_count++;
    *ret_nexus = nexus;
    return E_OK;
}

void scsi_nexus_close(struct scsi_nexus *nexus)
{
    ASSERT(!nexus->outstanding);
    scsi_nexus_let_go_all(nexus);
    list_remove(&nexus->link);
    nexus->bus->nexus_count--;
    free(nexus);
}

void scsi_nexus_let_go(struct scsi_nexus *nexus, unsigned lun)
{
    struct scsi_slot *slot = &nexus->bus->slots[lun];

    if (!nexus->asked[lun])
        return;
    nexus->asked[lun] = false;
    if (anyone_asked(nexus->bus, lun))
        return;
    slot->kept = false;
    if (slot->detach && slot->detach->state == SCSI_DETACH_ASKED)
        detach_let_go(slot->detach);
}

void scsi_nexus_let_go_all(struct scsi_nexus *nexus)
{
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++)
        scsi_nexus_let_go(nexus, lun);
}

struct scsi_nexus *scsi_bus_nexus_named(struct scsi_bus *bus, const char *name)
{
    list_for_each (n, &bus->nexuses) {
        struct scsi_nexus *nexus = container_of(n, struct scsi_nexus, link);

        if (strcmp(nexus->name, name) == 0)
            return nexus;
    }
    return NULL;
}
