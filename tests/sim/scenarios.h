/* tests/sim/scenarios.h - what the simulator tries: the list.
 * A scenario sets a world up, lets faults loose, ends them, and then expects
 * everybody to get on: nobody may wait for ever.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_SIM_SCENARIOS_H
#define LUNAR_TESTS_SIM_SCENARIOS_H

#include "tests/sim/sim.h"

struct sim_scenario {
    const char *name;
    const char *what;           /* it tries, in one line */
    void (*run)(struct sim *s); /* fails by sim_fail() */
};

extern const struct sim_scenario sim_scenarios[];
extern const size_t sim_scenario_count;

#endif
