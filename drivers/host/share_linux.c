/*
 * Private memory shared with other processes: a memfd, which each maps for itself. Behind the
 * memory it has a mark, so that another driver's memfd, whose bytes may begin anywhere, is not
 * taken for one of ours; and it is sealed, so that nobody takes away what others have mapped.
 */
#define _GNU_SOURCE /* memfd_create, F_DUPFD_CLOEXEC */
#include "host_internal.h"

#include "base/sharing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char mark[16] = "ferry host mem 1";

/* Maps what memory->fd is of, and gives it out. Closes fd on failure. */
static enum ferry_status take_in(struct host_device *device, struct host_memory *memory,
                                 struct ferry__memory *out_memory, char *why)
{
    const bool reached = device->map_private && !ferry__host_knob(&device->knobs, HOST_NONCOHERENT);
    void *bytes = mmap(NULL, memory->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
    if (bytes == MAP_FAILED) {
        snprintf(why, FERRY__WHY_MAX, "mmap of descriptor %d: errno %d", memory->fd, errno);
        goto close_fd;
    }
    memory->bytes = bytes;
    memory->has_fd = true;
    if (!ferry__host_memory_enter(device, memory, why))
        goto unmap;
    *out_memory = (struct ferry__memory){
        .native = memory,
        .size = memory->size,
        .host = reached ? memory->bytes : NULL,
        .coherent = true,
        .cached = true,
    };
    return FERRY_OK;
unmap:
    munmap(bytes, memory->mapped);
close_fd:
    close(memory->fd);
    ferry__free(memory);
    return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
}

static struct host_memory *make(uint64_t size, const char *label, char *why)
{
    struct host_memory *memory = ferry__host_memory_make(size, label);
    if (!memory)
        snprintf(why, FERRY__WHY_MAX, "no host memory to keep account of an allocation");
    return memory;
}

/* A memfd of so many bytes, and the mark. */
static bool set_up(int fd, uint64_t size)
{
    return !ftruncate(fd, (off_t)(size + sizeof mark)) &&
           pwrite(fd, mark, sizeof mark, (off_t)size) == (ssize_t)sizeof mark &&
           !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

static enum ferry_status share_alloc(void *state, uint64_t size, struct ferry__memory *out_memory,
                                     char *why)
{
    struct host_device *device = state;
    const uint64_t atom = device->limits.atom;
    const enum ferry_status status = ferry__host_memory_admit(device, size, why);
    if (status)
        return status;
    struct host_memory *memory = make((size + atom - 1) / atom * atom, "shared", why);
    if (!memory)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    memory->budgeted = true;
    memory->fd = memfd_create("ferry", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory->fd >= 0 && set_up(memory->fd, memory->mapped))
        return take_in(device, memory, out_memory, why);
    snprintf(why, FERRY__WHY_MAX, "memfd of %llu bytes: errno %d", (unsigned long long)size, errno);
    if (memory->fd >= 0)
        close(memory->fd);
    ferry__free(memory);
    return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
}

static enum ferry_status refuse_kind(enum ferry_handle handle, char *why)
{
    if (handle == FERRY_HANDLE_OPAQUE_FD)
        return FERRY_OK;
    snprintf(why, FERRY__WHY_MAX, "the host device does not support DMA-BUF");
    return FERRY_ERROR_UNSUPPORTED;
}

static enum ferry_status share_give(void *state, const struct ferry__memory *memory,
                                    enum ferry_handle handle, int *out_fd, uint64_t *out_size,
                                    char *why)
{
    (void)state;
    const struct host_memory *native = memory->native;
    const enum ferry_status status = refuse_kind(handle, why);
    if (status)
        return status;
    *out_fd = fcntl(native->fd, F_DUPFD_CLOEXEC, 0);
    *out_size = native->size;
    if (*out_fd >= 0)
        return FERRY_OK;
    snprintf(why, FERRY__WHY_MAX, "no descriptor: errno %d", errno);
    return FERRY_ERROR_OUT_OF_HOST_MEMORY;
}

/* Is it one of ours, and of that much? Whoever maps more than there is gets SIGBUS. */
static enum ferry_status check_fd(int fd, uint64_t size, char *why)
{
    struct stat known;
    char found[sizeof mark] = "";
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &known)) {
        snprintf(why, FERRY__WHY_MAX, "descriptor %d does not refer to memory: errno %d", fd,
                 errno);
        return FERRY_ERROR_INVALID_ARGUMENT;
    }
    const off_t there = known.st_size - (off_t)sizeof mark;
    if (!(seals & F_SEAL_SHRINK) || there < 0 ||
        pread(fd, found, sizeof found, there) != (ssize_t)sizeof found ||
        memcmp(found, mark, sizeof mark) != 0)
        snprintf(why, FERRY__WHY_MAX, "descriptor %d does not refer to a host device's memory", fd);
    else if ((uint64_t)there < size)
        snprintf(why, FERRY__WHY_MAX, "descriptor %d is of %lld bytes, not %llu", fd,
                 (long long)there, (unsigned long long)size);
    else
        return FERRY_OK;
    return FERRY_ERROR_INVALID_ARGUMENT;
}

static enum ferry_status share_take(void *state, enum ferry_handle handle, int fd, uint64_t size,
                                    struct ferry__memory *out_memory, char *why)
{
    struct host_device *device = state;
    enum ferry_status status = refuse_kind(handle, why);
    if (!status)
        status = check_fd(fd, size, why);
    if (status)
        return status;
    struct host_memory *memory = make(size, "imported", why);
    if (!memory)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    memory->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (memory->fd >= 0)
        return take_in(device, memory, out_memory, why);
    snprintf(why, FERRY__WHY_MAX, "no descriptor: errno %d", errno);
    ferry__free(memory);
    return FERRY_ERROR_OUT_OF_HOST_MEMORY;
}

const struct ferry__sharing ferry__host_sharing = {
    .alloc = share_alloc,
    .give = share_give,
    .take = share_take,
    .reaches = ferry__host_reaches,
};
