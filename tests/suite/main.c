/* suite CONFIGURATION [FILTER]: runs every group on one configuration. SUITE_GROUPS names the groups of
 * the program: the suite's (groups.inc), or another's. */
#include "suite.h"

#include <signal.h>
#include <unistd.h>

#define GROUP(noun) extern const struct suite_group suite_##noun;
#include SUITE_GROUPS
#undef GROUP

static const struct suite_group *const groups[] = {
#define GROUP(noun) &suite_##noun,
#include SUITE_GROUPS
#undef GROUP
};

const struct suite_config *suite;

static void hung(int signal_number)
{
    static const char words[] = "suite: the test above hangs\n";
    (void)signal_number;
    (void)!write(STDERR_FILENO, words, sizeof words - 1);
    _exit(124);
}

static int usage(void)
{
    fprintf(stderr, "usage: suite CONFIGURATION [FILTER]\nconfigurations:\n");
    for (size_t i = 0; i < suite_config_count; i++)
        fprintf(stderr, "  %s\n", suite_configs[i].name);
    return 2;
}

static void set_environment(void)
{
    unsetenv("FERRY_DEVICE");
    unsetenv("FERRY_PATH");
    setenv("FERRY_THRESHOLDS", "default", 1); /* the same paths on every run */
    if (suite->strict_library != NULL) {
        setenv("FERRY_VULKAN_LIBRARY", suite->strict_library, 1);
        setenv("STRICTVK", suite->strict, 1);
    }
    if (suite->engine != NULL)
        setenv("FERRY_VULKAN_ENGINE", suite->engine, 1);
    if (suite->knobs_variable == NULL)
        return;
    if (suite->knobs != NULL)
        setenv(suite->knobs_variable, suite->knobs, 1);
    else
        unsetenv(suite->knobs_variable);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < suite_config_count; i++)
        if (strcmp(suite_configs[i].name, argv[1]) == 0)
            suite = &suite_configs[i];
    if (suite == NULL || argc > 3)
        return usage();
    if (argc == 3)
        cmocka_set_test_filter(argv[2]);
    set_environment();
    signal(SIGALRM, hung);
    setvbuf(stdout, NULL, _IONBF, 0);
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);

    printf("suite: configuration %s\n", suite->name);
    int failed = 0;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        failed += _cmocka_run_group_tests(groups[i]->name, groups[i]->tests, groups[i]->count, NULL,
                                          NULL);
    printf("suite: configuration %s: %u tests ran, %u skipped, %d failed\n", suite->name,
           suite_ran - suite_skipped, suite_skipped, failed);
    unsigned done = argc < 3 ? suite_ran - suite_skipped : suite_ran;
    return failed != 0 || done == 0; /* what ran nothing has shown nothing */
}
