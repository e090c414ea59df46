#include "interop/wrapped.h"

#include "base/alloc.h"
#include "base/status.h"
#include "driver.h"
#include "engine/buffer.h"

#include <ferry/ferry.h>

/* What stands behind a wrapped buffer for its life. */
struct wrapped {
    struct ferry__memory memory;
    void (*release)(void *user);
    void *user;
};

static void unwrap(void *user)
{
    struct wrapped *wrapped = user;
    ferry__free(wrapped->memory.native);
    if (wrapped->release)
        wrapped->release(wrapped->user);
    ferry__free(wrapped);
}

enum ferry_status ferry__wrap_native(ferry_device *device, const struct ferry__memory *memory,
                                     size_t size, void (*release)(void *user), void *user,
                                     ferry_buffer **out_buffer)
{
    struct wrapped *wrapped = ferry__alloc(sizeof *wrapped);
    enum ferry_status status;
    if (wrapped) {
        *wrapped = (struct wrapped){*memory, release, user};
        status = ferry__buffer_wrap(device, &wrapped->memory, size, unwrap, wrapped, out_buffer);
    } else {
        status = ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a wrapped buffer");
    }
    if (status) {
        ferry__free(memory->native);
        ferry__free(wrapped);
    }
    return status;
}
