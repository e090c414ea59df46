#include "kernel.h"

#include "base/env.h"
#include "vk.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const uint32_t code[] = {
#include "kernel.inc"
};

static const uint32_t blocks_code[] = {
#include "blocks.inc"
};

enum {
    LIST_RUN = 16,    /* entries that a group takes at a time: RUN in blocks.comp */
    LIST_GROUPS = 32, /* reach the link's rate, and leave most of the device to others */
    BLOCK = VULKAN__KERNEL_ALIGNMENT, /* bytes that an invocation writes */
    ROW = 32 << 10,                   /* groups, of which there are as many rows as needed */
    GROUPS_MAX = 65535,               /* what every device can dispatch, in each dimension */
};

static_assert(VULKAN__MAX_COPY / (BLOCK * VULKAN__KERNEL_GROUP * ROW) < GROUPS_MAX,
              "the largest copy is one dispatch");
static_assert(sizeof(struct vulkan_kernel_arguments) == 64, "the shader sees the same layout");
static_assert(sizeof(struct vulkan_blocks_arguments) == 32 &&
                  sizeof(struct ferry__block_entry) == 24,
              "the shader of lists too");

/* --- which engine ----------------------------------------------------------------------------- */

enum vulkan_engine ferry__vulkan_engine(void)
{
    static const char *const names[] = {
        [VULKAN_ENGINE_AUTO] = "auto",
        [VULKAN_ENGINE_COPY] = "copy",
        [VULKAN_ENGINE_KERNEL] = "kernel",
    };
    const char *value = ferry__env("FERRY_VULKAN_ENGINE");
    if (!value || !*value)
        return VULKAN_ENGINE_AUTO;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(value, names[i]) == 0)
            return (enum vulkan_engine)i;
    ferry__log(FERRY_LOG_WARN, "vulkan: FERRY_VULKAN_ENGINE=%s is not known, and is ignored",
               value);
    return VULKAN_ENGINE_AUTO;
}

/* --- making ----------------------------------------------------------------------------------- */

static VkResult make_layout(struct vulkan *v, const char **out_call)
{
    const VkPushConstantRange range = {
        .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
        .size = sizeof(struct vulkan_kernel_arguments),
    };
    const VkPipelineLayoutCreateInfo layout = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &range,
    };
    *out_call = "vkCreatePipelineLayout";
    return v->vk.CreatePipelineLayout(v->device, &layout, NULL, &v->kernel_layout);
}

static VkResult make_pipelines(struct vulkan *v, VkShaderModule module, VkShaderModule blocks,
                               const char **out_call)
{
    static const VkSpecializationMapEntry entry = {.size = sizeof(VkBool32)};
    static const VkBool32 filling[VULKAN__KERNELS] = {[FERRY__FILL] = VK_TRUE};
    VkSpecializationInfo special[VULKAN__KERNELS];
    VkComputePipelineCreateInfo create[VULKAN__KERNELS];
    for (int i = 0; i < VULKAN__KERNELS; i++) {
        special[i] = (VkSpecializationInfo){
            .mapEntryCount = 1,
            .pMapEntries = &entry,
            .dataSize = sizeof *filling,
            .pData = &filling[i],
        };
        create[i] = (VkComputePipelineCreateInfo){
            .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
            .stage =
                {
                    .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                    .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                    .module = i == FERRY__BLOCKS ? blocks : module,
                    .pName = "main",
                    .pSpecializationInfo = i == FERRY__BLOCKS ? NULL : &special[i],
                },
            .layout = v->kernel_layout,
        };
    }
    *out_call = "vkCreateComputePipelines";
    return v->vk.CreateComputePipelines(v->device, VK_NULL_HANDLE, VULKAN__KERNELS, create, NULL,
                                        v->kernels);
}

static VkResult make_module(struct vulkan *v, const uint32_t *words, size_t size,
                            VkShaderModule *out_module)
{
    const VkShaderModuleCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = size,
        .pCode = words,
    };
    return v->vk.CreateShaderModule(v->device, &create, NULL, out_module);
}

enum ferry_status ferry__vulkan_kernels_make(struct vulkan *v, char *why)
{
    const char *call = "vkCreateShaderModule";
    VkShaderModule module = VK_NULL_HANDLE, blocks = VK_NULL_HANDLE;
    VkResult result = make_module(v, code, sizeof code, &module);
    if (result == VK_SUCCESS)
        result = make_module(v, blocks_code, sizeof blocks_code, &blocks);
    if (result == VK_SUCCESS)
        result = make_layout(v, &call);
    if (result == VK_SUCCESS)
        result = make_pipelines(v, module, blocks, &call);
    if (module)
        v->vk.DestroyShaderModule(v->device, module, NULL);
    if (blocks)
        v->vk.DestroyShaderModule(v->device, blocks, NULL);
    if (result == VK_SUCCESS)
        return FERRY_OK;
    ferry__vulkan_kernels_free(v);
    return ferry__vulkan_fail(v, result, call, why);
}

void ferry__vulkan_kernels_free(struct vulkan *v)
{
    for (int i = 0; i < VULKAN__KERNELS; i++) {
        if (v->kernels[i])
            v->vk.DestroyPipeline(v->device, v->kernels[i], NULL);
        v->kernels[i] = VK_NULL_HANDLE;
    }
    if (v->kernel_layout)
        v->vk.DestroyPipelineLayout(v->device, v->kernel_layout, NULL);
    v->kernel_layout = VK_NULL_HANDLE;
}

/* --- recording -------------------------------------------------------------------------------- */

static uint64_t address_of(const struct ferry__memory *memory, uint64_t offset)
{
    return ((const struct vulkan_memory *)memory->native)->address + memory->offset + offset;
}

static struct vulkan_kernel_arguments arguments_of(const struct ferry__command *command)
{
    const uint64_t dst = address_of(command->dst, command->dst_offset);
    struct vulkan_kernel_arguments arguments = {
        .dst = dst - dst % BLOCK,
        .begin = (uint32_t)(dst % BLOCK),
        .end = (uint32_t)(dst % BLOCK + command->size),
        .period = command->pattern_size,
    };
    if (command->kind == FERRY__COPY) {
        /* Where the source of the destination's first block would lie. */
        const uint64_t src = address_of(command->src, command->src_offset) - arguments.begin;
        arguments.src = src - src % BLOCK;
        arguments.phase = (uint32_t)(src % BLOCK);
    }
    for (size_t i = 0; command->kind == FERRY__FILL && i < sizeof arguments.pattern; i++)
        ((unsigned char *)arguments.pattern)[i] = command->pattern[i % command->pattern_size];
    return arguments;
}

uint64_t ferry__vulkan_kernel_address(const struct ferry__memory *memory)
{
    return address_of(memory, 0);
}

/* How many lists from here on lie end to end, and are one: they have addresses, whatever buffers
 * their blocks are in. */
static size_t run_of_lists(const struct ferry__command *commands, size_t count,
                           uint32_t *out_blocks)
{
    uint64_t blocks = commands->list.count;
    size_t run = 1;
    while (run < count && commands[run].kind == FERRY__BLOCKS && !commands[run].barrier &&
           ferry__list_follows(&commands->list, blocks, &commands[run].list))
        blocks += commands[run++].list.count;
    *out_blocks = (uint32_t)blocks; /* no more than one list may have, all of a submission's */
    return run;
}

static void put_list(const struct vulkan *v, VkCommandBuffer to,
                     const struct ferry__block_list *list, uint32_t count)
{
    const struct vulkan_blocks_arguments arguments = {
        .list = address_of(list->memory, list->offset), .count = count};
    const uint32_t runs = (count + LIST_RUN - 1) / LIST_RUN;
    v->vk.CmdPushConstants(to, v->kernel_layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof arguments,
                           &arguments);
    v->vk.CmdDispatch(to, runs < LIST_GROUPS ? runs : LIST_GROUPS, 1, 1);
}

static void put_one(const struct vulkan *v, VkCommandBuffer to,
                    const struct ferry__command *command)
{
    const struct vulkan_kernel_arguments arguments = arguments_of(command);
    const uint32_t blocks = (arguments.end + BLOCK - 1) / BLOCK;
    const uint32_t groups = (blocks + VULKAN__KERNEL_GROUP - 1) / VULKAN__KERNEL_GROUP;
    const uint32_t rows = (groups + ROW - 1) / ROW;
    v->vk.CmdPushConstants(to, v->kernel_layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof arguments,
                           &arguments);
    v->vk.CmdDispatch(to, (groups + rows - 1) / rows, rows, 1);
}

size_t ferry__vulkan_kernel_put(const struct vulkan *v, VkCommandBuffer to,
                                const struct ferry__command *commands, size_t count)
{
    uint32_t blocks;
    v->vk.CmdBindPipeline(to, VK_PIPELINE_BIND_POINT_COMPUTE, v->kernels[commands->kind]);
    if (commands->kind == FERRY__BLOCKS) {
        const size_t run = run_of_lists(commands, count, &blocks);
        put_list(v, to, &commands->list, blocks);
        return run;
    }
    put_one(v, to, commands);
    return 1;
}
