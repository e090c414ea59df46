/* Failed bytes against an array that has a status for each byte. */
#include "base/base.h"
#include "engine/failure.h"
#include "engine/reason.h"
#include "random.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { UNIVERSE = 40 };

static void add_failed(struct ferry__failures *failures, uint64_t begin, uint64_t end,
                       enum ferry_status status, const char *why)
{
    struct ferry__reason *reason = ferry__reason_make(why);
    ferry__failed_add(failures, begin, end, status, reason);
    ferry__reason_unref(reason);
}

struct byte {
    enum ferry_status status;
    uint64_t number; /* of the write that failed */
};

static void check(const struct ferry__failures *failures, const struct byte *bytes)
{
    for (uint64_t begin = 0; begin < UNIVERSE; begin++)
        for (uint64_t end = begin + 1; end <= UNIVERSE; end++) {
            const struct ferry__failed *found = ferry__failed_find(failures, begin, end);
            uint64_t at = begin;
            while (at < end && !bytes[at].status)
                at++;
            assert_int_equal(found != NULL, at < end);
            if (!found)
                continue;
            char why[32];
            snprintf(why, sizeof why, "write %llu", (unsigned long long)bytes[at].number);
            assert_int_equal(found->status, bytes[at].status);
            assert_string_equal(ferry__failed_why(found), why);
        }
}

static void follows_the_model(void **state)
{
    (void)state;
    static const enum ferry_status statuses[] = {FERRY_ERROR_EXECUTION_FAILED, FERRY_ERROR_IO,
                                                 FERRY_ERROR_DEVICE_LOST};
    struct ferry__failures failures = {0};
    struct byte bytes[UNIVERSE] = {{0}};
    uint64_t seed = 3;
    for (int step = 0; step < 4000; step++) {
        const uint64_t begin = random_next(&seed) % UNIVERSE;
        const uint64_t end = begin + 1 + random_next(&seed) % (UNIVERSE - begin);
        const uint64_t what = random_next(&seed) % 4;
        if (what == 0) {
            const enum ferry_status status = statuses[random_next(&seed) % 3];
            char why[32];
            snprintf(why, sizeof why, "write %llu", (unsigned long long)failures.count + 1);
            add_failed(&failures, begin, end, status, why);
            for (uint64_t i = begin; i < end; i++)
                bytes[i] = (struct byte){status, failures.count};
        } else {
            /* Now and then a cover that saw only the older failures. */
            const uint64_t up_to =
                what == 1 && failures.count > 2 ? failures.count - 2 : failures.count;
            ferry__failed_cover(&failures, begin, end, up_to);
            for (uint64_t i = begin; i < end; i++)
                if (bytes[i].number <= up_to)
                    bytes[i] = (struct byte){0};
        }
        check(&failures, bytes);
    }
    ferry__failed_finish(&failures);
    assert_false(ferry__failed_any(&failures));
}

static void nothing_is_nothing(void **state)
{
    (void)state;
    struct ferry__failures failures = {0};
    add_failed(&failures, 5, 5, FERRY_ERROR_IO, "no byte");
    assert_false(ferry__failed_any(&failures));
    ferry__failed_cover(&failures, 0, UINT64_MAX, UINT64_MAX);
    assert_null(ferry__failed_find(&failures, 0, UINT64_MAX));
    add_failed(&failures, 0, UINT64_MAX, FERRY_ERROR_IO, "all");
    assert_int_equal(ferry__failed_find(&failures, 7, 8)->status, FERRY_ERROR_IO);
    ferry__failed_finish(&failures);
}

/* Whichever allocation fails, no byte that failed is taken for a good one. */
static void no_memory_forgets_nothing(void **state)
{
    (void)state;
    uint64_t seed = 17;
    for (int round = 0; round < 3000; round++) {
        struct ferry__failures failures = {0};
        bool failed[UNIVERSE] = {false};
        for (int step = 0; step < 14; step++) {
            const uint64_t begin = random_next(&seed) % UNIVERSE;
            const uint64_t end = begin + 1 + random_next(&seed) % 8;
            const bool add = random_next(&seed) % 3 != 0;
            (void)ferry__alloc_fail_at(1 + random_next(&seed) % 3);
            if (add)
                add_failed(&failures, begin, end, FERRY_ERROR_IO, "lost");
            else
                ferry__failed_cover(&failures, begin, end, UINT64_MAX);
            (void)ferry__alloc_fail_at(0);
            for (uint64_t i = begin; i < end && i < UNIVERSE; i++)
                failed[i] = add;
            for (uint64_t i = 0; i < UNIVERSE; i++)
                assert_true(!failed[i] || ferry__failed_find(&failures, i, i + 1));
        }
        (void)ferry__alloc_fail_at(0);
        ferry__failed_cover(&failures, 0, 2 * UNIVERSE, UINT64_MAX);
        assert_false(ferry__failed_any(&failures));
        ferry__failed_finish(&failures);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_model),
        cmocka_unit_test(nothing_is_nothing),
        cmocka_unit_test(no_memory_forgets_nothing),
    };
    return cmocka_run_group_tests_name("failure", tests, NULL, NULL);
}
