#include "state.h"

#include <inttypes.h>
#include <string.h>

/* Options to try in turn, ended by NONE. Write-combined memory is for the host to write only, and
 * pays where the GPU reads it over a bus; discrete GPUs may give no shared memory at all. */
#define NONE UINT32_MAX
static const uint32_t storages[METAL_CLASS_COUNT][FERRY__MEMORY_COUNT][3] = {
    [METAL_APPLE] = {[FERRY__MEMORY_PRIVATE] = {MTL_OPTION_PRIVATE, NONE},
                     [FERRY__MEMORY_SHARED] = {MTL_OPTION_SHARED, NONE},
                     [FERRY__MEMORY_UPLOAD] = {MTL_OPTION_SHARED, NONE},
                     [FERRY__MEMORY_READBACK] = {MTL_OPTION_SHARED, NONE}},
    [METAL_INTEL] = {[FERRY__MEMORY_PRIVATE] = {MTL_OPTION_PRIVATE, NONE},
                     [FERRY__MEMORY_SHARED] = {MTL_OPTION_SHARED, NONE},
                     [FERRY__MEMORY_UPLOAD] = {MTL_OPTION_SHARED | MTL_OPTION_WRITE_COMBINED, NONE},
                     [FERRY__MEMORY_READBACK] = {MTL_OPTION_SHARED, NONE}},
    [METAL_DISCRETE] = {[FERRY__MEMORY_PRIVATE] = {MTL_OPTION_PRIVATE, NONE},
                        [FERRY__MEMORY_SHARED] = {MTL_OPTION_SHARED, NONE},
                        [FERRY__MEMORY_UPLOAD] = {MTL_OPTION_SHARED | MTL_OPTION_WRITE_COMBINED,
                                                  MTL_OPTION_MANAGED, NONE},
                        [FERRY__MEMORY_READBACK] = {MTL_OPTION_MANAGED, MTL_OPTION_SHARED, NONE}},
    [METAL_PARAVIRTUAL] = {[FERRY__MEMORY_PRIVATE] = {MTL_OPTION_PRIVATE, NONE},
                           [FERRY__MEMORY_SHARED] = {MTL_OPTION_SHARED, NONE},
                           [FERRY__MEMORY_UPLOAD] = {MTL_OPTION_SHARED, NONE},
                           [FERRY__MEMORY_READBACK] = {MTL_OPTION_SHARED, NONE}},
};

static const uint32_t mapped_private[] = {MTL_OPTION_SHARED, NONE};

static const uint32_t *storages_of(const struct metal_state *state, enum ferry__memory_kind use)
{
    if (use == FERRY__MEMORY_PRIVATE && state->map_always && state->unified)
        return mapped_private;
    return storages[state->class][use];
}

/* Takes over buffer. */
static enum ferry_status describe(mtl_id buffer, enum ferry__memory_kind use, uint32_t options,
                                  uint64_t size, struct ferry__memory *out_memory, char *why)
{
    bool is_private = options & MTL_OPTION_PRIVATE;
    void *host = is_private ? NULL : mtl_buffer_contents(buffer);
    struct metal_memory *memory = is_private || host ? ferry__alloc(sizeof *memory) : NULL;
    if (!memory) {
        mtl_release(buffer);
        if (!is_private && !host)
            return ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why,
                                    "Metal gave a buffer of %" PRIu64 " bytes without contents",
                                    size);
        return ferry__metal_why(FERRY_ERROR_OUT_OF_HOST_MEMORY, why, "out of host memory");
    }
    memory->buffer = buffer;
    memory->managed = options & MTL_OPTION_MANAGED;
    memory->read_back = memory->managed && use == FERRY__MEMORY_READBACK;
    *out_memory = (struct ferry__memory){
        .native = memory,
        .size = size,
        .host = host,
        .coherent = !memory->managed,
        .cached = !(options & MTL_OPTION_WRITE_COMBINED),
    };
    return FERRY_OK;
}

enum ferry_status ferry__metal_memory_alloc(void *opened, enum ferry__memory_kind use,
                                            uint64_t size, const char *label,
                                            struct ferry__memory *out_memory, char *why)
{
    struct metal_state *state = opened;
    if (size > UINT64_MAX - FERRY_BUFFER_ALIGNMENT)
        return ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why, "no %" PRIu64 " bytes",
                                size);
    size = (size + FERRY_BUFFER_ALIGNMENT - 1) / FERRY_BUFFER_ALIGNMENT * FERRY_BUFFER_ALIGNMENT;
    void *pool = mtl_pool_push();
    const uint32_t *options = storages_of(state, use);
    mtl_id buffer = NULL;
    for (; *options != NONE && !buffer; options++)
        buffer = mtl_new_buffer(state->device, size, *options);
    enum ferry_status status;
    if (buffer) {
        mtl_id text = mtl_string(label);
        if (text)
            mtl_set_label(buffer, text);
        status = describe(buffer, use, options[-1], size, out_memory, why);
        if (!status && state->residency) {
            ((struct metal_memory *)out_memory->native)->resident = true;
            ferry__metal_residency_add(state, buffer);
        }
    } else {
        status = ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why,
                                  "Metal gave no buffer of %" PRIu64 " bytes", size);
    }
    mtl_pool_pop(pool);
    return status;
}

void ferry__metal_memory_free(void *opened, struct ferry__memory *memory)
{
    struct metal_state *state = opened;
    struct metal_memory *native = memory->native;
    if (!native)
        return;
    ferry__metal_drain(state);
    void *pool = mtl_pool_push();
    if (native->resident)
        ferry__metal_residency_remove(state, native->buffer);
    mtl_release(native->buffer);
    mtl_pool_pop(pool);
    ferry__free(native);
    *memory = (struct ferry__memory){0};
}

/* Metal has no word for read-only memory: pages that cannot be written are taken or refused like
 * any others. */
enum ferry_status ferry__metal_host_import(void *opened, void *host, uint64_t size, bool read_only,
                                           struct ferry__memory *out_memory, char *why)
{
    (void)read_only;
    struct metal_state *state = opened;
    void *pool = mtl_pool_push();
    mtl_id buffer = mtl_new_buffer_no_copy(state->device, host, size, MTL_OPTION_SHARED, NULL);
    enum ferry_status status;
    if (buffer && mtl_buffer_length(buffer) == size && mtl_buffer_contents(buffer) == host) {
        status = describe(buffer, FERRY__MEMORY_SHARED, MTL_OPTION_SHARED, size, out_memory, why);
    } else {
        status = ferry__metal_why(FERRY_ERROR_UNSUPPORTED, why,
                                  "Metal cannot import %" PRIu64 " bytes at %p: %s", size, host,
                                  buffer ? "wrong length" : "refused");
        mtl_release(buffer);
    }
    mtl_pool_pop(pool);
    return status;
}

enum ferry_status ferry__metal_flush(void *opened, const struct ferry__memory *memory,
                                     uint64_t offset, uint64_t size)
{
    (void)opened;
    const struct metal_memory *native = memory->native;
    if (!native->managed || !size)
        return FERRY_OK;
    void *pool = mtl_pool_push();
    mtl_did_modify(native->buffer, (struct mtl_range){memory->offset + offset, size});
    mtl_pool_pop(pool);
    return FERRY_OK;
}

/* Every submission that writes managed memory for the host to read ends by synchronizing it. */
enum ferry_status ferry__metal_invalidate(void *opened, const struct ferry__memory *memory,
                                          uint64_t offset, uint64_t size)
{
    (void)opened, (void)memory, (void)offset, (void)size;
    return FERRY_OK;
}

uint64_t ferry__metal_memory_available(void *opened)
{
    struct metal_state *state = opened;
    void *pool = mtl_pool_push();
    uint64_t total = mtl_working_set_size(state->device);
    uint64_t used =
        MTL_RESPONDS(state->device, allocated_size) ? mtl_allocated_size(state->device) : 0;
    mtl_pool_pop(pool);
    return used < total ? total - used : 0;
}
