/* Failures made by the driver's knobs: what failed cannot be read until it is written again. */
#include "suite.h"

#include <unistd.h>

enum { SIZE = 10000, FROM = 2000, PART = 3000, ATTEMPTS = 64 };

/* A device of which exactly the submission of attempt's operation fails. */
struct attempt {
    ferry_device *device;
    struct mirror mirror;
    enum ferry_status status;
};

typedef enum ferry_status (*attempt_body)(struct attempt *attempt);

static void attempt_close(struct attempt *attempt)
{
    free(attempt->mirror.bytes);
    ferry_buffer_destroy(attempt->mirror.buffer);
    ferry_device_close(attempt->device);
}

/* Which submission is the operation's is not known, so each is tried in turn. */
static struct attempt attempt_failing(const char *knob, enum ferry_storage storage,
                                      attempt_body body)
{
    struct attempt attempt = {0};
    for (unsigned n = 1; n <= ATTEMPTS; n++) {
        char knobs[64];
        snprintf(knobs, sizeof knobs, "%s=%u", knob, n);
        attempt.device = open_queued(knobs);
        attempt.mirror =
            (struct mirror){make_buffer(attempt.device, SIZE, storage), scribbled(SIZE, 1), SIZE};
        if (ferry_copy_from_host(attempt.mirror.buffer, attempt.mirror.bytes, SIZE, 0) ==
            FERRY_OK) {
            attempt.status = body(&attempt);
            if (attempt.status != FERRY_OK)
                return attempt;
        }
        attempt_close(&attempt);
        attempt = (struct attempt){0};
    }
    fail_msg("with %s=1 to %d the operation never failed", knob, ATTEMPTS);
    return (struct attempt){0};
}

static enum ferry_status read_at(struct attempt *attempt, size_t size, size_t offset)
{
    unsigned char got[SIZE];
    return ferry_copy_to_host(attempt->mirror.buffer, got, size, offset);
}

static void expect_good(struct attempt *attempt, size_t size, size_t offset)
{
    unsigned char got[SIZE];
    OK(ferry_copy_to_host(attempt->mirror.buffer, got, size, offset));
    expect_bytes(got, attempt->mirror.bytes + offset, size, "what did not fail");
}

static enum ferry_status upload_part(struct attempt *attempt)
{
    unsigned char part[PART];
    scribble(part, PART, 2);
    return ferry_copy_from_host(attempt->mirror.buffer, part, PART, FROM);
}

static enum ferry_status file_part(struct attempt *attempt)
{
    unsigned char part[PART];
    scribble(part, PART, 2);
    int fd = make_file(part, PART, 0);
    enum ferry_status status = ferry_copy_from_file(attempt->mirror.buffer, fd, 0, PART, FROM);
    close(fd);
    return status;
}

static enum ferry_status fill_part(struct attempt *attempt)
{
    return ferry_fill_buffer(attempt->mirror.buffer, PART, FROM, "f", 1);
}

static enum ferry_status copy_part(struct attempt *attempt)
{
    return ferry_copy_buffer(attempt->mirror.buffer, attempt->mirror.buffer, PART, FROM,
                             FROM + PART);
}

/* The bytes of a failed write: who reads one fails, until writes have covered it. */
static void check_interval(enum ferry_storage storage, attempt_body body)
{
    struct attempt attempt = attempt_failing("fail_exec", storage, body);
    struct mirror *mirror = &attempt.mirror;
    IS(FERRY_ERROR_EXECUTION_FAILED, attempt.status);
    expect_good(&attempt, FROM, 0);
    expect_good(&attempt, SIZE - FROM - PART, FROM + PART);
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 1, FROM));
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 1, FROM + PART - 1));
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 2, FROM - 1));
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 2, FROM + PART - 1));
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, SIZE, 0));
    OK(read_at(&attempt, 0, FROM + 5));

    OK(ferry_copy_from_host(mirror->buffer, mirror->bytes + FROM, PART - 1, FROM));
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 1, FROM + PART - 1));
    OK(read_at(&attempt, PART - 1, FROM));
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, SIZE, 0));
    OK(ferry_copy_from_host(mirror->buffer, mirror->bytes + FROM + PART - 1, 1, FROM + PART - 1));
    expect_mirror(mirror);
    attempt_close(&attempt);
}

static void test_upload(void **state)
{
    (void)state;
    check_interval(FERRY_STORAGE_PRIVATE, upload_part);
}

static void test_from_file(void **state)
{
    (void)state;
    check_interval(FERRY_STORAGE_PRIVATE, file_part);
}

static void test_fill(void **state)
{
    (void)state;
    check_interval(FERRY_STORAGE_PRIVATE, fill_part);
}

static void test_copy(void **state)
{
    (void)state;
    check_interval(FERRY_STORAGE_PRIVATE, copy_part);
}

/* A failed source fails what is copied from it, and that marks the destination. */
static void test_spreads_by_reading(void **state)
{
    (void)state;
    struct attempt attempt = attempt_failing("fail_exec", FERRY_STORAGE_PRIVATE, upload_part);
    struct mirror other = make_mirror(attempt.device, SIZE, FERRY_STORAGE_PRIVATE, 3);
    unsigned char got[SIZE];
    IS(FERRY_ERROR_EXECUTION_FAILED,
       ferry_copy_buffer(other.buffer, attempt.mirror.buffer, 100, 500, FROM + 10));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(other.buffer, got, 1, 599));
    OK(ferry_copy_to_host(other.buffer, got, 500, 0));
    OK(ferry_copy_buffer(other.buffer, attempt.mirror.buffer, 100, 500, 10));
    memcpy(other.bytes + 500, attempt.mirror.bytes + 10, 100);
    expect_mirror(&other);
    drop_mirror(&other);
    attempt_close(&attempt);
}

/* Two failed writes: what lies between them is as good as before. */
static enum ferry_status two_parts(struct attempt *attempt)
{
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    OK(ferry_batch_create(attempt->device, &batch));
    OK(ferry_batch_fill_buffer(batch, attempt->mirror.buffer, 100, 300, "1", 1));
    OK(ferry_batch_fill_buffer(batch, attempt->mirror.buffer, 100, 700, "2", 1));
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    ferry_batch_destroy(batch);
    return ferry_wait(attempt->device, ticket, FERRY_FOREVER);
}

static void test_between(void **state)
{
    (void)state;
    struct attempt attempt = attempt_failing("fail_exec", FERRY_STORAGE_PRIVATE, two_parts);
    IS(FERRY_ERROR_EXECUTION_FAILED, attempt.status);
    expect_good(&attempt, 300, 0);
    expect_good(&attempt, SIZE - 800, 800);
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 1, 300));
    expect_good(&attempt, 300, 400);
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 1, 399));
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 1, 700));
    IS(FERRY_ERROR_EXECUTION_FAILED, read_at(&attempt, 1, 799));
    OK(ferry_fill_buffer(attempt.mirror.buffer, 500, 300, "c", 1));
    model_fill(attempt.mirror.bytes, 500, 300, "c", 1);
    expect_mirror(&attempt.mirror);
    attempt_close(&attempt);
}

/* From a private buffer, for between shared ones the CPU may copy, and that does not fail. */
static enum ferry_status copy_from_private(struct attempt *attempt)
{
    ferry_buffer *source = make_buffer(attempt->device, PART, FERRY_STORAGE_PRIVATE);
    enum ferry_status status = FERRY_OK;
    if (ferry_zero_buffer(source) == FERRY_OK)
        status = ferry_copy_buffer(attempt->mirror.buffer, source, PART, FROM, 0);
    ferry_buffer_destroy(source);
    return status;
}

static void test_contents(void **state)
{
    (void)state;
    struct attempt attempt = attempt_failing("fail_exec", FERRY_STORAGE_SHARED, copy_from_private);
    void *contents = NULL;
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_buffer_contents(attempt.mirror.buffer, &contents));
    assert_null(contents);
    OK(ferry_buffer_wait(attempt.mirror.buffer, FERRY_FOREVER));
    OK(ferry_zero_buffer(attempt.mirror.buffer));
    OK(ferry_buffer_contents(attempt.mirror.buffer, &contents));
    memset(attempt.mirror.bytes, 0, SIZE);
    expect_bytes(contents, attempt.mirror.bytes, SIZE, "contents");
    attempt_close(&attempt);
}

/* A download that fails leaves the buffer good; the host memory is undefined, and no more than it. */
static enum ferry_status download(struct attempt *attempt)
{
    unsigned char got[PART + 20];
    memset(got, 0xA5, sizeof got);
    enum ferry_status status = ferry_copy_to_host(attempt->mirror.buffer, got + 10, PART, FROM);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(got[i], 0xA5);
        assert_int_equal(got[PART + 10 + i], 0xA5);
    }
    return status;
}

static enum ferry_status to_file(struct attempt *attempt)
{
    int fd = make_file("", 0, 0);
    enum ferry_status status = ferry_copy_to_file(attempt->mirror.buffer, fd, 3, PART, FROM);
    close(fd);
    return status;
}

static void test_to_file(void **state)
{
    (void)state;
    struct attempt attempt = attempt_failing("fail_exec", FERRY_STORAGE_PRIVATE, to_file);
    IS(FERRY_ERROR_EXECUTION_FAILED, attempt.status);
    expect_mirror(&attempt.mirror);
    attempt_close(&attempt);
}

static void test_download(void **state)
{
    (void)state;
    struct attempt attempt = attempt_failing("fail_exec", FERRY_STORAGE_PRIVATE, download);
    IS(FERRY_ERROR_EXECUTION_FAILED, attempt.status);
    expect_mirror(&attempt.mirror);
    attempt_close(&attempt);
}

/* Failures are told by ticket, by callback, in words and in the statistics. */
static struct note told;

static enum ferry_status told_part(struct attempt *attempt)
{
    ferry_ticket ticket = 0;
    note_init(&told);
    OK(ferry_fill_buffer_async(attempt->mirror.buffer, PART, FROM, "t", 1, note_callback, &told,
                               &ticket));
    OK(ferry_wait_idle(attempt->device));
    enum ferry_status status = ferry_wait(attempt->device, ticket, FERRY_FOREVER);
    assert_int_equal(status, told.status);
    assert_true(told.ticket == ticket && told.calls == 1);
    assert_int_equal(ferry_poll(attempt->device, ticket), status);
    return status;
}

static void test_told(void **state)
{
    (void)state;
    struct attempt attempt = attempt_failing("fail_exec", FERRY_STORAGE_PRIVATE, told_part);
    struct ferry_stats stats = read_stats(attempt.device);
    assert_true(told.error[0] != '\0');
    assert_true(ferry_last_error()[0] != '\0');
    assert_int_equal(stats.submission_failures, 1);
    uint64_t errors = 0;
    for (int path = 0; path < FERRY_PATH_COUNT; path++)
        errors += stats.operations[FERRY_OPERATION_FILL][path].errors;
    assert_int_equal(errors, 1);
    attempt_close(&attempt);
}

/* A submission that the driver refuses fails its operations, and nothing else: it has written
 * nothing, and what it would have written is as it was. */
static void test_refused_submission(void **state)
{
    (void)state;
    struct attempt attempt = attempt_failing("fail_submit", FERRY_STORAGE_PRIVATE, upload_part);
    enum ferry_status status = attempt.status;
    assert_true(status != FERRY_OK && status != FERRY_ERROR_DEVICE_LOST);
    OK(read_at(&attempt, 1, FROM));
    expect_good(&attempt, FROM, 0);
    expect_mirror(&attempt.mirror);
    attempt_close(&attempt);
}

/* A lost device says so for ever; nothing hangs, all callbacks come. */
static enum ferry_status lost_part(struct attempt *attempt)
{
    struct note notes[20];
    enum ferry_status worst = FERRY_OK;
    for (unsigned i = 0; i < 20; i++) {
        note_init(&notes[i]);
        if (ferry_fill_buffer_async(attempt->mirror.buffer, 100, i, "l", 1, note_callback,
                                    &notes[i], NULL) != FERRY_OK)
            notes[i].calls = 1;
    }
    enum ferry_status idle = ferry_wait_idle(attempt->device);
    assert_true(idle == FERRY_OK || idle == FERRY_ERROR_DEVICE_LOST);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(notes[i].calls, 1);
        if (notes[i].status != FERRY_OK)
            worst = (enum ferry_status)notes[i].status;
    }
    return worst;
}

static void test_lost(void **state)
{
    (void)state;
    struct attempt attempt = attempt_failing("lose_at", FERRY_STORAGE_PRIVATE, lost_part);
    ferry_buffer *buffer = NULL;
    IS(FERRY_ERROR_DEVICE_LOST, attempt.status);
    IS(FERRY_ERROR_DEVICE_LOST, read_at(&attempt, 10, FROM));
    IS(FERRY_ERROR_DEVICE_LOST, upload_part(&attempt));
    IS(FERRY_ERROR_DEVICE_LOST, fill_part(&attempt));
    enum ferry_status status =
        ferry_buffer_create(attempt.device, &(struct ferry_buffer_params){.size = 64}, &buffer);
    assert_true(status == FERRY_ERROR_DEVICE_LOST);
    attempt_close(&attempt);
}

/* Every allocation of the device refused in turn: either done all the same, or refused in words. */
static void test_allocations(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 12; n++) {
        char knobs[64];
        snprintf(knobs, sizeof knobs, "fail_alloc=%u", n);
        ferry_device *device = open_queued(knobs);
        struct mirror mirror = {NULL, scribbled(SIZE, n), SIZE};
        enum ferry_status status = ferry_buffer_create(
            device, &(struct ferry_buffer_params){.size = SIZE}, &mirror.buffer);
        if (status != FERRY_OK) {
            IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, status);
            mirror.buffer = make_buffer(device, SIZE, FERRY_STORAGE_PRIVATE);
        }
        status = ferry_copy_from_host(mirror.buffer, mirror.bytes, SIZE, 0);
        if (status != FERRY_OK) {
            IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, status);
            OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, SIZE, 0));
        }
        unsigned char got[SIZE];
        status = ferry_copy_to_host(mirror.buffer, got, SIZE, 0);
        if (status != FERRY_OK)
            IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, status);
        expect_mirror(&mirror);
        drop_mirror(&mirror);
        ferry_device_close(device);
    }
}

/* One that waits and cannot be begun, for want of staging memory, has changed nothing. */
static void test_not_begun(void **state)
{
    (void)state;
    unsigned refused = 0;
    for (unsigned n = 1; n <= 12; n++) {
        char knobs[64];
        snprintf(knobs, sizeof knobs, "fail_alloc=%u", n);
        ferry_device *device = open_queued(knobs);
        ferry_buffer *buffer = NULL;
        unsigned char before[SIZE], after[SIZE];
        scribble(before, SIZE, n);
        scribble(after, SIZE, n + 1);
        struct ferry_buffer_params params = {.size = SIZE};
        if (ferry_buffer_create(device, &params, &buffer) == FERRY_OK &&
            ferry_copy_from_host(buffer, before, SIZE, 0) == FERRY_OK) {
            struct mirror mirror = {buffer, before, SIZE};
            OK(ferry_device_trim(device)); /* so that staging is asked for anew */
            enum ferry_status status = ferry_copy_from_host(buffer, after, SIZE, 0);
            if (status == FERRY_OK)
                mirror.bytes = after;
            else
                IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, status);
            refused += status != FERRY_OK;
            if (status != FERRY_OK)
                expect_mirror(&mirror);
        }
        ferry_buffer_destroy(buffer);
        ferry_device_close(device);
    }
    if (suite->params.path != FERRY_PATH_IMPORTED && !suite->retries_memory)
        assert_true(refused > 0);
}

/* Imports refused: staged and counted. Forbidden fallbacks: an error. */
static void test_refused_imports(void **state)
{
    struct fixture *fixture = *state;
    suite_skip_unless(fixture->info.import_granularity != 0, "this device imports nothing");
    struct ferry_device_params params = suite->params;
    params.map_private = FERRY_MAP_NEVER;
    params.path = FERRY_PATH_IMPORTED;
    ferry_device *device = open_with("import_fail=all", &params);
    struct mirror mirror = make_mirror(device, 100000, FERRY_STORAGE_PRIVATE, 4);
    expect_mirror(&mirror);
    struct ferry_stats stats = read_stats(device);
    assert_true(stats.import_failures > 0);
    assert_true(stats.fallback_import > 0);
    assert_int_equal(stats.imports, 0);
    drop_mirror(&mirror);
    ferry_device_close(device);

    params.no_fallback = true;
    device = open_with("import_fail=all", &params);
    ferry_buffer *buffer = make_buffer(device, 100000, FERRY_STORAGE_PRIVATE);
    void *bytes = scribbled(100000, 5);
    IS(FERRY_ERROR_UNSUPPORTED, ferry_copy_from_host(buffer, bytes, 100000, 0));
    IS(FERRY_ERROR_UNSUPPORTED, ferry_host_register(device, bytes, 100000, 0));
    free(bytes);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

/* no_staging_wait: refused rather than waiting, untouched then, and counted. */
static void test_no_staging_wait(void **state)
{
    (void)state;
    struct ferry_device_params params = suite->params;
    params.map_private = FERRY_MAP_NEVER;
    params.path = FERRY_PATH_STAGED;
    params.staging_budget = 4096;
    params.no_staging_wait = true;
    ferry_device *device =
        open_with(suite->knobs_variable != NULL ? "delay_us=300" : NULL, &params);
    struct mirror busy = make_mirror(device, 65536, FERRY_STORAGE_PRIVATE, 6);
    struct mirror mirror = make_mirror(device, 4096, FERRY_STORAGE_PRIVATE, 7);
    uint64_t refused = 0;
    for (unsigned i = 0; i < 20; i++) {
        unsigned char bytes[4096];
        scribble(bytes, 4096, 8 + i);
        OK(ferry_copy_from_host_async(busy.buffer, busy.bytes, 65536, 0, NULL, NULL, NULL));
        enum ferry_status status = ferry_copy_from_host(mirror.buffer, bytes, 4096, 0);
        if (status == FERRY_OK)
            memcpy(mirror.bytes, bytes, 4096);
        else
            IS(FERRY_ERROR_POOL_EXHAUSTED, status);
        refused += status != FERRY_OK;
        OK(ferry_wait_idle(device));
        expect_mirror(&mirror);
    }
    assert_int_equal(read_stats(device).staging_exhaustions, refused);
    expect_mirror(&busy);
    drop_mirror(&busy);
    drop_mirror(&mirror);
    ferry_device_close(device);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_upload),
    SUITE_TEST(test_from_file),
    SUITE_TEST(test_fill),
    SUITE_TEST(test_copy),
    SUITE_TEST(test_spreads_by_reading),
    SUITE_TEST(test_between),
    SUITE_TEST(test_contents),
    SUITE_TEST(test_download),
    SUITE_TEST(test_to_file),
    SUITE_TEST(test_told),
    SUITE_TEST(test_refused_submission),
    SUITE_TEST(test_lost),
    SUITE_TEST(test_allocations),
    SUITE_TEST(test_not_begun),
    SUITE_TEST(test_refused_imports),
    SUITE_TEST(test_no_staging_wait),
};

SUITE_GROUP(failures);
