/* Memory as other devices have it: types, limits, shadows of what is not coherent, imports. */
#include "strict.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
    VISIBLE = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
    COHERENT = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    CACHED = VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
    TYPES_MAX = 4,
    GARBAGE = 0xa5,
};

/* The types of each kind of memory; heap 0 is the device's, 1 the host's, 2 the coherent host's. */
static const struct {
    uint32_t count;
    VkMemoryType types[TYPES_MAX];
} kinds[] = {
    [MEMORY_PRIVATE] = {3, {{LOCAL, 0}, {VISIBLE | COHERENT, 1}, {VISIBLE | COHERENT | CACHED, 1}}},
    [MEMORY_NONCOHERENT] = {3, {{LOCAL, 0}, {VISIBLE | CACHED, 1}, {VISIBLE | COHERENT, 2}}},
    [MEMORY_BAR] = {4,
                    {{LOCAL, 0},
                     {LOCAL | VISIBLE | COHERENT, 0},
                     {VISIBLE | COHERENT, 1},
                     {VISIBLE | COHERENT | CACHED, 1}}},
};

struct allocation {
    VkDeviceMemory memory;
    uint32_t type, heap;
    VkMemoryPropertyFlags flags;
    uint64_t size;
    const char *imported; /* NULL: not */
    bool seen;            /* mapped: the host reaches it */
    unsigned char *mapped, *shadow;
    const unsigned char *device; /* the mapping that the device sees; NULL: none */
    struct watched *watched;     /* NULL: not */
    struct allocation *next;
};

struct buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t address, size; /* address 0: never asked for */
    uint32_t families;      /* bits */
    bool concurrent, external;
    struct buffer *next;
};

static struct allocation *allocations; /* guarded by lock, like all below */
static struct buffer *buffers;
static uint64_t allocation_count, heap_used[VK_MAX_MEMORY_HEAPS];
static VkPhysicalDeviceMemoryProperties real_memory; /* as last asked for */

void memory_reset(void)
{
    allocation_count = 0;
    memset(heap_used, 0, sizeof heap_used);
}

static struct allocation *find_allocation(VkDeviceMemory memory)
{
    struct allocation *a = allocations;
    while (a && a->memory != memory)
        a = a->next;
    return a;
}

static struct buffer *find_buffer(VkBuffer buffer)
{
    struct buffer *b = buffers;
    while (b && b->buffer != buffer)
        b = b->next;
    return b;
}

bool buffer_host_reaches(VkBuffer buffer)
{
    struct buffer *b = find_buffer(buffer);
    struct allocation *a = b ? find_allocation(b->memory) : NULL;
    return a && (a->imported || a->seen);
}

uint64_t buffer_imported(VkBuffer buffer)
{
    struct buffer *b = find_buffer(buffer);
    struct allocation *a = b ? find_allocation(b->memory) : NULL;
    return a ? (uint64_t)(uintptr_t)a->imported : 0;
}

bool buffer_shared_with(VkBuffer buffer, uint32_t family)
{
    struct buffer *b = find_buffer(buffer);
    return !b || (b->families & 1u << family);
}

bool buffer_external(VkBuffer buffer, uint32_t family, uint32_t *out_ours)
{
    const struct buffer *b = find_buffer(buffer);
    *out_ours = b && b->concurrent ? VK_QUEUE_FAMILY_IGNORED : family;
    return b && b->external;
}

VkBuffer buffer_at(uint64_t address, uint64_t size, uint64_t *out_offset)
{
    for (struct buffer *b = buffers; b; b = b->next) {
        if (!b->address || address < b->address || address - b->address > b->size ||
            size > b->size - (address - b->address))
            continue;
        *out_offset = address - b->address;
        return b->buffer;
    }
    return VK_NULL_HANDLE;
}

const void *bytes_at(uint64_t address, uint64_t size)
{
    uint64_t offset = 0;
    const struct buffer *b = find_buffer(buffer_at(address, size, &offset));
    const struct allocation *a = b ? find_allocation(b->memory) : NULL;
    return a && a->device ? a->device + offset : NULL;
}

/* --- types ------------------------------------------------------------------------------------ */

static bool faked(void)
{
    return config.memory != MEMORY_PLAIN;
}

/* The one real type that stands for all: everything a software device has. */
static uint32_t real_type(void)
{
    const VkMemoryPropertyFlags all = VISIBLE | COHERENT | CACHED;
    for (uint32_t i = 0; i < real_memory.memoryTypeCount; i++)
        if ((real_memory.memoryTypes[i].propertyFlags & all) == all)
            return i;
    report(STRICTVK_OTHER, "the real device has no memory type to stand for all");
    return 0;
}

static void fake_types(VkPhysicalDeviceMemoryProperties *out)
{
    const uint64_t real_heap = out->memoryHeaps[0].size;
    out->memoryTypeCount = kinds[config.memory].count;
    memcpy(out->memoryTypes, kinds[config.memory].types, sizeof kinds[config.memory].types);
    out->memoryHeapCount = config.memory == MEMORY_NONCOHERENT ? 3 : 2;
    out->memoryHeaps[0] = (VkMemoryHeap){real_heap, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
    out->memoryHeaps[1] = (VkMemoryHeap){real_heap, 0};
    out->memoryHeaps[2] = (VkMemoryHeap){config.coherent ? config.coherent : real_heap, 0};
}

static void properties_now(VkPhysicalDeviceMemoryProperties *out)
{
    *out = real_memory;
    if (faked())
        fake_types(out);
    if (config.heap)
        out->memoryHeaps[0].size = config.heap;
}

VKAPI_ATTR void VKAPI_CALL strict_GetPhysicalDeviceMemoryProperties2(
    VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2 *memory)
{
    real.GetPhysicalDeviceMemoryProperties2(device, memory);
    pthread_mutex_lock(&lock);
    real_memory = memory->memoryProperties;
    properties_now(&memory->memoryProperties);
    VkBaseOutStructure *next = memory->pNext;
    for (; next; next = next->pNext) {
        if (next->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT)
            continue;
        VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (void *)next;
        for (uint32_t i = 0; i < memory->memoryProperties.memoryHeapCount; i++) {
            budget->heapBudget[i] = memory->memoryProperties.memoryHeaps[i].size;
            budget->heapUsage[i] = heap_used[i];
        }
    }
    pthread_mutex_unlock(&lock);
}

uint32_t memory_types(void)
{
    VkPhysicalDeviceMemoryProperties now;
    pthread_mutex_lock(&lock);
    properties_now(&now);
    pthread_mutex_unlock(&lock);
    return (1u << now.memoryTypeCount) - 1;
}

/* --- buffers ---------------------------------------------------------------------------------- */

/* For memory that goes by descriptors. */
static bool is_external(const VkBufferCreateInfo *info)
{
    const VkBaseInStructure *next = info->pNext;
    while (next && next->sType != VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO)
        next = next->pNext;
    return next && ((const VkExternalMemoryBufferCreateInfo *)next)->handleTypes &
                       (VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT |
                        VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_CreateBuffer(VkDevice device, const VkBufferCreateInfo *info,
                                                   const VkAllocationCallbacks *allocator,
                                                   VkBuffer *buffer)
{
    VkResult result;
    if (fails("vkCreateBuffer", &result))
        return result;
    struct buffer *b = calloc(1, sizeof *b);
    b->size = info->size;
    b->concurrent = info->sharingMode == VK_SHARING_MODE_CONCURRENT;
    b->external = is_external(info);
    b->families = b->concurrent ? 0 : ~0u; /* exclusive: the first family takes it */
    for (uint32_t i = 0; b->concurrent && i < info->queueFamilyIndexCount; i++)
        b->families |= 1u << info->pQueueFamilyIndices[i];
    VkBufferCreateInfo mine = *info; /* the real device has one family */
    struct share_chain room;
    if (config.dmabuf)
        mine.pNext = share_chain(info->pNext, &room);
    mine.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
    mine.queueFamilyIndexCount = 0;
    mine.pQueueFamilyIndices = NULL;
    static const VkExternalMemoryBufferCreateInfo any = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
        .handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
    };
    if (config.reads && !info->pNext) /* it may come to lie in watched memory */
        mine.pNext = &any;
    result = real.CreateBuffer(device, &mine, allocator, buffer);
    if (result != VK_SUCCESS) {
        free(b);
        return result;
    }
    b->buffer = *buffer;
    if (!b->concurrent && config.transfer)
        b->families = 1u << REAL_FAMILY;
    pthread_mutex_lock(&lock);
    b->next = buffers;
    buffers = b;
    pthread_mutex_unlock(&lock);
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL strict_DestroyBuffer(VkDevice device, VkBuffer buffer,
                                                const VkAllocationCallbacks *allocator)
{
    pthread_mutex_lock(&lock);
    order_buffer_gone(buffer, "vkDestroyBuffer");
    struct buffer **at = &buffers;
    while (*at && (*at)->buffer != buffer)
        at = &(*at)->next;
    struct buffer *b = *at;
    if (b)
        *at = b->next;
    pthread_mutex_unlock(&lock);
    free(b);
    real.DestroyBuffer(device, buffer, allocator);
}

VKAPI_ATTR void VKAPI_CALL strict_GetBufferMemoryRequirements(VkDevice device, VkBuffer buffer,
                                                              VkMemoryRequirements *needs)
{
    real.GetBufferMemoryRequirements(device, buffer, needs);
    if (faked())
        needs->memoryTypeBits = (1u << kinds[config.memory].count) - 1;
}

VKAPI_ATTR VkDeviceAddress VKAPI_CALL
strict_GetBufferDeviceAddress(VkDevice device, const VkBufferDeviceAddressInfo *info)
{
    VkDeviceAddress address = real.GetBufferDeviceAddress(device, info);
    pthread_mutex_lock(&lock);
    struct buffer *b = find_buffer(info->buffer);
    if (b)
        b->address = address;
    pthread_mutex_unlock(&lock);
    return address;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_BindBufferMemory(VkDevice device, VkBuffer buffer,
                                                       VkDeviceMemory memory, VkDeviceSize offset)
{
    VkResult result;
    if (fails("vkBindBufferMemory", &result))
        return result;
    pthread_mutex_lock(&lock);
    struct buffer *b = find_buffer(buffer);
    if (b)
        b->memory = memory;
    pthread_mutex_unlock(&lock);
    return real.BindBufferMemory(device, buffer, memory, offset);
}

/* --- allocations ------------------------------------------------------------------------------ */

static const VkImportMemoryHostPointerInfoEXT *import_of(const VkMemoryAllocateInfo *info)
{
    const VkBaseInStructure *next = info->pNext;
    while (next && next->sType != VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT)
        next = next->pNext;
    return (const VkImportMemoryHostPointerInfoEXT *)next;
}

static VkResult check_import(const char *base, uint64_t size)
{
    if (config.granularity && ((uintptr_t)base % config.granularity || size % config.granularity))
        return VK_ERROR_INVALID_EXTERNAL_HANDLE;
    for (struct allocation *a = allocations; config.import == IMPORT_STRICT && a; a = a->next)
        if (a->imported && base < a->imported + a->size && a->imported < base + size)
            return VK_ERROR_INVALID_EXTERNAL_HANDLE;
    return VK_SUCCESS;
}

static VkResult check_allocation(const VkMemoryAllocateInfo *info, struct allocation *a)
{
    VkPhysicalDeviceMemoryProperties memory;
    properties_now(&memory);
    a->type = info->memoryTypeIndex;
    a->heap = memory.memoryTypes[a->type].heapIndex;
    a->flags = memory.memoryTypes[a->type].propertyFlags;
    a->size = info->allocationSize;
    if (config.count && allocation_count >= config.count)
        return VK_ERROR_TOO_MANY_OBJECTS;
    if (config.allocation && a->size > config.allocation)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (a->imported)
        return check_import(a->imported, a->size);
    return heap_used[a->heap] + a->size > memory.memoryHeaps[a->heap].size
               ? VK_ERROR_OUT_OF_DEVICE_MEMORY
               : VK_SUCCESS;
}

/* Memory of the device that the host reaches through a window, and reads slowly. */
static bool is_watched(const struct allocation *a)
{
    return config.reads && fault_tells() &&
           (a->flags & (LOCAL | VISIBLE | CACHED)) == (LOCAL | VISIBLE);
}

static VkResult allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                         const VkAllocationCallbacks *allocator, struct allocation *a)
{
    VkResult result = check_allocation(info, a);
    if (result != VK_SUCCESS)
        return result;
    VkMemoryAllocateInfo mine = *info;
    VkImportMemoryHostPointerInfoEXT import = {
        .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
        .pNext = info->pNext,
        .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
    };
    struct share_chain room;
    if (!share_takes(info->pNext))
        return VK_ERROR_INVALID_EXTERNAL_HANDLE;
    if (config.dmabuf)
        import.pNext = mine.pNext = share_chain(info->pNext, &room);
    if (faked())
        mine.memoryTypeIndex = real_type();
    if (is_watched(a)) {
        a->watched = watch_make(a->size);
        if (!a->watched)
            return VK_ERROR_OUT_OF_DEVICE_MEMORY;
        import.pHostPointer = a->watched->device;
        mine.pNext = &import;
        mine.allocationSize = a->watched->size;
    }
    result = real.AllocateMemory(device, &mine, allocator, &a->memory);
    if (result != VK_SUCCESS) {
        watch_drop(a->watched);
        return result;
    }
    a->next = allocations;
    allocations = a;
    allocation_count++;
    if (!a->imported)
        heap_used[a->heap] += a->size;
    return VK_SUCCESS;
}

/* Neither dedicated nor imported nor exported. */
static bool is_for_any(const VkMemoryAllocateInfo *info)
{
    for (const VkBaseInStructure *next = info->pNext; next; next = next->pNext)
        if (next->sType != VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO)
            return false;
    return true;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_AllocateMemory(VkDevice device,
                                                     const VkMemoryAllocateInfo *info,
                                                     const VkAllocationCallbacks *allocator,
                                                     VkDeviceMemory *memory)
{
    VkResult result;
    if (fails("vkAllocateMemory", &result))
        return result;
    if (info->allocationSize >= 1 << 20 && is_for_any(info))
        report(STRICTVK_ALONE, "%llu bytes", (unsigned long long)info->allocationSize);
    struct allocation *a = calloc(1, sizeof *a);
    const VkImportMemoryHostPointerInfoEXT *import = import_of(info);
    a->imported = import ? import->pHostPointer : NULL;
    pthread_mutex_lock(&lock);
    result = allocate(device, info, allocator, a);
    pthread_mutex_unlock(&lock);
    if (result == VK_SUCCESS)
        *memory = a->memory;
    else
        free(a);
    return result;
}

VKAPI_ATTR void VKAPI_CALL strict_FreeMemory(VkDevice device, VkDeviceMemory memory,
                                             const VkAllocationCallbacks *allocator)
{
    pthread_mutex_lock(&lock);
    for (struct buffer *b = buffers; b; b = b->next)
        if (b->memory == memory)
            order_buffer_gone(b->buffer, "vkFreeMemory");
    struct allocation **at = &allocations;
    while (*at && (*at)->memory != memory)
        at = &(*at)->next;
    struct allocation *a = *at;
    if (a) {
        *at = a->next;
        allocation_count--;
        if (!a->imported)
            heap_used[a->heap] -= a->size;
    }
    real.FreeMemory(device, memory, allocator);
    pthread_mutex_unlock(&lock);
    if (a) {
        watch_drop(a->watched);
        free(a->shadow);
    }
    free(a);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_GetMemoryHostPointerPropertiesEXT(
    VkDevice device, VkExternalMemoryHandleTypeFlagBits handle, const void *host,
    VkMemoryHostPointerPropertiesEXT *properties)
{
    VkResult result;
    if (fails("vkGetMemoryHostPointerPropertiesEXT", &result))
        return result;
    result = real.GetMemoryHostPointerPropertiesEXT(device, handle, host, properties);
    if (result != VK_SUCCESS || !faked())
        return result;
    properties->memoryTypeBits = 0;
    for (uint32_t i = 0; i < kinds[config.memory].count; i++)
        if (kinds[config.memory].types[i].heapIndex != 0)
            properties->memoryTypeBits |= 1u << i;
    return VK_SUCCESS;
}

/* --- mapping ---------------------------------------------------------------------------------- */

VKAPI_ATTR VkResult VKAPI_CALL strict_MapMemory(VkDevice device, VkDeviceMemory memory,
                                                VkDeviceSize offset, VkDeviceSize size,
                                                VkMemoryMapFlags flags, void **data)
{
    VkResult result;
    if (fails("vkMapMemory", &result))
        return result;
    pthread_mutex_lock(&lock);
    struct allocation *a = find_allocation(memory);
    if (!a || !(a->flags & VISIBLE) || offset != 0) {
        report(STRICTVK_MAP, "memory type %u is mapped", a ? a->type : 0);
        pthread_mutex_unlock(&lock);
        return VK_ERROR_MEMORY_MAP_FAILED;
    }
    a->seen = true;
    if (a->watched) {
        *data = a->watched->host;
        a->device = a->watched->device;
        pthread_mutex_unlock(&lock);
        return VK_SUCCESS;
    }
    result = real.MapMemory(device, memory, offset, size, flags, data);
    a->device = result == VK_SUCCESS ? *data : NULL;
    if (result == VK_SUCCESS && !(a->flags & COHERENT)) {
        uint64_t rounded = (a->size + 4095) / 4096 * 4096;
        a->mapped = *data;
        a->shadow = aligned_alloc(4096, rounded);
        memset(a->shadow, GARBAGE, rounded);
        *data = a->shadow;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

VKAPI_ATTR void VKAPI_CALL strict_UnmapMemory(VkDevice device, VkDeviceMemory memory)
{
    pthread_mutex_lock(&lock);
    struct allocation *a = find_allocation(memory);
    if (a) {
        free(a->shadow);
        a->shadow = NULL;
        a->seen = false;
    }
    if (!a || !a->watched)
        real.UnmapMemory(device, memory);
    pthread_mutex_unlock(&lock);
}

/* Between the shadow, which the host sees, and the memory, which the device sees. */
static void transfer_shadow(const VkMappedMemoryRange *range, bool to_device)
{
    struct allocation *a = find_allocation(range->memory);
    if (!a)
        return;
    uint64_t size = range->size == VK_WHOLE_SIZE ? a->size - range->offset : range->size;
    uint64_t atom = config.atom ? config.atom : 1;
    if (range->offset % atom || (size % atom && range->offset + size != a->size))
        report(STRICTVK_ATOM, "offset %llu, size %llu", (unsigned long long)range->offset,
               (unsigned long long)size);
    if (range->offset > a->size || size > a->size - range->offset) {
        report(STRICTVK_ATOM, "past the end: offset %llu, size %llu of %llu",
               (unsigned long long)range->offset, (unsigned long long)size,
               (unsigned long long)a->size);
        return;
    }
    if (!a->shadow)
        return;
    unsigned char *dst = to_device ? a->mapped : a->shadow;
    const unsigned char *src = to_device ? a->shadow : a->mapped;
    memcpy(dst + range->offset, src + range->offset, size);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_FlushMappedMemoryRanges(VkDevice device, uint32_t count,
                                                              const VkMappedMemoryRange *ranges)
{
    VkResult result;
    (void)device;
    if (fails("vkFlushMappedMemoryRanges", &result))
        return result;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < count; i++)
        transfer_shadow(&ranges[i], true);
    pthread_mutex_unlock(&lock);
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_InvalidateMappedMemoryRanges(
    VkDevice device, uint32_t count, const VkMappedMemoryRange *ranges)
{
    VkResult result;
    (void)device;
    if (fails("vkInvalidateMappedMemoryRanges", &result))
        return result;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < count; i++)
        transfer_shadow(&ranges[i], false);
    pthread_mutex_unlock(&lock);
    return VK_SUCCESS;
}
