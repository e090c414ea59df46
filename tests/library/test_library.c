/* Opening a library: one that is not there, and one that there is no memory for, are told apart. */
#include "starve/starve.h"

#include "base/library.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A library of the system's that this program does not need. */
static const char there[] = "libresolv.so.2";

static void test_not_there(void **state)
{
    (void)state;
    char why[160] = "";
    void *library;
    assert_int_equal(ferry__library_open("libferry-nobody.so.7", &library, why, sizeof why),
                     FERRY_ERROR_NO_DEVICE);
    assert_non_null(strstr(why, "libferry-nobody.so.7"));
}

/* Every malloc of the system's loader fails in turn. */
static void test_each_allocation_fails(void **state)
{
    (void)state;
    char why[160];
    void *library;
    uint64_t n = 1;
    if (!starve_is_whole)
        skip(); /* the loader's own memory is not ours to refuse */
    for (bool failed = true; failed; n++) {
        why[0] = 0;
        starve_at(n, false);
        const enum ferry_status status = ferry__library_open(there, &library, why, sizeof why);
        failed = starve_end();
        if (status && status != FERRY_ERROR_OUT_OF_HOST_MEMORY)
            fail_msg("allocation %d: %s: %s", (int)n, ferry_status_name(status), why);
        assert_true(status == FERRY_OK || why[0]);
        assert_true(failed || status == FERRY_OK);
        assert_true(n < 1000);
    }
}

/* In a process that may not have a page more. */
static void test_no_room(void **state)
{
    (void)state;
    int status = 0;
    if (!starve_is_whole)
        skip(); /* a sanitizer's own memory knows no limit */
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = {1 << 20, 1 << 20};
        char why[160] = "";
        void *library;
        if (setrlimit(RLIMIT_AS, &none))
            _exit(200);
        const enum ferry_status result = ferry__library_open(there, &library, why, sizeof why);
        fprintf(stderr, "%s\n", why);
        _exit((int)result);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), FERRY_ERROR_OUT_OF_HOST_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_no_room), /* before the library is open */
        cmocka_unit_test(test_each_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
