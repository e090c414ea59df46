#include "paths/file.h"

#include <errno.h>
#include <stddef.h>

struct ferry__file_ring *ferry__file_ring_start(struct ferry__file_io *io)
{
    (void)io;
    return NULL;
}

int ferry__file_ring_begin(struct ferry__file_ring *ring, struct ferry__file_request *request)
{
    (void)ring;
    (void)request;
    return ENOSYS;
}

void ferry__file_ring_finish(struct ferry__file_ring *ring)
{
    (void)ring;
}
