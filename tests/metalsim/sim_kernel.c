/* Libraries and pipelines: the text of the kernels, run as C. */
#include "sim.h"

#include "../seen.h"
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

enum { KERNEL_NONE, KERNEL_COPY, KERNEL_FILL, KERNEL_LIST };

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
                 : !strcmp(text->text, "ferry_list") ? KERNEL_LIST
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
    sim_bounds = (struct sim_bounds){.read = src + args.src - args.src % 4,
                                     .read_end = src + args.src + args.size,
                                     .write = dst + args.dst,
                                     .write_end = dst + args.dst + args.size};
    seen_reading(src + args.src, args.size);
    seen_writing(dst + args.dst, args.size);
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
    sim_bounds =
        (struct sim_bounds){.write = dst + args.dst, .write_end = dst + args.dst + args.size};
    seen_writing(dst + args.dst, args.size);
    for (uint64_t i = 0; i < dispatch->threads; i++)
        ferry_fill(dst, &args, (uint)i);
}

static int by_begin(const void *a, const void *b)
{
    const struct sim_span *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* The spans of one side; those that meet are one, or a breach where they are written. */
static uint64_t take_spans(const struct sim_dispatch *dispatch, const struct ferry_piece *list,
                           const struct ferry_list_args *args, bool writes, struct sim_span *out)
{
    const uchar *base = bound(dispatch, !writes) + (writes ? args->dst : args->src);
    uint64_t kept = 0;
    for (uint i = 0; i < args->count; i++) {
        const uchar *at = base + (writes ? list[i].dst : list[i].src);
        out[i] = (struct sim_span){at - (writes ? 0 : (uintptr_t)at % 4), at + list[i].size};
    }
    qsort(out, args->count, sizeof *out, by_begin);
    for (uint i = 0; i < args->count; i++) {
        if (kept && out[i].begin < out[kept - 1].end) {
            if (writes)
                sim_breach(METALSIM_OVERLAP, "two pieces of a list write the same bytes");
            if (out[i].end > out[kept - 1].end)
                out[kept - 1].end = out[i].end;
        } else {
            out[kept++] = out[i];
        }
    }
    return kept;
}

static bool pieces_are_inside(const struct sim_dispatch *dispatch, const struct ferry_piece *list,
                              const struct ferry_list_args *args)
{
    for (uint i = 0; i < args->count; i++)
        if (!inside(dispatch, 0, args->dst + list[i].dst, list[i].size) ||
            !inside(dispatch, 1, args->src + list[i].src, list[i].size))
            return false;
    return true;
}

static void run_list(const struct sim_dispatch *dispatch)
{
    struct ferry_list_args args;
    memcpy(&args, dispatch->bytes[3], sizeof args);
    if (dispatch->bytes_size[3] != sizeof args ||
        !inside(dispatch, 2, dispatch->offset[2], args.count * sizeof(struct ferry_piece)))
        return;
    const struct ferry_piece *list = (const struct ferry_piece *)(const void *)bound(dispatch, 2);
    if (!pieces_are_inside(dispatch, list, &args))
        return;
    struct sim_span *spans = calloc(2 * (size_t)args.count, sizeof *spans);
    if (!spans)
        abort();
    sim_bounds = (struct sim_bounds){
        .reads = spans,
        .writes = spans + args.count,
        .read_count = take_spans(dispatch, list, &args, false, spans),
        .write_count = take_spans(dispatch, list, &args, true, spans + args.count),
        .list = {(const uchar *)list, (const uchar *)(list + args.count)},
    };
    uchar *dst = bound(dispatch, 0);
    const uchar *src = bound(dispatch, 1);
    for (uint i = 0; i < args.count; i++) {
        seen_reading(src + args.src + list[i].src, list[i].size);
        seen_writing(dst + args.dst + list[i].dst, list[i].size);
    }
    for (uint64_t i = 0; i < dispatch->threads; i++)
        ferry_list(dst, src, list, &args, (uint)i);
    free(spans);
}

void sim_run_dispatch(const struct sim_dispatch *dispatch)
{
    static void (*const run[])(const struct sim_dispatch *) = {
        [KERNEL_COPY] = run_copy, [KERNEL_FILL] = run_fill, [KERNEL_LIST] = run_list};
    run[dispatch->pipeline->kernel](dispatch);
    if (sim_bounds.broken)
        sim_breach(METALSIM_RANGE, "a kernel touched what is outside its range");
    sim_lock();
    sim.counts.kernel_threads += dispatch->threads;
    sim_unlock();
}
