/* Our declarations of UCX beside its own. */
#include "ucp_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(ucp_ours_count, ucp_theirs_count);
    for (size_t i = 0; i < ucp_ours_count; i++) {
        assert_string_equal(ucp_ours[i].name, ucp_theirs[i].name);
        if (ucp_ours[i].value != ucp_theirs[i].value)
            fail_msg("%s is %ld here and %ld in UCX", ucp_ours[i].name, ucp_ours[i].value,
                     ucp_theirs[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
