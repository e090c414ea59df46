#include "internal.h"

#include <assert.h>
#include <ferry/dlpack.h>
#include <string.h>

enum { RANK_MAX = 64, VERSION_MAJOR = 1, VERSION_MINOR = 0 };

/* The layouts of dlpack.h on 64-bit systems, which never change. */
static_assert(sizeof(struct ferry_dlpack_device) == 8, "DLDevice");
static_assert(sizeof(struct ferry_dlpack_type) == 4, "DLDataType");
static_assert(sizeof(struct ferry_dlpack_tensor) == 48 &&
                  offsetof(struct ferry_dlpack_tensor, device) == 8 &&
                  offsetof(struct ferry_dlpack_tensor, rank) == 16 &&
                  offsetof(struct ferry_dlpack_tensor, type) == 20 &&
                  offsetof(struct ferry_dlpack_tensor, shape) == 24 &&
                  offsetof(struct ferry_dlpack_tensor, strides) == 32 &&
                  offsetof(struct ferry_dlpack_tensor, byte_offset) == 40,
              "DLTensor");
static_assert(sizeof(struct ferry_dlpack_managed) == 64 &&
                  offsetof(struct ferry_dlpack_managed, manager) == 48 &&
                  offsetof(struct ferry_dlpack_managed, deleter) == 56,
              "DLManagedTensor");
static_assert(sizeof(struct ferry_dlpack_managed_versioned) == 80 &&
                  offsetof(struct ferry_dlpack_managed_versioned, manager) == 8 &&
                  offsetof(struct ferry_dlpack_managed_versioned, deleter) == 16 &&
                  offsetof(struct ferry_dlpack_managed_versioned, flags) == 24 &&
                  offsetof(struct ferry_dlpack_managed_versioned, tensor) == 32,
              "DLManagedTensorVersioned");

/* Bytes of rank dimensions of a type; refuses what cannot be counted. */
static enum ferry_status measure(const char *what, struct ferry_dlpack_type type, int32_t rank,
                                 const int64_t *shape, uint64_t *out_size)
{
    const unsigned bits = (unsigned)type.bits * type.lanes;
    uint64_t size = bits / 8;
    if (bits == 0 || bits % 8 != 0)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "%s: elements of %u lanes of %u bits are not "
                           "whole bytes",
                           what, type.lanes, type.bits);
    if (rank < 0 || rank > RANK_MAX || (shape == NULL && rank > 0))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %d dimensions%s", what, (int)rank,
                           shape == NULL ? " without a shape" : "");
    bool wraps = false, empty = false;
    for (int32_t i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: dimension %d is %lld", what,
                               (int)i, (long long)shape[i]);
        empty = empty || shape[i] == 0;
        wraps = wraps || __builtin_mul_overflow(size, (uint64_t)shape[i], &size);
    }
    if (wraps && !empty)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE, "%s: the shape has more than 2^64 bytes",
                           what);
    *out_size = empty ? 0 : size;
    return FERRY_OK;
}

/* --- export ------------------------------------------------------------------------------------ */

/* One allocation: the tensor in both forms, one of which is handed out, then shape and strides. */
struct exported {
    struct ferry_dlpack_managed plain;
    struct ferry_dlpack_managed_versioned versioned;
    ferry_buffer *buffer;
    struct exported *next, *previous;
    int64_t numbers[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards living and its links */
static struct exported *living;

static void enlist(struct exported *exported)
{
    pthread_mutex_lock(&lock);
    exported->next = living;
    if (living != NULL)
        living->previous = exported;
    living = exported;
    pthread_mutex_unlock(&lock);
}

static void delist(struct exported *exported)
{
    pthread_mutex_lock(&lock);
    if (exported->next != NULL)
        exported->next->previous = exported->previous;
    if (exported->previous != NULL)
        exported->previous->next = exported->next;
    else
        living = exported->next;
    pthread_mutex_unlock(&lock);
}

size_t ferry_dlpack_exports(const ferry_device *device)
{
    size_t count = 0;
    pthread_mutex_lock(&lock);
    for (const struct exported *at = living; at != NULL; at = at->next)
        count += at->buffer->device == device;
    pthread_mutex_unlock(&lock);
    return count;
}

static void release(struct exported *exported)
{
    delist(exported);
    ferry__buffer_unref(exported->buffer);
    ferry__free(exported);
}

static void delete_plain(struct ferry_dlpack_managed *self)
{
    release(self->manager);
}

static void delete_versioned(struct ferry_dlpack_managed_versioned *self)
{
    release(self->manager);
}

/* Why private memory cannot be exported. */
static enum ferry_status refuse_private(ferry_buffer *buffer)
{
    static const struct {
        const char *driver, *why;
    } reasons[] = {
        {"vulkan", "consumers do not agree what the data of a Vulkan tensor is"},
        {"metal", "this version does not export Metal buffers"},
    };
    struct ferry_device_info info;
    const char *why = "no consumer can reach it";
    ferry_device_get_info(buffer->device, &info);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strcmp(reasons[i].driver, info.driver) == 0)
            why = reasons[i].why;
    }
    return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                       "ferry_dlpack_export: %s is private memory of %s, "
                       "and %s; shared buffers are exported as CPU memory",
                       ferry__label(buffer), info.name, why);
}

static void describe(struct exported *exported, const struct ferry_dlpack_view *view,
                     unsigned char *contents)
{
    int64_t *shape = exported->numbers, *strides = exported->numbers + view->rank, stride = 1;
    for (int32_t i = view->rank - 1; i >= 0; i--) {
        shape[i] = view->shape[i];
        strides[i] = stride;
        if (__builtin_mul_overflow(stride, shape[i] > 0 ? shape[i] : 1, &stride))
            stride = 1; /* of an empty tensor: its strides mean nothing */
    }
    /* Some consumers overlook byte_offset: for CPU memory it is not needed. */
    exported->plain = (struct ferry_dlpack_managed){.tensor = {.data = contents + view->offset,
                                                               .device = {FERRY_DLPACK_CPU, 0},
                                                               .rank = view->rank,
                                                               .type = view->type,
                                                               .shape = shape,
                                                               .strides = strides},
                                                    .manager = exported,
                                                    .deleter = delete_plain};
    exported->versioned = (struct ferry_dlpack_managed_versioned){.major = VERSION_MAJOR,
                                                                  .minor = VERSION_MINOR,
                                                                  .manager = exported,
                                                                  .deleter = delete_versioned,
                                                                  .tensor = exported->plain.tensor};
}

static enum ferry_status check_view(ferry_buffer *buffer, const struct ferry_dlpack_view *view)
{
    uint64_t size = 0;
    if (!ferry__all_zero(view->reserved, sizeof view->reserved))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_export: reserved words are not 0");
    enum ferry_status status =
        measure("ferry_dlpack_export", view->type, view->rank, view->shape, &size);
    if (status != FERRY_OK)
        return status;
    if (view->offset > buffer->size || size > buffer->size - view->offset)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "ferry_dlpack_export: size %llu at offset %zu "
                           "exceeds %s (%zu)",
                           (unsigned long long)size, view->offset, ferry__label(buffer),
                           buffer->size);
    return FERRY_OK;
}

static enum ferry_status export(ferry_buffer *buffer, const struct ferry_dlpack_view *view,
                                bool has_out, struct exported **out) {
    if (buffer == NULL || !has_out) return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                                                       "ferry_dlpack_export: %s is NULL",
                                                       buffer == NULL ? "buffer" : "out_managed");
    const int64_t length = (int64_t)buffer->size;
    const struct ferry_dlpack_view all = {.type = {FERRY_DLPACK_UINT, 8, 1},
                                          .rank = 1,
                                          .shape = &length};
    if (view == NULL) view = &all;
    void *contents = NULL;
    enum ferry_status status = check_view(buffer, view);
    if (status != FERRY_OK) return status;
    if (buffer->storage != FERRY_STORAGE_SHARED) return refuse_private(buffer);
    status = ferry_buffer_contents(buffer, &contents); /* waits */
    if (status != FERRY_OK) return status;
    struct exported *exported = ferry__alloc(sizeof *exported +
                                             2 * (size_t)view->rank * sizeof(int64_t));
    if (exported == NULL) return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY,
                                             "ferry_dlpack_export: no host memory");
    ferry__buffer_ref(buffer);
    exported->buffer = buffer;
    describe(exported, view, contents);
    enlist(exported);
    *out = exported;
    return FERRY_OK;
}

enum ferry_status ferry_dlpack_export(ferry_buffer *buffer, const struct ferry_dlpack_view *view,
                                      struct ferry_dlpack_managed **out_managed)
{
    struct exported *exported = NULL;
    enum ferry_status status = export(buffer, view, out_managed != NULL, &exported);
    if (status == FERRY_OK)
        *out_managed = &exported->plain;
    return status;
}

enum ferry_status ferry_dlpack_export_versioned(ferry_buffer *buffer,
                                                const struct ferry_dlpack_view *view,
                                                struct ferry_dlpack_managed_versioned **out_managed)
{
    struct exported *exported = NULL;
    enum ferry_status status = export(buffer, view, out_managed != NULL, &exported);
    if (status == FERRY_OK)
        *out_managed = &exported->versioned;
    return status;
}

/* --- import ------------------------------------------------------------------------------------ */

static const char *const not_host[] = {
    [2] = " (CUDA)", [FERRY_DLPACK_VULKAN] = " (Vulkan)", [FERRY_DLPACK_METAL] = " (Metal)"};

static enum ferry_status check_device(const struct ferry_dlpack_tensor *tensor)
{
    const int32_t type = tensor->device.type;
    if (type == FERRY_DLPACK_CPU || type == FERRY_DLPACK_CUDA_HOST ||
        type == FERRY_DLPACK_ROCM_HOST)
        return FERRY_OK;
    const bool known = type > 0 && (size_t)type < sizeof not_host / sizeof *not_host;
    return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                       "ferry_dlpack_import: the tensor lies on a device of "
                       "type %d%s, and only tensors in host memory are imported",
                       (int)type, known && not_host[type] != NULL ? not_host[type] : "");
}

/* Row-major without gaps. The stride of a dimension of 1 means nothing. The whole was measured, and
 * is not empty: the product does not wrap. */
static bool is_compact(const struct ferry_dlpack_tensor *tensor)
{
    uint64_t stride = 1;
    for (int32_t i = tensor->rank - 1; tensor->strides != NULL && i >= 0; i--) {
        if (tensor->shape[i] != 1 && (uint64_t)tensor->strides[i] != stride)
            return false;
        stride *= (uint64_t)tensor->shape[i];
    }
    return true;
}

static enum ferry_status import(ferry_device *device, const struct ferry_dlpack_tensor *tensor,
                                enum ferry_storage storage, ferry_buffer **out_buffer)
{
    uint64_t size = 0;
    ferry_buffer *buffer = NULL;
    enum ferry_status status = check_device(tensor);
    if (status == FERRY_OK)
        status = measure("ferry_dlpack_import", tensor->type, tensor->rank, tensor->shape, &size);
    if (status != FERRY_OK)
        return status;
    if (size == 0)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_import: the tensor is empty, "
                           "and there are no empty buffers");
    if (!is_compact(tensor))
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_dlpack_import: the tensor's strides are "
                           "not row-major without gaps: make it contiguous first");
    if (tensor->data == NULL)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_import: the tensor's data is "
                           "NULL");
    const struct ferry_buffer_params params = {
        .size = (size_t)size, .storage = storage, .label = "DLPack tensor"};
    status = ferry_buffer_create(device, &params, &buffer);
    if (status != FERRY_OK)
        return status;
    status = ferry_copy_from_host(buffer, (const unsigned char *)tensor->data + tensor->byte_offset,
                                  (size_t)size, 0);
    if (status == FERRY_OK)
        *out_buffer = buffer;
    else
        ferry_buffer_destroy(buffer);
    return status;
}

enum ferry_status ferry_dlpack_import(ferry_device *device, struct ferry_dlpack_managed *managed,
                                      enum ferry_storage storage, ferry_buffer **out_buffer)
{
    if (device == NULL || managed == NULL || out_buffer == NULL)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_import: an argument is NULL");
    enum ferry_status status = import(device, &managed->tensor, storage, out_buffer);
    if (status == FERRY_OK && managed->deleter != NULL)
        managed->deleter(managed);
    return status;
}

enum ferry_status ferry_dlpack_import_versioned(ferry_device *device,
                                                struct ferry_dlpack_managed_versioned *managed,
                                                enum ferry_storage storage,
                                                ferry_buffer **out_buffer)
{
    if (device == NULL || managed == NULL || out_buffer == NULL)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_import: an argument is NULL");
    if (managed->major != VERSION_MAJOR) /* then nothing else in it may be looked at */
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_dlpack_import: the tensor is of DLPack "
                           "version %u.%u, not 1",
                           managed->major, managed->minor);
    enum ferry_status status = import(device, &managed->tensor, storage, out_buffer);
    if (status == FERRY_OK && managed->deleter != NULL)
        managed->deleter(managed);
    return status;
}
