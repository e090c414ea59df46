/* Copies, fills, batches, modules and launches: what is put into streams. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* --- spans ------------------------------------------------------------------------------------- */

/* Where the bytes are. false: a breach was told. */
bool sim_find_span(const char *function, cu_address address, size_t size, bool written,
                   struct span *out)
{
    return sim_find_span_of(sim_current(), function, address, size, written, out);
}

bool sim_find_span_of(cu_context context, const char *function, cu_address address, size_t size,
                      bool written, struct span *out)
{
    struct range *range = sim_range(address);
    *out = (struct span){
        .range = range, .address = address, .size = size, .bytes = (void *)(uintptr_t)address};
    if (!range) {
        if (!sim.options.pageable)
            sim_breach(STRICTCUDA_PAGEABLE, "%s: %zu bytes at %p are not page-locked", function,
                       size, (void *)(uintptr_t)address);
        return sim.options.pageable;
    }
    if (size > range->size - (address - range->base)) {
        sim_breach(STRICTCUDA_RANGE, "%s: %zu bytes reach beyond their allocation", function, size);
        return false;
    }
    if (written && range->read_only) {
        sim_breach(STRICTCUDA_READ_ONLY, "%s: memory for reading only is written", function);
        return false;
    }
    if (range->kind == RANGE_VIRTUAL && !range->reached) {
        sim_breach(STRICTCUDA_VIRTUAL, "%s: no device was given access to the memory", function);
        return false;
    }
    if (sim_range_is_device(range) && range->context != context) {
        sim_breach(STRICTCUDA_CONTEXT, "%s: another context's memory", function);
        return false;
    }
    out->bytes = range->bytes + (address - range->base);
    return true;
}

static struct work *new_work(enum work_kind kind)
{
    struct work *work = calloc(1, sizeof *work);
    if (!work)
        abort();
    work->kind = kind;
    return work;
}

/* A copy of pageable memory reads it at the call, or late. */
static void read_now_or_late(struct work *work)
{
    if (work->src.range || sim_random() % 2)
        return;
    work->copied = malloc(work->src.size);
    if (!work->copied)
        abort();
    memcpy(work->copied, work->src.bytes, work->src.size);
}

static cu_result enqueue_copy(const char *function, cu_address dst, cu_address src, size_t size,
                              cu_stream stream)
{
    struct work *work = new_work(WORK_COPY);
    if (!size)
        sim_breach(STRICTCUDA_EMPTY, "%s of 0 bytes", function);
    if (!size || !sim_find_span(function, dst, size, true, &work->dst) ||
        !sim_find_span(function, src, size, false, &work->src)) {
        free(work);
        return CU_ERROR_INVALID_VALUE;
    }
    if (work->dst.bytes < work->src.bytes + size && work->src.bytes < work->dst.bytes + size)
        sim_breach(STRICTCUDA_RACE, "%s: source and destination overlap", function);
    read_now_or_late(work);
    return sim_append(stream, work);
}

cu_result sim_MemcpyAsync_4000(cu_address dst, cu_address src, size_t size, cu_stream in)
{
    const cu_result result = sim_begin("cuMemcpyAsync", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_stream(in, "cuMemcpyAsync");
    if (!stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    return sim_end(enqueue_copy("cuMemcpyAsync", dst, src, size, stream));
}

cu_result sim_MemcpyPeerAsync_4000(cu_address dst, cu_context dst_context, cu_address src,
                                   cu_context src_context, size_t size, cu_stream in)
{
    static const char function[] = "cuMemcpyPeerAsync";
    const cu_result result = sim_begin(function, NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_stream(in, function);
    struct work *work = new_work(WORK_COPY);
    if (!size)
        sim_breach(STRICTCUDA_EMPTY, "%s of 0 bytes", function);
    if (!stream || !size || !sim_find_span_of(dst_context, function, dst, size, true, &work->dst) ||
        !sim_find_span_of(src_context, function, src, size, false, &work->src)) {
        free(work);
        return sim_end(CU_ERROR_INVALID_VALUE);
    }
    if (src_context->sticky || dst_context->sticky) {
        free(work);
        return sim_end(src_context->sticky ? src_context->sticky : dst_context->sticky);
    }
    const bool enabled = dst_context == src_context ||
                         (sim_current()->peers & 1u << (src_context - sim.contexts)) ||
                         (sim_current()->peers & 1u << (dst_context - sim.contexts));
    if (!enabled) /* through the host, and slowly: CUDA does not say so */
        sim_breach(STRICTCUDA_PEER, "%s between devices that were not let reach each other",
                   function);
    if (sim.options.badpeers && dst_context != src_context)
        work->src.bytes = work->dst.bytes; /* nothing arrives */
    return sim_end(sim_append(stream, work));
}

/* --- fills ------------------------------------------------------------------------------------- */

static cu_result enqueue_fill(const char *function, cu_address dst, unsigned word,
                              unsigned word_size, size_t count, cu_stream stream)
{
    struct work *work = new_work(WORK_FILL);
    const size_t size = count * word_size;
    if (!size)
        sim_breach(STRICTCUDA_EMPTY, "%s of 0 bytes", function);
    if (dst % word_size)
        sim_breach(STRICTCUDA_ALIGNMENT, "%s: address %p", function, (void *)(uintptr_t)dst);
    if (!size || dst % word_size || !sim_find_span(function, dst, size, true, &work->dst)) {
        free(work);
        return CU_ERROR_INVALID_VALUE;
    }
    work->word = word;
    work->word_size = word_size;
    return sim_append(stream, work);
}

cu_result sim_MemsetD8Async_3020(cu_address dst, unsigned char value, size_t count, cu_stream in)
{
    const cu_result result = sim_begin("cuMemsetD8Async", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_stream(in, "cuMemsetD8Async");
    if (!stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    return sim_end(enqueue_fill("cuMemsetD8Async", dst, value, 1, count, stream));
}

cu_result sim_MemsetD32Async_3020(cu_address dst, unsigned value, size_t count, cu_stream in)
{
    const cu_result result =
        sim_begin("cuMemsetD32Async", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_stream(in, "cuMemsetD32Async");
    if (!stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    return sim_end(enqueue_fill("cuMemsetD32Async", dst, value, 4, count, stream));
}

/* --- values ------------------------------------------------------------------------------------ */

cu_result sim_StreamWriteValue64_11070(cu_stream in, cu_address address, uint64_t value,
                                       unsigned flags)
{
    static const char function[] = "cuStreamWriteValue64";
    const cu_result result = sim_begin(function, NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_stream(in, function);
    if (!stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    if (sim.options.nowrite || flags)
        return sim_end(CU_ERROR_NOT_SUPPORTED);
    if (address % sizeof value)
        sim_breach(STRICTCUDA_ALIGNMENT, "%s: address %p", function, (void *)(uintptr_t)address);
    struct work *work = new_work(WORK_WRITE);
    work->value = value;
    if (address % sizeof value ||
        !sim_find_span(function, address, sizeof value, true, &work->dst)) {
        free(work);
        return sim_end(CU_ERROR_INVALID_VALUE);
    }
    sim_append_mark(stream, work);
    return sim_end(CU_SUCCESS);
}

/* --- batches ----------------------------------------------------------------------------------- */

struct batch {
    const cu_address *dsts, *srcs;
    const size_t *sizes;
    size_t count;
};

static bool meet(cu_address a, size_t a_size, cu_address b, size_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

/* Nothing orders the copies of a batch, so none writes what another touches. */
static bool overlaps(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        for (size_t j = 0; j < batch->count; j++)
            if (i != j &&
                (meet(batch->dsts[i], batch->sizes[i], batch->srcs[j], batch->sizes[j]) ||
                 (j > i && meet(batch->dsts[i], batch->sizes[i], batch->dsts[j], batch->sizes[j]))))
                return true;
    return false;
}

static const char *what_is_wrong(const struct batch *batch,
                                 const struct cu_copy_attributes *attributes, const size_t *starts,
                                 size_t attribute_count)
{
    if (!batch->count || batch->count > BATCH_LIMIT)
        return "none, or more than 4096, copies";
    if (attribute_count != 1 || !starts || starts[0] != 0)
        return "attributes that do not begin at the first copy";
    if (attributes->source_order != CU_SOURCE_ORDER_STREAM || attributes->flags)
        return "sources that are not read in the stream's order";
    return overlaps(batch) ? "copies that touch each other's bytes" : NULL;
}

static cu_result enqueue_batch(const struct batch *batch, cu_stream stream, size_t *failed)
{
    cu_result result = CU_SUCCESS;
    size_t *order = malloc(batch->count * sizeof *order);
    if (!order)
        abort();
    for (size_t i = 0; i < batch->count; i++)
        order[i] = i;
    for (size_t i = batch->count; i > 1; i--) {
        const size_t other = sim_random() % i, last = order[i - 1];
        order[i - 1] = order[other];
        order[other] = last;
    }
    for (size_t i = 0; i < batch->count && !result; i++) {
        const size_t at = order[i];
        *failed = at;
        result = enqueue_copy("cuMemcpyBatchAsync", batch->dsts[at], batch->srcs[at],
                              batch->sizes[at], stream);
    }
    free(order);
    return result;
}

static cu_result take_batch(const struct batch *batch, const struct cu_copy_attributes *attributes,
                            const size_t *starts, size_t attribute_count, size_t *failed,
                            cu_stream in)
{
    const cu_result result =
        sim_begin("cuMemcpyBatchAsync", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_stream(in, "cuMemcpyBatchAsync");
    if (!stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    const char *wrong = what_is_wrong(batch, attributes, starts, attribute_count);
    if (wrong) {
        sim_breach(STRICTCUDA_BATCH, "cuMemcpyBatchAsync: %s", wrong);
        return sim_end(CU_ERROR_INVALID_VALUE);
    }
    return sim_end(enqueue_batch(batch, stream, failed));
}

cu_result sim_MemcpyBatchAsync_13000(cu_address *dsts, cu_address *srcs, size_t *sizes,
                                     size_t count, struct cu_copy_attributes *attributes,
                                     size_t *starts, size_t attribute_count, cu_stream stream)
{
    const struct batch batch = {dsts, srcs, sizes, count};
    size_t failed;
    return take_batch(&batch, attributes, starts, attribute_count, &failed, stream);
}

cu_result sim_MemcpyBatchAsync_12080(cu_address *dsts, cu_address *srcs, size_t *sizes,
                                     size_t count, struct cu_copy_attributes *attributes,
                                     size_t *starts, size_t attribute_count, size_t *failed,
                                     cu_stream stream)
{
    const struct batch batch = {dsts, srcs, sizes, count};
    return take_batch(&batch, attributes, starts, attribute_count, failed, stream);
}

/* --- kernels ----------------------------------------------------------------------------------- */

cu_result sim_ModuleLoadDataEx_2010(cu_module *out, const void *image, unsigned count,
                                    cu_jit_option *options, void **values)
{
    (void)options, (void)values;
    const cu_result result =
        sim_begin("cuModuleLoadDataEx", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    if (sim.options.nojit)
        return sim_end(CU_ERROR_JIT_COMPILER_NOT_FOUND);
    if (count || !(sim_own.user ? sim_kernel_is_users(image) : sim_kernel_known(image)))
        return sim_end(CU_ERROR_INVALID_PTX);
    cu_module module = calloc(1, sizeof *module);
    if (!module)
        abort();
    module->context = sim_current();
    module->users = sim_own.user;
    module->next = sim.modules;
    sim.modules = module;
    *out = module;
    return sim_end(CU_SUCCESS);
}

static cu_module find_module(cu_module wanted, const char *function)
{
    cu_module module = sim.modules;
    while (module && module != wanted)
        module = module->next;
    if (!module)
        sim_breach(STRICTCUDA_HANDLE, "%s: no such module", function);
    return module;
}

static void drop_module(cu_module module)
{
    cu_module *link = &sim.modules;
    while (*link != module)
        link = &(*link)->next;
    *link = module->next;
    free(module);
}

void sim_drop_modules(cu_context context)
{
    for (cu_module module = sim.modules, next; module; module = next) {
        next = module->next;
        if (module->context == context)
            drop_module(module);
    }
}

cu_result sim_ModuleUnload_2000(cu_module wanted)
{
    const cu_result result =
        sim_begin("cuModuleUnload", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    cu_module module = find_module(wanted, "cuModuleUnload");
    if (!module)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    drop_module(module);
    return sim_end(CU_SUCCESS);
}

cu_result sim_ModuleGetFunction_2000(cu_function *out, cu_module wanted, const char *name)
{
    const cu_result result =
        sim_begin("cuModuleGetFunction", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_module module = find_module(wanted, "cuModuleGetFunction");
    const int number = sim_kernel_number(name);
    if (!module || number < 0)
        return sim_end(module ? CU_ERROR_NOT_FOUND : CU_ERROR_INVALID_HANDLE);
    if ((number == USERS_KERNEL) != module->users)
        return sim_end(CU_ERROR_NOT_FOUND);
    struct CUfunc_st *function = &module->functions[module->users ? 0 : number];
    *function = (struct CUfunc_st){.module = module, .kernel = number};
    *out = function;
    return sim_end(CU_SUCCESS);
}

/* The kernels' arguments with the store's addresses; what they read and write. */
static bool translate(int kernel, struct work *work, const struct cuda_kernel_arguments *from)
{
    static const bool copies[] = {true, false};
    const size_t size = (size_t)(from->end - from->begin);
    struct cuda_kernel_arguments *to = &work->arguments;
    *to = *from;
    if (from->end <= from->begin || from->begin >= CUDA__KERNEL_BLOCK ||
        (copies[kernel] ? from->phase >= CUDA__KERNEL_BLOCK
                        : !from->period || from->period > sizeof from->pattern)) {
        sim_breach(STRICTCUDA_LAUNCH, "cuLaunchKernel: arguments out of their bounds");
        return false;
    }
    if (!sim_find_span("cuLaunchKernel", from->dst + from->begin, size, true, &work->dst))
        return false;
    to->dst = (unsigned long long)(uintptr_t)work->dst.bytes - from->begin;
    if (!copies[kernel])
        return true;
    const unsigned long long skipped = from->begin + from->phase;
    if (!sim_find_span("cuLaunchKernel", from->src + skipped, size, false, &work->src))
        return false;
    to->src = (unsigned long long)(uintptr_t)work->src.bytes - skipped;
    return true;
}

static bool is_whole(const struct cuda_kernel_arguments *arguments, uint64_t threads)
{
    return threads * CUDA__KERNEL_BLOCK >= arguments->end &&
           threads * CUDA__KERNEL_BLOCK < arguments->end + CUDA__KERNEL_BLOCK * CUDA__KERNEL_GROUP;
}

static bool take_launch(struct work *work, unsigned grid, unsigned block, void *const *parameters)
{
    const uint64_t threads = (uint64_t)grid * block;
    if (work->kernel == KERNEL_LIST && block == CUDA__LIST_GROUP)
        return sim_list_take(work, parameters[0], grid);
    if (work->kernel != KERNEL_LIST && block == CUDA__KERNEL_GROUP &&
        is_whole(parameters[0], threads))
        return translate(work->kernel, work, parameters[0]);
    sim_breach(STRICTCUDA_LAUNCH, "cuLaunchKernel: %u x %u threads, which do not fit", grid, block);
    return false;
}

/* add_one(words, count). */
static cu_result launch_users(cu_stream stream, unsigned groups, unsigned group, void **parameters)
{
    cu_address words;
    unsigned count;
    struct work *work = new_work(WORK_USERS_KERNEL);
    memcpy(&words, parameters[0], sizeof words);
    memcpy(&count, parameters[1], sizeof count);
    if ((uint64_t)groups * group < count ||
        !sim_find_span("cuLaunchKernel", words, (size_t)count * sizeof count, true, &work->dst)) {
        free(work);
        return CU_ERROR_INVALID_VALUE;
    }
    return sim_append(stream, work);
}

cu_result sim_LaunchKernel_4000(cu_function function, unsigned grid_x, unsigned grid_y,
                                unsigned grid_z, unsigned block_x, unsigned block_y,
                                unsigned block_z, unsigned shared_bytes, cu_stream in,
                                void **parameters, void **extra)
{
    const cu_result result = sim_begin("cuLaunchKernel", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_stream(in, "cuLaunchKernel");
    const cu_module module = find_module(function->module, "cuLaunchKernel");
    if (!stream || !module)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    if (module->users)
        return sim_end(launch_users(stream, grid_x, block_x, parameters));
    if (!grid_x || grid_x > 0x7fffffff || grid_y != 1 || grid_z != 1 || block_y != 1 ||
        block_z != 1 || shared_bytes || extra) {
        sim_breach(STRICTCUDA_LAUNCH, "cuLaunchKernel: %u x %u threads", grid_x, block_x);
        return sim_end(CU_ERROR_INVALID_VALUE);
    }
    struct work *work = new_work(WORK_KERNEL);
    work->kernel = function->kernel;
    if (!take_launch(work, grid_x, block_x, parameters)) {
        free(work);
        return sim_end(CU_ERROR_INVALID_VALUE);
    }
    return sim_end(sim_append(stream, work));
}
