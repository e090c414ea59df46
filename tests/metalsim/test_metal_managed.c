/* Managed memory, which has a copy for the CPU and one for the GPU, and is synchronized whole. */
#include "metal_world.h"

/* Memory that the host only writes is not brought back to it: that would undo what it is writing. */
static void test_upload_memory(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){.machine = METALSIM_AMD, .no_shared = true});
    struct ferry__memory up = alloc(&world, FERRY__MEMORY_UPLOAD, 8192);
    assert_false(up.coherent);
    memset(up.host, 7, 4096); /* being written, and not announced yet */
    struct ferry__command command = fill(&up, 4096, 4096, 1);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    assert_int_equal(counts().synchronizes, 0);
    assert_int_equal(up.host[4095], 7);
    give(&world, &up);
    close_world(&world);
}

static void test_limits(void **unused)
{
    (void)unused;
    for (int machine = 0; machine < METALSIM_MACHINES; machine++) {
        struct world world;
        open_world(&world, (struct metalsim_config){.machine = (enum metalsim_machine)machine});
        assert_int_equal(world.limits.whole_readback, machine == METALSIM_AMD);
        close_world(&world);
    }
}

/* --- the engine: each thread of one kind of work, on its own buffer ---------------------------- */

enum { SIZE = 4096, ROUNDS = 20, THREADS = 4 };

struct lane {
    ferry_device *device;
    void (*work)(struct lane *lane, unsigned char *want, int round);
    ferry_buffer *buffer;
    bool failed;
};

#define CHECK(lane, condition) ((lane)->failed |= !(condition))

/* Odd ends: the host merges words that it has read. */
static void bounce(struct lane *lane, unsigned char *want, int round)
{
    unsigned char odd[333];
    memset(odd, round, sizeof odd);
    memcpy(want + 1 + round, odd, sizeof odd);
    CHECK(lane, !ferry_copy_from_host(lane->buffer, odd, sizeof odd, 1 + (size_t)round));
}

/* Overlapping ranges, through scratch in upload memory. */
static void overlap(struct lane *lane, unsigned char *want, int round)
{
    memmove(want + 4, want, 2048 + 4 * (size_t)round);
    CHECK(lane, !ferry_copy_buffer(lane->buffer, lane->buffer, 2048 + 4 * (size_t)round, 4, 0));
}

/* Uploads, which are written to upload memory meanwhile. */
static void upload(struct lane *lane, unsigned char *want, int round)
{
    memset(want, round + 1, SIZE);
    CHECK(lane, !ferry_copy_from_host(lane->buffer, want, SIZE, 0));
}

/* A batch, in the queue of the copies; the reading back that follows is in that of the downloads. */
static void batch(struct lane *lane, unsigned char *want, int round)
{
    ferry_batch *batch = NULL;
    unsigned char back[SIZE];
    memset(want, round + 3, SIZE);
    CHECK(lane, !ferry_batch_create(lane->device, &batch));
    CHECK(lane, !ferry_batch_copy_from_host(batch, lane->buffer, want, SIZE, 0));
    CHECK(lane, !ferry_batch_copy_to_host(batch, lane->buffer, back, SIZE, 0));
    ferry_ticket ticket = 0;
    CHECK(lane, !ferry_batch_submit(batch, NULL, NULL, &ticket));
    CHECK(lane, !ferry_wait(lane->device, ticket, FERRY_FOREVER));
    CHECK(lane, !memcmp(back, want, SIZE));
    ferry_batch_destroy(batch);
}

static void *run_lane(void *argument)
{
    struct lane *lane = argument;
    unsigned char want[SIZE], back[SIZE];
    memset(want, 0x11, SIZE);
    CHECK(lane, !ferry_fill_buffer(lane->buffer, SIZE, 0, want, 1));
    for (int round = 0; round < ROUNDS && !lane->failed; round++) {
        lane->work(lane, want, round);
        CHECK(lane, !ferry_copy_to_host(lane->buffer, back, SIZE, 0));
        CHECK(lane, !memcmp(back, want, SIZE));
    }
    return NULL;
}

static void lanes(bool no_shared, unsigned queues)
{
    static void (*const works[THREADS])(struct lane *, unsigned char *, int) = {bounce, overlap,
                                                                                upload, batch};
    start_machine(&(struct metalsim_config){
        .machine = METALSIM_AMD, .no_shared = no_shared, .bad_kernels = true, .disorder = true});
    const struct ferry_device_params params = {
        .name = "metal", .queues = queues, .map_private = FERRY_MAP_NEVER};
    ferry_device *device = NULL;
    assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
    struct lane lanes[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        lanes[i] = (struct lane){.device = device, .work = works[i]};
        const struct ferry_buffer_params buffer = {.size = SIZE};
        assert_int_equal(ferry_buffer_create(device, &buffer, &lanes[i].buffer), FERRY_OK);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_lane, &lanes[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ferry_buffer_destroy(lanes[i].buffer);
        assert_false(lanes[i].failed);
    }
    ferry_device_close(device);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

/* The simulator aborts where bytes that the host wrote would be lost, or two queues meet. */
static void test_lanes(void **unused)
{
    (void)unused;
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE); /* the kernels that are missing */
    for (int no_shared = 0; no_shared < 2; no_shared++)
        for (unsigned queues = 1; queues <= 3; queues++)
            lanes(no_shared, queues);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upload_memory),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
