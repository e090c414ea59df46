#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include "host_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Committed page by page when touched, so that a buffer may be longer than what is free. */
static unsigned char *map(uint64_t size)
{
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

/* Takes size from the device's memory and links memory in. false: there is not so much. */
bool ferry__host_memory_enter(struct host_device *device, struct host_memory *memory,
                              uint64_t *out_free)
{
    bool fits = true;
    pthread_mutex_lock(&device->lock);
    *out_free = device->limits.total_memory - device->used;
    if (memory->budgeted) {
        fits = memory->size <= *out_free;
        device->used += fits ? memory->size : 0;
    }
    if (fits) {
        memory->references = 1;
        memory->next = device->memories;
        if (memory->next)
            memory->next->previous = memory;
        device->memories = memory;
    }
    pthread_mutex_unlock(&device->lock);
    return fits;
}

void ferry__host_memory_drop(struct host_device *device, struct host_memory *memory)
{
    if (--memory->references > 0)
        return;
    *(memory->previous ? &memory->previous->next : &device->memories) = memory->next;
    if (memory->next)
        memory->next->previous = memory->previous;
    device->used -= memory->budgeted ? memory->size : 0;
    if (!memory->imported)
        munmap(memory->bytes, memory->mapped);
    if (memory->view)
        munmap(memory->view, memory->mapped);
    if (memory->has_fd)
        close(memory->fd);
    ferry__free(memory);
}

struct host_memory *ferry__host_memory_make(uint64_t size, const char *label)
{
    struct host_memory *memory = ferry__alloc(sizeof *memory);
    if (memory) {
        memory->size = size;
        snprintf(memory->label, sizeof memory->label, "%s", label ? label : "");
    }
    return memory;
}

/* May this much be had at all? */
enum ferry_status ferry__host_memory_admit(struct host_device *device, uint64_t size, char *why)
{
    if (size == 0) {
        snprintf(why, FERRY__WHY_MAX, "memory of 0 bytes was asked for");
        return ferry__host_breach(why);
    }
    if (atomic_load(&device->lost)) {
        snprintf(why, FERRY__WHY_MAX, "the host device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (size > device->limits.max_allocation) {
        snprintf(why, FERRY__WHY_MAX, "%llu bytes are over the largest allocation, %llu",
                 (unsigned long long)size, (unsigned long long)device->limits.max_allocation);
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    if (ferry__host_fires(device, HOST_FAIL_ALLOC)) {
        snprintf(why, FERRY__WHY_MAX, "an allocation of %llu bytes fails by a knob",
                 (unsigned long long)size);
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    return FERRY_OK;
}

/* Maps what memory needs; view: the host is to have one of its own. */
static bool back(struct host_device *device, struct host_memory *memory, bool view)
{
    memory->mapped = (memory->size + page_size() - 1) / page_size() * page_size();
    memory->bytes = map(memory->mapped);
    if (!memory->bytes)
        return false;
    if (view) {
        memory->view = map(memory->mapped);
        if (!memory->view) {
            munmap(memory->bytes, memory->mapped);
            return false;
        }
    }
    if (ferry__host_knob(&device->knobs, HOST_ZERO_OFF)) {
        memset(memory->bytes, 0xA5, memory->mapped);
        if (view)
            memset(memory->view, 0xA5, memory->mapped);
    }
    return true;
}

enum ferry_status ferry__host_memory_alloc(void *state, enum ferry__memory_kind use, uint64_t size,
                                           const char *label, struct ferry__memory *out_memory,
                                           char *why)
{
    struct host_device *device = state;
    enum ferry_status status = ferry__host_memory_admit(device, size, why);
    if (status)
        return status;
    uint64_t atom = device->limits.atom;
    struct host_memory *memory = ferry__host_memory_make((size + atom - 1) / atom * atom, label);
    if (!memory) {
        snprintf(why, FERRY__WHY_MAX, "no host memory to keep account of an allocation");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    bool mapped = use != FERRY__MEMORY_PRIVATE || device->map_private;
    bool view =
        mapped && use != FERRY__MEMORY_SHARED && ferry__host_knob(&device->knobs, HOST_NONCOHERENT);
    memory->budgeted = use == FERRY__MEMORY_PRIVATE || use == FERRY__MEMORY_SHARED;
    if (!back(device, memory, view)) {
        snprintf(why, FERRY__WHY_MAX, "mmap of %llu bytes: errno %d", (unsigned long long)size,
                 errno);
        ferry__free(memory);
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    uint64_t left = 0;
    if (!ferry__host_memory_enter(device, memory, &left)) {
        snprintf(why, FERRY__WHY_MAX, "%llu bytes are over the %llu of %llu that are free",
                 (unsigned long long)size, (unsigned long long)left,
                 (unsigned long long)device->limits.total_memory);
        munmap(memory->bytes, memory->mapped);
        if (memory->view)
            munmap(memory->view, memory->mapped);
        ferry__free(memory);
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    *out_memory = (struct ferry__memory){
        .native = memory,
        .size = memory->size,
        .host = view     ? memory->view
                : mapped ? memory->bytes
                         : NULL,
        .coherent = !view,
        .cached = true,
        .zeroed = !ferry__host_knob(&device->knobs, HOST_ZERO_OFF),
    };
    return FERRY_OK;
}

void ferry__host_memory_free(void *state, struct ferry__memory *handle)
{
    struct host_device *device = state;
    struct host_memory *memory = handle->native;
    char why[FERRY__WHY_MAX];
    if (!memory)
        return;
    pthread_mutex_lock(&device->lock);
    bool busy = memory->references > 1 && !atomic_load(&device->lost);
    if (busy) {
        snprintf(why, sizeof why, "memory \"%s\" of %llu bytes is freed while commands use it",
                 memory->label, (unsigned long long)memory->size);
    }
    ferry__host_memory_drop(device, memory);
    pthread_mutex_unlock(&device->lock);
    if (busy)
        ferry__host_breach(why);
    *handle = (struct ferry__memory){0};
}

enum ferry_status ferry__host_import(void *state, void *host, uint64_t size, bool read_only,
                                     struct ferry__memory *out_memory, char *why)
{
    struct host_device *device = state;
    uint64_t granularity = device->limits.import_granularity;
    if (granularity == 0) {
        snprintf(why, FERRY__WHY_MAX, "this host device imports no memory");
        return FERRY_ERROR_UNSUPPORTED;
    }
    if (size == 0 || size % granularity != 0 || (uintptr_t)host % granularity != 0) {
        snprintf(why, FERRY__WHY_MAX, "import of %llu bytes at %p: not multiples of %llu",
                 (unsigned long long)size, host, (unsigned long long)granularity);
        return ferry__host_breach(why);
    }
    if (atomic_load(&device->lost)) {
        snprintf(why, FERRY__WHY_MAX, "the host device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (ferry__host_fires(device, HOST_IMPORT_FAIL)) {
        snprintf(why, FERRY__WHY_MAX, "an import of %llu bytes fails by a knob",
                 (unsigned long long)size);
        return FERRY_ERROR_UNSUPPORTED;
    }
    struct host_memory *memory = ferry__host_memory_make(size, "import");
    if (!memory) {
        snprintf(why, FERRY__WHY_MAX, "no host memory to keep account of an import");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    memory->bytes = host;
    memory->imported = true;
    memory->read_only = read_only;
    uint64_t left = 0;
    (void)ferry__host_memory_enter(device, memory, &left);
    *out_memory = (struct ferry__memory){
        .native = memory, .size = size, .host = host, .coherent = true, .cached = true};
    return FERRY_OK;
}

uint64_t ferry__host_memory_available(void *state)
{
    struct host_device *device = state;
    pthread_mutex_lock(&device->lock);
    uint64_t left = device->limits.total_memory - device->used;
    pthread_mutex_unlock(&device->lock);
    return left;
}

void ferry__host_memory_finish(struct host_device *device)
{
    uint64_t count = 0, bytes = 0;
    while (device->memories) {
        count++;
        bytes += device->memories->size;
        device->memories->references = 1;
        ferry__host_memory_drop(device, device->memories);
    }
    ferry__host_check_left("memories", count, bytes);
}
