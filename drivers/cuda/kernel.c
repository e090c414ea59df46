#include "kernel.h"

#include "cuda_internal.h"

#include <assert.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char ptx[] =
#include "kernel.inc"
    ;

static const char *const names[CUDA__KERNELS] = {
    [FERRY__COPY] = "ferry_copy",
    [FERRY__FILL] = "ferry_fill",
    [FERRY__BLOCKS] = "ferry_list",
};

/* --- making ----------------------------------------------------------------------------------- */

static enum ferry_status compile(struct cuda *c, char *why)
{
    cu_result result = c->cu.ModuleLoadDataEx(&c->kernels.module, ptx, 0, NULL, NULL);
    if (result) {
        c->kernels.module = NULL;
        return ferry__cuda_fail(c, result, "cuModuleLoadDataEx", why);
    }
    for (int i = 0; i < CUDA__KERNELS; i++) {
        result = c->cu.ModuleGetFunction(&c->kernels.functions[i], c->kernels.module, names[i]);
        if (result) {
            ferry__cuda_kernels_free(c);
            return ferry__cuda_fail(c, result, "cuModuleGetFunction", why);
        }
    }
    return FERRY_OK;
}

static void *compile_there(void *arg)
{
    struct cuda *c = arg;
    struct cuda_scope scope;
    c->kernels.status = ferry__cuda_enter(c, &scope, c->kernels.why);
    if (c->kernels.status)
        return NULL;
    c->kernels.status = compile(c, c->kernels.why);
    ferry__cuda_leave(c, &scope);
    return NULL;
}

void ferry__cuda_kernels_start(struct cuda *c)
{
    const int error = ferry__thread_start(&c->kernels.thread, "ferry-cuda-jit", compile_there, c);
    c->kernels.started = !error;
    if (error)
        snprintf(c->kernels.why, FERRY__WHY_MAX, "no thread to compile them: errno %d", error);
}

bool ferry__cuda_kernels_join(struct cuda *c)
{
    if (c->kernels.started)
        pthread_join(c->kernels.thread, NULL);
    return c->kernels.module != NULL;
}

void ferry__cuda_kernels_free(struct cuda *c)
{
    if (c->kernels.module)
        (void)c->cu.ModuleUnload(c->kernels.module);
    c->kernels.module = NULL;
}

/* --- launching -------------------------------------------------------------------------------- */

static_assert(((uint64_t)1 << 40) / (CUDA__KERNEL_BLOCK * CUDA__KERNEL_GROUP) < INT32_MAX,
              "the largest copy is one launch");

static_assert(sizeof(struct cuda_piece) == sizeof(struct ferry__block_entry) &&
                  offsetof(struct cuda_piece, src) == offsetof(struct ferry__block_entry, src) &&
                  offsetof(struct cuda_piece, size) == offsetof(struct ferry__block_entry, size),
              "the kernel reads the engine's list");

static struct cuda_kernel_arguments arguments_of(const struct ferry__command *command)
{
    const cu_address dst = cuda_address(command->dst, command->dst_offset);
    struct cuda_kernel_arguments arguments = {
        .dst = dst - dst % CUDA__KERNEL_BLOCK,
        .begin = dst % CUDA__KERNEL_BLOCK,
        .end = dst % CUDA__KERNEL_BLOCK + command->size,
        .period = command->pattern_size,
    };
    if (command->kind == FERRY__COPY) {
        /* Where the source of the destination's first block would lie. */
        const cu_address src = cuda_address(command->src, command->src_offset) - arguments.begin;
        arguments.src = src - src % CUDA__KERNEL_BLOCK;
        arguments.phase = (unsigned)(src % CUDA__KERNEL_BLOCK);
    } else {
        memcpy(arguments.pattern, command->pattern, command->pattern_size);
    }
    return arguments;
}

static cu_result launch_one(struct cuda *c, cu_stream stream, const struct ferry__command *command)
{
    struct cuda_kernel_arguments arguments = arguments_of(command);
    void *parameters[] = {&arguments};
    const uint64_t blocks = (arguments.end + CUDA__KERNEL_BLOCK - 1) / CUDA__KERNEL_BLOCK;
    const uint64_t groups = (blocks + CUDA__KERNEL_GROUP - 1) / CUDA__KERNEL_GROUP;
    return c->cu.LaunchKernel(c->kernels.functions[command->kind], (unsigned)groups, 1, 1,
                              CUDA__KERNEL_GROUP, 1, 1, 0, stream, parameters, NULL);
}

uint64_t ferry__cuda_kernel_address(const struct ferry__memory *memory)
{
    return cuda_address(memory, 0);
}

static bool is_on_device(const struct ferry__memory *memory)
{
    return !((const struct cuda_memory *)memory->native)->host;
}

static bool is_inside(const struct ferry__command *command)
{
    return is_on_device(command->dst) && is_on_device(command->src);
}

enum way { UP, DOWN, INSIDE };

static enum way way_of(const struct ferry__command *command)
{
    if (command->kind != FERRY__COPY || is_inside(command))
        return INSIDE;
    return is_on_device(command->dst) ? UP : DOWN;
}

bool ferry__cuda_changes_engines(const struct ferry__command *commands, size_t count)
{
    size_t i = 1;
    while (i < count && way_of(&commands[i]) == way_of(&commands[0]))
        i++;
    return i < count;
}

/* The kernel may read whole words round the bytes, which is for memory of Ferry's alone. */
static bool is_users(const struct ferry__memory *memory)
{
    const enum cuda_kind kind = ((const struct cuda_memory *)memory->native)->kind;
    return kind == CUDA_REGISTERED || kind == CUDA_OTHERS;
}

/* Within the device CUDA copies by kernels, too: ours ends 1 to 2 us sooner up to 64 KiB, is no
 * slower from there on, and 1.2 to 1.6 times as fast where the two sides have different phases (on
 * an H200). Between two copy engines, or one and a kernel, the device loses up to 8 us: 32 KiB up
 * and down take 19 us, and 13 by kernels; 256 KiB 25 and 23. CUDA itself puts up to 16 KiB on the
 * way up among the commands. */
bool ferry__cuda_kernel_copies(const struct cuda *c, const struct ferry__command *command,
                               bool changes)
{
    enum { CHANGE_MIN = 16 << 10, CHANGE_MAX = 256 << 10 };
    if (!c->kernels.module || !c->kernels.copies)
        return false;
    return way_of(command) == INSIDE ||
           (changes && command->size > CHANGE_MIN && command->size <= CHANGE_MAX &&
            !is_users(command->dst) && !is_users(command->src));
}

/* As few units as reach the rate, since they are taken from the user's own work: what crosses the
 * link needs 4 (on an H200, from 1 KiB on), and never gets more than an eighth; within the device
 * the rate is the memory's, and half of them come near it. */
static unsigned groups_for(const struct cuda *c, bool inside, unsigned count)
{
    enum { LINK_GROUPS = 4, LINK_PART = 8, INSIDE_PART = 2, WARPS = CUDA__LIST_GROUP / CUDA__WARP };
    unsigned groups = c->kernels.units / (inside ? INSIDE_PART : LINK_PART);
    if (groups > LINK_GROUPS && !inside)
        groups = LINK_GROUPS;
    const unsigned useful = (count + WARPS - 1) / WARPS;
    groups = groups < useful ? groups : useful;
    return groups ? groups : 1;
}

/* How many lists from here on lie end to end, and are one: they have addresses, whatever memories
 * their blocks are in. */
static size_t run_of_lists(const struct ferry__command *commands, size_t count,
                           unsigned *out_blocks)
{
    const bool inside = is_inside(commands);
    uint64_t blocks = commands->list.count;
    size_t run = 1;
    while (run < count && commands[run].kind == FERRY__BLOCKS && !commands[run].barrier &&
           ferry__list_follows(&commands->list, blocks, &commands[run].list) &&
           is_inside(&commands[run]) == inside)
        blocks += commands[run++].list.count;
    *out_blocks = (unsigned)blocks; /* no more than one list may have, all of a submission's */
    return run;
}

/* Within the device a few long blocks are shared among as many warps as there may be, unless a
 * share would be shorter than what a warp has on its way at once. */
static unsigned shares_for(const struct cuda *c, bool inside, uint64_t bytes, unsigned count)
{
    enum { SHARE_MIN = 4096, WARPS = CUDA__LIST_GROUP / CUDA__WARP };
    const unsigned warps = groups_for(c, inside, INT_MAX) * WARPS;
    const uint64_t most = bytes / count / SHARE_MIN;
    const unsigned wanted = (warps + count - 1) / count;
    if (!inside || most < 2 || wanted < 2)
        return 1;
    return most < wanted ? (unsigned)most : wanted;
}

/* How many bytes the lists of a run have. */
static uint64_t bytes_of(const struct ferry__command *commands, size_t run)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < run; i++)
        bytes += commands[i].size;
    return bytes;
}

static cu_result launch_list(struct cuda *c, cu_stream stream, const struct ferry__command *command,
                             uint64_t bytes, unsigned count)
{
    const bool inside = is_inside(command);
    const unsigned shares = shares_for(c, inside, bytes, count);
    const unsigned groups = groups_for(c, inside, count * shares);
    struct cuda_list_arguments arguments = {
        .list = cuda_address(command->list.memory, command->list.offset),
        .count = count,
        .warps = groups * (CUDA__LIST_GROUP / CUDA__WARP),
        .shares = shares,
    };
    void *parameters[] = {&arguments};
    return c->cu.LaunchKernel(c->kernels.functions[FERRY__BLOCKS], groups, 1, 1, CUDA__LIST_GROUP,
                              1, 1, 0, stream, parameters, NULL);
}

cu_result ferry__cuda_kernel_launch(struct cuda *c, cu_stream stream,
                                    const struct ferry__command *commands, size_t count,
                                    size_t *out_taken)
{
    unsigned blocks;
    *out_taken = 1;
    if (commands->kind != FERRY__BLOCKS)
        return launch_one(c, stream, commands);
    const size_t run = run_of_lists(commands, count, &blocks);
    *out_taken = run;
    return launch_list(c, stream, commands, bytes_of(commands, run), blocks);
}
