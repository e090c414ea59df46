/* The state of the simulator, the machines that it can be, devices. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sim_state sim = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .random = 1};

static const struct machine {
    const char *name;
    bool unified, low_power, apple;
    uint64_t page;
} machines[METALSIM_MACHINES] = {
    [METALSIM_APPLE] = {"Apple M2 (simulated)", true, false, true, 16384},
    [METALSIM_INTEL] = {"Intel(R) UHD Graphics 630 (simulated)", true, true, false, 4096},
    [METALSIM_AMD] = {"AMD Radeon Pro 5500M (simulated)", false, false, false, 4096},
    [METALSIM_PARAVIRTUAL] = {"Apple Paravirtual device", true, false, true, 16384},
};

static const struct machine *machine(void)
{
    return &machines[sim.config.machine];
}

void sim_lock(void)
{
    pthread_mutex_lock(&sim.lock);
}

void sim_unlock(void)
{
    pthread_mutex_unlock(&sim.lock);
}

uint64_t sim_random_locked(void)
{
    sim.random ^= sim.random << 13;
    sim.random ^= sim.random >> 7;
    return sim.random ^= sim.random << 17;
}

uint64_t sim_page_size(void)
{
    return machine()->page;
}

bool sim_same_device(const struct sim_device *a, const struct sim_device *b)
{
    return a == b || sim.config.twins;
}

bool sim_constructor_fails(void)
{
    sim_lock();
    sim.counts.constructors++;
    bool fails = sim.fail_constructor && --sim.fail_constructor == 0;
    sim_unlock();
    return fails;
}

/* --- configuration ---------------------------------------------------------------------------- */

static void configure(const struct metalsim_config *config)
{
    sim.config = *config;
    sim.config.devices = config->devices ? config->devices : 1;
    sim.config.memory = config->memory ? config->memory : 8ull << 30;
    sim.config.max_buffer = config->max_buffer ? config->max_buffer : 4ull << 30;
    sim.config.delay_us = config->delay_us ? config->delay_us : 50;
    sim.config.macos = config->macos ? config->macos : 15;
    sim.random = config->seed ? config->seed : 1;
    sim.counts = (struct metalsim_counts){0};
    sim.fail_constructor = sim.fail_commands = 0;
    sim.fail_buffer = sim.fail_new_commands = sim.fail_import = sim.fail_every = 0;
    atomic_store(&sim_messages, 0);
    for (sim.device_count = 0; sim.device_count < sim.config.devices; sim.device_count++) {
        struct sim_device *device = sim_make(SIM_DEVICE);
        device->index = sim.device_count;
        sim.devices[sim.device_count] = device;
    }
}

static void start_from_environment(void)
{
    struct metalsim_config config;
    sim_knobs_machine(&config);
    configure(&config);
}

void sim_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_from_environment);
}

/* Ends the threads, so that what they still hold is let go; then says how many objects live. */
static uint64_t count_objects(void)
{
    uint64_t objects, buffers;
    sim_lock();
    sim_count_live(&objects, &buffers);
    sim_unlock();
    for (unsigned i = 0; i < sim.device_count; i++)
        objects += atomic_load(&sim.devices[i]->object.references) > 1;
    return objects;
}

static uint64_t finish(void)
{
    sim_stop_threads();
    const uint64_t objects = count_objects();
    if (objects)
        metalsim_print_live();
    for (unsigned i = 0; i < sim.device_count; i++)
        while (sim_is_alive(sim.devices[i]))
            sim_release(sim.devices[i]);
    sim.device_count = 0;
    return objects;
}

METALSIM_API uint64_t metalsim_reset(const struct metalsim_config *config)
{
    sim_start();
    uint64_t objects = finish();
    configure(config);
    return objects;
}

/* A program that ends with live objects has leaked them, whatever else it says. */
__attribute__((destructor)) static void end(void)
{
    if (atomic_load(&sim_forked))
        return; /* what is alive is the parent's */
    sim_start();
    /* A device that was closed in a callback is closed by a thread of its own. */
    const bool allowed = getenv("METALSIM_LEAKS_ALLOWED") != NULL;
    for (int i = 0; i < 3000 && !allowed && count_objects(); i++)
        usleep(10000);
    uint64_t objects = finish();
    if (!objects || allowed)
        return;
    fprintf(stderr, "metalsim: %lu objects are alive at the end\n", (unsigned long)objects);
    _exit(97);
}

METALSIM_API void metalsim_get_counts(struct metalsim_counts *out)
{
    sim_lock();
    sim_count_live(&sim.counts.live_objects, &sim.counts.live_buffers);
    sim.counts.messages = atomic_load(&sim_messages);
    *out = sim.counts;
    sim_unlock();
}

METALSIM_API const char *metalsim_last_breach(void)
{
    return sim.last_breach;
}

METALSIM_API void metalsim_end_hang(void)
{
    sim_lock();
    sim.config.hung_compiler = false;
    pthread_cond_broadcast(&sim.changed);
    sim_unlock();
}

METALSIM_API void metalsim_fail_constructor(uint64_t n)
{
    sim_lock();
    sim.fail_constructor = n;
    sim_unlock();
}

METALSIM_API void metalsim_fail_commands(uint64_t n, int code, unsigned victims)
{
    sim_lock();
    sim.fail_commands = n;
    sim.fail_code = code;
    sim.fail_victims = victims;
    sim_unlock();
}

/* --- devices ---------------------------------------------------------------------------------- */

METALSIM_API mtl_id MTLCopyAllDevices(void)
{
    sim_check_process("MTLCopyAllDevices");
    sim_start();
    sim_knobs_faults(false);
    if (sim_constructor_fails())
        return NULL;
    struct sim_array *array = sim_make(SIM_ARRAY);
    for (unsigned i = 0; i < sim.device_count; i++)
        array->items[array->count++] = sim_retain(sim.devices[i]);
    return (mtl_id)array;
}

METALSIM_API mtl_id MTLCreateSystemDefaultDevice(void)
{
    sim_start();
    return sim_constructor_fails() ? NULL : sim_retain(sim.devices[0]);
}

void sim_device_dealloc(struct sim_object *object)
{
    (void)object;
}

static mtl_id device_name(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    return sim_string(machine()->name);
}

static uint64_t device_registry_id(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return 0x100000400 + (sim.config.twins ? 0 : ((struct sim_device *)self)->index);
}

static sim_dirty_bool device_is_unified(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    return SIM_BOOL(machine()->unified);
}

static sim_dirty_bool device_is_low_power(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    return SIM_BOOL(machine()->low_power);
}

/* Macs with Apple silicon are of the Apple families and of the Mac families. */
static sim_dirty_bool device_supports_family(mtl_id self, mtl_sel cmd, int64_t family)
{
    (void)self, (void)cmd;
    bool mac = family == 2001 || family == 2002 || (family >= 3001 && family <= 3003);
    return SIM_BOOL(mac || (machine()->apple && family >= 1001 && family <= 1008));
}

static uint64_t device_max_buffer_length(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    return sim.config.max_buffer;
}

static uint64_t device_working_set_size(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    return sim.config.memory;
}

static uint64_t device_allocated_size(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    sim_lock();
    uint64_t allocated = ((struct sim_device *)self)->allocated;
    sim_unlock();
    return allocated;
}

static mtl_id device_new_buffer(mtl_id self, mtl_sel cmd, uint64_t length, uint64_t options)
{
    (void)cmd;
    return sim_buffer_new((struct sim_device *)self, length, options);
}

static mtl_id device_import(mtl_id self, mtl_sel cmd, void *bytes, uint64_t length,
                            uint64_t options, mtl_block deallocator)
{
    (void)cmd;
    return sim_buffer_import((struct sim_device *)self, bytes, length, options, deallocator);
}

static mtl_id device_new_queue(mtl_id self, mtl_sel cmd, uint64_t maximum)
{
    (void)cmd;
    return sim_queue_new((struct sim_device *)self, maximum);
}

static mtl_id device_new_shared_event(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return sim_event_new((struct sim_device *)self);
}

static mtl_id device_new_event(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return sim_plain_event_new((struct sim_device *)self);
}

static mtl_id device_new_residency_set(mtl_id self, mtl_sel cmd, mtl_id descriptor, mtl_id *error)
{
    (void)cmd;
    return sim_residency_new((struct sim_device *)self, descriptor, error);
}

static mtl_id device_new_library(mtl_id self, mtl_sel cmd, mtl_id source, mtl_id options,
                                 mtl_id *error)
{
    (void)cmd, (void)options;
    return sim_library_new((struct sim_device *)self, source, error);
}

static mtl_id device_new_pipeline(mtl_id self, mtl_sel cmd, mtl_id function, mtl_id *error)
{
    (void)cmd;
    return sim_pipeline_new((struct sim_device *)self, function, error);
}

const struct sim_method sim_device_methods[] = {
    SIM_METHOD(device_name, device_name),
    SIM_METHOD(registry_id, device_registry_id),
    SIM_BOOL_METHOD(is_unified, device_is_unified),
    SIM_BOOL_METHOD(is_low_power, device_is_low_power),
    SIM_BOOL_METHOD(supports_family, device_supports_family),
    SIM_METHOD(max_buffer_length, device_max_buffer_length),
    SIM_METHOD(working_set_size, device_working_set_size),
    SIM_METHOD(allocated_size, device_allocated_size),
    SIM_METHOD(new_buffer, device_new_buffer),
    SIM_METHOD(new_buffer_no_copy, device_import),
    SIM_METHOD(new_queue, device_new_queue),
    SIM_METHOD(new_shared_event, device_new_shared_event),
    SIM_METHOD(new_event, device_new_event),
    SIM_METHOD(new_residency_set, device_new_residency_set),
    SIM_METHOD(new_library, device_new_library),
    SIM_METHOD(new_pipeline, device_new_pipeline),
    {0, NULL},
};
