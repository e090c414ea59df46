/*
 * Ferry and your own Metal: hands out the Metal objects that Ferry's buffers are made of, and wraps
 * a device, a queue and buffers of yours. Read ferry/ferry.h first; docs/metal.md shows the whole.
 *
 * Plain C: an object is a pointer, (__bridge void *)object in Objective-C. Objects that Ferry gives
 * are borrowed, not retained for you: valid as long as the Ferry object that gave them.
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
    void *queue;  /* id<MTLCommandQueue> of that device; when wrapping, NULL: Ferry makes its own */
    /* Called once, after Ferry has closed and is done with both. Must not call Ferry. May be
     * NULL. */
    void (*release)(void *user);
    void *user;
    uint64_t reserved[8]; /* zero */
};

/*
 * Opens a Ferry device on your own MTLDevice, and on your own queue if you give one. Ferry then has
 * at most 32 command buffers in that queue, including the one that it is encoding; create the queue
 * with room for more. Both are borrowed until ferry_device_close has returned. The structure is
 * read during the call. params: as for ferry_device_open, but its name is ignored; NULL: all zero.
 * NO_DEVICE: there is no Metal.
 */
FERRY_CHECK enum ferry_status ferry_metal_device_wrap(const struct ferry_metal_device *wrapped,
                                                      const struct ferry_device_params *params,
                                                      ferry_device **out_device);

/* What a Ferry device is made of: its MTLDevice, and the queue that copies between buffers. You may
 * commit to that queue as well: if it is Ferry's own, 16 command buffers at a time are yours.
 * release and user are NULL. UNSUPPORTED on another driver's device. */
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
 * The MTLBuffer of a Ferry buffer, valid until the Ferry buffer is destroyed. Other Ferry buffers
 * may live in the same MTLBuffer: stay within [offset, offset + size). Take your place in Ferry's
 * order with ferry_external_begin before your work touches it. UNSUPPORTED on another driver's
 * buffer.
 */
FERRY_CHECK enum ferry_status ferry_metal_buffer_get(ferry_buffer *buffer,
                                                     struct ferry_metal_buffer *out_buffer);

/*
 * Makes a private Ferry buffer from a part of your own MTLBuffer. It may have any storage mode, but
 * Metal must track its hazards (an untracked one, as from a heap, is UNSUPPORTED). With managed
 * storage, Ferry moves the GPU's copy: didModifyRange: and synchronizeResource: are up to you.
 * offset must be a multiple of FERRY_BUFFER_ALIGNMENT. The MTLBuffer is borrowed until the Ferry
 * buffer is destroyed and idle. Then release, if given, is called once, with user; it must not call
 * Ferry. OUT_OF_RANGE: past the end of the MTLBuffer. INVALID_ARGUMENT: it belongs to another
 * MTLDevice. UNSUPPORTED: the size is not a multiple of 4, and the kernels do not compile.
 */
FERRY_CHECK enum ferry_status ferry_metal_buffer_wrap(ferry_device *device,
                                                      const struct ferry_metal_buffer *wrapped,
                                                      void (*release)(void *user), void *user,
                                                      ferry_buffer **out_buffer);

/* ---------------------------------------------------------------------------------------------
 * External work
 * --------------------------------------------------------------------------------------------- */

/* The id<MTLSharedEvent> of a wait or a signal that ferry_external_begin gave. Encode each wait
 * with encodeWaitForEvent:value: before your work, and the signal with encodeSignalEvent:value:
 * after. */
static inline void *ferry_metal_event(struct ferry_sync sync)
{
    return (void *)(uintptr_t)sync.event;
}

#ifdef __cplusplus
}
#endif

#endif
