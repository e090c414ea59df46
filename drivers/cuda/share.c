/*
 * Private memory that others have too. Ours is made apart from its address, so that CUDA gives a
 * descriptor of it to other processes, and to Vulkan. What comes in is of the same kind, or
 * Vulkan's: a descriptor does not say which, so the one is tried after the other.
 */
#define _POSIX_C_SOURCE 200809L /* F_DUPFD_CLOEXEC */
#include "cuda_internal.h"

#include "base/sharing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* --- what is asked of CUDA -------------------------------------------------------------------- */

static bool has(struct cuda *c, cu_attribute attribute)
{
    int value = 0;
    return !c->cu.DeviceGetAttribute(&value, attribute, c->device) && value;
}

void ferry__cuda_share_init(struct cuda *c)
{
    c->shares = has(c, CU_ATTRIBUTE_VIRTUAL_MEMORY) && has(c, CU_ATTRIBUTE_FD_HANDLES);
    c->shares_rdma = c->shares && has(c, CU_ATTRIBUTE_VIRTUAL_RDMA);
}

static struct cu_memory_prop prop_of(const struct cuda *c)
{
    return (struct cu_memory_prop){
        .type = CU_MEMORY_PINNED,
        .handles = CU_HANDLE_FD,
        .location = {.type = CU_LOCATION_DEVICE, .id = c->ordinal},
        .flags.rdma = c->shares_rdma,
    };
}

static cu_result unmap(struct cuda *c, const struct cuda_memory *memory, const char **out_call)
{
    *out_call = "cuMemUnmap";
    cu_result result = c->cu.MemUnmap(memory->address, memory->size);
    if (result)
        return result;
    *out_call = "cuMemAddressFree";
    return c->cu.MemAddressFree(memory->address, memory->size);
}

/* An address for all of it, which the device may read and write. */
static cu_result map(struct cuda *c, struct cuda_memory *memory, const char **out_call)
{
    const struct cu_access access = {
        .location = {.type = CU_LOCATION_DEVICE, .id = c->ordinal},
        .flags = CU_ACCESS_READ_WRITE,
    };
    const char *ignored;
    *out_call = "cuMemAddressReserve";
    ferry__cuda_registered_settle();
    cu_result result = c->cu.MemAddressReserve(&memory->address, memory->size, 0, 0, 0);
    if (result)
        return result;
    *out_call = "cuMemMap";
    result = c->cu.MemMap(memory->address, memory->size, 0, memory->memory, 0);
    if (result) {
        (void)c->cu.MemAddressFree(memory->address, memory->size);
        return result;
    }
    *out_call = "cuMemSetAccess";
    result = c->cu.MemSetAccess(memory->address, memory->size, &access, 1);
    if (result)
        (void)unmap(c, memory, &ignored);
    return result;
}

cu_result ferry__cuda_share_drop(struct cuda *c, const struct cuda_memory *memory,
                                 const char **out_call)
{
    cu_result result;
    if (memory->kind == CUDA_EXTERNAL) {
        *out_call = "cuMemFree";
        result = c->cu.MemFree(memory->address);
        if (result)
            return result;
        *out_call = "cuDestroyExternalMemory";
        return c->cu.DestroyExternalMemory(memory->external);
    }
    result = unmap(c, memory, out_call);
    if (result)
        return result;
    *out_call = "cuMemRelease";
    return c->cu.MemRelease(memory->memory);
}

/* --- given out -------------------------------------------------------------------------------- */

/* Maps what is the process's now; gives it back where that fails. */
static cu_result map_own(struct cuda *c, struct cuda_memory *memory, const char **out_call)
{
    const cu_result result = map(c, memory, out_call);
    if (result)
        (void)c->cu.MemRelease(memory->memory);
    return result;
}

static cu_result create(struct cuda *c, struct cuda_memory *memory, const char **out_call)
{
    const struct cu_memory_prop prop = prop_of(c);
    size_t granularity = 1;
    *out_call = "cuMemGetAllocationGranularity";
    cu_result result =
        c->cu.MemGetAllocationGranularity(&granularity, &prop, CU_GRANULARITY_MINIMUM);
    if (result)
        return result;
    memory->size = (memory->size + granularity - 1) / granularity * granularity;
    *out_call = "cuMemCreate";
    result = c->cu.MemCreate(&memory->memory, memory->size, &prop, 0);
    return result ? result : map_own(c, memory, out_call);
}

/* What was still to be given back may be what is missing. */
static cu_result create_again(struct cuda *c, struct cuda_memory *memory, const char **out_call)
{
    const cu_result result = create(c, memory, out_call);
    if (result != CU_ERROR_OUT_OF_MEMORY)
        return result;
    ferry__cuda_memory_settle(c);
    return create(c, memory, out_call);
}

static enum ferry_status new_memory(const struct cuda *c, uint64_t size,
                                    struct cuda_memory **out_memory, char *why)
{
    if (!c->shares) {
        snprintf(why, FERRY__WHY_MAX, "CUDA cannot share this device's memory by descriptors");
        return FERRY_ERROR_UNSUPPORTED;
    }
    struct cuda_memory *memory = ferry__alloc(sizeof *memory);
    if (!memory) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for an allocation");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    *memory = (struct cuda_memory){.kind = CUDA_VIRTUAL, .size = size};
    *out_memory = memory;
    return FERRY_OK;
}

static struct ferry__memory give_out(struct cuda_memory *memory)
{
    return (struct ferry__memory){.native = memory, .size = memory->size, .by_list = true};
}

static enum ferry_status share_alloc(void *state, uint64_t size, struct ferry__memory *out_memory,
                                     char *why)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    struct cuda_memory *memory;
    const char *call = "";
    enum ferry_status status = new_memory(c, size, &memory, why);
    if (status)
        return status;
    status = ferry__cuda_enter(c, &scope, why);
    if (status)
        goto fail;
    const cu_result result = create_again(c, memory, &call);
    if (result)
        status = ferry__cuda_fail(c, result, call, why);
    ferry__cuda_leave(c, &scope);
    if (status)
        goto fail;
    *out_memory = give_out(memory);
    return FERRY_OK;
fail:
    ferry__free(memory);
    return status;
}

static enum ferry_status copy_fd(int fd, int *out_fd, enum ferry_status failure, char *why)
{
    *out_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (*out_fd >= 0)
        return FERRY_OK;
    snprintf(why, FERRY__WHY_MAX, "descriptor %d: errno %d", fd, errno);
    return failure;
}

/* What was taken in goes on as what it came. */
static enum ferry_status give_kept(const struct cuda_memory *memory, enum ferry_handle handle,
                                   int *out_fd, char *why)
{
    if (handle == FERRY_HANDLE_OPAQUE_FD)
        return copy_fd(memory->kept - 1, out_fd, FERRY_ERROR_OUT_OF_HOST_MEMORY, why);
    snprintf(why, FERRY__WHY_MAX, "imported memory cannot be exported again as a DMA-BUF");
    return FERRY_ERROR_UNSUPPORTED;
}

static enum ferry_status ask_descriptor(struct cuda *c, const struct cuda_memory *memory,
                                        enum ferry_handle handle, int *out_fd, char *why)
{
    if (handle == FERRY_HANDLE_DMA_BUF) {
        if (!has(c, CU_ATTRIBUTE_DMA_BUF)) {
            snprintf(why, FERRY__WHY_MAX, "CUDA cannot export this device's memory as a DMA-BUF");
            return FERRY_ERROR_UNSUPPORTED;
        }
        const cu_result result = c->cu.MemGetHandleForAddressRange(
            out_fd, memory->address, memory->size, CU_RANGE_DMA_BUF, 0);
        return result ? ferry__cuda_fail(c, result, "cuMemGetHandleForAddressRange", why)
                      : FERRY_OK;
    }
    const cu_result result =
        c->cu.MemExportToShareableHandle(out_fd, memory->memory, CU_HANDLE_FD, 0);
    return result ? ferry__cuda_fail(c, result, "cuMemExportToShareableHandle", why) : FERRY_OK;
}

/* Descriptors that CUDA makes are inherited by programs that this one starts: ours are not. */
static enum ferry_status share_give(void *state, const struct ferry__memory *shared,
                                    enum ferry_handle handle, int *out_fd, uint64_t *out_size,
                                    char *why)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    const struct cuda_memory *memory = shared->native;
    *out_size = memory->size;
    if (memory->kept)
        return give_kept(memory, handle, out_fd, why);
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (status)
        return status;
    status = ask_descriptor(c, memory, handle, out_fd, why);
    ferry__cuda_leave(c, &scope);
    if (!status)
        (void)fcntl(*out_fd, F_SETFD, FD_CLOEXEC);
    return status;
}

/* --- taken in --------------------------------------------------------------------------------- */

/* As CUDA's own. */
static cu_result take_virtual(struct cuda *c, struct cuda_memory *memory, int fd,
                              const char **out_call)
{
    memory->kind = CUDA_VIRTUAL;
    *out_call = "cuMemImportFromShareableHandle";
    cu_result result =
        c->cu.MemImportFromShareableHandle(&memory->memory, (void *)(intptr_t)fd, CU_HANDLE_FD);
    return result ? result : map_own(c, memory, out_call);
}

/* As Vulkan's. fd is CUDA's where *out_taken. */
static cu_result take_external(struct cuda *c, struct cuda_memory *memory, int fd, bool *out_taken,
                               const char **out_call)
{
    const struct cu_external_memory from = {
        .type = CU_EXTERNAL_OPAQUE_FD, .handle.fd = fd, .size = memory->size};
    const struct cu_external_buffer all = {.size = memory->size};
    memory->kind = CUDA_EXTERNAL;
    ferry__cuda_registered_settle();
    *out_call = "cuImportExternalMemory";
    cu_result result = c->cu.ImportExternalMemory(&memory->external, &from);
    *out_taken = !result;
    if (result)
        return result;
    *out_call = "cuExternalMemoryGetMappedBuffer";
    result = c->cu.ExternalMemoryGetMappedBuffer(&memory->address, memory->external, &all);
    if (result)
        (void)c->cu.DestroyExternalMemory(memory->external);
    return result;
}

/* CUDA's own memory is of whole granules; what is not can only be Vulkan's. */
static bool may_be_virtual(struct cuda *c, uint64_t size)
{
    const struct cu_memory_prop prop = prop_of(c);
    size_t granularity = 0;
    return !c->cu.MemGetAllocationGranularity(&granularity, &prop, CU_GRANULARITY_MINIMUM) &&
           granularity && size % granularity == 0;
}

/* Only what is final is told: a descriptor of nothing that CUDA knows is the caller's mistake. */
static enum ferry_status refuse(struct cuda *c, cu_result result, const char *call, char *why)
{
    const enum ferry_status status = ferry__cuda_fail(c, result, call, why);
    const bool final = status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY ||
                       status == FERRY_ERROR_DEVICE_LOST || status == FERRY_ERROR_UNSUPPORTED;
    return final ? status : FERRY_ERROR_INVALID_ARGUMENT;
}

static enum ferry_status take_in(struct cuda *c, struct cuda_memory *memory, int fd, char *why)
{
    const char *call = "";
    int given;
    bool taken = false;
    cu_result result = CU_ERROR_INVALID_VALUE;
    if (may_be_virtual(c, memory->size))
        result = take_virtual(c, memory, fd, &call);
    if (!result)
        return FERRY_OK;
    if (result == CU_ERROR_OUT_OF_MEMORY || ferry__cuda_is_sticky(result))
        return ferry__cuda_fail(c, result, call, why);
    const enum ferry_status status = copy_fd(fd, &given, FERRY_ERROR_OUT_OF_HOST_MEMORY, why);
    if (status)
        return status;
    result = take_external(c, memory, given, &taken, &call);
    if (!taken)
        close(given);
    return result ? refuse(c, result, call, why) : FERRY_OK;
}

static enum ferry_status share_take(void *state, enum ferry_handle handle, int fd, uint64_t size,
                                    struct ferry__memory *out_memory, char *why)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    struct cuda_memory *memory;
    int kept;
    if (handle != FERRY_HANDLE_OPAQUE_FD) {
        snprintf(why, FERRY__WHY_MAX, "CUDA cannot import a DMA-BUF");
        return FERRY_ERROR_UNSUPPORTED;
    }
    enum ferry_status status = new_memory(c, size, &memory, why);
    if (status)
        return status;
    status = copy_fd(fd, &kept, FERRY_ERROR_INVALID_ARGUMENT, why);
    if (status)
        goto free_memory;
    status = ferry__cuda_enter(c, &scope, why);
    if (status)
        goto close_kept;
    status = take_in(c, memory, kept, why);
    ferry__cuda_leave(c, &scope);
    if (status)
        goto close_kept;
    memory->kept = kept + 1;
    *out_memory = give_out(memory);
    return FERRY_OK;
close_kept:
    close(kept);
free_memory:
    ferry__free(memory);
    return status;
}

const struct ferry__sharing ferry__cuda_sharing = {
    .alloc = share_alloc,
    .give = share_give,
    .take = share_take,
    .reaches = ferry__cuda_reaches,
};
