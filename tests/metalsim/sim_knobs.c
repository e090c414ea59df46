/* The environment variable METALSIM: what a program sets that only names the simulator. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum knob {
    KNOB_APPLE,
    KNOB_INTEL,
    KNOB_AMD,
    KNOB_PARAVIRTUAL,
    KNOB_MACOS,
    KNOB_STALE_IMPORTS,
    KNOB_LOST_IMPORTS,
    KNOB_NO_RESIDENCY,
    KNOB_LOOSE_BLITS,
    KNOB_DISORDER,
    KNOB_NO_SHARED,
    KNOB_BAD_KERNELS,
    KNOB_DEVICES,
    KNOB_SEED,
    KNOB_MEMORY_MIB,
    KNOB_DELAY_US,
    KNOB_FAIL_ALLOC,
    KNOB_FAIL_SUBMIT,
    KNOB_FAIL_EXEC,
    KNOB_FAIL_EVERY,
    KNOB_LOSE_AT,
    KNOB_IMPORT_FAIL,
    KNOB_COUNT
};

static const char *const names[KNOB_COUNT] = {
    [KNOB_APPLE] = "apple",
    [KNOB_INTEL] = "intel",
    [KNOB_AMD] = "amd",
    [KNOB_PARAVIRTUAL] = "paravirtual",
    [KNOB_MACOS] = "macos",
    [KNOB_STALE_IMPORTS] = "stale_imports",
    [KNOB_LOST_IMPORTS] = "lost_imports",
    [KNOB_NO_RESIDENCY] = "no_residency",
    [KNOB_LOOSE_BLITS] = "loose_blits",
    [KNOB_DISORDER] = "disorder",
    [KNOB_NO_SHARED] = "no_shared",
    [KNOB_BAD_KERNELS] = "bad_kernels",
    [KNOB_DEVICES] = "devices",
    [KNOB_SEED] = "seed",
    [KNOB_MEMORY_MIB] = "memory_mib",
    [KNOB_DELAY_US] = "delay_us",
    [KNOB_FAIL_ALLOC] = "fail_alloc",
    [KNOB_FAIL_SUBMIT] = "fail_submit",
    [KNOB_FAIL_EXEC] = "fail_exec",
    [KNOB_FAIL_EVERY] = "fail_every",
    [KNOB_LOSE_AT] = "lose_at",
    [KNOB_IMPORT_FAIL] = "import_fail",
};

/* One "name" or "name=number" or "name=all". */
static void read_knob(const char *text, size_t length, uint64_t *values)
{
    size_t name = 0;
    while (name < length && text[name] != '=')
        name++;
    for (int i = 0; i < KNOB_COUNT; i++)
        if (strlen(names[i]) == name && !memcmp(names[i], text, name)) {
            const char *value = text + name + 1;
            values[i] = name == length              ? 1
                        : !strncmp(value, "all", 3) ? UINT64_MAX
                                                    : strtoull(value, NULL, 0);
            return;
        }
    fprintf(stderr, "metalsim: METALSIM has no \"%.*s\"\n", (int)length, text);
    abort();
}

static void read_knobs(uint64_t *values)
{
    const char *text = getenv("METALSIM");
    memset(values, 0, KNOB_COUNT * sizeof *values);
    while (text && *text) {
        size_t length = strcspn(text, ",");
        if (length)
            read_knob(text, length, values);
        text += length + (text[length] == ',');
    }
}

/* What the machine is: read once. */
void sim_knobs_machine(struct metalsim_config *out)
{
    uint64_t values[KNOB_COUNT];
    read_knobs(values);
    *out = (struct metalsim_config){
        .machine = values[KNOB_INTEL]         ? METALSIM_INTEL
                   : values[KNOB_AMD]         ? METALSIM_AMD
                   : values[KNOB_PARAVIRTUAL] ? METALSIM_PARAVIRTUAL
                                              : METALSIM_APPLE,
        .import = values[KNOB_STALE_IMPORTS]  ? METALSIM_IMPORT_STALE
                  : values[KNOB_LOST_IMPORTS] ? METALSIM_IMPORT_LOST
                                              : METALSIM_IMPORT_AS_MACHINE,
        .macos = (unsigned)values[KNOB_MACOS],
        .no_residency = values[KNOB_NO_RESIDENCY],
        .loose_blits = values[KNOB_LOOSE_BLITS],
        .devices = (unsigned)values[KNOB_DEVICES],
        .disorder = values[KNOB_DISORDER],
        .no_shared = values[KNOB_NO_SHARED],
        .bad_kernels = values[KNOB_BAD_KERNELS],
        .memory = values[KNOB_MEMORY_MIB] << 20,
        .seed = values[KNOB_SEED],
        .delay_us = (unsigned)values[KNOB_DELAY_US],
    };
}

/* What is to fail: read each time a device has been opened, and counted from there on. While one is
 * being opened (not armed) nothing fails. */
void sim_knobs_faults(bool armed)
{
    uint64_t values[KNOB_COUNT] = {0};
    if (!getenv("METALSIM"))
        return;
    if (armed)
        read_knobs(values);
    sim_lock();
    sim.config.delay_us = values[KNOB_DELAY_US] ? (unsigned)values[KNOB_DELAY_US] : 50;
    sim.fail_buffer = values[KNOB_FAIL_ALLOC];
    sim.fail_new_commands = values[KNOB_FAIL_SUBMIT];
    sim.fail_import = values[KNOB_IMPORT_FAIL];
    sim.fail_every = values[KNOB_FAIL_EVERY];
    sim.fail_commands = values[KNOB_LOSE_AT] ? values[KNOB_LOSE_AT] : values[KNOB_FAIL_EXEC];
    sim.fail_code = values[KNOB_LOSE_AT] ? MTL_ERROR_DEVICE_REMOVED : MTL_ERROR_PAGE_FAULT;
    sim.fail_victims = 0;
    sim.loses = values[KNOB_LOSE_AT] != 0;
    sim.removed = false;
    sim_unlock();
}

bool sim_counts_down(uint64_t *count)
{
    sim_lock();
    bool reached = *count == UINT64_MAX || (*count && --*count == 0);
    sim_unlock();
    return reached;
}
