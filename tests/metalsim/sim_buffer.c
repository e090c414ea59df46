/* Buffers: shared, managed with two stores, private at an address that nothing tells, imports of whole
 * pages. */
#include "sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { POISONED = 1 << 20 }; /* new memory holds no zeros, up to here */

extern void _Block_release(const void *block);

static uint64_t round_up(uint64_t size, uint64_t to)
{
    return (size + to - 1) / to * to;
}

static unsigned char *map(uint64_t size, int protection)
{
    void *memory = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* False: it does not fit. */
static bool account(struct sim_device *device, uint64_t length)
{
    sim_lock();
    bool fits = length <= sim.config.memory && device->allocated <= sim.config.memory - length &&
                (!sim.config.resources || device->buffers < sim.config.resources);
    device->allocated += fits ? length : 0;
    device->buffers += fits;
    sim_unlock();
    return fits;
}

static bool options_allowed(uint64_t options)
{
    uint64_t storage = options >> 4 & 0xf;
    bool discrete = sim.config.machine == METALSIM_AMD;
    if (storage > MTL_STORAGE_PRIVATE)
        sim_breach(METALSIM_STORAGE, "storage mode %d of a buffer", (int)storage);
    if (storage == MTL_STORAGE_PRIVATE && (options & 0xf))
        sim_breach(METALSIM_STORAGE, "a CPU cache mode for private storage");
    return storage != MTL_STORAGE_SHARED || !discrete || !sim.config.no_shared;
}

static bool back(struct sim_buffer *buffer, uint64_t length)
{
    buffer->mapped = round_up(length, 4096);
    buffer->gpu = map(buffer->mapped, PROT_READ | PROT_WRITE);
    buffer->cpu = buffer->storage == MTL_STORAGE_MANAGED
                      ? map(buffer->mapped, PROT_READ | PROT_WRITE)
                      : buffer->gpu;
    if (!buffer->gpu || !buffer->cpu)
        return false;
    if (length <= POISONED) {
        memset(buffer->gpu, 0x5b, length);
        memset(buffer->cpu, 0x5c, length);
    }
    if (buffer->storage == MTL_STORAGE_MANAGED) {
        buffer->told = map(buffer->mapped, PROT_READ | PROT_WRITE);
        if (!buffer->told)
            return false;
        if (length <= POISONED)
            memset(buffer->told, 0x5c, length);
    }
    if (buffer->storage == MTL_STORAGE_PRIVATE)
        buffer->cpu = NULL; /* and nothing tells where the bytes are */
    return true;
}

static struct sim_buffer *buffer_object(struct sim_device *device, uint64_t length,
                                        uint64_t options)
{
    struct sim_buffer *buffer = sim_make(SIM_BUFFER);
    buffer->device = sim_retain(device);
    buffer->length = length;
    buffer->options = options;
    buffer->storage = options >> 4 & 0xf;
    buffer->in_heap = options & METALSIM_OPTION_HEAP;
    buffer->tracked = !(options & MTL_OPTION_UNTRACKED) && !buffer->in_heap;
    return buffer;
}

mtl_id sim_buffer_new(struct sim_device *device, uint64_t length, uint64_t options)
{
    if (!length)
        sim_breach(METALSIM_RANGE, "a buffer of length 0");
    if (sim_constructor_fails() || sim_counts_down(&sim.fail_buffer) || !options_allowed(options) ||
        !length || length > sim.config.max_buffer || !account(device, length))
        return NULL;
    struct sim_buffer *buffer = buffer_object(device, length, options);
    if (!back(buffer, length)) {
        sim_release(buffer);
        return NULL;
    }
    return (mtl_id)buffer;
}

/* --- imports ---------------------------------------------------------------------------------- */

/* msync says ENOMEM where nothing is mapped, and changes nothing. */
static bool is_range_mapped(unsigned char *start, uint64_t size)
{
    return msync(start, size, MS_ASYNC) == 0 || errno != ENOMEM;
}

/* Of a simulated page that is larger than this system's, a part may well be missing: the caller's
 * memory begins or ends in it. */
static bool is_mapped(const struct sim_buffer *buffer)
{
    uint64_t own = (uint64_t)sysconf(_SC_PAGESIZE), page = sim_page_size();
    if (is_range_mapped(buffer->gpu, buffer->length))
        return true;
    for (uint64_t at = 0; at < buffer->length; at += page) {
        bool some = false;
        for (uint64_t part = 0; part < page && !some; part += own)
            some = is_range_mapped(buffer->gpu + at + part, own);
        if (!some)
            return false;
    }
    return true;
}

/* The virtual GPU of macOS 14 and older takes mappings of files, and does not look at them again. */
static enum metalsim_import import_kind(void)
{
    const bool old = sim.config.machine == METALSIM_PARAVIRTUAL && sim.config.macos < 15;
    return sim.config.import == METALSIM_IMPORT_AS_MACHINE && old ? METALSIM_IMPORT_STALE_FILES
                                                                  : sim.config.import;
}

static bool is_file(const void *start)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    bool found = false, file = false;
    while (maps && !found && fgets(line, sizeof line, maps)) {
        uintptr_t begin, end;
        unsigned long inode;
        found =
            sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %lu", &begin, &end, &inode) == 3 &&
            (uintptr_t)start >= begin && (uintptr_t)start < end;
        file = found && inode;
    }
    if (maps)
        fclose(maps);
    return file;
}

/* A store of its own for an import that is stale from its first use on, or lost. */
static void take_then(struct sim_buffer *buffer)
{
    const enum metalsim_import kind = import_kind();
    const bool stale = kind == METALSIM_IMPORT_STALE ||
                       (kind == METALSIM_IMPORT_STALE_FILES && is_file(buffer->cpu));
    if (!stale && kind != METALSIM_IMPORT_LOST)
        return;
    buffer->mapped = round_up(buffer->length, 4096);
    buffer->then = map(buffer->mapped, PROT_READ | PROT_WRITE);
    buffer->lost = !stale;
}

mtl_id sim_buffer_import(struct sim_device *device, void *bytes, uint64_t length, uint64_t options,
                         mtl_block deallocator)
{
    uint64_t page = sim_page_size();
    if ((uintptr_t)bytes % page || length % page || !length) {
        sim_breach(METALSIM_IMPORT, "an import of %p, length %lu, with pages of %lu", bytes,
                   (unsigned long)length, (unsigned long)page);
        return NULL;
    }
    bool refuses = sim.config.machine == METALSIM_AMD && !(options & MTL_OPTION_MANAGED);
    /* A single page is the driver's own question whether imports work at all. */
    refuses |= length > page && sim_counts_down(&sim.fail_import);
    if (sim_constructor_fails() || refuses || sim.config.import == METALSIM_IMPORT_NIL ||
        length > sim.config.max_buffer || !account(device, length))
        return NULL;
    struct sim_buffer *buffer = buffer_object(device, length, options);
    buffer->gpu = buffer->cpu = bytes;
    buffer->imported = true;
    if (deallocator)
        buffer->deallocator = sim_block_copy(deallocator, "v24@?0^v8Q16");
    if (!is_mapped(buffer))
        sim_breach(METALSIM_IMPORT, "an import of memory that is not mapped");
    else
        take_then(buffer);
    sim_lock();
    sim.counts.imports++;
    sim_unlock();
    return (mtl_id)buffer;
}

static void end_import(struct sim_buffer *buffer)
{
    if (!is_mapped(buffer))
        sim_breach(METALSIM_IMPORT, "imported pages were unmapped before their buffer died");
    if (!buffer->deallocator)
        return;
    mtl_block block = buffer->deallocator;
    ((void (*)(const struct mtl_closure *, void *, uint64_t))block->invoke)(
        (const struct mtl_closure *)block, buffer->gpu, buffer->length);
    _Block_release(block);
}

/* The last release of a buffer autoreleases its device: whoever releases needs a pool. */
void sim_buffer_dealloc(struct sim_object *object)
{
    struct sim_buffer *buffer = (struct sim_buffer *)object;
    if (buffer->opened)
        sim_breach(METALSIM_LIFETIME, "a buffer dies while commands run on it");
    if (buffer->imported) {
        end_import(buffer);
        if (buffer->then)
            munmap(buffer->then, buffer->mapped);
    } else {
        if (buffer->gpu)
            munmap(buffer->gpu, buffer->mapped);
        if (buffer->cpu && buffer->cpu != buffer->gpu)
            munmap(buffer->cpu, buffer->mapped);
        if (buffer->told)
            munmap(buffer->told, buffer->mapped);
    }
    sim_lock();
    buffer->device->allocated -= buffer->length;
    buffer->device->buffers--;
    sim_unlock();
    sim_autorelease(buffer->device);
}

/* --- access ----------------------------------------------------------------------------------- */

/* Whole buffers are synchronized: what another queue writes meanwhile may be read before, and
 * written to the CPU's bytes after, that queue's own synchronization. */
static bool meets_locked(const struct sim_buffer *buffer)
{
    return buffer->synchronizing && buffer->writers;
}

unsigned char *sim_buffer_view(const struct sim_buffer *buffer, bool to_write)
{
    return buffer->then && to_write == buffer->lost ? buffer->then : buffer->gpu;
}

unsigned char *sim_buffer_open(struct sim_buffer *buffer, bool to_write)
{
    if (buffer->imported && !is_mapped(buffer)) {
        sim_breach(METALSIM_IMPORT,
                   "imported pages were unmapped before the work on them was done");
        return NULL;
    }
    sim_lock();
    buffer->opened++;
    buffer->writers += to_write;
    if (buffer->then && !buffer->lost && !to_write && !buffer->seen) {
        memcpy(buffer->then, buffer->cpu, buffer->length);
        buffer->seen = true;
    }
    bool meets = meets_locked(buffer);
    sim_unlock();
    if (!meets)
        return sim_buffer_view(buffer, to_write);
    sim_buffer_close(buffer, to_write);
    sim_breach(METALSIM_MANAGED, "a write of a buffer that another queue synchronizes");
    return NULL;
}

void sim_buffer_close(struct sim_buffer *buffer, bool to_write)
{
    sim_lock();
    buffer->opened--;
    buffer->writers -= to_write;
    sim_unlock();
}

METALSIM_API unsigned char *metalsim_open(void *buffer)
{
    return sim_buffer_open(buffer, false);
}

METALSIM_API void metalsim_close(void *buffer)
{
    sim_buffer_close(buffer, false);
}

/* Out of the sanitizers' sight: it took half of the time of a suite with managed storage. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static bool
is_same(const unsigned char *a, const unsigned char *b, uint64_t n)
{
    uint64_t x, y, differ = 0;
    for (; n >= sizeof x; n -= sizeof x, a += sizeof x, b += sizeof x) {
        __builtin_memcpy(&x, a, sizeof x);
        __builtin_memcpy(&y, b, sizeof y);
        differ |= x ^ y;
    }
    for (; n; n--)
        differ |= *a++ ^ *b++;
    return !differ;
}

/* Only what differs is written, by lines: the CPU may read the rest meanwhile. True: what the CPU
 * wrote and did not announce is lost. */
static bool synchronize_page(struct sim_buffer *buffer, uint64_t page, uint64_t size)
{
    enum { LINE = 64 };
    unsigned char *cpu = buffer->cpu + page, *told = buffer->told + page;
    const unsigned char *gpu = buffer->gpu + page;
    const bool loses = !is_same(cpu, told, size);
    if (!loses && is_same(cpu, gpu, size))
        return false;
    for (uint64_t at = 0; at < size; at += LINE) {
        const uint64_t n = size - at < LINE ? size - at : LINE;
        if (is_same(cpu + at, told + at, n) && is_same(cpu + at, gpu + at, n))
            continue;
        memcpy(cpu + at, gpu + at, n);
        memcpy(told + at, gpu + at, n);
    }
    return loses;
}

void sim_buffer_synchronize(struct sim_buffer *buffer)
{
    enum { PAGE = 4096 };
    sim_lock();
    buffer->synchronizing++;
    bool meets = meets_locked(buffer), loses = false;
    sim_unlock();
    if (meets)
        sim_breach(METALSIM_MANAGED, "synchronizeResource: of a buffer that another queue writes");
    for (uint64_t at = 0; at < buffer->length && !meets; at += PAGE)
        loses |=
            synchronize_page(buffer, at, buffer->length - at < PAGE ? buffer->length - at : PAGE);
    if (loses)
        sim_breach(METALSIM_MANAGED,
                   "synchronizeResource: overwrites what the CPU did not announce");
    sim_lock();
    buffer->synchronizing--;
    sim_unlock();
}

/* --- methods ---------------------------------------------------------------------------------- */

static uint64_t buffer_length(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    struct sim_buffer *buffer = (struct sim_buffer *)self;
    return buffer->imported && sim.config.import == METALSIM_IMPORT_LENGTH_0 ? 0 : buffer->length;
}

static void *buffer_contents(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    struct sim_buffer *buffer = (struct sim_buffer *)self;
    if (buffer->storage == MTL_STORAGE_PRIVATE)
        sim_breach(METALSIM_STORAGE, "contents of a private buffer");
    return buffer->cpu;
}

static uint64_t buffer_storage(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return ((struct sim_buffer *)self)->storage;
}

static uint64_t buffer_hazard_tracking(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    const struct sim_buffer *buffer = (const struct sim_buffer *)self;
    return buffer->in_heap   ? MTL_HAZARDS_DEFAULT
           : buffer->tracked ? MTL_HAZARDS_TRACKED
                             : MTL_HAZARDS_UNTRACKED;
}

/* Which one nobody asks. */
static mtl_id buffer_heap(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return ((struct sim_buffer *)self)->in_heap ? self : NULL;
}

static mtl_id buffer_device(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return sim_autorelease(sim_retain(((struct sim_buffer *)self)->device));
}

static void buffer_did_modify(mtl_id self, mtl_sel cmd, struct mtl_range range)
{
    (void)cmd;
    struct sim_buffer *buffer = (struct sim_buffer *)self;
    if (buffer->storage != MTL_STORAGE_MANAGED) {
        sim_breach(METALSIM_STORAGE, "didModifyRange: of a buffer that is not managed");
        return;
    }
    if (!range.length || range.length > buffer->length ||
        range.location > buffer->length - range.length) {
        sim_breach(METALSIM_RANGE, "didModifyRange: %lu, %lu of a buffer of %lu",
                   (unsigned long)range.location, (unsigned long)range.length,
                   (unsigned long)buffer->length);
        return;
    }
    if (buffer->gpu != buffer->cpu) {
        memcpy(buffer->gpu + range.location, buffer->cpu + range.location, range.length);
        memcpy(buffer->told + range.location, buffer->cpu + range.location, range.length);
    }
    sim_lock();
    sim.counts.did_modifies++;
    sim_unlock();
}

static void buffer_set_label(mtl_id self, mtl_sel cmd, mtl_id label)
{
    (void)self, (void)cmd;
    sim_check(label, SIM_STRING);
}

const struct sim_method sim_buffer_methods[] = {
    SIM_METHOD(buffer_length, buffer_length),
    SIM_METHOD(buffer_contents, buffer_contents),
    SIM_METHOD(buffer_storage, buffer_storage),
    SIM_METHOD(hazard_tracking, buffer_hazard_tracking),
    SIM_METHOD(buffer_heap, buffer_heap),
    SIM_METHOD(owner_device, buffer_device),
    SIM_METHOD(did_modify, buffer_did_modify),
    SIM_METHOD(set_label, buffer_set_label),
    {0, NULL},
};
