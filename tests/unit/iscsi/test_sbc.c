/* tests/unit/iscsi/test_sbc.c - commands of a block device.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/initiator.h"

#include <pthread.h>

static const struct scsi_lu_args thin = {.thin = true};

static void check_disk(struct initiator *t, uint64_t block, uint64_t count,
                       uint64_t seed)
{
    size_t bytes = count * DISK_BLOCK;
    uint8_t *now = malloc(bytes);

    store_mem_peek(t->memory, block * DISK_BLOCK, now, bytes);
    CHECK_EQ(pattern_check(now, bytes, seed, 0), bytes);
    free(now);
}

static void what_is_written_is_read_by_every_form(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    pattern_fill(t.out, 4 * DISK_BLOCK, 1, 0);
    s = SEND(&t, 2048, 0, 0x0a, 0, 0, 10, 4, 0);
    CHECK_GOOD(s);
    CHECK_EQ(s.cmd.moved_bytes, 2048);
    check_disk(&t, 10, 4, 1);
    s = SEND(&t, 2048, 0, 0x2a, 0, 0, 0, 0, 20, 0, 0, 4, 0);
    CHECK_GOOD(s);
    check_disk(&t, 20, 4, 1);
    s = SEND(&t, 2048, 0, 0xaa, 0, 0, 0, 0, 30, 0, 0, 0, 4, 0, 0);
    CHECK_GOOD(s);
    check_disk(&t, 30, 4, 1);
    s = SEND(&t, 2048, 0, 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 4, 0, 0);
    CHECK_GOOD(s);
    check_disk(&t, 40, 4, 1);
    s = SEND(&t, 0, 2048, 0x08, 0, 0, 10, 4, 0);
    CHECK_MEM(t.in, t.out, 2048);
    s = SEND(&t, 0, 2048, 0x28, 0, 0, 0, 0, 20, 0, 0, 4, 0);
    CHECK_MEM(t.in, t.out, 2048);
    s = SEND(&t, 0, 2048, 0xa8, 0, 0, 0, 0, 30, 0, 0, 0, 4, 0, 0);
    CHECK_MEM(t.in, t.out, 2048);
    s = SEND(&t, 0, 2048, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 4, 0, 0);
    CHECK_MEM(t.in, t.out, 2048);
    CHECK_EQ(s.cmd.moved_bytes, 2048);
    initiator_fini(&t);
}

static void read10_one_block_beyond_the_end_is_out_of_range(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    s = read10(&t, DISK_BLOCKS - 1, 1);
    CHECK_GOOD(s);
    s = read10(&t, DISK_BLOCKS, 0);
    CHECK_GOOD(s);
    s = read10(&t, DISK_BLOCKS, 1);
    CHECK_EQ(sense_of(&s), 0x52100);
    s = read10(&t, DISK_BLOCKS + 1, 0);
    CHECK_EQ(sense_of(&s), 0x52100);
    s = read10(&t, DISK_BLOCKS - 1, 2);
    CHECK_EQ(sense_of(&s), 0x52100);
    s = SEND(&t, 0, 512, 0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0,
             0, 1, 0, 0);
    CHECK_EQ(sense_of(&s), 0x52100);
    initiator_fini(&t);
}

static void protection_information_is_refused(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    s = SEND(&t, 0, 512, 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    s = SEND(&t, 512, 0, 0x2a, 0x20, 0, 0, 0, 0, 0, 0, 1, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    initiator_fini(&t);
}

static void read_into_a_buffer_that_ends_inside_a_block(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    pattern_fill(t.out, 1024, 7, 0);
    s = write10(&t, 0, 2);
    memset(t.in, 0xee, 2048);
    s = SEND(&t, 0, 700, 0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0);
    CHECK_GOOD(s);
    CHECK_EQ(s.cmd.moved_bytes, 700);
    CHECK_EQ(s.cmd.asked_bytes, 1024);
    CHECK_MEM(t.in, t.out, 700);
    CHECK_EQ(t.in[700], 0xee);
    initiator_fini(&t);
}

static void short_data_out_writes_whole_blocks_only(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    memset(t.out, 0x77, 2048);
    s = SEND(&t, 1000, 0, 0x2a, 0, 0, 0, 0, 0, 0, 0, 3, 0);
    CHECK_GOOD(s);
    CHECK_EQ(s.cmd.moved_bytes, 512);
    CHECK_EQ(s.cmd.asked_bytes, 1536);
    store_mem_peek(t.memory, 0, t.in, 1024);
    CHECK_EQ(t.in[511], 0x77);
    CHECK_EQ(t.in[512], 0);
    initiator_fini(&t);
}

static void larger_buffers_leave_a_residual(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    memset(t.in, 0xee, 2048);
    s = SEND(&t, 0, 2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
    CHECK_GOOD(s);
    CHECK_EQ(s.cmd.moved_bytes, 512);
    CHECK_EQ(t.in[512], 0xee);
    initiator_fini(&t);
}

static uint64_t count_of(struct initiator *t, enum store_op op)
{
    uint64_t n = store_fault_count(t->fault);

    store_fault_arm(t->fault, &(struct store_fault_args){.ops = 1U << op});
    return n;
}

static void cache_flush_reaches_the_store(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    (void)count_of(&t, STORE_FLUSH);
    s = write10(&t, 0, 1);
    CHECK_EQ(count_of(&t, STORE_FLUSH), 0);
    s = SEND(&t, 0, 0, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(count_of(&t, STORE_FLUSH), 1);
    s = SEND(&t, 0, 0, 0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(count_of(&t, STORE_FLUSH), 1);
    s = SEND(&t, 0, 0, 0x1b, 0, 0, 0, 0, 0); /* STOP */
    CHECK_GOOD(s);
    CHECK_EQ(count_of(&t, STORE_FLUSH), 1);
    s = read10(&t, 0, 1);
    CHECK_GOOD(s);
    s = SEND(&t, 0, 0, 0x35, 0, 255, 255, 255, 255, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x52100);
    initiator_fini(&t);
}

static void force_unit_access_is_passed_down(void)
{
    struct initiator t;
    struct store_record_entry e[2];
    struct sent s;

    initiator_init(&t, NULL);
    s = SEND(&t, 512, 0, 0x2a, 0x08, 0, 0, 0, 0, 0, 0, 1, 0);
    CHECK_GOOD(s);
    s = SEND(&t, 512, 0, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
    CHECK_GOOD(s);
    e[0] = *store_record_at(t.recorder, 0);
    e[1] = *store_record_at(t.recorder, 1);
    CHECK_EQ(e[0].flags & STORE_FUA, STORE_FUA);
    CHECK_EQ(e[1].flags & STORE_FUA, 0);
    initiator_fini(&t);
}

static void a_failed_write_is_a_medium_error(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    store_fault_arm(t.fault,
                    &(struct store_fault_args){
                        .ops = 1U << STORE_WRITE, .nth = 1, .result = E_IO});
    s = write10(&t, 0, 1);
    CHECK_EQ(sense_of(&s), 0x30c00);
    store_fault_arm(t.fault, &(struct store_fault_args){.ops = 1U << STORE_READ,
                                                        .nth = 1,
                                                        .result = E_IO});
    s = read10(&t, 0, 1);
    CHECK_EQ(sense_of(&s), 0x31100);
    store_fault_arm(
        t.fault, &(struct store_fault_args){
                     .ops = 1U << STORE_WRITE, .nth = 1, .result = E_VOL_FULL});
    s = write10(&t, 0, 1);
    CHECK_EQ(sense_of(&s), 0x72707);
    store_fault_arm(t.fault,
                    &(struct store_fault_args){
                        .ops = 1U << STORE_WRITE, .nth = 1, .result = E_AGAIN});
    s = write10(&t, 0, 1);
    CHECK_EQ(s.cmd.status, SCSI_BUSY);
    initiator_fini(&t);
}

static void a_read_only_disk_takes_no_write(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, &(struct scsi_lu_args){.read_only = true});
    s = write10(&t, 0, 1);
    CHECK_EQ(sense_of(&s), 0x72700);
    s = SEND(&t, 0, 0, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    initiator_fini(&t);
}

static void capacity_is_told_in_both_forms(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, &thin);
    s = SEND(&t, 0, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(be32_load(t.in), DISK_BLOCKS - 1);
    CHECK_EQ(be32_load(t.in + 4), DISK_BLOCK);
    s = SEND(&t, 0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(be64_load(t.in), DISK_BLOCKS - 1);
    CHECK_EQ(t.in[14] & 0x80, 0x80);
    initiator_fini(&t);
}

static void verify_finds_a_difference_and_says_where(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    pattern_fill(t.out, 1024, 3, 0);
    s = write10(&t, 5, 2);
    s = SEND(&t, 1024, 0, 0x2f, 2, 0, 0, 0, 5, 0, 0, 2, 0);
    CHECK_GOOD(s);
    s = SEND(&t, 0, 0, 0x2f, 0, 0, 0, 0, 5, 0, 0, 2, 0);
    CHECK_GOOD(s);
    t.out[700] ^= 1;
    s = SEND(&t, 1024, 0, 0x8f, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0);
    CHECK_EQ(sense_of(&s), 0xe1d00);
    CHECK_EQ(be32_load(s.cmd.sense + 3), 700);
    s = SEND(&t, 100, 0, 0x2f, 2, 0, 0, 0, 5, 0, 0, 2, 0);
    CHECK_EQ(sense_of(&s), 0x51a00);
    s = SEND(&t, 0, 0, 0x2f, 4, 0, 0, 0, 5, 0, 0, 2, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    s = SEND(&t, 0, 0, 0x2f, 0, 0, 0, 0, 0, 0, 0x0f, 0xff, 0);
    CHECK_GOOD(s); /* in pieces of the scratch buffer */
    initiator_fini(&t);
}

static void write_and_verify_writes(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    pattern_fill(t.out, 1024, 3, 0);
    s = SEND(&t, 1024, 0, 0x2e, 2, 0, 0, 0, 5, 0, 0, 2, 0);
    CHECK_GOOD(s);
    check_disk(&t, 5, 2, 3);
    initiator_fini(&t);
}

static void compare_and_write_writes_only_on_a_match(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    pattern_fill(t.out + 512, 512, 9, 0);
    s = SEND(&t, 1024, 0, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0);
    CHECK_GOOD(s);
    check_disk(&t, 3, 1, 9);
    s = SEND(&t, 1024, 0, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0);
    CHECK_EQ(sense_of(&s), 0xe1d00);
    CHECK_EQ(be32_load(s.cmd.sense + 3), 0);
    s = SEND(&t, 512, 0, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0);
    CHECK_EQ(sense_of(&s), 0x51a00);
    initiator_fini(&t);
}

static void compare_and_writes_of_two_initiators_never_both_win(void)
{
    struct initiator t;
    struct sent s[8];
    unsigned good = 0;

    initiator_init(&t, NULL);
    store_delay_set(t.delay, 1);
    memset(t.out, 0, 512);
    memset(t.out + 512, 0x11, 512);
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        send_start(&t, i % 2 ? t.nexus : t.other, &s[i],
                   CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0), 1024,
                   0);
    for (unsigned i = 0; i < 40; i++)
        initiator_wait(&t, 1);
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        CHECK_EQ(s[i].done, 1);
        good += s[i].cmd.status == SCSI_GOOD;
    }
    CHECK_EQ(good, 1);
    initiator_fini(&t);
}

static void a_write_waits_for_the_compare_and_write_it_overlaps(void)
{
    struct initiator t;
    struct sent caw, write, far;

    initiator_init(&t, NULL);
    store_delay_set(t.delay, 10);
    send_start(&t, t.nexus, &caw,
               CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0), 1024, 0);
    send_start(&t, t.other, &write, CDB(0x2a, 0, 0, 0, 0, 2, 0, 0, 2, 0), 1024,
               0);
    send_start(&t, t.other, &far, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 2, 0), 1024,
               0);
    initiator_wait(&t, 11);
    CHECK_EQ(far.done, 1);
    CHECK_EQ(write.done, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(caw.done, 1);
    CHECK_EQ(write.done, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(write.done, 1);
    store_delay_set(t.delay, 0);
    initiator_fini(&t);
}

static void orwrite_adds_bits(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    memset(t.out, 0x0f, 1024);
    s = write10(&t, 1, 2);
    memset(t.out, 0x31, 1024);
    s = SEND(&t, 1024, 0, 0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0);
    CHECK_GOOD(s);
    s = read10(&t, 1, 2);
    CHECK_EQ(t.in[0], 0x3f);
    CHECK_EQ(t.in[1023], 0x3f);
    initiator_fini(&t);
}

static void write_same_repeats_its_block(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, &thin);
    memset(t.out, 0x5a, 512);
    s = SEND(&t, 512, 0, 0x41, 0, 0, 0, 0, 8, 0, 0x04, 0x00, 0);
    CHECK_GOOD(s); /* 1024 blocks, two scratch buffers full */
    s = read10(&t, 8, 1024);
    CHECK_EQ(t.in[0], 0x5a);
    CHECK_EQ(t.in[1024 * 512 - 1], 0x5a);
    s = read10(&t, 8 + 1024, 1);
    CHECK_EQ(t.in[0], 0);
    s = SEND(&t, 0, 0, 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 4, 0, 0, 0);
    CHECK_GOOD(s); /* NDOB: zeros */
    s = read10(&t, 8, 1024);
    CHECK_EQ(t.in[0], 0);
    s = SEND(&t, 512, 0, 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x52400); /* WSNZ */
    initiator_fini(&t);
}

static void put_unmap(struct initiator *t, unsigned i, uint64_t lba,
                      uint32_t blocks)
{
    memset(t->out, 0, 8);
    be16_store(t->out, (uint16_t)(6 + 16 * (i + 1)));
    be16_store(t->out + 2, (uint16_t)(16 * (i + 1)));
    be64_store(t->out + 8 + 16 * i, lba);
    be32_store(t->out + 16 + 16 * i, blocks);
    be32_store(t->out + 20 + 16 * i, 0);
}

static void unmap_frees_its_ranges_or_nothing(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, &thin);
    memset(t.out, 0x99, 2048);
    s = write10(&t, 0, 4);
    put_unmap(&t, 0, 0, 1);
    put_unmap(&t, 1, DISK_BLOCKS, 1);
    s = SEND(&t, 40, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0);
    CHECK_EQ(sense_of(&s), 0x52100);
    s = read10(&t, 0, 4);
    CHECK_EQ(t.in[0], 0x99);
    put_unmap(&t, 0, 0, 1);
    put_unmap(&t, 1, DISK_BLOCKS, 0); /* of nothing, at the end */
    put_unmap(&t, 2, 2, 1);
    s = SEND(&t, 56, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 56, 0);
    CHECK_GOOD(s);
    s = read10(&t, 0, 4);
    CHECK_EQ(t.in[0], 0);
    CHECK_EQ(t.in[512], 0x99);
    CHECK_EQ(t.in[1024], 0);
    s = SEND(&t, 4, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 4, 0);
    CHECK_EQ(sense_of(&s), 0x51a00);
    s = SEND(&t, 0, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    initiator_fini(&t);
}

static void a_disk_that_is_not_thin_has_no_unmap(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    s = SEND(&t, 24, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0);
    CHECK_EQ(sense_of(&s), 0x52000);
    s = SEND(&t, 512, 0, 0x93, 8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    initiator_fini(&t);
}

/* Every command that needs a buffer, more of them than there are. */
static void commands_in_line_for_buffers_all_end(void)
{
    struct initiator t;
    struct sent s[40];

    initiator_init(&t, &thin);
    store_delay_set(t.delay, 1);
    put_unmap(&t, 0, 0, 1);
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        if (i % 3 == 0)
            send_start(&t, t.nexus, &s[i],
                       CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0),
                       1024, 0);
        else if (i % 3 == 1)
            send_start(&t, t.nexus, &s[i],
                       CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), 24, 0);
        else
            send_start(&t, t.nexus, &s[i], CDB(0x2f, 0, 0, 0, 0, 0, 0, 8, 0, 0),
                       0, 0);
    }
    for (unsigned i = 0; i < 2000; i++)
        initiator_wait(&t, 1);
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        CHECK_EQ(s[i].done, 1);
    initiator_fini(&t);
}

/* Commands that end at once when their turn comes: first they wait for a
 * buffer, then, ORDERED, for one another. */
static void send_line(struct initiator *t, struct sent *s, size_t count,
                      enum scsi_attr attr)
{
    struct sent verify[4];

    store_delay_set(t->delay, 10);
    for (size_t i = 0; i < ARRAY_LEN(verify); i++)
        send_start(t, t->nexus, &verify[i],
                   CDB(0x2f, 0, 0, 0, 0, 0, 0, 0, 8, 0), 0, 0);
    for (size_t i = 0; i < count; i++) {
        s[i] = verify[0];
        s[i].out = (struct iovec){t->out, 24};
        s[i].cmd.out = &s[i].out;
        s[i].cmd.out_count = 1;
        s[i].cmd.out_bytes = 24;
        s[i].cmd.attr = attr;
        memcpy(s[i].cmd.cdb, (uint8_t[]){0x42, [8] = 24}, 9);
        scsi_submit(t->bus, &s[i].cmd);
    }
    initiator_wait(t, 11);
    for (size_t i = 0; i < count; i++)
        if (s[i].done != 1 || sense_of(&s[i]) != 0x52100)
            CU_FAIL("not ended as it should");
}

static void *send_lines(void *unused)
{
    enum { COUNT = 8000 };
    struct sent *s = calloc(COUNT, sizeof *s);
    struct initiator t;

    (void)unused;
    initiator_init(&t, &thin);
    put_unmap(&t, 0, DISK_BLOCKS, 1); /* beyond the end: refused */
    send_line(&t, s, COUNT, SCSI_SIMPLE);
    send_line(&t, s, COUNT, SCSI_ORDERED);
    initiator_fini(&t);
    free(s);
    return NULL;
}

static void a_long_line_needs_no_more_stack(void)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    CHECK_EQ(pthread_attr_setstacksize(&attr, 512 << 10), 0);
    CHECK_EQ(pthread_create(&thread, &attr, send_lines, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
}

static const struct test tests[] = {
    TEST(what_is_written_is_read_by_every_form),
    TEST(read10_one_block_beyond_the_end_is_out_of_range),
    TEST(protection_information_is_refused),
    TEST(read_into_a_buffer_that_ends_inside_a_block),
    TEST(short_data_out_writes_whole_blocks_only),
    TEST(larger_buffers_leave_a_residual),
    TEST(cache_flush_reaches_the_store),
    TEST(force_unit_access_is_passed_down),
    TEST(a_failed_write_is_a_medium_error),
    TEST(a_read_only_disk_takes_no_write),
    TEST(capacity_is_told_in_both_forms),
    TEST(verify_finds_a_difference_and_says_where),
    TEST(write_and_verify_writes),
    TEST(compare_and_write_writes_only_on_a_match),
    TEST(compare_and_writes_of_two_initiators_never_both_win),
    TEST(a_write_waits_for_the_compare_and_write_it_overlaps),
    TEST(orwrite_adds_bits),
    TEST(write_same_repeats_its_block),
    TEST(unmap_frees_its_ranges_or_nothing),
    TEST(a_disk_that_is_not_thin_has_no_unmap),
    TEST(commands_in_line_for_buffers_all_end),
    TEST(a_long_line_needs_no_more_stack),
};
TEST_SUITE("iscsi/sbc", tests);
