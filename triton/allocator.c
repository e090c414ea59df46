#include "cuda.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* What SetResponseCallback's userp points to: the policy of one model. */
struct model {
    ferry_triton_allocator *allocator;
    char *name; /* NULL: all models that are not listed */
};

struct ferry_triton_allocator {
    TRITONSERVER_ResponseAllocator *triton;
    ferry_device *device;
    int64_t id;
    uint64_t limit;
    bool fallback;
    _Atomic uint64_t given; /* bytes given out */
    _Atomic uint64_t live;  /* buffers given out */
    struct model others, *models;
    size_t model_count;
};

/* One buffer given out; Triton's buffer_userp. */
struct given {
    ferry_triton_allocator *allocator;
    ferry_buffer *buffer; /* NULL: plain host memory */
    void *base;
    size_t size;
    bool is_gpu;
};

/* --- taking memory ---------------------------------------------------------------------------- */

static bool take_of_limit(ferry_triton_allocator *allocator, size_t size)
{
    const uint64_t limit = allocator->limit ? allocator->limit : UINT64_MAX;
    uint64_t before = atomic_load(&allocator->given);
    do {
        if (size > limit || before > limit - size)
            return false;
    } while (!atomic_compare_exchange_weak(&allocator->given, &before, before + size));
    return true;
}

static enum ferry_status take_buffer(struct given *given, enum ferry_storage storage,
                                     const char *label)
{
    void *contents = NULL;
    ferry_buffer *buffer = NULL;
    const bool is_gpu = storage == FERRY_STORAGE_PRIVATE;
    enum ferry_status status = ferry_buffer_create(
        given->allocator->device,
        &(struct ferry_buffer_params){.size = given->size, .storage = storage, .label = label},
        &buffer);
    if (!status && storage == FERRY_STORAGE_SHARED)
        status = ferry_buffer_contents(buffer, &contents);
    if (!status && is_gpu)
        contents = (void *)ferry__triton_cuda_address(buffer);
    if (!status) {
        given->base = (void *)ferry__triton_table_add((uintptr_t)contents, buffer, is_gpu);
        if (!given->base)
            status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    if (status)
        ferry_buffer_destroy(buffer);
    else
        given->buffer = buffer;
    given->is_gpu = is_gpu && !status;
    return status;
}

static bool is_exhausted(enum ferry_status status)
{
    return status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY || status == FERRY_ERROR_OUT_OF_HOST_MEMORY ||
           status == FERRY_ERROR_POOL_EXHAUSTED;
}

static enum ferry_status take_plain(struct given *given)
{
    given->base = malloc(given->size);
    if (!given->base)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    FERRY_TRITON_ADD(fallback_plain, 1);
    return FERRY_OK;
}

/* The best memory there is, in the order that the policy allows. */
static enum ferry_status take(struct given *given, bool is_private, const char *label)
{
    const bool fallback = given->allocator->fallback;
    enum ferry_status status = FERRY_OK;
    if (is_private) {
        status = take_buffer(given, FERRY_STORAGE_PRIVATE, label);
        if (!status)
            FERRY_TRITON_ADD(allocations_private, 1);
        if (!is_exhausted(status) || !fallback)
            return status;
    }
    status = take_buffer(given, FERRY_STORAGE_SHARED, label);
    if (!status) {
        FERRY_TRITON_ADD(allocations_shared, 1);
        if (is_private)
            FERRY_TRITON_ADD(fallback_shared, 1);
    }
    return is_exhausted(status) && fallback ? take_plain(given) : status;
}

static TRITONSERVER_Error *refuse_limit(ferry_triton_allocator *allocator, const char *name,
                                        size_t size)
{
    FERRY_TRITON_ADD(allocations_refused, 1);
    return ferry__triton_fail(TRITONSERVER_ERROR_UNAVAILABLE,
                              "output \"%s\": %zu bytes exceed the limit of %llu bytes for "
                              "responses, of which %llu are in use",
                              name, size, (unsigned long long)allocator->limit,
                              (unsigned long long)atomic_load(&allocator->given));
}

/* --- Triton's callbacks ----------------------------------------------------------------------- */

static const struct model *model_of(void *userp)
{
    return userp;
}

static bool is_private(const struct model *model)
{
    return model && model->name;
}

static TRITONSERVER_Error *allocate(ferry_triton_allocator *allocator, const struct model *model,
                                    const char *name, size_t size, struct given **out_given)
{
    if (!take_of_limit(allocator, size))
        return refuse_limit(allocator, name, size);
    struct given *given = calloc(1, sizeof *given);
    enum ferry_status status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (given) {
        *given = (struct given){.allocator = allocator, .size = size};
        status = take(given, is_private(model), name);
    }
    if (!status) {
        atomic_fetch_add(&allocator->live, 1);
        *out_given = given;
        return NULL;
    }
    FERRY_TRITON_ADD(allocations_refused, is_exhausted(status));
    free(given);
    atomic_fetch_sub(&allocator->given, size);
    return ferry__triton_status(status, "output \"%s\": %zu bytes for a response", name, size);
}

/*
 * Triton gives a callback its allocator, not us; a model's userp knows it. Without userp the
 * allocator is looked for among all there are.
 */
static ferry_triton_allocator *find_allocator(TRITONSERVER_ResponseAllocator *triton);

static TRITONSERVER_Error *on_allocate(TRITONSERVER_ResponseAllocator *triton, const char *name,
                                       size_t size, TRITONSERVER_MemoryType type, int64_t type_id,
                                       void *userp, void **buffer, void **buffer_userp,
                                       TRITONSERVER_MemoryType *actual_type,
                                       int64_t *actual_type_id)
{
    const struct model *model = model_of(userp);
    ferry_triton_allocator *allocator = model ? model->allocator : find_allocator(triton);
    struct given *given = NULL;
    (void)type;
    (void)type_id;
    *buffer = *buffer_userp = NULL;
    *actual_type = TRITONSERVER_MEMORY_CPU;
    *actual_type_id = 0;
    if (!size)
        return NULL; /* Triton does not release what is NULL */
    TRITONSERVER_Error *error = allocate(allocator, model, name, size, &given);
    if (error)
        return error;
    *buffer = given->base;
    *buffer_userp = given;
    if (given->is_gpu) {
        *actual_type = TRITONSERVER_MEMORY_GPU;
        *actual_type_id = allocator->id;
    }
    return NULL;
}

static TRITONSERVER_Error *on_release(TRITONSERVER_ResponseAllocator *triton, void *buffer,
                                      void *buffer_userp, size_t size, TRITONSERVER_MemoryType type,
                                      int64_t type_id)
{
    struct given *given = buffer_userp;
    (void)triton;
    (void)size;
    (void)type;
    (void)type_id;
    if (!given || given->base != buffer)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "the buffer %p was not allocated by Ferry", buffer);
    ferry_triton_allocator *allocator = given->allocator;
    if (given->buffer) {
        (void)ferry__triton_table_remove((uintptr_t)given->base);
        ferry_buffer_destroy(given->buffer);
    } else {
        free(given->base);
    }
    atomic_fetch_sub(&allocator->given, given->size);
    free(given);
    atomic_fetch_sub(&allocator->live, 1);
    return NULL;
}

static TRITONSERVER_Error *on_query(TRITONSERVER_ResponseAllocator *triton, void *userp,
                                    const char *name, size_t *size, TRITONSERVER_MemoryType *type,
                                    int64_t *type_id)
{
    const struct model *model = model_of(userp);
    (void)triton;
    (void)name;
    (void)size;
    *type = is_private(model) ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU;
    *type_id = is_private(model) ? model->allocator->id : 0;
    return NULL;
}

/* --- the allocators there are ----------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock; /* guards all below */
    ferry_triton_allocator **all;
    size_t count;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static ferry_triton_allocator *find_allocator(TRITONSERVER_ResponseAllocator *triton)
{
    ferry_triton_allocator *found = NULL;
    pthread_mutex_lock(&known.lock);
    for (size_t i = 0; i < known.count && !found; i++)
        if (known.all[i]->triton == triton)
            found = known.all[i];
    pthread_mutex_unlock(&known.lock);
    return found;
}

static bool remember(ferry_triton_allocator *allocator)
{
    pthread_mutex_lock(&known.lock);
    ferry_triton_allocator **all = realloc(known.all, (known.count + 1) * sizeof *all);
    if (all) {
        known.all = all;
        known.all[known.count++] = allocator;
    }
    pthread_mutex_unlock(&known.lock);
    return all != NULL;
}

static void forget(const ferry_triton_allocator *allocator)
{
    pthread_mutex_lock(&known.lock);
    for (size_t i = 0; i < known.count; i++)
        if (known.all[i] == allocator)
            known.all[i] = known.all[--known.count];
    if (!known.count) {
        free(known.all);
        known.all = NULL;
    }
    pthread_mutex_unlock(&known.lock);
}

/* --- the public functions --------------------------------------------------------------------- */

static void free_allocator(ferry_triton_allocator *allocator)
{
    forget(allocator);
    for (size_t i = 0; i < allocator->model_count; i++)
        free(allocator->models[i].name);
    free(allocator->models);
    free(allocator);
}

static bool copy_models(ferry_triton_allocator *allocator,
                        const struct ferry_triton_allocator_params *params)
{
    allocator->models = calloc(params->private_model_count + 1, sizeof *allocator->models);
    if (!allocator->models)
        return false;
    for (size_t i = 0; i < params->private_model_count; i++) {
        allocator->models[i].allocator = allocator;
        allocator->models[i].name = strdup(params->private_models[i]);
        allocator->model_count++;
        if (!allocator->models[i].name)
            return false;
    }
    return true;
}

static TRITONSERVER_Error *check(const struct ferry_triton_allocator_params *params,
                                 const void *out_allocator)
{
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    if (!params || !params->device || !out_allocator ||
        (params->private_model_count && !params->private_models))
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_allocator_create: params %p, device %p, "
                                  "out_allocator %p",
                                  (const void *)params, params ? (void *)params->device : NULL,
                                  out_allocator);
    if (!ferry__triton_is_unused(params->reserved, FERRY_TRITON_COUNT(params->reserved)))
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_allocator_create: reserved is not 0");
    for (size_t i = 0; i < params->private_model_count; i++)
        if (!params->private_models[i])
            return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                      "ferry_triton_allocator_create: model %zu is NULL", i);
    if (ferry_triton_device_id(params->device) < 0)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_allocator_create: the device is not from "
                                  "ferry_triton_device");
    return NULL;
}

TRITONSERVER_Error *
ferry_triton_allocator_create(const struct ferry_triton_allocator_params *params,
                              ferry_triton_allocator **out_allocator)
{
    TRITONSERVER_Error *error = check(params, out_allocator);
    if (error)
        return error;
    ferry_triton_allocator *allocator = calloc(1, sizeof *allocator);
    if (!allocator)
        return ferry__triton_no_memory(sizeof *allocator);
    allocator->device = params->device;
    allocator->id = ferry_triton_device_id(params->device);
    allocator->limit = params->limit;
    allocator->fallback = params->fallback;
    allocator->others.allocator = allocator;
    if (!copy_models(allocator, params) || !remember(allocator)) {
        free_allocator(allocator);
        return ferry__triton_no_memory(params->private_model_count * sizeof(struct model));
    }
    error = ferry__triton.TRITONSERVER_ResponseAllocatorNew(&allocator->triton, on_allocate,
                                                            on_release, NULL);
    if (!error) {
        error = ferry__triton.TRITONSERVER_ResponseAllocatorSetQueryFunction(allocator->triton,
                                                                             on_query);
        if (error)
            ferry__triton_delete(
                ferry__triton.TRITONSERVER_ResponseAllocatorDelete(allocator->triton));
    }
    if (error)
        free_allocator(allocator);
    else
        *out_allocator = allocator;
    return error;
}

TRITONSERVER_Error *ferry_triton_allocator_destroy(ferry_triton_allocator *allocator)
{
    if (!allocator)
        return NULL;
    const uint64_t live = atomic_load(&allocator->live);
    if (live)
        return ferry__triton_fail(TRITONSERVER_ERROR_UNAVAILABLE,
                                  "ferry_triton_allocator_destroy: responses still hold %llu "
                                  "buffers",
                                  (unsigned long long)live);
    TRITONSERVER_Error *error =
        ferry__triton.TRITONSERVER_ResponseAllocatorDelete(allocator->triton);
    if (!error)
        free_allocator(allocator);
    return error;
}

TRITONSERVER_ResponseAllocator *ferry_triton_allocator_get(const ferry_triton_allocator *allocator)
{
    return allocator ? allocator->triton : NULL;
}

void *ferry_triton_allocator_userp(const ferry_triton_allocator *allocator, const char *model)
{
    if (!allocator)
        return NULL;
    for (size_t i = 0; model && i < allocator->model_count; i++)
        if (!strcmp(allocator->models[i].name, model))
            return &allocator->models[i];
    return (void *)&allocator->others;
}
