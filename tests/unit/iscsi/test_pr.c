/* tests/unit/iscsi/test_pr.c - persistent reservations.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/initiator.h"

enum { REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_ABORT, IGNORE };
enum { KEY_A = 0xaaaa, KEY_B = 0xbbbb };

static struct sent out(struct initiator *t, struct scsi_nexus *who,
                       uint8_t action, uint8_t type, uint64_t key,
                       uint64_t action_key)
{
    memset(t->out, 0, 24);
    be64_store(t->out, key);
    be64_store(t->out + 8, action_key);
    return SEND_AS(t, who, 24, 0, 0x5f, action, type, 0, 0, 0, 0, 0, 24, 0);
}

static void both_register(struct initiator *t)
{
    struct sent s = out(t, t->nexus, REGISTER, 0, 0, KEY_A);

    CHECK_GOOD(s);
    s = out(t, t->other, IGNORE, 0, 0, KEY_B);
    CHECK_GOOD(s);
}

static struct sent write_as(struct initiator *t, struct scsi_nexus *who)
{
    return SEND_AS(t, who, 512, 0, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
}

static struct sent read_as(struct initiator *t, struct scsi_nexus *who)
{
    return SEND_AS(t, who, 0, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
}

static uint32_t attention(struct initiator *t, struct scsi_nexus *who)
{
    struct sent s = SEND_AS(t, who, 0, 0, 0, 0, 0, 0, 0, 0);

    return sense_of(&s);
}

static void keys_and_reservation_can_be_read(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    both_register(&t);
    s = SEND(&t, 0, 64, 0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0);
    CHECK_GOOD(s);
    CHECK_EQ(be32_load(t.in), 2);
    CHECK_EQ(be32_load(t.in + 4), 16);
    CHECK_EQ(be64_load(t.in + 8), KEY_A);
    CHECK_EQ(be64_load(t.in + 16), KEY_B);
    s = out(&t, t.nexus, RESERVE, 6, KEY_A, 0);
    CHECK_GOOD(s);
    s = SEND(&t, 0, 64, 0x5e, 1, 0, 0, 0, 0, 0, 0, 64, 0);
    CHECK_EQ(be32_load(t.in + 4), 16);
    CHECK_EQ(be64_load(t.in + 8), KEY_A);
    CHECK_EQ(t.in[21], 6);
    s = SEND(&t, 0, 4096, 0x5e, 3, 0, 0, 0, 0, 0, 0x10, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(be64_load(t.in + 8), KEY_A);
    CHECK_EQ(t.in[20], 1); /* holder */
    CHECK_EQ(s.cmd.moved_bytes, be32_load(t.in + 4) + 8);
    initiator_fini(&t);
}

static void a_wrong_key_conflicts(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    s = out(&t, t.nexus, REGISTER, 0, 1, KEY_A);
    CHECK_EQ(s.cmd.status, SCSI_RESERVATION_CONFLICT);
    both_register(&t);
    s = out(&t, t.nexus, RESERVE, 1, KEY_B, 0);
    CHECK_EQ(s.cmd.status, SCSI_RESERVATION_CONFLICT);
    s = out(&t, t.nexus, RESERVE, 2, KEY_A, 0);
    CHECK_EQ(sense_of(&s), 0x52400);
    initiator_fini(&t);
}

/* Who may read and write under each type: holder, registrant, stranger. */
static void each_type_lets_in_whom_it_should(void)
{
    static const struct {
        uint8_t type;
        bool registrant_reads, registrant_writes, stranger_reads;
    } rows[] = {
        {1, true,  false, true },
        {3, false, false, false},
        {5, true,  true,  true },
        {6, true,  true,  false},
        {7, true,  true,  true },
        {8, true,  true,  false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct initiator t;
        struct scsi_nexus *stranger;

        initiator_init(&t, NULL);
        both_register(&t);
        CHECK_OK_FATAL(scsi_nexus_open(
            t.bus, &(struct scsi_nexus_args){.name = "third"}, &stranger));
        CHECK_EQ(attention(&t, stranger), 0x62900);
        CHECK_EQ(out(&t, t.nexus, RESERVE, rows[i].type, KEY_A, 0).cmd.status,
                 SCSI_GOOD);
        CHECK_EQ(write_as(&t, t.nexus).cmd.status, SCSI_GOOD);
        CHECK_EQ(read_as(&t, t.other).cmd.status == SCSI_GOOD,
                 rows[i].registrant_reads);
        CHECK_EQ(write_as(&t, t.other).cmd.status == SCSI_GOOD,
                 rows[i].registrant_writes);
        CHECK_EQ(read_as(&t, stranger).cmd.status == SCSI_GOOD,
                 rows[i].stranger_reads);
        CHECK_EQ(write_as(&t, stranger).cmd.status, SCSI_RESERVATION_CONFLICT);
        CHECK_EQ(attention(&t, stranger), 0);
        scsi_nexus_close(stranger);
        initiator_fini(&t);
    }
}

static void release_tells_registrants(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    both_register(&t);
    s = out(&t, t.nexus, RESERVE, 5, KEY_A, 0);
    s = out(&t, t.nexus, RELEASE, 6, KEY_A, 0);
    CHECK_EQ(sense_of(&s), 0x52604);
    s = out(&t, t.other, RELEASE, 5, KEY_B, 0);
    CHECK_GOOD(s); /* not the holder: nothing happens */
    s = out(&t, t.nexus, RELEASE, 5, KEY_A, 0);
    CHECK_GOOD(s);
    CHECK_EQ(attention(&t, t.other), 0x62a04);
    CHECK_EQ(attention(&t, t.nexus), 0);
    initiator_fini(&t);
}

static void preempt_takes_reservation_and_registration(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    both_register(&t);
    s = out(&t, t.nexus, RESERVE, 6, KEY_A, 0);
    s = out(&t, t.other, PREEMPT, 6, KEY_B, KEY_A);
    CHECK_GOOD(s);
    CHECK_EQ(attention(&t, t.nexus), 0x62a05);
    CHECK_EQ(write_as(&t, t.nexus).cmd.status, SCSI_RESERVATION_CONFLICT);
    CHECK_EQ(write_as(&t, t.other).cmd.status, SCSI_GOOD);
    s = out(&t, t.other, PREEMPT, 6, KEY_B, KEY_A); /* gone already */
    CHECK_EQ(s.cmd.status, SCSI_RESERVATION_CONFLICT);
    initiator_fini(&t);
}

static void preempt_and_abort_waits_for_the_victims_writes(void)
{
    struct initiator t;
    struct sent victim, s = {0};

    initiator_init(&t, NULL);
    both_register(&t);
    s = out(&t, t.nexus, RESERVE, 6, KEY_A, 0);
    store_delay_set(t.delay, 10);
    send_start(&t, t.nexus, &victim, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512,
               0);
    memset(t.out, 0, 24);
    be64_store(t.out, KEY_B);
    be64_store(t.out + 8, KEY_A);
    send_start(&t, t.other, &s,
               CDB(0x5f, PREEMPT_ABORT, 6, 0, 0, 0, 0, 0, 24, 0), 24, 0);
    initiator_wait(&t, 5);
    CHECK_EQ(s.done, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(victim.done, 1);
    CU_ASSERT(victim.cmd.aborted);
    CHECK_EQ(s.done, 1);
    CHECK_EQ(s.cmd.status, SCSI_GOOD);
    initiator_fini(&t);
}

static void the_holders_unregistration_releases(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    both_register(&t);
    s = out(&t, t.nexus, RESERVE, 8, KEY_A, 0);
    s = out(&t, t.nexus, REGISTER, 0, KEY_A, 0);
    CHECK_GOOD(s);
    s = SEND(&t, 0, 64, 0x5e, 1, 0, 0, 0, 0, 0, 0, 64, 0);
    CHECK_EQ(t.in[21], 8); /* all registrants hold it: one is left */
    s = out(&t, t.other, REGISTER, 0, KEY_B, 0);
    CHECK_GOOD(s);
    s = SEND(&t, 0, 64, 0x5e, 1, 0, 0, 0, 0, 0, 0, 64, 0);
    CHECK_EQ(be32_load(t.in + 4), 0);
    initiator_fini(&t);
}

static void clear_leaves_nothing(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    both_register(&t);
    s = out(&t, t.nexus, RESERVE, 3, KEY_A, 0);
    s = out(&t, t.other, CLEAR, 0, KEY_B, 0);
    CHECK_GOOD(s);
    CHECK_EQ(attention(&t, t.nexus), 0x62a03);
    s = SEND(&t, 0, 64, 0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0);
    CHECK_EQ(be32_load(t.in + 4), 0);
    initiator_fini(&t);
}

static void what_is_not_offered_is_refused(void)
{
    struct initiator t;
    struct sent s;

    initiator_init(&t, NULL);
    memset(t.out, 0, 24);
    be64_store(t.out + 8, KEY_A);
    t.out[20] = 1; /* APTPL */
    s = SEND(&t, 24, 0, 0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0);
    CHECK_EQ(sense_of(&s), 0x52600);
    s = SEND(&t, 24, 0, 0x5f, 0, 0, 0, 0, 0, 0, 0, 23, 0);
    CHECK_EQ(sense_of(&s), 0x51a00);
    s = SEND(&t, 24, 0, 0x5f, 7, 0, 0, 0, 0, 0, 0, 24, 0);
    CHECK_EQ(sense_of(&s), 0x52400); /* REGISTER AND MOVE */
    initiator_fini(&t);
}

static const struct test tests[] = {
    TEST(keys_and_reservation_can_be_read),
    TEST(a_wrong_key_conflicts),
    TEST(each_type_lets_in_whom_it_should),
    TEST(release_tells_registrants),
    TEST(preempt_takes_reservation_and_registration),
    TEST(preempt_and_abort_waits_for_the_victims_writes),
    TEST(the_holders_unregistration_releases),
    TEST(clear_leaves_nothing),
    TEST(what_is_not_offered_is_refused),
};
TEST_SUITE("iscsi/pr", tests);
