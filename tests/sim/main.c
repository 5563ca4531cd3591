/* tests/sim/main.c - the command: runs scenarios by seed, replays one.
 * Decides nothing that happens in a run.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/scenarios.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { TRACE_LINES = 80 };

struct options {
    const char *scenario; /* part of a name; NULL: all */
    const char *known;    /* file of seeds that failed once */
    uint64_t seeds, first, lines;
    bool one, loud, detail;
};

struct figures {
    uint64_t runs, steps, failed;
};

/* For the handler of SIGABRT: which run an assertion ended. */
static const struct sim_scenario *running;
static struct sim sim;

static void say_which(int signal_number)
{
    char text[160];
    int length = snprintf(text, sizeof text,
                          "sim: aborted in %s, seed %" PRIu64 ", step %" PRIu64
                          "; --scenario %s --seed %" PRIu64 " repeats it\n",
                          running ? running->name : "?", sim.seed, sim.step,
                          running ? running->name : "?", sim.seed);

    (void)signal_number;
    if (write(STDERR_FILENO, text, (size_t)length) < 0)
        _exit(3);
}

static uint64_t now_ns(void)
{
    return clock_now_ns(clock_system());
}

/* One run.  Without a trace it is fast; if it fails it is repeated with one:
 * a run is its seed. */
static bool run_seed(const struct sim_scenario *scenario, uint64_t seed,
                     const struct options *o, struct figures *f)
{
    bool ok;

    running = scenario;
    sim_init(&sim, seed);
    if (o->one)
        sim_trace_on(&sim, o->lines, o->loud);
    sim.detail = o->detail;
    scenario->run(&sim);
    f->runs++;
    f->steps += sim.step;
    ok = !sim.verdict.failed;
    if (!ok && !o->one) {
        struct options again = *o;

        again.one = true;
        sim_fini(&sim);
        return run_seed(scenario, seed, &again, f);
    }
    if (!ok) {
        f->failed++;
        if (!o->loud)
            sim_trace_print(&sim);
        printf("sim: %s, seed %" PRIu64 ", step %" PRIu64 ", %.3f ms: %s is "
               "broken: %s\n"
               "     repeat: sim --scenario %s --seed %" PRIu64 "\n",
               scenario->name, seed, sim.verdict.step,
               (double)sim.verdict.at_ns / 1e6, sim.verdict.invariant,
               sim.verdict.why, scenario->name, seed);
    } else if (o->one && !o->loud) {
        sim_trace_print(&sim);
    }
    sim_fini(&sim);
    return ok;
}

static bool is_chosen(const struct sim_scenario *scenario,
                      const struct options *o)
{
    return !o->scenario || strstr(scenario->name, o->scenario);
}

/* Lines "scenario seed"; # begins a comment. */
static bool run_known(const struct options *o, struct figures *f)
{
    FILE *file = fopen(o->known, "re");
    char line[256], *end;
    bool ok = true;

    if (!file) {
        fprintf(stderr, "sim: %s: %s\n", o->known, strerror(errno));
        return false;
    }
    while (fgets(line, sizeof line, file)) {
        size_t name = strcspn(line, " #\n");
        uint64_t seed = strtoull(line + name, &end, 10);

        for (size_t i = 0; name && i < sim_scenario_count; i++)
            if (strlen(sim_scenarios[i].name) == name &&
                strncmp(sim_scenarios[i].name, line, name) == 0 &&
                is_chosen(&sim_scenarios[i], o))
                ok = run_seed(&sim_scenarios[i], seed, o, f) && ok;
    }
    fclose(file);
    return ok;
}

static bool run_scenario(const struct sim_scenario *scenario,
                         const struct options *o)
{
    struct figures f = {0};
    uint64_t start = now_ns(), took;
    bool ok = true;

    for (uint64_t i = 0; i < o->seeds && ok; i++)
        ok = run_seed(scenario, o->first + i, o, &f);
    took = max_u64(now_ns() - start, 1);
    printf("%s  %-18s %6" PRIu64 " seeds, %8" PRIu64 " events, %6.0f seeds/s\n",
           ok ? "ok  " : "FAIL", scenario->name, f.runs, f.steps,
           (double)f.runs * 1e9 / (double)took);
    fflush(stdout);
    return ok;
}

static int usage(FILE *to)
{
    fputs(
        "usage: sim [--scenario PART] [--seeds N] [--first SEED] "
        "[--known FILE]\n"
        "       sim --scenario PART --seed N [--lines N] [--loud] [--detail]\n"
        "       sim --list\n",
        to);
    return to == stdout ? 0 : 2;
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (!*text || *end)
        exit(usage(stderr));
    return n;
}

static void parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"scenario", required_argument, NULL, 's'},
        {"seeds",    required_argument, NULL, 'n'},
        {"first",    required_argument, NULL, 'f'},
        {"seed",     required_argument, NULL, '1'},
        {"known",    required_argument, NULL, 'k'},
        {"lines",    required_argument, NULL, 'l'},
        {"loud",     no_argument,       NULL, 'v'},
        {"detail",   no_argument,       NULL, 'd'},
        {"list",     no_argument,       NULL, 'L'},
        {"help",     no_argument,       NULL, 'h'},
        {NULL,       0,                 NULL, 0  },
    };
    int which;

    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (which) {
        case 's': o->scenario = optarg; break;
        case 'n': o->seeds = number(optarg); break;
        case 'f': o->first = number(optarg); break;
        case '1':
            o->one = true;
            o->seeds = 1;
            o->first = number(optarg);
            break;
        case 'k': o->known = optarg; break;
        case 'l': o->lines = max_u64(number(optarg), 1); break;
        case 'v': o->loud = true; break;
        case 'd': o->detail = true; break;
        case 'L':
            for (size_t i = 0; i < sim_scenario_count; i++)
                printf("%-18s %s\n", sim_scenarios[i].name,
                       sim_scenarios[i].what);
            exit(0);
        case 'h': exit(usage(stdout));
        default: exit(usage(stderr));
        }
    }
    if (optind < argc)
        exit(usage(stderr));
}

int main(int argc, char **argv)
{
    struct options o = {.seeds = 100, .first = 1, .lines = TRACE_LINES};
    struct figures known = {0};
    size_t chosen = 0, failed = 0;

    parse(argc, argv, &o);
    signal(SIGABRT, say_which);
    if (o.known && !run_known(&o, &known))
        failed++;
    if (known.runs)
        printf("%s  %-18s %6" PRIu64 " seeds\n", failed ? "FAIL" : "ok  ",
               "known seeds", known.runs);
    for (size_t i = 0; i < sim_scenario_count; i++) {
        if (!is_chosen(&sim_scenarios[i], &o))
            continue;
        chosen++;
        if (!o.seeds)
            continue;
        if (!run_scenario(&sim_scenarios[i], &o))
            failed++;
    }
    if (!chosen) {
        fprintf(stderr, "sim: no scenario \"%s\"; --list has them\n",
                o.scenario);
        return 2;
    }
    return failed ? 1 : 0;
}
