/* Each rule of the strict CUDA, broken on purpose and noticed, or its imitation seen. */
#include "client.h"

#include "drivers/cuda/kernel.h"
#include "rules_virtual.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- contexts ---------------------------------------------------------------------------------- */

static void test_init(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    const pid_t child = fork();
    if (!child) {
        int count;
        cu_result result = c.cu.DeviceGetCount(&count);
        _exit(result == CU_ERROR_NOT_INITIALIZED && strictcuda_breaches(STRICTCUDA_INIT) == 1 ? 0
                                                                                              : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    client_broken[STRICTCUDA_INIT]++;
    client_end(&c);
}

static void *call_without_context(void *arg)
{
    struct client *c = arg;
    cu_address address;
    assert_int_equal(c->cu.MemAlloc(&address, 64), CU_ERROR_INVALID_CONTEXT);
    return NULL;
}

static void test_context(void **unused)
{
    (void)unused;
    struct client c = client_begin("devices=2");
    pthread_t thread;
    pthread_create(&thread, NULL, call_without_context, &c);
    pthread_join(thread, NULL);
    assert_broken(STRICTCUDA_CONTEXT, 1); /* a context is current per thread */

    cu_device other;
    cu_context second, ignored;
    GOOD(c.cu.DeviceGet(&other, 1));
    GOOD(c.cu.DevicePrimaryCtxRetain(&second, other));
    GOOD(c.cu.CtxPushCurrent(second));
    GOOD(c.cu.EventRecord(c.event, c.stream)); /* both are the first device's */
    assert_broken(STRICTCUDA_CONTEXT, 2);
    GOOD(c.cu.CtxPopCurrent(&ignored));
    GOOD(c.cu.DevicePrimaryCtxRelease(other));
    client_finish(&c);
    client_end(&c);
}

static void test_retain(void **unused)
{
    (void)unused;
    struct client c = client_begin("devices=2");
    cu_device other;
    cu_context second;
    GOOD(c.cu.DeviceGet(&other, 1));
    assert_int_equal(c.cu.DevicePrimaryCtxRelease(other), CU_ERROR_INVALID_CONTEXT);
    assert_broken(STRICTCUDA_RETAIN, 1);
    GOOD(c.cu.DevicePrimaryCtxRetain(&second, other));
    GOOD(c.cu.DevicePrimaryCtxRelease(other));
    assert_int_equal(c.cu.CtxPushCurrent(second), CU_ERROR_INVALID_CONTEXT);
    assert_broken(STRICTCUDA_RETAIN, 1);
    client_end(&c);
}

static void *pop_nothing(void *arg)
{
    struct client *c = arg;
    cu_context ignored;
    assert_int_equal(c->cu.CtxPopCurrent(&ignored), CU_ERROR_INVALID_CONTEXT);
    return NULL;
}

static void test_balance(void **unused)
{
    (void)unused;
    struct client c = client_begin("devices=2");
    pthread_t thread;
    pthread_create(&thread, NULL, pop_nothing, &c);
    pthread_join(thread, NULL);
    assert_broken(STRICTCUDA_BALANCE, 1);
    cu_device other;
    cu_context second, ignored;
    GOOD(c.cu.DeviceGet(&other, 1));
    GOOD(c.cu.DevicePrimaryCtxRetain(&second, other));
    GOOD(c.cu.CtxPushCurrent(second));
    GOOD(c.cu.DevicePrimaryCtxRelease(other));
    assert_broken(STRICTCUDA_BALANCE, 1);
    GOOD(c.cu.CtxPopCurrent(&ignored));
    client_end(&c);
}

static void test_capture(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_capture_mode mode = CU_CAPTURE_GLOBAL;
    cu_address address;
    strictcuda_capture(true);
    GOOD(c.cu.MemAlloc(&address, 64));
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(c.cu.MemFree(address), CU_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_broken(STRICTCUDA_CAPTURE, 1);
    GOOD(c.cu.EventRecord(c.event, c.stream)); /* is safe */
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    strictcuda_capture(false);
    GOOD(c.cu.MemFree(address));
    client_finish(&c);
    client_end(&c);
}

static void test_mode(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_capture_mode mode = CU_CAPTURE_THREAD_LOCAL;
    cu_context ignored;
    GOOD(c.cu.CtxPushCurrent(c.context));
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    GOOD(c.cu.CtxPopCurrent(&ignored));
    assert_broken(STRICTCUDA_MODE, 1);
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    client_end(&c);
}

/* --- objects ----------------------------------------------------------------------------------- */

static void test_handle(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_event event;
    cu_stream stream;
    GOOD(c.cu.EventCreate(&event, 0));
    GOOD(c.cu.EventDestroy(event));
    assert_int_equal(c.cu.EventQuery(event), CU_ERROR_INVALID_HANDLE);
    assert_broken(STRICTCUDA_HANDLE, 1);
    GOOD(c.cu.StreamCreate(&stream, CU_STREAM_DOES_NOT_BLOCK));
    GOOD(c.cu.StreamDestroy(stream));
    assert_int_equal(c.cu.StreamQuery(stream), CU_ERROR_INVALID_HANDLE);
    assert_broken(STRICTCUDA_HANDLE, 1);
    assert_int_equal(c.cu.ModuleUnload((cu_module)&c), CU_ERROR_INVALID_HANDLE);
    assert_broken(STRICTCUDA_HANDLE, 1);
    client_end(&c);
}

static void test_busy_object(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_stream other;
    cu_event event;
    GOOD(c.cu.StreamCreate(&other, CU_STREAM_DOES_NOT_BLOCK));
    GOOD(c.cu.EventCreate(&event, CU_EVENT_NO_TIMING));
    strictcuda_pause(true);
    GOOD(c.cu.EventRecord(event, c.stream));
    GOOD(c.cu.StreamWaitEvent(other, event, 0));
    GOOD(c.cu.EventDestroy(event)); /* it goes on living */
    assert_broken(STRICTCUDA_BUSY_OBJECT, 1);
    GOOD(c.cu.StreamDestroy(other));
    assert_broken(STRICTCUDA_BUSY_OBJECT, 1);
    strictcuda_pause(false);
    GOOD(c.cu.EventDestroy(event));
    client_finish(&c);
    client_end(&c);
}

static void test_legacy(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_stream blocking;
    assert_int_equal(c.cu.MemsetD8Async(c.memory, 1, 1, NULL), CU_ERROR_INVALID_HANDLE);
    assert_broken(STRICTCUDA_LEGACY, 1);
    GOOD(c.cu.StreamCreate(&blocking, 0));
    assert_broken(STRICTCUDA_LEGACY, 1);
    GOOD(c.cu.StreamDestroy(blocking));
    client_end(&c);
}

static void test_unrecorded(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    GOOD(c.cu.EventQuery(c.event)); /* as on a GPU: it says that it is done */
    assert_broken(STRICTCUDA_UNRECORDED, 1);
    GOOD(c.cu.StreamWaitEvent(c.stream, c.event, 0));
    assert_broken(STRICTCUDA_UNRECORDED, 1);
    client_end(&c);
}

static void test_timing(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_event untimed;
    float milliseconds = -1;
    GOOD(c.cu.EventCreate(&untimed, CU_EVENT_NO_TIMING));
    GOOD(c.cu.EventRecord(c.event, c.stream));
    GOOD(c.cu.EventRecord(untimed, c.stream));
    client_finish(&c);
    GOOD(c.cu.EventElapsedTime(&milliseconds, c.event, c.event));
    assert_true(milliseconds == 0);
    assert_int_equal(c.cu.EventElapsedTime(&milliseconds, c.event, untimed),
                     CU_ERROR_INVALID_HANDLE);
    assert_broken(STRICTCUDA_TIMING, 1);
    GOOD(c.cu.EventDestroy(untimed));
    client_end(&c);
}

/* --- memory ------------------------------------------------------------------------------------ */

static void test_range(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    assert_int_equal(c.cu.MemsetD8Async(c.memory + 1, 0, SIZE, c.stream), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_RANGE, 1);
    assert_int_equal(c.cu.MemFree(c.memory + 256), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_RANGE, 1);
    client_end(&c);
}

/* Device memory is out of the host's reach. */
static void test_host_touch(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], (void *)(uintptr_t)(c.memory & ~(cu_address)1), 1), -1);
    close(pipes[0]);
    close(pipes[1]);
    client_end(&c);
}

static void test_pageable(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    unsigned char pageable[64] = {0};
    assert_int_equal(c.cu.MemcpyAsync(c.memory, client_address(pageable), 64, c.stream),
                     CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_PAGEABLE, 1);
    client_end(&c);
    /* Where it is allowed: what is written after the call is copied, or is not. */
    unsigned late = 0, early = 0;
    c = client_begin("pageable");
    for (int i = 0; i < 64; i++) {
        strictcuda_pause(true);
        pageable[0] = 1;
        GOOD(c.cu.MemcpyAsync(c.memory, client_address(pageable), 64, c.stream));
        pageable[0] = 2;
        strictcuda_pause(false);
        client_finish(&c);
        late += *strictcuda_bytes(c.memory) == 2;
        early += *strictcuda_bytes(c.memory) == 1;
    }
    assert_true(late && early && late + early == 64);
    client_end(&c);
}

static void test_read_only(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *pages = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(c.cu.MemHostRegister(pages, page, 0), CU_ERROR_INVALID_VALUE);
    GOOD(c.cu.MemHostRegister(pages, page, CU_HOST_REGISTER_READ_ONLY));
    assert_int_equal(c.cu.MemHostRegister(pages, page, CU_HOST_REGISTER_READ_ONLY),
                     CU_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    GOOD(c.cu.MemcpyAsync(c.memory, client_address(pages), 64, c.stream));
    client_finish(&c);
    assert_broken(0, 0);
    assert_int_equal(c.cu.MemcpyAsync(client_address(pages), c.memory, 64, c.stream),
                     CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_READ_ONLY, 1);
    GOOD(c.cu.MemHostUnregister(pages));
    munmap(pages, page);
    client_end(&c);
}

/* Ends the pause once somebody waits in a free. */
static void *resume(void *arg)
{
    (void)arg;
    while (!strictcuda_waiting())
        usleep(100);
    strictcuda_pause(false);
    strictcuda_hold(false);
    return NULL;
}

static void test_busy_memory(void **unused)
{
    (void)unused;
    struct client c = client_begin("delay=0");
    cu_address address;
    GOOD(c.cu.MemAlloc(&address, SIZE));
    strictcuda_pause(true);
    GOOD(c.cu.MemcpyAsync(address, client_address(c.host), SIZE, c.stream));
    pthread_t thread;
    pthread_create(&thread, NULL, resume, NULL);
    GOOD(
        c.cu.MemFree(address)); /* waits, like the real one; but Ferry never lets it come to that */
    pthread_join(thread, NULL);
    assert_broken(STRICTCUDA_BUSY_MEMORY, 1);
    client_end(&c);
}

static void test_free_waits(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_address address;
    GOOD(c.cu.MemAlloc(&address, SIZE));
    strictcuda_hold(true); /* a kernel of the user's */
    pthread_t thread;
    pthread_create(&thread, NULL, resume, NULL);
    GOOD(c.cu.MemFree(address));
    pthread_join(thread, NULL); /* it saw the free wait */
    assert_int_equal(strictcuda_waiting(), 0);
    client_end(&c);
}

static void test_empty(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_address address;
    assert_int_equal(c.cu.MemcpyAsync(c.memory, client_address(c.host), 0, c.stream),
                     CU_ERROR_INVALID_VALUE);
    assert_int_equal(c.cu.MemAlloc(&address, 0), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_EMPTY, 2);
    client_end(&c);
}

static void test_alignment(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    assert_int_equal(c.cu.MemsetD32Async(c.memory + 2, 7, 1, c.stream), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_ALIGNMENT, 1);
    GOOD(c.cu.MemsetD32Async(c.memory + 4, 7, 1, c.stream));
    client_finish(&c);
    client_end(&c);
}

static void test_leak(void **unused)
{
    (void)unused;
    struct client c = client_begin("devices=2");
    cu_device other;
    cu_context second, ignored;
    cu_address address;
    GOOD(c.cu.DeviceGet(&other, 1));
    GOOD(c.cu.DevicePrimaryCtxRetain(&second, other));
    GOOD(c.cu.CtxPushCurrent(second));
    GOOD(c.cu.MemAlloc(&address, 64));
    GOOD(c.cu.CtxPopCurrent(&ignored));
    GOOD(c.cu.DevicePrimaryCtxRelease(other));
    assert_broken(STRICTCUDA_LEAK, 1);
    GOOD(c.cu.DevicePrimaryCtxRetain(&second, other));
    GOOD(c.cu.CtxPushCurrent(second));
    GOOD(c.cu.MemFree(address));
    GOOD(c.cu.CtxPopCurrent(&ignored));
    GOOD(c.cu.DevicePrimaryCtxRelease(other));
    client_end(&c);
}

/* --- order ------------------------------------------------------------------------------------- */

static void race_case(uint64_t offset, bool write, bool ordered, uint64_t expected)
{
    struct client c = client_begin("");
    cu_stream other;
    GOOD(c.cu.StreamCreate(&other, CU_STREAM_DOES_NOT_BLOCK));
    strictcuda_pause(true);
    GOOD(c.cu.MemcpyAsync(c.memory, client_address(c.host), 64, c.stream));
    GOOD(c.cu.EventRecord(c.event, c.stream));
    if (ordered)
        GOOD(c.cu.StreamWaitEvent(other, c.event, 0));
    if (write)
        GOOD(c.cu.MemsetD8Async(c.memory + offset, 1, 64, other));
    else
        GOOD(c.cu.MemcpyAsync(client_address(c.host + 1024), c.memory + offset, 64, other));
    assert_broken(STRICTCUDA_RACE, expected);
    strictcuda_pause(false);
    client_finish(&c);
    while (c.cu.StreamQuery(other) == CU_ERROR_NOT_READY)
        usleep(100);
    GOOD(c.cu.StreamDestroy(other));
    client_end(&c);
}

static void test_race(void **unused)
{
    (void)unused;
    race_case(63, true, false, 1);
    race_case(63, false, false, 1);
    race_case(64, true, false, 0); /* beside it */
    race_case(0, true, true, 0);
    race_case(0, false, true, 0);
}

static void test_batch(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    struct cu_copy_attributes attributes = {.source_order = CU_SOURCE_ORDER_STREAM};
    cu_address dsts[] = {c.memory, c.memory + 64};
    cu_address srcs[] = {client_address(c.host), client_address(c.host + 64)};
    size_t sizes[] = {64, 64}, first = 0;
    memset(c.host, 5, 128);
    GOOD(c.cu.MemcpyBatchAsync_13000(dsts, srcs, sizes, 2, &attributes, &first, 1, c.stream));
    client_finish(&c);
    assert_int_equal(strictcuda_bytes(c.memory)[127], 5);
    assert_broken(0, 0);
    dsts[1]--; /* overlaps */
    assert_int_equal(
        c.cu.MemcpyBatchAsync_13000(dsts, srcs, sizes, 2, &attributes, &first, 1, c.stream),
        CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_BATCH, 1);
    assert_int_equal(
        c.cu.MemcpyBatchAsync_13000(dsts, srcs, sizes, 4097, &attributes, &first, 1, c.stream),
        CU_ERROR_INVALID_VALUE);
    first = 1;
    assert_int_equal(
        c.cu.MemcpyBatchAsync_13000(dsts, srcs, sizes, 1, &attributes, &first, 1, c.stream),
        CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_BATCH, 2);
    client_end(&c);
}

/* A value comes to page-locked memory once all before it is done. */
static void test_write(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    _Atomic uint64_t *word = (_Atomic uint64_t *)(void *)(c.host + 1024);
    const cu_address at = client_address(c.host + 1024);
    uint64_t pageable = 0;
    *word = 0;
    memset(c.host, 5, 64);
    GOOD(c.cu.MemcpyAsync(c.memory, client_address(c.host), 64, c.stream));
    GOOD(c.cu.StreamWriteValue64(c.stream, at, UINT64_MAX - 1, 0));
    while (*word != UINT64_MAX - 1)
        usleep(100);
    assert_int_equal(strictcuda_bytes(c.memory)[63], 5);
    GOOD(c.cu.StreamQuery(c.stream)); /* all of it is over, and can be given back */
    assert_broken(0, 0);
    assert_int_equal(c.cu.StreamWriteValue64(c.stream, at + 4, 1, 0), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_ALIGNMENT, 1);
    assert_int_equal(c.cu.StreamWriteValue64(c.stream, client_address(&pageable), 1, 0),
                     CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_PAGEABLE, 1);
    client_end(&c);
}

/* The two forms of the batch call are found by their versions. */
static void test_versions(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    assert_non_null(c.cu.MemcpyBatchAsync_13000);
    assert_non_null(c.cu.MemcpyBatchAsync_12080);
    assert_true((void *)c.cu.MemcpyBatchAsync_13000 != (void *)c.cu.MemcpyBatchAsync_12080);
    client_end(&c);
}

/* --- kernels ----------------------------------------------------------------------------------- */

static const char ptx[] =
#include "drivers/cuda/kernel.inc"
    ;

static void test_launch(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_module module;
    cu_function fill;
    struct cuda_kernel_arguments arguments = {
        .dst = c.memory, .begin = 3, .end = 103, .period = 1, .pattern = {9}};
    void *parameters[] = {&arguments};
    assert_int_equal(c.cu.ModuleLoadDataEx(&module, "unknown", 0, NULL, NULL),
                     CU_ERROR_INVALID_PTX);
    GOOD(c.cu.ModuleLoadDataEx(&module, ptx, 0, NULL, NULL));
    assert_int_equal(c.cu.ModuleGetFunction(&fill, module, "other"), CU_ERROR_NOT_FOUND);
    GOOD(c.cu.ModuleGetFunction(&fill, module, "ferry_fill"));
    GOOD(c.cu.MemsetD8Async(c.memory, 1, SIZE, c.stream));
    GOOD(c.cu.LaunchKernel(fill, 1, 1, 1, 256, 1, 1, 0, c.stream, parameters, NULL));
    client_finish(&c);
    const unsigned char *bytes = strictcuda_bytes(c.memory);
    assert_true(bytes[2] == 1 && bytes[3] == 9 && bytes[102] == 9 && bytes[103] == 1);
    assert_broken(0, 0);
    assert_int_equal(c.cu.LaunchKernel(fill, 2, 1, 1, 256, 1, 1, 0, c.stream, parameters, NULL),
                     CU_ERROR_INVALID_VALUE); /* more threads than there is work for */
    arguments.period = 17;
    assert_int_equal(c.cu.LaunchKernel(fill, 1, 1, 1, 256, 1, 1, 0, c.stream, parameters, NULL),
                     CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_LAUNCH, 2);
    GOOD(c.cu.ModuleUnload(module));
    client_end(&c);
}

/* --- faults ------------------------------------------------------------------------------------ */

static void test_sticky(void **unused)
{
    (void)unused;
    struct client c = client_begin("delay=0");
    cu_context ignored;
    cu_capture_mode mode = CU_CAPTURE_GLOBAL;
    cu_address address;
    strictcuda_pause(true);
    GOOD(c.cu.MemcpyAsync(c.memory, client_address(c.host), 64, c.stream));
    GOOD(c.cu.EventRecord(c.event, c.stream));
    strictcuda_fault(CU_ERROR_ECC_UNCORRECTABLE);
    strictcuda_pause(false);
    usleep(2000);
    /* The event never comes, and every call says why. */
    assert_int_equal(c.cu.EventQuery(c.event), CU_ERROR_ECC_UNCORRECTABLE);
    assert_int_equal(c.cu.MemAlloc(&address, 64), CU_ERROR_ECC_UNCORRECTABLE);
    assert_int_equal(c.cu.MemFree(c.memory), CU_ERROR_ECC_UNCORRECTABLE);
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    GOOD(c.cu.CtxPopCurrent(&ignored));
    GOOD(c.cu.DevicePrimaryCtxRelease(c.device));
    assert_broken(0, 0);
    assert_int_equal(strictcuda_live(), 0);
    c = client_begin(""); /* the next context is a new one */
    client_end(&c);
}

/* --- the list ---------------------------------------------------------------------------------- */

static const enum strictcuda_rule imitated[] = {STRICTCUDA_FREE_WAITS, STRICTCUDA_STICKY};

/* Comes last: every rule that can be broken was. */
static void test_all_rules(void **unused)
{
    (void)unused;
    for (int rule = 1; rule < STRICTCUDA_RULES; rule++) {
        bool needed = true;
        for (size_t i = 0; i < sizeof imitated / sizeof *imitated; i++)
            needed &= imitated[i] != (enum strictcuda_rule)rule;
        if (needed && !client_broken[rule])
            fail_msg("rule %d was never broken", rule);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),       cmocka_unit_test(test_context),
        cmocka_unit_test(test_retain),     cmocka_unit_test(test_balance),
        cmocka_unit_test(test_capture),    cmocka_unit_test(test_mode),
        cmocka_unit_test(test_handle),     cmocka_unit_test(test_busy_object),
        cmocka_unit_test(test_legacy),     cmocka_unit_test(test_unrecorded),
        cmocka_unit_test(test_timing),     cmocka_unit_test(test_range),
        cmocka_unit_test(test_host_touch), cmocka_unit_test(test_pageable),
        cmocka_unit_test(test_read_only),  cmocka_unit_test(test_busy_memory),
        cmocka_unit_test(test_free_waits), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_alignment),  cmocka_unit_test(test_leak),
        cmocka_unit_test(test_race),       cmocka_unit_test(test_batch),
        cmocka_unit_test(test_write),      cmocka_unit_test(test_versions),
        cmocka_unit_test(test_launch),     cmocka_unit_test(test_sticky),
        cmocka_unit_test(test_virtual),    cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_peer),       cmocka_unit_test(test_all_rules),
    };
    return cmocka_run_group_tests_name("strict CUDA", tests, NULL, NULL);
}
