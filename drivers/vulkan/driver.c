#include "vk.h"

const struct ferry__driver ferry__vulkan_driver = {
    .name = "vulkan",
    .list = ferry__vulkan_list,
    .open = ferry__vulkan_open,
    .close = ferry__vulkan_close,
    .status = ferry__vulkan_status,
    .memory_alloc = ferry__vulkan_memory_alloc,
    .memory_free = ferry__vulkan_memory_free,
    .host_import = ferry__vulkan_host_import,
    .flush = ferry__vulkan_flush,
    .invalidate = ferry__vulkan_invalidate,
    .submit = ferry__vulkan_submit,
    .completed = ferry__vulkan_completed,
    .wait_any = ferry__vulkan_wait_any,
    .wake = ferry__vulkan_wake,
    .event_create = ferry__vulkan_event_create,
    .event_destroy = ferry__vulkan_event_destroy,
    .event_signal = ferry__vulkan_event_signal,
    .memory_available = ferry__vulkan_memory_available,
};
