#include "reference.h"

#include "compare.h"

#include <stdlib.h>
#include <string.h>

#define BUDGET_NS 150000000u

enum { SAMPLES_MAX = 4096, SAMPLES_MIN = 3 };

enum way { WAY_MEMCPY, WAY_FERRY, WAY_SEED, WAY_COUNT };

/* The memory of one measurement. seeded is the plain device's private buffer. */
struct bench {
    ferry_device *plain;
    ferry_buffer *private, *seeded;
    unsigned char *source, *yard;
    size_t size;
    uint64_t samples[WAY_COUNT][SAMPLES_MAX];
};

enum ferry_status reference_open_plain(ferry_device *device, ferry_device **out_device)
{
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    return ferry_device_open(
        &(struct ferry_device_params){
            .name = info.name, .map_private = FERRY_MAP_NEVER, .pool_budget = 1, .queues = 1},
        out_device);
}

static enum ferry_status copy_by_memcpy(struct bench *bench)
{
    memcpy(bench->yard, bench->source, bench->size);
    __asm__ volatile("" : : "r"(bench->yard) : "memory");
    return FERRY_OK;
}

static enum ferry_status copy_by_ferry(struct bench *bench)
{
    return ferry_copy_from_host(bench->private, bench->source, bench->size, 0);
}

/*
 * Made anew in each call: the staging buffer, its memory (the plain device keeps no freed memory,
 * so each is an allocation of the driver's, with the page faults of fresh memory), the submission
 * and its wait. The private buffer is out of the CPU's reach, so the device copies, as the seed's
 * blit does. Not made anew, because the public interface hides it: the command queue. So the seed's
 * design is dearer than this says, never cheaper.
 */
enum ferry_status reference_upload_plain(ferry_buffer *dst, const void *src, size_t size)
{
    ferry_buffer *staging = NULL;
    void *contents = NULL;
    enum ferry_status status = ferry_buffer_create(
        ferry_buffer_device(dst),
        &(struct ferry_buffer_params){.size = size, .storage = FERRY_STORAGE_SHARED}, &staging);
    if (status)
        return status;
    status = ferry_buffer_contents(staging, &contents);
    if (!status) {
        memcpy(contents, src, size);
        status = ferry_copy_buffer(dst, staging, size, 0, 0);
    }
    ferry_buffer_destroy(staging);
    return status;
}

static enum ferry_status copy_by_seed(struct bench *bench)
{
    return reference_upload_plain(bench->seeded, bench->source, bench->size);
}

static enum ferry_status measure(struct bench *bench, size_t *out_count)
{
    static enum ferry_status (*const ways[])(struct bench *) = {
        [WAY_MEMCPY] = copy_by_memcpy, [WAY_FERRY] = copy_by_ferry, [WAY_SEED] = copy_by_seed};
    uint64_t began = cli_now_ns();
    size_t count = 0;
    /* The first round warms the memory and is measured over. */
    for (size_t round = 0; count < SAMPLES_MAX; round++) {
        for (int i = 0; i < WAY_COUNT; i++) {
            int way = (int)((round + (size_t)i) % WAY_COUNT);
            uint64_t start = cli_now_ns();
            enum ferry_status status = ways[way](bench);
            bench->samples[way][count] = cli_now_ns() - start;
            if (status)
                return status;
        }
        if (round > 0)
            count++;
        if (count >= SAMPLES_MIN && cli_now_ns() - began > BUDGET_NS)
            break;
    }
    *out_count = count;
    return FERRY_OK;
}

static enum ferry_status take_memory(ferry_device *device, struct bench *bench)
{
    const struct ferry_buffer_params params = {.size = bench->size, .label = "reference"};
    bench->source = malloc(bench->size);
    bench->yard = malloc(bench->size);
    if (!bench->source || !bench->yard)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    memset(bench->yard, 0, bench->size);
    for (size_t i = 0; i < bench->size; i++)
        bench->source[i] = (unsigned char)(i * 2654435761u >> 13);
    enum ferry_status status = ferry_buffer_create(device, &params, &bench->private);
    return status ? status : ferry_buffer_create(bench->plain, &params, &bench->seeded);
}

/* What was measured has to have happened. */
static enum cli_exit check(struct bench *bench, char *why)
{
    ferry_buffer *const arrived[] = {bench->private, bench->seeded};
    for (size_t i = 0; i < CLI_COUNT(arrived); i++) {
        memset(bench->yard, 0, bench->size);
        if (ferry_copy_to_host(arrived[i], bench->yard, bench->size, 0)) {
            cli_why(why, "reading the measured bytes back");
            return CLI_DEVICE;
        }
        size_t wrong = compare_bytes(bench->source, bench->yard, bench->size);
        if (wrong != bench->size) {
            compare_why(why, bench->source, bench->yard, wrong, 0);
            return CLI_CHECK;
        }
    }
    return CLI_DONE;
}

static enum cli_exit run(ferry_device *device, struct bench *bench, struct reference *reference)
{
    size_t count = 0;
    enum ferry_status status = take_memory(device, bench);
    if (!status)
        status = measure(bench, &count);
    if (status == FERRY_ERROR_OUT_OF_HOST_MEMORY || status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY) {
        snprintf(reference->why, sizeof reference->why, "%s", ferry_status_text(status));
        return CLI_DONE;
    }
    if (status) {
        cli_why(reference->why, "measuring uploads");
        return CLI_DEVICE;
    }
    reference->memcpy_ns = cli_median(bench->samples[WAY_MEMCPY], count);
    reference->ferry_ns = cli_median(bench->samples[WAY_FERRY], count);
    reference->seed_ns = cli_median(bench->samples[WAY_SEED], count);
    reference->measured = true;
    return check(bench, reference->why);
}

enum cli_exit reference_measure(ferry_device *device, ferry_device *plain,
                                struct reference *reference)
{
    struct bench *bench = calloc(1, sizeof *bench);
    if (!bench) {
        snprintf(reference->why, sizeof reference->why, "out of host memory");
        return CLI_DEVICE;
    }
    bench->plain = plain;
    bench->size = reference->size;
    enum cli_exit end = run(device, bench, reference);
    ferry_buffer_destroy(bench->private);
    ferry_buffer_destroy(bench->seeded);
    free(bench->source);
    free(bench->yard);
    free(bench);
    return end;
}
