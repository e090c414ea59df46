/* The configurations of the schedule checker. */
#include "schedule.h"

#include "drivers/host/host.h"

static void host_work(const struct ferry_external *external)
{
    for (size_t i = 0; i < external->wait_count; i++)
        ferry__host_event_wait(external->waits[i].event, external->waits[i].value);
    ferry__host_event_signal(external->signal.event, external->signal.value);
}

#define NEVER .params.map_private = FERRY_MAP_NEVER
#define TINY NEVER, .params.staging_budget = 4096
#define DISORDER "queues=3,out_of_order,delay_us=100"

const struct config configs[] = {
    {.name = "mapped", .knobs = ""},
    {.name = "queued", .knobs = "", NEVER},
    {.name = "delayed", .knobs = "delay_us=50", NEVER},
    {.name = "disorder", .knobs = DISORDER, NEVER, .params.queues = 3},
    {.name = "tiny", .knobs = "delay_us=20", TINY},
    {.name = "nomap", .knobs = "no_map"},
    {.name = "noncoherent", .knobs = "noncoherent", .params.staging_budget = 8192},
    {.name = "align4", .knobs = "align=4,fill_pattern=1,max_copy=4K", NEVER},
    {.name = "kernel", .knobs = "align=4,fill_pattern=1,kernel,max_copy=4K", TINY},
    {.name = "late-kernel",
     .knobs = "align=4,fill_pattern=1,kernel,late_kernel=40,queues=3,delay_us=50",
     NEVER,
     .params.queues = 3},
    {.name = "kernel-queues",
     .knobs = "align=4,fill_pattern=1,kernel,queues=3,delay_us=50",
     NEVER,
     .params.queues = 3},
    {.name = "events", .knobs = "events,delay_us=50", NEVER, .work = host_work},
    {.name = "events-disorder",
     .knobs = "events," DISORDER,
     NEVER,
     .params.queues = 3,
     .work = host_work},
    {.name = "events-align4",
     .knobs = "events,align=4,fill_pattern=1," DISORDER,
     NEVER,
     .params.queues = 3,
     .work = host_work},
    {.name = "imported", .knobs = "", NEVER, .params.path = FERRY_PATH_IMPORTED},
    {.name = "pipelined", .knobs = "delay_us=20", TINY, .params.path = FERRY_PATH_PIPELINED},
    {.name = "failing", .knobs = "fail_every=7", NEVER, .failing = true},
    {.name = "failing-mapped", .knobs = "fail_every=3", .failing = true},
    {.name = "failing-tiny", .knobs = "fail_every=9,delay_us=20", TINY, .failing = true},
    {.name = "failing-disorder",
     .knobs = "fail_every=5," DISORDER,
     NEVER,
     .params.queues = 3,
     .failing = true},
    {.name = "failing-align4",
     .knobs = "fail_every=6,align=4,fill_pattern=1",
     TINY,
     .failing = true},
    {.name = "lost", .knobs = "lose_at=60,delay_us=20", NEVER, .failing = true, .losing = true},
    {.name = "two", .knobs = "", .second_knobs = ""},
    {.name = "two-queued", .knobs = DISORDER, .second_knobs = "delay_us=20", NEVER},
    {.name = "two-unlike", .knobs = "align=4,fill_pattern=1", .second_knobs = "noncoherent", TINY},
    {.name = "two-failing",
     .knobs = "fail_every=7",
     .second_knobs = "fail_every=5",
     NEVER,
     .failing = true},
    {.name = "two-peers", .knobs = DISORDER ",peers", .second_knobs = "peers,delay_us=20", NEVER},
    {.name = "two-peers-failing",
     .knobs = "peers,fail_every=7",
     .second_knobs = "peers,fail_every=5",
     NEVER,
     .failing = true},
    {.name = "two-peers-pieces",
     .knobs = "peers,max_copy=100,fail_every=25," DISORDER,
     .second_knobs = "peers,max_copy=60,fail_every=30",
     NEVER,
     .failing = true},
    {.name = "two-failing-tiny",
     .knobs = "fail_every=30," DISORDER,
     .second_knobs = "fail_every=25,align=4,fill_pattern=1",
     TINY,
     .failing = true},
    {.name = "threads", .knobs = "", .threads = 4},
    {.name = "threads-tiny", .knobs = "delay_us=20", TINY, .threads = 4},
    {.name = "threads-disorder", .knobs = DISORDER, NEVER, .params.queues = 3, .threads = 4},
    {.name = "threads-failing", .knobs = "fail_every=6", NEVER, .threads = 4, .failing = true},
    {.name = "threads-two", .knobs = "", .second_knobs = "align=4", NEVER, .threads = 4},
    {.name = "backlog", .knobs = "", NEVER, .threads = 1, .backlog = 40000},
    {.name = "backlog-events",
     .knobs = "events," DISORDER,
     NEVER,
     .params.queues = 3,
     .work = host_work,
     .threads = 2,
     .backlog = 10000},
    {.name = "backlog-tiny", .knobs = "", TINY, .threads = 2, .backlog = 24000},
    {.name = "backlog-failing",
     .knobs = "fail_every=50",
     NEVER,
     .threads = 2,
     .backlog = 24000,
     .failing = true},
    {.name = "backlog-align4",
     .knobs = "align=4,fill_pattern=1",
     NEVER,
     .threads = 2,
     .backlog = 24000},
    {.name = "backlog-arena",
     .knobs = "align=16,fill_pattern=1",
     NEVER,
     .threads = 2,
     .backlog = 20000,
     .arena = 128 << 10},
    {.name = "backlog-arena-kernel",
     .knobs = "align=16,fill_pattern=1,kernel,queues=3",
     NEVER,
     .params.queues = 3,
     .threads = 2,
     .backlog = 20000,
     .arena = 96 << 10},
    {.name = "arena", .knobs = "align=16,fill_pattern=1", TINY, .arena = 20000},
    {.name = "shared", .knobs = "", .threads = 4, .shared = true},
    {.name = "shared-queued", .knobs = "delay_us=20", NEVER, .threads = 4, .shared = true},
    {.name = "shared-tiny", .knobs = DISORDER, TINY, .threads = 4, .shared = true},
    {.name = "shared-align4",
     .knobs = "align=4,fill_pattern=1",
     TINY,
     .threads = 4,
     .shared = true},
#ifdef SCHEDULE_VULKAN
#include "vulkan.inc"
#endif
#ifdef SCHEDULE_CUDA
#include "cuda.inc"
#include "cuda_gpu.inc"
#endif
#ifdef SCHEDULE_METALSIM
#include "configs_metalsim.inc"
#endif
};

const size_t config_count = sizeof configs / sizeof configs[0];
