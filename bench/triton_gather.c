/*
 * The time that the inputs of a batch take to private memory: by one gather; by one copy for each
 * request; and by what a port of such a backend does first, a staging buffer of its own and a wait
 * for each request. (That one also made a queue for each copy, which is not counted here.)
 *
 *   FERRY_HOST=no_map bench_triton_gather [DEVICE]
 *
 * Without no_map the host device's private memory is reached by the CPU, and nothing is submitted.
 */
#include "standin/standin.h"

#include <ferry/triton.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REQUESTS_MAX = 512, ROUNDS = 15 };

static ferry_device *device;
static ferry_buffer *dst;
static uint8_t *bytes, *got;
static TRITONBACKEND_Request *requests[REQUESTS_MAX];

static void check(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_triton_gather: %s: %s\n", what, ferry_last_error());
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void gather(uint32_t count, size_t size)
{
    static struct ferry_triton_span spans[REQUESTS_MAX];
    static TRITONSERVER_Error *errors[REQUESTS_MAX];
    const struct ferry_triton_input input = {.name = "x", .dst = dst};
    ferry_ticket ticket;
    (void)size;
    check(!ferry_triton_gather(device, requests, count, &input, 1, spans, errors, NULL, NULL,
                               &ticket),
          "gather");
    check(!ferry_wait(device, ticket, FERRY_FOREVER), "gather");
    for (uint32_t i = 0; i < count; i++)
        check(!errors[i], "a request");
}

static void one_by_one(uint32_t count, size_t size)
{
    for (uint32_t i = 0; i < count; i++)
        check(!ferry_copy_from_host(dst, bytes + i * size, size, i * size), "copy");
}

static void own_staging(uint32_t count, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        ferry_buffer *staging = NULL;
        void *contents = NULL;
        const struct ferry_buffer_params params = {.size = size, .storage = FERRY_STORAGE_SHARED};
        check(!ferry_buffer_create(device, &params, &staging), "staging");
        check(!ferry_buffer_contents(staging, &contents), "staging");
        memcpy(contents, bytes + i * size, size);
        check(!ferry_copy_buffer(dst, staging, size, i * size, 0), "staging");
        ferry_buffer_destroy(staging);
    }
}

static const struct {
    const char *name;
    void (*run)(uint32_t count, size_t size);
} ways[] = {{"gather", gather}, {"copy each", one_by_one}, {"own staging", own_staging}};
enum { WAYS = sizeof ways / sizeof *ways };

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The median time, and the submissions of one round. Every byte is compared after the last. A
 * gather is one submission, and one more each time that its batch exceeds the staging budget. */
static uint64_t measure(unsigned way, uint32_t count, size_t size, uint64_t *out_submissions)
{
    uint64_t times[ROUNDS];
    struct ferry_stats before, after;
    check(!ferry_zero_buffer(dst), "zero");
    ways[way].run(count, size);
    ferry_device_get_stats(device, &before, sizeof before);
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t start = now_ns();
        ways[way].run(count, size);
        times[i] = now_ns() - start;
    }
    ferry_device_get_stats(device, &after, sizeof after);
    *out_submissions = (after.submissions - before.submissions) / ROUNDS;
    check(ways[way].run != gather || after.submissions - before.submissions ==
                                         ROUNDS + after.batch_splits - before.batch_splits,
          "a gather was not one submission");
    check(!ferry_copy_to_host(dst, got, count * size, 0), "download");
    check(!memcmp(got, bytes, count * size), "the bytes differ");
    qsort(times, ROUNDS, sizeof *times, compare);
    return times[ROUNDS / 2];
}

static void make_requests(uint32_t count, size_t size)
{
    const int64_t shape[] = {1, (int64_t)size};
    for (uint32_t i = 0; i < count; i++) {
        TRITONSERVER_InferenceRequest *request = NULL;
        check(!TRITONSERVER_InferenceRequestNew(&request, NULL, "bench", -1) &&
                  !TRITONSERVER_InferenceRequestAddInput(request, "x", TRITONSERVER_TYPE_UINT8,
                                                         shape, 2) &&
                  !TRITONSERVER_InferenceRequestAppendInputData(request, "x", bytes + i * size,
                                                                size, TRITONSERVER_MEMORY_CPU, 0),
              "a request");
        requests[i] = standin_hand_over(request);
    }
}

static void run_size(uint32_t count, size_t size)
{
    uint64_t yardstick = 0;
    make_requests(count, size);
    for (unsigned way = 0; way < WAYS; way++) {
        uint64_t submissions = 0;
        const uint64_t ns = measure(way, count, size, &submissions);
        if (!way)
            yardstick = ns;
        printf("%8u %8zu  %-12s %12.1f %12.2f %10.3f %8llu %9.2f\n", count, size >> 10,
               ways[way].name, (double)ns / 1e3, (double)ns / 1e3 / count,
               (double)(count * size) / (double)ns, (unsigned long long)submissions,
               (double)ns / (double)yardstick);
    }
    standin_reset();
}

int main(int argc, char **argv)
{
    static const uint32_t counts[] = {8, 64, 512};
    static const size_t sizes[] = {4 << 10, 256 << 10};
    const size_t most = (size_t)REQUESTS_MAX * (256 << 10);
    struct ferry_device_info info;
    check(!ferry_triton_device(argc > 1 ? argv[1] : NULL, &device), "the device");
    ferry_device_get_info(device, &info);
    check(!ferry_buffer_create(device, &(struct ferry_buffer_params){.size = most}, &dst), "dst");
    bytes = malloc(most);
    got = malloc(most);
    check(bytes && got, "memory");
    for (size_t i = 0; i < most; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    printf("%s (%s), median of %d\n%8s %8s  %-12s %12s %12s %10s %8s %9s\n", info.name,
           info.description, ROUNDS, "requests", "KiB", "way", "us", "us/request", "GB/s",
           "submits", "x gather");
    for (size_t s = 0; s < 2; s++)
        for (size_t c = 0; c < 3; c++)
            run_size(counts[c], sizes[s]);
    ferry_buffer_destroy(dst);
    ferry_triton_device_release(device);
    free(bytes);
    free(got);
    return 0;
}
