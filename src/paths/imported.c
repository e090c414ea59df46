#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/submission.h"
#include "memory/host_memory.h"
#include "paths/record.h"

#include <ferry/ferry.h>

/* Transfers that the device does on the caller's own pages. */

/* --- imports ---------------------------------------------------------------------------------- */

enum ferry__emitted ferry__emit_imported(struct ferry_device *device, struct ferry__submission *sub,
                                         struct ferry__transfer *transfer,
                                         enum ferry_status *out_status)
{
    const struct ferry__region *region = transfer->region;
    const uint64_t host_offset = (uint64_t)(transfer->host - region->memory_base);
    enum ferry_status status;
    if (transfer->operation == FERRY_OPERATION_UPLOAD)
        status = ferry__emit_copy(device, sub, transfer->dst->memory,
                                  transfer->dst->offset + transfer->dst_offset, &region->memory,
                                  host_offset, transfer->size);
    else
        status = ferry__emit_copy(device, sub, &region->memory, host_offset, transfer->src->memory,
                                  transfer->src->offset + transfer->src_offset, transfer->size);
    return ferry__emit_result(status, out_status);
}
