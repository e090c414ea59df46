/* A buffer. */
#ifndef FERRY_ENGINE_BUFFER_H
#define FERRY_ENGINE_BUFFER_H

#include "base/list.h"
#include "engine/failure.h"
#include "engine/order.h"
#include "memory/pool.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

struct ferry__memory;
struct ferry__op;
struct ferry_device;

#define FERRY__BUFFER_FAILED (UINT64_C(1) << 62)

/* What each operation looks at comes first: of many buffers few are in the caches. */
struct ferry_buffer {
    /* Operations in flight, plus FERRY__BUFFER_FAILED. Zero: the direct path may be taken. Written
     * under device->lock. */
    _Atomic uint64_t word;
    struct ferry_device *device;
    size_t size;
    unsigned char *host; /* where the CPU reaches it, NULL: nowhere */
    _Atomic unsigned refs;
    enum ferry_storage storage : 8;
    bool direct_write, direct_read; /* transfers may take the direct path */
    bool window; /* downloads may up to direct_read_max: the CPU reads uncached memory */
    bool cpu;    /* copies and fills may */
    /* Under device->lock: */
    bool zombie;                       /* the device is closed: good for destroy only */
    struct ferry__order order;         /* of the operations in flight */
    struct ferry__intervals questions; /* who asked for a ticket of all that is in flight */
    struct ferry__failures failures;
    struct ferry__link of_device; /* of device->buffers */
    /* They do not change, but for the label. */
    const struct ferry__memory *memory;
    uint64_t offset; /* in memory */
    struct ferry__place place;
    char *label;
    void (*release)(void *user); /* of a wrapped native buffer */
    void *release_user;
};

const char *ferry__label(const struct ferry_buffer *buffer);

/* A private buffer of a part of the user's own native buffer: memory lives until release is called,
 * with user, when the buffer is destroyed and idle. */
enum ferry_status ferry__buffer_wrap(struct ferry_device *device,
                                     const struct ferry__memory *memory, uint64_t size,
                                     void (*release)(void *user), void *user,
                                     ferry_buffer **out_buffer);

/* The status of the first bytes of it that have failed, with their reason; OK: none have. */
enum ferry_status ferry__buffer_well(struct ferry_buffer *buffer);
void ferry__buffer_ref(struct ferry_buffer *buffer);
void ferry__buffer_unref(struct ferry_buffer *buffer); /* not under device->lock */
void ferry__buffer_ref_times(struct ferry_buffer *buffer, unsigned times);
void ferry__buffer_unref_times(struct ferry_buffer *buffer, unsigned times); /* likewise */
void ferry__buffer_link(struct ferry_buffer *buffer);

#endif
