/* Memory that others have too: who has it when. And memory given as a DMA-BUF, which a software
 * device does not have: the real device gives and takes opaque descriptors instead, and which
 * descriptor was given as which kind is kept. */
#include "strict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    OPAQUE = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT,
    DMA_BUF = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT,
    GIVEN_MAX = 1024,
};

static VkFlags real_handles(VkFlags handles)
{
    return handles & DMA_BUF ? (handles & ~(VkFlags)DMA_BUF) | OPAQUE : handles;
}

/* --- the descriptors that were given ---------------------------------------------------------- */

static struct given {
    dev_t device;
    ino_t inode;
    VkFlags handles;
} givens[GIVEN_MAX]; /* the latest */
static size_t given_count;

static struct given *find_given(const struct stat *of)
{
    for (size_t i = 0; i < GIVEN_MAX; i++)
        if (givens[i].handles && givens[i].device == of->st_dev && givens[i].inode == of->st_ino)
            return &givens[i];
    return NULL;
}

static void note_given(int fd, VkFlags handle)
{
    struct stat known;
    if (fstat(fd, &known))
        return;
    struct given *given = find_given(&known);
    if (!given) {
        given = &givens[given_count++ % GIVEN_MAX];
        *given = (struct given){known.st_dev, known.st_ino, 0};
    }
    given->handles |= handle;
}

/* Those that another process gave are believed. */
static bool given_as_other(int fd, VkFlags handle)
{
    struct stat known;
    const struct given *given = fstat(fd, &known) ? NULL : find_given(&known);
    return given && !(given->handles & handle);
}

/* --- what the driver says, as the real device is told it --------------------------------------- */

static const VkBaseInStructure *find(const void *chain, VkStructureType type)
{
    const VkBaseInStructure *next = chain;
    while (next && next->sType != type)
        next = next->pNext;
    return next;
}

bool share_takes(const void *chain)
{
    const VkImportMemoryFdInfoKHR *import =
        (const void *)find(chain, VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR);
    return !import || !given_as_other(import->fd, import->handleType);
}

static size_t size_of(VkStructureType type)
{
    switch ((int)type) {
    case VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO:
        return sizeof(VkExternalMemoryBufferCreateInfo);
    case VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO: return sizeof(VkExportMemoryAllocateInfo);
    case VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR: return sizeof(VkImportMemoryFdInfoKHR);
    case VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO: return sizeof(VkMemoryAllocateFlagsInfo);
    default: return 0;
    }
}

const void *share_chain(const void *chain, struct share_chain *room)
{
    const VkBaseInStructure *from = chain;
    const void **at = &room->first;
    room->first = chain;
    for (size_t i = 0; from && i < SHARE_LINKS; i++, from = from->pNext) {
        union share_link *link = &room->links[i];
        const size_t size = size_of(from->sType);
        if (!size)
            break;
        memcpy(link, from, size);
        if (from->sType !=
            VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO) /* all others begin alike */
            link->buffer.handleTypes = real_handles(link->buffer.handleTypes);
        *at = link;
        at = (const void **)&link->base.pNext;
    }
    return room->first;
}

/* --- Vulkan's functions ------------------------------------------------------------------------ */

VKAPI_ATTR void VKAPI_CALL strict_GetPhysicalDeviceExternalBufferProperties(
    VkPhysicalDevice device, const VkPhysicalDeviceExternalBufferInfo *info,
    VkExternalBufferProperties *properties)
{
    VkPhysicalDeviceExternalBufferInfo mine = *info;
    if (config.dmabuf)
        mine.handleType = (VkExternalMemoryHandleTypeFlagBits)real_handles(info->handleType);
    real.GetPhysicalDeviceExternalBufferProperties(device, &mine, properties);
    VkExternalMemoryProperties *can = &properties->externalMemoryProperties;
    if (config.dmabuf && can->compatibleHandleTypes & OPAQUE)
        can->compatibleHandleTypes |= DMA_BUF;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_GetMemoryFdKHR(VkDevice device,
                                                     const VkMemoryGetFdInfoKHR *info, int *fd)
{
    VkResult result;
    if (fails("vkGetMemoryFdKHR", &result))
        return result;
    VkMemoryGetFdInfoKHR mine = *info;
    mine.handleType = (VkExternalMemoryHandleTypeFlagBits)real_handles(info->handleType);
    result = real.GetMemoryFdKHR(device, &mine, fd);
    if (result == VK_SUCCESS) {
        pthread_mutex_lock(&lock);
        note_given(*fd, info->handleType);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL
strict_GetMemoryFdPropertiesKHR(VkDevice device, VkExternalMemoryHandleTypeFlagBits handle, int fd,
                                VkMemoryFdPropertiesKHR *properties)
{
    VkResult result;
    (void)device;
    if (fails("vkGetMemoryFdPropertiesKHR", &result))
        return result;
    if (handle == VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT)
        report(STRICTVK_OTHER, "vkGetMemoryFdPropertiesKHR of an opaque descriptor");
    pthread_mutex_lock(&lock);
    const bool other = given_as_other(fd, handle);
    pthread_mutex_unlock(&lock);
    if (other)
        return VK_ERROR_INVALID_EXTERNAL_HANDLE;
    properties->memoryTypeBits = memory_types();
    return VK_SUCCESS;
}

/* --- whose it is ------------------------------------------------------------------------------ */

bool share_passes(const VkBufferMemoryBarrier *barrier, struct recorded *out)
{
    const bool acquire = barrier->srcQueueFamilyIndex == VK_QUEUE_FAMILY_EXTERNAL;
    if (!acquire && barrier->dstQueueFamilyIndex != VK_QUEUE_FAMILY_EXTERNAL)
        return false;
    out->kind = acquire ? RECORDED_ACQUIRE : RECORDED_RELEASE;
    out->dst = barrier->buffer;
    out->dst_offset = barrier->offset;
    out->size = barrier->size;
    out->family = acquire ? barrier->dstQueueFamilyIndex : barrier->srcQueueFamilyIndex;
    return true;
}

/* The real device has one family, which has every buffer for itself. */
VkBufferMemoryBarrier *share_barriers(const VkBufferMemoryBarrier *barriers, uint32_t count)
{
    VkBufferMemoryBarrier *copy = malloc((count ? count : 1) * sizeof *copy);
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = barriers[i];
        if (copy[i].srcQueueFamilyIndex != VK_QUEUE_FAMILY_EXTERNAL)
            copy[i].srcQueueFamilyIndex = REAL_FAMILY;
        if (copy[i].dstQueueFamilyIndex != VK_QUEUE_FAMILY_EXTERNAL)
            copy[i].dstQueueFamilyIndex = REAL_FAMILY;
    }
    return copy;
}

/* Is there such a transfer of all these bytes among some of what was recorded? */
static bool is_passed(const struct recorded *list, size_t count, enum kind kind, VkBuffer buffer,
                      uint64_t begin, uint64_t size)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].kind == kind && list[i].dst == buffer && list[i].dst_offset <= begin &&
            begin - list[i].dst_offset + size <= list[i].size)
            return true;
    return false;
}

/* What others have too is acquired before it is touched, and released behind that, by each
 * submission: it does not know when they want it. */
static void judge_owner(const struct queue *queue, const struct recorded *list, size_t count,
                        size_t at, VkBuffer buffer, uint64_t begin, uint64_t size)
{
    uint32_t ours;
    if (!buffer_external(buffer, queue->family, &ours))
        return;
    const bool acquired = is_passed(list, at, RECORDED_ACQUIRE, buffer, begin, size);
    const bool early = is_passed(list, at, RECORDED_RELEASE, buffer, begin, size);
    const bool released =
        is_passed(list + at + 1, count - at - 1, RECORDED_RELEASE, buffer, begin, size);
    if (!acquired || early || !released)
        report(STRICTVK_OWNER, "bytes %llu to %llu:%s%s%s", (unsigned long long)begin,
               (unsigned long long)(begin + size), acquired ? "" : " not acquired",
               early ? " released before" : "", released ? "" : " not released");
}

void share_judge(const struct queue *queue, const struct recorded *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct recorded *r = &list[i];
        uint32_t ours;
        if (r->kind == RECORDED_COPY)
            judge_owner(queue, list, count, i, r->src, r->src_offset, r->size);
        if (r->kind == RECORDED_COPY || r->kind == RECORDED_FILL)
            judge_owner(queue, list, count, i, r->dst, r->dst_offset, r->size);
        if (r->kind != RECORDED_ACQUIRE && r->kind != RECORDED_RELEASE)
            continue;
        if (!buffer_external(r->dst, queue->family, &ours))
            report(STRICTVK_OWNER, "a buffer that is nobody else's is passed on");
        else if (r->family != ours)
            report(STRICTVK_OWNER, "family %u passes it on, not %u", r->family, ours);
    }
}
