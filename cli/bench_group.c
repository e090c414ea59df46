#include "bench.h"

#include <stdlib.h>

/* Threads need longer than it takes a scheduler to share them out. */
#define THREADS_SAMPLE_NS 2000000u

/* What the contestants of a group share. */
struct hall {
    struct bench_host host;
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

static bool take_hall(struct hall *hall, const struct bench_group *group)
{
    size_t places = 1;
    bool two = false;
    for (size_t i = 0; i < group->count; i++) {
        if (group->specs[i].n > places)
            places = group->specs[i].n;
        two = two || group->specs[i].kind == BENCH_MEMCPY_TWO;
    }
    hall->team = two ? bench_team_create(2) : NULL;
    return bench_host_take(&hall->host, group->size, places, group->odd) && (!two || hall->team);
}

static void give_hall(struct hall *hall)
{
    bench_team_destroy(hall->team);
    bench_host_give(&hall->host);
}

/* What leaves a contestant out, and is no failure. */
static bool leaves_out(enum ferry_status status)
{
    return status == FERRY_ERROR_UNSUPPORTED || status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY ||
           status == FERRY_ERROR_OUT_OF_HOST_MEMORY || status == FERRY_ERROR_POOL_EXHAUSTED;
}

static void leave_out(struct bench_entry *entry, const char *why)
{
    snprintf(entry->why, sizeof entry->why, "%s", why);
    entry->measured = false;
}

static void enter(struct bench_entry *entry, uint64_t (*run)(void *, uint64_t), void *state)
{
    const struct bench_spec *spec = &entry->spec;
    bool together = bench_is_together(spec->mode) || spec->mode == BENCH_THREADS;
    entry->way.items = together && spec->n > 0 ? spec->n : 1;
    entry->way.sample_ns = spec->mode == BENCH_THREADS ? THREADS_SAMPLE_NS : 0;
    entry->way.run = run;
    entry->way.state = state;
    entry->measured = true;
}

static enum cli_exit open_memcpy(struct hall *hall, struct bench_entry *entry)
{
    const struct bench_ground *ground = &hall->host.ground;
    entry->memcpy =
        (struct bench_memcpy){.to = ground->yard,
                              .from = ground->source,
                              .size = ground->size,
                              .team = entry->spec.kind == BENCH_MEMCPY_TWO ? hall->team : NULL};
    enter(entry, bench_run_memcpy, &entry->memcpy);
    return CLI_DONE;
}

/* A peer that fails is left out. */
static enum cli_exit open_peer(struct bench_session *session, bool pinned, struct hall *hall,
                               struct bench_entry *entry)
{
    const char *why = NULL;
    void *device = bench_session_peer(session, entry->spec.peer, pinned, &why);
    if (device) {
        entry->own.peer = bench_peers[entry->spec.peer];
        entry->own.peer_device = device;
        why = bench_own_take(&entry->own, &entry->spec, &hall->host, &entry->ground);
    }
    if (why)
        leave_out(entry, why);
    else if (!bench_peer_case_open(&entry->rival, device, &entry->spec, &entry->ground))
        leave_out(entry, entry->rival.why);
    else
        enter(entry, bench_run_peer, &entry->rival);
    return CLI_DONE;
}

static enum cli_exit open_entry(struct bench_session *session, const struct bench_group *group,
                                struct hall *hall, struct bench_entry *entry)
{
    entry->ground = hall->host.ground;
    if (entry->spec.kind == BENCH_MEMCPY || entry->spec.kind == BENCH_MEMCPY_TWO)
        return open_memcpy(hall, entry);
    if (entry->spec.kind == BENCH_PEER)
        return open_peer(session, group->pinned, hall, entry);
    entry->own.device = bench_session_device(session, &entry->spec, group->pinned);
    const char *why = !entry->own.device
                          ? ferry_last_error()
                          : bench_own_take(&entry->own, &entry->spec, &hall->host, &entry->ground);
    if (why) {
        leave_out(entry, why);
        return CLI_DONE;
    }
    enum ferry_status status =
        bench_case_open(&entry->job, entry->own.device, &entry->spec, &entry->ground);
    if (status) {
        leave_out(entry, entry->job.why);
        return leaves_out(status) ? CLI_DONE : CLI_DEVICE;
    }
    enter(entry, bench_run_case, &entry->job);
    return CLI_DONE;
}

/* --- measuring and checking ------------------------------------------------------------------- */

/* Of the contestants that can. A GPU takes a while to change from one program interface to another:
 * beside peers that is nobody's time. */
static void measure_all(struct bench_group *group)
{
    struct bench_way *ways[BENCH_ENTRIES_MAX];
    size_t count = 0;
    bool peers = false;
    for (size_t i = 0; i < group->count; i++) {
        struct bench_entry *entry = &group->entries[i];
        if (entry->measured)
            ways[count++] = &entry->way;
        peers = peers || (entry->measured && entry->spec.kind == BENCH_PEER);
    }
    for (size_t i = 0; i < count; i++)
        ways[i]->settle = peers;
    group->rounds = group->iterations > 0 ? bench_measure_rounds(ways, count, group->iterations)
                                          : bench_measure(ways, count, group->budget_ns);
}

/* Peers that fail are left out, and what lacks memory. Anything else is complained of. */
static enum cli_exit forgive(struct bench_entry *entry, enum cli_exit end)
{
    if (entry->spec.kind == BENCH_PEER || leaves_out((enum ferry_status)entry->job.status)) {
        leave_out(entry, entry->spec.kind == BENCH_PEER ? entry->rival.why : entry->job.why);
        return CLI_DONE;
    }
    cli_complain("bench: %s", entry->job.why);
    return end;
}

/* Where one is left out, the others begin anew. */
static enum cli_exit measure(struct bench_group *group)
{
    for (;;) {
        measure_all(group);
        if (group->rounds > 0)
            return CLI_DONE;
        bool forgiven = false;
        for (size_t i = 0; i < group->count; i++) {
            struct bench_entry *entry = &group->entries[i];
            if (!entry->measured || (entry->job.why[0] == 0 && entry->rival.why[0] == 0))
                continue;
            if (forgive(entry, CLI_DEVICE) != CLI_DONE)
                return CLI_DEVICE;
            forgiven = true;
        }
        if (!forgiven)
            return CLI_DEVICE;
    }
}

static enum cli_exit check(struct bench_group *group)
{
    enum cli_exit end = CLI_DONE;
    for (size_t i = 0; i < group->count && end == CLI_DONE; i++) {
        struct bench_entry *entry = &group->entries[i];
        if (entry->measured && entry->way.run == bench_run_peer)
            end = bench_peer_case_check(&entry->rival);
        else if (entry->measured && entry->way.run == bench_run_case)
            end = bench_case_check(&entry->job);
        if (end != CLI_DONE)
            end = forgive(entry, end);
    }
    return end;
}

static void leave_all_out(struct bench_group *group, const char *why)
{
    for (size_t i = 0; i < group->count; i++)
        leave_out(&group->entries[i], why);
}

static enum cli_exit run(struct bench_session *session, struct bench_group *group,
                         struct hall *hall)
{
    if (group->size > session->info.max_buffer_size) {
        char size[CLI_TEXT_MAX], largest[CLI_TEXT_MAX], why[CLI_WHY_MAX];
        snprintf(why, sizeof why, "%s is above the device's largest buffer, %s",
                 cli_size(size, group->size), cli_size(largest, session->info.max_buffer_size));
        leave_all_out(group, why);
        return CLI_DONE;
    }
    if (!take_hall(hall, group)) {
        leave_all_out(group, "out of host memory");
        return CLI_DONE;
    }
    for (size_t i = 0; i < group->count; i++) {
        struct bench_entry *entry = &group->entries[i];
        enum cli_exit end = open_entry(session, group, hall, entry);
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
    struct hall hall = {.team = NULL};
    group->entries = calloc(group->count, sizeof *group->entries);
    if (!group->entries) {
        cli_complain("bench: out of host memory");
        return CLI_DEVICE;
    }
    for (size_t i = 0; i < group->count; i++)
        group->entries[i].spec = group->specs[i];
    if (group->pinned)
        bench_pin();
    enum cli_exit end = run(session, group, &hall);
    if (group->pinned)
        bench_unpin();
    for (size_t i = 0; i < group->count; i++) {
        struct bench_entry *entry = &group->entries[i];
        bench_case_close(&entry->job);
        if (entry->spec.kind == BENCH_PEER)
            bench_peer_case_close(&entry->rival);
        bench_own_give(&entry->own);
    }
    give_hall(&hall);
    return end;
}

void bench_group_free(struct bench_group *group)
{
    free(group->entries);
    group->entries = NULL;
}
