/* Memory is the system's: private memory that the host has no pointer to, and all that it has. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include "host_internal.h"

#include "base/pages.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* Committed page by page when touched, so that a buffer may be longer than what is free. */
unsigned char *ferry__host_map(uint64_t size)
{
    bool huge;
    return ferry__pages_map(size, &huge);
}

struct host_memory *ferry__host_memory_make(uint64_t size, const char *label)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct host_memory *memory = ferry__alloc(sizeof *memory);
    if (memory) {
        memory->size = size;
        pthread_mutex_init(&memory->borrow_lock, NULL);
        memory->mapped = (size + page - 1) / page * page;
        snprintf(memory->label, sizeof memory->label, "%s", label ? label : "");
    }
    return memory;
}

void ferry__host_memory_release(struct host_memory *memory)
{
    if (memory->bytes && !memory->imported)
        munmap(memory->bytes, memory->mapped);
    if (memory->view)
        munmap(memory->view, memory->mapped);
    if (memory->has_fd)
        close(memory->fd);
    pthread_mutex_destroy(&memory->borrow_lock);
    ferry__free(memory);
}

enum ferry_status ferry__host_memory_alloc(void *state, enum ferry__memory_kind use, uint64_t size,
                                           const char *label, struct ferry__memory *out_memory,
                                           char *why)
{
    struct host_device *device = state;
    enum ferry_status status = ferry__host_memory_admit(device, size, why);
    if (status)
        return status;
    const uint64_t atom = device->limits.atom;
    struct host_memory *memory = ferry__host_memory_make((size + atom - 1) / atom * atom, label);
    if (!memory) {
        snprintf(why, FERRY__WHY_MAX, "no host memory to keep account of an allocation");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    const bool mapped = use != FERRY__MEMORY_PRIVATE || device->map_private;
    memory->budgeted = use == FERRY__MEMORY_PRIVATE || use == FERRY__MEMORY_SHARED;
    memory->bytes = ferry__host_map(memory->mapped);
    if (!memory->bytes ||
        !ferry__host_view_make(device, memory, mapped && use != FERRY__MEMORY_SHARED)) {
        snprintf(why, FERRY__WHY_MAX, "mmap of %llu bytes: errno %d", (unsigned long long)size,
                 errno);
        goto release_memory;
    }
    if (!ferry__host_memory_enter(device, memory, why))
        goto release_memory;
    *out_memory = (struct ferry__memory){
        .native = memory,
        .size = memory->size,
        .host = memory->view ? memory->view
                : mapped     ? memory->bytes
                             : NULL,
        .coherent = !memory->view,
        .cached = true,
        .zeroed = !ferry__host_knob(&device->knobs, HOST_ZERO_OFF),
    };
    return FERRY_OK;

release_memory:
    ferry__host_memory_release(memory);
    return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
}

void ferry__host_memory_free(void *state, struct ferry__memory *handle)
{
    if (handle->native)
        ferry__host_memory_leave(state, handle->native);
    *handle = (struct ferry__memory){0};
}

enum ferry_status ferry__host_import(void *state, void *host, uint64_t size, bool read_only,
                                     struct ferry__memory *out_memory, char *why)
{
    struct host_device *device = state;
    const enum ferry_status status = ferry__host_import_admit(device, host, size, why);
    if (status)
        return status;
    struct host_memory *memory = ferry__host_memory_make(size, "import");
    if (!memory) {
        snprintf(why, FERRY__WHY_MAX, "no host memory to keep account of an import");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    memory->bytes = host;
    memory->imported = true;
    memory->read_only = read_only;
    (void)ferry__host_memory_enter(device, memory, why); /* imports are not in the budget */
    *out_memory = (struct ferry__memory){
        .native = memory, .size = size, .host = host, .coherent = true, .cached = true};
    return FERRY_OK;
}
