#include "base/list.h"
#include "interop/dlpack_native.h"

#include <assert.h>
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
    if (rank < 0 || rank > RANK_MAX || (!shape && rank > 0))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %d dimensions%s", what, (int)rank,
                           !shape ? " without a shape" : "");
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

/* --- export ----------------------------------------------------------------------------------- */

/* One allocation: the tensor in both forms, one of which is handed out, then shape and strides. */
struct exported {
    struct ferry_dlpack_managed plain;
    struct ferry_dlpack_managed_versioned versioned;
    ferry_buffer *buffer;
    struct ferry__link link;
    int64_t numbers[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards living and its links */
static struct ferry__list living;

static void enlist(struct exported *exported)
{
    pthread_mutex_lock(&lock);
    ferry__list_push(&living, &exported->link);
    pthread_mutex_unlock(&lock);
}

static void delist(struct exported *exported)
{
    pthread_mutex_lock(&lock);
    ferry__list_remove(&living, &exported->link);
    pthread_mutex_unlock(&lock);
}

size_t ferry_dlpack_exports(const ferry_device *device)
{
    size_t count = 0;
    pthread_mutex_lock(&lock);
    for (struct ferry__link *at = living.first; at; at = at->next)
        count += FERRY__OF_LINK(at, struct exported, link)->buffer->device == device;
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

/* Why private memory of other drivers cannot be exported. */
static enum ferry_status refuse_private(const ferry_buffer *buffer)
{
    const bool vulkan = strcmp(buffer->device->gpu.info.driver, "vulkan") == 0;
    return ferry__fail(
        FERRY_ERROR_UNSUPPORTED,
        "ferry_dlpack_export: %s is private memory of %s, and %s; shared buffers are "
        "exported as CPU memory",
        ferry__label(buffer), buffer->device->gpu.info.name,
        vulkan ? "consumers do not agree what the data of a Vulkan tensor is"
               : "no consumer can reach it");
}

/* Memory of a GPU's own that consumers know: of which driver, exported and imported how. */
static const struct native {
    const char *driver, *name;
    int32_t type;
    enum ferry_status (*get)(ferry_buffer *buffer, struct ferry_dlpack_tensor *tensor);
    enum ferry_status (*wrap)(ferry_device *device, const struct ferry_dlpack_tensor *tensor,
                              size_t size, void (*release)(void *user), void *user,
                              ferry_buffer **out_buffer);
} natives[] = {
    {"cuda", "CUDA", FERRY_DLPACK_CUDA, ferry__dlpack_cuda_export, ferry__dlpack_cuda_import},
    {"metal", "Metal", FERRY_DLPACK_METAL, ferry__dlpack_metal_export, ferry__dlpack_metal_import},
};

static const struct native *native_of(const ferry_device *device)
{
    for (size_t i = 0; i < sizeof natives / sizeof *natives; i++)
        if (!strcmp(device->gpu.info.driver, natives[i].driver))
            return &natives[i];
    return NULL;
}

static bool is_cuda(const ferry_buffer *buffer)
{
    return strcmp(buffer->device->gpu.info.driver, "cuda") == 0;
}

static enum ferry_status locate_shared(ferry_buffer *buffer, struct ferry_dlpack_tensor *tensor,
                                       int32_t as)
{
    const bool locked = as == FERRY_DLPACK_CUDA_HOST && is_cuda(buffer);
    if (as && as != FERRY_DLPACK_CPU && !locked)
        return ferry__fail(
            FERRY_ERROR_UNSUPPORTED,
            "ferry_dlpack_export: %s, of %s, is not memory of DLPack's device type %d",
            ferry__label(buffer), buffer->device->gpu.info.name, (int)as);
    tensor->device =
        (struct ferry_dlpack_device){locked ? FERRY_DLPACK_CUDA_HOST : FERRY_DLPACK_CPU, 0};
    return ferry_buffer_contents(buffer, &tensor->data);
}

/* Where a buffer's bytes are, for consumers. Waits for what is in flight on them. */
static enum ferry_status locate(ferry_buffer *buffer, const struct ferry_dlpack_view *view,
                                struct ferry_dlpack_tensor *tensor)
{
    const struct native *native = native_of(buffer->device);
    const bool waits = !(view->flags & FERRY_DLPACK_NO_WAIT);
    if (!waits && (buffer->storage == FERRY_STORAGE_SHARED || !is_cuda(buffer)))
        return ferry__fail(
            FERRY_ERROR_UNSUPPORTED,
            "ferry_dlpack_export: NO_WAIT needs private memory of a CUDA device, which %s is not",
            ferry__label(buffer));
    if (buffer->storage == FERRY_STORAGE_SHARED)
        return locate_shared(buffer, tensor, view->device);
    if (!native)
        return refuse_private(buffer);
    if (view->device && view->device != native->type)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_dlpack_export: %s is private memory of %s, not memory of "
                           "DLPack's device type %d",
                           ferry__label(buffer), native->name, (int)view->device);
    enum ferry_status status = waits ? ferry_buffer_wait(buffer, FERRY_FOREVER) : FERRY_OK;
    if (!status)
        status = native->get(buffer, tensor);
    if (!status)
        status = ferry__buffer_well(buffer);
    return status;
}

static void describe(struct exported *exported, const struct ferry_dlpack_view *view,
                     struct ferry_dlpack_tensor tensor)
{
    int64_t *shape = exported->numbers, *strides = exported->numbers + view->rank, stride = 1;
    for (int32_t i = view->rank - 1; i >= 0; i--) {
        shape[i] = view->shape[i];
        strides[i] = stride;
        if (__builtin_mul_overflow(stride, shape[i] > 0 ? shape[i] : 1, &stride))
            stride = 1; /* of an empty tensor: its strides mean nothing */
    }
    /* Some consumers overlook byte_offset: where data is an address it is not needed. */
    if (tensor.device.type != FERRY_DLPACK_METAL)
        tensor.data = (unsigned char *)tensor.data + view->offset;
    else
        tensor.byte_offset += view->offset;
    tensor.rank = view->rank;
    tensor.type = view->type;
    tensor.shape = shape;
    tensor.strides = strides;
    exported->plain = (struct ferry_dlpack_managed){tensor, exported, delete_plain};
    exported->versioned = (struct ferry_dlpack_managed_versioned){
        VERSION_MAJOR, VERSION_MINOR, exported, delete_versioned, 0, tensor};
}

static enum ferry_status check_view(ferry_buffer *buffer, const struct ferry_dlpack_view *view)
{
    uint64_t size = 0;
    if (!ferry__all_zero(view->reserved, sizeof view->reserved))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_export: reserved words are not 0");
    if (view->flags & ~(unsigned)FERRY_DLPACK_NO_WAIT)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_dlpack_export: flags are 0x%x",
                           view->flags);
    enum ferry_status status =
        measure("ferry_dlpack_export", view->type, view->rank, view->shape, &size);
    if (status)
        return status;
    if (view->offset > buffer->size || size > buffer->size - view->offset)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "ferry_dlpack_export: size %llu at offset %zu "
                           "exceeds %s (%zu)",
                           (unsigned long long)size, view->offset, ferry__label(buffer),
                           buffer->size);
    return FERRY_OK;
}

static enum ferry_status make_tensor(ferry_buffer *buffer, const struct ferry_dlpack_view *view,
                                     bool has_out, struct exported **out)
{
    if (!buffer || !has_out)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_dlpack_export: %s is NULL",
                           !buffer ? "buffer" : "out_managed");
    const int64_t length = (int64_t)buffer->size;
    const struct ferry_dlpack_view all = {
        .type = {FERRY_DLPACK_UINT, 8, 1}, .rank = 1, .shape = &length};
    struct ferry_dlpack_tensor tensor = {.data = NULL};
    if (!view)
        view = &all;
    enum ferry_status status = check_view(buffer, view);
    if (!status)
        status = locate(buffer, view, &tensor);
    if (status)
        return status;
    struct exported *exported =
        ferry__alloc(sizeof *exported + 2 * (size_t)view->rank * sizeof(int64_t));
    if (!exported)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "ferry_dlpack_export: no host memory");
    ferry__buffer_ref(buffer);
    exported->buffer = buffer;
    describe(exported, view, tensor);
    enlist(exported);
    *out = exported;
    return FERRY_OK;
}

enum ferry_status ferry_dlpack_export(ferry_buffer *buffer, const struct ferry_dlpack_view *view,
                                      struct ferry_dlpack_managed **out_managed)
{
    struct exported *exported = NULL;
    enum ferry_status status = make_tensor(buffer, view, out_managed != NULL, &exported);
    if (!status)
        *out_managed = &exported->plain;
    return status;
}

enum ferry_status ferry_dlpack_export_versioned(ferry_buffer *buffer,
                                                const struct ferry_dlpack_view *view,
                                                struct ferry_dlpack_managed_versioned **out_managed)
{
    struct exported *exported = NULL;
    enum ferry_status status = make_tensor(buffer, view, out_managed != NULL, &exported);
    if (!status)
        *out_managed = &exported->versioned;
    return status;
}

/* --- import ----------------------------------------------------------------------------------- */

static bool in_host_memory(const struct ferry_dlpack_tensor *tensor)
{
    const int32_t type = tensor->device.type;
    return type == FERRY_DLPACK_CPU || type == FERRY_DLPACK_CUDA_HOST ||
           type == FERRY_DLPACK_ROCM_HOST;
}

/* A device wraps tensors in memory of its own kind, as private memory. */
static enum ferry_status check_device(const ferry_device *device,
                                      const struct ferry_dlpack_tensor *tensor,
                                      enum ferry_storage storage)
{
    static const char *const names[] = {[FERRY_DLPACK_CUDA] = " (CUDA)",
                                        [FERRY_DLPACK_VULKAN] = " (Vulkan)",
                                        [FERRY_DLPACK_METAL] = " (Metal)"};
    const int32_t type = tensor->device.type;
    const bool known = type > 0 && (size_t)type < sizeof names / sizeof *names;
    const struct native *native = native_of(device);
    if (in_host_memory(tensor))
        return FERRY_OK;
    if (native && native->type == type)
        return storage == FERRY_STORAGE_PRIVATE
                   ? FERRY_OK
                   : ferry__fail(FERRY_ERROR_UNSUPPORTED,
                                 "ferry_dlpack_import: a %s tensor "
                                 "becomes a private buffer, not a shared one",
                                 native->name);
    return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                       "ferry_dlpack_import: the tensor lies on a device of type %d%s, which %s "
                       "cannot reach",
                       (int)type, known && names[type] ? names[type] : "", device->gpu.info.name);
}

/* Row-major without gaps. The stride of a dimension of 1 means nothing. The whole was measured, and
 * is not empty: the product does not wrap. */
static bool is_compact(const struct ferry_dlpack_tensor *tensor)
{
    uint64_t stride = 1;
    for (int32_t i = tensor->rank - 1; tensor->strides && i >= 0; i--) {
        if (tensor->shape[i] != 1 && (uint64_t)tensor->strides[i] != stride)
            return false;
        stride *= (uint64_t)tensor->shape[i];
    }
    return true;
}

static enum ferry_status copy_tensor(ferry_device *device, const struct ferry_dlpack_tensor *tensor,
                                     size_t size, enum ferry_storage storage,
                                     ferry_buffer **out_buffer)
{
    ferry_buffer *buffer = NULL;
    const struct ferry_buffer_params params = {
        .size = size, .storage = storage, .label = "DLPack tensor"};
    enum ferry_status status = ferry_buffer_create(device, &params, &buffer);
    if (status)
        return status;
    status = ferry_copy_from_host(buffer, (const unsigned char *)tensor->data + tensor->byte_offset,
                                  size, 0);
    if (!status)
        *out_buffer = buffer;
    else
        ferry_buffer_destroy(buffer);
    return status;
}

/* On success release is called with self when the tensor is of no more use. */
static enum ferry_status take(ferry_device *device, const struct ferry_dlpack_tensor *tensor,
                              enum ferry_storage storage, void (*release)(void *self), void *self,
                              ferry_buffer **out_buffer)
{
    uint64_t size = 0;
    enum ferry_status status = check_device(device, tensor, storage);
    if (!status)
        status = measure("ferry_dlpack_import", tensor->type, tensor->rank, tensor->shape, &size);
    if (status)
        return status;
    if (size == 0)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_import: the tensor is empty, "
                           "and there are no empty buffers");
    if (!is_compact(tensor))
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_dlpack_import: the tensor's strides are "
                           "not row-major without gaps: make it contiguous first");
    if (!tensor->data)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_import: the tensor's data is "
                           "NULL");
    if (!in_host_memory(tensor)) /* the deleter comes when the buffer has gone */
        return native_of(device)->wrap(device, tensor, (size_t)size, release, self, out_buffer);
    status = copy_tensor(device, tensor, (size_t)size, storage, out_buffer);
    if (!status)
        release(self);
    return status;
}

static void release_plain(void *self)
{
    struct ferry_dlpack_managed *managed = self;
    if (managed->deleter)
        managed->deleter(managed);
}

static void release_versioned(void *self)
{
    struct ferry_dlpack_managed_versioned *managed = self;
    if (managed->deleter)
        managed->deleter(managed);
}

enum ferry_status ferry_dlpack_import(ferry_device *device, struct ferry_dlpack_managed *managed,
                                      enum ferry_storage storage, ferry_buffer **out_buffer)
{
    if (!device || !managed || !out_buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_import: an argument is NULL");
    return take(device, &managed->tensor, storage, release_plain, managed, out_buffer);
}

enum ferry_status ferry_dlpack_import_versioned(ferry_device *device,
                                                struct ferry_dlpack_managed_versioned *managed,
                                                enum ferry_storage storage,
                                                ferry_buffer **out_buffer)
{
    if (!device || !managed || !out_buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_dlpack_import: an argument is NULL");
    if (managed->major != VERSION_MAJOR) /* then nothing else in it may be looked at */
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_dlpack_import: the tensor is of DLPack "
                           "version %u.%u, not 1",
                           managed->major, managed->minor);
    if ((managed->flags & FERRY_DLPACK_READ_ONLY) != 0 && !in_host_memory(&managed->tensor))
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_dlpack_import: the tensor is read-only, and a buffer that wraps "
                           "it could be written");
    return take(device, &managed->tensor, storage, release_versioned, managed, out_buffer);
}
