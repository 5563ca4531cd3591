/* tests/unit/sim/test_target.c - the model of a target refuses what SPC says,
 * and shows the habits of real ones (M1 … M5).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"
#include "tests/sim/target.h"

enum { A = 1, B = 2, C = 3, KEY_A = 0xa, KEY_B = 0xb, KEY_C = 0xc };

static struct sim sim;
static struct sim_session *session[4];
static const struct sim_host_ops no_ops;
static uint32_t answered;

static void count_answer(struct sim_command *c)
{
    (void)c;
    answered++;
}

static const struct sim_target_options plain = {
    .preempt_abort = true,
    .usual_ns = SIM_MS,
};

static void begin(const struct sim_target_options *options)
{
    struct sim_command tur = {.op = SIM_TEST_UNIT_READY, .done = count_answer};

    sim_init(&sim, 1);
    sim_hosts_init(&sim, 3, &no_ops);
    sim_target_init(&sim, 0, options);
    for (uint32_t h = A; h <= C; h++) {
        sim_host_start(&sim.host[h]);
        session[h] = sim_login(&sim.host[h], 0, 0);
        sim_submit(session[h], &tur); /* takes the unit attention */
        sim_run_until(&sim, sim_now(&sim) + SIM_S);
    }
}

static void end(void)
{
    CHECK_EQ(sim.verdict.failed, false);
    sim_fini(&sim);
}

static void send(uint32_t host, struct sim_command *c)
{
    c->done = count_answer;
    sim_submit(session[host], c);
}

static struct sim_command run(uint32_t host, struct sim_command c)
{
    answered = 0;
    send(host, &c);
    sim_run_until(&sim, sim_now(&sim) + SIM_S);
    CHECK_EQ(answered, 1);
    return c;
}

static enum sim_status pr(uint32_t host, enum sim_op op, uint64_t key,
                          uint64_t service_key, uint32_t type)
{
    return run(host, (struct sim_command){.op = op,
                                          .key = key,
                                          .service_key = service_key,
                                          .type = type})
        .status;
}

static struct sim_command write_of(uint32_t host, uint64_t id)
{
    return (struct sim_command){
        .op = SIM_WRITE,
        .count = 1,
        .bytes = "data",
        .length = 4,
        .author = {.host = host, .incarnation = 1, .id = id, .version = id},
    };
}

static enum sim_status do_write(uint32_t host, uint64_t id)
{
    return run(host, write_of(host, id)).status;
}

static enum sim_status do_read(uint32_t host)
{
    return run(host, (struct sim_command){.op = SIM_READ}).status;
}

/* A and B are registered, A has reserved. */
static void begin_reserved(const struct sim_target_options *options,
                           uint32_t type)
{
    begin(options);
    CHECK_EQ(pr(A, SIM_REGISTER, 0, KEY_A, 0), SIM_GOOD);
    CHECK_EQ(pr(B, SIM_REGISTER, 0, KEY_B, 0), SIM_GOOD);
    CHECK_EQ(pr(A, SIM_RESERVE, KEY_A, 0, type), SIM_GOOD);
}

static void each_type_lets_through_whom_the_table_says(void)
{
    static const struct {
        uint32_t type;
        bool write_b, read_b, write_c, read_c; /* B registered, C is not */
    } row[] = {
        {1, false, true,  false, true },
        {3, false, false, false, false},
        {5, true,  true,  false, true },
        {6, true,  true,  false, false},
        {7, true,  true,  false, true },
        {8, true,  true,  false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        begin_reserved(&plain, row[i].type);
        CHECK_EQ(do_write(A, 1), SIM_GOOD);
        CHECK_EQ(do_write(B, 2) == SIM_GOOD, row[i].write_b);
        CHECK_EQ(do_read(B) == SIM_GOOD, row[i].read_b);
        CHECK_EQ(do_write(C, 3) == SIM_GOOD, row[i].write_c);
        CHECK_EQ(do_read(C) == SIM_GOOD, row[i].read_c);
        CHECK_EQ(do_write(C, 4), row[i].write_c ? SIM_GOOD : SIM_CONFLICT);
        end();
    }
}

static void register_with_a_wrong_key_is_a_conflict(void)
{
    begin_reserved(&plain, 6);
    CHECK_EQ(pr(A, SIM_REGISTER, KEY_B, KEY_C, 0), SIM_CONFLICT);
    CHECK_EQ(pr(C, SIM_REGISTER, KEY_C, KEY_C, 0), SIM_CONFLICT);
    CHECK_EQ(pr(A, SIM_REGISTER_IGNORE, KEY_B, 0xaa, 0), SIM_GOOD);
    CHECK_EQ(sim_has_key(&sim, 0, 0xaa), true);
    CHECK_EQ(sim_has_key(&sim, 0, KEY_A), false);
    end();
}

static void only_a_registrant_changes_the_reservation(void)
{
    begin_reserved(&plain, 6);
    CHECK_EQ(pr(C, SIM_PREEMPT, KEY_C, KEY_A, 6), SIM_CONFLICT);
    CHECK_EQ(pr(C, SIM_CLEAR, KEY_C, 0, 0), SIM_CONFLICT);
    CHECK_EQ(pr(B, SIM_CLEAR, KEY_A, 0, 0), SIM_CONFLICT);
    CHECK_EQ(pr(B, SIM_RESERVE, KEY_B, 0, 6), SIM_CONFLICT);
    CHECK_EQ(pr(B, SIM_RELEASE, KEY_B, 0, 6), SIM_GOOD); /* not the holder */
    CHECK_EQ(sim_reserved_type(&sim, 0), 6);
    CHECK_EQ(pr(A, SIM_RELEASE, KEY_A, 0, 5), SIM_ILLEGAL);
    CHECK_EQ(pr(A, SIM_RELEASE, KEY_A, 0, 6), SIM_GOOD);
    CHECK_EQ(sim_reserved_type(&sim, 0), 0);
    CHECK_EQ(run(B, (struct sim_command){.op = SIM_READ}).attention,
             SIM_UA_RELEASED);
    end();
}

static void preempting_the_holder_moves_the_reservation(void)
{
    struct sim_command c;

    begin_reserved(&plain, 6);
    CHECK_EQ(pr(B, SIM_PREEMPT, KEY_B, KEY_A, 6), SIM_GOOD);
    c = run(B, (struct sim_command){.op = SIM_READ_RESERVATION});
    CHECK_EQ(c.reserved_type, 6);
    CHECK_EQ(c.keys[0], KEY_B);
    c = run(B, (struct sim_command){.op = SIM_READ_KEYS});
    CHECK_EQ(c.key_count, 1);
    c = run(A, write_of(A, 1));
    CHECK_EQ(c.attention, SIM_UA_UNREGISTERED);
    CHECK_EQ(do_write(A, 2), SIM_CONFLICT);
    end();
}

static void the_holders_unregister_ends_the_reservation(void)
{
    begin_reserved(&plain, 6);
    CHECK_EQ(pr(A, SIM_REGISTER, KEY_A, 0, 0), SIM_GOOD);
    CHECK_EQ(sim_reserved_type(&sim, 0), 0);
    end();

    begin_reserved(&plain, 8); /* all registrants: when the last one goes */
    CHECK_EQ(pr(A, SIM_REGISTER, KEY_A, 0, 0), SIM_GOOD);
    CHECK_EQ(sim_reserved_type(&sim, 0), 8);
    CHECK_EQ(pr(B, SIM_REGISTER, KEY_B, 0, 0), SIM_GOOD);
    CHECK_EQ(sim_reserved_type(&sim, 0), 0);
    end();
}

static void clear_takes_everybodys_key(void)
{
    begin_reserved(&plain, 6);
    CHECK_EQ(pr(B, SIM_CLEAR, KEY_B, 0, 0), SIM_GOOD);
    CHECK_EQ(sim_has_key(&sim, 0, KEY_B), false);
    CHECK_EQ(sim_reserved_type(&sim, 0), 0);
    CHECK_EQ(run(A, write_of(A, 1)).attention, SIM_UA_PREEMPTED);
    end();
}

static void m1_a_registration_stays_on_the_dead_nexus(void)
{
    struct sim_target_options o = plain;

    o.new_nexus_each_login = true;
    begin_reserved(&o, 6);
    session[A] = sim_login(&sim.host[A], 0, 0);
    CHECK_EQ(run(A, write_of(A, 1)).attention, SIM_UA_NEXUS_LOSS);
    CHECK_EQ(do_write(A, 2), SIM_CONFLICT);
    CHECK_EQ(sim_has_key(&sim, 0, KEY_A), true);
    end();

    begin_reserved(&plain, 6);
    session[A] = sim_login(&sim.host[A], 0, 0);
    CHECK_EQ(run(A, write_of(A, 1)).attention, SIM_UA_NEXUS_LOSS);
    CHECK_EQ(do_write(A, 2), SIM_GOOD);
    end();
}

static void m2_who_was_preempted_can_register_again(void)
{
    begin_reserved(&plain, 6);
    CHECK_EQ(pr(B, SIM_PREEMPT, KEY_B, KEY_A, 6), SIM_GOOD);
    CHECK_EQ(do_write(A, 1), SIM_ATTENTION);
    CHECK_EQ(pr(A, SIM_REGISTER, 0, KEY_A, 0), SIM_GOOD);
    CHECK_EQ(do_write(A, 2), SIM_GOOD);
    end();
}

static void m3_preempting_a_key_that_is_gone_is_a_conflict(void)
{
    begin_reserved(&plain, 6);
    CHECK_EQ(pr(B, SIM_PREEMPT, KEY_B, KEY_C, 6), SIM_CONFLICT);
    end();
}

static void m4_a_freed_holder_of_type_7_leaves_garbage(void)
{
    struct sim_target_options o = plain;

    o.frees_holder = true;
    begin_reserved(&o, 7);
    CHECK_EQ(pr(B, SIM_PREEMPT, KEY_B, KEY_A, 7), SIM_GOOD);
    CHECK_EQ(sim_reserved_type(&sim, 0), 0);
    CHECK_EQ(pr(B, SIM_RESERVE, KEY_B, 0, 7), SIM_CONFLICT);
    end();

    begin_reserved(&o, 6);
    CHECK_EQ(pr(B, SIM_PREEMPT, KEY_B, KEY_A, 6), SIM_GOOD);
    CHECK_EQ(sim_reserved_type(&sim, 0), 6);
    end();
}

/* A write is in the target, at its turn or running, when B preempts. */
static void m5_only_a_queued_write_meets_the_reservation(void)
{
    uint32_t landed = 0, refused = 0;

    for (uint64_t delay = 1; delay < 40; delay++) {
        struct sim_command w = write_of(A, 1);

        begin_reserved(&plain, 6);
        send(A, &w);
        sim_run_until(&sim, sim_now(&sim) + delay * SIM_MS / 20);
        sim_target_hold_writes(&sim, 0, A);
        CHECK_EQ(pr(B, SIM_PREEMPT, KEY_B, KEY_A, 6), SIM_GOOD);
        sim_target_let_go(&sim, 0);
        sim_run_until(&sim, sim_now(&sim) + SIM_S);
        if (w.status == SIM_GOOD)
            landed++;
        else
            refused++;
        CHECK_EQ(sim_block_writer(&sim, 0, 0) != NULL, w.status == SIM_GOOD);
        end();
    }
    CU_ASSERT(landed > 0);
    CU_ASSERT(refused > 0);
}

/* … and B resets the unit: it is answered only when nothing runs. */
static void m5_reset_waits_for_what_runs_and_ends_what_waits(void)
{
    for (uint64_t delay = 1; delay < 40; delay++) {
        struct sim_command w = write_of(A, 1);
        struct sim_command reset = {.op = SIM_LU_RESET};
        bool was_there;

        begin_reserved(&plain, 6);
        send(A, &w);
        sim_run_until(&sim, sim_now(&sim) + delay * SIM_MS / 20);
        was_there = sim_target_hold_writes(&sim, 0, A);
        send(B, &reset);
        sim_run_until(&sim, sim_now(&sim) + SIM_S);
        if (reset.status != SIM_GOOD) {
            CU_ASSERT(sim_can_land(&sim, 0, A, 1)); /* it runs */
            sim_target_let_go(&sim, 0);
            sim_run_until(&sim, sim_now(&sim) + SIM_S);
        }
        CHECK_EQ(reset.status, SIM_GOOD);
        CHECK_EQ(sim_can_land(&sim, 0, A, 1), false);
        CU_ASSERT(!was_there || w.status != SIM_NO_ANSWER);
        end();
    }
}

static void preempt_and_abort_waits_for_the_victims_only(void)
{
    struct sim_command preempt = {
        .op = SIM_PREEMPT_ABORT, .key = KEY_B, .service_key = KEY_A, .type = 6};
    struct sim_command w = write_of(B, 7);

    begin_reserved(&plain, 6);
    send(B, &w);
    sim_run_until(&sim, sim_now(&sim) + 3 * SIM_MS / 2);
    sim_target_hold_writes(&sim, 0, B);
    send(B, &preempt);
    sim_run_until(&sim, sim_now(&sim) + SIM_S);
    CHECK_EQ(preempt.status, SIM_GOOD);
    sim_target_let_go(&sim, 0);
    sim_run_until(&sim, sim_now(&sim) + SIM_S);
    CHECK_EQ(w.status, SIM_GOOD);
    end();
}

static void tgt_has_no_preempt_and_abort(void)
{
    struct sim_target_options o = plain;

    o.preempt_abort = false;
    begin_reserved(&o, 6);
    CHECK_EQ(pr(B, SIM_PREEMPT_ABORT, KEY_B, KEY_A, 6), SIM_ILLEGAL);
    end();
}

static void a_restart_keeps_reservations_with_aptpl_only(void)
{
    struct sim_target_options o = plain;

    begin_reserved(&o, 6);
    sim_target_restart(&sim, 0);
    CHECK_EQ(sim_has_key(&sim, 0, KEY_A), false);
    CHECK_EQ(sim_reserved_type(&sim, 0), 0);
    end();

    o.aptpl = true;
    begin_reserved(&o, 6);
    sim_target_restart(&sim, 0);
    CHECK_EQ(sim_has_key(&sim, 0, KEY_A), true);
    CHECK_EQ(sim_reserved_type(&sim, 0), 6);
    end();
}

static void what_was_not_flushed_may_be_lost_in_a_restart(void)
{
    struct sim_target_options o = plain;
    uint32_t lost = 0;

    o.volatile_cache = true;
    for (uint64_t seed = 1; seed < 20; seed++) {
        begin(&o);
        for (uint64_t i = 0; i < seed; i++)
            sim_random(&sim);
        CHECK_EQ(do_write(A, 1), SIM_GOOD);
        run(A, (struct sim_command){.op = SIM_SYNC_CACHE});
        CHECK_EQ(do_write(A, 2), SIM_GOOD);
        sim_target_restart(&sim, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(sim_block_writer(&sim, 0, 0));
        lost += sim_block_writer(&sim, 0, 0)->author.id == 1;
        end();
    }
    CU_ASSERT(lost > 0 && lost < 19);
}

static void a_broken_session_leaves_its_late_twin(void)
{
    struct sim_command w = write_of(A, 1);

    begin_reserved(&plain, 6);
    send(A, &w);
    sim_run_until(&sim, sim_now(&sim) + SIM_MS);
    CHECK_EQ(sim_target_hold_writes(&sim, 0, A), 1);
    sim_session_break(&sim, 0, A, 0);
    sim_run_until(&sim, sim_now(&sim) + SIM_S);
    CHECK_EQ(w.status, SIM_NO_ANSWER);
    CHECK_EQ(sim_can_land(&sim, 0, A, 1), true);
    session[A] = sim_login(&sim.host[A], 0, 0);
    CHECK_EQ(do_write(A, 2), SIM_ATTENTION);
    CHECK_EQ(do_write(A, 3), SIM_GOOD);
    sim_expect_version(&sim, 0, 0, 3);
    sim_target_let_go(&sim, 0);
    sim_run_until(&sim, sim_now(&sim) + SIM_S);
    CHECK_STR(sim.verdict.invariant, "I13");
    sim_fini(&sim);
}

static void a_write_after_a_reported_fence_is_caught(void)
{
    struct sim_command w = write_of(A, 1);

    begin_reserved(&plain, 6);
    sim_expect_fenced(&sim, 0, A, 1);
    send(A, &w);
    sim_run_until(&sim, sim_now(&sim) + SIM_S);
    CHECK_STR(sim.verdict.invariant, "I11");
    sim_fini(&sim);
}

static const struct test tests[] = {
    TEST(each_type_lets_through_whom_the_table_says),
    TEST(register_with_a_wrong_key_is_a_conflict),
    TEST(only_a_registrant_changes_the_reservation),
    TEST(preempting_the_holder_moves_the_reservation),
    TEST(the_holders_unregister_ends_the_reservation),
    TEST(clear_takes_everybodys_key),
    TEST(m1_a_registration_stays_on_the_dead_nexus),
    TEST(m2_who_was_preempted_can_register_again),
    TEST(m3_preempting_a_key_that_is_gone_is_a_conflict),
    TEST(m4_a_freed_holder_of_type_7_leaves_garbage),
    TEST(m5_only_a_queued_write_meets_the_reservation),
    TEST(m5_reset_waits_for_what_runs_and_ends_what_waits),
    TEST(preempt_and_abort_waits_for_the_victims_only),
    TEST(tgt_has_no_preempt_and_abort),
    TEST(a_restart_keeps_reservations_with_aptpl_only),
    TEST(what_was_not_flushed_may_be_lost_in_a_restart),
    TEST(a_broken_session_leaves_its_late_twin),
    TEST(a_write_after_a_reported_fence_is_caught),
};
TEST_SUITE("sim/target", tests);
