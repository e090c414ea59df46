/* A build without the Vulkan driver. */
#include "backend.h"

bool vulkan_work_is_there(void)
{
    return false;
}

enum ferry_status vulkan_work_submit(struct slot *slot)
{
    (void)slot;
    return FERRY_ERROR_UNSUPPORTED;
}

void vulkan_work_finish(struct slot *slot)
{
    (void)slot;
}
