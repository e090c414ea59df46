/* ferry/cuda.h on the strict CUDA: what is handed out and wrapped, and the user's streams. */
#include "client.h"

#include <ferry/cuda.h>
#include <stdio.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

#define OK(call) assert_int_equal((call), FERRY_OK)
#define IS(status, call) assert_int_equal((call), (status))

/* CUDA as its users have it: the strict one is in this program, too. */
cu_result cuDeviceGet(cu_device *device, int ordinal);
cu_result cuDevicePrimaryCtxRetain(cu_context *context, cu_device device);
cu_result cuDevicePrimaryCtxRelease_v2(cu_device device);
cu_result cuCtxPushCurrent_v2(cu_context context);
cu_result cuCtxPopCurrent_v2(cu_context *context);
cu_result cuStreamCreate(cu_stream *stream, unsigned flags);
cu_result cuStreamDestroy_v2(cu_stream stream);
cu_result cuStreamQuery(cu_stream stream);
cu_result cuMemsetD8Async(cu_address dst, unsigned char value, size_t count, cu_stream stream);
cu_result cuMemcpyAsync(cu_address dst, cu_address src, size_t size, cu_stream stream);

static void words(const char *text)
{
    if (!strstr(ferry_last_error(), text))
        fail_msg("\"%s\" does not say \"%s\"", ferry_last_error(), text);
}

static ferry_device *open_cuda(const char *options)
{
    ferry_device *device = NULL;
    setenv("STRICTCUDA", options, 1);
    strictcuda_forget();
    if (ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &device))
        fail_msg("%s", ferry_last_error());
    return device;
}

static ferry_buffer *make(ferry_device *device, size_t size, enum ferry_storage storage)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = size, .storage = storage},
                           &buffer));
    return buffer;
}

/* The user's side: the device's context is current, and there is a stream. */
struct user {
    ferry_device *device;
    cu_context context;
    cu_stream stream;
};

static struct user begin(const char *options)
{
    struct user user = {.device = open_cuda(options)};
    OK(ferry_cuda_device_get(user.device, NULL, &user.context));
    GOOD(cuCtxPushCurrent_v2(user.context));
    GOOD(cuStreamCreate(&user.stream, 0));
    return user;
}

static void end(struct user *user)
{
    cu_context ignored;
    while (cuStreamQuery(user->stream) == CU_ERROR_NOT_READY) {
    }
    (void)cuStreamDestroy_v2(user->stream);
    (void)cuCtxPopCurrent_v2(&ignored);
    ferry_device_close(user->device);
    assert_broken(0, 0);
}

static struct ferry_use whole(ferry_buffer *buffer, unsigned access)
{
    return (struct ferry_use){.buffer = buffer, .access = access};
}

static cu_address address_of(ferry_buffer *buffer)
{
    unsigned long long pointer = 0;
    OK(ferry_cuda_buffer_get(buffer, &pointer));
    return pointer;
}

static void expect_all(const unsigned char *bytes, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            fail_msg("byte %zu is %d, not %d", i, bytes[i], value);
}

/* --- handing out ------------------------------------------------------------------------------ */

static void test_get(void **unused)
{
    (void)unused;
    ferry_device *host = NULL, *device = NULL;
    unsigned long long pointer = 0;
    void *contents = NULL;
    int ordinal = -1;
    setenv("STRICTCUDA", "devices=3,prohibited=1", 1);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "cuda:1"}, &device));
    OK(ferry_cuda_device_get(device, &ordinal, NULL));
    assert_int_equal(ordinal, 2); /* CUDA's, not the list's */
    ferry_device_close(device);
    struct user user = begin("");
    ferry_buffer *private = make(user.device, 100, FERRY_STORAGE_PRIVATE);
    ferry_buffer *shared = make(user.device, 100, FERRY_STORAGE_SHARED);
    GOOD(cuMemsetD8Async(address_of(private), 7, 100, user.stream)); /* it is the device's */
    OK(ferry_buffer_contents(shared, &contents));
    assert_int_equal(address_of(shared), (uintptr_t)contents);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &host));
    ferry_buffer *other = make(host, 100, FERRY_STORAGE_PRIVATE);
    IS(FERRY_ERROR_UNSUPPORTED, ferry_cuda_buffer_get(other, &pointer));
    IS(FERRY_ERROR_UNSUPPORTED, ferry_cuda_device_get(host, &ordinal, NULL));
    words("is not a CUDA device");
    IS(FERRY_ERROR_UNSUPPORTED, ferry_cuda_external_end(host, 1, NULL));
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_cuda_external_begin(host, &(struct ferry_use){other, FERRY_ACCESS_READ, 0, 0}, 1, NULL,
                                 &(struct ferry_external){0}));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_buffer_get(NULL, &pointer));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_buffer_get(private, NULL));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_device_get(NULL, &ordinal, NULL));
    ferry_buffer_destroy(other);
    ferry_device_close(host);
    ferry_buffer_destroy(shared);
    while (cuStreamQuery(user.stream) == CU_ERROR_NOT_READY) {
    }
    ferry_buffer_destroy(private);
    end(&user);
}

/* --- wrapping --------------------------------------------------------------------------------- */

static void note_release(void *user)
{
    ++*(int *)user;
}

/* Every operation on wrapped memory of any phase, and nothing beside it is touched. */
static void pass_at(ferry_device *device, cu_address base, size_t phase, size_t size)
{
    enum { ROOM = 70000 };
    static unsigned char bytes[ROOM], got[ROOM], model[ROOM];
    unsigned char *store = strictcuda_bytes(base);
    ferry_buffer *buffer = NULL, *spare = make(device, size, FERRY_STORAGE_PRIVATE);
    int released = 0;
    memset(store, 0xEE, ROOM);
    memset(model, 0xEE, ROOM);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 7 + phase);
    OK(ferry_cuda_buffer_wrap(device, base + phase, size, note_release, &released, &buffer));
    assert_int_equal(address_of(buffer), base + phase);
    OK(ferry_copy_from_host(buffer, bytes, size, 0));
    memcpy(model + phase, bytes, size);
    assert_memory_equal(store, model, ROOM);
    OK(ferry_copy_buffer(spare, buffer, size, 0, 0));
    OK(ferry_fill_buffer(buffer, size - 1, 1, "abc", 3));
    for (size_t i = 1; i < size; i++)
        model[phase + i] = (unsigned char)"abc"[(i - 1) % 3];
    assert_memory_equal(store, model, ROOM);
    OK(ferry_copy_buffer(buffer, spare, size, 0, 0));
    OK(ferry_copy_to_host(buffer, got, size, 0));
    assert_memory_equal(got, bytes, size);
    ferry_buffer_destroy(spare);
    assert_int_equal(released, 0);
    ferry_buffer_destroy(buffer);
    assert_int_equal(released, 1);
}

static void test_wrap_any_address(void **unused)
{
    (void)unused;
    static const size_t phases[] = {0, 1, 3, 4, 7, 8, 15, 17, 255}, sizes[] = {1, 5, 4097, 65537};
    static const char *const options[] = {"", "nojit", "nobatch"};
    for (size_t o = 0; o < 3; o++) {
        ferry_device *device = open_cuda(options[o]);
        const uint64_t base = strictcuda_alloc(STRICTCUDA_DEVICE, 70000);
        for (size_t p = 0; p < sizeof phases / sizeof *phases; p++)
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
                pass_at(device, base, phases[p], sizes[s]);
        strictcuda_free(base);
        ferry_device_close(device);
        assert_broken(0, 0);
    }
}

static void test_wrap_refused(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("devices=2"), *second = NULL;
    ferry_buffer *buffer = NULL;
    int released = 0;
    char here;
    const uint64_t base = strictcuda_alloc(STRICTCUDA_DEVICE, 1000);
    const uint64_t managed = strictcuda_alloc(STRICTCUDA_MANAGED, 1000);
    const uint64_t locked = strictcuda_alloc(STRICTCUDA_HOST, 1000);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "cuda:1"}, &second));
    IS(FERRY_ERROR_OUT_OF_RANGE,
       ferry_cuda_buffer_wrap(device, base + 1, 100000, note_release, &released, &buffer));
    words("exceed their memory, 1000 bytes");
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_cuda_buffer_wrap(second, base, 1000, note_release, &released, &buffer));
    words("is memory of CUDA's device 0, not 1");
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_cuda_buffer_wrap(device, (uintptr_t)&here, 1, note_release, &released, &buffer));
    words("unknown to CUDA");
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_cuda_buffer_wrap(device, locked, 10, note_release, &released, &buffer));
    words("page-locked host memory");
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_cuda_buffer_wrap(device, managed, 10, note_release, &released, &buffer));
    words("managed memory");
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_buffer_wrap(device, 0, 10, NULL, NULL, &buffer));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_buffer_wrap(device, base, 0, NULL, NULL, &buffer));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_cuda_buffer_wrap(device, base, SIZE_MAX, NULL, NULL, &buffer));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_buffer_wrap(device, base, 10, NULL, NULL, NULL));
    strictcuda_fail("cuPointerGetAttributes", CU_ERROR_UNKNOWN, 1);
    IS(FERRY_ERROR_INTERNAL, ferry_cuda_buffer_wrap(device, base, 10, NULL, NULL, &buffer));
    assert_int_equal(released, 0);
    assert_null(buffer);
    strictcuda_free(locked);
    strictcuda_free(managed);
    strictcuda_free(base);
    ferry_device_close(second);
    ferry_device_close(device);
    assert_broken(0, 0);
}

static void test_wrap_device(void **unused)
{
    (void)unused;
    ferry_device *device = NULL;
    struct ferry_device_info info;
    struct CUctx_st *got = NULL;
    cu_context context;
    cu_device second;
    int ordinal = 0;
    unsigned char bytes[100] = {1, 2, 3}, back[100];
    setenv("STRICTCUDA", "devices=2", 1);
    strictcuda_forget();
    /* A device of Ferry's has initialised CUDA. */
    ferry_device_close(open_cuda("devices=2"));
    GOOD(cuDeviceGet(&second, 1));
    GOOD(cuDevicePrimaryCtxRetain(&context, second));
    OK(ferry_cuda_device_wrap(context, NULL, &device));
    OK(ferry_cuda_device_get(device, &ordinal, &got));
    ferry_device_get_info(device, &info);
    assert_string_equal(info.name, "cuda:wrapped");
    assert_string_equal(info.driver, "cuda");
    assert_int_equal(ordinal, 1);
    assert_ptr_equal(got, context);
    ferry_buffer *buffer = make(device, 100, FERRY_STORAGE_PRIVATE);
    OK(ferry_copy_from_host(buffer, bytes, 100, 0));
    OK(ferry_copy_to_host(buffer, back, 100, 0));
    assert_memory_equal(bytes, back, 100);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    GOOD(cuCtxPushCurrent_v2(context)); /* it is still the user's */
    GOOD(cuCtxPopCurrent_v2(&context));
    GOOD(cuDevicePrimaryCtxRelease_v2(second));
    assert_broken(0, 0);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_device_wrap(NULL, NULL, &device));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_device_wrap(context, NULL, NULL));
    strictcuda_record(true); /* that it is no context is for CUDA to say */
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_device_wrap(context, NULL, &device));
    words("cuCtxPushCurrent");
    assert_broken(STRICTCUDA_RETAIN, 1);
    strictcuda_record(false);
}

/* --- the user's streams ----------------------------------------------------------------------- */

/* Upload, the user's fill in his stream, download: by order alone. */
static void rounds(struct user *user, cu_stream stream, unsigned count)
{
    enum { ROOM = 20000 };
    static unsigned char bytes[ROOM], back[ROOM];
    ferry_buffer *buffer = make(user->device, ROOM, FERRY_STORAGE_PRIVATE);
    for (unsigned i = 0; i < count; i++) {
        const struct ferry_use use = whole(buffer, FERRY_ACCESS_READ | FERRY_ACCESS_WRITE);
        struct ferry_external work;
        ferry_ticket done;
        memset(bytes, (int)i, ROOM);
        OK(ferry_copy_from_host_async(buffer, bytes, ROOM, 0, NULL, NULL, NULL));
        OK(ferry_cuda_external_begin(user->device, &use, 1, stream, &work));
        assert_int_equal(work.wait_count, 0);
        if (stream)
            GOOD(cuMemsetD8Async(address_of(buffer) + 1000, (unsigned char)~i, 2000, stream));
        OK(ferry_cuda_external_end(user->device, work.ticket, stream));
        OK(ferry_copy_to_host_async(buffer, back, ROOM, 0, NULL, NULL, &done));
        OK(ferry_wait(user->device, done, FERRY_FOREVER));
        OK(ferry_wait(user->device, work.ticket, FERRY_FOREVER));
        expect_all(back, 1000, (unsigned char)i);
        expect_all(back + 1000, 2000, (unsigned char)(stream ? ~i : i));
        expect_all(back + 3000, ROOM - 3000, (unsigned char)i);
    }
    ferry_buffer_destroy(buffer);
}

static void test_order(void **unused)
{
    (void)unused;
    struct user user = begin("delay=50");
    rounds(&user, user.stream, 100);
    const uint64_t made = strictcuda_calls("cuEventCreate");
    rounds(&user, user.stream, 50);
    assert_int_equal(strictcuda_calls("cuEventCreate"), made); /* events are used again */
    rounds(&user, NULL, 10);                                   /* the legacy stream */
    end(&user);
}

/* Nothing on the host waits: with the device at rest all is handed over. */
static void test_no_wait(void **unused)
{
    (void)unused;
    static unsigned char bytes[5000], back[5000];
    struct user user = begin("");
    ferry_buffer *buffer = make(user.device, sizeof bytes, FERRY_STORAGE_PRIVATE);
    const struct ferry_use use = whole(buffer, FERRY_ACCESS_READ | FERRY_ACCESS_WRITE);
    struct ferry_external first, second;
    ferry_ticket done;
    memset(bytes, 1, sizeof bytes);
    strictcuda_pause(true);
    OK(ferry_copy_from_host_async(buffer, bytes, sizeof bytes, 0, NULL, NULL, NULL));
    OK(ferry_cuda_external_begin(user.device, &use, 1, user.stream, &first));
    GOOD(cuMemsetD8Async(address_of(buffer), 2, 3000, user.stream));
    OK(ferry_cuda_external_end(user.device, first.ticket, user.stream));
    OK(ferry_cuda_external_begin(user.device, &use, 1, user.stream, &second));
    GOOD(cuMemsetD8Async(address_of(buffer), 3, 1000, user.stream));
    OK(ferry_cuda_external_end(user.device, second.ticket, user.stream));
    OK(ferry_copy_to_host_async(buffer, back, sizeof back, 0, NULL, NULL, &done));
    IS(FERRY_PENDING, ferry_poll(user.device, first.ready));
    IS(FERRY_PENDING, ferry_poll(user.device, first.ticket));
    IS(FERRY_PENDING, ferry_poll(user.device, done));
    strictcuda_pause(false);
    OK(ferry_wait(user.device, done, FERRY_FOREVER));
    expect_all(back, 1000, 3);
    expect_all(back + 1000, 2000, 2);
    expect_all(back + 3000, 2000, 1);
    ferry_buffer_destroy(buffer);
    end(&user);
}

/* The strict CUDA sees work that takes no place in the order, on either side, and leaves it out. */
static void test_planted(void **unused)
{
    (void)unused;
    static unsigned char bytes[5000];
    struct user user = begin("");
    ferry_buffer *buffer = make(user.device, sizeof bytes, FERRY_STORAGE_PRIVATE);
    ferry_ticket done;
    strictcuda_record(true);
    strictcuda_pause(true);
    OK(ferry_copy_from_host_async(buffer, bytes, sizeof bytes, 0, NULL, NULL, &done));
    GOOD(cuMemsetD8Async(address_of(buffer), 2, 3000, user.stream));
    strictcuda_pause(false);
    OK(ferry_wait(user.device, done, FERRY_FOREVER));
    assert_broken(STRICTCUDA_RACE, 1);
    while (cuStreamQuery(user.stream) == CU_ERROR_NOT_READY) {
    }
    strictcuda_pause(true);
    GOOD(cuMemsetD8Async(address_of(buffer), 2, 3000, user.stream));
    OK(ferry_copy_from_host_async(buffer, bytes, sizeof bytes, 0, NULL, NULL, &done));
    strictcuda_pause(false);
    OK(ferry_wait(user.device, done, FERRY_FOREVER));
    assert_broken(STRICTCUDA_RACE, 1);
    strictcuda_record(false);
    ferry_buffer_destroy(buffer);
    end(&user);
}

static void test_capture(void **unused)
{
    (void)unused;
    struct user user = begin("");
    ferry_buffer *buffer = make(user.device, 100, FERRY_STORAGE_PRIVATE);
    const struct ferry_use use = whole(buffer, FERRY_ACCESS_WRITE);
    struct ferry_external work;
    unsigned char back[100];
    strictcuda_capture_stream(user.stream, true);
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_cuda_external_begin(user.device, &use, 1, user.stream, &work));
    words("capturing a graph");
    OK(ferry_zero_buffer(buffer)); /* nothing is in progress */
    strictcuda_capture_stream(user.stream, false);
    OK(ferry_cuda_external_begin(user.device, &use, 1, user.stream, &work));
    GOOD(cuMemsetD8Async(address_of(buffer), 9, 100, user.stream));
    strictcuda_capture_stream(user.stream, true);
    IS(FERRY_ERROR_UNSUPPORTED, ferry_cuda_external_end(user.device, work.ticket, user.stream));
    strictcuda_capture_stream(user.stream, false);
    OK(ferry_cuda_external_end(user.device, work.ticket, user.stream)); /* it was still open */
    OK(ferry_copy_to_host(buffer, back, 100, 0));
    expect_all(back, 100, 9);
    ferry_buffer_destroy(buffer);
    end(&user);
}

/* Work that failed: what it would have written cannot be read, and what follows comes after what
 * came before, although nothing was recorded. */
static void test_failed(void **unused)
{
    (void)unused;
    static unsigned char ones[5000], twos[5000], back[5000];
    struct user user = begin("delay=50");
    memset(ones, 1, sizeof ones);
    memset(twos, 2, sizeof twos);
    for (int i = 0; i < 20; i++) {
        ferry_buffer *buffer = make(user.device, sizeof ones, FERRY_STORAGE_PRIVATE);
        const struct ferry_use use = whole(buffer, FERRY_ACCESS_WRITE);
        struct ferry_external work;
        ferry_ticket reader, writer;
        OK(ferry_copy_from_host_async(buffer, ones, sizeof ones, 0, NULL, NULL, NULL));
        OK(ferry_cuda_external_begin(user.device, &use, 1, user.stream, &work));
        OK(ferry_copy_to_host_async(buffer, back, 10, 0, NULL, NULL, &reader));
        OK(ferry_copy_from_host_async(buffer, twos, sizeof twos, 0, NULL, NULL, &writer));
        OK(ferry_external_end(user.device, work.ticket, FERRY_ERROR_EXECUTION_FAILED));
        IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(user.device, work.ticket, FERRY_FOREVER));
        IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(user.device, reader, FERRY_FOREVER));
        OK(ferry_wait(user.device, writer, FERRY_FOREVER));
        OK(ferry_copy_to_host(buffer, back, sizeof back, 0));
        expect_all(back, sizeof back, 2);
        ferry_buffer_destroy(buffer);
    }
    end(&user);
}

/* Ended without a stream it is done; begun without one it has nothing to record. */
static void test_by_hand(void **unused)
{
    (void)unused;
    static unsigned char bytes[5000], back[5000];
    struct user user = begin("delay=50");
    ferry_buffer *buffer = make(user.device, sizeof bytes, FERRY_STORAGE_PRIVATE);
    const struct ferry_use use = whole(buffer, FERRY_ACCESS_WRITE);
    struct ferry_external work;
    OK(ferry_copy_from_host_async(buffer, bytes, sizeof bytes, 0, NULL, NULL, NULL));
    OK(ferry_cuda_external_begin(user.device, &use, 1, user.stream, &work));
    GOOD(cuMemsetD8Async(address_of(buffer), 5, 5000, user.stream));
    while (cuStreamQuery(user.stream) == CU_ERROR_NOT_READY) {
    }
    OK(ferry_external_end(user.device, work.ticket, FERRY_OK));
    OK(ferry_copy_to_host(buffer, back, sizeof back, 0));
    expect_all(back, sizeof back, 5);
    OK(ferry_external_begin(user.device, &use, 1, &work));
    assert_int_equal(work.signal.event, 0);
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_cuda_external_end(user.device, work.ticket, user.stream));
    words("was begun without a stream");
    OK(ferry_external_end(user.device, work.ticket, FERRY_OK));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_cuda_external_end(user.device, work.ticket, user.stream));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_cuda_external_end(user.device, 0, user.stream));
    ferry_buffer_destroy(buffer);
    end(&user);
}

/* Calls of CUDA's that fail leave nothing behind, and the work can be ended all the same. */
static void test_calls_fail(void **unused)
{
    (void)unused;
    static const char *const calls[] = {"cuStreamIsCapturing", "cuEventCreate",
                                        "cuStreamWaitEvent"};
    static unsigned char bytes[5000], back[5000];
    struct user user = begin("");
    ferry_buffer *buffer = make(user.device, sizeof bytes, FERRY_STORAGE_PRIVATE);
    const struct ferry_use use = whole(buffer, FERRY_ACCESS_READ);
    struct ferry_external work;
    ferry_ticket done;
    OK(ferry_copy_from_host(buffer, bytes, sizeof bytes, 0));
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        strictcuda_pause(true);
        OK(ferry_copy_from_host_async(buffer, bytes, sizeof bytes, 0, NULL, NULL, NULL));
        strictcuda_fail(calls[i], CU_ERROR_OUT_OF_MEMORY, 1);
        IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
           ferry_cuda_external_begin(user.device, &use, 1, user.stream, &work));
        assert_true(strictcuda_failed());
        words(calls[i]);
        strictcuda_pause(false);
        OK(ferry_copy_to_host(buffer, back, sizeof back, 0));
    }
    OK(ferry_cuda_external_begin(user.device, &use, 1, user.stream, &work));
    strictcuda_fail("cuEventRecord", CU_ERROR_INVALID_HANDLE, 1);
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_cuda_external_end(user.device, work.ticket, user.stream));
    OK(ferry_cuda_external_end(user.device, work.ticket, user.stream));
    OK(ferry_copy_from_host_async(buffer, bytes, sizeof bytes, 0, NULL, NULL, &done));
    OK(ferry_wait(user.device, done, FERRY_FOREVER));
    ferry_buffer_destroy(buffer);
    end(&user);
}

/* Work that depends on more events than fit waits on the host, and is right. */
static void test_many_events(void **unused)
{
    (void)unused;
    enum { MANY = 9, PART = 1000 };
    static unsigned char back[MANY * PART];
    struct user user = begin("delay=50");
    ferry_buffer *buffer = make(user.device, sizeof back, FERRY_STORAGE_PRIVATE);
    cu_stream streams[MANY];
    struct ferry_external work;
    ferry_ticket done;
    for (unsigned i = 0; i < MANY; i++) {
        const struct ferry_use part = {buffer, FERRY_ACCESS_WRITE, (size_t)i * PART, PART};
        GOOD(cuStreamCreate(&streams[i], 1));
        OK(ferry_cuda_external_begin(user.device, &part, 1, streams[i], &work));
        GOOD(cuMemsetD8Async(address_of(buffer) + (cu_address)i * PART, (unsigned char)i, PART,
                             streams[i]));
        OK(ferry_cuda_external_end(user.device, work.ticket, streams[i]));
    }
    const struct ferry_use use = whole(buffer, FERRY_ACCESS_READ | FERRY_ACCESS_WRITE);
    OK(ferry_cuda_external_begin(user.device, &use, 1, user.stream, &work));
    GOOD(cuMemsetD8Async(address_of(buffer) + 500, 77, PART, user.stream));
    OK(ferry_cuda_external_end(user.device, work.ticket, user.stream));
    OK(ferry_copy_to_host_async(buffer, back, sizeof back, 0, NULL, NULL, &done));
    OK(ferry_wait(user.device, done, FERRY_FOREVER));
    expect_all(back, 500, 0);
    expect_all(back + 500, PART, 77);
    expect_all(back + 1500, 500, 1);
    for (unsigned i = 2; i < MANY; i++)
        expect_all(back + (size_t)i * PART, PART, (unsigned char)i);
    for (unsigned i = 0; i < MANY; i++)
        GOOD(cuStreamDestroy_v2(streams[i]));
    ferry_buffer_destroy(buffer);
    end(&user);
}

/* A lost device ends the work, whether it was recorded or not. */
static void test_loss(void **unused)
{
    (void)unused;
    for (int recorded = 0; recorded < 2; recorded++) {
        struct user user = begin("");
        ferry_buffer *buffer = make(user.device, 100, FERRY_STORAGE_PRIVATE);
        const struct ferry_use use = whole(buffer, FERRY_ACCESS_WRITE);
        struct ferry_external work;
        OK(ferry_cuda_external_begin(user.device, &use, 1, user.stream, &work));
        strictcuda_pause(true);
        if (recorded)
            OK(ferry_cuda_external_end(user.device, work.ticket, user.stream));
        strictcuda_fault(CU_ERROR_ILLEGAL_ADDRESS);
        IS(FERRY_ERROR_DEVICE_LOST, ferry_zero_buffer(buffer));
        IS(FERRY_ERROR_DEVICE_LOST, ferry_wait(user.device, work.ticket, FERRY_FOREVER));
        IS(FERRY_ERROR_DEVICE_LOST, ferry_cuda_external_end(user.device, work.ticket, user.stream));
        strictcuda_pause(false);
        ferry_buffer_destroy(buffer);
        ferry_device_close(user.device);
        strictcuda_reset();
        assert_broken(0, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),          cmocka_unit_test(test_wrap_any_address),
        cmocka_unit_test(test_wrap_refused), cmocka_unit_test(test_wrap_device),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_no_wait),
        cmocka_unit_test(test_planted),      cmocka_unit_test(test_capture),
        cmocka_unit_test(test_failed),       cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_calls_fail),   cmocka_unit_test(test_many_events),
        cmocka_unit_test(test_loss),
    };
    return cmocka_run_group_tests_name("cuda interop", tests, NULL, NULL);
}
