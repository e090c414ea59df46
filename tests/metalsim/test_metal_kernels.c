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
    sim_bounds = (struct sim_bounds){.read = src + args->src - args->src % 4,
                                     .read_end = src + args->src + args->size,
                                     .write = dst + args->dst,
                                     .write_end = dst + args->dst + args->size};
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
    sim_bounds = (struct sim_bounds){.write = dst + to, .write_end = dst + to + size};
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

/* --- by a list -------------------------------------------------------------------------------- */

enum { PIECES = 3, LIST_ROOM = 4096 };

static _Alignas(16) uchar list_src[LIST_ROOM], list_dst[LIST_ROOM];
static uchar list_want[LIST_ROOM];

/* Bytes between the pieces may be neither read nor written. */
static void check_list(const struct ferry_piece *list, uint count, uint teams)
{
    struct sim_span reads[PIECES], writes[PIECES];
    const struct ferry_list_args args = {16, 32, count, teams};
    memset(list_dst, 0xEE, LIST_ROOM);
    memset(list_want, 0xEE, LIST_ROOM);
    for (uint i = 0; i < count; i++) {
        const uchar *from = list_src + args.src + list[i].src;
        uchar *to = list_dst + args.dst + list[i].dst;
        reads[i] = (struct sim_span){from - (uintptr_t)from % 4, from + list[i].size};
        writes[i] = (struct sim_span){to, to + list[i].size};
        memcpy(list_want + (to - list_dst), from, list[i].size);
    }
    sim_bounds = (struct sim_bounds){.reads = reads,
                                     .writes = writes,
                                     .read_count = count,
                                     .write_count = count,
                                     .list = {(const uchar *)list, (const uchar *)(list + count)}};
    for (uint i = teams * 32 + 40; i > 0; i--) /* more threads than there are teams, too */
        ferry_list(list_dst, list_src, list, &args, i - 1);
    if (sim_bounds.broken || memcmp(list_dst, list_want, LIST_ROOM))
        fail_msg("%u pieces by %u teams, the last %u bytes from %lu to %lu", count, teams,
                 list[count - 1].size, list[count - 1].src, list[count - 1].dst);
}

static void test_list(void **unused)
{
    (void)unused;
    static const uint longer[] = {511, 512, 513, 1024, 1037};
    for (int i = 0; i < LIST_ROOM; i++)
        list_src[i] = (uchar)(i * 37 + i / 256 + 11);
    for (ulong to = 0; to < PHASES; to++)
        for (ulong from = 0; from < PHASES; from++)
            for (uint size = 1; size <= LENGTH_MAX; size++) {
                const uint last = size % 16 ? size : longer[size / 16 - 1];
                const struct ferry_piece list[PIECES] = {
                    {to, from, size, 0},
                    {to + 120, from + 144, LENGTH_MAX - size + 1, 0},
                    {to + 300, from + 400, last, 0}};
                check_list(list, 1 + size % PIECES, 1 + (size + (uint)to) % 4);
            }
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
        cmocka_unit_test(test_copy),   cmocka_unit_test(test_copy_of_nothing),
        cmocka_unit_test(test_fill),   cmocka_unit_test(test_list),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
