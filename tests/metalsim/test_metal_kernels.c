/* The kernels, run as C: every phase of source and destination, every length up to 80. */
#include "sim_kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

_Thread_local struct sim_bounds sim_bounds;

#define METAL_KERNELS(...) __VA_ARGS__
#include "drivers/metal/kernels.inc"
#undef kernel
#undef device
#undef constant

enum { PHASES = 16, LENGTH_MAX = 80, ROOM = 160 };

static _Alignas(16) uchar src[ROOM], dst[ROOM];
static uchar want[ROOM];

/* What the driver dispatches: a thread for each block, in groups of 256. */
static uint threads(ulong at, ulong size)
{
    ulong blocks = (at % 16 + size + 15) / 16;
    return (uint)((blocks + 255) / 256 * 256);
}

static void bound_copy(const struct ferry_copy_args *args)
{
    /* A load may begin before the range, in the word that holds its first byte; it never ends
     * behind it: the buffer may end there. */
    sim_bounds = (struct sim_bounds){src + args->src - args->src % 4, src + args->src + args->size,
                                     dst + args->dst, dst + args->dst + args->size, false};
}

static void check_copy(ulong to, ulong from, ulong size)
{
    struct ferry_copy_args args = {to, from, size};
    memset(dst, 0xEE, ROOM);
    memset(want, 0xEE, ROOM);
    memcpy(want + to, src + from, size);
    bound_copy(&args);
    for (uint i = threads(to, size); i > 0; i--)
        ferry_copy(dst, src, &args, i - 1);
    if (sim_bounds.broken || memcmp(dst, want, ROOM))
        fail_msg("copy of %lu from %lu to %lu", size, from, to);
}

static void test_copy(void **unused)
{
    (void)unused;
    for (int i = 0; i < ROOM; i++)
        src[i] = (uchar)(i * 37 + 11);
    for (ulong to = 0; to < PHASES; to++)
        for (ulong from = 0; from < PHASES; from++)
            for (ulong size = 1; size <= LENGTH_MAX; size++) {
                check_copy(to, from, size);
                check_copy(to + 32, from + 48, size);
            }
}

static void test_copy_of_nothing(void **unused)
{
    (void)unused;
    struct ferry_copy_args args = {5, 7, 0};
    memset(dst, 0xEE, ROOM);
    bound_copy(&args);
    for (uint i = 0; i < 256; i++)
        ferry_copy(dst, src, &args, i);
    assert_false(sim_bounds.broken);
    for (int i = 0; i < ROOM; i++)
        assert_int_equal(dst[i], 0xEE);
}

static void check_fill(ulong to, ulong size, uint pattern)
{
    struct ferry_fill_args args = {.dst = to, .size = size, .pattern_size = pattern};
    uchar block[16];
    for (uint i = 0; i < pattern; i++)
        args.pattern[i] = (uchar)(0x31 + 7 * i);
    args.is_block = 16 % pattern == 0;
    for (uint i = 0; i < 16; i++)
        block[i] = args.pattern[(pattern - to % pattern + i) % pattern];
    memcpy(args.block, block, sizeof block);
    memset(dst, 0xEE, ROOM);
    memset(want, 0xEE, ROOM);
    for (ulong i = 0; i < size; i++)
        want[to + i] = args.pattern[i % pattern];
    sim_bounds = (struct sim_bounds){NULL, NULL, dst + to, dst + to + size, false};
    for (uint i = threads(to, size); i > 0; i--)
        ferry_fill(dst, &args, i - 1);
    if (sim_bounds.broken || memcmp(dst, want, ROOM))
        fail_msg("fill of %lu at %lu with %u bytes", size, to, pattern);
}

static void test_fill(void **unused)
{
    (void)unused;
    for (uint pattern = 1; pattern <= 16; pattern++)
        for (ulong to = 0; to < PHASES; to++)
            for (ulong size = 1; size <= LENGTH_MAX; size++)
                check_fill(to + 16 * (size % 3), size, pattern);
}

/* The check of the bounds is itself one that can fail. */
static void test_bounds(void **unused)
{
    (void)unused;
    struct ferry_copy_args args = {0, 0, 32};
    bound_copy(&args);
    sim_bounds.write_end--;
    for (uint i = 0; i < 2; i++)
        ferry_copy(dst, src, &args, i);
    assert_true(sim_bounds.broken);
    bound_copy(&args);
    sim_bounds.read_end--;
    for (uint i = 0; i < 2; i++)
        ferry_copy(dst, src, &args, i);
    assert_true(sim_bounds.broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_of_nothing),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
