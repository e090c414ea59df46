/* MTLResidencySet and its descriptor; NSProcessInfo, as far as the driver asks it. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* --- the process ------------------------------------------------------------------------------ */

static mtl_id process_info(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    return sim_autorelease(sim_make(SIM_PROCESS));
}

static sim_dirty_bool process_is_at_least(mtl_id self, mtl_sel cmd, struct mtl_version version)
{
    (void)self, (void)cmd;
    return SIM_BOOL((int64_t)sim.config.macos >= version.major);
}

const struct sim_method sim_process_class_methods[] = {SIM_METHOD(process_info, process_info),
                                                       {0, NULL}};
const struct sim_method sim_process_methods[] = {SIM_BOOL_METHOD(is_at_least, process_is_at_least),
                                                 {0, NULL}};

/* --- residency sets --------------------------------------------------------------------------- */

static mtl_id descriptor_new(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    return sim_constructor_fails() ? NULL : sim_make(SIM_DESCRIPTOR);
}

const struct sim_method sim_descriptor_class_methods[] = {SIM_METHOD(class_new, descriptor_new),
                                                          {0, NULL}};

mtl_id sim_residency_new(struct sim_device *device, mtl_id descriptor, mtl_id *error)
{
    if (sim.config.macos < 15)
        sim_breach(METALSIM_DEVICE, "a residency set on macOS %u", sim.config.macos);
    else if (sim.config.machine != METALSIM_APPLE)
        sim_breach(METALSIM_DEVICE, "a residency set on a GPU that has none");
    if (!sim_check(descriptor, SIM_DESCRIPTOR) || sim_constructor_fails() ||
        sim.config.no_residency) {
        if (error)
            *error = sim_autorelease(sim_error_text("no residency sets"));
        return NULL;
    }
    struct sim_residency *set = sim_make(SIM_RESIDENCY);
    set->device = sim_retain(device);
    sim_lock();
    sim.counts.residency_sets++;
    sim_unlock();
    return (mtl_id)set;
}

static void let_go(struct sim_buffer **buffers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sim_release(buffers[i]);
    free(buffers);
}

void sim_residency_dealloc(struct sim_object *object)
{
    struct sim_residency *set = (struct sim_residency *)object;
    sim_lock();
    sim.counts.resident -= set->now_count;
    sim_unlock();
    let_go(set->now, set->now_count);
    let_go(set->next, set->next_count);
    sim_autorelease(set->device);
}

static void set_add(mtl_id self, mtl_sel cmd, mtl_id allocation)
{
    (void)cmd;
    struct sim_residency *set = (struct sim_residency *)self;
    struct sim_buffer *buffer = sim_check(allocation, SIM_BUFFER);
    sim_enter(self);
    if (buffer && !sim_same_device(buffer->device, set->device)) {
        sim_breach(METALSIM_DEVICE, "a residency set is given a buffer of another device");
    } else if (buffer) {
        set->next = realloc(set->next, (set->next_count + 1) * sizeof *set->next);
        set->next[set->next_count++] = sim_retain(buffer);
    }
    sim_leave(self);
}

static void set_remove(mtl_id self, mtl_sel cmd, mtl_id allocation)
{
    (void)cmd;
    struct sim_residency *set = (struct sim_residency *)self;
    sim_enter(self);
    size_t i = 0;
    while (i < set->next_count && set->next[i] != (struct sim_buffer *)allocation)
        i++;
    if (i == set->next_count) {
        sim_breach(METALSIM_RESIDENCY, "removeAllocation: of what is not in the set");
    } else {
        sim_release(set->next[i]);
        set->next[i] = set->next[--set->next_count];
    }
    sim_leave(self);
}

static void set_commit(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    struct sim_residency *set = (struct sim_residency *)self;
    sim_enter(self);
    struct sim_buffer **before = set->now;
    const size_t count = set->now_count;
    set->now_count = set->next_count;
    set->now = malloc((set->next_count + 1) * sizeof *set->now);
    for (size_t i = 0; i < set->next_count; i++)
        set->now[i] = sim_retain(set->next[i]);
    sim_lock();
    sim.counts.residency_commits++;
    sim.counts.resident += set->now_count - count;
    sim_unlock();
    let_go(before, count);
    sim_leave(self);
}

const struct sim_method sim_residency_methods[] = {
    SIM_METHOD(add_allocation, set_add),
    SIM_METHOD(remove_allocation, set_remove),
    SIM_METHOD(residency_commit, set_commit),
    {0, NULL},
};
