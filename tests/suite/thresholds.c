/* Thresholds: given, from the environment, measured; and that they decide the path. */
#include "suite.h"

#include <time.h>

enum { KIB = 1024, WORDS = sizeof(struct ferry_thresholds) / sizeof(uint64_t) };

static struct ferry_device_params auto_params(void)
{
    struct ferry_device_params params = suite->params;
    params.path = FERRY_PATH_AUTO;
    params.thresholds = (struct ferry_thresholds){0};
    return params;
}

static struct ferry_device_info info_of(ferry_device *device)
{
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    return info;
}

/* The path that an upload of size bytes takes on a fresh device. */
static enum ferry_path path_taken(const struct ferry_device_params *params, size_t size,
                                  bool *out_refused)
{
    enum ferry_path path = FERRY_PATH_AUTO;
    ferry_device *device = open_with(NULL, params);
    ferry_buffer *buffer = make_buffer(device, size, FERRY_STORAGE_PRIVATE);
    void *bytes = scribbled(size, 1);
    OK(ferry_copy_from_host(buffer, bytes, size, 0));
    const struct ferry_stats stats = read_stats(device);
    for (int i = 0; i < FERRY_PATH_COUNT; i++)
        if (stats.operations[FERRY_OPERATION_UPLOAD][i].operations == 1)
            path = (enum ferry_path)i;
    *out_refused = stats.import_failures > 0;
    free(bytes);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    return path;
}

static void test_direct_write(void **state)
{
    (void)state;
    bool refused;
    struct ferry_device_params params = auto_params();
    params.thresholds.direct_write_max = UINT64_MAX;
    suite_skip_unless(path_taken(&params, 65 * KIB, &refused) == FERRY_PATH_DIRECT,
                      "the CPU does not reach private buffers");
    params.thresholds.direct_write_max = 64 * KIB;
    assert_int_equal(path_taken(&params, 64 * KIB, &refused), FERRY_PATH_DIRECT);
    assert_int_not_equal(path_taken(&params, 65 * KIB, &refused), FERRY_PATH_DIRECT);
    params.thresholds.direct_write_max = 1;
    assert_int_not_equal(path_taken(&params, KIB, &refused), FERRY_PATH_DIRECT);
    params.path = FERRY_PATH_DIRECT; /* forced all the same */
    assert_int_equal(path_taken(&params, KIB, &refused), FERRY_PATH_DIRECT);
    assert_int_equal(path_taken(&params, 65 * KIB, &refused), FERRY_PATH_DIRECT);
}

static void test_import_from(void **state)
{
    struct fixture *fixture = *state;
    bool refused;
    struct ferry_device_params params = auto_params();
    params.map_private = FERRY_MAP_NEVER;
    suite_skip_unless(fixture->info.import_granularity != 0, "nothing is imported");
    params.thresholds.import_from = UINT64_MAX;
    assert_int_not_equal(path_taken(&params, 80 * KIB, &refused), FERRY_PATH_IMPORTED);
    params.thresholds.import_from = 80 * KIB;
    assert_int_not_equal(path_taken(&params, 79 * KIB, &refused), FERRY_PATH_IMPORTED);
    const enum ferry_path path = path_taken(&params, 80 * KIB, &refused);
    assert_int_equal(path == FERRY_PATH_IMPORTED, !refused);
}

static void test_of_environment(void **state)
{
    (void)state;
    /* A value, and what is told of it. */
    static const char *const wrong[][2] = {
        {"fast", "\"fast\" is not default, measure or NAME=BYTES"},
        {"default,import_from", "\"import_from\" is not default"},
        {"import_from=", "import_from takes bytes, such as 65536, 64K, 1M or max, not \"\""},
        {"import_from=1X", "not \"1X\""},
        {"import_from=-1", "not \"-1\""},
        {"import_from=99999999999G", "not \"99999999999G\""},
        {"size=1", "no threshold is called \"size\"; there are direct_write_max, "},
    };
    struct ferry_device_params params = auto_params();
    params.thresholds.direct_copy_max = 12345;
    setenv("FERRY_THRESHOLDS",
           "default,import_from=3M,direct_copy_max=1,direct_write_max=max,"
           "direct_registered_max=70000",
           1);
    ferry_device *device = open_with(NULL, &params);
    const struct ferry_device_info info = info_of(device);
    ferry_device_close(device);
    assert_int_equal(info.thresholds.import_from, 3 * KIB * KIB);
    assert_int_equal(info.thresholds.direct_copy_max, 12345); /* a parameter comes first */
    assert_true(info.thresholds.direct_write_max == UINT64_MAX);
    assert_int_equal(info.thresholds.direct_registered_max, 70000);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        setenv("FERRY_THRESHOLDS", wrong[i][0], 1);
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&params, &device));
        expect_words("FERRY_THRESHOLDS");
        expect_words(wrong[i][1]);
    }
    setenv("FERRY_THRESHOLDS", "default", 1);
}

static void expect_unmeasured(const struct ferry_device_info *got,
                              const struct ferry_device_info *usual)
{
    const uint64_t *value = (const uint64_t *)&got->thresholds;
    const uint64_t *other = (const uint64_t *)&usual->thresholds;
    for (size_t i = 0; i < WORDS; i++) {
        if ((got->measured >> i & 1) == 0)
            assert_true(value[i] == other[i]);
        else if (&value[i] == &got->thresholds.direct_read_max) /* 0: none is read so */
            assert_true(value[i] == 0 || (value[i] >= 256 && value[i] <= 32 * KIB));
        else
            assert_true(value[i] == UINT64_MAX ||
                        (value[i] >= 64 * KIB && value[i] <= 4 * KIB * KIB));
    }
    assert_true(got->measured >> WORDS == 0);
}

/* Measuring leaves nothing behind but answers within bounds, and none where one was given. */
static void test_measured(void **state)
{
    (void)state;
    struct ferry_device_params params = auto_params();
    ferry_device *device = open_with(NULL, &params);
    const struct ferry_device_info usual = info_of(device);
    ferry_device_close(device);
    assert_int_equal(usual.measured, 0);
    assert_int_equal(usual.measuring_ns, 0);

    setenv("FERRY_THRESHOLDS", "measure,import_from=5M", 1);
    device = open_with(NULL, &params);
    setenv("FERRY_THRESHOLDS", "default", 1);
    struct ferry_device_info info = info_of(device);
    assert_true(info.measuring_ns > 0);
    assert_int_equal(info.thresholds.import_from, 5 * KIB * KIB);
    info.thresholds.import_from = usual.thresholds.import_from;
    expect_unmeasured(&info, &usual);
    /* What was not looked at is not known to be direct's: a device reads large ranges faster. */
    if (usual.thresholds.direct_registered_max < 4 * KIB * KIB)
        assert_true(info.thresholds.direct_registered_max <= 4 * KIB * KIB);
    const struct ferry_stats stats = read_stats(device);
    assert_int_equal(stats.submissions + count_operations(&stats, FERRY_OPERATION_UPLOAD), 0);
    assert_int_equal(stats.memory_in_use_bytes + stats.memory_pooled_bytes, 0);
    struct mirror mirror = make_mirror(device, 70001, FERRY_STORAGE_PRIVATE, 3);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
    ferry_device_close(device);
}

static void test_no_measuring(void **state)
{
    (void)state;
    struct ferry_device_params params = auto_params();
    params.no_measuring = true;
    setenv("FERRY_THRESHOLDS", "measure", 1);
    ferry_device *device = open_with(NULL, &params);
    setenv("FERRY_THRESHOLDS", "default", 1);
    assert_int_equal(info_of(device).measuring_ns, 0);
    ferry_device_close(device);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Where a transfer takes longer than there is time to measure, it is not begun, and the defaults
 * stay. */
static void test_too_slow_to_measure(void **state)
{
    (void)state;
    struct ferry_device_params params = auto_params();
    params.map_private = FERRY_MAP_NEVER;
    ferry_device *device = open_with(NULL, &params);
    const struct ferry_device_info usual = info_of(device);
    ferry_device_close(device);
    setenv("FERRY_THRESHOLDS", "measure", 1);
    device = open_with("delay_us=20000", &params);
    setenv("FERRY_THRESHOLDS", "default", 1);
    const struct ferry_device_info info = info_of(device);
    assert_int_equal(info.measured, 0);
    assert_memory_equal(&info.thresholds, &usual.thresholds, sizeof info.thresholds);
    /* Each threshold stops after its first, least transfer: with staging of 4 KiB one of 2 MiB takes
     * as long as 512 of 4 KiB. */
    static unsigned char bytes[4 * KIB];
    ferry_buffer *buffer = make_buffer(device, sizeof bytes, FERRY_STORAGE_PRIVATE);
    const uint64_t start = now_ns();
    for (int i = 0; i < 8; i++)
        OK(ferry_copy_from_host(buffer, bytes, sizeof bytes, 0));
    assert_true(info.measuring_ns < 40 * (now_ns() - start));
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_direct_write),   SUITE_TEST(test_import_from),
    SUITE_TEST(test_of_environment), SUITE_TEST(test_measured),
    SUITE_TEST(test_no_measuring),   SUITE_TEST(test_too_slow_to_measure),
};

SUITE_GROUP(thresholds);
