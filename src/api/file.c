#include "paths/file.h"
#include "api/transfer.h"
#include "base/range.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/order.h"

#include <errno.h>
#include <fcntl.h>
#include <ferry/ferry.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The front door of transfers from and to files: what a file must be, and transfers with one. */

struct range {
    int fd;
    uint64_t offset, size;
    bool write;
    const char *what;
};

static enum ferry_status check_mode(const struct range *range, int *out_flags)
{
    const int flags = fcntl(range->fd, F_GETFL), mode = flags & O_ACCMODE;
    if (flags < 0)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: descriptor %d is not an open file: %s", range->what, range->fd,
                           strerror(errno));
    if (mode == (range->write ? O_RDONLY : O_WRONLY))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: file %d is not open for %s",
                           range->what, range->fd, range->write ? "writing" : "reading");
    if (range->write && (flags & O_APPEND))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: file %d is open for appending, and would be written at its end",
                           range->what, range->fd);
    *out_flags = flags;
    return FERRY_OK;
}

/* What a file is, in words, that has no bytes at an offset; NULL: it has. That one can seek in it
 * says little: in an event or a terminal one can, and reading it may never end. */
static const char *wrong_kind(mode_t mode)
{
    static const struct {
        mode_t type;
        const char *words;
    } kinds[] = {
        {S_IFDIR, "a folder"},        {S_IFIFO, "a pipe"},
        {S_IFSOCK, "a socket"},       {S_IFCHR, "a terminal or another character device"},
        {S_IFLNK, "a symbolic link"},
    };
    if (S_ISREG(mode) || S_ISBLK(mode))
        return NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if ((mode & S_IFMT) == kinds[i].type)
            return kinds[i].words;
    return "none but the kernel's own: an event, a timer, a watch";
}

static enum ferry_status check_file(const struct range *range, int *out_flags)
{
    struct stat about;
    enum ferry_status status = check_mode(range, out_flags);
    if (status)
        return status;
    if (fstat(range->fd, &about))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: descriptor %d is not an open file: %s", range->what, range->fd,
                           strerror(errno));
    const char *wrong = wrong_kind(about.st_mode);
    if (!wrong && lseek(range->fd, 0, SEEK_CUR) == (off_t)-1)
        wrong = "one to be read from its beginning only";
    if (wrong)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "%s: file %d cannot be accessed at an offset: it is %s", range->what,
                           range->fd, wrong);
    if (!ferry__in_range(range->offset, range->size, INT64_MAX))
        return ferry__fail(
            FERRY_ERROR_OUT_OF_RANGE, "%s: %llu bytes at offset %llu are more than a file can have",
            range->what, (unsigned long long)range->size, (unsigned long long)range->offset);
    /* Files of the kernel's own tell no size. */
    const uint64_t there = S_ISREG(about.st_mode) ? (uint64_t)about.st_size : 0;
    if (!range->write && range->size && there &&
        !ferry__in_range(range->offset, range->size, there))
        return ferry__fail(FERRY_ERROR_IO,
                           "%s: file %d ends at byte %llu: %llu bytes from %llu on were asked for",
                           range->what, range->fd, (unsigned long long)there,
                           (unsigned long long)range->size, (unsigned long long)range->offset);
    return FERRY_OK;
}

/* An transfer with a file, that of last if it is the same. Whoever asks for it lets its side go. */
static enum ferry_status make_transfer(struct ferry__transfer *transfer, ferry_buffer *buffer,
                                       uint64_t offset, const struct range *range,
                                       const struct ferry__transfer *last)
{
    enum ferry_status status = FERRY_OK;
    int flags = 0;
    if (!buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: buffer is NULL", range->what);
    if ((status = ferry__range(buffer, range->what, offset, range->size)) ||
        (status = ferry__device_dead(buffer->device, range->what)) ||
        (status = check_file(range, &flags)) || (status = ferry__files_start(buffer->device)))
        return status;
    *transfer = (struct ferry__transfer){.size = range->size, .with = FERRY__WITH_STREAM};
    if (last && ferry__file_is(ferry__side_of(last), range->fd, flags, range->write)) {
        transfer->side = last->side;
        ferry__side_ref(transfer->side);
    } else if (!(transfer->side =
                     ferry__file_side(buffer->device, range->fd, flags, range->write))) {
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    if (range->write) {
        transfer->operation = FERRY_OPERATION_DOWNLOAD;
        transfer->src = buffer;
        transfer->src_offset = offset;
        transfer->dst_offset = range->offset;
    } else {
        transfer->operation = FERRY_OPERATION_UPLOAD;
        transfer->dst = buffer;
        transfer->dst_offset = offset;
        transfer->src_offset = range->offset;
    }
    return FERRY_OK;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static enum ferry_status wait_for(ferry_buffer *buffer, uint64_t offset, const struct range *range)
{
    struct ferry__transfer transfer;
    enum ferry_status status = ferry__in_callback(range->what);
    if (status || (status = make_transfer(&transfer, buffer, offset, range, NULL)))
        return status;
    status = ferry__transfer_wait(&transfer);
    ferry__side_unref(transfer.side);
    return status;
}

enum ferry_status ferry_copy_from_file(ferry_buffer *buffer, int fd, uint64_t file_offset,
                                       size_t size, size_t offset)
{
    return wait_for(buffer, offset,
                    &(struct range){fd, file_offset, size, false, "copy from file"});
}

enum ferry_status ferry_copy_to_file(ferry_buffer *buffer, int fd, uint64_t file_offset,
                                     size_t size, size_t offset)
{
    return wait_for(buffer, offset, &(struct range){fd, file_offset, size, true, "copy to file"});
}

/* --- not waiting ------------------------------------------------------------------------------ */

static enum ferry_status begin(ferry_buffer *buffer, uint64_t offset, const struct range *range,
                               ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    struct ferry__transfer transfer;
    enum ferry_status status = make_transfer(&transfer, buffer, offset, range, NULL);
    if (status)
        return status;
    status = ferry__transfer_submit(&transfer, cb, user, out_ticket);
    ferry__side_unref(transfer.side);
    return status;
}

enum ferry_status ferry_copy_from_file_async(ferry_buffer *buffer, int fd, uint64_t file_offset,
                                             size_t size, size_t offset, ferry_callback cb,
                                             void *user, ferry_ticket *out_ticket)
{
    return begin(buffer, offset, &(struct range){fd, file_offset, size, false, "copy from file"},
                 cb, user, out_ticket);
}

enum ferry_status ferry_copy_to_file_async(ferry_buffer *buffer, int fd, uint64_t file_offset,
                                           size_t size, size_t offset, ferry_callback cb,
                                           void *user, ferry_ticket *out_ticket)
{
    return begin(buffer, offset, &(struct range){fd, file_offset, size, true, "copy to file"}, cb,
                 user, out_ticket);
}

/* --- in batches ------------------------------------------------------------------------------- */

static enum ferry_status add(ferry_batch *batch, const char *name, ferry_buffer *buffer,
                             uint64_t offset, const struct range *range)
{
    struct ferry__transfer transfer;
    enum ferry_status status =
        make_transfer(&transfer, buffer, offset, range, ferry__batch_last(batch));
    if (status)
        return status;
    status = ferry__batch_add(batch, name, &transfer);
    ferry__side_unref(transfer.side);
    return status;
}

enum ferry_status ferry_batch_copy_from_file(ferry_batch *batch, ferry_buffer *buffer, int fd,
                                             uint64_t file_offset, size_t size, size_t offset)
{
    return add(batch, "ferry_batch_copy_from_file", buffer, offset,
               &(struct range){fd, file_offset, size, false, "copy from file"});
}

enum ferry_status ferry_batch_copy_to_file(ferry_batch *batch, ferry_buffer *buffer, int fd,
                                           uint64_t file_offset, size_t size, size_t offset)
{
    return add(batch, "ferry_batch_copy_to_file", buffer, offset,
               &(struct range){fd, file_offset, size, true, "copy to file"});
}
