/* When work should end, and how a wait sleeps by that: pure functions, asked about every moment. */
#include "base/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A value that is asked for once. */
#define EXPECT_WITHIN(value, least, most)                                 \
    do {                                                                  \
        const uint64_t got = (value);                                     \
        assert_true(got >= (uint64_t)(least) && got <= (uint64_t)(most)); \
    } while (0)

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)

static void test_rate(void **state)
{
    (void)state;
    struct ferry__pace pace = {.sampled = 0};
    assert_int_equal(ferry__pace_expect(&pace, 0, 64 * MIB, 100, true), 0);
    ferry__pace_learn(&pace, 0, 1000, 1); /* too little to tell */
    ferry__pace_learn(&pace, 0, 64 * MIB, 0);
    assert_int_equal(ferry__pace_expect(&pace, 0, 64 * MIB, 100, true), 0);
    ferry__pace_learn(&pace, 0, 64 * MIB, 4 * MS);
    const uint64_t end = ferry__pace_expect(&pace, 0, 64 * MIB, 100, true);
    assert_true(end >= 100 + 4 * MS && end <= 100 + 4 * MS + 10 * US);
    /* Another kind has a rate of its own. */
    assert_int_equal(ferry__pace_expect(&pace, 1, 64 * MIB, 100, true), 0);
    /* Slower ones are forgotten slowly, faster ones count at once. */
    ferry__pace_learn(&pace, 0, 64 * MIB, 400 * MS);
    EXPECT_WITHIN(ferry__pace_expect(&pace, 0, 64 * MIB, 0, true), 4 * MS, 6 * MS);
    ferry__pace_learn(&pace, 0, 64 * MIB, 2 * MS);
    EXPECT_WITHIN(ferry__pace_expect(&pace, 0, 64 * MIB, 0, true), 2 * MS, 3 * MS);
}

/* Small work that seems faster says nothing of larger work, once that was timed. */
static void test_sizes(void **state)
{
    (void)state;
    struct ferry__pace pace = {.sampled = 0};
    ferry__pace_learn(&pace, 0, 1 * MIB, 10 * US);
    EXPECT_WITHIN(ferry__pace_expect(&pace, 0, 256 * MIB, 0, true), 2560 * US, 2570 * US);
    ferry__pace_learn(&pace, 0, 256 * MIB, 5 * MS);
    for (unsigned i = 0; i < 100; i++)
        ferry__pace_learn(&pace, 0, 1 * MIB, 10 * US);
    EXPECT_WITHIN(ferry__pace_expect(&pace, 0, 256 * MIB, 0, true), 5 * MS, 5 * MS + 10 * US);
    EXPECT_WITHIN(ferry__pace_expect(&pace, 0, 511 * MIB, 0, true), 9 * MS, 11 * MS);
    EXPECT_WITHIN(ferry__pace_expect(&pace, 0, 1 * MIB, 0, true), 10 * US, 20 * US);
    /* The nearest size tells where none of its own is known; above the largest there is one. */
    EXPECT_WITHIN(ferry__pace_expect(&pace, 0, 2 * MIB, 0, true), 20 * US, 30 * US);
    ferry__pace_learn(&pace, 0, UINT64_C(1) << 40, UINT64_C(1) << 40);
    EXPECT_WITHIN(ferry__pace_expect(&pace, 0, UINT64_C(1) << 50, 0, true), UINT64_C(1) << 50,
                  (UINT64_C(1) << 50) + 10 * US);
}

/* Work behind other work ends after it, and is not known where that is not. */
static void test_behind(void **state)
{
    (void)state;
    struct ferry__pace pace = {.sampled = 0};
    ferry__pace_learn(&pace, 0, 64 * MIB, 4 * MS);
    const uint64_t first = ferry__pace_expect(&pace, 0, 64 * MIB, 0, true);
    const uint64_t second = ferry__pace_expect(&pace, 0, 64 * MIB, 1 * MS, false);
    assert_true(second >= 2 * first - 1 && second <= 2 * first + 1);
    assert_int_equal(ferry__pace_expect(&pace, 1, 64 * MIB, 2 * MS, false), 0);
    assert_int_equal(ferry__pace_expect(&pace, 0, 64 * MIB, 3 * MS, false), 0);
    assert_true(ferry__pace_expect(&pace, 0, 64 * MIB, 90 * MS, true) > 90 * MS);
}

/* Sizes at which sums of picoseconds would wrap. */
static void test_huge(void **state)
{
    (void)state;
    struct ferry__pace pace = {.sampled = 0};
    ferry__pace_learn(&pace, 0, UINT64_C(1) << 50, UINT64_C(1) << 53);
    const uint64_t end = ferry__pace_expect(&pace, 0, UINT64_C(1) << 50, 0, true);
    assert_true(end >= UINT64_C(1) << 52 && end <= UINT64_C(1) << 54);
    /* And rates of terabytes a second. */
    ferry__pace_learn(&pace, 2, UINT64_C(4) << 30, 1 * MS);
    EXPECT_WITHIN(ferry__pace_expect(&pace, 2, UINT64_C(8) << 30, 0, true), 2 * MS, 3 * MS);
}

static void test_samples(void **state)
{
    (void)state;
    struct ferry__pace pace = {.sampled = 0};
    unsigned small = 0, large = 0, quick = 0;
    for (unsigned i = 0; i < 160; i++)
        small += ferry__pace_samples(&pace, 0, 256);
    for (unsigned i = 0; i < 160; i++)
        large += ferry__pace_samples(&pace, 0, 2 * MIB); /* no rate is known */
    ferry__pace_learn(&pace, 0, 64 * MIB, 4 * MS);
    for (unsigned i = 0; i < 160; i++)
        quick += ferry__pace_samples(&pace, 0, 2 * MIB);
    assert_int_equal(small, 10);
    assert_int_equal(large, 160);
    assert_int_equal(quick, 10);
    assert_true(ferry__pace_samples(&pace, 0, 64 * MIB));
}

/* A wait, step by step, of work that ends at `end`: how long it polled, and how late it was. */
struct waited {
    uint64_t polled, late, naps;
};

static struct waited wait_for(uint64_t expected, uint64_t end, uint64_t deadline)
{
    const struct ferry__patience patience = {0, deadline, expected};
    struct waited waited = {0, 0, 0};
    uint64_t now = 0, until;
    while (now < end && now < deadline) {
        const enum ferry__rest rest = ferry__rest(&patience, now, &until);
        assert_true(until <= deadline);
        if (rest == FERRY__REST_POLL) {
            now += US;
            waited.polled += US;
        } else {
            assert_true(until > now);
            now = until;
            waited.naps++;
        }
    }
    waited.late = now > end ? now - end : 0;
    return waited;
}

static void test_waits(void **state)
{
    (void)state;
    for (uint64_t end = 10 * US; end < 200 * MS; end += 1 + end / 7) {
        /* As expected: not late, and not awake for long. */
        const struct waited right = wait_for(end, end, UINT64_MAX);
        assert_true(right.late <= US);
        assert_true(right.polled <= 310 * US);
        /* Expected too soon, at half the time, or not at all: late by little, mostly asleep. */
        const struct waited early = wait_for(end / 2, end, UINT64_MAX);
        assert_true(early.late <= 51 * US + end / 64);
        assert_true(early.polled <= 510 * US + end / 8);
        const struct waited unknown = wait_for(0, end, UINT64_MAX);
        assert_true(unknown.late <= 51 * US + end / 64);
        assert_true(unknown.polled <= 210 * US + end / 8);
        /* A deadline is kept, whatever is expected. */
        assert_int_equal(wait_for(2 * end, 4 * end, end).late, 0);
    }
    /* 5 ms: under 0.5 ms of a CPU. */
    assert_true(wait_for(5 * MS, 5 * MS, UINT64_MAX).polled < MS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate), cmocka_unit_test(test_sizes),   cmocka_unit_test(test_behind),
        cmocka_unit_test(test_huge), cmocka_unit_test(test_samples), cmocka_unit_test(test_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
