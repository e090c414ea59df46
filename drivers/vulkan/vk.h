/*
 * What the files of the Vulkan driver share. The loader is opened at run time, so every call goes
 * through one table of functions; nothing links to libvulkan.
 *
 * loader.c   finds the functions, makes the instance, puts results into words
 * list.c     what a physical device can do; the list of devices
 * device.c   open and close, queues chosen, the user's own device
 * memory.c   allocations, imports, flush and invalidate
 * share.c    memory for other processes and APIs, and theirs
 * queue.c    recording, submitting, seeing that a submission has ended
 * kernel.c   the compute kernels that copy and fill
 * event.c    waiting, waking, events for external work
 * interop.c  ferry/vulkan.h
 */
#ifndef FERRY_DRIVERS_VULKAN_VK_H
#define FERRY_DRIVERS_VULKAN_VK_H

#define VK_NO_PROTOTYPES
#include "base/base.h"
#include "base/pace.h"
#include "driver.h"

#include <ferry/vulkan.h>
#include <vulkan/vulkan_core.h>

enum {
    VULKAN__QUEUES_MAX = 3,    /* upload, download, copy */
    VULKAN__SHARING_MAX = 8,   /* families that share buffers */
    VULKAN__FAMILIES_MAX = 32, /* families beyond are not looked at */
    VULKAN__REGIONS_MAX = 128, /* regions of one copy command */
    /* Vulkan sets no limit; drivers keep lengths in 32 bits, some of them signed. */
    VULKAN__MAX_COPY = 1 << 29,
    VULKAN__KERNELS = 3, /* by enum ferry__command_kind */
    VULKAN__BLOCKS_MAX = 1 << 20,
    VULKAN__BLOCK_SIZE_MAX = 32 << 10, /* the longest is a team's work: a tail of a launch */
    VULKAN__KERNEL_GROUP = 256,        /* invocations */
    VULKAN__KERNEL_ALIGNMENT = 16,     /* they load and store words of it */
};

/* What a buffer is used for that kernels reach by its address. */
#define VULKAN__BY_ADDRESS \
    (VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT)

#define VULKAN__DMA_BUF VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT

/* --- loader.c --------------------------------------------------------------------------------- */

struct vulkan_functions {
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
#define FUNCTION(name) PFN_vk##name name;
#define GLOBAL FUNCTION
#define INSTANCE FUNCTION
#define DEVICE FUNCTION
#define OPTIONAL FUNCTION
#include "functions.inc"
#undef GLOBAL
#undef INSTANCE
#undef DEVICE
#undef OPTIONAL
#undef FUNCTION
};

struct vulkan_instance {
    struct vulkan_functions vk;
    VkInstance handle;
    uint32_t version; /* that it was made for */
};

/* Opens the loader, never closes it. FERRY_VULKAN_LIBRARY names another one. */
enum ferry_status ferry__vulkan_load(struct vulkan_functions *vk, char *why);
/* GetInstanceProcAddr is set. */
enum ferry_status ferry__vulkan_load_instance(struct vulkan_functions *vk, VkInstance instance,
                                              char *why);
enum ferry_status ferry__vulkan_load_device(struct vulkan_functions *vk, VkDevice device,
                                            char *why);
/* The process's own instance. */
enum ferry_status ferry__vulkan_instance(struct vulkan_instance *out_instance, char *why);

/* The status that a result amounts to; why: "vkX: VK_ERROR_Y". why may be NULL. */
enum ferry_status ferry__vulkan_result(VkResult result, const char *call, char *why);

/* --- list.c ----------------------------------------------------------------------------------- */

struct vulkan_physical {
    VkPhysicalDevice handle;
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
    char driver[VK_MAX_DRIVER_NAME_SIZE + VK_MAX_DRIVER_INFO_SIZE];
    enum ferry_device_kind kind;
    uint32_t api_version;
    uint8_t uuid[VK_UUID_SIZE];
    uint64_t max_memory_allocation; /* soft: larger ones may succeed */
    uint64_t max_buffer;            /* hard */
    uint64_t max_allocation_count;
    uint64_t import_granularity;             /* 0: no imports */
    bool import_addresses;                   /* the device's kernels may reach them */
    VkExternalMemoryHandleTypeFlags exports; /* what one allocation is given out as; 0: nothing */
    VkExternalMemoryHandleTypeFlags imports; /* what it takes in */
    bool dma_bufs;                           /* VK_EXT_external_memory_dma_buf */
    uint32_t atom;
    float timestamp_period; /* ns for each tick */
    bool timeline, address, query_reset;
    bool byte_storage;  /* shaders store single bytes */
    bool kernel_groups; /* a group of the kernels is not too large */
    bool budget;        /* VK_EXT_memory_budget */
    bool bus;           /* VK_EXT_pci_bus_info */
    char pci[16];       /* as in ferry__limits */
    bool unified;
    VkPhysicalDeviceMemoryProperties memory;
    uint32_t family_count;
    VkQueueFamilyProperties families[VULKAN__FAMILIES_MAX];
};

/* Which queue of which family does what. */
struct vulkan_queue_plan {
    uint32_t family, index;
    unsigned roles;
};

enum ferry_status ferry__vulkan_physical_read(const struct vulkan_functions *vk,
                                              VkPhysicalDevice handle, uint32_t instance_version,
                                              struct vulkan_physical *out_physical, char *why);
/* NULL, or the reason why the driver cannot use it. */
const char *ferry__vulkan_physical_refusal(const struct vulkan_physical *physical);
/* Those the driver can use, the best first: at least one, in an array for ferry__free. */
enum ferry_status ferry__vulkan_physical_all(const struct vulkan_instance *instance,
                                             struct vulkan_physical **out_all, size_t *out_count,
                                             char *why);
/* Bytes of the largest device-local heap; the sum of them. */
uint64_t ferry__vulkan_heap_largest(const struct vulkan_physical *physical);
uint64_t ferry__vulkan_heap_total(const struct vulkan_physical *physical);
/* The longest single buffer. */
uint64_t ferry__vulkan_buffer_max(const struct vulkan_physical *physical);
/* At most VULKAN__QUEUES_MAX entries; limit 0: as many as pay. */
uint32_t ferry__vulkan_plan_queues(const struct vulkan_physical *physical, uint32_t limit,
                                   struct vulkan_queue_plan *out_plan);
void ferry__vulkan_describe(const struct vulkan_physical *physical,
                            struct ferry_device_info *out_info);
enum ferry_status ferry__vulkan_list(struct ferry_device_info *infos, size_t capacity,
                                     size_t *out_count, char *why);

/* --- share.c, queues' part -------------------------------------------------------------------- */

/* What a submission touches of memory that others have too: of each buffer the bytes from the first
 * to the last. */
struct vulkan_shares {
    size_t count, capacity;
    struct vulkan_share {
        VkBuffer buffer;
        uint64_t begin, end;
    } * list;
};

/* --- device.c --------------------------------------------------------------------------------- */

/* One submission: its own command pool, so that recording needs no lock of the queue. */
struct vulkan_slot {
    struct vulkan_slot *next;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkQueryPool times; /* VK_NULL_HANDLE: no timestamps */
    bool timed, begun; /* begun: its command buffer is being recorded */
    uint64_t value;
    uint64_t bytes;
    unsigned kind;        /* of work, for the pace: enum ferry__command_kind of most of it */
    uint64_t expected_ns; /* when it should end; 0: not known */
    uint64_t alone_ns;    /* handed over then, with nothing before it; 0: there was */
    struct vulkan_shares shares;
    struct ferry__result *result;
};

struct vulkan_queue {
    VkQueue handle;
    uint32_t family;
    uint32_t timestamp_bits;
    uint32_t index;
    unsigned roles;
    bool runs_kernels;
    VkSemaphore event;
    pthread_mutex_t use;       /* vkQueueSubmit, with whoever else uses the queue */
    pthread_mutex_t lock;      /* guards the lists and the records of those in flight */
    struct vulkan_slot *free;  /* LIFO */
    struct vulkan_slot *next;  /* begun, for the next submission: of who submits */
    struct vulkan_slot *first; /* in flight, oldest first */
    struct vulkan_slot **last;
    struct ferry__pace pace;
    uint64_t submitted;       /* the last value handed to the device; guarded by lock */
    _Atomic uint64_t retired; /* records up to this value are written */
};

struct vulkan {
    struct vulkan_functions vk;
    struct vulkan_physical physical;
    VkInstance instance;
    VkDevice device;
    bool borrowed;                   /* the device is the user's */
    struct ferry_vulkan_device user; /* a wrapped device's functions and user, else zero */

    enum ferry_map map_private;
    uint64_t mapped_max; /* with AUTO, of an allocation on a discrete device */
    bool address;        /* buffers have device addresses */
    bool byte_storage;
    bool query_reset;
    uint64_t timed_from;   /* submissions of this many bytes get timestamps */
    bool any_blocks;       /* waiting for any of several semaphores sleeps */
    uint32_t family_count; /* distinct families that share buffers */
    uint32_t families[VULKAN__SHARING_MAX];
    uint32_t queue_count;
    struct vulkan_queue queues[VULKAN__QUEUES_MAX];

    VkPipelineLayout kernel_layout; /* VK_NULL_HANDLE: there are no kernels */
    VkPipeline kernels[VULKAN__KERNELS];
    uint64_t kernel_copy_from;

    _Atomic bool lost;
    _Atomic uint64_t allocated;        /* bytes of device-local memory */
    _Atomic uint64_t allocation_count; /* the driver's own */

    struct {
        pthread_mutex_t lock; /* guards all of it */
        pthread_cond_t cond;
        uint64_t calls, seen;  /* of wake */
        unsigned on_semaphore; /* threads in vkWaitSemaphores */
        VkSemaphore semaphore;
        uint64_t value;
    } wake;
    pthread_mutex_t signal_lock; /* event_signal: reading and raising are one step */
};

enum ferry_status ferry__vulkan_open(const struct ferry__open_params *params, void **out_state,
                                     struct ferry__limits *out_limits, char *why);
void ferry__vulkan_close(void *state);
enum ferry_status ferry__vulkan_status(void *state);

/* The functions and the facts of the user's own device; the user's structure is checked. */
enum ferry_status ferry__vulkan_read_user(const struct ferry_vulkan_device *user,
                                          struct vulkan_functions *out_vk,
                                          struct vulkan_physical *out_physical, char *why);

/* As ferry__vulkan_result; a device that is lost stays lost, and whoever waits is woken. */
enum ferry_status ferry__vulkan_fail(struct vulkan *v, VkResult result, const char *call,
                                     char *why);
void ferry__vulkan_lose(struct vulkan *v);

/* --- memory.c --------------------------------------------------------------------------------- */

/* ferry__memory's native object: also what a wrapped buffer has. */
struct vulkan_memory {
    VkBuffer buffer;
    VkDeviceMemory memory; /* VK_NULL_HANDLE: the user's own buffer */
    bool borrowed;
    bool shared;      /* others may have it too, by a descriptor */
    uint64_t counted; /* bytes of device-local memory that this takes */
    uint64_t address; /* for the kernels; 0: they cannot reach it */
    uint64_t size;    /* of the device memory */
    int kept;         /* of what was imported: its descriptor and 1; 0: none */
    VkExternalMemoryHandleTypeFlagBits kept_handle;
};

/* A buffer on device memory of its own. */
struct vulkan_wanted {
    enum ferry__memory_kind use;
    uint64_t size;                     /* of the buffer */
    const void *of_buffer, *of_memory; /* what sharing adds to the making of each; NULL: nothing */
    bool one_type;                     /* that follows from the device alone, as others find it */
    uint32_t types;                    /* it must be of; 0: any */
    uint64_t given;                    /* bytes of memory that is there already; 0: none */
    bool *taken;                       /* set once Vulkan has that memory; NULL: none is given */
};
enum ferry_status ferry__vulkan_memory_make(struct vulkan *v, const struct vulkan_wanted *wanted,
                                            struct ferry__memory *out_memory, char *why);
/* Of all memory that the library gives out. */
VkBufferUsageFlags ferry__vulkan_usage(bool address);

enum ferry_status ferry__vulkan_memory_alloc(void *state, enum ferry__memory_kind use,
                                             uint64_t size, const char *label,
                                             struct ferry__memory *out_memory, char *why);
void ferry__vulkan_memory_free(void *state, struct ferry__memory *memory);
/* A part of the user's own buffer, for ferry__vulkan_memory_free. */
enum ferry_status ferry__vulkan_memory_wrap(const struct vulkan *v,
                                            const struct ferry_vulkan_buffer *wrapped,
                                            struct ferry__memory *out_memory, char *why);
enum ferry_status ferry__vulkan_host_import(void *state, void *host, uint64_t size, bool read_only,
                                            struct ferry__memory *out_memory, char *why);
/* Can the pages be written? Where the kernel cannot tell: is the import not for reading only? */
bool ferry__vulkan_may_write(void *host, uint64_t size, bool read_only);
enum ferry_status ferry__vulkan_flush(void *state, const struct ferry__memory *memory,
                                      uint64_t offset, uint64_t size);
enum ferry_status ferry__vulkan_invalidate(void *state, const struct ferry__memory *memory,
                                           uint64_t offset, uint64_t size);
uint64_t ferry__vulkan_memory_available(void *state);

/* --- share.c ---------------------------------------------------------------------------------- */

extern const struct ferry__sharing ferry__vulkan_sharing;
/* Sets exports and imports; the device has VK_KHR_external_memory_fd. */
void ferry__vulkan_share_read(const struct vulkan_functions *vk, struct vulkan_physical *physical);
/* What these commands touch of it, for the two below. False: no host memory. */
bool ferry__vulkan_shares_find(struct vulkan_shares *shares, const struct ferry__command *commands,
                               size_t count);
void ferry__vulkan_shares_finish(struct vulkan_shares *shares);
/* Takes it over from the others, and gives it back to them: Vulkan's transfers of ownership from
 * and to the external family. */
void ferry__vulkan_shares_acquire(const struct vulkan *v, uint32_t family, VkCommandBuffer to,
                                  const struct vulkan_shares *shares);
void ferry__vulkan_shares_release(const struct vulkan *v, uint32_t family, VkCommandBuffer to,
                                  const struct vulkan_shares *shares);

/* --- queue.c ---------------------------------------------------------------------------------- */

enum ferry_status ferry__vulkan_queue_init(struct vulkan *v, struct vulkan_queue *queue,
                                           const struct vulkan_queue_plan *plan, char *why);
void ferry__vulkan_queue_finish(struct vulkan *v, struct vulkan_queue *queue);
enum ferry_status ferry__vulkan_submit(void *state, const struct ferry__submission_info *info,
                                       char *why);
/* The lock of a queue that others may use too: the user's, or the driver's own. */
void ferry__vulkan_queue_lock(struct vulkan *v, struct vulkan_queue *queue);
void ferry__vulkan_queue_unlock(struct vulkan *v, struct vulkan_queue *queue);
/* Writes the records of what has ended; returns the value up to which they are written. */
uint64_t ferry__vulkan_queue_retire(struct vulkan *v, struct vulkan_queue *queue);
/* When the work of this value should end; 0: not known. */
uint64_t ferry__vulkan_queue_expected(struct vulkan_queue *queue, uint64_t value);

/* --- kernel.c --------------------------------------------------------------------------------- */

/* FERRY_VULKAN_ENGINE: what carries out the copies on the device. */
enum vulkan_engine { VULKAN_ENGINE_AUTO, VULKAN_ENGINE_COPY, VULKAN_ENGINE_KERNEL };

enum vulkan_engine ferry__vulkan_engine(void);
enum ferry_status ferry__vulkan_kernels_make(struct vulkan *v, char *why);
void ferry__vulkan_kernels_free(struct vulkan *v);
uint64_t ferry__vulkan_kernel_address(const struct ferry__memory *memory);
/* Records the first of the commands, an ENGINE_KERNEL, and those behind it that are one dispatch
 * with it; its memories have addresses. How many. */
size_t ferry__vulkan_kernel_put(const struct vulkan *v, VkCommandBuffer to,
                                const struct ferry__command *commands, size_t count);

/* --- event.c ---------------------------------------------------------------------------------- */

enum ferry_status ferry__vulkan_wake_init(struct vulkan *v, char *why);
void ferry__vulkan_wake_finish(struct vulkan *v);
enum ferry_status ferry__vulkan_semaphore(struct vulkan *v, VkSemaphore *out_semaphore, char *why);
/* The semaphore's value; a device lost: latched, and false. */
bool ferry__vulkan_counter(struct vulkan *v, VkSemaphore semaphore, uint64_t *out_value);
uint64_t ferry__vulkan_completed(void *state, uint64_t event);
void ferry__vulkan_wait_any(void *state, const struct ferry_sync *points, size_t count,
                            uint64_t timeout_ns);
void ferry__vulkan_wake(void *state);
enum ferry_status ferry__vulkan_event_create(void *state, uint64_t *out_event, char *why);
void ferry__vulkan_event_destroy(void *state, uint64_t event);
void ferry__vulkan_event_signal(void *state, uint64_t event, uint64_t value);

/* The number by which Ferry knows a semaphore: the same as ferry_vulkan_semaphore undoes. */
static inline uint64_t vulkan_event(VkSemaphore semaphore)
{
    return (uint64_t)(uintptr_t)semaphore;
}

#endif
