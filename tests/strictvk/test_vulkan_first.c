/* Threads that are the first in the process to want Vulkan, all at once. */
#include "drivers/vulkan/vk.h"
#include "hang.h"
#include "unit/barrier.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 6, PROCESSES = 12 };

struct first {
    struct barrier *barrier;
    VkInstance instance;
    size_t devices;
    enum ferry_status status;
};

static void *be_first(void *arg)
{
    struct first *first = arg;
    struct vulkan_instance instance = {0};
    char why[FERRY__WHY_MAX];
    barrier_wait(first->barrier);
    first->status = ferry__vulkan_instance(&instance, why);
    first->instance = instance.handle;
    if (!first->status)
        first->status = ferry_device_list(NULL, 0, &first->devices);
    return NULL;
}

/* How many saw something else than the first of them; the process has not touched Vulkan. */
static int race(void)
{
    struct first firsts[THREADS] = {{0}};
    struct barrier barrier;
    pthread_t threads[THREADS];
    int different = 0;
    barrier_init(&barrier, THREADS);
    for (int i = 0; i < THREADS; i++) {
        firsts[i].barrier = &barrier;
        if (pthread_create(&threads[i], NULL, be_first, &firsts[i]))
            return 100;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        different += firsts[i].status || firsts[i].instance != firsts[0].instance ||
                     firsts[i].devices != firsts[0].devices || !firsts[i].devices;
    }
    return different;
}

static void test_one_instance(void **state)
{
    (void)state;
    for (int i = 0; i < PROCESSES; i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(HANG_SECONDS);
            _exit(race());
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_instance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
