/* Host copies and fills: every awkward size and address, several callers, and after a fork. */
#include "base/base.h"
#include "hang.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { GUARD = 64, MIB = 1 << 20 };

static const size_t sizes[] = {0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};
static const size_t offsets[] = {0, 1, 3, 4, 7, 17, 31};
/* Round the size at which helpers join, and not a multiple of their pieces. */
static const size_t large_sizes[] = {4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 5 * MIB + 4097};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static unsigned char byte_at(size_t i, unsigned seed)
{
    return (unsigned char)((i * 2654435761u >> 7) + seed);
}

static void scribble(unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(i, seed);
}

static bool is_all(const unsigned char *bytes, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

/* A range at an offset from a page, with guards on both sides. */
struct guarded {
    unsigned char *memory, *bytes;
    size_t size;
};

static struct guarded guarded_new(size_t size, size_t offset)
{
    size_t whole = (size + offset + 2 * GUARD + 4095) / 4096 * 4096;
    struct guarded range = {.memory = aligned_alloc(4096, whole), .size = size};
    if (range.memory == NULL)
        abort();
    memset(range.memory, 0xA5, whole);
    range.bytes = range.memory + GUARD + offset;
    return range;
}

static bool guards_hold(const struct guarded *range)
{
    return is_all(range->bytes - GUARD, GUARD, 0xA5) &&
           is_all(range->bytes + range->size, GUARD, 0xA5);
}

static bool copy_is_right(size_t size, size_t dst_offset, size_t src_offset, unsigned seed)
{
    struct guarded src = guarded_new(size, src_offset);
    struct guarded dst = guarded_new(size, dst_offset);
    scribble(src.bytes, size, seed);
    ferry__copy_host(dst.bytes, src.bytes, size);
    bool right = memcmp(dst.bytes, src.bytes, size) == 0 && guards_hold(&dst);
    free(src.memory);
    free(dst.memory);
    return right;
}

static void copies_small(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT(sizes); s++) {
        for (size_t d = 0; d < COUNT(offsets); d++)
            for (size_t o = 0; o < COUNT(offsets); o++)
                assert_true(copy_is_right(sizes[s], offsets[d], offsets[o], (unsigned)(s + d + o)));
    }
}

static void copies_large(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT(large_sizes); s++) {
        for (size_t o = 0; o < COUNT(offsets); o++)
            assert_true(copy_is_right(large_sizes[s], offsets[o], offsets[COUNT(offsets) - 1 - o],
                                      (unsigned)(s + o)));
    }
}

/* Chunks: helpers join sooner, and a transfer's size decides whether stores go round the cache. */
static void chunks(void **state)
{
    (void)state;
    static const size_t chunk_sizes[] = {0,           1,       65537,      MIB / 4 - 1, MIB / 4,
                                         MIB / 2 - 1, MIB / 2, MIB + 4097, 2 * MIB};
    static const uint64_t wholes[] = {0, (uint64_t)1 << 30}, nexts[] = {0, 8 << 20, UINT64_MAX};
    for (size_t s = 0; s < COUNT(chunk_sizes); s++) {
        for (size_t i = 0; i < 2 * COUNT(offsets) * COUNT(wholes); i++) {
            struct guarded src = guarded_new(chunk_sizes[s], 3);
            struct guarded dst = guarded_new(chunk_sizes[s], offsets[i % COUNT(offsets)]);
            scribble(src.bytes, src.size, (unsigned)i);
            ferry__copy_chunk(dst.bytes, src.bytes, src.size, wholes[i % COUNT(wholes)],
                              nexts[i / 2 % COUNT(nexts)], i % 3);
            assert_true(memcmp(dst.bytes, src.bytes, src.size) == 0 && guards_hold(&dst));
            free(src.memory);
            free(dst.memory);
        }
    }
}

/* From 32 MiB on stores go round the cache: lines that begin anywhere, and ends of lines. */
static void copies_very_large(void **state)
{
    (void)state;
    for (size_t o = 0; o < COUNT(offsets); o++)
        assert_true(copy_is_right((size_t)32 * MIB + 12345 * o, offsets[o], 17, 1));
    assert_true(copy_is_right((size_t)67 * MIB + 63, 63, 1, 1));
}

static bool move_is_right(size_t size, size_t dst_offset, size_t src_offset)
{
    size_t whole = size + dst_offset + src_offset;
    struct guarded range = guarded_new(whole, 0);
    unsigned char *expected = malloc(whole + 1);
    if (expected == NULL)
        abort();
    scribble(range.bytes, whole, 3);
    memcpy(expected, range.bytes, whole);
    memmove(expected + dst_offset, expected + src_offset, size);
    ferry__move_host(range.bytes + dst_offset, range.bytes + src_offset, size);
    bool right = memcmp(range.bytes, expected, whole) == 0 && guards_hold(&range);
    free(expected);
    free(range.memory);
    return right;
}

static void moves(void **state)
{
    (void)state;
    const size_t large = 5 * MIB + 4097;
    for (size_t o = 0; o < COUNT(offsets); o++) {
        for (size_t s = 0; s < COUNT(sizes); s++) {
            assert_true(move_is_right(sizes[s], offsets[o], 5));
            assert_true(move_is_right(sizes[s], 5, offsets[o]));
        }
        assert_true(move_is_right(large, offsets[o], 0));
        assert_true(move_is_right(large, 0, offsets[o]));
    }
    assert_true(move_is_right(large, large, 0)); /* neighbours, not overlapping */
    assert_true(move_is_right(large, 0, large));
    assert_true(move_is_right(large, large - 1, 0)); /* by one byte */
    assert_true(move_is_right(large, 0, large - 1));
}

static bool fill_is_right(size_t size, size_t offset, const unsigned char *pattern,
                          size_t pattern_size, size_t phase)
{
    struct guarded range = guarded_new(size, offset);
    ferry__fill_host(range.bytes, size, pattern, pattern_size, phase);
    bool right = guards_hold(&range);
    for (size_t i = 0; i < size && i < pattern_size; i++)
        right = right && range.bytes[i] == pattern[(phase + i) % pattern_size];
    if (size > pattern_size)
        right = right && memcmp(range.bytes, range.bytes + pattern_size, size - pattern_size) == 0;
    free(range.memory);
    return right;
}

static const unsigned char mixed[16] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 255, 254, 253, 252, 251, 250};
static const unsigned char equal[16] = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};

static void fills_small(void **state)
{
    (void)state;
    for (size_t pattern_size = 1; pattern_size <= 16; pattern_size++) {
        for (size_t s = 0; s < COUNT(sizes); s++) {
            for (size_t o = 0; o < COUNT(offsets); o++) {
                size_t phase = (o * 5) % 33; /* also past the pattern's end */
                assert_true(fill_is_right(sizes[s], offsets[o], mixed, pattern_size, phase));
                assert_true(fill_is_right(sizes[s], offsets[o], equal, pattern_size, phase));
            }
        }
        for (size_t phase = 0; phase < pattern_size; phase++)
            assert_true(fill_is_right(100, 1, mixed, pattern_size, phase));
    }
}

/* A pattern whose bytes are equal but for its last or first must not be taken for a memset. */
static void fills_nearly_equal(void **state)
{
    (void)state;
    for (size_t pattern_size = 2; pattern_size <= 16; pattern_size++) {
        for (size_t at = 0; at < pattern_size; at++) {
            unsigned char pattern[16] = {0};
            pattern[at] = 1;
            assert_true(fill_is_right(333, 3, pattern, pattern_size, 1));
        }
    }
}

static void fills_large(void **state)
{
    (void)state;
    for (size_t pattern_size = 1; pattern_size <= 16; pattern_size += 2) {
        size_t size = large_sizes[pattern_size / 2 % COUNT(large_sizes)] + 40000;
        assert_true(fill_is_right(size, pattern_size, mixed, pattern_size, 2));
        assert_true(fill_is_right(size, pattern_size, equal, pattern_size, 2));
    }
    assert_true(fill_is_right((size_t)3 * MIB + 5, 1, mixed, 11, 30));
    assert_true(fill_is_right((size_t)40 * MIB + 33, 7, mixed, 13, 5)); /* round the cache */
}

enum { CALLERS = 12, ROUNDS = 4 }; /* more than the pool has jobs */

static void *copy_and_fill(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    uintptr_t wrong = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        wrong += !copy_is_right(large_sizes[(seed + i) % COUNT(large_sizes)], seed % 31, i, seed);
        wrong += !fill_is_right((size_t)4 * MIB + 99999, i, mixed, 1 + seed % 16, i);
    }
    return (void *)wrong;
}

static void several_callers(void **state)
{
    (void)state;
    pthread_t threads[CALLERS];
    for (uintptr_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, copy_and_fill, (void *)i), 0);
    for (unsigned i = 0; i < CALLERS; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
}

/* The child has none of the helpers: it must neither wait for them nor lose a part. */
static void after_fork(void **state)
{
    (void)state;
    assert_true(copy_is_right((size_t)5 * MIB, 0, 0, 1)); /* starts the helpers */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(HANG_SECONDS);
        bool right = copy_is_right((size_t)5 * MIB + 1, 1, 3, 2) &&
                     fill_is_right((size_t)5 * MIB + 1, 1, mixed, 5, 3);
        _exit(right ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_small),
        cmocka_unit_test(copies_large),
        cmocka_unit_test(chunks),
        cmocka_unit_test(copies_very_large),
        cmocka_unit_test(moves),
        cmocka_unit_test(fills_small),
        cmocka_unit_test(fills_nearly_equal),
        cmocka_unit_test(fills_large),
        cmocka_unit_test(several_callers),
        cmocka_unit_test(after_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
