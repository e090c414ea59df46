#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* Threads need longer than it takes a scheduler to share them out. */
#define THREADS_SAMPLE_NS 2000000u

enum { HOST_ODD = 1, PAGE = 4096, GAP = 256 };

/* The host memory of a group. */
struct memory {
    struct bench_ground ground;
    void *source, *yard;
    struct bench_team *team; /* two threads; NULL if no contestant needs them */
};

const char *bench_operation_name(enum ferry_operation operation)
{
    static const char *const names[] = {
        [FERRY_OPERATION_UPLOAD] = "upload",
        [FERRY_OPERATION_DOWNLOAD] = "download",
        [FERRY_OPERATION_COPY] = "copy",
        [FERRY_OPERATION_FILL] = "fill",
    };
    return names[operation];
}

static void *take(size_t size)
{
    void *bytes = NULL;
    return posix_memalign(&bytes, PAGE, size) == 0 ? bytes : NULL;
}

static bool take_memory(struct memory *memory, const struct bench_group *group)
{
    struct bench_ground *ground = &memory->ground;
    *ground = (struct bench_ground){.size = group->size, .places = 1, .odd = group->odd};
    bool two = false;
    for (size_t i = 0; i < group->count; i++) {
        if (group->specs[i].n > ground->places)
            ground->places = group->specs[i].n;
        two = two || group->specs[i].kind == BENCH_MEMCPY_TWO;
    }
    /* The gap keeps neighbours apart: what is not adjacent cannot be joined to one copy. */
    ground->stride = (group->size + FERRY_BUFFER_ALIGNMENT - 1) / FERRY_BUFFER_ALIGNMENT *
                         FERRY_BUFFER_ALIGNMENT +
                     GAP;
    size_t all = ground->places * ground->stride + GAP;
    memory->source = take(all);
    memory->yard = take(all);
    memory->team = two ? bench_team_create(2) : NULL;
    if (memory->source == NULL || memory->yard == NULL || (two && memory->team == NULL))
        return false;
    memset(memory->yard, 0, all);
    uint32_t *words = memory->source;
    for (size_t i = 0; i < all / sizeof *words; i++)
        words[i] = ((uint32_t)i * 2654435761u ^ (uint32_t)(i >> 7)) | 1;
    ground->source = (unsigned char *)memory->source + (group->odd ? HOST_ODD : 0);
    ground->yard = (unsigned char *)memory->yard + (group->odd ? HOST_ODD : 0);
    return true;
}

static void give_memory(struct memory *memory)
{
    bench_team_destroy(memory->team);
    free(memory->source);
    free(memory->yard);
}

/* What leaves a contestant out, and is no failure. */
static bool leaves_out(enum ferry_status status)
{
    return status == FERRY_ERROR_UNSUPPORTED || status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY ||
           status == FERRY_ERROR_OUT_OF_HOST_MEMORY || status == FERRY_ERROR_POOL_EXHAUSTED;
}

static enum cli_exit open_entry(struct bench_session *session, const struct bench_group *group,
                                struct memory *memory, struct bench_entry *entry)
{
    const struct bench_ground *ground = &memory->ground;
    entry->way.items = 1;
    if (entry->spec.kind == BENCH_MEMCPY || entry->spec.kind == BENCH_MEMCPY_TWO) {
        entry->memcpy = (struct bench_memcpy){
            .to = ground->yard, .from = ground->source, .size = ground->size,
            .team = entry->spec.kind == BENCH_MEMCPY_TWO ? memory->team : NULL};
        entry->way.run = bench_run_memcpy;
        entry->way.state = &entry->memcpy;
        entry->measured = true;
        return CLI_DONE;
    }
    ferry_device *device = bench_session_device(session, &entry->spec, group->pinned);
    if (device == NULL) {
        snprintf(entry->why, sizeof entry->why, "%s", ferry_last_error());
        return CLI_DONE;
    }
    enum ferry_status status = bench_case_open(&entry->job, device, &entry->spec, ground);
    if (status != FERRY_OK) {
        snprintf(entry->why, sizeof entry->why, "%s", entry->job.why);
        return leaves_out(status) ? CLI_DONE : CLI_DEVICE;
    }
    if (entry->spec.mode == BENCH_BATCH || entry->spec.mode == BENCH_THREADS)
        entry->way.items = entry->job.places;
    entry->way.sample_ns = entry->spec.mode == BENCH_THREADS ? THREADS_SAMPLE_NS : 0;
    entry->way.run = bench_run_case;
    entry->way.state = &entry->job;
    entry->measured = true;
    return CLI_DONE;
}

/* Of the contestants that can. */
static enum cli_exit measure(struct bench_group *group)
{
    struct bench_way *ways[BENCH_ENTRIES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < group->count; i++) {
        if (group->entries[i].measured)
            ways[count++] = &group->entries[i].way;
    }
    group->rounds = bench_measure(ways, count, group->budget_ns);
    if (group->rounds > 0)
        return CLI_DONE;
    for (size_t i = 0; i < group->count; i++) {
        if (group->entries[i].job.why[0] != 0 && group->entries[i].measured)
            cli_complain("bench: %s", group->entries[i].job.why);
    }
    return CLI_DEVICE;
}

static enum cli_exit check(struct bench_group *group)
{
    enum cli_exit end = CLI_DONE;
    for (size_t i = 0; i < group->count && end == CLI_DONE; i++) {
        struct bench_entry *entry = &group->entries[i];
        if (!entry->measured || entry->way.run != bench_run_case)
            continue;
        end = bench_case_check(&entry->job);
        if (end != CLI_DONE)
            cli_complain("bench: %s", entry->job.why);
    }
    return end;
}

static void leave_all_out(struct bench_group *group, const char *why)
{
    for (size_t i = 0; i < group->count; i++)
        snprintf(group->entries[i].why, sizeof group->entries[i].why, "%s", why);
}

static enum cli_exit run(struct bench_session *session, struct bench_group *group,
                         struct memory *memory)
{
    if (group->size > session->info.max_buffer_size) {
        char size[CLI_TEXT_MAX], largest[CLI_TEXT_MAX], why[CLI_WHY_MAX];
        snprintf(why, sizeof why, "%s is above the device's largest buffer, %s",
                 cli_size(size, group->size), cli_size(largest, session->info.max_buffer_size));
        leave_all_out(group, why);
        return CLI_DONE;
    }
    if (!take_memory(memory, group)) {
        leave_all_out(group, "out of host memory");
        return CLI_DONE;
    }
    for (size_t i = 0; i < group->count; i++) {
        struct bench_entry *entry = &group->entries[i];
        enum cli_exit end = open_entry(session, group, memory, entry);
        if (end != CLI_DONE) {
            cli_complain("bench: %s", entry->why);
            return end;
        }
    }
    enum cli_exit end = measure(group);
    return end != CLI_DONE ? end : check(group);
}

enum cli_exit bench_group_run(struct bench_session *session, struct bench_group *group)
{
    struct memory memory = {.source = NULL};
    group->entries = calloc(group->count, sizeof *group->entries);
    if (group->entries == NULL) {
        cli_complain("bench: out of host memory");
        return CLI_DEVICE;
    }
    for (size_t i = 0; i < group->count; i++)
        group->entries[i].spec = group->specs[i];
    if (group->pinned)
        bench_pin();
    enum cli_exit end = run(session, group, &memory);
    if (group->pinned)
        bench_unpin();
    for (size_t i = 0; i < group->count; i++)
        bench_case_close(&group->entries[i].job);
    give_memory(&memory);
    return end;
}

void bench_group_free(struct bench_group *group)
{
    free(group->entries);
    group->entries = NULL;
}
