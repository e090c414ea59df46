/*
 * A strict Vulkan: a shared library that stands between the driver and the real loader
 * (FERRY_VULKAN_LIBRARY names it), and makes a software device behave like the hardware that is not
 * there: memory that the host cannot map or that is not coherent, copy engines, refused imports,
 * limits, failures. It looks for mistakes that a software device forgives.
 *
 * Options are words with commas between, in the environment's STRICTVK or by strictvk_set:
 *
 *   kind=cpu|discrete|integrated|virtual   what the device calls itself
 *   memory=plain|private|noncoherent|bar   plain: as the real device. private: the host maps no
 *                   device-local memory. noncoherent: as private, and cached memory is not
 *                   coherent. bar: all device-local memory can be mapped, and is not cached
 *   reads=1         (bar only) the CPU's reads of such memory are reports. System calls cannot touch
 *                   it then. On x86-64; nothing elsewhere
 *   coherent=BYTES  size of the heap of coherent host memory (noncoherent only)
 *   heap=BYTES      size of the device-local heap, which is kept to
 *   allocation=BYTES, count=N              the largest allocation, the most at a time
 *   atom=N          nonCoherentAtomSize
 *   queues=N        queues of the general family
 *   transfer=N      adds a family of N queues that only transfer
 *   delay=N         submissions of a queue are held back up to N looks, so that queues run in
 *                   another order than handed over, unless semaphores say so
 *   import=strict|none|as_is, granularity=N   strict: imports that overlap others are refused
 *   budget=1        VK_EXT_memory_budget, from the strict Vulkan's own books
 *   pci=0000:3b:00.0   VK_EXT_pci_bus_info: the device says that it is there
 *   dmabuf=1        VK_EXT_external_memory_dma_buf, by opaque descriptors of the real device
 *   fail=CALL:N:RESULT  the N-th call (1: the next) of CALL fails; any: of any call that can fail
 *   lose=N          the N-th vkQueueSubmit loses the device; drop=N: it is accepted, and then lost
 *   validate=1|2    the validation layer's messages are reports too; 2: synchronisation as well
 *   collect=1       reports are kept for strictvk_reports; else they end the program
 */
#ifndef STRICTVK_H
#define STRICTVK_H

#include <stdbool.h>
#include <stdint.h>

/* Rules that a report names. */
#define STRICTVK_RULES(RULE)                                                                     \
    RULE(BARRIER, "barrier: a command touches what one before it wrote, or writes what it read") \
    RULE(QUEUE, "queue: a command of another queue is not waited for")                           \
    RULE(HOST, "host: a write to memory that the host reaches has no barrier to the host")       \
    RULE(ALIAS, "alias: what is written through one import is touched through another")          \
    RULE(OVERLAP, "overlap: the regions of one copy overlap")                                    \
    RULE(SHARING, "sharing: a buffer is used by a family that it is not shared with")            \
    RULE(OWNER, "owner: memory of others, too, is not acquired from them, or not released")      \
    RULE(IN_USE, "in use: destroyed while the device may still use it")                          \
    RULE(KERNEL, "kernel: it reaches beyond a buffer, or runs on a family without compute")      \
    RULE(MAP, "map: memory that the host cannot map")                                            \
    RULE(ALONE, "alone: memory of 1 MiB and more for any buffer, which a card makes slowly")     \
    RULE(READ, "read: the host reads memory of the device that is not cached")                   \
    RULE(ATOM, "atom: a flush or invalidate of no whole atoms")                                  \
    RULE(VALUE, "value: a timeline semaphore is raised to a value it has passed")                \
    RULE(VALIDATION, "validation: a message of the validation layer")                            \
    RULE(OTHER, "other: a call that the strict Vulkan could not carry out")

enum strictvk_rule {
#define RULE(name, text) STRICTVK_##name,
    STRICTVK_RULES(RULE)
#undef RULE
        STRICTVK_RULE_COUNT
};

/* Found by dlsym: all options anew, counters and reports from 0. NULL: the environment's. Only
 * while no device is open. Returns 0, or -1 for an option it does not know. */
typedef int (*strictvk_set_fn)(const char *options);

/* How often a rule was broken since strictvk_set. */
typedef unsigned (*strictvk_reports_fn)(enum strictvk_rule rule);

/* How many calls that can fail there were since strictvk_set. */
typedef unsigned (*strictvk_calls_fn)(void);

/* strictvk_event_signal, strictvk_event_wait: what the user's own Vulkan would do with a semaphore,
 * by its number in Ferry; false: there is none, or its device is lost. */
typedef bool (*strictvk_event_fn)(uint64_t event, uint64_t value);

#endif
