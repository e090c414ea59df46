#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/submission.h"
#include "memory/host_memory.h"
#include "paths/record.h"

#include <ferry/ferry.h>

/* Transfers that the device does on the caller's own pages. */

/* --- imports ---------------------------------------------------------------------------------- */

enum ferry__emitted ferry__emit_imported(struct ferry_device *device, struct ferry__sub *sub,
                                         struct ferry__item *item, enum ferry_status *out_status)
{
    const struct ferry__region *region = item->region;
    const uint64_t host_offset = (uint64_t)(item->host - region->memory_base);
    enum ferry_status status;
    if (item->operation == FERRY_OPERATION_UPLOAD)
        status =
            ferry__emit_copy(device, sub, item->dst->memory, item->dst->offset + item->dst_offset,
                             &region->memory, host_offset, item->size);
    else
        status = ferry__emit_copy(device, sub, &region->memory, host_offset, item->src->memory,
                                  item->src->offset + item->src_offset, item->size);
    return ferry__emit_result(status, out_status);
}
