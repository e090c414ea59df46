/* What the files of the strict Vulkan share. One lock guards everything. */
#ifndef STRICTVK_STRICT_H
#define STRICTVK_STRICT_H

#define VK_NO_PROTOTYPES
#include "strictvk.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vulkan/vulkan_core.h>

#define EXPORT __attribute__((visibility("default")))

enum { QUEUES_MAX = 64, REAL_FAMILY = 0 };

/* --- config.c --------------------------------------------------------------------------------- */

enum memory_kind { MEMORY_PLAIN, MEMORY_PRIVATE, MEMORY_NONCOHERENT, MEMORY_BAR };
enum import_kind { IMPORT_AS_IS, IMPORT_STRICT, IMPORT_NONE };

struct config {
    int kind; /* VkPhysicalDeviceType, -1: as it is */
    int memory, import;
    uint64_t coherent, heap, allocation, count, atom, granularity;
    uint64_t queues, transfer, delay, budget, validate, collect, reads, dmabuf;
    char fail_call[64];
    uint64_t fail_at;
    int fail_result;
    uint64_t lose, drop;
    char pci[16]; /* where it is on the bus; "": it does not say */
};

extern struct config config;
extern pthread_mutex_t lock;

void report(enum strictvk_rule rule, const char *format, ...) __attribute__((format(printf, 2, 3)));
void config_init(void); /* from the environment, once */
/* Is this call to fail? Counts it. Not under the lock. */
bool fails(const char *call, VkResult *out_result);

/* --- entry.c ---------------------------------------------------------------------------------- */

/* The real functions: the loader's own, which find the device by its handle. */
struct real {
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
#define REAL(name) PFN_vk##name name;
#include "real.inc"
#undef REAL
};
extern struct real real;

/* --- memory.c, queue.c, order.c: the functions that stand in for Vulkan's --------------------- */

#define WRAPPED(name) __typeof__(*(PFN_vk##name)NULL) strict_##name;
#include "wrapped.inc"
#undef WRAPPED

void memory_reset(void);
void queue_reset(void);
void order_reset(void);

/* --- memory.c --------------------------------------------------------------------------------- */

bool buffer_host_reaches(VkBuffer buffer);
/* Where the host has the pages that the buffer's memory was imported from; 0: it was not. */
uint64_t buffer_imported(VkBuffer buffer);
bool buffer_shared_with(VkBuffer buffer, uint32_t family);
/* Made for memory that others have too? Then: which family takes it over from them, on a queue of this
 * one. */
bool buffer_external(VkBuffer buffer, uint32_t family, uint32_t *out_ours);
/* The buffer that holds all of these addresses; VK_NULL_HANDLE: none. */
VkBuffer buffer_at(uint64_t address, uint64_t size, uint64_t *out_offset);
/* What the device sees at an address that the host has mapped; NULL: it has not. */
const void *bytes_at(uint64_t address, uint64_t size);

/* All types of memory that the device now tells of, as bits. */
uint32_t memory_types(void);

/* --- share.c ---------------------------------------------------------------------------------- */

enum { SHARE_LINKS = 4 };
struct share_chain {
    const void *first;
    union share_link {
        VkBaseInStructure base;
        VkExternalMemoryBufferCreateInfo buffer;
        VkExportMemoryAllocateInfo exported;
        VkImportMemoryFdInfoKHR imported;
        VkMemoryAllocateFlagsInfo flags;
    } links[SHARE_LINKS];
};
/* The chain with opaque descriptors for DMA-BUFs; it lies in room. */
const void *share_chain(const void *chain, struct share_chain *room);
/* Is what the chain imports, if anything, of the kind that it is called? Under the lock. */
bool share_takes(const void *chain);

struct queue;
struct recorded;
/* Does the barrier pass memory on, from others or to them? Then: what is recorded. */
bool share_passes(const VkBufferMemoryBarrier *barrier, struct recorded *out);
/* The barriers as the real device takes them: the caller frees them. */
VkBufferMemoryBarrier *share_barriers(const VkBufferMemoryBarrier *barriers, uint32_t count);
/* The commands of a submission: is what others have passed on as the rule says? Under the lock. */
void share_judge(const struct queue *queue, const struct recorded *list, size_t count);

/* --- watch.c, fault_*.c ----------------------------------------------------------------------- */

struct watched {
    unsigned char *device, *host; /* the same memory, as the device and as the host sees it */
    uint64_t size;
    struct watched *next;
};

struct watched *watch_make(uint64_t size); /* NULL: no memory */
void watch_drop(struct watched *watched);
/* From here on every page is watched again. */
void watch_again(void);

/* Does the processor tell whether a page fault was by a write? Then: was it? */
bool fault_tells(void);
bool fault_writes(const void *context);

/* --- queue.c ---------------------------------------------------------------------------------- */
bool family_computes(uint32_t family);

struct queue {
    VkDevice device;
    VkQueue handle; /* the real one */
    uint32_t family, index;
    unsigned id;
    uint64_t submitted;          /* submissions so far */
    uint64_t clock[QUEUES_MAX];  /* of the last one: which of each queue came before it */
    uint64_t waited[QUEUES_MAX]; /* of those, which are done before it begins */
    struct held *first, **last;
};

/* A submission that waits its turn: a copy of the driver's. */
struct held {
    struct held *next;
    uint64_t looks;                  /* to be held back still */
    uint64_t host_clock[QUEUES_MAX]; /* what the host had seen to be done when it submitted */
    uint32_t wait_count, command_count, signal_count;
    VkSemaphore *waits, *signals;
    uint64_t *wait_values, *signal_values;
    VkCommandBuffer *commands;
    VkFence fence;
};

bool device_lost(void);
/* Is there a submission that waits its turn, and uses the buffer (VK_NULL_HANDLE: any)? Under the
 * lock. */
bool queue_holds(VkBuffer buffer);
void lose_device(void);
/* Hands over what may run now. Under the lock. */
void pump(void);

/* --- order.c: which command comes after which ------------------------------------------------- */

enum kind {
    RECORDED_COPY,
    RECORDED_FILL,
    RECORDED_BARRIER,
    RECORDED_ACQUIRE, /* of dst, from others */
    RECORDED_RELEASE,
};

struct recorded {
    enum kind kind;
    bool kernel; /* what does it: no transfer command */
    VkBuffer src, dst;
    uint64_t src_offset, dst_offset, size; /* of one region */
    uint32_t call;                         /* regions of one command have the same */
    VkPipelineStageFlags src_stages, dst_stages;
    VkAccessFlags src_access, dst_access;
    uint32_t family; /* that acquires or releases */
};

/* All under the lock. */
void order_host_clock(uint64_t *out_clock);
void order_run(struct queue *queue, const struct held *held);
void order_host_signal(VkSemaphore semaphore, uint64_t value);
bool order_uses(VkCommandBuffer commands, VkBuffer buffer);
void order_observed(VkSemaphore semaphore, uint64_t value);
void order_queue_gone(unsigned id);
void order_buffer_gone(VkBuffer buffer, const char *what);

#endif
