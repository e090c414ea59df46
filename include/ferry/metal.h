/*
 * Ferry and your own Metal: hands out what Ferry's buffers are made of, and wraps a device, a queue
 * and buffers that are yours. Read ferry/ferry.h first; docs/metal.md shows the whole.
 *
 * Plain C: an object is a pointer, (__bridge void *)object in Objective-C. Objects that Ferry gives
 * are borrowed, not retained for you: good for as long as the Ferry object that gave them.
 */
#ifndef FERRY_METAL_H
#define FERRY_METAL_H

#include <ferry/ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------------
 * Devices
 * --------------------------------------------------------------------------------------------- */

struct ferry_metal_device {
    void *device; /* id<MTLDevice> */
    void *queue;  /* id<MTLCommandQueue> of that device; to wrap: NULL makes Ferry's own */
    /* NULL, or: called once when Ferry, having closed, is done with both; must not call Ferry. */
    void (*release)(void *user);
    void *user;
    uint64_t reserved[8]; /* zero */
};

/*
 * Opens a Ferry device on your own MTLDevice, and your own queue if you name one: Ferry then has at
 * most 32 command buffers in it, the one that it is making included; make it with room for more. Both are borrowed until ferry_device_close
 * has returned. The structure is read during the call. params: as for ferry_device_open; its name
 * is ignored; NULL: all zero. NO_DEVICE where there is no Metal.
 */
FERRY_CHECK enum ferry_status ferry_metal_device_wrap(const struct ferry_metal_device *wrapped,
                                                      const struct ferry_device_params *params,
                                                      ferry_device **out_device);

/* What a Ferry device is made of: its MTLDevice, and the queue that copies between buffers, which
 * you may commit to as well: of Ferry's own queues 16 command buffers at a time are yours. release and user are NULL. UNSUPPORTED on another driver's device. */
FERRY_CHECK enum ferry_status ferry_metal_device_get(ferry_device *device,
                                                     struct ferry_metal_device *out_device);

/* ---------------------------------------------------------------------------------------------
 * Buffers
 * --------------------------------------------------------------------------------------------- */

struct ferry_metal_buffer {
    void *buffer;  /* id<MTLBuffer> */
    size_t offset; /* handed out: a multiple of FERRY_BUFFER_ALIGNMENT */
    size_t size;
    uint64_t reserved[4]; /* zero */
};

/*
 * The MTLBuffer of a Ferry buffer, good until the Ferry buffer is destroyed. Other Ferry buffers
 * may live in the same MTLBuffer: keep to [offset, offset + size). Take your place in Ferry's order
 * with ferry_external_begin before your work touches it. UNSUPPORTED on another driver's buffer.
 */
FERRY_CHECK enum ferry_status ferry_metal_buffer_get(ferry_buffer *buffer,
                                                     struct ferry_metal_buffer *out_buffer);

/*
 * Makes a private Ferry buffer of a part of your own MTLBuffer, of any storage mode, whose hazards
 * Metal tracks (an untracked one, as from a heap, is UNSUPPORTED). Of managed storage Ferry moves
 * the GPU's copy: didModifyRange: and synchronizeResource: are yours. offset is a multiple of
 * FERRY_BUFFER_ALIGNMENT. Borrowed until the Ferry buffer is destroyed and idle: then release, if
 * any, is called once, with user; it must not call Ferry. Past the end of the MTLBuffer:
 * OUT_OF_RANGE; of another MTLDevice: INVALID_ARGUMENT. A size that is no multiple of 4, where the
 * kernels do not compile: UNSUPPORTED.
 */
FERRY_CHECK enum ferry_status ferry_metal_buffer_wrap(ferry_device *device,
                                                      const struct ferry_metal_buffer *wrapped,
                                                      void (*release)(void *user), void *user,
                                                      ferry_buffer **out_buffer);

/* ---------------------------------------------------------------------------------------------
 * External work
 * --------------------------------------------------------------------------------------------- */

/* The id<MTLSharedEvent> of a wait or a signal that ferry_external_begin gave: encode each wait
 * with encodeWaitForEvent:value: before your work, the signal with encodeSignalEvent:value: after. */
static inline void *ferry_metal_event(struct ferry_sync sync)
{
    return (void *)(uintptr_t)sync.event;
}

#ifdef __cplusplus
}
#endif

#endif
