#include "cuda_internal.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- what the driver has registered ----------------------------------------------------------- */

/*
 * All of the process: it is not to be taken for others' page-locked memory, since it is
 * unregistered when the transfer that it was registered for ends. In the list from before it is
 * registered until after it is not.
 */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct cuda_memory *first;
    uint64_t leaving; /* the last that was handed over to be unregistered */
} registered = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note_registered(struct cuda_memory *memory)
{
    pthread_mutex_lock(&registered.lock);
    memory->registered_next = registered.first;
    registered.first = memory;
    pthread_mutex_unlock(&registered.lock);
}

static void forget_registered(struct cuda_memory *memory)
{
    pthread_mutex_lock(&registered.lock);
    struct cuda_memory **link = &registered.first;
    while (*link != memory)
        link = &(*link)->registered_next;
    *link = memory->registered_next;
    pthread_cond_broadcast(&registered.changed);
    pthread_mutex_unlock(&registered.lock);
}

/* Of the user's memory only: Ferry's own stays mapped until it is unregistered. */
static void leave_registered(struct cuda_memory *memory)
{
    pthread_mutex_lock(&registered.lock);
    memory->leaving = ++registered.leaving;
    pthread_mutex_unlock(&registered.lock);
}

/* Under its lock. */
static bool any_leaving(uint64_t until)
{
    const struct cuda_memory *memory = registered.first;
    while (memory && (!memory->leaving || memory->leaving > until))
        memory = memory->registered_next;
    return memory != NULL;
}

/* The user may have unmapped what is still to be unregistered, on whichever device: new memory may
 * lie at its address. */
void ferry__cuda_registered_settle(void)
{
    pthread_mutex_lock(&registered.lock);
    const uint64_t until = registered.leaving;
    while (any_leaving(until))
        pthread_cond_wait(&registered.changed, &registered.lock);
    pthread_mutex_unlock(&registered.lock);
}

/* Under its lock. */
static bool is_registered(cu_address start)
{
    const struct cuda_memory *memory = registered.first;
    while (memory && (cu_address)(uintptr_t)memory->host != start)
        memory = memory->registered_next;
    return memory != NULL;
}

/* --- freeing ---------------------------------------------------------------------------------- */

/*
 * cuMemFree, cuMemFreeHost and cuMemHostUnregister may wait for whatever runs on the device, the
 * user's own kernels too. So a thread of ours calls them, and whoever needs what they give back
 * waits for it (memory_settle).
 */

/* What remains of it once CUDA does not know it. */
static void drop(struct cuda_memory *memory)
{
    if (memory->pages)
        munmap(memory->pages, memory->pages_size);
    ferry__free(memory);
}

static void give_back(struct cuda *c, struct cuda_memory *memory)
{
    cu_result result = CU_SUCCESS;
    const char *call = "";
    switch (memory->kind) {
    case CUDA_DEVICE:
        call = "cuMemFree";
        result = c->cu.MemFree(memory->address);
        break;
    case CUDA_HOST:
        call = "cuMemFreeHost";
        result = c->cu.MemFreeHost(memory->host);
        break;
    case CUDA_REGISTERED:
        call = "cuMemHostUnregister";
        result = c->cu.MemHostUnregister(memory->host);
        break;
    case CUDA_VIRTUAL:
    case CUDA_EXTERNAL: result = ferry__cuda_share_drop(c, memory, &call); break;
    case CUDA_OTHERS: break;
    }
    if (memory->kind == CUDA_REGISTERED)
        forget_registered(memory);
    char why[FERRY__WHY_MAX];
    if (result && ferry__cuda_fail(c, result, call, why) != FERRY_ERROR_DEVICE_LOST)
        ferry__log(FERRY_LOG_ERROR, "cuda: memory is not given back: %s", why);
    drop(memory);
    atomic_fetch_add(&c->freeing.given_back, 1);
}

static void give_back_all(struct cuda *c, struct cuda_memory *memory)
{
    struct cuda_scope scope;
    const bool inside = !ferry__cuda_enter(c, &scope, NULL);
    while (memory) {
        struct cuda_memory *next = memory->next;
        if (inside) {
            give_back(c, memory);
        } else {
            if (memory->kind == CUDA_REGISTERED)
                forget_registered(memory);
            drop(memory);
        }
        memory = next;
    }
    if (inside)
        ferry__cuda_leave(c, &scope);
}

static void *free_there(void *arg)
{
    struct cuda *c = arg;
    pthread_mutex_lock(&c->freeing.lock);
    for (;;) {
        while (!c->freeing.first && !c->freeing.closing)
            pthread_cond_wait(&c->freeing.work, &c->freeing.lock);
        struct cuda_memory *memory = c->freeing.first;
        if (!memory)
            break;
        c->freeing.first = NULL;
        c->freeing.busy = true;
        pthread_mutex_unlock(&c->freeing.lock);
        give_back_all(c, memory);
        pthread_mutex_lock(&c->freeing.lock);
        c->freeing.busy = false;
        pthread_cond_broadcast(&c->freeing.idle);
    }
    pthread_mutex_unlock(&c->freeing.lock);
    return NULL;
}

int ferry__cuda_freeing_init(struct cuda *c)
{
    int error = pthread_mutex_init(&c->freeing.lock, NULL);
    if (error)
        return error;
    error = ferry__cond_init(&c->freeing.work);
    if (error)
        goto destroy_lock;
    error = ferry__cond_init(&c->freeing.idle);
    if (!error)
        return 0;
    pthread_cond_destroy(&c->freeing.work);
destroy_lock:
    pthread_mutex_destroy(&c->freeing.lock);
    return error;
}

void ferry__cuda_freeing_finish(struct cuda *c)
{
    pthread_mutex_lock(&c->freeing.lock);
    c->freeing.closing = true;
    pthread_cond_broadcast(&c->freeing.work);
    pthread_mutex_unlock(&c->freeing.lock);
    if (c->freeing.started)
        pthread_join(c->freeing.thread, NULL);
    pthread_cond_destroy(&c->freeing.idle);
    pthread_cond_destroy(&c->freeing.work);
    pthread_mutex_destroy(&c->freeing.lock);
}

void ferry__cuda_memory_free(void *state, struct ferry__memory *memory)
{
    struct cuda *c = state;
    struct cuda_memory *native = memory->native;
    if (native->kept)
        close(native->kept - 1);
    if (native->kind == CUDA_OTHERS || ferry__cuda_forked(c)) {
        drop(native);
        return;
    }
    native->next = NULL;
    if (native->kind == CUDA_REGISTERED && !native->pages)
        leave_registered(native);
    pthread_mutex_lock(&c->freeing.lock);
    if (!c->freeing.started)
        c->freeing.started =
            !ferry__thread_start(&c->freeing.thread, "ferry-cuda-free", free_there, c);
    const bool theirs = c->freeing.started;
    if (theirs) {
        native->next = c->freeing.first;
        c->freeing.first = native;
        pthread_cond_signal(&c->freeing.work);
    }
    pthread_mutex_unlock(&c->freeing.lock);
    if (!theirs) /* no thread is to be had: waiting is better than a leak */
        give_back_all(c, native);
}

void ferry__cuda_memory_free_pages(void *state, struct ferry__memory *memory, void *pages,
                                   uint64_t size)
{
    struct cuda_memory *native = memory->native;
    native->pages = pages;
    native->pages_size = size;
    ferry__cuda_memory_free(state, memory);
}

void ferry__cuda_memory_settle(void *state)
{
    struct cuda *c = state;
    if (ferry__cuda_forked(c))
        return;
    pthread_mutex_lock(&c->freeing.lock);
    while (c->freeing.first || c->freeing.busy)
        pthread_cond_wait(&c->freeing.idle, &c->freeing.lock);
    pthread_mutex_unlock(&c->freeing.lock);
}

/* --- allocating ------------------------------------------------------------------------------- */

/* What is asked of CUDA: size bytes of kind, or those at memory->host. */
static cu_result ask(struct cuda *c, struct cuda_memory *memory, uint64_t size, unsigned flags,
                     const char **out_call)
{
    cu_result result = CU_SUCCESS;
    switch (memory->kind) {
    case CUDA_DEVICE: *out_call = "cuMemAlloc"; return c->cu.MemAlloc(&memory->address, size);
    case CUDA_HOST:
        *out_call = "cuMemHostAlloc";
        result = c->cu.MemHostAlloc(&memory->host, size, flags);
        break;
    case CUDA_REGISTERED:
        *out_call = "cuMemHostRegister";
        result = c->cu.MemHostRegister(memory->host, size, flags);
        break;
    case CUDA_VIRTUAL:
    case CUDA_EXTERNAL:
    case CUDA_OTHERS: break;
    }
    /* One address space: copies take the host's own pointer. */
    memory->address = (cu_address)(uintptr_t)memory->host;
    return result;
}

/* What was still to be given back may be what is missing: asked once more where some of it was. */
static cu_result ask_again(struct cuda *c, struct cuda_memory *memory, uint64_t size,
                           unsigned flags, const char **out_call)
{
    const uint64_t before = atomic_load(&c->freeing.given_back);
    cu_result result = ask(c, memory, size, flags, out_call);
    if (result != CU_ERROR_OUT_OF_MEMORY && result != CU_ERROR_HOST_MEMORY_ALREADY_REGISTERED)
        return result;
    ferry__cuda_memory_settle(c);
    if (atomic_load(&c->freeing.given_back) != before)
        result = ask(c, memory, size, flags, out_call);
    return result;
}

static enum ferry_status make(struct cuda *c, const struct cuda_memory *wanted, uint64_t size,
                              unsigned flags, struct cuda_memory **out_native, char *why)
{
    struct cuda_scope scope;
    const char *call = "";
    struct cuda_memory *native = ferry__alloc(sizeof *native);
    if (!native) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for an allocation");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    *native = *wanted;
    native->context = c->context;
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (status)
        goto fail;
    ferry__cuda_registered_settle();
    if (native->kind == CUDA_REGISTERED)
        note_registered(native);
    const cu_result result = ask_again(c, native, size, flags, &call);
    if (result && native->kind == CUDA_REGISTERED)
        forget_registered(native);
    if (result)
        status = ferry__cuda_fail(c, result, call, why);
    ferry__cuda_leave(c, &scope);
    if (status)
        goto fail;
    *out_native = native;
    return FERRY_OK;
fail:
    ferry__free(native);
    return status;
}

uint64_t ferry__cuda_memory_available(void *state)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    size_t available = 0, total = 0;
    if (ferry__cuda_enter(c, &scope, NULL))
        return 0;
    const cu_result result = c->cu.MemGetInfo(&available, &total);
    if (result) {
        ferry__cuda_fail(c, result, "cuMemGetInfo", NULL);
        available = 0;
    }
    ferry__cuda_leave(c, &scope);
    return available;
}

enum ferry_status ferry__cuda_memory_alloc(void *state, enum ferry__memory_kind use, uint64_t size,
                                           const char *label, struct ferry__memory *out_memory,
                                           char *why)
{
    (void)label; /* CUDA's memory has no names */
    struct cuda *c = state;
    char reason[FERRY__WHY_MAX];
    const bool private = use == FERRY__MEMORY_PRIVATE;
    const struct cuda_memory wanted = {.kind = private ? CUDA_DEVICE : CUDA_HOST};
    struct cuda_memory *native;
    enum ferry_status status =
        make(c, &wanted, size, CU_HOST_ALLOC_PORTABLE | CU_HOST_ALLOC_DEVICE_MAP, &native, reason);
    if (status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY && private)
        snprintf(why, FERRY__WHY_MAX, "%llu bytes of device memory (%llu are free): %.80s",
                 (unsigned long long)size, (unsigned long long)ferry__cuda_memory_available(c),
                 reason);
    else if (status)
        snprintf(why, FERRY__WHY_MAX, "%llu bytes of %s memory: %.100s", (unsigned long long)size,
                 private ? "device" : "page-locked", reason);
    if (status)
        return status;
    *out_memory = (struct ferry__memory){
        .native = native,
        .size = size,
        .host = native->host,
        .coherent = !private,
        .cached = !private,
        .no_kernel = !private,
        .by_list = true,
    };
    return FERRY_OK;
}

/* --- the caller's memory ---------------------------------------------------------------------- */

static struct ferry__memory host_memory(struct cuda_memory *native, uint64_t size)
{
    return (struct ferry__memory){
        .native = native,
        .size = size,
        .host = native->host,
        .coherent = true,
        .cached = true,
        .no_kernel = true,
        .by_list = true,
    };
}

enum ferry_status ferry__cuda_host_import(void *state, void *host, uint64_t size, bool read_only,
                                          struct ferry__memory *out_memory, char *why)
{
    struct cuda *c = state;
    struct cuda_memory *native;
    const struct cuda_memory wanted = {.kind = CUDA_REGISTERED, .host = host};
    /* Where CUDA cannot register for reading only, what may be written registers all the same. */
    const unsigned flags =
        CU_HOST_REGISTER_PORTABLE | CU_HOST_REGISTER_DEVICE_MAP |
        (read_only && c->read_only_registers ? (unsigned)CU_HOST_REGISTER_READ_ONLY : 0u);
    const enum ferry_status status = make(c, &wanted, size, flags, &native, why);
    if (!status)
        *out_memory = host_memory(native, size);
    return status;
}

/* What CUDA knows of an address. All is zero where it knows nothing. */
struct known {
    unsigned type, managed;
    int ordinal;
    cu_address start;
    size_t size;
};

static cu_result look_up(struct cuda *c, cu_address address, struct known *out)
{
    cu_pointer_attribute which[] = {CU_POINTER_MEMORY_TYPE, CU_POINTER_IS_MANAGED,
                                    CU_POINTER_ORDINAL, CU_POINTER_RANGE_START,
                                    CU_POINTER_RANGE_SIZE};
    void *values[] = {&out->type, &out->managed, &out->ordinal, &out->start, &out->size};
    return c->cu.PointerGetAttributes(sizeof which / sizeof *which, which, values, address);
}

static enum ferry_status adopt(const struct known *known, const void *host, uint64_t size,
                               struct ferry__memory *out_memory, char *why)
{
    const cu_address begin = (cu_address)(uintptr_t)host;
    if (known->managed || known->type != CU_MEMORY_HOST || begin < known->start ||
        begin - known->start > known->size || size > known->size - (begin - known->start)) {
        snprintf(why, FERRY__WHY_MAX, "%llu bytes at %p are not page-locked as one range",
                 (unsigned long long)size, host);
        return FERRY_ERROR_UNSUPPORTED;
    }
    struct cuda_memory *native = ferry__alloc(sizeof *native);
    if (!native) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for page-locked memory");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    *native = (struct cuda_memory){
        .kind = CUDA_OTHERS,
        .host = (void *)(uintptr_t)host,
        .address = begin,
    };
    *out_memory = host_memory(native, size);
    return FERRY_OK;
}

enum ferry_status ferry__cuda_host_find(void *state, const void *host, uint64_t size,
                                        struct ferry__memory *out_memory, char *why)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    struct known known = {0};
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (status)
        return status;
    pthread_mutex_lock(&registered.lock);
    const cu_result result = look_up(c, (cu_address)(uintptr_t)host, &known);
    const bool ours = known.type == CU_MEMORY_HOST && is_registered(known.start);
    pthread_mutex_unlock(&registered.lock);
    if (result)
        status = ferry__cuda_fail(c, result, "cuPointerGetAttributes", why);
    ferry__cuda_leave(c, &scope);
    if (status)
        return status;
    if (known.type == CU_MEMORY_DEVICE && !known.managed) {
        snprintf(why, FERRY__WHY_MAX, "%p is CUDA device memory, not host memory: wrap it", host);
        return FERRY_ERROR_INVALID_ARGUMENT;
    }
    if (out_memory && !ours)
        return adopt(&known, host, size, out_memory, why);
    snprintf(why, FERRY__WHY_MAX, "%p is %s", host,
             ours ? "registered by Ferry, for something else" : "only looked at");
    return FERRY_ERROR_UNSUPPORTED;
}

/* --- device memory of the user's -------------------------------------------------------------- */

static enum ferry_status check_device_memory(const struct cuda *c, const struct known *known,
                                             cu_address address, char *why)
{
    if (known->type != CU_MEMORY_DEVICE || known->managed) {
        snprintf(why, FERRY__WHY_MAX, "0x%llx is %s, not CUDA device memory", address,
                 known->managed                  ? "managed memory"
                 : known->type == CU_MEMORY_HOST ? "page-locked host memory"
                                                 : "unknown to CUDA");
        return known->managed ? FERRY_ERROR_UNSUPPORTED : FERRY_ERROR_INVALID_ARGUMENT;
    }
    if (known->ordinal == c->ordinal)
        return FERRY_OK;
    snprintf(why, FERRY__WHY_MAX, "0x%llx is memory of CUDA's device %d, not %d", address,
             known->ordinal, c->ordinal);
    return FERRY_ERROR_INVALID_ARGUMENT;
}

/* Memory that is mapped piece by piece is several ranges for CUDA, so what is asked is whether the
 * last byte is the device's, too; and of one range that does not reach so far it is the end. */
enum ferry_status ferry__cuda_memory_wrap(void *state, cu_address address, uint64_t size,
                                          struct ferry__memory *out_memory, char *why)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    struct known first = {0}, last = {0};
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (status)
        return status;
    cu_result result = look_up(c, address, &first);
    const bool is_whole =
        address - first.start < first.size && size <= first.size - (address - first.start);
    if (!result && !is_whole)
        result = look_up(c, address + size - 1, &last);
    else
        last = first;
    if (result)
        status = ferry__cuda_fail(c, result, "cuPointerGetAttributes", why);
    ferry__cuda_leave(c, &scope);
    if (!status)
        status = check_device_memory(c, &first, address, why);
    if (status)
        return status;
    if (last.type != CU_MEMORY_DEVICE || last.managed || last.ordinal != c->ordinal) {
        snprintf(why, FERRY__WHY_MAX,
                 "%llu bytes at 0x%llx exceed their memory, %zu bytes at 0x%llx",
                 (unsigned long long)size, address, first.size, first.start);
        return FERRY_ERROR_OUT_OF_RANGE;
    }
    struct cuda_memory *native = ferry__alloc(sizeof *native);
    if (!native) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for wrapped memory");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    *native = (struct cuda_memory){.kind = CUDA_OTHERS, .address = address};
    *out_memory = (struct ferry__memory){.native = native, .size = size};
    return FERRY_OK;
}
