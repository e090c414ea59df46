/* Private memory that other processes and APIs have too, by descriptors. */
#define _POSIX_C_SOURCE 200809L /* F_DUPFD_CLOEXEC */
#include "vk.h"

#include "base/sharing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPAQUE VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT

/* --- what a device can do --------------------------------------------------------------------- */

static VkExternalMemoryProperties ask(const struct vulkan_functions *vk,
                                      const struct vulkan_physical *physical,
                                      VkExternalMemoryHandleTypeFlagBits handle)
{
    const VkPhysicalDeviceExternalBufferInfo info = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
        .usage = ferry__vulkan_usage(physical->address),
        .handleType = handle,
    };
    VkExternalBufferProperties properties = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES,
    };
    vk->GetPhysicalDeviceExternalBufferProperties(physical->handle, &info, &properties);
    return properties.externalMemoryProperties;
}

/* Memory that is given out as both kinds has to be of both from the beginning. */
void ferry__vulkan_share_read(const struct vulkan_functions *vk, struct vulkan_physical *physical)
{
    static const VkExternalMemoryHandleTypeFlagBits handles[] = {OPAQUE, VULKAN__DMA_BUF};
    VkExternalMemoryHandleTypeFlags compatible = 0;
    for (size_t i = 0; i < (physical->dma_bufs ? 2 : 1); i++) {
        const VkExternalMemoryProperties can = ask(vk, physical, handles[i]);
        const VkExternalMemoryFeatureFlags features = can.externalMemoryFeatures;
        if (features & VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT)
            continue;
        if (features & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT)
            physical->imports |= handles[i];
        if (!(features & VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT) ||
            (physical->exports && !(compatible & handles[i])))
            continue;
        physical->exports |= handles[i];
        compatible |= can.compatibleHandleTypes;
    }
}

static enum ferry_status cannot(const char *what, char *why)
{
    snprintf(why, FERRY__WHY_MAX, "the device %s", what);
    return FERRY_ERROR_UNSUPPORTED;
}

static VkExternalMemoryHandleTypeFlagBits native_handle(enum ferry_handle handle)
{
    return handle == FERRY_HANDLE_DMA_BUF ? VULKAN__DMA_BUF : OPAQUE;
}

/* --- given out -------------------------------------------------------------------------------- */

static enum ferry_status share_alloc(void *state, uint64_t size, struct ferry__memory *out_memory,
                                     char *why)
{
    struct vulkan *v = state;
    if (!v->physical.exports || !v->vk.GetMemoryFdKHR)
        return cannot("exports no memory (VK_KHR_external_memory_fd)", why);
    const VkExternalMemoryBufferCreateInfo of_buffer = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
        .handleTypes = v->physical.exports,
    };
    const VkExportMemoryAllocateInfo of_memory = {
        .sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO,
        .handleTypes = v->physical.exports,
    };
    const struct vulkan_wanted wanted = {
        .use = FERRY__MEMORY_PRIVATE,
        .size = size,
        .of_buffer = &of_buffer,
        .of_memory = &of_memory,
        .one_type = true,
    };
    return ferry__vulkan_memory_make(v, &wanted, out_memory, why);
}

static enum ferry_status copy_fd(int fd, int *out_fd, char *why)
{
    *out_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (*out_fd >= 0)
        return FERRY_OK;
    snprintf(why, FERRY__WHY_MAX, "no descriptor: errno %d", errno);
    return FERRY_ERROR_OUT_OF_HOST_MEMORY;
}

/* What was taken in goes on as what it came. */
static enum ferry_status give_kept(const struct vulkan_memory *native,
                                   VkExternalMemoryHandleTypeFlagBits handle, int *out_fd,
                                   uint64_t *out_size, char *why)
{
    if (native->kept_handle != handle)
        return cannot("gives on what it imported as no other kind", why);
    *out_size = native->size;
    return copy_fd(native->kept - 1, out_fd, why);
}

static enum ferry_status share_give(void *state, const struct ferry__memory *memory,
                                    enum ferry_handle handle, int *out_fd, uint64_t *out_size,
                                    char *why)
{
    struct vulkan *v = state;
    const struct vulkan_memory *native = memory->native;
    const VkMemoryGetFdInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR,
        .memory = native->memory,
        .handleType = native_handle(handle),
    };
    if (native->kept)
        return give_kept(native, info.handleType, out_fd, out_size, why);
    if (!(v->physical.exports & info.handleType))
        return cannot(handle == FERRY_HANDLE_DMA_BUF ? "exports such memory as no DMA-BUF"
                                                     : "exports such memory as a DMA-BUF only",
                      why);
    const VkResult result = v->vk.GetMemoryFdKHR(v->device, &info, out_fd);
    if (result != VK_SUCCESS)
        return ferry__vulkan_fail(v, result, "vkGetMemoryFdKHR", why);
    *out_size = native->size;
    return FERRY_OK;
}

/* --- taken in --------------------------------------------------------------------------------- */

/* As which types of memory? An opaque descriptor is of the exporter's type, which is one_type's. */
static enum ferry_status types_of(struct vulkan *v, VkExternalMemoryHandleTypeFlagBits handle,
                                  int fd, uint32_t *out_types, char *why)
{
    VkMemoryFdPropertiesKHR properties = {.sType = VK_STRUCTURE_TYPE_MEMORY_FD_PROPERTIES_KHR};
    *out_types = 0;
    if (handle == OPAQUE)
        return FERRY_OK;
    if (!v->vk.GetMemoryFdPropertiesKHR)
        return cannot("has no vkGetMemoryFdPropertiesKHR", why);
    const VkResult result = v->vk.GetMemoryFdPropertiesKHR(v->device, handle, fd, &properties);
    if (result != VK_SUCCESS)
        return ferry__vulkan_fail(v, result, "vkGetMemoryFdPropertiesKHR", why);
    *out_types = properties.memoryTypeBits;
    return FERRY_OK;
}

/* A driver takes what it is told for true. Where the descriptor has a size it is looked at: whoever
 * touches more than there is gets a signal. */
static enum ferry_status check_fd(int fd, uint64_t size, char *why)
{
    struct stat known;
    if (fstat(fd, &known))
        snprintf(why, FERRY__WHY_MAX, "descriptor %d: errno %d", fd, errno);
    else if (S_ISFIFO(known.st_mode) || S_ISSOCK(known.st_mode) || S_ISDIR(known.st_mode))
        snprintf(why, FERRY__WHY_MAX, "descriptor %d is of no memory", fd);
    else if (S_ISREG(known.st_mode) && (uint64_t)known.st_size < size)
        snprintf(why, FERRY__WHY_MAX, "descriptor %d is of %lld bytes, not %llu", fd,
                 (long long)known.st_size, (unsigned long long)size);
    else
        return FERRY_OK;
    return FERRY_ERROR_INVALID_ARGUMENT;
}

/* fd is Vulkan's where *out_taken. */
static enum ferry_status take_in(struct vulkan *v, VkExternalMemoryHandleTypeFlagBits handle,
                                 int fd, uint64_t size, bool *out_taken,
                                 struct ferry__memory *out_memory, char *why)
{
    const VkExternalMemoryBufferCreateInfo of_buffer = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
        .handleTypes = handle,
    };
    const VkImportMemoryFdInfoKHR of_memory = {
        .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
        .handleType = handle,
        .fd = fd,
    };
    struct vulkan_wanted wanted = {
        .use = FERRY__MEMORY_PRIVATE,
        .size = size,
        .of_buffer = &of_buffer,
        .of_memory = &of_memory,
        .one_type = true,
        .given = size,
        .taken = out_taken,
    };
    const enum ferry_status status = types_of(v, handle, fd, &wanted.types, why);
    return status ? status : ferry__vulkan_memory_make(v, &wanted, out_memory, why);
}

/* Two copies of the descriptor: one that Vulkan takes, one that is given on. */
static enum ferry_status take_copies(struct vulkan *v, VkExternalMemoryHandleTypeFlagBits handle,
                                     int fd, uint64_t size, struct ferry__memory *out_memory,
                                     char *why)
{
    int given, kept;
    bool taken = false;
    enum ferry_status status = copy_fd(fd, &kept, why);
    if (status)
        return status;
    status = copy_fd(fd, &given, why);
    if (status)
        goto close_kept;
    status = take_in(v, handle, given, size, &taken, out_memory, why);
    if (!taken)
        close(given);
    if (!status) {
        struct vulkan_memory *native = out_memory->native;
        native->kept = kept + 1;
        native->kept_handle = handle;
        return FERRY_OK;
    }
close_kept:
    close(kept);
    return status;
}

static enum ferry_status share_take(void *state, enum ferry_handle handle, int fd, uint64_t size,
                                    struct ferry__memory *out_memory, char *why)
{
    struct vulkan *v = state;
    const VkExternalMemoryHandleTypeFlagBits native = native_handle(handle);
    if (!(v->physical.imports & native))
        return cannot(handle == FERRY_HANDLE_DMA_BUF ? "imports no DMA-BUF"
                                                     : "imports no memory by opaque descriptors",
                      why);
    enum ferry_status status = check_fd(fd, size, why);
    if (!status)
        status = take_copies(v, native, fd, size, out_memory, why);
    if (status == FERRY_ERROR_UNSUPPORTED && strstr(why, "VK_ERROR_INVALID_EXTERNAL_HANDLE"))
        return FERRY_ERROR_INVALID_ARGUMENT; /* it is of nothing that the device knows */
    return status;
}

/* --- whose it is ------------------------------------------------------------------------------ */

static bool shares_add(struct vulkan_shares *shares, const struct ferry__memory *memory,
                       uint64_t offset, uint64_t size)
{
    const struct vulkan_memory *native = memory->native;
    const uint64_t begin = memory->offset + offset, end = begin + size;
    if (!native->shared)
        return true;
    for (size_t i = shares->count; i--;) { /* the latest is likely the one */
        struct vulkan_share *share = &shares->list[i];
        if (share->buffer != native->buffer)
            continue;
        share->begin = begin < share->begin ? begin : share->begin;
        share->end = end > share->end ? end : share->end;
        return true;
    }
    if (shares->count == shares->capacity) {
        const size_t capacity = shares->capacity ? 2 * shares->capacity : 4;
        struct vulkan_share *list = ferry__alloc(capacity * sizeof *list);
        if (!list)
            return false;
        if (shares->count)
            memcpy(list, shares->list, shares->count * sizeof *list);
        ferry__free(shares->list);
        shares->list = list;
        shares->capacity = capacity;
    }
    shares->list[shares->count++] = (struct vulkan_share){native->buffer, begin, end};
    return true;
}

bool ferry__vulkan_shares_find(struct vulkan_shares *shares, const struct ferry__command *commands,
                               size_t count)
{
    shares->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ferry__command *command = &commands[i];
        const bool list = command->kind == FERRY__BLOCKS;
        if (!shares_add(shares, command->dst, command->dst_offset,
                        list ? command->list.dst_span : command->size) ||
            (command->kind != FERRY__FILL &&
             !shares_add(shares, command->src, command->src_offset,
                         list ? command->list.src_span : command->size)))
            return false;
    }
    return true;
}

void ferry__vulkan_shares_finish(struct vulkan_shares *shares)
{
    ferry__free(shares->list);
}

/* Who shares it is not known, nor when they want it: a submission leaves to them what it touched.
 * So one that reads may give back what another of ours reads at the same time; both leave it as it
 * is. */
static void pass(const struct vulkan *v, VkCommandBuffer to, const struct vulkan_shares *shares,
                 VkBufferMemoryBarrier barrier)
{
    for (size_t i = 0; i < shares->count; i++) {
        const struct vulkan_share *share = &shares->list[i];
        barrier.buffer = share->buffer;
        barrier.offset = share->begin;
        barrier.size = share->end - share->begin;
        v->vk.CmdPipelineBarrier(to, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                                 VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, NULL, 1, &barrier, 0,
                                 NULL);
    }
}

/* A buffer that our families share is theirs all. */
static uint32_t ours(const struct vulkan *v, uint32_t family)
{
    return v->family_count > 1 ? VK_QUEUE_FAMILY_IGNORED : family;
}

void ferry__vulkan_shares_acquire(const struct vulkan *v, uint32_t family, VkCommandBuffer to,
                                  const struct vulkan_shares *shares)
{
    pass(v, to, shares,
         (VkBufferMemoryBarrier){
             .sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER,
             .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
             .srcQueueFamilyIndex = VK_QUEUE_FAMILY_EXTERNAL,
             .dstQueueFamilyIndex = ours(v, family),
         });
}

void ferry__vulkan_shares_release(const struct vulkan *v, uint32_t family, VkCommandBuffer to,
                                  const struct vulkan_shares *shares)
{
    pass(v, to, shares,
         (VkBufferMemoryBarrier){
             .sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER,
             .srcAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
             .srcQueueFamilyIndex = ours(v, family),
             .dstQueueFamilyIndex = VK_QUEUE_FAMILY_EXTERNAL,
         });
}

const struct ferry__sharing ferry__vulkan_sharing = {
    .alloc = share_alloc,
    .give = share_give,
    .take = share_take,
};
