/* tests/unit/iscsi/test_bus.c - disks come and go.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/initiator.h"

struct ended {
    struct scsi_detach detach;
    unsigned done;
    enum err result;
};

static void ended_done(struct scsi_detach *d, enum err e)
{
    struct ended *x = container_of(d, struct ended, detach);

    x->done++;
    x->result = e;
}

/* With a guest that hears, and that is the only one. */
static void guest_init(struct initiator *t)
{
    initiator_init(t, NULL);
    t->events.answer = SCSI_WILL_HEAR;
    scsi_nexus_close(t->other);
}

static void guest_fini(struct initiator *t)
{
    t->events.answer = SCSI_NO_GUEST;
    CHECK_OK_FATAL(scsi_nexus_open(
        t->bus, &(struct scsi_nexus_args){.name = "second"}, &t->other));
    initiator_fini(t);
}

static void start_detach(struct initiator *t, struct ended *x, bool force)
{
    *x = (struct ended){
        .detach = {.force = force, .done = ended_done}
    };
    CHECK_OK_FATAL(scsi_bus_detach(t->bus, DISK_LUN, &x->detach));
    CHECK_EQ(x->done, 0);
    initiator_wait(t, 0);
}

static void a_disk_leaves_when_the_guest_let_go_and_is_quiet(void)
{
    struct initiator t;
    struct ended x;
    struct sent s;

    guest_init(&t);
    start_detach(&t, &x, false);
    CHECK_EQ(t.events.last, SCSI_EVENT_REMOVED);
    CHECK_EQ(t.events.lun, DISK_LUN);
    initiator_wait(&t, 5000);
    s = write10(&t, 0, 1); /* it still answers */
    CHECK_GOOD(s);
    scsi_nexus_let_go(t.nexus, DISK_LUN);
    initiator_wait(&t, 900);
    s = write10(&t, 0, 1); /* not quiet yet */
    CHECK_GOOD(s);
    initiator_wait(&t, 900);
    CHECK_EQ(x.done, 0);
    initiator_wait(&t, 200);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_OK);
    CU_ASSERT_PTR_NULL(scsi_bus_lu(t.bus, DISK_LUN));
    s = write10(&t, 0, 1);
    CHECK_EQ(sense_of(&s), 0x52500);
    guest_fini(&t);
}

static void without_an_answer_the_disk_stays_and_works(void)
{
    struct initiator t;
    struct ended x;
    struct sent s;

    guest_init(&t);
    start_detach(&t, &x, false);
    initiator_wait(&t, 9900);
    CHECK_EQ(x.done, 0);
    initiator_wait(&t, 200);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_TIMEOUT);
    CHECK_EQ(t.events.last, SCSI_EVENT_ADDED); /* look again */
    s = write10(&t, 0, 1);
    CHECK_GOOD(s);
    start_detach(&t, &x, false);
    scsi_nexus_let_go(t.nexus, DISK_LUN);
    initiator_wait(&t, 1100);
    CHECK_ERR(x.result, E_OK);
    CHECK_EQ(x.done, 1);
    guest_fini(&t);
}

static void where_no_guest_is_it_leaves_at_once(void)
{
    struct initiator t;
    struct ended x;

    guest_init(&t);
    t.events.answer = SCSI_NO_GUEST;
    start_detach(&t, &x, false);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_OK);
    guest_fini(&t);
}

static void force_waits_for_what_runs_and_for_nobody_else(void)
{
    struct initiator t;
    struct ended x;
    struct sent s, late;

    guest_init(&t);
    store_delay_set(t.delay, 10);
    send_start(&t, t.nexus, &s, CDB(0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0), 512, 0);
    start_detach(&t, &x, true);
    late = SEND(&t, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&late), 0x52500);
    CHECK_EQ(x.done, 0);
    initiator_wait(&t, 11);
    CHECK_EQ(s.done, 1);
    initiator_wait(&t, 11);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_OK);
    store_delay_set(t.delay, 0);
    CHECK_ERR(scsi_bus_attach(t.bus, DISK_LUN, t.lu), E_BUSY);
    scsi_nexus_let_go(t.nexus, DISK_LUN);
    CHECK_OK(scsi_bus_attach(t.bus, DISK_LUN, t.lu));
    guest_fini(&t);
}

/* One of eight steps is under way, others of the kind wait in line. */
static void force_waits_for_one_step_of_what_takes_many(void)
{
    struct initiator t;
    struct ended x;
    struct sent s[10], write;

    guest_init(&t);
    store_delay_set(t.delay, 10);
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        send_start(&t, t.nexus, &s[i], CDB(0x2f, 0, 0, 0, 0, 0, 0, 16, 0, 0), 0,
                   0);
    send_start(&t, t.nexus, &write, CDB(0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0), 512,
               0);
    start_detach(&t, &x, true);
    initiator_wait(&t, 11);
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        CHECK_EQ(s[i].done, 1);
        CU_ASSERT(s[i].cmd.aborted);
    }
    CHECK_GOOD(write); /* it happened, so it says so */
    initiator_wait(&t, 11);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_OK);
    store_delay_set(t.delay, 0);
    guest_fini(&t);
}

static void a_detach_in_progress_can_be_forced(void)
{
    struct initiator t;
    struct ended x, y = {.detach = {.done = ended_done}};

    guest_init(&t);
    start_detach(&t, &x, false);
    CHECK_ERR(scsi_bus_detach(t.bus, DISK_LUN, &y.detach), E_BUSY);
    scsi_bus_detach_force(t.bus, DISK_LUN);
    initiator_wait(&t, 0);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_OK);
    guest_fini(&t);
}

static void a_detach_can_be_taken_back(void)
{
    struct initiator t;
    struct ended x;
    struct sent s;

    guest_init(&t);
    start_detach(&t, &x, false);
    scsi_bus_detach_cancel(&x.detach);
    initiator_wait(&t, 0);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_CANCELED);
    s = write10(&t, 0, 1);
    CHECK_GOOD(s);
    guest_fini(&t);
}

static void a_flush_that_fails_keeps_the_disk(void)
{
    struct initiator t;
    struct ended x;
    struct sent s;

    guest_init(&t);
    store_fault_arm(t.fault,
                    &(struct store_fault_args){
                        .ops = 1U << STORE_FLUSH, .nth = 1, .result = E_IO});
    start_detach(&t, &x, false);
    scsi_nexus_let_go(t.nexus, DISK_LUN);
    initiator_wait(&t, 1100);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_IO);
    s = write10(&t, 0, 1);
    CHECK_GOOD(s);
    guest_fini(&t);
}

static void a_guest_without_events_gets_unit_attentions(void)
{
    struct initiator t;
    struct scsi_lu *lu;
    struct sent s;
    struct ended x;

    initiator_init(&t, NULL);
    CHECK_OK_FATAL(scsi_lu_new(&(struct scsi_lu_args){.store = t.memory}, &lu));
    CHECK_OK_FATAL(scsi_bus_attach(t.bus, 9, lu));
    s = SEND(&t, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(sense_of(&s), 0x63f0e);
    s = SEND(&t, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    s = SEND_AS(&t, t.other, 0, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_GOOD(s);
    CHECK_EQ(be32_load(t.in), 16);
    s = SEND_AS(&t, t.other, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s); /* REPORT LUNS told it already */
    x = (struct ended){
        .detach = {.force = true, .done = ended_done}
    };
    CHECK_OK_FATAL(scsi_bus_detach(t.bus, 9, &x.detach));
    initiator_wait(&t, 0);
    CHECK_EQ(x.done, 1);
    scsi_lu_free(lu);
    initiator_fini(&t);
}

static void events_spare_the_guest_the_attentions(void)
{
    struct initiator t;
    struct sent s;

    guest_init(&t);
    scsi_bus_capacity_changed(t.bus, DISK_LUN);
    CHECK_EQ(t.events.last, SCSI_EVENT_CAPACITY);
    s = SEND(&t, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_GOOD(s);
    guest_fini(&t);
}

static void luns_are_taken_from_below_and_refused_when_taken(void)
{
    struct initiator t;
    unsigned lun = 99;

    initiator_init(&t, NULL);
    CHECK_OK(scsi_bus_free_lun(t.bus, NULL, &lun));
    CHECK_EQ(lun, 0);
    CHECK_ERR(scsi_bus_attach(t.bus, DISK_LUN, t.lu), E_EXIST);
    CHECK_ERR(scsi_bus_attach(t.bus, SCSI_LUNS_MAX, t.lu), E_RANGE);
    initiator_fini(&t);
}

static const struct test tests[] = {
    TEST(a_disk_leaves_when_the_guest_let_go_and_is_quiet),
    TEST(without_an_answer_the_disk_stays_and_works),
    TEST(where_no_guest_is_it_leaves_at_once),
    TEST(force_waits_for_what_runs_and_for_nobody_else),
    TEST(force_waits_for_one_step_of_what_takes_many),
    TEST(a_detach_in_progress_can_be_forced),
    TEST(a_detach_can_be_taken_back),
    TEST(a_flush_that_fails_keeps_the_disk),
    TEST(a_guest_without_events_gets_unit_attentions),
    TEST(events_spare_the_guest_the_attentions),
    TEST(luns_are_taken_from_below_and_refused_when_taken),
};
TEST_SUITE("iscsi/bus", tests);
