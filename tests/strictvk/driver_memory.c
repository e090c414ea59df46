/* Memory by use, imports, and host memory that runs out. */
#include "list_count.h"
#include "vulkan_driver.h"

/* --- memory ----------------------------------------------------------------------------------- */

static void test_uses(void **state)
{
    struct fixture *f = *state;
    static const uint64_t sizes[] = {256, 4096, 65536, 3 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ferry__memory memory = alloc(f, FERRY__MEMORY_SHARED, sizes[i]);
        assert_non_null(memory.host);
        assert_true(memory.coherent);
        memset(memory.host, 0x5a, sizes[i]);
        release(f, &memory);
        memory = alloc(f, FERRY__MEMORY_UPLOAD, sizes[i]);
        assert_non_null(memory.host);
        release(f, &memory);
        memory = alloc(f, FERRY__MEMORY_READBACK, sizes[i]);
        assert_non_null(memory.host);
        assert_true(memory.cached);
        release(f, &memory);
    }
}

static void test_never_mapped(void **state)
{
    struct fixture *f = *state;
    struct ferry__memory memory = alloc(f, FERRY__MEMORY_PRIVATE, 4096);
    assert_null(memory.host);
    release(f, &memory);
}

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    struct ferry__memory memory;
    uint64_t size = (uint64_t)1 << 50;
    assert_int_equal(
        driver->memory_alloc(f->state, FERRY__MEMORY_PRIVATE, size, NULL, &memory, f->why),
        FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(f->why, "1125899906842624"));
}

static void test_available(void **state)
{
    struct fixture *f = *state;
    uint64_t before = driver->memory_available(f->state);
    assert_true(before > 0);
    assert_true(before <= f->limits.total_memory);
    struct ferry__memory memory = alloc(f, FERRY__MEMORY_PRIVATE, 64 * MIB);
    assert_true(driver->memory_available(f->state) <= before - 64 * MIB);
    release(f, &memory);
    assert_int_equal(driver->memory_available(f->state), before);
}

/* --- the caller's memory ---------------------------------------------------------------------- */

static void test_import(void **state)
{
    struct fixture *f = *state;
    uint64_t unit = f->limits.import_granularity;
    if (unit == 0) {
        struct ferry_device_info info;
        assert_true(list_count(driver, &info, 1, f->why) > 0);
        assert_int_equal(info.import_granularity, 0);
        return;
    }
    uint64_t size = 16 * unit;
    unsigned char *host = aligned_alloc(unit, size);
    for (size_t i = 0; i < size; i++)
        host[i] = byte_at(i);
    struct ferry__memory mine, memory = alloc(f, FERRY__MEMORY_PRIVATE, size);
    for (int read_only = 1; read_only >= 0; read_only--) {
        assert_int_equal(driver->host_import(f->state, host, size, read_only, &mine, f->why),
                         FERRY_OK);
        assert_ptr_equal(mine.host, host);
        struct ferry__command up = copy(&memory, 5, &mine, 1, size - 5);
        run(f, FERRY__ROLE_UPLOAD, &up, 1);
        if (read_only)
            release(f, &mine);
    }
    unsigned char *model = malloc(size);
    memcpy(model, host, size);
    struct ferry__command down = copy(&mine, 3, &memory, 5, size - 5);
    run(f, FERRY__ROLE_DOWNLOAD, &down, 1);
    memmove(model + 3, model + 1, size - 5);
    assert_memory_equal(host, model, size);
    release(f, &mine);
    release(f, &memory);
    free(model);
    free(host);
}

/* --- failing host memory ---------------------------------------------------------------------- */

/* Whatever host allocation fails: an error in words, nothing leaked, and it works the next time. */
static void test_out_of_host_memory(void **unused)
{
    (void)unused;
    struct ferry__limits limits;
    void *state = NULL;
    char why[FERRY__WHY_MAX];
    for (uint64_t n = 1;; n++) {
        ferry__alloc_fail_at(n);
        why[0] = 0;
        enum ferry_status status =
            driver->open(&(struct ferry__open_params){0}, &state, &limits, why);
        bool failed = ferry__alloc_fail_at(0) >= n;
        if (status == FERRY_OK) {
            driver->close(state);
            if (!failed)
                break;
        } else {
            assert_true(failed);
            assert_true(strlen(why) > 0);
        }
        assert_true(n < 100);
    }
}

static void test_submit_without_memory(void **state)
{
    struct fixture *f = *state;
    struct ferry__memory memory = alloc(f, FERRY__MEMORY_PRIVATE, 4096);
    struct ferry__command command = copy(&memory, 2048, &memory, 0, 2048);
    struct ferry__result result;
    const struct ferry__submission_info info = {
        .commands = &command, .count = 1, .value = 1, .result = &result};
    ferry__alloc_fail_at(1);
    assert_int_equal(driver->submit(f->state, &info, f->why), FERRY_ERROR_OUT_OF_HOST_MEMORY);
    assert_true(strlen(f->why) > 0);
    ferry__alloc_fail_at(1);
    struct ferry__memory none;
    assert_int_equal(
        driver->memory_alloc(f->state, FERRY__MEMORY_PRIVATE, 4096, NULL, &none, f->why),
        FERRY_ERROR_OUT_OF_HOST_MEMORY);
    ferry__alloc_fail_at(0);
    /* The value was not used up. */
    run(f, FERRY__ROLE_COPY, &command, 1);
    release(f, &memory);
}

static const struct CMUnitTest tests[] = {
    ON_DEVICE(test_uses),
    UNMAPPED(test_never_mapped),
    ON_DEVICE(test_too_large),
    ON_DEVICE(test_available),
    ON_DEVICE(test_import),
    cmocka_unit_test(test_out_of_host_memory),
    ON_DEVICE(test_submit_without_memory),
};

GROUP(memory);
