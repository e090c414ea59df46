#include "vk.h"

#include <stdio.h>
#include <unistd.h>

/* --- which memory type ------------------------------------------------------------------------ */

enum {
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
    VISIBLE = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
    COHERENT = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    CACHED = VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
    /* Lazily allocated, protected, AMD's uncached and NVIDIA's RDMA memory serve other ends. */
    STRANGE = 0x10 | 0x20 | 0x40 | 0x80 | 0x100,
};

/* needed: without it a type is out. wish, first and second: better with. spare: better without. */
struct choice {
    VkMemoryPropertyFlags needed, wish, second, spare;
};

static const struct choice choices[FERRY__MEMORY_COUNT] = {
    [FERRY__MEMORY_PRIVATE] = {LOCAL, 0, 0, VISIBLE},
    [FERRY__MEMORY_SHARED] = {VISIBLE | COHERENT, CACHED, 0, 0},
    [FERRY__MEMORY_UPLOAD] = {VISIBLE, COHERENT, 0, LOCAL},
    [FERRY__MEMORY_READBACK] = {VISIBLE, CACHED, COHERENT, LOCAL},
};

static const struct choice mapped_private = {LOCAL, VISIBLE | COHERENT, CACHED, 0};
static const struct choice imported = {VISIBLE | COHERENT, CACHED, 0, 0};

/* Mapping all private memory pays only where the host sees all of it: a small window into the
 * device's memory would be full at once. */
static bool sees_all(const struct vulkan *v)
{
    const VkPhysicalDeviceMemoryProperties *memory = &v->physical.memory;
    uint64_t largest = ferry__vulkan_heap_largest(&v->physical);
    for (uint32_t i = 0; i < memory->memoryTypeCount; i++) {
        const VkMemoryType *type = &memory->memoryTypes[i];
        const VkMemoryPropertyFlags flags = LOCAL | VISIBLE | COHERENT;
        if ((type->propertyFlags & flags) == flags && !(type->propertyFlags & STRANGE) &&
            memory->memoryHeaps[type->heapIndex].size >= largest)
            return true;
    }
    return false;
}

static struct choice choice_for(const struct vulkan *v, enum ferry__memory_kind use, uint64_t size)
{
    if (use == FERRY__MEMORY_PRIVATE && v->map_private != FERRY_MAP_NEVER &&
        (v->map_private == FERRY_MAP_ALWAYS ||
         (sees_all(v) && (size <= v->mapped_max || v->physical.unified))))
        return mapped_private;
    struct choice choice = choices[use];
    if (use == FERRY__MEMORY_SHARED && v->physical.unified)
        choice.second = LOCAL;
    return choice;
}

/* The lower the better; above all: out. */
static unsigned cost_of(const struct choice *choice, VkMemoryPropertyFlags flags)
{
    if ((flags & choice->needed) != choice->needed || (flags & STRANGE))
        return UINT32_MAX;
    return 4 * ((flags & choice->wish) != choice->wish) +
           2 * ((flags & choice->second) != choice->second) + ((flags & choice->spare) != 0);
}

/* The best type of those in *bits, which loses that bit; false: none is left. */
static bool next_type(const struct vulkan *v, const struct choice *choice, uint32_t *bits,
                      uint32_t *out_type)
{
    unsigned best = UINT32_MAX;
    for (uint32_t i = 0; i < v->physical.memory.memoryTypeCount; i++) {
        if (!(*bits & 1u << i))
            continue;
        unsigned cost = cost_of(choice, v->physical.memory.memoryTypes[i].propertyFlags);
        if (cost < best) {
            best = cost;
            *out_type = i;
        }
    }
    if (best == UINT32_MAX)
        return false;
    *bits &= ~(1u << *out_type);
    return true;
}

/* --- allocating ------------------------------------------------------------------------------- */

/* What is being made; undone as a whole when a step fails. */
struct making {
    struct vulkan_memory *native;
    VkMemoryRequirements needs;
    uint32_t type;
    uint64_t size;    /* of the device memory */
    const void *next; /* of VkMemoryAllocateInfo */
    bool given;       /* the memory is imported by its descriptor */
    bool *taken;      /* as in vulkan_wanted */
};

static enum ferry_status make_buffer(struct vulkan *v, uint64_t size, VkBufferUsageFlags usage,
                                     const void *next, struct making *m, char *why)
{
    m->native = ferry__alloc(sizeof *m->native);
    if (!m->native) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a native buffer");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    const VkBufferCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .pNext = next,
        .size = size,
        .usage = usage,
        .sharingMode = v->family_count > 1 ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
        .queueFamilyIndexCount = v->family_count > 1 ? v->family_count : 0,
        .pQueueFamilyIndices = v->families,
    };
    VkResult result = v->vk.CreateBuffer(v->device, &create, NULL, &m->native->buffer);
    if (result != VK_SUCCESS) {
        ferry__free(m->native);
        return ferry__vulkan_fail(v, result, "vkCreateBuffer", why);
    }
    v->vk.GetBufferMemoryRequirements(v->device, m->native->buffer, &m->needs);
    return FERRY_OK;
}

static void unmake(struct vulkan *v, struct vulkan_memory *native)
{
    if (!native->borrowed)
        v->vk.DestroyBuffer(v->device, native->buffer, NULL);
    if (native->memory) {
        v->vk.FreeMemory(v->device, native->memory, NULL);
        atomic_fetch_sub(&v->allocation_count, 1);
        atomic_fetch_sub(&v->allocated, native->counted);
    }
    if (native->kept)
        close(native->kept - 1);
    ferry__free(native);
}

/* Takes m->size bytes of m->type, and binds the buffer to them. */
static enum ferry_status allocate(struct vulkan *v, struct making *m, char *why)
{
    const VkMemoryType *type = &v->physical.memory.memoryTypes[m->type];
    uint64_t heap = v->physical.memory.memoryHeaps[type->heapIndex].size;
    if (m->size > heap) {
        snprintf(why, FERRY__WHY_MAX, "%llu bytes exceed the heap of %llu",
                 (unsigned long long)m->size, (unsigned long long)heap);
        return m->given ? FERRY_ERROR_INVALID_ARGUMENT : FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    if (atomic_fetch_add(&v->allocation_count, 1) >= v->physical.max_allocation_count) {
        atomic_fetch_sub(&v->allocation_count, 1);
        snprintf(why, FERRY__WHY_MAX, "the device allows %llu allocations at a time",
                 (unsigned long long)v->physical.max_allocation_count);
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    const VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = m->next,
        .allocationSize = m->size,
        .memoryTypeIndex = m->type,
    };
    VkResult result = v->vk.AllocateMemory(v->device, &info, NULL, &m->native->memory);
    if (result != VK_SUCCESS) {
        m->native->memory = VK_NULL_HANDLE;
        atomic_fetch_sub(&v->allocation_count, 1);
        enum ferry_status status = ferry__vulkan_fail(v, result, "vkAllocateMemory", why);
        if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY && m->given) {
            /* So says NVIDIA's driver (580.159.04). */
            snprintf(why, FERRY__WHY_MAX,
                     "the descriptor is of no memory of %llu bytes: vkAllocateMemory: "
                     "VK_ERROR_OUT_OF_DEVICE_MEMORY",
                     (unsigned long long)m->size);
            status = FERRY_ERROR_INVALID_ARGUMENT;
        } else if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY) {
            snprintf(why, FERRY__WHY_MAX,
                     "the device has no %llu bytes of memory type %u left (its heap has %llu)",
                     (unsigned long long)m->size, m->type, (unsigned long long)heap);
        }
        return status;
    }
    if (m->taken)
        *m->taken = true;
    m->native->counted = type->propertyFlags & LOCAL ? m->size : 0;
    atomic_fetch_add(&v->allocated, m->native->counted);
    result = v->vk.BindBufferMemory(v->device, m->native->buffer, m->native->memory, 0);
    return result == VK_SUCCESS ? FERRY_OK
                                : ferry__vulkan_fail(v, result, "vkBindBufferMemory", why);
}

/* Tries one memory type after the other, the best first, as long as it is memory that is short. */
static enum ferry_status allocate_best(struct vulkan *v, const struct choice *choice, uint32_t bits,
                                       struct making *m, char *why)
{
    enum ferry_status status = FERRY_ERROR_UNSUPPORTED;
    snprintf(why, FERRY__WHY_MAX, "no memory type of 0x%x serves this use", bits);
    while (next_type(v, choice, &bits, &m->type)) {
        status = allocate(v, m, why);
        if (status != FERRY_ERROR_OUT_OF_DEVICE_MEMORY)
            break;
        if (m->native->memory)
            break; /* binding failed: no other type fixes that */
    }
    return status;
}

static enum ferry_status map(struct vulkan *v, const struct making *m, unsigned char **out_host,
                             char *why)
{
    void *host;
    VkResult result = v->vk.MapMemory(v->device, m->native->memory, 0, VK_WHOLE_SIZE, 0, &host);
    if (result != VK_SUCCESS)
        return ferry__vulkan_fail(v, result, "vkMapMemory", why);
    if ((uintptr_t)host % FERRY_BUFFER_ALIGNMENT) {
        snprintf(why, FERRY__WHY_MAX, "the device maps memory at %p, not at a multiple of %d", host,
                 FERRY_BUFFER_ALIGNMENT);
        return FERRY_ERROR_UNSUPPORTED;
    }
    *out_host = host;
    return FERRY_OK;
}

static uint64_t kernel_address(struct vulkan *v, VkBuffer buffer)
{
    if (!v->kernel_layout)
        return 0;
    const VkBufferDeviceAddressInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
        .buffer = buffer,
    };
    return v->vk.GetBufferDeviceAddress(v->device, &info);
}

/* Staging and shared memory across a link are for the copy command, and queues of copy engines:
 * kernels go there by lists of blocks alone. */
static bool is_near(const struct vulkan *v, enum ferry__memory_kind use)
{
    return use == FERRY__MEMORY_PRIVATE || (use == FERRY__MEMORY_SHARED && v->physical.unified);
}

VkBufferUsageFlags ferry__vulkan_usage(bool address)
{
    return VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
           VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT |
           (address ? VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT : 0);
}

/* The memory for the buffer. */
static enum ferry_status get_memory(struct vulkan *v, const struct vulkan_wanted *wanted,
                                    struct making *m, char *why)
{
    const uint32_t bits = m->needs.memoryTypeBits & (wanted->types ? wanted->types : UINT32_MAX);
    if (wanted->given && wanted->given < m->needs.size) {
        snprintf(why, FERRY__WHY_MAX, "a buffer on %llu bytes of given memory would need %llu",
                 (unsigned long long)wanted->given, (unsigned long long)m->needs.size);
        return FERRY_ERROR_UNSUPPORTED;
    }
    if (!wanted->one_type) {
        const struct choice choice = choice_for(v, wanted->use, wanted->size);
        return allocate_best(v, &choice, bits, m, why);
    }
    uint32_t left = bits;
    if (next_type(v, &choices[wanted->use], &left, &m->type))
        return allocate(v, m, why);
    snprintf(why, FERRY__WHY_MAX, "no memory type of 0x%x serves this use", bits);
    return FERRY_ERROR_UNSUPPORTED;
}

enum ferry_status ferry__vulkan_memory_make(struct vulkan *v, const struct vulkan_wanted *wanted,
                                            struct ferry__memory *out_memory, char *why)
{
    struct making m = {.given = wanted->given, .taken = wanted->taken};
    /* Whole atoms, so that flushing the last bytes stays inside. */
    const uint64_t atom = v->physical.atom;
    const uint64_t size = wanted->given ? wanted->size : (wanted->size + atom - 1) / atom * atom;
    enum ferry_status status =
        make_buffer(v, size, ferry__vulkan_usage(v->address), wanted->of_buffer, &m, why);
    if (status)
        return status;
    /* Memory that may be another buffer's, too, takes an H200 20 ms a GiB; this 1, or 4 mapped. */
    const VkMemoryDedicatedAllocateInfo dedicated = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO,
        .buffer = m.native->buffer,
    };
    const VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .pNext = wanted->of_memory ? wanted->of_memory : &dedicated,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    m.next = v->address ? &flags : flags.pNext;
    m.size = wanted->given ? wanted->given : m.needs.size;
    status = get_memory(v, wanted, &m, why);
    const VkMemoryPropertyFlags has = v->physical.memory.memoryTypes[m.type].propertyFlags;
    const bool mapped = !status && (has & VISIBLE) &&
                        (wanted->use != FERRY__MEMORY_PRIVATE || v->map_private != FERRY_MAP_NEVER);
    struct ferry__memory memory = {.native = m.native, .size = wanted->size};
    if (mapped) {
        status = map(v, &m, &memory.host, why);
        memory.coherent = has & COHERENT;
        memory.cached = has & CACHED;
    }
    if (status) {
        unmake(v, m.native);
        return status;
    }
    m.native->size = m.size;
    m.native->shared = wanted->of_buffer;
    m.native->address = kernel_address(v, m.native->buffer);
    memory.by_list = m.native->address != 0;
    memory.no_kernel = !memory.by_list || !is_near(v, wanted->use);
    *out_memory = memory;
    return FERRY_OK;
}

enum ferry_status ferry__vulkan_memory_alloc(void *state, enum ferry__memory_kind use,
                                             uint64_t size, const char *label,
                                             struct ferry__memory *out_memory, char *why)
{
    (void)label; /* one native object holds many buffers */
    struct vulkan *v = state;
    if (size > ferry__vulkan_buffer_max(&v->physical)) {
        snprintf(why, FERRY__WHY_MAX, "%llu bytes are more than the device's largest buffer, %llu",
                 (unsigned long long)size,
                 (unsigned long long)ferry__vulkan_buffer_max(&v->physical));
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    const struct vulkan_wanted wanted = {.use = use, .size = size};
    return ferry__vulkan_memory_make(v, &wanted, out_memory, why);
}

void ferry__vulkan_memory_free(void *state, struct ferry__memory *memory)
{
    unmake(state, memory->native);
}

enum ferry_status ferry__vulkan_memory_wrap(const struct vulkan *v,
                                            const struct ferry_vulkan_buffer *wrapped,
                                            struct ferry__memory *out_memory, char *why)
{
    struct vulkan_memory *native = ferry__alloc(sizeof *native);
    if (!native) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a wrapped buffer");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    *native = (struct vulkan_memory){
        .buffer = wrapped->buffer,
        .borrowed = true,
        .address = v->kernel_layout ? wrapped->address : 0,
    };
    *out_memory = (struct ferry__memory){
        .native = native,
        .offset = wrapped->offset,
        .size = wrapped->size,
        .no_kernel = !native->address,
        .by_list = native->address != 0,
    };
    return FERRY_OK;
}

/* --- the caller's memory ---------------------------------------------------------------------- */

/* May these pages be imported, and as which types of memory? */
static enum ferry_status ask_import(struct vulkan *v, void *host, uint64_t size, bool read_only,
                                    uint32_t *out_types, char *why)
{
    const VkExternalMemoryHandleTypeFlagBits handle =
        VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    VkMemoryHostPointerPropertiesEXT properties = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT,
    };
    if (v->physical.kind != FERRY_DEVICE_SOFTWARE &&
        !ferry__vulkan_may_write(host, size, read_only)) {
        snprintf(why, FERRY__WHY_MAX, "memory that cannot be written is not imported");
        return FERRY_ERROR_UNSUPPORTED;
    }
    VkResult result = v->vk.GetMemoryHostPointerPropertiesEXT(v->device, handle, host, &properties);
    if (result != VK_SUCCESS)
        return ferry__vulkan_fail(v, result, "vkGetMemoryHostPointerPropertiesEXT", why);
    if (size > ferry__vulkan_buffer_max(&v->physical)) {
        snprintf(why, FERRY__WHY_MAX, "%llu bytes are too many to import",
                 (unsigned long long)size);
        return FERRY_ERROR_UNSUPPORTED;
    }
    *out_types = properties.memoryTypeBits;
    return FERRY_OK;
}

enum ferry_status ferry__vulkan_host_import(void *state, void *host, uint64_t size, bool read_only,
                                            struct ferry__memory *out_memory, char *why)
{
    struct vulkan *v = state;
    const VkExternalMemoryHandleTypeFlagBits handle =
        VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    uint32_t types = 0;
    enum ferry_status status = ask_import(v, host, size, read_only, &types, why);
    if (status)
        return status;
    const VkExternalMemoryBufferCreateInfo external = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
        .handleTypes = handle,
    };
    const VkImportMemoryHostPointerInfoEXT import = {
        .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
        .handleType = handle,
        .pHostPointer = host,
    };
    const bool by_list = v->kernel_layout && v->physical.import_addresses;
    const VkMemoryAllocateFlagsInfo addressed = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .pNext = &import,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    struct making m = {.next = by_list ? (const void *)&addressed : &import, .size = size};
    const VkBufferUsageFlags usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                     (by_list ? VULKAN__BY_ADDRESS : 0) |
                                     (read_only ? 0 : VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    status = make_buffer(v, size, usage, &external, &m, why);
    if (status)
        return status;
    if (m.needs.size > size) {
        snprintf(why, FERRY__WHY_MAX, "a buffer on %llu imported bytes would need %llu",
                 (unsigned long long)size, (unsigned long long)m.needs.size);
        status = FERRY_ERROR_UNSUPPORTED;
    } else {
        status = allocate_best(v, &imported, types & m.needs.memoryTypeBits, &m, why);
    }
    if (status) {
        unmake(v, m.native);
        return status;
    }
    atomic_fetch_sub(&v->allocated, m.native->counted); /* the host's, not the device's */
    m.native->counted = 0;
    m.native->address = by_list ? kernel_address(v, m.native->buffer) : 0;
    *out_memory = (struct ferry__memory){.native = m.native,
                                         .size = size,
                                         .host = host,
                                         .coherent = true,
                                         .cached = true,
                                         .no_kernel = true,
                                         .by_list = m.native->address != 0};
    return FERRY_OK;
}

/* --- memory that is not coherent -------------------------------------------------------------- */

static VkMappedMemoryRange range_of(const struct ferry__memory *memory, uint64_t offset,
                                    uint64_t size)
{
    const struct vulkan_memory *native = memory->native;
    return (VkMappedMemoryRange){
        .sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE,
        .memory = native->memory,
        .offset = memory->offset + offset,
        .size = size,
    };
}

enum ferry_status ferry__vulkan_flush(void *state, const struct ferry__memory *memory,
                                      uint64_t offset, uint64_t size)
{
    struct vulkan *v = state;
    const VkMappedMemoryRange range = range_of(memory, offset, size);
    VkResult result = v->vk.FlushMappedMemoryRanges(v->device, 1, &range);
    return result == VK_SUCCESS ? FERRY_OK
                                : ferry__vulkan_fail(v, result, "vkFlushMappedMemoryRanges", NULL);
}

enum ferry_status ferry__vulkan_invalidate(void *state, const struct ferry__memory *memory,
                                           uint64_t offset, uint64_t size)
{
    struct vulkan *v = state;
    const VkMappedMemoryRange range = range_of(memory, offset, size);
    VkResult result = v->vk.InvalidateMappedMemoryRanges(v->device, 1, &range);
    return result == VK_SUCCESS
               ? FERRY_OK
               : ferry__vulkan_fail(v, result, "vkInvalidateMappedMemoryRanges", NULL);
}

/* --- how much is left ------------------------------------------------------------------------- */

uint64_t ferry__vulkan_memory_available(void *state)
{
    struct vulkan *v = state;
    uint64_t total = ferry__vulkan_heap_total(&v->physical);
    uint64_t used = atomic_load(&v->allocated);
    if (!v->physical.budget)
        return used < total ? total - used : 0;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT,
    };
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = &budget,
    };
    v->vk.GetPhysicalDeviceMemoryProperties2(v->physical.handle, &memory);
    uint64_t available = 0;
    for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++)
        if ((memory.memoryProperties.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
            budget.heapBudget[i] > budget.heapUsage[i])
            available += budget.heapBudget[i] - budget.heapUsage[i];
    return available;
}
