/* Memory given to others as a DMA-BUF, which a software device does not have: the real device gives and
 * takes opaque descriptors instead, and which descriptor was given as which kind is kept. */
#include "strict.h"

#include <stdio.h>
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
