#include "state.h"

#include <assert.h>
#include <string.h>

/* Encodes the kernels of kernels.inc, which compile.c compiles. */

enum { BLOCK = 16, TEAM = 32, LIST_GROUPS = 64 };

/* The kernels' arguments, as the host lays them out. */
struct copy_args {
    uint64_t dst, src, size;
};

struct fill_args {
    uint64_t dst, size;
    uint32_t pattern_size, is_block;
    uint8_t block[BLOCK], pattern[FERRY__PATTERN_MAX];
};

struct list_args {
    uint64_t dst, src;
    uint32_t count, teams;
};

static_assert(sizeof(struct list_args) == 24 && sizeof(struct ferry__block_entry) == 24,
              "the kernels see the same layout");
static_assert(sizeof(struct copy_args) == 24 && sizeof(struct fill_args) == 56,
              "the kernels see the same layout");

/* One thread for each 16-byte block of the destination that the range touches. */
static void dispatch(const struct metal_state *state, mtl_id encoder, uint64_t dst, uint64_t size)
{
    uint64_t blocks = (dst % BLOCK + size + BLOCK - 1) / BLOCK;
    uint64_t groups = (blocks + state->group_threads - 1) / state->group_threads;
    mtl_dispatch(encoder, (struct mtl_size){groups, 1, 1},
                 (struct mtl_size){state->group_threads, 1, 1});
}

/* Buffers are bound from their start, and offsets passed as numbers: any offset will do then. */
void ferry__metal_kernel_copy(const struct metal_state *state, mtl_id encoder,
                              const struct ferry__command *command)
{
    const struct metal_memory *dst = command->dst->native, *src = command->src->native;
    struct copy_args args = {command->dst->offset + command->dst_offset,
                             command->src->offset + command->src_offset, command->size};
    mtl_set_pipeline(encoder, state->pipelines[METAL_KERNEL_COPY]);
    mtl_set_buffer(encoder, dst->buffer, 0, 0);
    mtl_set_buffer(encoder, src->buffer, 0, 1);
    mtl_set_bytes(encoder, &args, sizeof args, 2);
    dispatch(state, encoder, args.dst, args.size);
}

void ferry__metal_kernel_fill(const struct metal_state *state, mtl_id encoder,
                              const struct ferry__command *command)
{
    const struct metal_memory *dst = command->dst->native;
    struct fill_args args = {
        command->dst->offset + command->dst_offset, command->size, command->pattern_size,
        BLOCK % command->pattern_size == 0,         {0},           {0}};
    memcpy(args.pattern, command->pattern, command->pattern_size);
    /* A pattern that fits a block evenly looks the same in every block of the destination. */
    unsigned phase = command->pattern_size - (unsigned)(args.dst % command->pattern_size);
    for (unsigned i = 0; args.is_block && i < BLOCK; i++)
        args.block[i] = command->pattern[(phase + i) % command->pattern_size];
    mtl_set_pipeline(encoder, state->pipelines[METAL_KERNEL_FILL]);
    mtl_set_buffer(encoder, dst->buffer, 0, 0);
    mtl_set_bytes(encoder, &args, sizeof args, 1);
    dispatch(state, encoder, args.dst, args.size);
}

/* A team of 32 threads takes a piece at a time. As few groups as should reach the memory's rate,
 * since they are taken from the user's own work. */
void ferry__metal_kernel_list(const struct metal_state *state, mtl_id encoder,
                              const struct ferry__command *command)
{
    const struct metal_memory *dst = command->dst->native, *src = command->src->native;
    const struct metal_memory *list = command->list.memory->native;
    const uint64_t threads = (uint64_t)command->list.count * TEAM;
    uint64_t groups = (threads + state->group_threads - 1) / state->group_threads;
    groups = groups < LIST_GROUPS ? groups : LIST_GROUPS;
    const struct list_args args = {command->dst->offset, command->src->offset, command->list.count,
                                   (uint32_t)(groups * state->group_threads / TEAM)};
    mtl_set_pipeline(encoder, state->pipelines[METAL_KERNEL_LIST]);
    mtl_set_buffer(encoder, dst->buffer, 0, 0);
    mtl_set_buffer(encoder, src->buffer, 0, 1);
    mtl_set_buffer(encoder, list->buffer, command->list.memory->offset + command->list.offset, 2);
    mtl_set_bytes(encoder, &args, sizeof args, 3);
    mtl_dispatch(encoder, (struct mtl_size){groups, 1, 1},
                 (struct mtl_size){state->group_threads, 1, 1});
}
