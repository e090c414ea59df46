/* Allocations, page-locked memory, and what an address is. */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t pages(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

void *sim_map(size_t size, int protection)
{
    void *memory =
        mmap(NULL, pages(size), protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

struct range *sim_range(cu_address address)
{
    struct range *range = sim.ranges;
    while (range && (address < range->base || address - range->base >= range->size))
        range = range->next;
    return range;
}

struct range *sim_range_add(enum range_kind kind, cu_context context, size_t size)
{
    struct range *range = calloc(1, sizeof *range);
    if (!range)
        abort();
    range->kind = kind;
    range->context = context;
    range->size = size;
    range->next = sim.ranges;
    sim.ranges = range;
    return range;
}

void sim_range_drop(struct range *range)
{
    struct range **link = &sim.ranges;
    while (*link != range)
        link = &(*link)->next;
    *link = range->next;
    if (range->kind == RANGE_DEVICE) {
        munmap((void *)(uintptr_t)range->base, pages(range->size));
        range->context->used -= range->external ? 0 : range->size;
    }
    if (range->kind != RANGE_REGISTERED)
        munmap(range->bytes, pages(range->size));
    if (range->allocation)
        sim_allocation_unmapped(range->allocation);
    free(range);
}

void sim_drop_ranges(cu_context context)
{
    struct range *range = sim.ranges;
    while (range) {
        struct range *next = range->next;
        if (range->context == context && !range->users)
            sim_range_drop(range);
        range = next;
    }
}

/* --- allocating -------------------------------------------------------------------------------- */

/* Device memory has an address that the host cannot touch, and its bytes elsewhere. NULL: there is
 * no room for so much. */
static struct range *add_device(cu_context context, size_t size)
{
    void *address = sim_map(size, PROT_NONE), *bytes = sim_map(size, PROT_READ | PROT_WRITE);
    if (address && !bytes)
        munmap(address, pages(size));
    if (!address || !bytes)
        return NULL;
    struct range *range = sim_range_add(RANGE_DEVICE, context, size);
    range->base = (cu_address)(uintptr_t)address;
    range->bytes = bytes;
    context->used += size;
    return range;
}

static struct range *add_host(enum range_kind kind, cu_context context, size_t size)
{
    void *bytes = sim_map(size, PROT_READ | PROT_WRITE);
    if (!bytes)
        return NULL;
    struct range *range = sim_range_add(kind, context, size);
    range->base = (cu_address)(uintptr_t)bytes;
    range->bytes = bytes;
    return range;
}

bool sim_has_room(cu_context context, size_t size)
{
    return !sim_fires(&sim.options.fail_alloc) && size <= sim.options.memory &&
           context->used <= sim.options.memory - size;
}

cu_result sim_MemAlloc_3020(cu_address *address, size_t size)
{
    const cu_result result =
        sim_begin("cuMemAlloc", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    if (!size)
        sim_breach(STRICTCUDA_EMPTY, "cuMemAlloc of 0 bytes");
    if (!size || !sim_has_room(sim_current(), size))
        return sim_end(size ? CU_ERROR_OUT_OF_MEMORY : CU_ERROR_INVALID_VALUE);
    struct range *range = add_device(sim_current(), size);
    if (!range)
        return sim_end(CU_ERROR_OUT_OF_MEMORY);
    memset(range->bytes, 0xDB, size < 1 << 20 ? size : 1 << 20); /* it is not zero */
    *address = range->base;
    return sim_end(CU_SUCCESS);
}

cu_result sim_MemHostAlloc_2020(void **host, size_t size, unsigned flags)
{
    const cu_result result =
        sim_begin("cuMemHostAlloc", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    if (!size || flags & ~7u)
        sim_breach(STRICTCUDA_EMPTY, "cuMemHostAlloc of %zu bytes, flags 0x%x", size, flags);
    if (!size || flags & ~7u)
        return sim_end(CU_ERROR_INVALID_VALUE);
    if (sim_fires(&sim.options.fail_alloc))
        return sim_end(CU_ERROR_OUT_OF_MEMORY);
    const struct range *range =
        size <= (size_t)1 << 40 ? add_host(RANGE_HOST, sim_current(), size) : NULL;
    if (!range)
        return sim_end(CU_ERROR_OUT_OF_MEMORY);
    *host = range->bytes;
    return sim_end(CU_SUCCESS);
}

/* Are all the pages there, and, but for reading only, may they be written? */
static bool can_lock(const unsigned char *host, size_t size, bool read_only)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t at = (uint64_t)(uintptr_t)host / page * page;
    const uint64_t end = (uint64_t)(uintptr_t)host + size;
    uint64_t from, to;
    char line[256], rights[5];
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps)
        abort();
    while (at < end && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, rights) != 3 || to <= at)
            continue;
        if (from > at || rights[0] != 'r' || (!read_only && rights[1] != 'w'))
            break;
        at = to;
    }
    fclose(maps);
    return at >= end;
}

/* --- freeing ----------------------------------------------------------------------------------- */

/* After waiting the range is looked for once more: others may have freed it meanwhile. */
static cu_result give_back(const char *function, cu_address address, enum range_kind kind,
                           cu_result unknown)
{
    struct range *range = sim_range(address);
    if (!range || range->base != address || range->kind != kind) {
        sim_breach(STRICTCUDA_RANGE, "%s of %p, which is not what it takes", function,
                   (void *)(uintptr_t)address);
        return unknown;
    }
    if (range->in_use)
        sim_breach(STRICTCUDA_BUSY_MEMORY, "%s of memory that %u pieces of work use", function,
                   range->in_use);
    sim_wait_idle(range->context);
    range = sim_range(address);
    if (!range)
        return unknown;
    if (range->context->sticky)
        return range->context->sticky;
    if (kind == RANGE_REGISTERED && !can_lock(range->bytes, range->size, true))
        sim.unmapped++;
    sim_range_drop(range);
    return CU_SUCCESS;
}

uint64_t strictcuda_unmapped(void)
{
    pthread_mutex_lock(&sim.lock);
    const uint64_t unmapped = sim.unmapped;
    pthread_mutex_unlock(&sim.lock);
    return unmapped;
}

cu_result sim_MemFree_3020(cu_address address)
{
    const cu_result result =
        sim_begin("cuMemFree", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    return sim_end(give_back("cuMemFree", address, RANGE_DEVICE, CU_ERROR_INVALID_VALUE));
}

cu_result sim_MemFreeHost_2000(void *host)
{
    const cu_result result =
        sim_begin("cuMemFreeHost", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    return sim_end(give_back("cuMemFreeHost", (cu_address)(uintptr_t)host, RANGE_HOST,
                             CU_ERROR_INVALID_VALUE));
}

/* --- registering ------------------------------------------------------------------------------- */

static bool overlaps_known(const unsigned char *host, size_t size)
{
    const cu_address begin = (cu_address)(uintptr_t)host;
    for (const struct range *range = sim.ranges; range; range = range->next)
        if (begin < range->base + range->size && range->base < begin + size)
            return true;
    return false;
}

static cu_result check_register(void *host, size_t size, unsigned flags)
{
    if (!host || !size || flags & ~15u) {
        sim_breach(STRICTCUDA_EMPTY, "cuMemHostRegister of %zu bytes at %p, flags 0x%x", size, host,
                   flags);
        return CU_ERROR_INVALID_VALUE;
    }
    if (sim_fires(&sim.options.import_fail))
        return CU_ERROR_OPERATING_SYSTEM;
    if (sim.options.noregister || (sim.options.noreadonly && flags & CU_HOST_REGISTER_READ_ONLY))
        return CU_ERROR_NOT_SUPPORTED;
    if (overlaps_known(host, size))
        return CU_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    return CU_SUCCESS;
}

cu_result sim_MemHostRegister_6050(void *host, size_t size, unsigned flags)
{
    cu_result result =
        sim_begin("cuMemHostRegister", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    const bool read_only = flags & CU_HOST_REGISTER_READ_ONLY;
    result = check_register(host, size, flags);
    if (!result && !can_lock(host, size, read_only))
        result = CU_ERROR_INVALID_VALUE;
    if (result)
        return sim_end(result);
    struct range *range = sim_range_add(RANGE_REGISTERED, sim_current(), size);
    range->base = (cu_address)(uintptr_t)host;
    range->bytes = host;
    range->read_only = read_only;
    return sim_end(CU_SUCCESS);
}

cu_result sim_MemHostUnregister_4000(void *host)
{
    const cu_result result =
        sim_begin("cuMemHostUnregister", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    return sim_end(give_back("cuMemHostUnregister", (cu_address)(uintptr_t)host, RANGE_REGISTERED,
                             CU_ERROR_HOST_MEMORY_NOT_REGISTERED));
}

/* --- asking ------------------------------------------------------------------------------------ */

cu_result sim_MemGetInfo_3020(size_t *available, size_t *total)
{
    const cu_result result = sim_begin("cuMemGetInfo", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    *total = sim.options.memory;
    *available = sim.options.memory - sim_current()->used;
    return sim_end(CU_SUCCESS);
}

bool sim_range_is_device(const struct range *range)
{
    return range->kind == RANGE_DEVICE || range->kind == RANGE_VIRTUAL;
}

static cu_result attribute_of(const struct range *range, cu_pointer_attribute which, void *value)
{
    const bool device = range && (sim_range_is_device(range) || range->kind == RANGE_MANAGED);
    switch (which) {
    case CU_POINTER_MEMORY_TYPE:
        *(unsigned *)value = device ? CU_MEMORY_DEVICE : range ? CU_MEMORY_HOST : 0;
        return CU_SUCCESS;
    case CU_POINTER_ORDINAL:
        *(int *)value = range ? (int)(range->context - sim.contexts) : -1;
        return CU_SUCCESS;
    case CU_POINTER_IS_MANAGED:
        *(unsigned *)value = range && range->kind == RANGE_MANAGED;
        return CU_SUCCESS;
    case CU_POINTER_RANGE_START: *(cu_address *)value = range ? range->base : 0; return CU_SUCCESS;
    case CU_POINTER_RANGE_SIZE: *(size_t *)value = range ? range->size : 0; return CU_SUCCESS;
    default: return CU_ERROR_INVALID_VALUE;
    }
}

cu_result sim_PointerGetAttributes_7000(unsigned count, cu_pointer_attribute *which, void **values,
                                        cu_address pointer)
{
    cu_result result =
        sim_begin("cuPointerGetAttributes", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    for (unsigned i = 0; i < count && !result; i++)
        result = attribute_of(sim_range(pointer), which[i], values[i]);
    return sim_end(result);
}

/* --- the user's own memory --------------------------------------------------------------------- */

uint64_t strictcuda_alloc(enum strictcuda_memory kind, size_t size)
{
    pthread_mutex_lock(&sim.lock);
    struct range *range = kind == STRICTCUDA_DEVICE
                              ? add_device(&sim.contexts[0], size)
                              : add_host(kind == STRICTCUDA_HOST ? RANGE_HOST : RANGE_MANAGED,
                                         &sim.contexts[0], size);
    if (!range)
        abort();
    range->users = true;
    const cu_address base = range->base;
    pthread_mutex_unlock(&sim.lock);
    return base;
}

void strictcuda_alloc_row(size_t size, uint64_t *out_addresses, size_t count)
{
    char *row = size % pages(1) ? NULL : sim_map(size * count, PROT_NONE);
    if (!row)
        abort();
    pthread_mutex_lock(&sim.lock);
    for (size_t i = 0; i < count; i++) {
        struct range *range = sim_range_add(RANGE_DEVICE, &sim.contexts[0], size);
        range->bytes = sim_map(size, PROT_READ | PROT_WRITE);
        range->base = (cu_address)(uintptr_t)(row + i * size);
        range->users = true;
        sim.contexts[0].used += size;
        if (!range->bytes)
            abort();
        out_addresses[i] = range->base;
    }
    pthread_mutex_unlock(&sim.lock);
}

void strictcuda_free(uint64_t address)
{
    pthread_mutex_lock(&sim.lock);
    struct range *range = sim_range(address);
    if (!range || !range->users || range->in_use)
        abort();
    sim_range_drop(range);
    pthread_mutex_unlock(&sim.lock);
}

unsigned char *strictcuda_bytes(uint64_t address)
{
    pthread_mutex_lock(&sim.lock);
    const struct range *range = sim_range(address);
    unsigned char *bytes = range ? range->bytes + (address - range->base) : NULL;
    pthread_mutex_unlock(&sim.lock);
    return bytes;
}
