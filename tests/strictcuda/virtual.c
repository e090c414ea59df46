/*
 * Memory that is made apart from its address, and has descriptors; and other APIs' memory. The store
 * is a memfd, so that another process, or a second import, has the same bytes. Behind it a mark says
 * whose it is.
 */
#define _GNU_SOURCE /* memfd_create, F_DUPFD_CLOEXEC */
#include "sim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GRANULE = 2 << 20, MARK = 16 };

static const char ours[MARK] = "strict CUDA's   ", others[MARK] = "strict Vulkan's ";

struct allocation {
    struct allocation *next;
    cu_context context; /* whose device has it */
    int fd;
    size_t size;
    unsigned maps;
    bool released, imported;
};

struct reservation {
    struct reservation *next;
    cu_context context;
    cu_address address;
    size_t size;
};

struct CUextMemory_st {
    cu_external next;
    cu_context context;
    int fd;
    struct stat known;
    size_t size;
};

static struct allocation *allocations; /* under the lock, like the two below */
static struct reservation *reservations;
static cu_external externals;

/* --- stores ------------------------------------------------------------------------------------ */

static int make_store(size_t size, const char *mark)
{
    const int fd = memfd_create("strictcuda", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)(size + MARK)) ||
        pwrite(fd, mark, MARK, (off_t)size) != MARK)
        abort();
    return fd;
}

/* The bytes of a store, if it has this mark; 0: it is none. */
static size_t store_size(int fd, const char *mark)
{
    struct stat known;
    char found[MARK];
    if (fstat(fd, &known) || !S_ISREG(known.st_mode) || known.st_size <= MARK ||
        pread(fd, found, MARK, known.st_size - MARK) != MARK || memcmp(found, mark, MARK) != 0)
        return 0;
    return (size_t)known.st_size - MARK;
}

static unsigned char *map_store(int fd, size_t size)
{
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        abort();
    return bytes;
}

int strictcuda_external(size_t size)
{
    return make_store(size, others);
}

/* --- allocations ------------------------------------------------------------------------------- */

static bool is_whole(const char *function, size_t size)
{
    if (size && size % GRANULE == 0)
        return true;
    sim_breach(STRICTCUDA_VIRTUAL, "%s: %zu bytes are no whole granules", function, size);
    return false;
}

/* The context of the device that a location names. */
static cu_context located(struct cu_location location)
{
    const bool known = location.type == CU_LOCATION_DEVICE && location.id >= 0 &&
                       location.id < (int)sim.options.devices;
    return known ? &sim.contexts[location.id] : NULL;
}

static struct allocation *find(const char *function, cu_memory memory)
{
    struct allocation *a = allocations;
    while (a && (a->released || (cu_memory)(uintptr_t)a != memory))
        a = a->next;
    if (!a)
        sim_breach(STRICTCUDA_HANDLE, "%s: memory that is not there", function);
    return a;
}

static struct allocation *add(cu_context context, int fd, size_t size, bool imported)
{
    struct allocation *a = calloc(1, sizeof *a);
    if (!a)
        abort();
    *a = (struct allocation){allocations, context, fd, size, 0, false, imported};
    allocations = a;
    context->used += imported ? 0 : size;
    return a;
}

/* Once nobody has it any more. */
static void drop_unused(struct allocation *a)
{
    if (a->maps || !a->released)
        return;
    struct allocation **link = &allocations;
    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    a->context->used -= a->imported ? 0 : a->size;
    close(a->fd);
    free(a);
}

void sim_allocation_unmapped(struct allocation *a)
{
    a->maps--;
    drop_unused(a);
}

static cu_result begin(const char *function)
{
    return sim_begin(function, NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
}

static bool is_prop(const struct cu_memory_prop *prop)
{
    return prop && prop->type == CU_MEMORY_PINNED && prop->handles == CU_HANDLE_FD &&
           !prop->win32 && located(prop->location);
}

cu_result sim_MemGetAllocationGranularity_10020(size_t *granularity,
                                                const struct cu_memory_prop *prop,
                                                cu_granularity which)
{
    const cu_result result = sim_begin("cuMemGetAllocationGranularity", NEEDS_INIT);
    if (result)
        return result;
    if (!is_prop(prop) || which != CU_GRANULARITY_MINIMUM)
        return sim_end(CU_ERROR_INVALID_VALUE);
    *granularity = GRANULE;
    return sim_end(CU_SUCCESS);
}

cu_result sim_MemCreate_10020(cu_memory *memory, size_t size, const struct cu_memory_prop *prop,
                              unsigned long long flags)
{
    const cu_result result = begin("cuMemCreate");
    if (result)
        return result;
    if (sim.options.noshare)
        return sim_end(CU_ERROR_NOT_SUPPORTED);
    if (flags || !is_prop(prop) || !is_whole("cuMemCreate", size))
        return sim_end(CU_ERROR_INVALID_VALUE);
    const cu_context context = located(prop->location);
    if (!sim_has_room(context, size))
        return sim_end(CU_ERROR_OUT_OF_MEMORY);
    const int fd = make_store(size, ours);
    unsigned char *bytes = map_store(fd, GRANULE);
    memset(bytes, 0xDB, GRANULE); /* it is not zero */
    munmap(bytes, GRANULE);
    *memory = (cu_memory)(uintptr_t)add(context, fd, size, false);
    return sim_end(CU_SUCCESS);
}

cu_result sim_MemRelease_10020(cu_memory memory)
{
    const cu_result result = begin("cuMemRelease");
    if (result)
        return result;
    struct allocation *a = find("cuMemRelease", memory);
    if (!a)
        return sim_end(CU_ERROR_INVALID_VALUE);
    a->released = true;
    drop_unused(a);
    return sim_end(CU_SUCCESS);
}

/* --- addresses --------------------------------------------------------------------------------- */

static struct reservation **reserved(cu_address address, size_t size)
{
    struct reservation **link = &reservations;
    while (*link && ((*link)->address != address || (*link)->size != size))
        link = &(*link)->next;
    return link;
}

cu_result sim_MemAddressReserve_10020(cu_address *address, size_t size, size_t alignment,
                                      cu_address wish, unsigned long long flags)
{
    const cu_result result = begin("cuMemAddressReserve");
    if (result)
        return result;
    if (alignment || wish || flags || !is_whole("cuMemAddressReserve", size))
        return sim_end(CU_ERROR_INVALID_VALUE);
    void *at = sim_map(size, PROT_NONE);
    if (!at)
        return sim_end(CU_ERROR_OUT_OF_MEMORY);
    struct reservation *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    *r = (struct reservation){reservations, sim_current(), (cu_address)(uintptr_t)at, size};
    reservations = r;
    *address = r->address;
    return sim_end(CU_SUCCESS);
}

static void drop_reservation(struct reservation **link)
{
    struct reservation *r = *link;
    *link = r->next;
    munmap((void *)(uintptr_t)r->address, r->size);
    free(r);
}

cu_result sim_MemAddressFree_10020(cu_address address, size_t size)
{
    const cu_result result = begin("cuMemAddressFree");
    if (result)
        return result;
    struct reservation **link = reserved(address, size);
    if (!*link || sim_range(address)) {
        sim_breach(STRICTCUDA_VIRTUAL, "cuMemAddressFree of what is %s",
                   *link ? "still mapped" : "not reserved");
        return sim_end(CU_ERROR_INVALID_VALUE);
    }
    drop_reservation(link);
    return sim_end(CU_SUCCESS);
}

/* Beyond the memory's end is an error that CUDA tells: an importer does not know the size. */
cu_result sim_MemMap_10020(cu_address address, size_t size, size_t offset, cu_memory memory,
                           unsigned long long flags)
{
    const cu_result result = begin("cuMemMap");
    if (result)
        return result;
    struct allocation *a = find("cuMemMap", memory);
    const bool whole = is_whole("cuMemMap", size);
    if (!a || !whole || offset || flags)
        return sim_end(CU_ERROR_INVALID_VALUE);
    if (!*reserved(address, size) || sim_range(address)) {
        sim_breach(STRICTCUDA_VIRTUAL, "cuMemMap: the address is not reserved, or in use");
        return sim_end(CU_ERROR_INVALID_VALUE);
    }
    if (size > a->size)
        return sim_end(CU_ERROR_INVALID_VALUE);
    struct range *range = sim_range_add(RANGE_VIRTUAL, sim_current(), size);
    range->base = address;
    range->bytes = map_store(a->fd, size);
    range->allocation = a;
    a->maps++;
    return sim_end(CU_SUCCESS);
}

static struct range *mapped(const char *function, cu_address address, size_t size)
{
    struct range *range = sim_range(address);
    if (range && range->kind == RANGE_VIRTUAL && range->base == address && range->size == size)
        return range;
    sim_breach(STRICTCUDA_VIRTUAL, "%s of %zu bytes, which are not what is mapped", function, size);
    return NULL;
}

cu_result sim_MemSetAccess_10020(cu_address address, size_t size, const struct cu_access *access,
                                 size_t count)
{
    const cu_result result = begin("cuMemSetAccess");
    if (result)
        return result;
    struct range *range = mapped("cuMemSetAccess", address, size);
    if (!range || count != 1 || access->flags != CU_ACCESS_READ_WRITE)
        return sim_end(CU_ERROR_INVALID_VALUE);
    /* A device reaches another's memory where they are peers: here none are. */
    if (located(access->location) != sim_current() || range->allocation->context != sim_current())
        return sim_end(CU_ERROR_INVALID_DEVICE);
    range->reached = true;
    return sim_end(CU_SUCCESS);
}

cu_result sim_MemUnmap_10020(cu_address address, size_t size)
{
    const cu_result result = begin("cuMemUnmap");
    if (result)
        return result;
    struct range *range = mapped("cuMemUnmap", address, size);
    if (!range)
        return sim_end(CU_ERROR_INVALID_VALUE);
    if (range->in_use)
        sim_breach(STRICTCUDA_BUSY_MEMORY, "cuMemUnmap of memory that %u pieces of work use",
                   range->in_use);
    sim_wait_idle(range->context);
    if (range->context->sticky)
        return sim_end(range->context->sticky);
    sim_range_drop(range);
    return sim_end(CU_SUCCESS);
}

/* --- descriptors ------------------------------------------------------------------------------- */

static int as_fd(void *handle)
{
    return (int)(intptr_t)handle;
}

static bool is_open(const char *function, int fd)
{
    if (fcntl(fd, F_GETFD) >= 0)
        return true;
    sim_breach(STRICTCUDA_DESCRIPTOR, "%s: descriptor %d is not open", function, fd);
    return false;
}

/* As CUDA's, a program that this one starts has it too. */
cu_result sim_MemExportToShareableHandle_10020(void *handle, cu_memory memory, cu_handle_type type,
                                               unsigned long long flags)
{
    const cu_result result = begin("cuMemExportToShareableHandle");
    if (result)
        return result;
    const struct allocation *a = find("cuMemExportToShareableHandle", memory);
    if (!a || type != CU_HANDLE_FD || flags)
        return sim_end(CU_ERROR_INVALID_VALUE);
    const int fd = fcntl(a->fd, F_DUPFD, 0);
    memcpy(handle, &fd, sizeof fd);
    return sim_end(fd < 0 ? CU_ERROR_OPERATING_SYSTEM : CU_SUCCESS);
}

cu_result sim_MemGetHandleForAddressRange_11070(void *handle, cu_address address, size_t size,
                                                cu_range_handle type, unsigned long long flags)
{
    const cu_result result = begin("cuMemGetHandleForAddressRange");
    if (result)
        return result;
    const struct range *range = mapped("cuMemGetHandleForAddressRange", address, size);
    if (!range || type != CU_RANGE_DMA_BUF || flags)
        return sim_end(CU_ERROR_INVALID_VALUE);
    const int fd = fcntl(range->allocation->fd, F_DUPFD, 0);
    memcpy(handle, &fd, sizeof fd);
    return sim_end(fd < 0 ? CU_ERROR_OPERATING_SYSTEM : CU_SUCCESS);
}

/* The descriptor stays the caller's. */
cu_result sim_MemImportFromShareableHandle_10020(cu_memory *memory, void *handle,
                                                 cu_handle_type type)
{
    const cu_result result = begin("cuMemImportFromShareableHandle");
    if (result)
        return result;
    const int fd = as_fd(handle);
    const size_t size = is_open("cuMemImportFromShareableHandle", fd) ? store_size(fd, ours) : 0;
    if (!size || type != CU_HANDLE_FD)
        return sim_end(CU_ERROR_INVALID_VALUE);
    *memory = (cu_memory)(uintptr_t)add(sim_current(), fcntl(fd, F_DUPFD_CLOEXEC, 0), size, true);
    return sim_end(CU_SUCCESS);
}

/* --- other APIs' memory ------------------------------------------------------------------------ */

/* The descriptor is CUDA's from a success on. */
cu_result sim_ImportExternalMemory_10000(cu_external *external,
                                         const struct cu_external_memory *from)
{
    const cu_result result = begin("cuImportExternalMemory");
    if (result)
        return result;
    const int fd = from->handle.fd;
    if (!is_open("cuImportExternalMemory", fd) || from->type != CU_EXTERNAL_OPAQUE_FD ||
        from->flags || store_size(fd, others) != from->size)
        return sim_end(CU_ERROR_INVALID_VALUE);
    cu_external e = calloc(1, sizeof *e);
    if (!e)
        abort();
    *e = (struct CUextMemory_st){
        .next = externals, .context = sim_current(), .fd = fd, .size = from->size};
    fstat(fd, &e->known);
    externals = e;
    *external = e;
    return sim_end(CU_SUCCESS);
}

static cu_external *find_external(const char *function, cu_external external)
{
    cu_external *link = &externals;
    while (*link && *link != external)
        link = &(*link)->next;
    if (!*link)
        sim_breach(STRICTCUDA_HANDLE, "%s: external memory that is not there", function);
    return link;
}

/* cuMemFree takes it. */
cu_result sim_ExternalMemoryGetMappedBuffer_10000(cu_address *address, cu_external external,
                                                  const struct cu_external_buffer *buffer)
{
    const cu_result result = begin("cuExternalMemoryGetMappedBuffer");
    if (result)
        return result;
    const cu_external e = *find_external("cuExternalMemoryGetMappedBuffer", external);
    if (!e || buffer->flags || buffer->offset || !buffer->size || buffer->size > e->size)
        return sim_end(CU_ERROR_INVALID_VALUE);
    void *at = sim_map(buffer->size, PROT_NONE);
    if (!at)
        return sim_end(CU_ERROR_OUT_OF_MEMORY);
    struct range *range = sim_range_add(RANGE_DEVICE, sim_current(), buffer->size);
    range->base = *address = (cu_address)(uintptr_t)at;
    range->bytes = map_store(e->fd, buffer->size);
    range->external = e;
    return sim_end(CU_SUCCESS);
}

static void drop_external(cu_external *link)
{
    cu_external e = *link;
    struct stat now;
    if (fstat(e->fd, &now) || now.st_ino != e->known.st_ino)
        sim_breach(STRICTCUDA_DESCRIPTOR, "descriptor %d was CUDA's, and is closed", e->fd);
    else
        close(e->fd);
    *link = e->next;
    free(e);
}

cu_result sim_DestroyExternalMemory_10000(cu_external external)
{
    const cu_result result = begin("cuDestroyExternalMemory");
    if (result)
        return result;
    cu_external *link = find_external("cuDestroyExternalMemory", external);
    if (!*link)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    for (const struct range *range = sim.ranges; range; range = range->next)
        if (range->external == external)
            sim_breach(STRICTCUDA_DESCRIPTOR, "cuDestroyExternalMemory before its buffers' end");
    drop_external(link);
    return sim_end(CU_SUCCESS);
}

/* --- what is left ------------------------------------------------------------------------------ */

/* context NULL: of all. What is mapped counts as a range. */
size_t sim_virtual_left(cu_context context)
{
    size_t left = 0;
    for (const struct allocation *a = allocations; a; a = a->next)
        left += !context || a->context == context;
    for (const struct reservation *r = reservations; r; r = r->next)
        left += !context || r->context == context;
    for (cu_external e = externals; e; e = e->next)
        left += !context || e->context == context;
    return left;
}

void sim_drop_virtual(cu_context context)
{
    struct allocation *a = allocations;
    while (a) {
        struct allocation *next = a->next;
        a->released |= a->context == context;
        drop_unused(a);
        a = next;
    }
    struct reservation **link = &reservations;
    while (*link)
        if ((*link)->context == context)
            drop_reservation(link);
        else
            link = &(*link)->next;
    cu_external *external = &externals;
    while (*external)
        if ((*external)->context == context)
            drop_external(external);
        else
            external = &(*external)->next;
}
