/* tests/fuzz/fuzz_scsi_cdb.c - any commands to the SCSI engine, many at once.
 * An input is a row of: CDB length and flags, CDB, data-out length, data-in
 * length, data-out.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"
#include "iscsi/iscsi.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    DISK_BYTES = 256 * 1024,
    COMMANDS_MAX = 16,
    LUN = 1,
    DATA_MAX = 4096,
    HEADER_BYTES = 1 + 16 + 2 + 2
};

struct command {
    struct scsi_cmd cmd;
    struct iovec in[2], out[2];
    uint8_t *in_data, *out_data;
    unsigned done;
};

static void command_done(struct scsi_cmd *cmd)
{
    struct command *c = container_of(cmd, struct command, cmd);

    c->done++;
    ASSERT(cmd->moved_bytes <= cmd->in_bytes + cmd->out_bytes);
    ASSERT(cmd->sense_bytes <= SCSI_SENSE_BYTES_MAX);
}

/* Exact allocations, so that the sanitizer sees a byte too far; cut in two. */
static void set_buffer(uint8_t **data, struct iovec iov[2], uint32_t *count,
                       size_t *bytes, size_t want)
{
    *data = calloc(1, want ? want : 1);
    iov[0] = (struct iovec){*data, want / 3};
    iov[1] = (struct iovec){*data + want / 3, want - want / 3};
    *count = want ? 2 : 0;
    *bytes = want;
}

static size_t send(struct scsi_bus *bus, struct scsi_nexus *nexus[2],
                   struct command *c, const uint8_t *data, size_t size)
{
    uint16_t out, in;

    if (size < HEADER_BYTES)
        return 0;
    memcpy(&out, data + 17, sizeof out);
    memcpy(&in, data + 19, sizeof in);
    out = (uint16_t)min_u64(out % DATA_MAX, size - HEADER_BYTES);
    *c = (struct command){
        .cmd = {.nexus = nexus[data[0] & 1],
                .lun = data[0] & 2 ? 0 : LUN,
                .attr = data[0] >> 2 & 3,
                .tag = data[0],
                .cdb_bytes = 16,
                .in = c->in,
                .out = c->out,
                .done = command_done}
    };
    memcpy(c->cmd.cdb, data + 1, 16);
    set_buffer(&c->out_data, c->out, &c->cmd.out_count, &c->cmd.out_bytes, out);
    set_buffer(&c->in_data, c->in, &c->cmd.in_count, &c->cmd.in_bytes,
               in % DATA_MAX);
    memcpy(c->out_data, data + HEADER_BYTES, out);
    scsi_submit(bus, &c->cmd);
    return HEADER_BYTES + out;
}

static void tmf_done(struct scsi_tmf *tmf)
{
    tmf->tag = 1;
}

static void detached(struct scsi_detach *d, enum err e)
{
    (void)e;
    d->timeout_ms = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct store_mem_args memory = {.size_bytes = DISK_BYTES};
    struct scsi_detach detach = {.force = true, .done = detached};
    struct scsi_tmf tmf = {.done = tmf_done, .lun = LUN};
    struct command commands[COMMANDS_MAX];
    struct scsi_lu_args args = {.thin = true};
    struct scsi_nexus *nexus[2];
    struct scsi_bus *bus;
    struct scsi_lu *lu;
    struct loop *loop;
    unsigned count = 0;

    ASSERT(!loop_new(&(struct loop_args){.name = "fuzz"}, &loop));
    loop_adopt(loop);
    ASSERT(!store_mem_new(&memory, &args.store));
    ASSERT(!scsi_lu_new(&args, &lu) && !scsi_bus_new(loop, &bus));
    for (unsigned i = 0; i < 2; i++)
        ASSERT(!scsi_nexus_open(
            bus, &(struct scsi_nexus_args){.name = i ? "a" : "b"}, &nexus[i]));
    ASSERT(!scsi_bus_attach(bus, LUN, lu));
    while (count < COMMANDS_MAX) {
        size_t n = send(bus, nexus, &commands[count], data, size);

        if (!n)
            break;
        count++;
        data += n;
        size -= n;
    }
    tmf.nexus = nexus[0];
    tmf.kind = size % 7;
    scsi_tmf(bus, &tmf);
    loop_run_ready(loop);
    ASSERT(tmf.tag == 1);
    for (unsigned i = 0; i < count; i++) {
        ASSERT(commands[i].done == 1);
        free(commands[i].in_data);
        free(commands[i].out_data);
    }
    ASSERT(!scsi_bus_detach(bus, LUN, &detach));
    loop_run_ready(loop);
    ASSERT(detach.timeout_ms == 1);
    scsi_nexus_close(nexus[0]);
    scsi_nexus_close(nexus[1]);
    scsi_bus_free(bus);
    scsi_lu_free(lu);
    store_close(args.store);
    loop_adopt(NULL);
    loop_free(loop);
    return 0;
}
