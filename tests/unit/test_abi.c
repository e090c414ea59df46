/* The layout of the public structs is the one that the SONAME stands for. */
#include <ferry/dlpack.h>
#include <ferry/ferry.h>
#include <ferry/model.h>
#include <ferry/stream.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
// clang-format off
#include <cmocka.h>
// clang-format on

struct entry {
    const char *name;
    size_t size, expected;
};

static const struct entry sizes[] = {
#define ABI_SIZE(type, bytes) {#type, sizeof(type), bytes},
#include "unit/abi.inc"
#undef ABI_SIZE
};

static void test_sizes(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].size == sizes[i].expected)
            continue;
        printf("ABI_SIZE(%s, %zu): the list says %zu\n", sizes[i].name, sizes[i].size,
               sizes[i].expected);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

/* Callers pass sizeof their struct: what an older header knows stays where it was. */
static void test_stats_begin_with_operations(void **state)
{
    (void)state;
    assert_int_equal(offsetof(struct ferry_stats, operations), 0);
    assert_int_equal(offsetof(struct ferry_stats, submissions),
                     sizeof(struct ferry_operation_stats[8][16]));
}

/* Values that programs were compiled with. */
static void test_values(void **state)
{
    (void)state;
    assert_int_equal(FERRY_ERROR_INVALID_ARGUMENT, 2);
    assert_int_equal(FERRY_ERROR_INTERNAL, 14);
    assert_int_equal(FERRY_PATH_NONE, 7);
    assert_int_equal(FERRY_PATH_BLOCKS, 8);
    assert_int_equal(FERRY_OPERATION_COUNT, 4);
    assert_int_equal(FERRY_BUFFER_ALIGNMENT, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_stats_begin_with_operations),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests_name("abi", tests, NULL, NULL);
}
