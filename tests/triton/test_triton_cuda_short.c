/* What a short batch costs on the strict CUDA: one submission with one wait, by the thread that
 * carries it out. */
#include "host.h"

#include "tests/strictcuda/strictcuda.h"

#include <dirent.h>
#include <stdio.h>

enum { SIZE = 4096, ROUNDS = 20 };

static struct host host;
static TRITONSERVER_ResponseAllocator *allocator;
static ferry_device *cuda;

static const char config[] = "backend: \"ferry\"\nmax_batch_size: 64\n"
                             "input { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"
                             "output { name: \"X\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"
                             "instance_group { kind: KIND_GPU gpus: [ 0 ] }\n";

/* Where an output goes: CUDA's memory at an address, or the host's. */
struct where {
    uint64_t address;
    uint8_t memory[SIZE];
};

static TRITONSERVER_Error *give(TRITONSERVER_ResponseAllocator *of, const char *name, size_t size,
                                TRITONSERVER_MemoryType type, int64_t id, void *userp,
                                void **buffer, void **buffer_userp,
                                TRITONSERVER_MemoryType *actual_type, int64_t *actual_id)
{
    struct where *where = userp;
    (void)of;
    (void)name;
    (void)size;
    (void)type;
    (void)id;
    *buffer = where->address ? (void *)(uintptr_t)where->address : where->memory;
    *buffer_userp = NULL;
    *actual_type = where->address ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU;
    *actual_id = 0;
    return NULL;
}

/* A file of a thread's. */
static void read_file(const char *task, const char *name, char *text, size_t size)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, name);
    FILE *file = fopen(path, "r");
    text[file ? fread(text, 1, size - 1, file) : 0] = 0;
    if (file)
        fclose(file);
}

/* How often the engine's thread has slept: as often as it was woken, and once more. */
static uint64_t count_sleeps(void)
{
    static const char key[] = "\nvoluntary_ctxt_switches:";
    uint64_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task; (task = readdir(tasks));) {
        char text[4096];
        read_file(task->d_name, "comm", text, sizeof text);
        if (strcmp(text, "ferry-engine\n") != 0)
            continue;
        read_file(task->d_name, "status", text, sizeof text);
        assert_non_null(strstr(text, key));
        count += strtoull(strstr(text, key) + sizeof key - 1, NULL, 10);
    }
    closedir(tasks);
    return count;
}

/* One request from bytes, in CUDA's memory at address if that is not 0. */
static void send_one(const uint8_t *bytes, uint64_t address, struct where *where)
{
    static const char *const x[] = {"X", NULL};
    struct call call;
    const struct tensor_data input = {.name = "A",
                                      .bytes = address ? (void *)(uintptr_t)address : bytes,
                                      .size = SIZE,
                                      .shape = {1, SIZE},
                                      .dims = 2,
                                      .type = address ? TRITONSERVER_MEMORY_GPU
                                                      : TRITONSERVER_MEMORY_CPU};
    call_start(&call, &host, "m", &input, 1, x, allocator, where);
    call_wait(&call);
    assert_null(TRITONSERVER_InferenceResponseError(call.response));
    call_finish(&call);
    assert_memory_equal(where->address ? strictcuda_bytes(where->address) : where->memory, bytes,
                        SIZE);
}

/* Those that a submission is made of; how often an event is asked depends on the time it takes. */
static const struct {
    const char *call;
    unsigned host, device; /* a request, in and out of host memory, and CUDA's */
} costs[] = {
    {"cuMemcpyAsync", 2, 0},     {"cuMemcpyBatchAsync", 0, 0},
    {"cuLaunchKernel", 0, 1},    {"cuEventRecord", 1, 1},
    {"cuStreamWaitEvent", 0, 0}, {"cuStreamSynchronize", 0, 0},
    {"cuMemAlloc", 0, 0},        {"cuMemHostAlloc", 0, 0},
    {"cuEventCreate", 0, 0},     {"cuPointerGetAttributes", 2, 2},
    {"cuMemHostRegister", 0, 0},
};

static void expect_costs(bool in_device, uint64_t address, struct where *where)
{
    uint8_t *bytes = make_bytes(SIZE + ROUNDS, 5);
    uint64_t calls[COUNT(costs)], sleeps = 0;
    for (size_t i = 0; i < 2 * ROUNDS; i++) {
        if (i == ROUNDS)
            sleeps = count_sleeps();
        if (i == ROUNDS)
            for (size_t k = 0; k < COUNT(costs); k++)
                calls[k] = strictcuda_calls(costs[k].call);
        if (in_device)
            memcpy(strictcuda_bytes(address), bytes + i % ROUNDS, SIZE);
        const uint64_t before = submissions(cuda);
        send_one(bytes + i % ROUNDS, address, where);
        assert_true(i < ROUNDS || submissions(cuda) - before == 1); /* the first makes buffers */
    }
    for (size_t k = 0; k < COUNT(costs); k++) {
        const uint64_t made = strictcuda_calls(costs[k].call) - calls[k];
        const unsigned most = in_device ? costs[k].device : costs[k].host;
        if (made > (uint64_t)most * ROUNDS)
            fail_msg("%s: %llu calls in %d requests", costs[k].call, (unsigned long long)made,
                     ROUNDS);
    }
    assert_int_equal(count_sleeps(), sleeps);
    free(bytes);
}

static void one_request(void **state)
{
    static struct where where;
    (void)state;
    expect_costs(false, 0, &where);
}

static void one_request_in_cudas_memory(void **state)
{
    static struct where where;
    const uint64_t in = strictcuda_alloc(STRICTCUDA_DEVICE, SIZE);
    where.address = strictcuda_alloc(STRICTCUDA_DEVICE, SIZE);
    (void)state;
    expect_costs(true, in, &where);
    strictcuda_free(in);
    strictcuda_free(where.address);
}

static int begin(void **state)
{
    if (begin_test(state))
        return -1;
    succeed(ferry_triton_device("cuda:0", &cuda));
    succeed(TRITONSERVER_ResponseAllocatorNew(&allocator, give, keep_memory, NULL));
    standin_with_gpu(true);
    host_open(&host, FERRY_BACKENDS);
    succeed(host_load(&host, "m", config));
    return 0;
}

static int end(void **state)
{
    host_unload(&host, "m");
    host_close(&host);
    standin_with_gpu(false);
    succeed(TRITONSERVER_ResponseAllocatorDelete(allocator));
    ferry_triton_device_release(cuda);
    return end_test(state);
}

#define SHORT_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHORT_TEST(one_request),
        SHORT_TEST(one_request_in_cudas_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
