/* tests/unit/iscsi/test_spc.c - who are you, what can you do.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"
#include "tests/unit/iscsi/initiator.h"

static void count_done(struct scsi_cmd *cmd)
{
    container_of(cmd, struct sent, cmd)->done++;
}

/* To another LUN than the disk's. */
static struct sent send_to(struct initiator *t, uint32_t lun,
                           const uint8_t *cdb, size_t cdb_bytes)
{
    struct sent s = {
        .in = {t->in, 4096}
    };

    s.cmd = (struct scsi_cmd){.nexus = t->nexus,
                              .lun = lun,
                              .in = &s.in,
                              .in_count = 1,
                              .in_bytes = 4096,
                              .done = count_done};
    memcpy(s.cmd.cdb, cdb, cdb_bytes);
    scsi_submit(t->bus, &s.cmd);
    loop_run_ready(t->world.loop);
    CHECK_EQ(s.done, 1);
    return s;
}

static void inquiry_names_the_disk(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, &(struct scsi_lu_args){.product = "THING"});
    s = SEND(&t, 0, 255, 0x12, 0, 0, 0, 255, 0);
    CHECK_GOOD(s);
    CHECK_EQ(t.in[0], 0);
    CHECK_EQ(t.in[4], s.cmd.moved_bytes - 5);
    CHECK_MEM(t.in + 8, "LUNAR   THING           1   ", 28);
    initiator_fini(&t);
}

static void inquiry_gives_no_more_than_the_allocation(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    memset(t.in, 0xee, 64);
    s = SEND(&t, 0, 64, 0x12, 0, 0, 0, 8, 0);
    CHECK_GOOD(s);
    CHECK_EQ(s.cmd.moved_bytes, 8);
    CHECK_EQ(s.cmd.asked_bytes, 8);
    CHECK_EQ(t.in[8], 0xee);
    initiator_fini(&t);
}

static void inquiry_into_a_short_buffer_says_what_it_wanted(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    memset(t.in, 0xee, 64);
    s = SEND(&t, 0, 16, 0x12, 0, 0, 0, 36, 0);
    CHECK_GOOD(s);
    CHECK_EQ(s.cmd.moved_bytes, 16);
    CHECK_EQ(s.cmd.asked_bytes, 36);
    CHECK_EQ(t.in[16], 0xee);
    initiator_fini(&t);
}

static void lun_0_answers_though_nothing_is_there(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    s = send_to(&t, 0, CDB(0x12, 0, 0, 0, 96, 0));
    CHECK_GOOD(s);
    CHECK_EQ(t.in[0], 0x7f);
    s = send_to(&t, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0));
    CHECK_GOOD(s);
    CHECK_EQ(be32_load(t.in), 8);
    CHECK_EQ(t.in[9], DISK_LUN);
    s = send_to(&t, 0, CDB(0, 0, 0, 0, 0, 0));
    CHECK_EQ(sense_of(&s), 0x52500);
    s = send_to(&t, SCSI_WLUN_REPORT_LUNS, CDB(0x12, 0, 0, 0, 96, 0));
    CHECK_EQ(t.in[0], 0x1e);
    s = send_to(&t, SCSI_WLUN_REPORT_LUNS,
                CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0));
    CHECK_GOOD(s);
    initiator_fini(&t);
}

static void vital_pages_are_listed_in_order_and_all_there(void)
{
    static const uint8_t pages[] = {0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};
    struct initiator t;
    struct sent s;

    initiator_init(&t, &(struct scsi_lu_args){.thin = true});
    s = SEND(&t, 0, 255, 0x12, 1, 0, 0, 255, 0);
    CHECK_GOOD(s);
    CHECK_MEM(t.in + 4, pages, sizeof pages);
    for (size_t i = 0; i < sizeof pages; i++) {
        s = SEND(&t, 0, 255, 0x12, 1, pages[i], 0, 255, 0);
        CHECK_GOOD(s);
        CHECK_EQ(t.in[1], pages[i]);
        CHECK_EQ(be16_load(t.in + 2) + 4, s.cmd.moved_bytes);
    }
    s = SEND(&t, 0, 255, 0x12, 1, 0xb2, 0, 255, 0);
    CHECK_EQ(t.in[5] & 0xe0, 0xe0); /* LBPU, LBPWS, LBPWS10 */
    s = SEND(&t, 0, 255, 0x12, 1, 0x86, 0, 255, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    initiator_fini(&t);
}

static void unknown_command_is_refused(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    s = SEND(&t, 0, 0, 0xff, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x52000);
    s = SEND(&t, 0, 0, 0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    initiator_fini(&t);
}

static void table_is_sorted_and_fits_the_report(void)
{
    const struct scsi_op *op, *before = NULL;
    size_t count = 0;

    for (; (op = scsi_op_at(count)); count++) {
        if (before)
            CU_ASSERT(before->opcode < op->opcode ||
                      (before->opcode == op->opcode &&
                       before->action < op->action &&
                       (op->flags & OP_HAS_ACTION)));
        CU_ASSERT(op->cdb_bytes == 6 || op->cdb_bytes == 10 ||
                  op->cdb_bytes == 12 || op->cdb_bytes == 16);
        before = op;
    }
    CU_ASSERT(count > 40 && count < 96);
}

static void supported_opcodes_lists_each_and_knows_one(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    s = SEND(&t, 0, 4096, 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(be32_load(t.in) % 8, 0);
    CU_ASSERT(be32_load(t.in) / 8 > 40);
    s = SEND(&t, 0, 64, 0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(t.in[1] & 7, 3);
    CHECK_EQ(t.in[4], 0x28);
    s = SEND(&t, 0, 64, 0xa3, 0x0c, 1, 0x42, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_EQ(t.in[1] & 7, 1); /* UNMAP, on a disk that is not thin */
    s = SEND(&t, 0, 64, 0xa3, 0x0c, 2, 0x9e, 0, 0x10, 0, 0, 0, 64, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(t.in[1] & 7, 3);
    s = SEND(&t, 0, 64, 0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    initiator_fini(&t);
}

static void power_on_is_told_once_to_each_initiator(void)
{
    struct initiator t;
    struct scsi_nexus *late;
    struct sent s;

    initiator_init(&t, NULL);
    CHECK_OK_FATAL(scsi_nexus_open(
        t.bus, &(struct scsi_nexus_args){.name = "late"}, &late));
    s = SEND_AS(&t, late, 0, 96, 0x12, 0, 0, 0, 96, 0);
    CHECK_GOOD(s); /* INQUIRY does not mind */
    s = SEND_AS(&t, late, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x62900);
    s = SEND_AS(&t, late, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    s = SEND(&t, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    scsi_nexus_close(late);
    initiator_fini(&t);
}

static void request_sense_takes_the_attention(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    scsi_bus_capacity_changed(t.bus, DISK_LUN);
    s = SEND(&t, 0, 18, 3, 0, 0, 0, 18, 0);
    CHECK_GOOD(s);
    CHECK_EQ(t.in[2], 6);
    CHECK_EQ(t.in[12], 0x2a);
    CHECK_EQ(t.in[13], 0x09);
    s = SEND(&t, 0, 18, 3, 0, 0, 0, 18, 0);
    CHECK_EQ(t.in[2], 0);
    s = SEND_AS(&t, t.other, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x62a09);
    initiator_fini(&t);
}

static void mode_sense_shows_cache_and_protection(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, &(struct scsi_lu_args){.read_only = true});
    s = SEND(&t, 0, 255, 0x1a, 8, 8, 0, 255, 0);
    CHECK_GOOD(s);
    CHECK_EQ(t.in[2], 0x90); /* WP, DPOFUA */
    CHECK_EQ(t.in[4], 0x08);
    CHECK_EQ(t.in[6] & 4, 4); /* WCE */
    s = SEND(&t, 0, 255, 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0);
    CHECK_GOOD(s);
    CHECK_EQ(be16_load(t.in) + 2, s.cmd.moved_bytes);
    CHECK_EQ(be32_load(t.in + 8), DISK_BLOCKS);
    s = SEND(&t, 0, 255, 0x1a, 8, 0x0f, 0, 255, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    s = SEND(&t, 0, 255, 0x1a, 8, 0xc8, 0, 255, 0);
    CHECK_EQ(sense_of(&s), 0x53900);
    initiator_fini(&t);
}

static void put_page(struct initiator *t, uint8_t code, size_t bytes)
{
    struct sent s = SEND(t, 0, 255, 0x1a, 8, code, 0, 255, 0);

    CHECK_GOOD(s);
    memset(t->out, 0, 4);
    memcpy(t->out + 4, t->in + 4, bytes);
}

static void mode_select_switches_the_cache_and_tells_the_others(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    put_page(&t, 8, 20);
    t.out[6] = 0; /* WCE */
    store_fault_arm(t.fault,
                    &(struct store_fault_args){.ops = 1U << STORE_FLUSH});
    s = SEND(&t, 24, 0, 0x15, 0x10, 0, 0, 24, 0);
    CHECK_GOOD(s);
    CHECK_EQ(store_fault_count(t.fault), 1); /* what it held is safe */
    s = SEND(&t, 0, 255, 0x1a, 8, 8, 0, 255, 0);
    CHECK_EQ(t.in[6] & 4, 0);
    s = SEND_AS(&t, t.other, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x62a01);
    initiator_fini(&t);
}

static void mode_select_changes_nothing_that_is_not_changeable(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    put_page(&t, 8, 20);
    t.out[4 + 5] = 1;
    t.out[6] = 0;
    s = SEND(&t, 24, 0, 0x15, 0x10, 0, 0, 24, 0);
    CHECK_EQ(sense_of(&s), 0x52600);
    CHECK_EQ(be16_load(s.cmd.sense + 16), 4 + 5);
    s = SEND(&t, 0, 255, 0x1a, 8, 8, 0, 255, 0);
    CHECK_EQ(t.in[6] & 4, 4);
    s = SEND(&t, 10, 0, 0x15, 0x10, 0, 0, 24, 0);
    CHECK_EQ(sense_of(&s), 0x51a00);
    initiator_fini(&t);
}

static void descriptor_sense_can_be_chosen(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    put_page(&t, 0x0a, 12);
    t.out[4 + 2] |= 4;
    s = SEND(&t, 16, 0, 0x15, 0x10, 0, 0, 16, 0);
    CHECK_GOOD(s);
    s = read10(&t, DISK_BLOCKS, 1);
    CHECK_EQ(s.cmd.status, SCSI_CHECK_CONDITION);
    CHECK_EQ(s.cmd.sense[0], 0x72);
    CHECK_EQ(s.cmd.sense[1], 5);
    CHECK_EQ(s.cmd.sense[2], 0x21);
    initiator_fini(&t);
}

static void naca_is_refused(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    s = SEND(&t, 0, 0, 0, 0, 0, 0, 0, 4);
    CHECK_EQ(sense_of(&s), 0x52400);
    initiator_fini(&t);
}

static void every_error_has_sense_or_asks_to_try_again(void)
{
    for (enum err e = E_OK + 1; e < ERR_COUNT; e++) {
        enum sense_code code = SENSE_NONE;

        if (sense_from_err(e, true, &code))
            CU_ASSERT(code != SENSE_NONE);
    }
}

static const struct test tests[] = {
    TEST(inquiry_names_the_disk),
    TEST(inquiry_gives_no_more_than_the_allocation),
    TEST(inquiry_into_a_short_buffer_says_what_it_wanted),
    TEST(lun_0_answers_though_nothing_is_there),
    TEST(vital_pages_are_listed_in_order_and_all_there),
    TEST(unknown_command_is_refused),
    TEST(table_is_sorted_and_fits_the_report),
    TEST(supported_opcodes_lists_each_and_knows_one),
    TEST(power_on_is_told_once_to_each_initiator),
    TEST(request_sense_takes_the_attention),
    TEST(mode_sense_shows_cache_and_protection),
    TEST(mode_select_switches_the_cache_and_tells_the_others),
    TEST(mode_select_changes_nothing_that_is_not_changeable),
    TEST(descriptor_sense_can_be_chosen),
    TEST(naca_is_refused),
    TEST(every_error_has_sense_or_asks_to_try_again),
};
TEST_SUITE("iscsi/spc", tests);
