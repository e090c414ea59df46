/* Fills: every pattern length, odd offsets, patterns cut off at the end. */
#include "suite.h"

static const unsigned char pattern[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static void fill_and_compare(struct mirror *mirror, size_t size, size_t offset, const void *bytes,
                             size_t length)
{
    model_fill(mirror->bytes, size, offset, bytes, length);
    OK(ferry_fill_buffer(mirror->buffer, size, offset, bytes, length));
    expect_mirror(mirror);
}

static void test_every_pattern(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {1, 3, 5, 16, 31, 33, 257, 4097};
    for (size_t s = 0; s < 2; s++) {
        struct mirror mirror = make_mirror(fixture->device, 4200, suite_storages[s], 1);
        for (size_t length = 1; length <= 16; length++) {
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                for (size_t j = 0; j < suite_offset_count; j++)
                    fill_and_compare(&mirror, sizes[i], suite_offsets[j], pattern, length);
        }
        drop_mirror(&mirror);
    }
}

/* A pattern of one byte repeated is what a driver with short patterns can still do itself. */
static void test_repeating_patterns(void **state)
{
    struct fixture *fixture = *state;
    static const unsigned char like[] = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
    static const unsigned char pairs[] = {7, 8, 7, 8, 7, 8, 7, 8, 7, 8, 7, 8, 7, 8, 7, 8};
    struct mirror mirror = make_mirror(fixture->device, 5000, FERRY_STORAGE_PRIVATE, 2);
    for (size_t length = 1; length <= 16; length++) {
        for (size_t j = 0; j < suite_offset_count; j++) {
            fill_and_compare(&mirror, 4097, suite_offsets[j], like, length);
            fill_and_compare(&mirror, 4098, suite_offsets[j], pairs, length);
        }
    }
    drop_mirror(&mirror);
}

static void test_shorter_than_pattern(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 64, FERRY_STORAGE_PRIVATE, 3);
    for (size_t size = 0; size <= 17; size++)
        for (size_t offset = 0; offset < 6; offset++)
            fill_and_compare(&mirror, size, offset, pattern, 16);
    drop_mirror(&mirror);
}

/* The pattern is copied at the call, and may be anywhere. */
static void test_pattern_is_copied(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 70000, FERRY_STORAGE_PRIVATE, 4);
    unsigned char mine[17] = {0, 9, 8, 7};
    ferry_ticket ticket = 0;
    model_fill(mirror.bytes, 69990, 3, mine + 1, 3);
    OK(ferry_fill_buffer_async(mirror.buffer, 69990, 3, mine + 1, 3, NULL, NULL, &ticket));
    memset(mine, 0xEE, sizeof mine);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_long_fill(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 1 << 20, FERRY_STORAGE_PRIVATE, 5);
    for (size_t length = 1; length <= 16; length += 5)
        fill_and_compare(&mirror, (1 << 20) - 9, 7, pattern, length);
    memset(mirror.bytes, 0, mirror.size);
    OK(ferry_zero_buffer(mirror.buffer));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_every_pattern),
    SUITE_TEST(test_repeating_patterns),
    SUITE_TEST(test_shorter_than_pattern),
    SUITE_TEST(test_pattern_is_copied),
    SUITE_TEST(test_long_fill),
};

SUITE_GROUP(fills);
