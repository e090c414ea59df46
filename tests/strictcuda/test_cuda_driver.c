/* What is CUDA's own in the driver, on the strict CUDA. The rest is the suite's. */
#include "client.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

#define OK(call) assert_int_equal((call), FERRY_OK)
#define IS(status, call) assert_int_equal((call), (status))

static void words(const char *text)
{
    if (!strstr(ferry_last_error(), text))
        fail_msg("\"%s\" does not say \"%s\"", ferry_last_error(), text);
}

static ferry_device *open_with(const char *options, struct ferry_device_params params)
{
    ferry_device *device = NULL;
    params.name = "cuda";
    setenv("STRICTCUDA", options, 1);
    if (ferry_device_open(&params, &device))
        fail_msg("%s", ferry_last_error());
    return device;
}

static ferry_device *open_cuda(const char *options)
{
    return open_with(options, (struct ferry_device_params){0});
}

static ferry_buffer *make(ferry_device *device, size_t size, enum ferry_storage storage)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = size, .storage = storage},
                           &buffer));
    return buffer;
}

/* Bytes there and back. */
static void pass(ferry_buffer *buffer, unsigned char *bytes, size_t size)
{
    unsigned char *got = malloc(size);
    OK(ferry_copy_from_host(buffer, bytes, size, 0));
    OK(ferry_copy_to_host(buffer, got, size, 0));
    assert_memory_equal(got, bytes, size);
    free(got);
}

static unsigned char *scribbled(size_t size)
{
    unsigned char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    return bytes;
}

/* --- beside the user's own CUDA ---------------------------------------------------------------- */

static void test_capture(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("");
    unsigned char *bytes = scribbled(MIB);
    strictcuda_capture(true);
    ferry_buffer *buffer = make(device, MIB, FERRY_STORAGE_PRIVATE);
    ferry_buffer *shared = make(device, MIB, FERRY_STORAGE_SHARED);
    pass(buffer, bytes, MIB);
    OK(ferry_copy_buffer(shared, buffer, MIB - 1, 1, 0));
    OK(ferry_fill_buffer(buffer, 999, 1, "abc", 3));
    OK(ferry_host_register(device, bytes, MIB, 0));
    pass(buffer, bytes, MIB);
    OK(ferry_host_unregister(device, bytes));
    ferry_buffer_destroy(shared);
    ferry_buffer_destroy(buffer);
    OK(ferry_device_trim(device));
    ferry_device_close(device);
    strictcuda_capture(false);
    free(bytes);
}

/* The thread's context and capture mode are what they were. */
static void test_context(void **unused)
{
    (void)unused;
    struct client c = client_begin("devices=2");
    cu_device other;
    cu_context second, current;
    cu_capture_mode mode = CU_CAPTURE_THREAD_LOCAL;
    GOOD(c.cu.DeviceGet(&other, 1));
    GOOD(c.cu.DevicePrimaryCtxRetain(&second, other));
    GOOD(c.cu.CtxPushCurrent(second));
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    ferry_device *device = open_cuda("devices=2");
    ferry_buffer *buffer = make(device, SIZE, FERRY_STORAGE_PRIVATE);
    unsigned char *bytes = scribbled(SIZE);
    pass(buffer, bytes, SIZE);
    free(bytes);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, CU_CAPTURE_THREAD_LOCAL);
    mode = CU_CAPTURE_RELAXED;
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    GOOD(c.cu.CtxPopCurrent(&current));
    assert_ptr_equal(current, second);
    GOOD(c.cu.DevicePrimaryCtxRelease(other));
    client_end(&c);
    strictcuda_record(false);
}

/* Freeing waits for the user's kernel; whoever destroys a buffer does not. */
static void test_free_elsewhere(void **unused)
{
    (void)unused;
    ferry_device *device = open_with("memory=64M", (struct ferry_device_params){.pool_budget = 1});
    ferry_buffer *large = make(device, 48 * MIB, FERRY_STORAGE_PRIVATE);
    unsigned char *bytes = scribbled(SIZE);
    ferry_buffer *small = make(device, SIZE, FERRY_STORAGE_PRIVATE);
    strictcuda_hold(true);
    ferry_buffer_destroy(large);
    pass(small, bytes, SIZE); /* nobody holds a lock meanwhile */
    while (!strictcuda_waiting())
        usleep(100);
    strictcuda_hold(false);
    /* There is room for it only once the other is given back. */
    large = make(device, 48 * MIB, FERRY_STORAGE_PRIVATE);
    ferry_buffer_destroy(large);
    ferry_buffer_destroy(small);
    ferry_device_close(device);
    assert_int_equal(strictcuda_live(), 0);
    free(bytes);
}

struct release {
    _Atomic bool released;
};

static void *release_later(void *arg)
{
    struct release *release = arg;
    usleep(50000);
    release->released = true;
    strictcuda_hold(false);
    return NULL;
}

static void take_host_memory(ferry_device *device)
{
    void *memory = NULL;
    OK(ferry_host_alloc(device, MIB, &memory));
    ferry_host_free(device, memory);
}

static void take_private(ferry_device *device)
{
    ferry_buffer_destroy(make(device, MIB, FERRY_STORAGE_PRIVATE));
}

static void take_exportable(ferry_device *device)
{
    const struct ferry_buffer_params params = {.size = MIB, .flags = FERRY_BUFFER_EXPORTABLE};
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &params, &buffer));
    ferry_buffer_destroy(buffer);
}

/* Memory that was used once may be unmapped before it is unregistered: no device may be given new
 * memory there until it is. */
static void test_unmapped(void **unused)
{
    (void)unused;
    void (*const takes[])(ferry_device *) = {take_host_memory, take_private, take_exportable};
    for (size_t i = 0; i < sizeof takes / sizeof *takes; i++) {
        ferry_device *device =
            open_with("devices=2", (struct ferry_device_params){.path = FERRY_PATH_IMPORTED});
        ferry_device *second = NULL;
        OK(ferry_device_open(&(struct ferry_device_params){.name = "cuda:1", .pool_budget = 1},
                             &second));
        struct release release = {false};
        ferry_buffer *buffer = make(device, MIB, FERRY_STORAGE_PRIVATE);
        void *bytes = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pthread_t thread;
        assert_ptr_not_equal(bytes, MAP_FAILED);
        strictcuda_hold(true);
        OK(ferry_copy_from_host(buffer, bytes, MIB, 0));
        assert_int_equal(munmap(bytes, MIB), 0);
        assert_int_equal(pthread_create(&thread, NULL, release_later, &release), 0);
        takes[i](second);
        assert_true(release.released);
        pthread_join(thread, NULL);
        ferry_buffer_destroy(buffer);
        ferry_device_close(second);
        ferry_device_close(device);
        assert_int_equal(strictcuda_live(), 0);
    }
}

static bool is_mapped(void *memory)
{
    return !msync(memory, 1, MS_ASYNC);
}

/* Ferry's own pages stay where they are until CUDA knows them no more, and nobody waits for that. */
static void test_pages_stay(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("");
    const uint64_t unmapped = strictcuda_unmapped();
    void *memory = NULL;
    OK(ferry_host_alloc(device, 32 * MIB, &memory));
    memset(memory, 1, 32 * MIB);
    strictcuda_hold(true);
    ferry_host_free(device, memory);
    while (!strictcuda_waiting())
        usleep(100);
    assert_true(is_mapped(memory));
    take_private(device);
    strictcuda_hold(false);
    OK(ferry_device_trim(device));
    assert_false(is_mapped(memory));
    assert_int_equal(strictcuda_unmapped(), unmapped);
    ferry_device_close(device);
    assert_int_equal(strictcuda_live(), 0);
}

/* A copy by the kernel loads whole blocks, and so bytes beside its own, while an upload writes them:
 * the upload is the longer one, and begins with those. */
static void test_beside(void **unused)
{
    (void)unused;
    enum { ROUNDS = 8, COPY = 64 * KIB + 8, LONG = 4 * MIB };
    ferry_device *device = open_cuda("delay=0");
    ferry_buffer *from = make(device, COPY + LONG, FERRY_STORAGE_PRIVATE);
    ferry_buffer *to = make(device, COPY, FERRY_STORAGE_PRIVATE);
    unsigned char *bytes = scribbled(COPY), *got = malloc(COPY);
    void *upload = NULL;
    OK(ferry_host_alloc(device, LONG, &upload));
    memset(upload, 9, LONG);
    OK(ferry_copy_from_host(from, bytes, COPY, 0));
    for (int round = 0; round < ROUNDS; round++) {
        strictcuda_pause(true);
        OK(ferry_copy_buffer_async(to, from, COPY - 3, 0, 3, NULL, NULL, NULL));
        OK(ferry_copy_from_host_async(from, upload, LONG, COPY, NULL, NULL, NULL));
        strictcuda_pause(false);
        OK(ferry_wait_idle(device));
        OK(ferry_copy_to_host(to, got, COPY - 3, 0));
        assert_memory_equal(got, bytes + 3, COPY - 3);
    }
    ferry_host_free(device, upload);
    ferry_buffer_destroy(from);
    ferry_buffer_destroy(to);
    ferry_device_close(device);
    free(got);
    free(bytes);
}

/* --- others' memory ---------------------------------------------------------------------------- */

static uint64_t imported(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_IMPORTED].operations +
           stats.operations[FERRY_OPERATION_DOWNLOAD][FERRY_PATH_IMPORTED].operations;
}

static void test_page_locked(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("");
    ferry_buffer *buffer = make(device, MIB, FERRY_STORAGE_PRIVATE);
    const uint64_t address = strictcuda_alloc(STRICTCUDA_HOST, MIB);
    unsigned char *bytes = (unsigned char *)(uintptr_t)address;
    memset(bytes, 3, MIB);
    OK(ferry_copy_from_host(buffer, bytes + 5, 16 * KIB, 0));
    OK(ferry_copy_to_host(buffer, bytes + MIB - 16 * KIB, 16 * KIB, 0));
    assert_int_equal(imported(device), 2);
    OK(ferry_copy_from_host(buffer, bytes, 16 * KIB - 1, 0)); /* not worth the asking */
    assert_int_equal(imported(device), 2);
    OK(ferry_host_register(device, bytes + 1, MIB - 2, 0)); /* is there already */
    OK(ferry_copy_from_host(buffer, bytes + 1, MIB - 2, 0));
    assert_int_equal(imported(device), 3);
    OK(ferry_host_unregister(device, bytes + 1));
    OK(ferry_copy_from_host(buffer, bytes, MIB, 0)); /* and stays so */
    assert_int_equal(imported(device), 4);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    strictcuda_free(address);
}

/* What reaches beyond its range is staged. */
static void test_two_ranges(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    ferry_device *device = open_cuda("");
    ferry_buffer *buffer = make(device, 64 * KIB, FERRY_STORAGE_PRIVATE);
    unsigned char *bytes = aligned_alloc(4096, 64 * KIB);
    memset(bytes, 9, 64 * KIB);
    GOOD(c.cu.MemHostRegister(bytes, 32 * KIB, CU_HOST_REGISTER_PORTABLE));
    pass(buffer, bytes, 64 * KIB);
    assert_int_equal(imported(device), 0);
    pass(buffer, bytes, 32 * KIB);
    assert_int_equal(imported(device), 1); /* up; down it went to ordinary memory */
    GOOD(c.cu.MemHostUnregister(bytes));
    pass(buffer, bytes, 32 * KIB);
    assert_int_equal(imported(device), 1);
    free(bytes);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    client_end(&c);
    strictcuda_record(false);
}

static void test_device_memory(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("");
    ferry_buffer *buffer = make(device, MIB, FERRY_STORAGE_PRIVATE);
    const uint64_t address = strictcuda_alloc(STRICTCUDA_DEVICE, MIB);
    void *memory = (void *)(uintptr_t)address;
    static const size_t sizes[] = {1, 4096, 16 * KIB, MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_from_host(buffer, memory, sizes[i], 0));
        words("wrap it");
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_to_host(buffer, memory, sizes[i], 0));
        IS(FERRY_ERROR_INVALID_ARGUMENT,
           ferry_copy_from_host_async(buffer, memory, sizes[i], 0, NULL, NULL, NULL));
    }
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(device, memory, MIB, 0));
    words("wrap it");
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    strictcuda_free(address);
}

static void test_managed(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("");
    ferry_buffer *buffer = make(device, MIB, FERRY_STORAGE_PRIVATE);
    const uint64_t address = strictcuda_alloc(STRICTCUDA_MANAGED, MIB);
    unsigned char *bytes = (unsigned char *)(uintptr_t)address;
    memset(bytes, 4, MIB);
    pass(buffer, bytes, MIB);
    assert_int_equal(imported(device), 0);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    strictcuda_free(address);
}

/* --- copies ------------------------------------------------------------------------------------ */

/* Copies that nothing orders go in batches of at most 4096. */
static void test_batches(void **unused)
{
    (void)unused;
    enum { COUNT = 5000, PART = 16 };
    ferry_device *device = open_with("delay=0", (struct ferry_device_params){.no_kernel = true});
    ferry_buffer *from = make(device, 2 * COUNT * PART, FERRY_STORAGE_PRIVATE);
    ferry_buffer *to = make(device, 2 * COUNT * PART, FERRY_STORAGE_PRIVATE);
    unsigned char *bytes = scribbled(2 * COUNT * PART), *got = malloc(2 * COUNT * PART);
    ferry_batch *batch = NULL;
    OK(ferry_copy_from_host(from, bytes, 2 * COUNT * PART, 0));
    OK(ferry_fill_buffer(to, 2 * COUNT * PART, 0, "\0", 1));
    const uint64_t batches = strictcuda_calls("cuMemcpyBatchAsync");
    const uint64_t single = strictcuda_calls("cuMemcpyAsync");
    OK(ferry_batch_create(device, &batch));
    for (size_t i = 0; i < COUNT; i++)
        OK(ferry_batch_copy_buffer(batch, to, from, PART, 2 * i * PART, 2 * i * PART));
    ferry_ticket ticket;
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
    ferry_batch_destroy(batch);
    assert_int_equal(strictcuda_calls("cuMemcpyBatchAsync") - batches, 2);
    assert_int_equal(strictcuda_calls("cuMemcpyAsync") - single, 0);
    OK(ferry_copy_to_host(to, got, 2 * COUNT * PART, 0));
    for (size_t i = 0; i < 2 * COUNT * PART; i++)
        if (got[i] != (i / PART % 2 ? 0 : bytes[i]))
            fail_msg("byte %zu is wrong", i);
    free(got);
    free(bytes);
    ferry_buffer_destroy(from);
    ferry_buffer_destroy(to);
    ferry_device_close(device);
}

static uint64_t device_time(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats.device_time_ns;
}

/* How many of two copies at different phases, a large and a small one, go by kernels; every byte is
 * compared. */
static uint64_t copies_by_kernel(const char *options, bool no_kernel)
{
    enum { FROM = 256 * KIB, SMALL = 100, PHASE = 5, SPACE = 4 * FROM };
    ferry_device *device = open_with(options, (struct ferry_device_params){.no_kernel = no_kernel});
    ferry_buffer *one = make(device, SPACE, FERRY_STORAGE_PRIVATE);
    ferry_buffer *two = make(device, SPACE, FERRY_STORAGE_PRIVATE);
    unsigned char *bytes = scribbled(SPACE), *got = malloc(SPACE);
    OK(ferry_copy_from_host(one, bytes, SPACE, 0));
    OK(ferry_copy_from_host(two, bytes, SPACE, 0));
    const uint64_t launches = strictcuda_calls("cuLaunchKernel");
    const uint64_t commands = strictcuda_calls("cuMemcpyAsync");
    OK(ferry_copy_buffer(two, one, FROM, 0, PHASE));
    OK(ferry_copy_buffer(two, one, SMALL, (size_t)2 * FROM + PHASE, 3));
    const uint64_t by_kernel = strictcuda_calls("cuLaunchKernel") - launches;
    assert_int_equal(by_kernel + strictcuda_calls("cuMemcpyAsync") - commands, 2);
    OK(ferry_copy_to_host(two, got, SPACE, 0));
    assert_memory_equal(got, bytes + PHASE, FROM);
    assert_memory_equal(got + FROM, bytes + FROM, FROM + PHASE);
    assert_memory_equal(got + (size_t)2 * FROM + PHASE, bytes + 3, SMALL);
    const size_t end = (size_t)2 * FROM + PHASE + SMALL;
    assert_memory_equal(got + end, bytes + end, SPACE - end);
    free(bytes);
    free(got);
    ferry_buffer_destroy(one);
    ferry_buffer_destroy(two);
    ferry_device_close(device);
    return by_kernel;
}

/* Within the device copies go by the kernel, where there is one and it may. */
static void test_copies_by_kernel(void **unused)
{
    (void)unused;
    assert_int_equal(copies_by_kernel("", false), 2);
    assert_int_equal(copies_by_kernel("nojit", false), 0);
    assert_int_equal(copies_by_kernel("", true), 0);
}

/* Times are worth their cost for large submissions only. */
static void test_times(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("");
    ferry_buffer *buffer = make(device, 2 * MIB, FERRY_STORAGE_PRIVATE);
    const uint64_t asked = strictcuda_calls("cuEventElapsedTime");
    for (int i = 0; i < 40; i++)
        OK(ferry_fill_buffer(buffer, MIB - 1, 0, "a", 1));
    assert_int_equal(strictcuda_calls("cuEventElapsedTime"), asked);
    assert_int_equal(device_time(device), 0);
    OK(ferry_fill_buffer(buffer, 2 * MIB, 0, "b", 1)); /* the first: the rate is not known yet */
    assert_int_equal(strictcuda_calls("cuEventElapsedTime"), asked + 1);
    assert_true(device_time(device) > 0);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

/* Fills of every small pattern, offset and size: nothing beside them is written. */
static void fills(const char *options)
{
    enum { ROOM = 96, EDGE = 16 };
    ferry_device *device = open_cuda(options);
    ferry_buffer *buffer = make(device, ROOM, FERRY_STORAGE_PRIVATE);
    unsigned char model[ROOM], got[ROOM], pattern[16];
    for (unsigned i = 0; i < sizeof pattern; i++)
        pattern[i] = (unsigned char)(0x31 + 7 * i);
    for (size_t period = 1; period <= 16; period++) {
        for (size_t offset = EDGE; offset < EDGE + 5; offset++) {
            for (size_t count = 1; count <= 4; count++) {
                const size_t size = period * count;
                memset(model, 0xEE, ROOM);
                OK(ferry_copy_from_host(buffer, model, ROOM, 0));
                OK(ferry_fill_buffer(buffer, size, offset, pattern, period));
                for (size_t i = 0; i < size && offset + i < ROOM; i++)
                    model[offset + i] = pattern[i % period];
                OK(ferry_copy_to_host(buffer, got, ROOM, 0));
                assert_memory_equal(got, model, ROOM);
            }
        }
    }
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

static void test_fills(void **unused)
{
    (void)unused;
    fills("delay=0");
    fills("delay=0,nojit");
}

/* --- memory ------------------------------------------------------------------------------------ */

static void test_memory_info(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("memory=1G");
    struct ferry_memory_info before, with;
    OK(ferry_device_trim(device)); /* what opening it measured with is given back */
    OK(ferry_device_get_memory(device, &before));
    assert_int_equal(before.total, 1u << 30);
    ferry_buffer *buffer = make(device, 512u << 20, FERRY_STORAGE_PRIVATE);
    OK(ferry_device_get_memory(device, &with));
    assert_true(before.available - with.available >= 512u << 20);
    ferry_buffer *more = NULL;
    IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
       ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 768u << 20}, &more));
    words("free");
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

/* --- faults ------------------------------------------------------------------------------------ */

static void test_loss(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("");
    ferry_buffer *buffer = make(device, MIB, FERRY_STORAGE_PRIVATE);
    unsigned char *bytes = scribbled(MIB);
    ferry_ticket ticket;
    pass(buffer, bytes, MIB);
    strictcuda_pause(true);
    OK(ferry_copy_from_host_async(buffer, bytes, MIB, 0, NULL, NULL, &ticket));
    strictcuda_fault(CU_ERROR_ECC_UNCORRECTABLE);
    strictcuda_pause(false);
    IS(FERRY_ERROR_DEVICE_LOST, ferry_wait(device, ticket, FERRY_FOREVER));
    words("CUDA_ERROR_ECC_UNCORRECTABLE");
    IS(FERRY_ERROR_DEVICE_LOST, ferry_copy_to_host(buffer, bytes, MIB, 0));
    OK(ferry_wait_idle(device)); /* nothing hangs */
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    assert_int_equal(strictcuda_live(), 0);
    device = open_cuda(""); /* the context was let go: a new one is good */
    buffer = make(device, MIB, FERRY_STORAGE_PRIVATE);
    pass(buffer, bytes, MIB);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capture),          cmocka_unit_test(test_context),
        cmocka_unit_test(test_free_elsewhere),   cmocka_unit_test(test_unmapped),
        cmocka_unit_test(test_pages_stay),       cmocka_unit_test(test_beside),
        cmocka_unit_test(test_page_locked),      cmocka_unit_test(test_two_ranges),
        cmocka_unit_test(test_device_memory),    cmocka_unit_test(test_managed),
        cmocka_unit_test(test_batches),          cmocka_unit_test(test_times),
        cmocka_unit_test(test_copies_by_kernel), cmocka_unit_test(test_fills),
        cmocka_unit_test(test_memory_info),      cmocka_unit_test(test_loss),
    };
    return cmocka_run_group_tests_name("CUDA driver", tests, NULL, NULL);
}
