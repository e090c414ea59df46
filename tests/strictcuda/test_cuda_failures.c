/*
 * Each function of CUDA's fails in turn, with each kind of error, at its first call, its second, and
 * so on, while a device is opened, used in every way, and closed. Whatever said that it was done is
 * done and right; what failed says why; nothing hangs, and no rule is broken.
 */
#include "client.h"
#include "hang.h"

#include <ferry/ferry.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { BYTES = 100000, MOST = 60 };

static const unsigned errors[] = {
    CU_ERROR_OUT_OF_MEMORY,
    CU_ERROR_INVALID_VALUE,
    CU_ERROR_UNKNOWN,
    CU_ERROR_ILLEGAL_ADDRESS,
};

/* What it may not do again when it fails: then something is left over, and that is the failure's
 * fault. (A pop that fails leaves the context where it is.) */
static const char *const leaves[] = {
    "cuMemFree",
    "cuMemFreeHost",
    "cuMemHostUnregister",
    "cuEventDestroy",
    "cuStreamDestroy",
    "cuModuleUnload",
    "cuCtxPopCurrent",
    "cuDevicePrimaryCtxRelease",
    "cuThreadExchangeStreamCaptureMode",
    "cuCtxPushCurrent",
};

static const struct {
    const char *name;
} functions[] = {
#define NEEDED(name, version, parameters) {"cu" #name},
#define OPTIONAL(name, version, parameters) {"cu" #name},
#include "drivers/cuda/functions.inc"
#undef NEEDED
#undef OPTIONAL
};

static bool may_leave(const char *function, unsigned error)
{
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++)
        if (!strcmp(leaves[i], function))
            return true;
    return error == CU_ERROR_ILLEGAL_ADDRESS || error == CU_ERROR_UNKNOWN; /* the device is lost */
}

/* Statuses that an operation may have. */
static void may_be(enum ferry_status status)
{
    static const enum ferry_status good[] = {
        FERRY_OK,
        FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
        FERRY_ERROR_OUT_OF_HOST_MEMORY,
        FERRY_ERROR_DEVICE_LOST,
        FERRY_ERROR_EXECUTION_FAILED,
        FERRY_ERROR_INTERNAL,
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (good[i] == status)
            return;
    fail_msg("status %d: %s", (int)status, ferry_last_error());
}

/* What a buffer holds is known as long as all that wrote it was done. */
struct held {
    ferry_buffer *buffer;
    unsigned char bytes[BYTES];
    bool known;
};

static void note(struct held *held, enum ferry_status status, size_t offset, size_t size,
                 const unsigned char *bytes)
{
    may_be(status);
    held->known &= !status;
    if (!status)
        memcpy(held->bytes + offset, bytes, size);
}

static void check(struct held *held)
{
    static unsigned char got[BYTES];
    const enum ferry_status status = ferry_copy_to_host(held->buffer, got, BYTES, 0);
    may_be(status);
    if (!status && held->known)
        assert_memory_equal(got, held->bytes, BYTES);
}

static void use_host_memory(ferry_device *device, struct held *held, unsigned char *pages)
{
    void *allocated = NULL;
    enum ferry_status status = ferry_host_register(device, pages, BYTES, 0);
    may_be(status);
    if (!status) {
        note(held, ferry_copy_from_host(held->buffer, pages, BYTES, 0), 0, BYTES, pages);
        check(held);
        may_be(ferry_host_unregister(device, pages));
    }
    status = ferry_host_alloc(device, BYTES, &allocated);
    may_be(status);
    if (status)
        return;
    memset(allocated, 77, BYTES);
    note(held, ferry_copy_from_host(held->buffer, allocated, BYTES, 0), 0, BYTES, allocated);
    ferry_host_free(device, allocated);
}

static void use_batch(ferry_device *device, struct held *held, const unsigned char *bytes)
{
    ferry_batch *batch = NULL;
    ferry_ticket ticket;
    const enum ferry_status created = ferry_batch_create(device, &batch);
    may_be(created);
    if (created)
        return;
    for (size_t i = 0; i < 8; i++)
        may_be(ferry_batch_copy_from_host(batch, held->buffer, bytes + i * 64, 32, i * 64));
    enum ferry_status status = ferry_batch_submit(batch, NULL, NULL, &ticket);
    if (!status)
        status = ferry_wait(device, ticket, FERRY_FOREVER);
    may_be(status);
    ferry_batch_destroy(batch);
    held->known &= !status;
    for (size_t i = 0; i < 8 && !status; i++)
        memcpy(held->bytes + i * 64, bytes + i * 64, 32);
}

static void use_buffers(ferry_device *device, struct held *a, struct held *b, unsigned char *pages)
{
    unsigned char filled[BYTES];
    for (size_t i = 0; i < BYTES; i++)
        filled[i] = (unsigned char)("abc"[i % 3]);
    note(a, ferry_copy_from_host(a->buffer, pages, BYTES, 0), 0, BYTES, pages);
    check(a);
    const enum ferry_status status = ferry_copy_buffer(b->buffer, a->buffer, BYTES, 0, 0);
    b->known = true;
    note(b, status, 0, BYTES, a->bytes);
    b->known &= a->known;
    note(a, ferry_fill_buffer(a->buffer, BYTES - 1, 1, "abc", 3), 1, BYTES - 1, filled);
    check(b);
    check(a);
    use_host_memory(device, a, pages);
    use_batch(device, b, pages);
    check(b);
    check(a);
}

static bool make(ferry_device *device, struct held *held, enum ferry_storage storage)
{
    const struct ferry_buffer_params params = {.size = BYTES, .storage = storage};
    held->known = true;
    const enum ferry_status status = ferry_buffer_create(device, &params, &held->buffer);
    may_be(status);
    return !status;
}

static void use_device(ferry_device *device, unsigned char *pages)
{
    static struct held a, b;
    if (make(device, &a, FERRY_STORAGE_PRIVATE)) {
        if (make(device, &b, FERRY_STORAGE_PRIVATE)) {
            use_buffers(device, &a, &b, pages);
            ferry_buffer_destroy(b.buffer);
        }
        ferry_buffer_destroy(a.buffer);
    }
    const enum ferry_status status = ferry_device_trim(device);
    may_be(status);
    ferry_device_close(device);
}

/* Says which failure it was, should the program end or hang. */
static char now_failing[96];

static void say(int signal_number)
{
    (void)!write(STDERR_FILENO, now_failing, strlen(now_failing));
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* false: the function was not called that often. */
static bool one(const char *function, unsigned error, uint64_t n, unsigned char *pages)
{
    ferry_device *device = NULL;
    snprintf(now_failing, sizeof now_failing, "%s fails with %u at call %d\n", function, error,
             (int)n);
    strictcuda_record(may_leave(function, error));
    strictcuda_forget();
    strictcuda_fail(function, error, n);
    alarm(HANG_SECONDS);
    if (!ferry_device_open(&(struct ferry_device_params){.name = "cuda", .pool_budget = 1},
                           &device))
        use_device(device, pages);
    else
        assert_true(ferry_last_error()[0] != 0);
    alarm(0);
    const bool failed = strictcuda_failed();
    strictcuda_fail(function, 0, 0);
    if (!may_leave(function, error) && strictcuda_live())
        fail_msg("%s fails with %u at %d: %zu objects are left", function, error, (int)n,
                 strictcuda_live());
    strictcuda_reset();
    return failed;
}

static void in_turn(const char *options)
{
    unsigned char *pages = aligned_alloc(4096, (BYTES + 4095) / 4096 * 4096);
    for (size_t i = 0; i < BYTES; i++)
        pages[i] = (unsigned char)(i * 13 + i / 256);
    setenv("STRICTCUDA", options, 1);
    unsigned failures = 0;
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++)
        for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
            for (uint64_t n = 1; n <= MOST && one(functions[f].name, errors[e], n, pages); n++)
                failures++;
    printf("           %u failures\n", failures);
    assert_true(failures > 300);
    free(pages);
}

static void test_failures(void **unused)
{
    (void)unused;
    in_turn("delay=0");
}

static void test_failures_of_old_drivers(void **unused)
{
    (void)unused;
    in_turn("delay=0,nobatch,nowrite,nojit,noreadonly");
}

int main(void)
{
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    signal(SIGABRT, say);
    signal(SIGALRM, say);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_failures_of_old_drivers),
    };
    return cmocka_run_group_tests_name("CUDA failures", tests, NULL, NULL);
}
