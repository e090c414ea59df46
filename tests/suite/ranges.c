/* Every operation on awkward sizes and offsets: exactly its range changes, and nothing round it. */
#include "suite.h"

enum { GUARD = 37 };

struct range {
    enum ferry_storage storage;
    size_t size, offset;
};

typedef void (*range_body)(ferry_device *device, const struct range *range);

static void each_range(void **state, range_body body)
{
    struct fixture *fixture = *state;
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < suite_size_count; i++) {
            for (size_t j = 0; j < suite_offset_count; j++)
                body(fixture->device,
                     &(struct range){suite_storages[s], suite_sizes[i], suite_offsets[j]});
        }
    }
}

static struct mirror mirror_for(ferry_device *device, const struct range *range, unsigned seed)
{
    return make_mirror(device, range->offset + range->size + GUARD, range->storage, seed);
}

static void upload(ferry_device *device, const struct range *range)
{
    struct mirror mirror = mirror_for(device, range, 1);
    unsigned char *source = scribbled(range->size + 3, 2);
    memcpy(mirror.bytes + range->offset, source + 3, range->size);
    OK(ferry_copy_from_host(mirror.buffer, source + 3, range->size, range->offset));
    free(source);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void download(ferry_device *device, const struct range *range)
{
    struct mirror mirror = mirror_for(device, range, 3);
    size_t size = range->size + 2 * GUARD;
    unsigned char *got = scribbled(size, 4);
    unsigned char *want = scribbled(size, 4);
    memcpy(want + GUARD, mirror.bytes + range->offset, range->size);
    OK(ferry_copy_to_host(mirror.buffer, got + GUARD, range->size, range->offset));
    expect_bytes(got, want, size, "the host memory");
    expect_mirror(&mirror);
    free(got);
    free(want);
    drop_mirror(&mirror);
}

static void fill(ferry_device *device, const struct range *range)
{
    static const unsigned char pattern[] = {0x11, 0x22, 0x33, 0x44, 0x55};
    struct mirror mirror = mirror_for(device, range, 5);
    model_fill(mirror.bytes, range->size, range->offset, pattern, sizeof pattern);
    OK(ferry_fill_buffer(mirror.buffer, range->size, range->offset, pattern, sizeof pattern));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Zeroing is of whole buffers: the neighbours in the same native memory are the guard. */
static void zero(ferry_device *device, const struct range *range)
{
    if (range->size == 0 || range->offset != 0)
        return;
    struct mirror before = make_mirror(device, GUARD, range->storage, 6);
    struct mirror mirror = make_mirror(device, range->size, range->storage, 7);
    struct mirror after = make_mirror(device, GUARD, range->storage, 8);
    memset(mirror.bytes, 0, mirror.size);
    OK(ferry_zero_buffer(mirror.buffer));
    expect_mirror(&before);
    expect_mirror(&mirror);
    expect_mirror(&after);
    drop_mirror(&before);
    drop_mirror(&mirror);
    drop_mirror(&after);
}

static void test_upload(void **state)
{
    each_range(state, upload);
}

static void test_download(void **state)
{
    each_range(state, download);
}

static void test_fill(void **state)
{
    each_range(state, fill);
}

static void test_zero(void **state)
{
    each_range(state, zero);
}

static void copy(ferry_device *device, enum ferry_storage from, enum ferry_storage to, size_t size,
                 size_t src_offset, size_t dst_offset)
{
    struct mirror src = make_mirror(device, src_offset + size + GUARD, from, 9);
    struct mirror dst = make_mirror(device, dst_offset + size + GUARD, to, 10);
    memcpy(dst.bytes + dst_offset, src.bytes + src_offset, size);
    OK(ferry_copy_buffer(dst.buffer, src.buffer, size, dst_offset, src_offset));
    expect_mirror(&dst);
    expect_mirror(&src);
    drop_mirror(&src);
    drop_mirror(&dst);
}

static void copy_every_size(void **state, enum ferry_storage from, enum ferry_storage to)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < suite_size_count; i++) {
        for (size_t j = 0; j < suite_offset_count; j++)
            for (size_t k = 0; k < suite_offset_count; k += 2)
                copy(fixture->device, from, to, suite_sizes[i], suite_offsets[j], suite_offsets[k]);
    }
}

static void test_copy_private_private(void **state)
{
    copy_every_size(state, FERRY_STORAGE_PRIVATE, FERRY_STORAGE_PRIVATE);
}

static void test_copy_private_shared(void **state)
{
    copy_every_size(state, FERRY_STORAGE_PRIVATE, FERRY_STORAGE_SHARED);
}

static void test_copy_shared_private(void **state)
{
    copy_every_size(state, FERRY_STORAGE_SHARED, FERRY_STORAGE_PRIVATE);
}

static void test_copy_shared_shared(void **state)
{
    copy_every_size(state, FERRY_STORAGE_SHARED, FERRY_STORAGE_SHARED);
}

/* The whole of a buffer whose size is no multiple of anything, by each operation. */
static void test_whole_odd_buffer(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 1; i < suite_size_count; i++) {
        size_t size = suite_sizes[i];
        struct mirror a = make_mirror(fixture->device, size, FERRY_STORAGE_PRIVATE, 11);
        struct mirror b = make_mirror(fixture->device, size, FERRY_STORAGE_PRIVATE, 12);
        OK(ferry_copy_buffer(b.buffer, a.buffer, size, 0, 0));
        memcpy(b.bytes, a.bytes, size);
        expect_mirror(&b);
        OK(ferry_fill_buffer(a.buffer, size, 0, "abc", 3));
        model_fill(a.bytes, size, 0, "abc", 3);
        expect_mirror(&a);
        drop_mirror(&a);
        drop_mirror(&b);
    }
}

/* Sizes round the staging ring, the largest copy and the threads of a host copy. */
static void test_large(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {65535, 65536, 1048576 + 1, 3 * 1048576 + 7};
    size_t budget = (size_t)suite->params.staging_budget;
    bool slow = suite_sanitised() || (budget != 0 && budget < 65536);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (slow && sizes[i] > 2 * 1048576)
            continue;
        const struct range range = {FERRY_STORAGE_PRIVATE, sizes[i], 5};
        upload(fixture->device, &range);
        download(fixture->device, &range);
        fill(fixture->device, &range);
        copy(fixture->device, FERRY_STORAGE_PRIVATE, FERRY_STORAGE_PRIVATE, sizes[i], 3, 4);
    }
}

static void test_beyond_staging(void **state)
{
    struct fixture *fixture = *state;
    uint64_t budget = suite->params.staging_budget != 0 ? suite->params.staging_budget : 64u << 20;
    suite_skip_unless(budget <= 65536 || (suite->big && !suite_sanitised()),
                      "needs more memory than this configuration is for");
    static const size_t more[] = {0, 1, 4097};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        const struct range range = {FERRY_STORAGE_PRIVATE, (size_t)budget + more[i], 3};
        upload(fixture->device, &range);
        download(fixture->device, &range);
    }
}

/* Each path that is forced on a device that can is the one that is counted. */
static void test_forced_path(void **state)
{
    struct fixture *fixture = *state;
    enum ferry_path path = suite->params.path;
    suite_skip_unless(path != FERRY_PATH_AUTO, "no path is forced here");
    suite_skip_unless((fixture->info.paths >> path & 1) != 0, "this device has no such path");
    ferry_device_reset_stats(fixture->device);
    upload(fixture->device, &(struct range){FERRY_STORAGE_PRIVATE, 65537, 0});
    struct ferry_stats stats = read_stats(fixture->device);
    uint64_t through = stats.operations[FERRY_OPERATION_UPLOAD][path].operations;
    /* Reading back may need fallbacks too: the CPU may reach memory only to write it. */
    assert_true(through + stats.fallback_path + stats.fallback_import >=
                count_operations(&stats, FERRY_OPERATION_UPLOAD));
    assert_true(through > 0);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_upload),
    SUITE_TEST(test_download),
    SUITE_TEST(test_fill),
    SUITE_TEST(test_zero),
    SUITE_TEST(test_copy_private_private),
    SUITE_TEST(test_copy_private_shared),
    SUITE_TEST(test_copy_shared_private),
    SUITE_TEST(test_copy_shared_shared),
    SUITE_TEST(test_whole_odd_buffer),
    SUITE_TEST(test_large),
    SUITE_TEST(test_beyond_staging),
    SUITE_TEST(test_forced_path),
};

SUITE_GROUP(ranges);
