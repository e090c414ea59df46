/* The machines on which each test of the Metal driver runs. */
#ifndef FERRY_TESTS_METAL_MACHINES_H
#define FERRY_TESTS_METAL_MACHINES_H

#include "metal_world.h"

/* In order and with command buffers completing in disorder. */
struct machine {
    struct metalsim_config config;
    bool imports;
};

static const struct machine machines[] = {
    {{.machine = METALSIM_APPLE, .disorder = true}, true},
    {{.machine = METALSIM_INTEL}, true},
    {{.machine = METALSIM_AMD}, false},
    {{.machine = METALSIM_PARAVIRTUAL, .disorder = true}, true},
    {{.machine = METALSIM_PARAVIRTUAL, .macos = 14}, false},
};
enum { MACHINES = sizeof machines / sizeof *machines };

static inline void on_machines(void (*test)(struct world *world, const struct machine *machine))
{
    for (int i = 0; i < MACHINES; i++) {
        struct world world;
        open_world(&world, machines[i].config);
        test(&world, &machines[i]);
        close_world(&world);
    }
}

#endif
