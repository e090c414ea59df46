#include "bench.h"

#include "reference.h"

#include <stdatomic.h>
#include <string.h>

enum { DEVICE_ODD = 3, ROOM = 256 };

/* A place: its buffers, its offset in them, its bytes in host memory. */
struct place {
    ferry_buffer *to, *from;
    size_t offset, host;
};

static struct place place_at(const struct bench_case *bench, uint64_t i)
{
    size_t buffer = bench->buffers > 1 ? (size_t)i : 0;
    size_t within = bench->buffers > 1 ? 0 : (size_t)i;
    return (struct place){
        .to = bench->to[buffer],
        .from = bench->from[buffer],
        .offset = within * bench->ground->stride + (bench->ground->odd ? DEVICE_ODD : 0),
        .host = (size_t)i * bench->ground->stride,
    };
}

/* Of both ways at once the second thread is the one that downloads. */
static enum ferry_operation operation_at(const struct bench_case *bench, uint64_t i)
{
    return bench->spec.mode == BENCH_BOTH && i == 1 ? FERRY_OPERATION_DOWNLOAD
                                                    : bench->spec.operation;
}

static bool in_threads(enum bench_mode mode)
{
    return mode == BENCH_THREADS || mode == BENCH_BOTH;
}

/* --- the operation, three ways ---------------------------------------------------------------- */

static enum ferry_status do_waiting(struct bench_case *bench, uint64_t i)
{
    const struct bench_ground *ground = bench->ground;
    const struct place at = place_at(bench, i);
    if (bench->spec.kind == BENCH_SEED)
        return reference_upload_plain(at.to, ground->source, ground->size);
    switch (operation_at(bench, i)) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_copy_from_host(at.to, ground->source + at.host, ground->size, at.offset);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_copy_to_host(at.to, ground->yard + at.host, ground->size, at.offset);
    case FERRY_OPERATION_COPY:
        return ferry_copy_buffer(at.to, at.from, ground->size, at.offset, at.offset);
    case FERRY_OPERATION_FILL:
    case FERRY_OPERATION_COUNT: break;
    }
    return ferry_fill_buffer(at.to, ground->size, at.offset, bench_pattern, sizeof bench_pattern);
}

static enum ferry_status begin(struct bench_case *bench, uint64_t i, ferry_ticket *out_ticket)
{
    const struct bench_ground *ground = bench->ground;
    const struct place at = place_at(bench, i);
    switch (bench->spec.operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_copy_from_host_async(at.to, ground->source + at.host, ground->size, at.offset,
                                          NULL, NULL, out_ticket);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_copy_to_host_async(at.to, ground->yard + at.host, ground->size, at.offset,
                                        NULL, NULL, out_ticket);
    case FERRY_OPERATION_COPY:
        return ferry_copy_buffer_async(at.to, at.from, ground->size, at.offset, at.offset, NULL,
                                       NULL, out_ticket);
    case FERRY_OPERATION_FILL:
    case FERRY_OPERATION_COUNT: break;
    }
    return ferry_fill_buffer_async(at.to, ground->size, at.offset, bench_pattern,
                                   sizeof bench_pattern, NULL, NULL, out_ticket);
}

static enum ferry_status add(struct bench_case *bench, uint64_t i)
{
    const struct bench_ground *ground = bench->ground;
    const struct place at = place_at(bench, i);
    switch (bench->spec.operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_batch_copy_from_host(bench->batch, at.to, ground->source + at.host,
                                          ground->size, at.offset);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_batch_copy_to_host(bench->batch, at.to, ground->yard + at.host, ground->size,
                                        at.offset);
    case FERRY_OPERATION_COPY:
        return ferry_batch_copy_buffer(bench->batch, at.to, at.from, ground->size, at.offset,
                                       at.offset);
    case FERRY_OPERATION_FILL:
    case FERRY_OPERATION_COUNT: break;
    }
    return ferry_batch_fill_buffer(bench->batch, at.to, ground->size, at.offset, bench_pattern,
                                   sizeof bench_pattern);
}

/* --- so many of them -------------------------------------------------------------------------- */

static enum ferry_status run_waiting(struct bench_case *bench, uint64_t calls)
{
    enum ferry_status status = FERRY_OK;
    for (uint64_t i = 0; i < calls && !status; i++) {
        status = do_waiting(bench, bench->next);
        bench->next = bench->next + 1 < bench->places ? bench->next + 1 : 0;
    }
    return status;
}

static enum ferry_status run_async(struct bench_case *bench, uint64_t calls)
{
    ferry_ticket tickets[BENCH_THREADS_MAX] = {0};
    enum ferry_status status = FERRY_OK;
    for (uint64_t i = 0; i < calls && !status; i++) {
        ferry_ticket *ticket = &tickets[i % bench->places];
        status = ferry_wait(bench->device, *ticket, FERRY_FOREVER);
        if (!status)
            status = begin(bench, i % bench->places, ticket);
    }
    for (size_t i = 0; i < bench->places; i++) {
        enum ferry_status end = ferry_wait(bench->device, tickets[i], FERRY_FOREVER);
        if (!status)
            status = end;
    }
    return status;
}

static enum ferry_status run_batch(struct bench_case *bench, uint64_t calls)
{
    enum ferry_status status = FERRY_OK;
    for (uint64_t call = 0; call < calls && !status; call++) {
        ferry_ticket ticket = 0;
        for (size_t i = 0; i < bench->places && !status; i++)
            status = add(bench, i);
        if (!status)
            status = ferry_batch_submit(bench->batch, NULL, NULL, &ticket);
        if (!status)
            status = ferry_wait(bench->device, ticket, FERRY_FOREVER);
    }
    return status;
}

static enum ferry_status run_many(struct bench_case *bench, uint64_t calls)
{
    enum ferry_status status = FERRY_OK;
    for (uint64_t call = 0; call < calls && !status; call++) {
        for (size_t i = 0; i < bench->places && !status; i++)
            status = begin(bench, i, NULL);
        const enum ferry_status end = ferry_wait_idle(bench->device);
        if (!status)
            status = end;
    }
    return status;
}

/* The words of a failure are those of the thread that met it. */
static void fail(struct bench_case *bench, enum ferry_status status)
{
    int none = FERRY_OK;
    if (atomic_compare_exchange_strong(&bench->status, &none, (int)status))
        snprintf(bench->why, sizeof bench->why, "%s", ferry_last_error());
}

static void work(void *state, unsigned index)
{
    struct bench_case *bench = state;
    for (uint64_t i = 0; i < bench->calls; i++) {
        enum ferry_status status = do_waiting(bench, index);
        if (status) {
            fail(bench, status);
            return;
        }
    }
}

uint64_t bench_run_case(void *state, uint64_t calls)
{
    static enum ferry_status (*const runs[])(struct bench_case *,
                                             uint64_t) = {[BENCH_WAITING] = run_waiting,
                                                          [BENCH_ASYNC] = run_async,
                                                          [BENCH_BATCH] = run_batch,
                                                          [BENCH_MANY] = run_many};
    struct bench_case *bench = state;
    uint64_t ns;
    if (in_threads(bench->spec.mode)) {
        bench->calls = calls;
        ns = bench_team_run(bench->team, work, bench);
    } else {
        uint64_t began = bench_now_ns();
        enum ferry_status status = runs[bench->spec.mode](bench, calls);
        ns = bench_now_ns() - began;
        if (status)
            fail(bench, status);
    }
    return !bench->status ? ns : BENCH_FAILED;
}

/* Each place once. */
static enum ferry_status pass(struct bench_case *bench)
{
    bool together = bench_is_together(bench->spec.mode) || in_threads(bench->spec.mode);
    bench->next = 0;
    (void)bench_run_case(bench, together ? 1 : bench->places);
    return (enum ferry_status)bench->status;
}

/* --- making and checking ---------------------------------------------------------------------- */

static enum ferry_status make_buffer(struct bench_case *bench, ferry_buffer **out_buffer)
{
    size_t each = bench->buffers > 1 ? 1 : bench->places;
    return ferry_buffer_create(
        bench->device,
        &(struct ferry_buffer_params){
            .size = each * bench->ground->stride + ROOM, .label = "bench", .zeroed = true},
        out_buffer);
}

/* Downloads and copies need something to bring. */
static enum ferry_status provide(struct bench_case *bench, ferry_buffer *const *buffers)
{
    enum ferry_status status = FERRY_OK;
    for (size_t i = 0; i < bench->places && !status; i++) {
        const struct place at = place_at(bench, i);
        status =
            ferry_copy_from_host(buffers[bench->buffers > 1 ? i : 0],
                                 bench->ground->source + at.host, bench->ground->size, at.offset);
    }
    return status;
}

static enum ferry_status make(struct bench_case *bench)
{
    enum ferry_status status = FERRY_OK;
    bool copies = bench->spec.operation == FERRY_OPERATION_COPY;
    for (size_t i = 0; i < bench->buffers && !status; i++) {
        status = make_buffer(bench, &bench->to[i]);
        if (!status && copies)
            status = make_buffer(bench, &bench->from[i]);
    }
    if (!status && copies)
        status = provide(bench, bench->from);
    if (!status &&
        (bench->spec.operation == FERRY_OPERATION_DOWNLOAD || bench->spec.mode == BENCH_BOTH))
        status = provide(bench, bench->to);
    if (!status && bench->spec.mode == BENCH_BATCH)
        status = ferry_batch_create(bench->device, &bench->batch);
    return status;
}

enum ferry_status bench_case_open(struct bench_case *bench, ferry_device *device,
                                  const struct bench_spec *spec, const struct bench_ground *ground)
{
    bench->spec = *spec;
    bench->ground = ground;
    bench->device = device;
    bench->places = spec->n > 0 ? spec->n : 1;
    bench->buffers = spec->mode == BENCH_ASYNC || in_threads(spec->mode) ? bench->places : 1;
    enum ferry_status status = make(bench);
    if (status) {
        fail(bench, status);
        return status;
    }
    if (in_threads(spec->mode)) {
        bench->team = bench_team_create((unsigned)bench->places);
        if (!bench->team) {
            snprintf(bench->why, sizeof bench->why, "the system has no more threads");
            return FERRY_ERROR_OUT_OF_HOST_MEMORY;
        }
    }
    return pass(bench);
}

void bench_case_close(struct bench_case *bench)
{
    ferry_batch_destroy(bench->batch);
    bench_team_destroy(bench->team);
    for (size_t i = 0; i < bench->buffers; i++) {
        ferry_buffer_destroy(bench->to[i]);
        ferry_buffer_destroy(bench->from[i]);
    }
}

static enum cli_exit check_place(struct bench_case *bench, uint64_t i)
{
    const struct bench_ground *ground = bench->ground;
    const struct place at = place_at(bench, i);
    unsigned char *arrived = ground->yard + at.host;
    if (operation_at(bench, i) != FERRY_OPERATION_DOWNLOAD) {
        memset(arrived, 0, ground->size);
        bench->status = (int)ferry_copy_to_host(at.to, arrived, ground->size, at.offset);
        if (bench->status) {
            cli_why(bench->why, "reading the measured bytes back");
            return CLI_DEVICE;
        }
    }
    return bench_compare(ground, operation_at(bench, i), at.host, bench->why);
}

enum cli_exit bench_case_check(struct bench_case *bench)
{
    if (bench->spec.operation == FERRY_OPERATION_DOWNLOAD || bench->spec.mode == BENCH_BOTH) {
        memset(bench->ground->yard, 0, bench->places * bench->ground->stride);
        if (pass(bench))
            return CLI_DEVICE;
    }
    enum cli_exit end = CLI_DONE;
    for (size_t i = 0; i < bench->places && end == CLI_DONE; i++)
        end = check_place(bench, i);
    return end;
}
