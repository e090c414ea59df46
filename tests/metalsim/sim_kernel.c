/* Libraries and pipelines: the text of the kernels, run as C. */
#include "sim.h"

#include "sim_kernel.h"

#include <stdlib.h>
#include <string.h>

_Thread_local struct sim_bounds sim_bounds;

#define METAL_KERNELS(...) static const char kernels_text[] = #__VA_ARGS__;
#include "../../drivers/metal/kernels.inc"
#undef METAL_KERNELS
#define METAL_KERNELS(...) __VA_ARGS__
#include "../../drivers/metal/kernels.inc"
#undef kernel
#undef device
#undef constant

enum { KERNEL_NONE, KERNEL_COPY, KERNEL_FILL };

static mtl_id owned(enum sim_kind kind, struct sim_device *owner, int number)
{
    struct sim_pipeline *object = sim_make(kind);
    object->device = sim_retain(owner);
    object->kernel = number;
    return (mtl_id)object;
}

void sim_owned_dealloc(struct sim_object *object)
{
    sim_autorelease(((struct sim_pipeline *)object)->device);
}

static mtl_id refuse(mtl_id *error, const char *why)
{
    if (error)
        *error = sim_autorelease(sim_error_text(why));
    return NULL;
}

mtl_id sim_library_new(struct sim_device *owner, mtl_id source, mtl_id *error)
{
    struct sim_string *text = sim_check(source, SIM_STRING);
    sim_lock();
    sim.counts.libraries++;
    while (sim.config.hung_compiler)
        pthread_cond_wait(&sim.changed, &sim.lock);
    sim_unlock();
    if (sim_constructor_fails() || sim.config.bad_kernels)
        return refuse(error, "program_source:1:1: error: simulated");
    if (!text || !strstr(text->text, kernels_text))
        return refuse(error, "program_source:1:1: error: not the text that the simulator knows");
    return owned(SIM_LIBRARY, owner, KERNEL_NONE);
}

static mtl_id library_function(mtl_id self, mtl_sel cmd, mtl_id name)
{
    (void)cmd;
    struct sim_string *text = sim_check(name, SIM_STRING);
    int number = !text                               ? KERNEL_NONE
                 : !strcmp(text->text, "ferry_copy") ? KERNEL_COPY
                 : !strcmp(text->text, "ferry_fill") ? KERNEL_FILL
                                                     : KERNEL_NONE;
    if (!number || sim_constructor_fails())
        return NULL;
    return owned(SIM_FUNCTION, ((struct sim_pipeline *)self)->device, number);
}

mtl_id sim_pipeline_new(struct sim_device *owner, mtl_id function, mtl_id *error)
{
    struct sim_pipeline *f = sim_check(function, SIM_FUNCTION);
    if (!f || sim_constructor_fails())
        return refuse(error, "Compiler encountered an internal error");
    return owned(SIM_PIPELINE, owner, f->kernel);
}

static uint64_t pipeline_threads(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    return 1024;
}

const struct sim_method sim_library_methods[] = {SIM_METHOD(new_function, library_function),
                                                 {0, NULL}};
const struct sim_method sim_pipeline_methods[] = {SIM_METHOD(pipeline_threads, pipeline_threads),
                                                  {0, NULL}};

/* --- running ---------------------------------------------------------------------------------- */

static uchar *bound(const struct sim_dispatch *dispatch, int index)
{
    return sim_buffer_view(dispatch->buffer[index], index == 0) + dispatch->offset[index];
}

/* A range of a buffer that a kernel is to touch; false, and a breach, if it is not inside. */
static bool inside(const struct sim_dispatch *dispatch, int index, uint64_t offset, uint64_t size)
{
    const struct sim_buffer *buffer = dispatch->buffer[index];
    if (buffer && size && size <= buffer->length && offset <= buffer->length - size)
        return true;
    sim_breach(METALSIM_RANGE, "a kernel on %lu bytes at %lu of a buffer of %lu",
               (unsigned long)size, (unsigned long)offset,
               buffer ? (unsigned long)buffer->length : 0);
    return false;
}

static void run_copy(const struct sim_dispatch *dispatch)
{
    struct ferry_copy_args args;
    memcpy(&args, dispatch->bytes[2], sizeof args);
    if (dispatch->bytes_size[2] != sizeof args || !inside(dispatch, 0, args.dst, args.size) ||
        !inside(dispatch, 1, args.src, args.size))
        return;
    uchar *dst = bound(dispatch, 0);
    const uchar *src = bound(dispatch, 1);
    sim_bounds = (struct sim_bounds){src + args.src - args.src % 4, src + args.src + args.size,
                                     dst + args.dst, dst + args.dst + args.size, false};
    for (uint64_t i = 0; i < dispatch->threads; i++)
        ferry_copy(dst, src, &args, (uint)i);
}

static void run_fill(const struct sim_dispatch *dispatch)
{
    struct ferry_fill_args args;
    memcpy(&args, dispatch->bytes[1], sizeof args);
    if (dispatch->bytes_size[1] != sizeof args || !inside(dispatch, 0, args.dst, args.size))
        return;
    uchar *dst = bound(dispatch, 0);
    sim_bounds = (struct sim_bounds){NULL, NULL, dst + args.dst, dst + args.dst + args.size, false};
    for (uint64_t i = 0; i < dispatch->threads; i++)
        ferry_fill(dst, &args, (uint)i);
}

void sim_run_dispatch(const struct sim_dispatch *dispatch)
{
    if (dispatch->pipeline->kernel == KERNEL_COPY)
        run_copy(dispatch);
    else
        run_fill(dispatch);
    if (sim_bounds.broken)
        sim_breach(METALSIM_RANGE, "a kernel touched what is outside its range");
    sim_lock();
    sim.counts.kernel_threads += dispatch->threads;
    sim_unlock();
}
