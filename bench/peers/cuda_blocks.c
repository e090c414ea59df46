/*
 * Scattered blocks by what the CUDA driver has for them: a copy each, its call for many copies
 * (CUDA 12.8 and newer), and a plain kernel: a thread block of 256 threads for each block.
 */
#include "cuda.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP = 256, BATCH_MAX = 4096, SOURCE_ORDER_STREAM = 1 };

static const char ptx[] = ".version 7.0\n.target sm_52\n.address_size 64\n"
                          ".visible .entry plain(.param .u64 list)\n"
                          "{\n"
                          ".reg .pred %end;\n.reg .b32 %word<4>;\n.reg .b32 %group, %thread;\n"
                          ".reg .b64 %entry, %to, %from, %size, %at, %place;\n"
                          "ld.param.u64 %entry, [list];\n"
                          "mov.u32 %group, %ctaid.x;\n"
                          "mad.wide.u32 %entry, %group, 24, %entry;\n"
                          "ld.global.u64 %to, [%entry];\n"
                          "ld.global.u64 %from, [%entry+8];\n"
                          "ld.global.u64 %size, [%entry+16];\n"
                          "mov.u32 %thread, %tid.x;\n"
                          "mul.wide.u32 %at, %thread, 16;\n"
                          "more:\n"
                          "setp.ge.u64 %end, %at, %size;\n"
                          "@%end bra done;\n"
                          "add.u64 %place, %from, %at;\n"
                          "ld.v4.u32 {%word0, %word1, %word2, %word3}, [%place];\n"
                          "add.u64 %place, %to, %at;\n"
                          "st.v4.u32 [%place], {%word0, %word1, %word2, %word3};\n"
                          "add.u64 %at, %at, 4096;\n"
                          "bra more;\n"
                          "done:\n"
                          "ret;\n"
                          "}\n";

struct entry {
    uint64_t to, from, size;
};

/* As cuda.h has it from 12.8 on. */
struct attributes {
    int source_order;
    int locations[4];
    unsigned flags;
};

typedef int batch_13000(uint64_t *to, uint64_t *from, size_t *sizes, size_t count,
                        struct attributes *attributes, size_t *starts, size_t attribute_count,
                        void *stream);
typedef int batch_12080(uint64_t *to, uint64_t *from, size_t *sizes, size_t count,
                        struct attributes *attributes, size_t *starts, size_t attribute_count,
                        size_t *failed, void *stream);

struct more_functions {
    int (*find)(const char *name, void **out_function, int version, uint64_t flags,
                int *out_result);
    int (*copy)(uint64_t to, uint64_t from, size_t size, void *stream);
    int (*module_load)(void **out_module, const void *image);
    int (*module_unload)(void *module);
    int (*module_function)(void **out_function, void *module, const char *name);
    int (*launch)(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                  void *stream, void **parameters, void **extra);
};

#define SYMBOL(name, member)                          \
    {                                                 \
        name, offsetof(struct more_functions, member) \
    }

static const struct peer_symbol symbols[] = {
    SYMBOL("cuGetProcAddress_v2", find),
    SYMBOL("cuMemcpyAsync", copy),
    SYMBOL("cuModuleLoadData", module_load),
    SYMBOL("cuModuleUnload", module_unload),
    SYMBOL("cuModuleGetFunction", module_function),
    SYMBOL("cuLaunchKernel", launch),
};

struct blocks_state {
    struct more_functions cuda;
    batch_13000 *batch_13;
    batch_12080 *batch_12;
    void *module, *plain;
    void *list;           /* page-locked */
    uint64_t device_list; /* the same on the device */
    size_t room;          /* entries in each */
    uint64_t to[BATCH_MAX], from[BATCH_MAX];
    size_t sizes[BATCH_MAX];
};

/* --- what it needs ---------------------------------------------------------------------------- */

static void give_list(struct device *device)
{
    struct blocks_state *state = device->blocks;
    if (state->list)
        device->cuda.host_free(state->list);
    if (state->device_list != 0)
        device->cuda.memory_free(state->device_list);
    state->list = NULL;
    state->device_list = 0;
    state->room = 0;
}

void peer_cuda_blocks_close(struct device *device)
{
    if (!device->blocks)
        return;
    give_list(device);
    if (device->blocks->module)
        device->blocks->cuda.module_unload(device->blocks->module);
    free(device->blocks);
    device->blocks = NULL;
}

/* NULL: an older CUDA does not have it. The newest first. */
static void find_batch(struct blocks_state *state)
{
    int result = 0;
    void *found = NULL;
    if (state->cuda.find("cuMemcpyBatchAsync", &found, 13000, 0, &result) == 0 && result == 0)
        memcpy(&state->batch_13, &found, sizeof found);
    else if (state->cuda.find("cuMemcpyBatchAsync", &found, 12080, 0, &result) == 0 && result == 0)
        memcpy(&state->batch_12, &found, sizeof found);
}

static const char *set_up(struct device *device)
{
    struct blocks_state *state = calloc(1, sizeof *state);
    if (!state)
        return "out of host memory";
    device->blocks = state;
    const char *failed =
        peer_library("libcuda.so.1", symbols, sizeof symbols / sizeof *symbols, &state->cuda);
    if (!failed)
        failed = peer_cuda_why(device, state->cuda.module_load(&state->module, ptx));
    if (!failed)
        failed = peer_cuda_why(device,
                               state->cuda.module_function(&state->plain, state->module, "plain"));
    if (!failed)
        find_batch(state);
    else
        peer_cuda_blocks_close(device);
    return failed;
}

static const char *make_room(struct device *device, size_t count)
{
    struct blocks_state *state = device->blocks;
    if (state->room >= count)
        return NULL;
    give_list(device);
    const size_t size = count * sizeof(struct entry);
    const char *failed = peer_cuda_why(device, device->cuda.host_alloc(&state->list, size));
    if (!failed)
        failed = peer_cuda_why(device, device->cuda.memory_alloc(&state->device_list, size));
    if (!failed)
        state->room = count;
    else
        give_list(device);
    return failed;
}

/* --- the ways --------------------------------------------------------------------------------- */

static const char *by_loop(struct device *device, uint64_t to, uint64_t from,
                           const struct peer_block *blocks, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        error = device->blocks->cuda.copy(to + blocks[i].to, from + blocks[i].from, blocks[i].size,
                                          device->stream);
    return peer_cuda_why(device, error);
}

static int put_batch(struct device *device, size_t count)
{
    struct blocks_state *state = device->blocks;
    struct attributes attributes = {.source_order = SOURCE_ORDER_STREAM};
    size_t start = 0, failed = 0;
    return state->batch_13 ? state->batch_13(state->to, state->from, state->sizes, count,
                                             &attributes, &start, 1, device->stream)
                           : state->batch_12(state->to, state->from, state->sizes, count,
                                             &attributes, &start, 1, &failed, device->stream);
}

static const char *by_batch(struct device *device, uint64_t to, uint64_t from,
                            const struct peer_block *blocks, size_t count)
{
    struct blocks_state *state = device->blocks;
    int error = 0;
    if (!state->batch_13 && !state->batch_12)
        return "this CUDA has no cuMemcpyBatchAsync";
    for (size_t first = 0; first < count && error == 0; first += BATCH_MAX) {
        const size_t left = count - first, part = left < BATCH_MAX ? left : BATCH_MAX;
        for (size_t i = 0; i < part; i++) {
            state->to[i] = to + blocks[first + i].to;
            state->from[i] = from + blocks[first + i].from;
            state->sizes[i] = blocks[first + i].size;
        }
        error = put_batch(device, part);
    }
    return peer_cuda_why(device, error);
}

static const char *by_kernel(struct device *device, uint64_t to, uint64_t from,
                             const struct peer_block *blocks, size_t count)
{
    struct blocks_state *state = device->blocks;
    const char *failed = make_room(device, count);
    if (failed)
        return failed;
    struct entry *list = state->list;
    for (size_t i = 0; i < count; i++)
        list[i] = (struct entry){to + blocks[i].to, from + blocks[i].from, blocks[i].size};
    void *parameters[] = {&state->device_list};
    int error = device->cuda.upload(state->device_list, list, count * sizeof *list, device->stream);
    if (error == 0)
        error = state->cuda.launch(state->plain, (unsigned)count, 1, 1, GROUP, 1, 1, 0,
                                   device->stream, parameters, NULL);
    return peer_cuda_why(device, error);
}

const char *peer_cuda_blocks(void *opened, enum peer_way way, enum peer_direction direction,
                             void *buffer, void *host, const struct peer_block *blocks,
                             size_t count)
{
    static const char *(*const ways[])(struct device *, uint64_t, uint64_t,
                                       const struct peer_block *,
                                       size_t) = {[PEER_BLOCKS_LOOP] = by_loop,
                                                  [PEER_BLOCKS_BATCH] = by_batch,
                                                  [PEER_BLOCKS_KERNEL] = by_kernel};
    struct device *device = opened;
    const uint64_t arena = ((const struct buffer *)buffer)->address;
    const uint64_t line = (uint64_t)(uintptr_t)host;
    const char *failed = device->blocks ? NULL : set_up(device);
    if (!failed)
        failed = ways[way](device, direction == PEER_DOWN ? line : arena,
                           direction == PEER_UP ? line : arena, blocks, count);
    const char *finished = peer_cuda_why(device, device->cuda.stream_wait(device->stream));
    return failed ? failed : finished;
}
