/*
 * Ferry and your own Vulkan: hands out the Vulkan objects that Ferry's buffers are made of, and
 * wraps a device, a queue and buffers of yours. Read ferry/ferry.h first; docs/vulkan.md shows the
 * whole.
 *
 * Needs Vulkan's headers to build, and no extra library to link: Ferry opens the loader at run
 * time. Handles that Ferry gives are borrowed: valid as long as the Ferry object that gave them.
 */
#ifndef FERRY_VULKAN_H
#define FERRY_VULKAN_H

#include <ferry/ferry.h>
#include <vulkan/vulkan_core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------------
 * Devices
 * --------------------------------------------------------------------------------------------- */

/* Called around every use of the queue; may be called from any thread, and must not call Ferry. */
typedef void (*ferry_vulkan_lock_fn)(void *user, uint32_t queue_family, uint32_t queue_index);

struct ferry_vulkan_device {
    VkInstance instance;
    VkPhysicalDevice physical_device;
    VkDevice device;
    /* NULL: the one from libvulkan.so.1, opened at run time. */
    PFN_vkGetInstanceProcAddr get_instance_proc_addr;
    uint32_t api_version; /* of VkApplicationInfo: VK_API_VERSION_1_2 at least */
    /* What the device was created with: extensions by name, and the chain of features that went
     * into VkDeviceCreateInfo. Ferry needs timelineSemaphore. If they are there, it also uses
     * bufferDeviceAddress with storageBuffer8BitAccess (for its compute kernels), hostQueryReset,
     * VK_EXT_external_memory_host and VK_EXT_memory_budget. */
    const char *const *extensions;
    uint32_t extension_count;
    const VkPhysicalDeviceFeatures2 *features;
    /* The queue for Ferry to use: its family supports compute or graphics, and it was created
     * without flags. Ferry's buffers are shared concurrently with the families listed here too. */
    uint32_t queue_family, queue_index;
    const uint32_t *sharing_families;
    uint32_t sharing_family_count;
    /* Both or neither. Neither: nobody else uses the queue while Ferry has it. */
    ferry_vulkan_lock_fn lock_queue, unlock_queue;
    /* Called once, after Ferry has closed and is done with all of the above. May be NULL. */
    void (*release)(void *user);
    void *user;
    uint64_t reserved[8]; /* zero */
};

/*
 * Opens a Ferry device on your own Vulkan device, which is borrowed until ferry_device_close has
 * returned (release tells you too). The structure and what it points to are read during the call.
 * params: as for ferry_device_open, but its name is ignored; NULL: all zero. UNSUPPORTED, with the
 * reason: no timelineSemaphore, or a Vulkan older than 1.2.
 */
FERRY_CHECK enum ferry_status ferry_vulkan_device_wrap(const struct ferry_vulkan_device *wrapped,
                                                       const struct ferry_device_params *params,
                                                       ferry_device **out_device);

/*
 * What a Ferry device is made of: instance, physical device, device, loader, the version, and the
 * family and index of the queue that copies between buffers. lock_queue and unlock_queue, called
 * with user, take and release the lock that Ferry holds while it submits to that queue, so that you
 * can share the queue. extensions, features, sharing_families and release are left zero.
 * UNSUPPORTED on another driver's device.
 */
FERRY_CHECK enum ferry_status ferry_vulkan_device_get(ferry_device *device,
                                                      struct ferry_vulkan_device *out_device);

/* ---------------------------------------------------------------------------------------------
 * Buffers
 * --------------------------------------------------------------------------------------------- */

struct ferry_vulkan_buffer {
    VkBuffer buffer;
    VkDeviceSize offset; /* handed out: a multiple of FERRY_BUFFER_ALIGNMENT */
    VkDeviceSize size;
    VkDeviceAddress address; /* of the whole VkBuffer; 0: none */
    uint64_t reserved[3];
};

/*
 * The native buffer of a Ferry buffer, valid until the Ferry buffer is destroyed. Other Ferry
 * buffers may live in the same VkBuffer: stay within [offset, offset + size). Its usage is
 * transfer, storage, uniform, and device address if the device supports that. Take your place in
 * Ferry's order with ferry_external_begin before your work touches it. UNSUPPORTED on another
 * driver's buffer.
 */
FERRY_CHECK enum ferry_status ferry_vulkan_buffer_get(ferry_buffer *buffer,
                                                      struct ferry_vulkan_buffer *out_buffer);

/*
 * Makes a private Ferry buffer from a part of your own VkBuffer, which must be bound to memory,
 * have both transfer usages, and be shared concurrently by the families used, or belong to Ferry's
 * family alone. offset must be a multiple of FERRY_BUFFER_ALIGNMENT. Where address is not 0, Ferry's
 * kernels copy and fill it, too: the buffer has the usage SHADER_DEVICE_ADDRESS, address is what
 * vkGetBufferDeviceAddress gives, a multiple of 16, and of the memory that it is bound to kernels may
 * read up to the next multiple of 16 behind its end. Vulkan's commands alone do it else, and where
 * the device has no kernels. The VkBuffer is borrowed until the Ferry buffer is destroyed and idle.
 * Then release, if given, is called once, with user; it must not call Ferry.
 */
FERRY_CHECK enum ferry_status ferry_vulkan_buffer_wrap(ferry_device *device,
                                                       const struct ferry_vulkan_buffer *wrapped,
                                                       void (*release)(void *user), void *user,
                                                       ferry_buffer **out_buffer);

/* ---------------------------------------------------------------------------------------------
 * External work
 * --------------------------------------------------------------------------------------------- */

/* The timeline semaphore of a wait or a signal that ferry_external_begin gave. */
static inline VkSemaphore ferry_vulkan_semaphore(struct ferry_sync sync)
{
#if defined(VK_USE_64_BIT_PTR_DEFINES) && VK_USE_64_BIT_PTR_DEFINES
    return (VkSemaphore)(uintptr_t)sync.event;
#else
    return (VkSemaphore)sync.event;
#endif
}

#ifdef __cplusplus
}
#endif

#endif
