/* cmocka's header, without what cmocka 2 (Homebrew's) says is deprecated: -Werror ends there. */
#ifndef FERRY_TESTS_CMOCKA_H
#define FERRY_TESTS_CMOCKA_H

#include_next <cmocka.h>

#pragma GCC poison assert_in_range assert_not_in_range assert_in_set assert_not_in_set
#pragma GCC poison LargestIntegralType cast_to_largest_integral_type
#pragma GCC poison check_expected expect_value expect_not_value expect_in_range expect_in_set
#pragma GCC poison run_tests run_group_tests unit_test group_test_setup

#endif
