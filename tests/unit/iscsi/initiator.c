/* tests/unit/iscsi/initiator.c - see initiator.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/initiator.h"

static enum scsi_heard hear(void *arg, enum scsi_event ev, unsigned lun)
{
    struct initiator *t = arg;

    t->events.count++;
    t->events.last = ev;
    t->events.lun = lun;
    return t->events.answer;
}

void initiator_init(struct initiator *t, const struct scsi_lu_args *args)
{
    const struct store_mem_args memory = {.size_bytes = DISK_BYTES};
    struct scsi_lu_args lu = args ? *args : (struct scsi_lu_args){0};
    const struct scsi_nexus_args first = {
        .name = "first", .event = hear, .arg = t};
    const struct scsi_nexus_args second = {.name = "second"};

    *t = (struct initiator){.events.answer = SCSI_NOT_HEARD};
    world_init_manual_clock(&t->world);
    ASSERT(!store_mem_new(&memory, &t->memory));
    ASSERT(!store_record_new(t->memory, &t->recorder));
    ASSERT(!store_fault_new(t->recorder, &t->fault));
    ASSERT(!store_delay_new(t->fault, 0, &t->delay));
    lu.store = t->delay;
    lu.uuid[15] = 0x42;
    ASSERT(!scsi_bus_new(t->world.loop, &t->bus));
    ASSERT(!scsi_lu_new(&lu, &t->lu));
    ASSERT(!scsi_bus_attach(t->bus, DISK_LUN, t->lu));
    ASSERT(!scsi_nexus_open(t->bus, &first, &t->nexus));
    ASSERT(!scsi_nexus_open(t->bus, &second, &t->other));
    t->in = calloc(1, BUFFER_BYTES);
    t->out = calloc(1, BUFFER_BYTES);
    (void)SEND_AS(t, t->nexus, 0, 0, 0, 0, 0, 0, 0, 0);
    (void)SEND_AS(t, t->other, 0, 0, 0, 0, 0, 0, 0, 0);
}

void initiator_wait(struct initiator *t, uint64_t ms)
{
    loop_run_ready(t->world.loop);
    t->world.clock.at_ns += ms * NS_PER_MS;
    loop_run_ready(t->world.loop);
}

static void end_flag(struct scsi_detach *d, enum err e)
{
    (void)d;
    (void)e;
}

void initiator_fini(struct initiator *t)
{
    struct scsi_detach d = {.force = true, .done = end_flag};

    for (unsigned i = 0; i < 100; i++) /* what was delayed ends */
        initiator_wait(t, 1000);
    scsi_nexus_close(t->nexus);
    scsi_nexus_close(t->other);
    if (scsi_bus_lu(t->bus, DISK_LUN))
        ASSERT(!scsi_bus_detach(t->bus, DISK_LUN, &d));
    while (scsi_bus_lu(t->bus, DISK_LUN))
        initiator_wait(t, 1000);
    initiator_wait(t, 0);
    scsi_bus_free(t->bus);
    scsi_lu_free(t->lu);
    store_close(t->delay);
    store_close(t->fault);
    store_close(t->recorder);
    store_close(t->memory);
    free(t->in);
    free(t->out);
    world_fini(&t->world);
}

static void sent_done(struct scsi_cmd *cmd)
{
    container_of(cmd, struct sent, cmd)->done++;
}

void send_start(struct initiator *t, struct scsi_nexus *nexus, struct sent *s,
                const uint8_t *cdb, size_t cdb_bytes, size_t out_bytes,
                size_t in_bytes)
{
    *s = (struct sent){
        .in = {t->in,  in_bytes },
          .out = {t->out, out_bytes}
    };
    s->cmd = (struct scsi_cmd){
        .nexus = nexus,
        .lun = DISK_LUN,
        .cdb_bytes = (uint8_t)cdb_bytes,
        .in = &s->in,
        .out = &s->out,
        .in_count = in_bytes > 0,
        .out_count = out_bytes > 0,
        .in_bytes = in_bytes,
        .out_bytes = out_bytes,
        .done = sent_done,
    };
    memcpy(s->cmd.cdb, cdb, cdb_bytes);
    scsi_submit(t->bus, &s->cmd);
    CHECK_EQ(s->done, 0); /* never inside the call */
}

struct sent send_cdb(struct initiator *t, struct scsi_nexus *nexus,
                     const uint8_t *cdb, size_t cdb_bytes, size_t out_bytes,
                     size_t in_bytes)
{
    struct sent s;

    send_start(t, nexus, &s, cdb, cdb_bytes, out_bytes, in_bytes);
    while (!s.done)
        loop_run_ready(t->world.loop);
    CHECK_EQ(s.done, 1);
    return s;
}

uint32_t sense_of(const struct sent *s)
{
    const uint8_t *b = s->cmd.sense;

    if (s->cmd.status != SCSI_CHECK_CONDITION)
        return 0;
    CHECK_EQ(b[0] & 0x7f, 0x70);
    return (uint32_t)(b[2] & 0xf) << 16 | (uint32_t)b[12] << 8 | b[13];
}

struct sent read10(struct initiator *t, uint32_t lba, uint16_t blocks)
{
    uint8_t cdb[10] = {0x28};

    be32_store(cdb + 2, lba);
    be16_store(cdb + 7, blocks);
    return send_cdb(t, t->nexus, cdb, sizeof cdb, 0,
                    (size_t)blocks * DISK_BLOCK);
}

struct sent write10(struct initiator *t, uint32_t lba, uint16_t blocks)
{
    uint8_t cdb[10] = {0x2a};

    be32_store(cdb + 2, lba);
    be16_store(cdb + 7, blocks);
    return send_cdb(t, t->nexus, cdb, sizeof cdb, (size_t)blocks * DISK_BLOCK,
                    0);
}
