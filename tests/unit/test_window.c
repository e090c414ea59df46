/* Streaming loads give what a plain copy gives, at every phase and length, and nothing beside it. */
#include "base/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { AREA = 512 };

static void test_phases(void **state)
{
    (void)state;
    static _Alignas(64) unsigned char src[AREA], dst[AREA], expected[AREA];
    for (size_t i = 0; i < AREA; i++)
        src[i] = (unsigned char)(i * 7 + 1);
    for (size_t from = 0; from < 32; from++)
        for (size_t to = 0; to < 17; to++)
            for (size_t size = 0; size <= 300; size++) {
                memset(dst, 0, AREA);
                memset(expected, 0, AREA);
                memcpy(expected + to, src + from, size);
                ferry__copy_window(dst + to, src + from, size);
                if (memcmp(dst, expected, AREA))
                    fail_msg("%zu bytes from %zu to %zu", size, from, to);
            }
}

/* Fresh values are seen, whatever was read before. */
static void test_fresh(void **state)
{
    (void)state;
    static _Alignas(64) unsigned char src[256], dst[256];
    for (unsigned i = 0; i < 1000; i++) {
        memset(src, (int)(i & 0xFF), sizeof src);
        ferry__copy_window(dst, src, sizeof dst);
        assert_memory_equal(dst, src, sizeof dst);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
