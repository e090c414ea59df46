/* The configurations: name, environment, parameters. A driver joins by adding lines. */
#include "suite.h"

#include "drivers/host/host.h"
#include "metal_events.h"

#define HOST .knobs_variable = "FERRY_HOST", .params.name = "host"
#ifdef SUITE_STRICTVK
void vulkan_event_signal(uint64_t event, uint64_t value);
bool vulkan_event_wait(uint64_t event, uint64_t value);
#endif

#define QUEUED .params.map_private = FERRY_MAP_NEVER

const struct suite_config suite_configs[] = {
    {.name = "host", HOST, .big = true},
    {.name = "host-never", HOST, QUEUED},
    /* As on a GPU: small ones by the CPU, the rest by the queue, though the CPU could. */
    {.name = "host-gpu",
     HOST,
     .params.thresholds = {.direct_write_max = 65536,
                           .direct_copy_max = 4096,
                           .direct_registered_max = 65536,
                           .import_from = 262144}},
    {.name = "host-metal", HOST, QUEUED, .knobs = "align=4,fill_pattern=1,kernel,max_copy=64K"},
    {.name = "host-metal-late",
     HOST,
     QUEUED,
     .knobs = "align=4,fill_pattern=1,kernel,late_kernel=3,max_copy=64K"},
    {.name = "host-metal-nokernel", HOST, QUEUED, .knobs = "align=4,fill_pattern=1,max_copy=64K"},
    {.name = "host-nofill", HOST, QUEUED, .knobs = "align=4,fill_pattern=0,max_copy=4K"},
    {.name = "host-nomap", HOST, .knobs = "no_map"},
    {.name = "host-noncoherent", HOST, .knobs = "noncoherent"},
    {.name = "host-noncoherent-align", HOST, QUEUED, .knobs = "noncoherent,align=4,fill_pattern=4"},
    {.name = "host-disorder",
     HOST,
     QUEUED,
     .knobs = "queues=3,out_of_order,delay_us=20",
     .params.queues = 3},
    {.name = "host-events",
     HOST,
     .knobs = "events",
     .event_signal = ferry__host_event_signal,
     .event_wait = ferry__host_event_wait},
    {.name = "host-events-queued",
     HOST,
     QUEUED,
     .knobs = "events,delay_us=20",
     .event_signal = ferry__host_event_signal,
     .event_wait = ferry__host_event_wait},
    {.name = "path-direct", HOST, .params.path = FERRY_PATH_DIRECT},
    {.name = "path-staged", HOST, QUEUED, .params.path = FERRY_PATH_STAGED},
    {.name = "path-pipelined", HOST, QUEUED, .params.path = FERRY_PATH_PIPELINED, .big = true},
    {.name = "path-imported", HOST, QUEUED, .params.path = FERRY_PATH_IMPORTED},
    {.name = "tiny-budget", HOST, QUEUED, .params.staging_budget = 4096},
    {.name = "tiny-budget-align",
     HOST,
     QUEUED,
     .knobs = "align=4,fill_pattern=1",
     .params.staging_budget = 4096},
    {.name = "tiny-memory",
     HOST,
     QUEUED,
     .knobs = "memory=8M",
     .params.staging_budget = 65536,
     .params.pool_budget = 1048576},
    {.name = "no-import", HOST, QUEUED, .knobs = "no_import", .params.path = FERRY_PATH_IMPORTED},
    {.name = "two-devices", HOST, .second = "host:1"},
    {.name = "peers",
     HOST,
     QUEUED,
     .knobs = "no_map,peers,delay_us=20",
     .second = "host:1",
     .second_knobs = "no_map,peers,max_copy=64K"},
    {.name = "two-unlike-devices",
     HOST,
     QUEUED,
     .knobs = "align=4,fill_pattern=1",
     .second = "host:1",
     .second_knobs = "noncoherent,max_copy=64K"},
#ifdef SUITE_STRICTVK
#include "vulkan.inc"
#include "vulkan_gpu.inc"
#endif
#ifdef SUITE_CUDA
#include "cuda.inc"
#include "cuda_gpu.inc"
#endif
#ifdef SUITE_METAL
#include "configs_metal.inc"
#endif
#ifdef SUITE_METALSIM
#include "configs_metalsim.inc"
#endif
};

const size_t suite_config_count = sizeof suite_configs / sizeof suite_configs[0];
