/* Copies inside one buffer behave as memmove, whatever the shift. */
#include "suite.h"

static const size_t shifts[] = {0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 255, 256, 4096, 65536};
enum { SHIFTS = sizeof shifts / sizeof shifts[0] };

static void move(struct mirror *mirror, size_t size, size_t to, size_t from)
{
    memmove(mirror->bytes + to, mirror->bytes + from, size);
    OK(ferry_copy_buffer(mirror->buffer, mirror->buffer, size, to, from));
    expect_mirror(mirror);
}

static void each_shift(void **state, enum ferry_storage storage, size_t base, bool up)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {1, 4, 5, 33, 4097, 65537};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t j = 0; j < SHIFTS; j++) {
            size_t low = base, high = base + shifts[j];
            struct mirror mirror =
                make_mirror(fixture->device, high + sizes[i] + 9, storage, (unsigned)(i + j));
            move(&mirror, sizes[i], up ? high : low, up ? low : high);
            drop_mirror(&mirror);
        }
    }
}

static void test_up(void **state)
{
    each_shift(state, FERRY_STORAGE_PRIVATE, 0, true);
    each_shift(state, FERRY_STORAGE_PRIVATE, 3, true);
}

static void test_down(void **state)
{
    each_shift(state, FERRY_STORAGE_PRIVATE, 0, false);
    each_shift(state, FERRY_STORAGE_PRIVATE, 3, false);
}

static void test_shared(void **state)
{
    each_shift(state, FERRY_STORAGE_SHARED, 1, true);
    each_shift(state, FERRY_STORAGE_SHARED, 1, false);
}

/* A small shift of much: the safe direction must not cost one step for every few bytes. */
static void test_small_shift_of_much(void **state)
{
    struct fixture *fixture = *state;
    size_t size = suite->params.staging_budget != 0 ? 100000 : 1 << 20;
    struct mirror mirror = make_mirror(fixture->device, size + 64, FERRY_STORAGE_PRIVATE, 2);
    move(&mirror, size, 1, 0);
    move(&mirror, size, 0, 3);
    move(&mirror, size, 4, 0);
    drop_mirror(&mirror);
}

/* Overlapping ranges, and ranges that touch, one after another without waiting. */
static void test_chain(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 20000, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 40; i++) {
        size_t size = 4000 + 37 * i, to = 13 * i, from = 8000 - 200 * i;
        memmove(mirror.bytes + to, mirror.bytes + from, size);
        OK(ferry_copy_buffer_async(mirror.buffer, mirror.buffer, size, to, from, NULL, NULL, NULL));
    }
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_in_batch(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 20000, FERRY_STORAGE_PRIVATE, 4);
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    OK(ferry_batch_create(fixture->device, &batch));
    for (unsigned i = 0; i < 40; i++) {
        size_t size = 5000 + 31 * i, to = 7 * i, from = i;
        memmove(mirror.bytes + to, mirror.bytes + from, size);
        OK(ferry_batch_copy_buffer(batch, mirror.buffer, mirror.buffer, size, to, from));
    }
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    ferry_batch_destroy(batch);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_up),     SUITE_TEST(test_down),
    SUITE_TEST(test_shared), SUITE_TEST(test_small_shift_of_much),
    SUITE_TEST(test_chain),  SUITE_TEST(test_in_batch),
};

SUITE_GROUP(overlap);
