/*
 * How much of its stack a thread takes for what it may ask of Ferry while it waits: threads of
 * others can be small.
 */
#include "base/base.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STACK = 256 << 10, PAINT = 0x5B, MOST = 4 << 10 };

static ferry_device *device;
static struct ferry_stats stats;

static void nothing(void)
{
}

static void ask_statistics(void)
{
    ferry_device_get_stats(device, &stats, sizeof stats);
}

static void ask_few_statistics(void)
{
    ferry_device_get_stats(device, &stats, sizeof stats / 2);
}

static void ask_memory(void)
{
    struct ferry_memory_info info;
    assert_int_equal(ferry_device_get_memory(device, &info), FERRY_OK);
}

static void ask_explanation(void)
{
    static struct ferry_explanation explanation;
    assert_int_equal(
        ferry_explain(device, NULL, FERRY_OPERATION_UPLOAD, NULL, 1 << 20, 1, &explanation),
        FERRY_OK);
}

static void (*asked)(void);

static void *run(void *arg)
{
    asked();
    return arg;
}

static size_t stack_of(void (*what)(void))
{
    unsigned char *stack = aligned_alloc(4096, STACK);
    pthread_attr_t attributes;
    pthread_t thread;
    size_t free_bytes = 0;
    assert_non_null(stack);
    memset(stack, PAINT, STACK);
    asked = what;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstack(&attributes, stack, STACK), 0);
    assert_int_equal(pthread_create(&thread, &attributes, run, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
    while (free_bytes < STACK && stack[free_bytes] == PAINT)
        free_bytes++;
    free(stack);
    return STACK - free_bytes;
}

static void questions_take_little(void **state)
{
    static const struct question {
        const char *name;
        void (*ask)(void);
    } questions[] = {{"statistics", ask_statistics},
                     {"a part of them", ask_few_statistics},
                     {"memory", ask_memory},
                     {"an explanation", ask_explanation}};
    (void)state;
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device),
                     FERRY_OK);
    const size_t least = stack_of(nothing);
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        questions[i].ask(); /* functions of other libraries are found now */
        const size_t taken = stack_of(questions[i].ask);
        print_message("%s: %zu bytes\n", questions[i].name, taken - least);
        assert_true(taken >= least && taken <= least + MOST);
    }
    ferry_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(questions_take_little)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
