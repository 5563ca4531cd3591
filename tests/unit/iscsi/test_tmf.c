/* tests/unit/iscsi/test_tmf.c - task management and order.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/initiator.h"

#define WRITE_AT(lba) CDB(0x2a, 0, 0, 0, 0, lba, 0, 0, 1, 0)

struct asked {
    struct scsi_tmf tmf;
    unsigned done;
};

static void asked_done(struct scsi_tmf *tmf)
{
    container_of(tmf, struct asked, tmf)->done++;
}

static void ask(struct initiator *t, struct asked *a, enum scsi_tmf_kind kind,
                uint64_t tag)
{
    *a = (struct asked){
        .tmf = {.nexus = t->nexus,
                .kind = kind,
                .lun = DISK_LUN,
                .tag = tag,
                .done = asked_done}
    };
    scsi_tmf(t->bus, &a->tmf);
    CHECK_EQ(a->done, 0);
    initiator_wait(t, 0);
}

static void abort_waits_for_the_write_that_is_at_the_store(void)
{
    struct initiator t;
    struct sent s;
    struct asked a;

    initiator_init(&t, NULL);
    store_delay_set(t.delay, 10);
    send_start(&t, t.nexus, &s, WRITE_AT(1), 512, 0);
    ask(&t, &a, SCSI_ABORT_TASK, 0);
    CHECK_EQ(a.done, 0);
    CHECK_EQ(s.done, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(s.done, 1);
    CU_ASSERT(s.cmd.aborted);
    CHECK_EQ(a.done, 1);
    CHECK_EQ(a.tmf.answer, SCSI_TMF_COMPLETE);
    initiator_fini(&t);
}

static void abort_of_what_is_over_is_complete_at_once(void)
{
    struct initiator t;
    struct asked a;

    initiator_init(&t, NULL);
    ask(&t, &a, SCSI_ABORT_TASK, 77);
    CHECK_EQ(a.done, 1);
    CHECK_EQ(a.tmf.answer, SCSI_TMF_COMPLETE);
    initiator_fini(&t);
}

static void abort_task_set_spares_the_other_initiator(void)
{
    struct initiator t;
    struct sent mine, theirs;
    struct asked a;

    initiator_init(&t, NULL);
    store_delay_set(t.delay, 10);
    send_start(&t, t.nexus, &mine, WRITE_AT(1), 512, 0);
    send_start(&t, t.other, &theirs, WRITE_AT(2), 512, 0);
    ask(&t, &a, SCSI_ABORT_TASK_SET, 0);
    initiator_wait(&t, 11);
    CU_ASSERT(mine.cmd.aborted);
    CU_ASSERT(!theirs.cmd.aborted);
    CHECK_EQ(theirs.cmd.status, SCSI_GOOD);
    CHECK_EQ(a.done, 1);
    initiator_fini(&t);
}

static void a_reset_ends_everything_and_tells_everybody(void)
{
    struct initiator t;
    struct sent s, theirs;
    struct asked a;

    initiator_init(&t, NULL);
    store_delay_set(t.delay, 10);
    send_start(&t, t.other, &theirs, WRITE_AT(2), 512, 0);
    ask(&t, &a, SCSI_LU_RESET, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(a.done, 1);
    CU_ASSERT(theirs.cmd.aborted);
    store_delay_set(t.delay, 0);
    s = SEND(&t, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x62903);
    s = SEND_AS(&t, t.other, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x62903);
    initiator_fini(&t);
}

static void what_only_waits_is_aborted_at_once(void)
{
    struct initiator t;
    struct sent caw, write;
    struct asked a;

    initiator_init(&t, NULL);
    store_delay_set(t.delay, 10);
    send_start(&t, t.other, &caw,
               CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0), 1024, 0);
    send_start(&t, t.nexus, &write, WRITE_AT(1), 512, 0);
    ask(&t, &a, SCSI_ABORT_TASK_SET, 0);
    CHECK_EQ(write.done, 1);
    CU_ASSERT(write.cmd.aborted);
    CHECK_EQ(a.done, 1);
    CHECK_EQ(caw.done, 0);
    initiator_fini(&t);
}

static void a_query_finds_what_runs(void)
{
    struct initiator t;
    struct sent s;
    struct asked a;

    initiator_init(&t, NULL);
    ask(&t, &a, SCSI_QUERY_TASK_SET, 0);
    CHECK_EQ(a.tmf.answer, SCSI_TMF_COMPLETE);
    store_delay_set(t.delay, 10);
    send_start(&t, t.nexus, &s, WRITE_AT(1), 512, 0);
    ask(&t, &a, SCSI_QUERY_TASK, 0);
    CHECK_EQ(a.tmf.answer, SCSI_TMF_SUCCEEDED);
    ask(&t, &a, SCSI_QUERY_TASK, 1);
    CHECK_EQ(a.tmf.answer, SCSI_TMF_COMPLETE);
    initiator_fini(&t);
}

static void a_lun_that_is_not_there_is_a_bad_lun(void)
{
    struct initiator t;
    struct asked a = {
        .tmf = {.kind = SCSI_LU_RESET, .lun = 77}
    };

    initiator_init(&t, NULL);
    a.tmf.nexus = t.nexus;
    a.tmf.done = asked_done;
    scsi_tmf(t.bus, &a.tmf);
    initiator_wait(&t, 0);
    CHECK_EQ(a.done, 1);
    CHECK_EQ(a.tmf.answer, SCSI_TMF_BAD_LUN);
    initiator_fini(&t);
}

static void an_ordered_task_is_a_barrier(void)
{
    struct initiator t;
    struct sent before, ordered = {.done = 0}, behind;

    initiator_init(&t, NULL);
    store_delay_set(t.delay, 10);
    send_start(&t, t.nexus, &before, WRITE_AT(1), 512, 0);
    ordered.cmd = before.cmd;
    ordered.out = (struct iovec){t.out, 512};
    ordered.cmd.out = &ordered.out;
    ordered.cmd.attr = SCSI_ORDERED;
    scsi_submit(t.bus, &ordered.cmd);
    send_start(&t, t.nexus, &behind, WRITE_AT(3), 512, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(before.done, 1);
    CHECK_EQ(ordered.done + behind.done, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(ordered.done, 1);
    CHECK_EQ(behind.done, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(behind.done, 1);
    initiator_fini(&t);
}

static const struct test tests[] = {
    TEST(abort_waits_for_the_write_that_is_at_the_store),
    TEST(abort_of_what_is_over_is_complete_at_once),
    TEST(abort_task_set_spares_the_other_initiator),
    TEST(a_reset_ends_everything_and_tells_everybody),
    TEST(what_only_waits_is_aborted_at_once),
    TEST(a_query_finds_what_runs),
    TEST(a_lun_that_is_not_there_is_a_bad_lun),
    TEST(an_ordered_task_is_a_barrier),
};
TEST_SUITE("iscsi/tmf", tests);
